//! One direction of a handshake in clear: records (RFC 8446 section 5.1) and the messages in them.
//!
//! Nothing is stored but a position. A message that lies within one record is handed out as a slice of
//! what the carrier holds; one that is spread over records is put together when its last byte is there.

use std::borrow::Cow;

use super::expected::{Expected, Reach};
pub use super::expected::{Rejected, Speaker};
use crate::proto::tls::handshake::HELLO_REQUEST;
use crate::proto::tls::record::{ContentType, HEADER_BYTES, RecordError, RecordHeader};

/// Records that may pass before the watch lets go. A hello of 4 KiB in records of one byte fits; ten
/// thousand empty records do not.
pub(crate) const RECORDS_MAX: u32 = 4096;
const MESSAGE_HEADER_BYTES: usize = 4;

/// What has passed as a whole.
#[derive(Debug)]
pub enum Passing<'a> {
    /// A handshake message.
    Message {
        /// Its type.
        kind: u8,
        /// Its body, without the 4 bytes of type and length. Empty for those of no interest: what the
        /// server says between its hello and its end, and the client's part of the key exchange.
        body: Cow<'a, [u8]>,
    },
    /// The sender goes on with the negotiated keys. Told only where the strand is followed.
    ChangeCipherSpec,
}

/// Position in the records of one direction.
#[derive(Debug)]
pub struct Strand {
    speaker: Speaker,
    header: [u8; HEADER_BYTES],
    header_len: usize,
    kind: ContentType,
    record_left: usize,
    records: u32,
    change_cipher_spec_admitted: bool,
    reach: Reach,
    /// Something has passed that only TLS 1.3 allows before the server's hello.
    is_early: bool,
    message: Option<Opened>,
}

/// A message whose first byte has been seen.
#[derive(Clone, Copy, Debug)]
struct Opened {
    /// Where its first byte stands in the carrier, and how much of its record followed from there.
    at: usize,
    record_left_at: usize,
    seen: usize,
    header: [u8; MESSAGE_HEADER_BYTES],
    contiguous: bool,
    is_kept: bool,
}

impl Strand {
    /// The beginning of a direction.
    pub fn new(speaker: Speaker) -> Strand {
        Strand {
            speaker,
            header: [0; HEADER_BYTES],
            header_len: 0,
            kind: ContentType::Handshake,
            record_left: 0,
            records: 0,
            // A client may send it after its hello, for middleboxes (RFC 8446 appendix D.4).
            change_cipher_spec_admitted: speaker == Speaker::Client,
            reach: Reach::Hellos,
            is_early: false,
            message: None,
        }
    }

    /// Records of this kind may pass from now on.
    pub fn admit(&mut self, kind: ContentType) {
        self.change_cipher_spec_admitted |= kind == ContentType::ChangeCipherSpec;
    }

    /// The hellos have settled TLS 1.2 or below: from here on every message in clear is told, and the
    /// change of cipher.
    ///
    /// # Errors
    /// What has passed already may not come before the server's hello in these versions.
    pub fn follow(&mut self) -> Result<(), Rejected> {
        self.reach = Reach::Flight;
        if self.is_early {
            return Err(Rejected::Unreadable(
                "a record that cannot come before the server's hello",
            ));
        }
        Ok(())
    }

    /// The sender has changed its cipher: what follows cannot be read, and is not looked at.
    pub fn seal(&mut self) {
        self.reach = Reach::Sealed;
    }

    /// Whether a TLS record has been seen, be it one that breaks the rules: its sender reads alerts.
    pub fn speaks_tls(&self) -> bool {
        self.records > 0
    }

    /// Whether the last bytes seen belong to something that is not judged yet: a record header that
    /// is not whole, a handshake record whose message is not, or a message that is kept.
    ///
    /// What is forwarded therefore ends with a record, so that an alert of our own can follow it.
    pub fn is_unjudged(&self) -> bool {
        if self.reach == Reach::Sealed {
            return false;
        }
        let goes_on = match self.kind {
            ContentType::Handshake => true,
            ContentType::ChangeCipherSpec | ContentType::Alert => self.reach == Reach::Flight,
            ContentType::ApplicationData => false,
        };
        let is_kept = self.message.is_some_and(|message| message.is_kept);
        self.header_len > 0 || is_kept || (goes_on && self.record_left > 0)
    }

    /// Reads on from `*at` in `held` until a message is whole or the bytes are used up. While the
    /// strand is unjudged, `held` must keep all bytes since it was not.
    ///
    /// # Errors
    /// What is not TLS, breaks its rules, or is a hello larger than `limit_bytes`.
    pub fn next_message<'a>(
        &mut self,
        held: &'a [u8],
        at: &mut usize,
        limit_bytes: usize,
    ) -> Result<Option<Passing<'a>>, Rejected> {
        if self.reach == Reach::Sealed {
            *at = held.len();
        }
        while *at < held.len() {
            if self.record_left == 0 {
                self.read_record_header(held[*at])?;
                *at += 1;
                continue;
            }
            let here = self.record_left.min(held.len() - *at);
            if self.kind != ContentType::Handshake {
                self.record_left -= here;
                *at += here;
                if self.record_left == 0 && self.tells_change() {
                    return Ok(Some(Passing::ChangeCipherSpec));
                }
                continue;
            }
            let taken = self.read_message(&held[*at..*at + here], *at, limit_bytes)?;
            self.record_left -= taken;
            *at += taken;
            if let Some(message) = self.whole_message(held) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    fn read_record_header(&mut self, byte: u8) -> Result<(), Rejected> {
        self.header[self.header_len] = byte;
        self.header_len += 1;
        let first = self.header[0];
        let foreign = self.records == 0 && !self.may_begin_with(first);
        if foreign && first & 0x80 == 0 {
            return Err(Rejected::NotTls);
        }
        if self.header_len < HEADER_BYTES {
            return Ok(());
        }
        let record = match RecordHeader::parse(self.header) {
            Err(RecordError::SslV2) => return Err(Rejected::SslV2),
            _ if foreign => return Err(Rejected::NotTls),
            Err(RecordError::NotTls) => return Err(Rejected::NotTls),
            Err(RecordError::Unreadable(why)) => {
                self.records += 1;
                return Err(Rejected::Unreadable(why));
            }
            Ok(record) => record,
        };
        self.header_len = 0;
        self.records += 1;
        self.kind = record.kind;
        self.record_left = record.len;
        self.judge_kind()
    }

    /// A client begins with its hello; a server may send an alert instead of its own.
    fn may_begin_with(&self, first: u8) -> bool {
        first == ContentType::Handshake as u8
            || (first == ContentType::Alert as u8 && self.speaker == Speaker::Server)
    }

    fn judge_kind(&mut self) -> Result<(), Rejected> {
        if self.records > RECORDS_MAX {
            return Err(Rejected::Unreadable("too many records before the end of the hellos"));
        }
        if let Some(message) = &mut self.message {
            if self.kind != ContentType::Handshake {
                return Err(Rejected::Unreadable("another record within a handshake message"));
            }
            message.contiguous = false;
        }
        match self.kind {
            ContentType::Handshake | ContentType::Alert => return Ok(()),
            ContentType::ChangeCipherSpec if self.reach == Reach::Flight => {
                return match self.record_left {
                    1 => Ok(()),
                    _ => Err(Rejected::Unreadable("a change of cipher of a wrong length")),
                };
            }
            ContentType::ApplicationData if self.reach == Reach::Flight => {
                return Err(Rejected::Unreadable("data before the change of cipher"));
            }
            ContentType::ChangeCipherSpec if self.change_cipher_spec_admitted => {}
            // Early data (RFC 8446 section 4.2.10) comes from clients only.
            ContentType::ApplicationData if self.speaker == Speaker::Client => {}
            _ => return Err(Rejected::Unreadable("a record that cannot come before the hello")),
        }
        self.is_early = true;
        Ok(())
    }

    fn tells_change(&self) -> bool {
        self.reach == Reach::Flight && self.kind == ContentType::ChangeCipherSpec
    }

    /// Takes bytes of one message, never beyond its end.
    fn read_message(
        &mut self,
        bytes: &[u8],
        at: usize,
        limit_bytes: usize,
    ) -> Result<usize, Rejected> {
        let mut message = match self.message {
            Some(message) => message,
            None => {
                let Expected { is_kept, .. } =
                    Expected::of(self.reach, self.speaker, bytes[0], limit_bytes)?;
                Opened {
                    at,
                    record_left_at: self.record_left,
                    seen: 0,
                    header: [0; MESSAGE_HEADER_BYTES],
                    contiguous: true,
                    is_kept,
                }
            }
        };
        let mut taken = 0;
        while message.seen < MESSAGE_HEADER_BYTES && taken < bytes.len() {
            message.header[message.seen] = bytes[taken];
            message.seen += 1;
            taken += 1;
            if message.seen == MESSAGE_HEADER_BYTES {
                let kind = message.header[0];
                Expected::of(self.reach, self.speaker, kind, limit_bytes)?
                    .judge_size(kind, message.body_len())?;
            }
        }
        if message.seen >= MESSAGE_HEADER_BYTES {
            let left = MESSAGE_HEADER_BYTES + message.body_len() - message.seen;
            let body = left.min(bytes.len() - taken);
            message.seen += body;
            taken += body;
        }
        self.message = Some(message);
        Ok(taken)
    }

    fn whole_message<'a>(&mut self, held: &'a [u8]) -> Option<Passing<'a>> {
        let message = self.message?;
        if message.seen < MESSAGE_HEADER_BYTES || message.seen < message.len() {
            return None;
        }
        self.message = None;
        let kind = message.header[0];
        if kind == HELLO_REQUEST {
            return None;
        }
        let body = if !message.is_kept {
            Cow::Borrowed(&[][..])
        } else if message.contiguous {
            Cow::Borrowed(&held[message.at + MESSAGE_HEADER_BYTES..message.at + message.len()])
        } else {
            Cow::Owned(message.gather(held))
        };
        Some(Passing::Message { kind, body })
    }
}

impl Opened {
    fn body_len(&self) -> usize {
        usize::from(self.header[1]) << 16
            | usize::from(self.header[2]) << 8
            | usize::from(self.header[3])
    }

    fn len(&self) -> usize {
        MESSAGE_HEADER_BYTES + self.body_len()
    }

    /// Walks the records again, all of them judged before, and joins what they carry.
    fn gather(&self, held: &[u8]) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.len());
        let mut at = self.at;
        let mut left = self.record_left_at;
        while whole.len() < self.len() {
            if left == 0 {
                left = usize::from(u16::from_be_bytes([held[at + 3], held[at + 4]]));
                at += HEADER_BYTES;
                continue;
            }
            let here = left.min(self.len() - whole.len());
            whole.extend_from_slice(&held[at..at + here]);
            at += here;
            left -= here;
        }
        whole.split_off(MESSAGE_HEADER_BYTES)
    }
}
