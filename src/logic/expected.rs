//! Which handshake messages may pass in clear, from whom, how large, and which of them are kept until
//! they are whole.

use crate::proto::tls::handshake::{
    CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_STATUS, CERTIFICATE_VERIFY, CLIENT_HELLO,
    CLIENT_KEY_EXCHANGE, HELLO_REQUEST, NEW_SESSION_TICKET, SERVER_HELLO, SERVER_HELLO_DONE,
    SERVER_KEY_EXCHANGE, SUPPLEMENTAL_DATA,
};

/// Bytes of a message behind the hellos that is kept until it is whole: the client's certificates, or a
/// ticket. Chains of five certificates take 8 KiB.
const KEPT_BYTES: usize = 65_536 + 6;
/// Bytes of a message that is only walked through. The names of authorities that a server lists before
/// it asks for a certificate take at most 64 KiB, and so do its algorithms.
const WALKED_BYTES: usize = 2 * 65_536 + 1_024;

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

/// How far a direction is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Hellos only.
    Hellos,
    /// All that is in clear, up to the change of cipher.
    Flight,
    /// Nothing more.
    Sealed,
}

/// Who sends in this direction; up to the hellos each may send one kind of message in clear, its hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// Sends ClientHello, and early data after it.
    Client,
    /// Sends ServerHello.
    Server,
}

/// What a message may be.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Bytes of its body, at most.
    pub body_bytes: usize,
    /// Whether it is kept until it is whole.
    pub is_kept: bool,
}

impl Expected {
    /// What a message of type `kind` from `speaker` may be.
    ///
    /// # Errors
    /// Where it may not come.
    pub fn of(
        reach: Reach,
        speaker: Speaker,
        kind: u8,
        hello_bytes: usize,
    ) -> Result<Expected, Rejected> {
        use Speaker::{Client, Server};
        let kept = |body_bytes| Ok(Expected { body_bytes, is_kept: true });
        let walked = |body_bytes| Ok(Expected { body_bytes, is_kept: false });
        match (reach, speaker, kind) {
            (Reach::Hellos, Client, CLIENT_HELLO) | (Reach::Hellos, Server, SERVER_HELLO) => {
                kept(hello_bytes)
            }
            // RFC 5246 section 7.4.1.1: at any time.
            (_, Server, HELLO_REQUEST) => walked(0),
            (Reach::Hellos, ..) => {
                Err(Rejected::Unreadable("a handshake message that is no hello"))
            }
            (_, Client, CERTIFICATE) | (_, Server, NEW_SESSION_TICKET) => kept(KEPT_BYTES),
            (_, Server, CERTIFICATE) => walked(KEPT_BYTES),
            (_, Client, SUPPLEMENTAL_DATA | CLIENT_KEY_EXCHANGE | CERTIFICATE_VERIFY) => {
                walked(WALKED_BYTES)
            }
            (
                _,
                Server,
                SUPPLEMENTAL_DATA | CERTIFICATE_STATUS | SERVER_KEY_EXCHANGE | CERTIFICATE_REQUEST
                | SERVER_HELLO_DONE,
            ) => walked(WALKED_BYTES),
            _ => Err(Rejected::Unreadable("a handshake message that does not belong here")),
        }
    }

    /// Judges the size of a message of type `kind` whose header is whole.
    ///
    /// # Errors
    /// Where it is too large.
    pub fn judge_size(self, kind: u8, body_bytes: usize) -> Result<(), Rejected> {
        match kind {
            _ if body_bytes <= self.body_bytes => Ok(()),
            CLIENT_HELLO | SERVER_HELLO => Err(Rejected::TooLarge(self.body_bytes)),
            HELLO_REQUEST => Err(Rejected::Unreadable("a HelloRequest with a body")),
            CERTIFICATE => Err(Rejected::Unreadable("a chain of certificates above 64 KiB")),
            _ => Err(Rejected::Unreadable("a handshake message above 128 KiB")),
        }
    }
}
