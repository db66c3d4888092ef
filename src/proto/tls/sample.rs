//! Hellos and records to measure: what tests and benches of any room feed to a watch, without a TLS
//! library. Lengths are the caller's business where a test wants them wrong: build, then break.

use super::hello::RETRY_RANDOM;
use super::record::{ContentType, HEADER_BYTES};
use super::{Version, is_grease};

/// A ClientHello to build. The default is what a client of TLS 1.2 and 1.3 sends, without a name.
#[derive(Clone, Debug)]
pub struct SampleHello<'a> {
    /// The legacy field; TLS 1.3 clients say TLS 1.2 here.
    pub client_version: Version,
    /// supported_versions, in this order; empty leaves the extension out.
    pub versions: &'a [Version],
    /// server_name, as raw bytes; `None` leaves the extension out.
    pub server_name: Option<&'a [u8]>,
    /// The bytes of the session id, 0 to 32.
    pub session_id_len: usize,
    /// The bytes of a key_share extension; 0 leaves it out. X25519MLKEM768 makes it 1,263 bytes.
    pub key_share_len: usize,
    /// Further extensions, each with its type.
    pub extra: &'a [(u16, &'a [u8])],
}

impl Default for SampleHello<'_> {
    fn default() -> Self {
        SampleHello {
            client_version: Version::TLS12,
            versions: &[Version::TLS13, Version::TLS12],
            server_name: None,
            session_id_len: 32,
            key_share_len: 38,
            extra: &[],
        }
    }
}

/// A ServerHello to build. The default negotiates TLS 1.2.
#[derive(Clone, Debug)]
pub struct SampleServerHello {
    /// The legacy field.
    pub server_version: Version,
    /// supported_versions; `None` leaves the extension out.
    pub version: Option<Version>,
    /// Whether this is a HelloRetryRequest.
    pub retry: bool,
    /// The session id; 32 bytes of 0x22 are what [`SampleHello`] offers.
    pub session_id: &'static [u8],
}

impl Default for SampleServerHello {
    fn default() -> Self {
        SampleServerHello {
            server_version: Version::TLS12,
            version: None,
            retry: false,
            session_id: &[0x22; 32],
        }
    }
}

/// What OpenSSL 3.0 clients and servers put on the wire for `ws.ods.opinsights.azure.com`: one whole
/// record each. The retry is that of a server that knows only P-384, and the client's second hello.
pub mod captured {
    /// A client of TLS 1.2 only.
    pub const TLS12_CLIENT: &[u8] = include_bytes!("captures/openssl_tls12_client.bin");
    /// The ServerHello of TLS 1.2.
    pub const TLS12_SERVER: &[u8] = include_bytes!("captures/openssl_tls12_server.bin");
    /// A client of TLS 1.2 and 1.3.
    pub const TLS13_CLIENT: &[u8] = include_bytes!("captures/openssl_tls13_client.bin");
    /// The ServerHello of TLS 1.3.
    pub const TLS13_SERVER: &[u8] = include_bytes!("captures/openssl_tls13_server.bin");
    /// The HelloRetryRequest of TLS 1.3.
    pub const RETRY_SERVER: &[u8] = include_bytes!("captures/openssl_retry_server.bin");
    /// The second ClientHello, after it.
    pub const RETRY_CLIENT: &[u8] = include_bytes!("captures/openssl_retry_client.bin");
    /// The name in every ClientHello above.
    pub const SERVER_NAME: &str = "ws.ods.opinsights.azure.com";
}

/// The handshake message, its four bytes of type and length included.
pub fn client_hello(sample: &SampleHello<'_>) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(name) = sample.server_name {
        let entry = [&[0][..], &prefixed16(name)].concat();
        extension(&mut extensions, 0, &prefixed16(&entry));
    }
    if !sample.versions.is_empty() {
        let list: Vec<u8> =
            sample.versions.iter().flat_map(|version| version.0.to_be_bytes()).collect();
        extension(&mut extensions, 43, &prefixed8(&list));
    }
    if sample.key_share_len > 0 {
        extension(&mut extensions, 51, &vec![0x5a; sample.key_share_len]);
    }
    for (kind, data) in sample.extra {
        extension(&mut extensions, *kind, data);
    }
    let mut body = sample.client_version.0.to_be_bytes().to_vec();
    body.extend([0x11; 32]);
    body.extend(prefixed8(&vec![0x22; sample.session_id_len]));
    body.extend(prefixed16(&[0x13, 0x01, 0x13, 0x02, 0xc0, 0x2f, 0x00, 0xff]));
    body.extend(prefixed8(&[0]));
    if !extensions.is_empty() {
        body.extend(prefixed16(&extensions));
    }
    message(1, &body)
}

/// The handshake message, its four bytes of type and length included.
pub fn server_hello(sample: &SampleServerHello) -> Vec<u8> {
    let mut body = sample.server_version.0.to_be_bytes().to_vec();
    body.extend(if sample.retry { RETRY_RANDOM } else { [0x33; 32] });
    body.extend(prefixed8(sample.session_id));
    body.extend([0x13, 0x01, 0x00]);
    if let Some(version) = sample.version {
        let mut extensions = Vec::new();
        extension(&mut extensions, 43, &version.0.to_be_bytes());
        body.extend(prefixed16(&extensions));
    }
    message(2, &body)
}

/// The body of a Certificate message: a list of certificates, which may be none.
pub fn certificates(list: &[&[u8]]) -> Vec<u8> {
    let entries: Vec<u8> = list.iter().flat_map(|certificate| prefixed24(certificate)).collect();
    prefixed24(&entries)
}

/// An attribute of a name to build: the contents of its object identifier, the tag of its value, and
/// the value.
pub type SampleAttribute<'a> = (&'a [u8], u8, &'a [u8]);

/// A certificate in DER with this subject, part by part, and as little else as a reader of certificates
/// takes; its signature is none.
pub fn certificate(subject: &[&[SampleAttribute<'_>]]) -> Vec<u8> {
    certificate_of(&name(subject))
}

/// A certificate in DER around a subject that is encoded already.
pub fn certificate_of(subject: &[u8]) -> Vec<u8> {
    let algorithm = der(0x30, &der(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
    let version = der(0xa0, &der(2, &[2]));
    let validity = [der(23, b"260101000000Z"), der(23, b"360101000000Z")].concat();
    let key_kind = [der(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), der(5, &[])].concat();
    let key = [der(0x30, &key_kind), der(3, &[0, 4])].concat();
    let body = [
        &version,
        &der(2, &[1]),
        &algorithm,
        &der(0x30, &[]),
        &der(0x30, &validity),
        subject,
        &der(0x30, &key),
    ];
    der(0x30, &[&der(0x30, &body.concat()), &algorithm[..], &der(3, &[0])].concat())
}

/// A name in DER, part by part.
pub fn name(parts: &[&[SampleAttribute<'_>]]) -> Vec<u8> {
    let part = |attributes: &&[SampleAttribute<'_>]| {
        let pairs = attributes
            .iter()
            .flat_map(|(kind, tag, value)| der(0x30, &[der(6, kind), der(*tag, value)].concat()));
        der(0x31, &pairs.collect::<Vec<u8>>())
    };
    der(0x30, &parts.iter().flat_map(part).collect::<Vec<u8>>())
}

/// An element in DER: tag, shortest length, contents.
pub fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
    let len = contents.len();
    let length = match len {
        0..=0x7f => vec![len as u8],
        0x80..=0xff => vec![0x81, len as u8],
        0x100..=0xffff => vec![0x82, (len >> 8) as u8, len as u8],
        _ => vec![0x83, (len >> 16) as u8, (len >> 8) as u8, len as u8],
    };
    [&[tag], &length[..], contents].concat()
}

/// A handshake message of any type, for what follows the hellos.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    [&[kind, len[1], len[2], len[3]], body].concat()
}

/// `payload` as records of at most `fragment_len` bytes each; an empty payload is one empty record.
pub fn records(
    kind: ContentType,
    version: Version,
    payload: &[u8],
    fragment_len: usize,
) -> Vec<u8> {
    let fragment_len = fragment_len.clamp(1, 1 << 14);
    let mut out =
        Vec::with_capacity(payload.len() + HEADER_BYTES * (payload.len() / fragment_len + 1));
    let mut append = |fragment: &[u8]| {
        out.push(kind as u8);
        out.extend(version.0.to_be_bytes());
        out.extend(prefixed16(fragment));
    };
    match payload {
        [] => append(&[]),
        _ => payload.chunks(fragment_len).for_each(append),
    }
    out
}

/// The hello of a browser-like client: GREASE in every list, a post-quantum key share, ECH. 1.7 KiB.
pub fn modern_client_hello(server_name: &[u8]) -> Vec<u8> {
    let grease = Version(0x1a1a);
    debug_assert!(is_grease(grease.0));
    let ech = [0x5c; 250];
    client_hello(&SampleHello {
        versions: &[grease, Version::TLS13, Version::TLS12],
        server_name: Some(server_name),
        key_share_len: 1_263,
        extra: &[(0x2a2a, &[]), (0xfe0d, &ech), (0xff01, &[0]), (23, &[]), (0x4a4a, &[0])],
        ..SampleHello::default()
    })
}

fn extension(extensions: &mut Vec<u8>, kind: u16, data: &[u8]) {
    extensions.extend(kind.to_be_bytes());
    extensions.extend(prefixed16(data));
}

fn prefixed8(data: &[u8]) -> Vec<u8> {
    [&[data.len() as u8], data].concat()
}

fn prefixed16(data: &[u8]) -> Vec<u8> {
    [&(data.len() as u16).to_be_bytes(), data].concat()
}

fn prefixed24(data: &[u8]) -> Vec<u8> {
    [&(data.len() as u32).to_be_bytes()[1..], data].concat()
}
