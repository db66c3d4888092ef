//! Section E as data, what clients send: hellos that pass to `localhost`, and what does not.

use sluice::proto::tls::Version;
use sluice::proto::tls::record::ContentType::{self, ApplicationData, ChangeCipherSpec, Handshake};
use sluice::proto::tls::sample::{
    SampleHello, client_hello, message, modern_client_hello, records,
};

use crate::bench::Vector;
use crate::strangers::{FOREIGN, NO_NAMES, OTHER_NAMES};
use crate::support::handshake::{MISMATCH, Refused, UNREADABLE};
use crate::support::tls::{
    NAMED, alert, answer, change_cipher_spec, hello, hello_of, named, of_version, with_name,
};

const NOT_TLS: Refused = Refused(106, "not_tls", None);
const SSL: Refused = Refused(106, "ssl_version", Some((0, 70)));
const MISSING: Refused = Refused(105, "server_name_missing", Some((3, 112)));
const TOO_LARGE: Refused = Refused(402, "hello_too_large", Some((3, 50)));

const fn low(minor: u8) -> Refused {
    Refused(106, "tls_version_too_low", Some((minor, 70)))
}

/// What a client sends into its tunnel.
#[derive(Clone, Debug)]
pub struct Flight {
    row: &'static str,
    what: String,
    /// All of it.
    pub bytes: Vec<u8>,
    /// `None` where it passes.
    pub refused: Option<Refused>,
}

impl Vector for Flight {
    fn refused(&self) -> Option<(u64, &'static str)> {
        self.refused.map(|Refused(event, reason, _)| (event, reason))
    }

    fn shown(&self) -> String {
        format!("{}: {}", self.row, self.what)
    }
}

/// The message that most of the flights are made of.
fn usual() -> Vec<u8> {
    client_hello(&SampleHello { server_name: Some(NAMED.as_bytes()), ..SampleHello::default() })
}

fn handshake(version: Version, fragment: usize, payload: &[u8]) -> Vec<u8> {
    records(Handshake, version, payload, fragment)
}

fn one_record(payload: &[u8]) -> Vec<u8> {
    handshake(Version::TLS10, 1 << 14, payload)
}

/// A hello whose body has this many bytes.
fn padded(len: usize) -> Vec<u8> {
    let padded = |padding: &[u8]| {
        client_hello(&SampleHello {
            server_name: Some(NAMED.as_bytes()),
            extra: &[(21, padding)],
            ..SampleHello::default()
        })
    };
    let bare = padded(&[]);
    padded(&vec![0; len - (bare.len() - 4)])
}

/// A hello with this extension of versions.
fn offering(versions: &[Version]) -> Vec<u8> {
    named(SampleHello { versions, ..SampleHello::default() })
}

/// A server_name extension with this list of names, each with its type.
fn with_names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> = names
        .iter()
        .flat_map(|(kind, name)| [&[*kind][..], &(name.len() as u16).to_be_bytes(), name].concat())
        .collect();
    let data = [&(list.len() as u16).to_be_bytes()[..], &list].concat();
    with_extension(0, &data)
}

/// A hello without a name but with this extension.
fn with_extension(kind: u16, data: &[u8]) -> Vec<u8> {
    hello_of(&SampleHello { versions: &[], extra: &[(kind, data)], ..SampleHello::default() })
}

/// Hellos that pass to `localhost`.
pub fn good() -> Vec<Flight> {
    let modern = modern_client_hello(NAMED.as_bytes());
    let mut rows = vec![
        ("E1", "as most send it", one_record(&usual())),
        ("E1", "TLS 1.2 without extensions but the name", of_version(Version::TLS12)),
        ("E1", "no session id", named(SampleHello { session_id_len: 0, ..SampleHello::default() })),
        ("E2", "cut before its last byte", handshake(Version::TLS10, usual().len() - 1, &usual())),
        ("E3", "16 KiB", one_record(&padded(16 * 1024))),
        ("E3", "64 KiB", one_record(&padded(65_536))),
        ("E3", "64 KiB in small records", handshake(Version::TLS10, 100, &padded(65_536))),
        ("E4", "post-quantum, GREASE, ECH", one_record(&modern)),
        ("E4", "the same in records of 511 bytes", handshake(Version::TLS10, 511, &modern)),
        ("E4", "the same in records of one byte", handshake(Version::TLS10, 1, &modern)),
        ("E4", "drafts of TLS 1.3", offering(&[Version(0x7f1c), Version::TLS13])),
        ("E4", "GREASE among the versions", offering(&[Version(0xfafa), Version::TLS12])),
        ("E4", "nothing but GREASE as version", offering(&[Version(0x0a0a)])),
        ("E5", "every version", offering(&[Version::SSL3, Version::TLS11, Version::TLS13])),
        (
            "E8",
            "dummy ChangeCipherSpec",
            [named(SampleHello::default()), change_cipher_spec()].concat(),
        ),
        ("E8", "early data behind it", {
            let early = records(ApplicationData, Version::TLS12, &[7; 40_000], 1 << 14);
            [named(SampleHello::default()), change_cipher_spec(), early].concat()
        }),
        ("E22", "upper case", with_name(b"LOCALHOST")),
        ("E22", "trailing dot", with_name(b"localhost.")),
    ];
    for fragment in [1, 2, 3, 4, 5, 6, 41, 100] {
        rows.push(("E2", "in small records", handshake(Version::TLS10, fragment, &usual())));
    }
    for version in [0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x0399, 0x03ff] {
        let version = Version(version);
        rows.push(("E5", "a version of the first record", handshake(version, 1 << 14, &usual())));
    }
    let flight = |(at, (row, what, bytes)): (usize, (&'static str, &str, Vec<u8>))| Flight {
        row,
        what: format!("{what} ({at})"),
        bytes,
        refused: None,
    };
    rows.into_iter().enumerate().map(flight).collect()
}

/// What does not pass to `localhost`.
pub fn bad() -> Vec<Flight> {
    let mut rows: Vec<(&'static str, String, Vec<u8>, Refused)> = Vec::new();
    let mut add =
        |row, what: &str, bytes, refused| rows.push((row, what.to_owned(), bytes, refused));
    for (what, bytes) in FOREIGN {
        add("E19", what, bytes.to_vec(), NOT_TLS);
    }
    add("E19", "an alert first", alert(3, 0), NOT_TLS);
    add("E19", "TLCP hello", of_version(Version(0x0101)), Refused(106, "not_tls", Some((0, 70))));
    for name in NO_NAMES {
        add("E22", &format!("name {}", name.escape_ascii()), with_name(name), UNREADABLE);
    }
    for name in OTHER_NAMES {
        add("E22", &format!("name {}", name.escape_ascii()), with_name(name), MISMATCH);
    }
    add("E22", "no name", hello(None), MISSING);
    for (what, bytes, refused) in lists_of_names().into_iter().chain(broken_fields()) {
        add("E22", what, bytes, refused);
    }
    for (row, what, bytes, refused) in versions().into_iter().chain(broken_records()) {
        add(row, what, bytes, refused);
    }
    for kind in [0, 2, 4, 11, 12, 13, 14, 15, 16, 20, 24, 0xff] {
        let bytes = one_record(&message(kind, &[0; 50]));
        add("E9", &format!("message of type {kind}"), bytes, UNREADABLE);
    }
    for len in [0, 1, 2, 10, 33, 34, 40, 66, 67, 70, 80, 90] {
        let bytes = one_record(&message(1, &usual()[4..4 + len]));
        add("E9", &format!("a hello of {len} bytes"), bytes, UNREADABLE);
    }
    let flight = |(row, what, bytes, refused)| Flight { row, what, bytes, refused: Some(refused) };
    rows.into_iter().map(flight).collect()
}

type Row = (&'static str, &'static str, Vec<u8>, Refused);

fn versions() -> Vec<Row> {
    let ssl2 = |version: [u8; 2]| [&[0x80, 0x2e, 1][..], &version, &[0; 43]].concat();
    let silent = Refused(106, "ssl_version", None);
    let older = |version, name| {
        hello_of(&SampleHello {
            client_version: version,
            versions: &[],
            server_name: Some(name),
            ..SampleHello::default()
        })
    };
    vec![
        ("E6", "SSL 2.0 framing", ssl2([3, 1]), silent),
        ("E6", "SSL 2.0 framing, TLS 1.2", ssl2([3, 3]), silent),
        ("E6", "SSL 2.0 framing and version", ssl2([0, 2]), silent),
        ("E6", "SSL 2.0", of_version(Version::SSL2), SSL),
        ("E6", "SSL 3.0", of_version(Version::SSL3), SSL),
        ("E6", "SSL 3.0 in the extension", offering(&[Version::SSL3]), SSL),
        ("E6", "SSL 3.0 comes before a wrong name", older(Version::SSL3, b"other.example"), SSL),
        ("E5", "TLS 1.0", of_version(Version::TLS10), low(1)),
        ("E5", "TLS 1.1", of_version(Version::TLS11), low(2)),
        (
            "E5",
            "TLS 1.0 in a record of TLS 1.2",
            {
                let message = client_hello(&SampleHello {
                    client_version: Version::TLS10,
                    versions: &[],
                    server_name: Some(NAMED.as_bytes()),
                    ..SampleHello::default()
                });
                handshake(Version::TLS12, 1 << 14, &message)
            },
            low(1),
        ),
        ("E5", "TLS 1.1 at best", offering(&[Version::TLS11, Version::TLS10]), low(2)),
        ("E5", "TLS 1.0 and GREASE", offering(&[Version(0x2a2a), Version::TLS10]), low(1)),
        (
            "E5",
            "too old comes before a wrong name",
            older(Version::TLS10, b"other.example"),
            low(1),
        ),
        ("E5", "too old comes before a bad name", older(Version::TLS11, b"\0"), low(2)),
        ("E9", "no versions in their list", with_extension(43, &[0]), UNREADABLE),
        ("E9", "half a version", with_extension(43, &[3, 3, 4, 3]), UNREADABLE),
        ("E9", "a list of versions too short", with_extension(43, &[4, 3, 4]), UNREADABLE),
        ("E9", "a list of versions too long", with_extension(43, &[2, 3, 4, 3]), UNREADABLE),
    ]
}

fn lists_of_names() -> Vec<(&'static str, Vec<u8>, Refused)> {
    vec![
        ("two names", with_names(&[(0, b"localhost"), (0, b"other.example")])),
        ("the same name twice", with_names(&[(0, b"localhost"), (0, b"localhost")])),
        ("a name of another type", with_names(&[(1, b"localhost")])),
        ("another type first", with_names(&[(1, b"x"), (0, b"localhost")])),
        ("another type behind it", with_names(&[(0, b"localhost"), (1, b"x")])),
        ("no names in the list", with_names(&[])),
        ("an empty extension", with_extension(0, &[])),
        ("a list longer than the extension", with_extension(0, b"\0\x0d\0\0\x09localhost")),
        ("a list shorter than the extension", with_extension(0, b"\0\x0b\0\0\x09localhost")),
        ("a name longer than its list", with_extension(0, b"\0\x0c\0\0\x0alocalhost")),
        (
            "the extension twice",
            named(SampleHello {
                extra: &[(0, b"\0\x0c\0\0\x09localhost")],
                ..SampleHello::default()
            }),
        ),
        (
            "another extension twice",
            named(SampleHello { extra: &[(23, &[]), (23, &[])], ..SampleHello::default() }),
        ),
    ]
    .into_iter()
    .map(|(what, bytes)| (what, bytes, UNREADABLE))
    .collect()
}

/// Fields whose length is wrong.
fn broken_fields() -> Vec<(&'static str, Vec<u8>, Refused)> {
    // Version, random and session id come before the suites, and these before the compressions.
    let session_id = 4 + 2 + 32;
    let suites = session_id + 1 + 32;
    let compressions = suites + 2 + 8;
    let extensions = compressions + 2;
    let broken = |at: usize, byte: u8| {
        let mut broken = usual();
        broken[at] = byte;
        one_record(&broken)
    };
    let mut trailing = usual();
    trailing[3] += 1;
    trailing.push(0);
    vec![
        ("bytes after its end", one_record(&trailing)),
        ("a session id of 33 bytes", broken(session_id, 33)),
        ("a session id beyond the hello", broken(session_id, 255)),
        ("half a suite", broken(suites + 1, 7)),
        ("no suites", broken(suites + 1, 0)),
        ("suites beyond the hello", broken(suites, 0xff)),
        ("no compressions", broken(compressions, 0)),
        ("compressions beyond the hello", broken(compressions, 0xff)),
        ("extensions beyond the hello", broken(extensions, 0xff)),
        ("extensions that end early", broken(extensions + 1, 1)),
        ("an extension beyond the others", broken(extensions + 4, 0xff)),
    ]
    .into_iter()
    .map(|(what, bytes)| (what, bytes, UNREADABLE))
    .collect()
}

/// Records against the rules, and messages that do not keep to them.
fn broken_records() -> Vec<Row> {
    let begun = || handshake(Version::TLS10, 50, &usual())[..55].to_vec();
    let within = |record: &[u8]| [&begun(), record].concat();
    let record =
        |kind: ContentType, payload: &[u8]| records(kind, Version::TLS12, payload, 1 << 14);
    let long = |fragment, key_share_len| {
        let sample = SampleHello {
            server_name: Some(NAMED.as_bytes()),
            key_share_len,
            ..SampleHello::default()
        };
        handshake(Version::TLS10, fragment, &client_hello(&sample))
    };
    vec![
        ("E2", "five thousand records", long(1, 5_000), UNREADABLE),
        ("E3", "one byte above 64 KiB", one_record(&padded(65_537)), TOO_LARGE),
        (
            "E3",
            "one byte above it, in small records",
            handshake(Version::TLS10, 90, &padded(65_537)),
            TOO_LARGE,
        ),
        (
            "E3",
            "16 MiB",
            [&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &[0; 100]].concat(),
            TOO_LARGE,
        ),
        (
            "E3",
            "16 MiB in records of one byte",
            handshake(Version::TLS10, 1, &[1, 0xff, 0xff, 0xff]),
            TOO_LARGE,
        ),
        ("E9", "a server's hello", answer(), UNREADABLE),
        ("E9", "data within", within(&record(ApplicationData, &[0])), UNREADABLE),
        ("E9", "an alert within", within(&alert(3, 0)), UNREADABLE),
        ("E9", "ChangeCipherSpec within", within(&record(ChangeCipherSpec, &[1])), UNREADABLE),
        ("E9", "an empty record within", within(&[22, 3, 3, 0, 0]), UNREADABLE),
        ("E9", "heartbeat within", within(&[24, 3, 3, 0, 3, 1, 0, 0]), UNREADABLE),
        ("E9", "an unknown record within", within(&[26, 3, 3, 0, 1, 0]), UNREADABLE),
        ("E9", "a record too long within", within(&[22, 3, 3, 0x48, 1, 0]), UNREADABLE),
        ("E9", "an empty record first", vec![22, 3, 1, 0, 0], UNREADABLE),
        ("E9", "ten thousand empty records", [22, 3, 1, 0, 0].repeat(10_000), UNREADABLE),
        ("E9", "a record too long", [&[22, 3, 1, 0x48, 1, 1][..], &[0; 100]].concat(), UNREADABLE),
        (
            "E9",
            "the longest length",
            [&[22, 3, 1, 0xff, 0xff, 1][..], &[0; 100]].concat(),
            UNREADABLE,
        ),
    ]
}
