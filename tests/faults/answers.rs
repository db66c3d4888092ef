//! Section E as data, what servers send after a good hello: answers that pass, and what does not.

use sluice::proto::tls::Version;
use sluice::proto::tls::record::ContentType::Handshake;
use sluice::proto::tls::sample::{SampleServerHello, captured, message, records, server_hello};

use crate::bench::Vector;
use crate::support::handshake::{Refused, UNREADABLE};
use crate::support::tls::{alert, answer, answer_13, answer_of, change_cipher_spec, hello, retry};

const NOT_TLS: Refused = Refused(106, "not_tls", Some((3, 70)));
const SSL: Refused = Refused(106, "ssl_version", Some((3, 70)));
const LOW: Refused = Refused(106, "tls_version_too_low", Some((3, 70)));
const TOO_LARGE: Refused = Refused(402, "hello_too_large", Some((3, 50)));

/// What a server sends to a client whose hello has passed.
#[derive(Clone, Debug)]
pub struct Answer {
    row: &'static str,
    what: String,
    /// All of it.
    pub bytes: Vec<u8>,
    /// How much of it may reach the client though it is refused in the end: records that are good in
    /// themselves.
    pub may_pass: usize,
    /// The version that is settled, where it passes.
    pub version: &'static str,
    /// `None` where it passes.
    pub refused: Option<Refused>,
}

impl Vector for Answer {
    fn refused(&self) -> Option<(u64, &'static str)> {
        self.refused.map(|Refused(event, reason, _)| (event, reason))
    }

    fn shown(&self) -> String {
        format!("{}: {}", self.row, self.what)
    }
}

fn handshake(payload: &[u8]) -> Vec<u8> {
    records(Handshake, Version::TLS12, payload, 1 << 14)
}

/// A ServerHello of this version in its own field.
fn chosen(version: u16) -> Vec<u8> {
    let version = Version(version);
    answer_of(&SampleServerHello { server_version: version, ..SampleServerHello::default() })
}

/// A ServerHello of this version in its extension.
fn extended(version: u16) -> Vec<u8> {
    let version = Some(Version(version));
    answer_of(&SampleServerHello { version, ..SampleServerHello::default() })
}

/// Answers that pass, each with the version it settles.
pub fn good() -> Vec<Answer> {
    let warning = alert(3, 0);
    let asked = handshake(&message(0, &[]));
    let whole = server_hello(&SampleServerHello::default());
    let glued = handshake(&[&whole[..], &message(11, &[0; 3000])].concat());
    let mut rows = vec![
        ("E1", "TLS 1.2", answer(), "1.2"),
        ("E1", "TLS 1.3", answer_13(), "1.3"),
        ("E1", "TLS 1.2 of OpenSSL", captured::TLS12_SERVER.to_vec(), "1.2"),
        ("E1", "TLS 1.3 of OpenSSL", captured::TLS13_SERVER.to_vec(), "1.3"),
        ("E8", "a warning before it", [warning, answer()].concat(), "1.2"),
        ("E8", "a HelloRequest before it", [asked, answer()].concat(), "1.2"),
        ("E12", "a certificate in the same record", glued, "1.2"),
        ("E23", "much behind it", [answer(), vec![0x5a; 200_000]].concat(), "1.2"),
        (
            "E23",
            "ChangeCipherSpec and data behind it",
            { [answer_13(), change_cipher_spec(), [23, 3, 3, 0, 40].repeat(500)].concat() },
            "1.3",
        ),
    ];
    for fragment in [1, 2, 3, 4, 5, 40] {
        let bytes = records(Handshake, Version::TLS12, &whole, fragment);
        rows.push(("E2", "in small records", bytes, "1.2"));
    }
    for version in [0x0300, 0x0301, 0x0303, 0x0399] {
        let bytes = records(Handshake, Version(version), &whole, 1 << 14);
        rows.push(("E5", "a version of the first record", bytes, "1.2"));
    }
    let answer = |(row, what, bytes, version): (_, &str, _, _)| Answer {
        row,
        what: what.to_owned(),
        bytes,
        may_pass: 0,
        version,
        refused: None,
    };
    rows.into_iter().map(answer).collect()
}

/// Answers that do not pass to the client.
pub fn bad() -> Vec<Answer> {
    let whole = server_hello(&SampleServerHello::default());
    let broken = |at: usize, byte: u8| {
        let mut broken = whole.clone();
        broken[at] = byte;
        handshake(&broken)
    };
    let session_id = 4 + 2 + 32;
    let with_extensions = |extensions: &[u8]| {
        let body = [&whole[4..], &(extensions.len() as u16).to_be_bytes(), extensions].concat();
        handshake(&message(2, &body))
    };
    let begun = records(Handshake, Version::TLS12, &whole, 50)[..55].to_vec();
    let within = |record: &[u8]| [&begun, record].concat();
    let mut rows: Vec<(&'static str, String, Vec<u8>, Refused)> = Vec::new();
    let mut add =
        |row, what: &str, bytes, refused| rows.push((row, what.to_owned(), bytes, refused));
    for (row, what, bytes, refused) in [
        ("E7", "SSL 3.0", chosen(0x0300), SSL),
        ("E7", "SSL 2.0", chosen(0x0002), SSL),
        ("E7", "SSL 3.0 in the extension", extended(0x0300), SSL),
        ("E7", "SSL 2.0 framing", [&[0x80, 0x2e, 4, 0, 1, 0, 2][..], &[0; 40]].concat(), NOT_TLS),
        ("E5", "TLS 1.0", chosen(0x0301), LOW),
        ("E5", "TLS 1.1", chosen(0x0302), LOW),
        ("E5", "TLS 1.0 in the extension", extended(0x0301), LOW),
        ("E5", "TLS 1.1 in the extension", extended(0x0302), LOW),
        ("E5", "TLCP", chosen(0x0101), NOT_TLS),
        ("E5", "a version to come", extended(0x0399), UNREADABLE),
        ("E5", "a version to come in its own field", chosen(0x0305), UNREADABLE),
        ("E5", "GREASE as version", extended(0x2a2a), UNREADABLE),
        ("E8", "two retries", [retry(), retry()].concat(), UNREADABLE),
        ("E8", "ChangeCipherSpec first", change_cipher_spec(), NOT_TLS),
        ("E3", "too large", handshake(&[2, 1, 0, 1, 3, 3]), TOO_LARGE),
        ("E3", "16 MiB", handshake(&[2, 0xff, 0xff, 0xff, 3, 3]), TOO_LARGE),
        ("E9", "a client's hello", hello(None), UNREADABLE),
        ("E9", "application data first", vec![23, 3, 3, 0, 1, 0], NOT_TLS),
        ("E9", "heartbeat first", vec![24, 3, 3, 0, 3, 1, 0, 0], NOT_TLS),
        ("E9", "an empty record first", vec![22, 3, 3, 0, 0], UNREADABLE),
        ("E9", "a record too long", [&[22, 3, 3, 0x48, 1, 2][..], &[0; 50]].concat(), UNREADABLE),
        ("E9", "data within", within(&[23, 3, 3, 0, 1, 0]), UNREADABLE),
        ("E9", "an alert within", within(&alert(3, 0)), UNREADABLE),
        ("E9", "an empty record within", within(&[22, 3, 3, 0, 0]), UNREADABLE),
        ("E9", "an unknown record within", within(&[26, 3, 3, 0, 1, 0]), UNREADABLE),
        ("E9", "a HelloRequest with a body", handshake(&message(0, &[0])), UNREADABLE),
        ("E9", "a session id of 33 bytes", broken(session_id, 33), UNREADABLE),
        ("E9", "a session id beyond the hello", broken(session_id, 255), UNREADABLE),
        ("E9", "extensions cut short", with_extensions(&[0, 43, 0, 2, 3]), UNREADABLE),
        ("E9", "half a version", with_extensions(&[0, 43, 0, 1, 3]), UNREADABLE),
        ("E9", "a version and a byte", with_extensions(&[0, 43, 0, 3, 3, 4, 0]), UNREADABLE),
        ("E9", "an extension twice", with_extensions(&[0, 43, 0, 2, 3, 4].repeat(2)), UNREADABLE),
        ("E9", "another extension twice", with_extensions(&[0, 16, 0, 0].repeat(2)), UNREADABLE),
    ] {
        add(row, what, bytes, refused);
    }
    for banner in
        ["HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-x\r\n", "220 mail.example\r\n", "\0"]
    {
        add("E20", banner, banner.as_bytes().to_vec(), NOT_TLS);
    }
    for kind in [1, 4, 11, 12, 13, 14, 16, 20, 0xff] {
        let bytes = handshake(&message(kind, &[0; 100]));
        add("E9", &format!("message of type {kind}"), bytes, UNREADABLE);
    }
    for len in [0, 1, 2, 33, 34, 66, 67, 68, 69] {
        let bytes = handshake(&message(2, &whole[4..4 + len]));
        add("E9", &format!("a hello of {len} bytes"), bytes, UNREADABLE);
    }
    let answer = |(row, what, bytes, refused): (_, String, _, _)| Answer {
        row,
        may_pass: if what == "two retries" { retry().len() } else { 0 },
        what,
        bytes,
        version: "",
        refused: Some(refused),
    };
    rows.into_iter().map(answer).collect()
}
