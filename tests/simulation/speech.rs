//! The bytes of a session: heads and hellos, good and bad, and where in them a judgement must come
//! before anything may pass.

use sluice::logic::reason::Reason;
use sluice::proto::tls::Version;
use sluice::proto::tls::record::ContentType;
use sluice::proto::tls::sample::{self, SampleHello, SampleServerHello};

use crate::chance::Chance;
use crate::lab::ESTABLISHED;

/// Bytes from `from` on wait until `needs` bytes of the other thing are there.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    pub from: usize,
    pub needs: usize,
}

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident: $($kind:ident => $refusal:expr,)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($kind),* }
        impl $name {
            pub const ALL: [$name; [$(stringify!($kind)),*].len()] = [$($name::$kind),*];
            /// What a session refused for this is told.
            pub fn refusal(self) -> Option<Reason> {
                match self { $($name::$kind => $refusal),* }
            }
        }
    };
}

kinds! {
    /// The client's head.
    HeadKind:
    Good => None,
    Old => None,
    BareLf => None,
    Health => None,
    Silent => None,
    Partial => Some(Reason::HeadTimeout),
    PartialEnd => Some(Reason::MalformedHead),
    Garbage => Some(Reason::MalformedHead),
    BadTarget => Some(Reason::MalformedTarget),
    Post => Some(Reason::NotConnect),
    Large => Some(Reason::HeadTooLarge),
    OtherHost => Some(Reason::HostNotAllowed),
    OtherPort => Some(Reason::PortNotAllowed),
}

kinds! {
    /// The client's hello.
    HelloKind:
    Good => None,
    Fragmented => None,
    WithMore => None,
    Silent => None,
    Partial => None,
    PartialEnd => None,
    Ssl3 => Some(Reason::SslVersion),
    Low => Some(Reason::TlsVersionTooLow),
    NotTls => Some(Reason::NotTls),
    OtherName => Some(Reason::ServerNameMismatch),
    NoName => Some(Reason::ServerNameMissing),
    Garbled => Some(Reason::HandshakeUnreadable),
    Large => Some(Reason::HelloTooLarge),
}

kinds! {
    /// What the remote answers to a good hello.
    ServerKind:
    Good => None,
    Fragmented => None,
    Retry => None,
    Silent => None,
    EndsAtOnce => None,
    Alert => None,
    SpeaksFirst => Some(Reason::ServerSpokeFirst),
    NotTls => Some(Reason::NotTls),
    Ssl3 => Some(Reason::SslVersion),
    Garbled => Some(Reason::HandshakeUnreadable),
}

impl HelloKind {
    /// Some rules admit it although the usual ones refuse it.
    pub fn may_pass(self) -> bool {
        matches!(self, HelloKind::Low | HelloKind::Large)
    }
}

/// All that is said in a session.
pub struct Speech {
    pub client: Vec<u8>,
    pub head_bytes: usize,
    pub client_waits: Vec<Gate>,
    pub remote: Vec<u8>,
    pub remote_waits: Vec<Gate>,
    pub up_gates: Vec<Gate>,
    pub down_gates: Vec<Gate>,
    pub released_at: usize,
    pub hello_bytes: usize,
    /// The version that the remote's hello chooses, where it chooses one.
    pub chosen: Option<Version>,
}

pub const NEVER: Gate = Gate { from: 0, needs: usize::MAX };
/// So few that every hello of a kind world fits, and one hello kind does not.
pub const HELLO_BYTES: usize = 2_000;

pub fn draw(
    name: &str,
    kind: HeadKind,
    hello: HelloKind,
    server: ServerKind,
    chance: &mut Chance,
) -> Speech {
    let head = head_of(name, kind, chance);
    let (first, first_gate) = hello_of(name, hello, chance);
    let mut up = first;
    let mut up_gates = vec![first_gate];
    let hello_bytes = up.len();
    let payload = |chance: &mut Chance| {
        let size = if chance.once_in(20) { 200_000 } else { 12_000 };
        let payload = pattern(chance.size(size), chance.number());
        let fragment = 1 + payload.len() / 30 + chance.size(2_000);
        sample::records(ContentType::ApplicationData, Version::TLS12, &payload, fragment)
    };
    let early = chance.once_in(3);
    let mut client_waits = Vec::new();
    if !early {
        client_waits.push(Gate { from: head.len(), needs: ESTABLISHED.len() });
    }
    let (mut down, down_gate, chosen) = server_of(server, chance);
    let mut down_gates = vec![down_gate];
    let mut released_at = if down_gate.needs == usize::MAX { usize::MAX } else { down.len() };
    let mut remote_waits = vec![Gate { from: 0, needs: hello_bytes }];
    match server {
        ServerKind::SpeaksFirst => remote_waits.clear(),
        ServerKind::Alert => {
            released_at = usize::MAX;
            down_gates = vec![Gate { from: 0, needs: 5 }];
        }
        ServerKind::Retry if up_gates[0].needs != usize::MAX || hello.may_pass() => {
            let retry_bytes = down.len();
            client_waits.push(Gate {
                from: head.len() + hello_bytes,
                needs: ESTABLISHED.len() + retry_bytes,
            });
            up.extend(sample::records(ContentType::ChangeCipherSpec, Version::TLS12, &[1], 1));
            let from = up.len();
            up.extend(records(&client_hello(name.as_bytes(), &TLS13), chance));
            up_gates.push(Gate { from, needs: up.len() });
            remote_waits.push(Gate { from: retry_bytes, needs: up.len() });
            down.extend(records(&sample::server_hello(&CHOSE_13), chance));
            down_gates.push(Gate { from: retry_bytes, needs: down.len() });
            released_at = down.len();
        }
        _ => {}
    }
    if chance.once_in(2) {
        // A client of TLS 1.2 and before says nothing until it has the server's hello.
        let needs = ESTABLISHED.len() + down.len();
        client_waits.push(Gate { from: head.len() + up.len(), needs });
    }
    if !matches!(hello, HelloKind::Partial | HelloKind::PartialEnd | HelloKind::Silent) {
        up.extend(payload(chance));
    }
    if matches!(server, ServerKind::Good | ServerKind::Fragmented | ServerKind::Retry) {
        down.extend(pattern(chance.size(12_000), chance.number()));
    }
    if matches!(kind, HeadKind::Silent | HeadKind::Partial | HeadKind::PartialEnd) {
        up.clear();
    }
    let head_bytes = head.len();
    Speech {
        client: [head, up].concat(),
        head_bytes,
        client_waits,
        remote: down,
        remote_waits,
        up_gates,
        down_gates,
        released_at,
        hello_bytes,
        chosen,
    }
}

fn head_of(name: &str, kind: HeadKind, chance: &mut Chance) -> Vec<u8> {
    let pad = "x".repeat(chance.size(1_000));
    let good = format!("CONNECT {name}:443 HTTP/1.1\r\nHost: {name}\r\nUser-Agent: {pad}\r\n\r\n");
    let text = match kind {
        HeadKind::Good => good,
        HeadKind::Old => format!(
            "CONNECT {}:443 HTTP/1.0\r\nContent-Length: 0\r\nProxy-Connection: keep-alive\r\n\r\n",
            name.to_uppercase()
        ),
        HeadKind::BareLf => format!("CONNECT {name}:443 HTTP/1.1\nX: {pad}\n\n"),
        HeadKind::Health => "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        HeadKind::Silent => String::new(),
        HeadKind::Partial | HeadKind::PartialEnd => {
            good[..1 + chance.below(good.len() - 1)].to_owned()
        }
        HeadKind::Garbage => format!("\u{16}\u{3}\u{1}{pad}\r\n\r\n"),
        HeadKind::BadTarget => format!("CONNECT {name}:0443x HTTP/1.1\r\n\r\n"),
        HeadKind::Post => format!("POST http://{name}/ HTTP/1.1\r\nHost: {name}\r\n\r\n"),
        HeadKind::Large => {
            format!("CONNECT {name}:443 HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(5_000))
        }
        HeadKind::OtherHost => "CONNECT www.example.org:443 HTTP/1.1\r\n\r\n".to_owned(),
        HeadKind::OtherPort => format!("CONNECT {name}:8443 HTTP/1.1\r\n\r\n"),
    };
    text.into_bytes()
}

const TLS13: [Version; 2] = [Version::TLS13, Version::TLS12];
const CHOSE_13: SampleServerHello = SampleServerHello {
    server_version: Version::TLS12,
    version: Some(Version::TLS13),
    retry: false,
    session_id: &[0x22; 32],
};

fn client_hello(name: &[u8], versions: &[Version]) -> Vec<u8> {
    let server_name = (!name.is_empty()).then_some(name);
    sample::client_hello(&SampleHello { versions, server_name, ..SampleHello::default() })
}

fn records(message: &[u8], chance: &mut Chance) -> Vec<u8> {
    let fragment = if chance.once_in(2) { 1 << 14 } else { 1 + chance.size(message.len()) };
    sample::records(ContentType::Handshake, Version::TLS10, message, fragment)
}

/// The hello, and the gate it is behind.
fn hello_of(name: &str, kind: HelloKind, chance: &mut Chance) -> (Vec<u8>, Gate) {
    let name = name.as_bytes();
    let whole =
        |message: &[u8]| sample::records(ContentType::Handshake, Version::TLS10, message, 1 << 14);
    let good = client_hello(name, &TLS13);
    let bytes = match kind {
        HelloKind::Good => whole(&good),
        HelloKind::Fragmented => records(&good, chance),
        HelloKind::WithMore => {
            let modern = whole(&sample::modern_client_hello(name));
            let needs = modern.len();
            let ccs = sample::records(ContentType::ChangeCipherSpec, Version::TLS12, &[1], 1);
            return ([modern, ccs].concat(), Gate { from: 0, needs });
        }
        HelloKind::Silent => Vec::new(),
        HelloKind::Partial | HelloKind::PartialEnd => {
            let bytes = whole(&good);
            bytes[..1 + chance.below(bytes.len() - 1)].to_vec()
        }
        HelloKind::Ssl3 => whole(&sample::client_hello(&SampleHello {
            client_version: Version::SSL3,
            versions: &[],
            server_name: Some(name),
            ..SampleHello::default()
        })),
        HelloKind::Low => whole(&sample::client_hello(&SampleHello {
            client_version: Version::TLS10,
            versions: &[],
            server_name: Some(name),
            ..SampleHello::default()
        })),
        HelloKind::NotTls => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        HelloKind::OtherName => whole(&client_hello(b"other.example.com", &TLS13)),
        HelloKind::NoName => whole(&client_hello(b"", &TLS13)),
        HelloKind::Garbled => {
            let mut message = good;
            // The session id is longer than the message.
            message[4 + 34] = 255;
            whole(&message)
        }
        HelloKind::Large => {
            let padding = vec![0; HELLO_BYTES];
            whole(&sample::client_hello(&SampleHello {
                server_name: Some(name),
                extra: &[(21, &padding)],
                ..SampleHello::default()
            }))
        }
    };
    let judged = matches!(kind, HelloKind::Good | HelloKind::Fragmented);
    let gate = if judged { Gate { from: 0, needs: bytes.len() } } else { NEVER };
    (bytes, gate)
}

/// The remote's first bytes, the gate they are behind, and the version that they choose.
fn server_of(kind: ServerKind, chance: &mut Chance) -> (Vec<u8>, Gate, Option<Version>) {
    let hello = |version: Version, retry: bool| {
        let chosen = (version == Version::TLS13).then_some(version);
        let server_version = version.min(Version::TLS12);
        sample::server_hello(&SampleServerHello {
            server_version,
            version: chosen,
            retry,
            ..SampleServerHello::default()
        })
    };
    let whole =
        |message: &[u8]| sample::records(ContentType::Handshake, Version::TLS12, message, 1 << 14);
    let chosen = chance.pick(&TLS13);
    let bytes = match kind {
        ServerKind::Good => whole(&hello(chosen, false)),
        ServerKind::Fragmented => records(&hello(Version::TLS13, false), chance),
        ServerKind::Retry => whole(&hello(Version::TLS13, true)),
        ServerKind::Silent | ServerKind::EndsAtOnce => Vec::new(),
        ServerKind::Alert => sample::records(ContentType::Alert, Version::TLS12, &[2, 40], 2),
        ServerKind::SpeaksFirst | ServerKind::NotTls => b"220 mail ready\r\n".to_vec(),
        ServerKind::Ssl3 => whole(&hello(Version::SSL3, false)),
        ServerKind::Garbled => whole(&sample::message(2, &[3, 3, 0])),
    };
    let passes = matches!(kind, ServerKind::Good | ServerKind::Fragmented | ServerKind::Retry);
    let gate = if passes { Gate { from: 0, needs: bytes.len() } } else { NEVER };
    (bytes, gate, (kind == ServerKind::Good).then_some(chosen))
}

/// Bytes that differ at every place and from stream to stream.
fn pattern(len: usize, key: u64) -> Vec<u8> {
    (0..len as u64).map(|at| (key.wrapping_add(at * 167) ^ (at >> 8)) as u8).collect()
}
