//! TLS records of the replayed kind (RFC 8446 section 5): the framing is real, the protection is not. A
//! record carries its plaintext and then as many bytes as the content type and an AEAD tag would take.

use std::io::{self, IoSlice, Write};

use crate::payload::{Block, Body, PIECE_BYTES};

/// Content type of change_cipher_spec.
pub const CHANGE_CIPHER_SPEC: u8 = 20;
/// Content type of an alert.
pub const ALERT: u8 = 21;
/// Content type of a handshake message.
pub const HANDSHAKE: u8 = 22;
/// Content type of application data, and of everything protected in TLS 1.3.
pub const APPLICATION_DATA: u8 = 23;

/// Header and what follows it is at most this long (RFC 8446 section 5.2).
const LONGEST_PAYLOAD_BYTES: usize = (1 << 14) + 256;
const HEADER_BYTES: usize = 5;
const TAIL_BYTES: usize = 17;
/// What stands where a tag would; like a tag, it does not pass when it is damaged.
const TAG: u8 = 0xA5;
const OVERHEAD_BYTES: usize = HEADER_BYTES + TAIL_BYTES;

/// An alert has two bytes, so a protected one has this payload. Data may be as short, so a record of
/// this length is kept until its inner type is known.
const SHORT_BYTES: usize = 2 + TAIL_BYTES;

/// How many records one write offers to the socket: 64 KiB, as a real TLS client's buffer does.
const RECORDS_AT_ONCE: usize = 4;

/// A whole record of `kind` around `plaintext`, with the tail that protection would add.
pub fn protected(kind: u8, plaintext: &[u8]) -> Vec<u8> {
    let mut record = header(plaintext.len()).to_vec();
    record.extend_from_slice(plaintext);
    record.extend_from_slice(&tail(kind));
    record
}

/// A whole record of `kind` in the clear.
pub fn plain(kind: u8, version: u16, payload: &[u8]) -> Vec<u8> {
    let mut record = vec![kind];
    record.extend_from_slice(&version.to_be_bytes());
    record.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    record.extend_from_slice(payload);
    record
}

fn header(plaintext_bytes: usize) -> [u8; HEADER_BYTES] {
    let length = ((plaintext_bytes + TAIL_BYTES) as u16).to_be_bytes();
    [APPLICATION_DATA, 3, 3, length[0], length[1]]
}

fn tail(kind: u8) -> [u8; TAIL_BYTES] {
    let mut tail = [TAG; TAIL_BYTES];
    tail[0] = kind;
    tail
}

/// A request as records, addressed by position on the wire, so that a write that was cut short goes on
/// anywhere without a copy kept: one record for the head, then records of 16 KiB.
pub struct Framing<'a> {
    /// The request's head; at most one record long.
    pub head: &'a [u8],
    /// The request's body.
    pub body: &'a Body,
    /// Where the body's bytes lie.
    pub block: &'a Block,
}

impl Framing<'_> {
    /// How many bytes the whole request is on the wire.
    pub fn wire_bytes(&self) -> u64 {
        let records = 1 + self.body.bytes.div_ceil(PIECE_BYTES as u64);
        self.head.len() as u64 + self.body.bytes + records * OVERHEAD_BYTES as u64
    }

    /// Writes what follows `position`, a few records at most; returns how many bytes went out.
    pub fn write(&self, stream: &mut impl Write, position: u64) -> io::Result<usize> {
        let (mut record, within) = self.locate(position);
        let tail = tail(APPLICATION_DATA);
        let mut headers = [[0; HEADER_BYTES]; RECORDS_AT_ONCE];
        let mut plaintexts: [&[u8]; RECORDS_AT_ONCE] = [&[]; RECORDS_AT_ONCE];
        let mut count = 0;
        while count < RECORDS_AT_ONCE && self.has_record(record) {
            plaintexts[count] = self.plaintext(record);
            headers[count] = header(plaintexts[count].len());
            count += 1;
            record += 1;
        }
        let mut slices = [IoSlice::new(&[]); 3 * RECORDS_AT_ONCE];
        for place in 0..count {
            slices[3 * place] = IoSlice::new(&headers[place]);
            slices[3 * place + 1] = IoSlice::new(plaintexts[place]);
            slices[3 * place + 2] = IoSlice::new(&tail);
        }
        let mut offered = &mut slices[..3 * count];
        IoSlice::advance_slices(&mut offered, within);
        stream.write_vectored(offered)
    }

    fn locate(&self, position: u64) -> (u64, usize) {
        let first = (self.head.len() + OVERHEAD_BYTES) as u64;
        if position < first {
            return (0, position as usize);
        }
        let each = (PIECE_BYTES + OVERHEAD_BYTES) as u64;
        (1 + (position - first) / each, ((position - first) % each) as usize)
    }

    fn has_record(&self, record: u64) -> bool {
        record == 0 || (record - 1) * (PIECE_BYTES as u64) < self.body.bytes
    }

    fn plaintext(&self, record: u64) -> &[u8] {
        match record {
            0 => self.head,
            _ => self.block.piece(self.body, (record - 1) * PIECE_BYTES as u64),
        }
    }
}

/// Reads records off a stream that may be cut anywhere.
#[derive(Default)]
pub struct Records {
    header: [u8; HEADER_BYTES],
    header_have: usize,
    payload_have: usize,
    short: [u8; SHORT_BYTES],
}

/// What the next bytes of a stream of records are.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// The input is used up.
    Nothing,
    /// Bytes of a record of this kind: plaintext without its tail. `last` when the record is complete.
    Piece { kind: u8, bytes: &'a [u8], last: bool },
    /// The whole of a record that is as short as an alert; its kind is the inner one.
    Short { kind: u8, bytes: [u8; 2] },
}

impl Records {
    /// Takes the next piece from the front of `input`. Errors where the stream is no TLS.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Heard<'a>, String> {
        while self.header_have < HEADER_BYTES {
            let Some((byte, rest)) = input.split_first() else { return Ok(Heard::Nothing) };
            self.header[self.header_have] = *byte;
            self.header_have += 1;
            *input = rest;
            self.payload_have = 0;
        }
        let length = self.payload_bytes()?;
        let kind = self.header[0];
        if input.is_empty() && length > self.payload_have {
            return Ok(Heard::Nothing);
        }
        let taken = input.len().min(length - self.payload_have);
        let (piece, rest) = input.split_at(taken);
        *input = rest;
        let before = self.payload_have;
        self.payload_have += taken;
        let last = self.payload_have == length;
        if last {
            self.header_have = 0;
        }
        if kind != APPLICATION_DATA {
            return Ok(Heard::Piece { kind, bytes: piece, last });
        }
        let plaintext_bytes = (length - TAIL_BYTES).saturating_sub(before).min(taken);
        let (plaintext, rest) = piece.split_at(plaintext_bytes);
        let tail_from = (before + plaintext_bytes).saturating_sub(length - TAIL_BYTES);
        if !rest.is_empty() && !is_tail(rest, tail_from) {
            return Err("a record was damaged on its way".to_owned());
        }
        if length != SHORT_BYTES {
            return Ok(Heard::Piece { kind, bytes: plaintext, last });
        }
        self.short[before..before + taken].copy_from_slice(piece);
        Ok(match last {
            true => Heard::Short { kind: self.short[2], bytes: [self.short[0], self.short[1]] },
            false => Heard::Piece { kind, bytes: &[], last },
        })
    }

    fn payload_bytes(&self) -> Result<usize, String> {
        let length = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
        let kind = self.header[0];
        let shortest = if kind == APPLICATION_DATA { TAIL_BYTES } else { 1 };
        let known = (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind);
        let version = self.header[1] == 3 && (self.header[2] == 1 || self.header[2] == 3);
        if known && version && (shortest..=LONGEST_PAYLOAD_BYTES).contains(&length) {
            Ok(length)
        } else {
            Err(format!("not a TLS record: header {:02x?}", self.header))
        }
    }
}

/// Whether `bytes` are those of a tail from its byte `from` on; the first is an inner content type.
fn is_tail(bytes: &[u8], from: usize) -> bool {
    bytes.iter().zip(from..).all(|(byte, place)| match place {
        0 => (ALERT..=APPLICATION_DATA).contains(byte),
        _ => *byte == TAG,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_the_wire(framing: &Framing<'_>, step: usize) -> Vec<u8> {
        struct Stingy(Vec<u8>, usize);
        impl Write for Stingy {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let taken = bytes.len().min(self.1);
                self.0.extend_from_slice(&bytes[..taken]);
                Ok(taken)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut stream = Stingy(Vec::new(), step);
        while (stream.0.len() as u64) < framing.wire_bytes() {
            let position = stream.0.len() as u64;
            assert!(framing.write(&mut stream, position).expect("no error") > 0);
        }
        assert_eq!(framing.write(&mut stream, framing.wire_bytes()).expect("no error"), 0);
        stream.0
    }

    fn read_back(wire: &[u8], step: usize) -> Vec<u8> {
        let mut records = Records::default();
        let mut plaintext = Vec::new();
        for mut input in wire.chunks(step) {
            loop {
                match records.next(&mut input).expect("records") {
                    Heard::Nothing => break,
                    Heard::Piece { kind, bytes, .. } => {
                        assert_eq!(kind, APPLICATION_DATA);
                        plaintext.extend_from_slice(bytes);
                    }
                    Heard::Short { kind, bytes } => {
                        assert_eq!(kind, APPLICATION_DATA);
                        plaintext.extend_from_slice(&bytes);
                    }
                }
            }
        }
        plaintext
    }

    #[test]
    fn a_framed_request_survives_any_cut_of_writes_and_reads() {
        let block = Block::new();
        for (bytes, step) in
            [(0, 7), (1, 1), (2, 3), (16_384, 999), (16_386, 5_000), (200_000, 70_000)]
        {
            let body = Body::new(1, 2, bytes);
            let framing = Framing { head: b"POST / HTTP/1.1\r\n\r\n", body: &body, block: &block };
            let wire = on_the_wire(&framing, step);
            assert_eq!(wire.len() as u64, framing.wire_bytes());
            let plaintext = read_back(&wire, step);
            assert_eq!(&plaintext[..framing.head.len()], framing.head);
            let mut hasher = crate::payload::hasher(1, 2);
            hasher.update(&plaintext[framing.head.len()..]);
            assert_eq!(hasher.digest(), block.hash(&body), "{bytes} bytes");
        }
    }

    #[test]
    fn a_protected_alert_is_told_from_data_of_its_length() {
        for (kind, wire) in [(ALERT, protected(ALERT, &[1, 0])), (23, protected(23, &[1, 0]))] {
            for step in [1, 5, 30] {
                let mut records = Records::default();
                let mut heard = Vec::new();
                for mut input in wire.chunks(step) {
                    loop {
                        match records.next(&mut input).expect("records") {
                            Heard::Nothing => break,
                            Heard::Piece { bytes, .. } => assert!(bytes.is_empty()),
                            Heard::Short { kind, bytes } => heard.push((kind, bytes)),
                        }
                    }
                }
                assert_eq!(heard, [(kind, [1, 0])]);
            }
        }
    }

    #[test]
    fn damage_outside_the_plaintext_does_not_pass_either() {
        let good = protected(APPLICATION_DATA, b"hello");
        for place in [0, 1, 2].into_iter().chain(10..good.len()) {
            let mut wire = good.clone();
            wire[place] ^= 0x40;
            for step in [1, 100] {
                let mut records = Records::default();
                let refused = wire.chunks(step).any(|mut input| {
                    while !input.is_empty() {
                        if records.next(&mut input).is_err() {
                            return true;
                        }
                    }
                    false
                });
                assert!(refused, "byte {place}, step {step}");
            }
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for input in [
            &b"HTTP/1.1 400"[..],
            &[23, 3, 3, 0, 16, 0],
            &[22, 3, 1, 0x7F, 0xFF, 1],
            &[22, 3, 1, 0, 0],
        ] {
            let mut rest = input;
            assert!(Records::default().next(&mut rest).is_err(), "{input:02x?}");
        }
    }
}
