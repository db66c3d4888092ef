//! ClientHello and ServerHello (RFC 8446 section 4.1, RFC 5246 section 7.4.1): the versions and the
//! name in them. Every length is checked, nothing may be left over, and no extension may come twice
//! (section 4.2), because two readers of one hello must not see two names.

use std::fmt;

use super::Version;
use crate::proto::target::Host;

/// What a ClientHello asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The highest version offered: the highest of supported_versions that is a version of TLS, else
    /// `client_version`, which alone cannot offer more than TLS 1.2 (RFC 8446 section 4.2.1).
    pub best: Version,
    /// Whom the client believes to talk to.
    pub server_name: ServerName,
}

/// The server_name extension (RFC 6066 section 3). With ECH this is the outer name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerName {
    /// There is none.
    Absent,
    /// Canonical as [`Host::Name`], or the text of an address literal, which clients send against the RFC.
    Name(Box<str>),
    /// Framed well, but no host name; the text says why.
    Unreadable(&'static str),
}

/// What a ServerHello settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerHello {
    /// The negotiated version: supported_versions, else `server_version`.
    pub version: Version,
    /// A HelloRetryRequest, which settles nothing: another ClientHello follows.
    pub retry: bool,
}

/// Why a hello cannot be read. The text names the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HelloError {
    /// The message ends within the field.
    Short(&'static str),
    /// The field's length is not one it may have.
    Length(&'static str),
    /// Bytes follow the end of the field.
    Trailing(&'static str),
    /// The extension of this number comes twice.
    Twice(u16),
}

const SERVER_NAME: u16 = 0;
const SUPPORTED_VERSIONS: u16 = 43;
const HOST_NAME: u8 = 0;

/// The random of a HelloRetryRequest: SHA-256 of "HelloRetryRequest" (RFC 8446 section 4.1.3).
pub const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8,
    0x91, //
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

impl ClientHello {
    /// Reads the body of the handshake message, that is, without its four bytes of type and length.
    pub fn parse(body: &[u8]) -> Result<ClientHello, HelloError> {
        let mut fields = Fields(body);
        let client_version = Version(fields.u16("client_version")?);
        fields.take(32, "random")?;
        session_id(&mut fields)?;
        let suites = fields.vector16("cipher_suites")?;
        if suites.is_empty() || suites.len() % 2 != 0 {
            return Err(HelloError::Length("cipher_suites"));
        }
        if fields.vector8("compression_methods")?.is_empty() {
            return Err(HelloError::Length("compression_methods"));
        }
        let mut hello = ClientHello {
            best: client_version.min(Version::TLS12),
            server_name: ServerName::Absent,
        };
        each_extension(fields, |kind, data| {
            match kind {
                SERVER_NAME => hello.server_name = server_name(data)?,
                SUPPORTED_VERSIONS => hello.best = offered_versions(data)?.unwrap_or(hello.best),
                _ => {}
            }
            Ok(())
        })?;
        Ok(hello)
    }
}

impl ServerHello {
    /// Reads the body of the handshake message, that is, without its four bytes of type and length.
    pub fn parse(body: &[u8]) -> Result<ServerHello, HelloError> {
        let mut fields = Fields(body);
        let server_version = Version(fields.u16("server_version")?);
        let retry = fields.take(32, "random")? == RETRY_RANDOM;
        session_id(&mut fields)?;
        fields.take(2, "cipher_suite")?;
        fields.take(1, "compression_method")?;
        let mut hello = ServerHello { version: server_version, retry };
        each_extension(fields, |kind, data| {
            if kind == SUPPORTED_VERSIONS {
                let mut data = Fields(data);
                hello.version = Version(data.u16("supported_versions")?);
                data.end("supported_versions")?;
            }
            Ok(())
        })?;
        Ok(hello)
    }
}

pub(super) fn session_id<'a>(fields: &mut Fields<'a>) -> Result<&'a [u8], HelloError> {
    let id = fields.vector8("session_id")?;
    if id.len() > 32 { Err(HelloError::Length("session_id")) } else { Ok(id) }
}

/// Calls `visit` with each extension; there may be none at all (RFC 5246 section 7.4.1.2).
pub(super) fn each_extension<'a>(
    mut fields: Fields<'a>,
    mut visit: impl FnMut(u16, &'a [u8]) -> Result<(), HelloError>,
) -> Result<(), HelloError> {
    if fields.0.is_empty() {
        return Ok(());
    }
    let mut extensions = Fields(fields.vector16("extensions")?);
    fields.end("extensions")?;
    let mut seen = Seen::default();
    while !extensions.0.is_empty() {
        let kind = extensions.u16("the type of an extension")?;
        let data = extensions.vector16("an extension")?;
        if !seen.insert(kind) {
            return Err(HelloError::Twice(kind));
        }
        visit(kind, data)?;
    }
    Ok(())
}

/// The highest version of TLS in a client's list; `None` if there is none but GREASE and strangers.
fn offered_versions(data: &[u8]) -> Result<Option<Version>, HelloError> {
    let mut data = Fields(data);
    let list = data.vector8("supported_versions")?;
    data.end("supported_versions")?;
    if list.is_empty() || list.len() % 2 != 0 {
        return Err(HelloError::Length("supported_versions"));
    }
    let versions = list.chunks_exact(2).map(|pair| Version(u16::from_be_bytes([pair[0], pair[1]])));
    // GREASE and DTLS are neither SSL nor TLS.
    Ok(versions.filter(|version| version.is_tls() || version.is_ssl()).max())
}

/// Broken framing is an error of the hello; a well-framed name that is none is a value to be judged.
fn server_name(data: &[u8]) -> Result<ServerName, HelloError> {
    let mut data = Fields(data);
    let mut list = Fields(data.vector16("server_name")?);
    data.end("server_name")?;
    if list.0.is_empty() {
        return Ok(ServerName::Unreadable("an empty list of names"));
    }
    let kind = list.take(1, "server_name")?[0];
    // The RFC leaves the framing of other types open, so nothing behind one can be trusted.
    if kind != HOST_NAME {
        return Ok(ServerName::Unreadable("a name of an unknown type"));
    }
    let name = list.vector16("server_name")?;
    if !list.0.is_empty() {
        return Ok(ServerName::Unreadable("more than one name"));
    }
    Ok(host_name(name))
}

fn host_name(name: &[u8]) -> ServerName {
    if name.is_empty() {
        return ServerName::Unreadable("an empty name");
    }
    if name.contains(&0) {
        return ServerName::Unreadable("a name with a NUL in it");
    }
    match Host::parse(name) {
        Ok(Host::Name(name)) => ServerName::Name(name),
        Ok(Host::Address(address)) => ServerName::Name(address.to_string().into_boxed_str()),
        Err(_) => ServerName::Unreadable("not a host name"),
    }
}

/// What is left of a message; every read is checked.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], HelloError> {
        let (field, rest) = self.0.split_at_checked(len).ok_or(HelloError::Short(what))?;
        self.0 = rest;
        Ok(field)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, HelloError> {
        let bytes = self.take(2, what)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn vector8(&mut self, what: &'static str) -> Result<&'a [u8], HelloError> {
        let len = self.take(1, what)?[0];
        self.take(usize::from(len), what)
    }

    pub(super) fn vector16(&mut self, what: &'static str) -> Result<&'a [u8], HelloError> {
        let len = self.u16(what)?;
        self.take(usize::from(len), what)
    }

    pub(super) fn end(self, what: &'static str) -> Result<(), HelloError> {
        if self.0.is_empty() { Ok(()) } else { Err(HelloError::Trailing(what)) }
    }
}

/// A set of extension types: bits for the registered ones, a few slots for GREASE and private ones, and
/// a map of bits for whoever sends thousands, so that the work stays linear and the usual hello allocates nothing.
#[derive(Default)]
struct Seen {
    low: [u64; 4],
    high: [u16; 8],
    highs: usize,
    rest: Option<Box<[u64; 1024]>>,
}

impl Seen {
    /// Whether `kind` is new.
    fn insert(&mut self, kind: u16) -> bool {
        let (word, bit) = (usize::from(kind >> 6), 1u64 << (kind & 63));
        if let Some(word) = self.low.get_mut(word) {
            let new = *word & bit == 0;
            *word |= bit;
            return new;
        }
        if self.high[..self.highs].contains(&kind) {
            return false;
        }
        if let Some(slot) = self.high.get_mut(self.highs) {
            *slot = kind;
            self.highs += 1;
            return true;
        }
        let word = &mut self.rest.get_or_insert_with(|| Box::new([0; 1024]))[word];
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HelloError::Short(what) => write!(f, "the hello ends within {what}"),
            HelloError::Length(what) => write!(f, "the hello has a wrong length of {what}"),
            HelloError::Trailing(what) => write!(f, "the hello has bytes after the end of {what}"),
            HelloError::Twice(kind) => write!(f, "the hello has extension {kind} twice"),
        }
    }
}

impl std::error::Error for HelloError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::HEADER_BYTES;
    use super::super::sample::{self, SampleHello, SampleServerHello, captured};
    use super::*;

    const MESSAGE_BYTES: usize = 4;

    fn client(sample: &SampleHello<'_>) -> Result<ClientHello, HelloError> {
        ClientHello::parse(&sample::client_hello(sample)[MESSAGE_BYTES..])
    }

    fn named(name: &[u8]) -> ServerName {
        client(&SampleHello { server_name: Some(name), ..SampleHello::default() })
            .unwrap()
            .server_name
    }

    #[test]
    fn captured_client_hellos_are_read() {
        let rows = [
            (captured::TLS12_CLIENT, Version::TLS12),
            (captured::TLS13_CLIENT, Version::TLS13),
            (captured::RETRY_CLIENT, Version::TLS13),
        ];
        for (record, best) in rows {
            let hello = ClientHello::parse(&record[HEADER_BYTES + MESSAGE_BYTES..]).unwrap();
            assert_eq!(hello.best, best);
            assert_eq!(hello.server_name, ServerName::Name(captured::SERVER_NAME.into()));
        }
    }

    #[test]
    fn captured_server_hellos_are_read() {
        let rows = [
            (captured::TLS12_SERVER, Version::TLS12, false),
            (captured::TLS13_SERVER, Version::TLS13, false),
            (captured::RETRY_SERVER, Version::TLS13, true),
        ];
        for (record, version, retry) in rows {
            let hello = ServerHello::parse(&record[HEADER_BYTES + MESSAGE_BYTES..]).unwrap();
            assert_eq!(hello, ServerHello { version, retry });
        }
    }

    #[test]
    fn a_hello_with_grease_ech_and_a_post_quantum_share_is_read() {
        let message = sample::modern_client_hello(b"ws.ods.opinsights.azure.com");
        assert!(message.len() > 1_600);
        let hello = ClientHello::parse(&message[MESSAGE_BYTES..]).unwrap();
        assert_eq!(hello.best, Version::TLS13);
        assert_eq!(hello.server_name, ServerName::Name("ws.ods.opinsights.azure.com".into()));
    }

    #[test]
    fn the_best_version_is_the_highest_real_one() {
        let (grease, draft, dtls) = (Version(0xdada), Version(0x7f1c), Version(0xfefc));
        let rows: [(Version, &[Version], Version); 12] = [
            (Version::TLS12, &[Version::TLS13, Version::TLS12], Version::TLS13),
            (Version::TLS12, &[Version::TLS12, Version::TLS13, grease], Version::TLS13),
            (Version::TLS12, &[grease, Version::TLS10], Version::TLS10),
            (Version::TLS12, &[Version::TLS11, Version::TLS10], Version::TLS11),
            (Version::TLS12, &[draft, Version::TLS12], draft),
            (Version::TLS12, &[grease], Version::TLS12),
            (Version::TLS10, &[dtls], Version::TLS10),
            (Version::TLS12, &[], Version::TLS12),
            (Version::TLS10, &[], Version::TLS10),
            (Version::SSL3, &[], Version::SSL3),
            (Version::SSL2, &[], Version::SSL2),
            // Without supported_versions nobody negotiates TLS 1.3.
            (Version::TLS13, &[], Version::TLS12),
        ];
        for (client_version, versions, best) in rows {
            let hello = client(&SampleHello { client_version, versions, ..SampleHello::default() })
                .unwrap();
            assert_eq!(hello.best, best, "{client_version} {versions:?}");
        }
    }

    #[test]
    fn server_names_are_canonical_or_unreadable() {
        let rows: [(&[u8], ServerName); 12] = [
            (b"www.test.com", ServerName::Name("www.test.com".into())),
            (b"WWW.test.COM.", ServerName::Name("www.test.com".into())),
            (b"10.0.0.1", ServerName::Name("10.0.0.1".into())),
            (b"2001:DB8::1", ServerName::Name("2001:db8::1".into())),
            (b"", ServerName::Unreadable("an empty name")),
            (b"evil.com\0.test.com", ServerName::Unreadable("a name with a NUL in it")),
            (b"a b", ServerName::Unreadable("not a host name")),
            (b"a..b", ServerName::Unreadable("not a host name")),
            (b"*.test.com", ServerName::Unreadable("not a host name")),
            (b"test.com:443", ServerName::Unreadable("not a host name")),
            (b"127.1", ServerName::Unreadable("not a host name")),
            (b"b\xc3\xbccher.example", ServerName::Unreadable("not a host name")),
        ];
        for (name, expected) in rows {
            assert_eq!(named(name), expected, "{}", name.escape_ascii());
        }
        assert_eq!(client(&SampleHello::default()).unwrap().server_name, ServerName::Absent);
    }

    #[test]
    fn odd_lists_of_names_are_told_from_broken_ones() {
        let rows: [(&[u8], Result<ServerName, HelloError>); 8] = [
            (&[0, 0], Ok(ServerName::Unreadable("an empty list of names"))),
            (
                &[0, 8, 0, 0, 1, b'a', 0, 0, 1, b'b'],
                Ok(ServerName::Unreadable("more than one name")),
            ),
            (&[0, 4, 1, 0, 1, b'a'], Ok(ServerName::Unreadable("a name of an unknown type"))),
            (&[], Err(HelloError::Short("server_name"))),
            (&[0, 5, 0, 0, 1, b'a'], Err(HelloError::Short("server_name"))),
            (&[0, 4, 0, 0, 2, b'a'], Err(HelloError::Short("server_name"))),
            (&[0, 1, 0], Err(HelloError::Short("server_name"))),
            (&[0, 4, 0, 0, 1, b'a', 9], Err(HelloError::Trailing("server_name"))),
        ];
        for (data, expected) in rows {
            let hello = client(&SampleHello { extra: &[(0, data)], ..SampleHello::default() });
            assert_eq!(hello.map(|hello| hello.server_name), expected, "{data:?}");
        }
    }

    #[test]
    fn no_extension_may_come_twice() {
        let twice =
            |extra: &[(u16, &[u8])]| client(&SampleHello { extra, ..SampleHello::default() });
        let name: &[u8] = &[0, 4, 0, 0, 1, b'a'];
        assert_eq!(twice(&[(0, name), (0, name)]), Err(HelloError::Twice(0)));
        assert_eq!(twice(&[(43, &[2, 3, 3])]), Err(HelloError::Twice(43)));
        assert_eq!(
            twice(&[(0x1a1a, &[]), (0x2a2a, &[]), (0x1a1a, &[])]),
            Err(HelloError::Twice(0x1a1a))
        );
        // More kinds than any slot: each is still known the second time, wherever it went.
        let many: Vec<(u16, &[u8])> = (100..3_000).map(|kind| (kind, &[][..])).collect();
        assert!(twice(&many).is_ok());
        for kind in [100, 255, 256, 263, 264, 2_999] {
            let mut again = many.clone();
            again.push((kind, &[]));
            assert_eq!(twice(&again), Err(HelloError::Twice(kind)));
        }
    }

    #[test]
    fn wrong_lengths_of_fields_are_refused() {
        let rows: [(&[u8], HelloError); 7] = [
            (&[0, 0], HelloError::Length("cipher_suites")),
            (&[0, 3, 1, 2, 3], HelloError::Length("cipher_suites")),
            (&[0, 2, 0x13, 1, 0], HelloError::Length("compression_methods")),
            (&[0, 2, 0x13, 1, 1, 0, 0], HelloError::Short("extensions")),
            (&[0, 2, 0x13, 1, 1, 0, 0, 0, 9], HelloError::Trailing("extensions")),
            (
                &[0, 2, 0x13, 1, 1, 0, 0, 5, 0, 43, 0, 1, 0],
                HelloError::Length("supported_versions"),
            ),
            (
                &[0, 2, 0x13, 1, 1, 0, 0, 6, 0, 43, 0, 2, 1, 3],
                HelloError::Length("supported_versions"),
            ),
        ];
        for (rest, error) in rows {
            let body = [&[3, 3][..], &[7; 32], &[0], rest].concat();
            assert_eq!(ClientHello::parse(&body), Err(error), "{rest:?}");
        }
        let long_id = [&[3, 3][..], &[7; 32], &[33], &[0; 33], &[0, 2, 0x13, 1, 1, 0]].concat();
        assert_eq!(ClientHello::parse(&long_id), Err(HelloError::Length("session_id")));
        let without_extensions = [&[3, 1][..], &[7; 32], &[0], &[0, 2, 0, 5, 1, 0]].concat();
        assert_eq!(ClientHello::parse(&without_extensions).unwrap().best, Version::TLS10);
        let empty_extensions = [&without_extensions[..], &[0, 0]].concat();
        assert_eq!(ClientHello::parse(&empty_extensions).unwrap().best, Version::TLS10);
    }

    #[test]
    fn server_hellos_tell_version_and_retry() {
        let rows = [
            (SampleServerHello::default(), Version::TLS12, false),
            (
                SampleServerHello { server_version: Version::SSL3, ..Default::default() },
                Version::SSL3,
                false,
            ),
            (
                SampleServerHello { version: Some(Version::TLS13), ..Default::default() },
                Version::TLS13,
                false,
            ),
            (
                SampleServerHello {
                    version: Some(Version::TLS13),
                    retry: true,
                    ..Default::default()
                },
                Version::TLS13,
                true,
            ),
            (
                SampleServerHello { version: Some(Version(0x7f1c)), ..Default::default() },
                Version(0x7f1c),
                false,
            ),
        ];
        for (sample, version, retry) in rows {
            let message = sample::server_hello(&sample);
            let hello = ServerHello::parse(&message[MESSAGE_BYTES..]).unwrap();
            assert_eq!(hello, ServerHello { version, retry }, "{sample:?}");
            let glued = [&message[MESSAGE_BYTES..], &[0]].concat();
            assert!(ServerHello::parse(&glued).is_err());
        }
        let list =
            [&[3, 3][..], &[7; 32], &[0], &[0x13, 1, 0], &[0, 7, 0, 43, 0, 3, 2, 3, 4]].concat();
        assert_eq!(ServerHello::parse(&list), Err(HelloError::Trailing("supported_versions")));
    }

    #[test]
    fn a_hello_cut_anywhere_is_an_error() {
        let message = sample::modern_client_hello(b"www.test.com");
        let whole = &message[MESSAGE_BYTES..];
        let without_extensions = 2 + 32 + 33 + 10 + 2;
        for len in (0..whole.len()).filter(|&len| len != without_extensions) {
            assert!(ClientHello::parse(&whole[..len]).is_err(), "{len}");
        }
        let whole = &captured::TLS13_SERVER[HEADER_BYTES + MESSAGE_BYTES..];
        let without_extensions = 2 + 32 + 33 + 3;
        for len in (0..whole.len()).filter(|&len| len != without_extensions) {
            assert!(ServerHello::parse(&whole[..len]).is_err(), "{len}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = ClientHello::parse(&bytes);
            let _ = ServerHello::parse(&bytes);
        }

        #[test]
        fn a_changed_byte_never_panics(at in 0usize..1_700, byte: u8) {
            let mut message = sample::modern_client_hello(b"www.test.com");
            let at = at % message.len();
            message[at] = byte;
            let _ = ClientHello::parse(&message[MESSAGE_BYTES..]);
        }

        #[test]
        fn a_name_in_the_hello_is_the_name_of_the_target(text in "[a-zA-Z0-9._\\-]{1,30}") {
            let expected = match Host::parse(text.as_bytes()) {
                Ok(host) => ServerName::Name(host.to_string().into()),
                Err(_) => ServerName::Unreadable("not a host name"),
            };
            prop_assert_eq!(named(text.as_bytes()), expected);
        }
    }
}
