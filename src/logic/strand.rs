//! One direction of a handshake in clear: records (RFC 8446 section 5.1) and the messages in them.
//!
//! Nothing is stored but a position. A message that lies within one record is handed out as a slice of
//! what the carrier holds; one that is spread over records is put together when its last byte is there.

use std::borrow::Cow;

use crate::proto::tls::record::{ContentType, HEADER_BYTES, RecordError, RecordHeader};

/// Records that may pass before the watch lets go. A hello of 4 KiB in records of one byte fits; ten
/// thousand empty records do not.
pub(crate) const RECORDS_MAX: u32 = 4096;
const MESSAGE_HEADER_BYTES: usize = 4;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
/// A server may send one of these, empty, at any time before TLS 1.3 (RFC 5246 section 7.4.1.1).
const HELLO_REQUEST: u8 = 0;

/// Why a strand cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// These are not TLS records.
    NotTls,
    /// An SSL 2.0 record.
    SslV2,
    /// A hello above this limit in bytes.
    TooLarge(usize),
    /// Records or messages that break the rules.
    Unreadable(&'static str),
}

/// A whole hello, without its 4-byte message header.
#[derive(Debug)]
pub struct Message<'a> {
    /// The body of the message.
    pub body: Cow<'a, [u8]>,
}

/// Who sends in this direction; each may send one kind of handshake message in clear, its hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// Sends ClientHello, and early data after it.
    Client,
    /// Sends ServerHello.
    Server,
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
            message: None,
        }
    }

    /// Records of this kind may pass from now on.
    pub fn admit(&mut self, kind: ContentType) {
        self.change_cipher_spec_admitted |= kind == ContentType::ChangeCipherSpec;
    }

    /// Whether a TLS record has been seen, be it one that breaks the rules: its sender reads alerts.
    pub fn speaks_tls(&self) -> bool {
        self.records > 0
    }

    /// Whether the last bytes seen belong to something that is not judged yet: a record header that
    /// is not whole, or a handshake record whose message is not.
    pub fn is_unjudged(&self) -> bool {
        let handshake_goes_on = self.kind == ContentType::Handshake && self.record_left > 0;
        self.header_len > 0 || self.message.is_some() || handshake_goes_on
    }

    /// Reads on from `*at` in `held` until a hello is whole or the bytes are used up. While a message
    /// is open, `held` must keep all bytes since it began.
    ///
    /// # Errors
    /// What is not TLS, breaks its rules, or is larger than `limit_bytes`.
    pub fn next_message<'a>(
        &mut self,
        held: &'a [u8],
        at: &mut usize,
        limit_bytes: usize,
    ) -> Result<Option<Message<'a>>, Rejected> {
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
            ContentType::Handshake | ContentType::Alert => Ok(()),
            ContentType::ChangeCipherSpec if self.change_cipher_spec_admitted => Ok(()),
            // Early data (RFC 8446 section 4.2.10) comes from clients only.
            ContentType::ApplicationData if self.speaker == Speaker::Client => Ok(()),
            _ => Err(Rejected::Unreadable("a record that cannot come before the hello")),
        }
    }

    /// Takes bytes of one message, never beyond its end.
    fn read_message(
        &mut self,
        bytes: &[u8],
        at: usize,
        limit_bytes: usize,
    ) -> Result<usize, Rejected> {
        let record_left_at = self.record_left;
        let message = self.message.get_or_insert(Opened {
            at,
            record_left_at,
            seen: 0,
            header: [0; MESSAGE_HEADER_BYTES],
            contiguous: true,
        });
        let mut taken = 0;
        while message.seen < MESSAGE_HEADER_BYTES && taken < bytes.len() {
            message.header[message.seen] = bytes[taken];
            message.seen += 1;
            taken += 1;
            if message.seen == 1 {
                let fits = match self.speaker {
                    Speaker::Client => message.header[0] == CLIENT_HELLO,
                    Speaker::Server => matches!(message.header[0], HELLO_REQUEST | SERVER_HELLO),
                };
                if !fits {
                    return Err(Rejected::Unreadable("a handshake message that is no hello"));
                }
            }
            if message.seen == MESSAGE_HEADER_BYTES {
                if message.header[0] == HELLO_REQUEST && message.body_len() != 0 {
                    return Err(Rejected::Unreadable("a HelloRequest with a body"));
                }
                if message.body_len() > limit_bytes {
                    return Err(Rejected::TooLarge(limit_bytes));
                }
            }
        }
        if message.seen >= MESSAGE_HEADER_BYTES {
            let left = MESSAGE_HEADER_BYTES + message.body_len() - message.seen;
            let body = left.min(bytes.len() - taken);
            message.seen += body;
            taken += body;
        }
        Ok(taken)
    }

    fn whole_message<'a>(&mut self, held: &'a [u8]) -> Option<Message<'a>> {
        let message = self.message?;
        if message.seen < MESSAGE_HEADER_BYTES || message.seen < message.len() {
            return None;
        }
        self.message = None;
        if message.header[0] == HELLO_REQUEST {
            return None;
        }
        let body = if message.contiguous {
            Cow::Borrowed(&held[message.at + MESSAGE_HEADER_BYTES..message.at + message.len()])
        } else {
            Cow::Owned(message.gather(held))
        };
        Some(Message { body })
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
