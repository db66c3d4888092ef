//! The PROXY header: what a load balancer says of a connection before the connection's own bytes.
//!
//! Versions 1 (text) and 2 (binary) of `proxy-protocol.txt` as HAProxy publishes it. Documented choices:
//! families without an IP address and datagrams keep the balancer's own address, as section 2.2 allows;
//! extensions (TLVs) are skipped unread; a header that announces more than [`BLOCK_BYTES_MAX`] is refused.

#[cfg(any(test, fuzzing))]
pub mod fuzzed;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first bytes of version 2.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, its line end included (section 2.1).
pub const LINE_BYTES_MAX: usize = 107;
/// The most bytes that version 2 may announce behind its first 16: addresses and extensions. The
/// largest extensions known carry certificate names and the ids of clouds, some hundred bytes.
pub const BLOCK_BYTES_MAX: usize = 4096;

/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;
/// Two IPv6 addresses and two ports: all that is ever read behind the fixed part.
const ADDRESSES_BYTES_MAX: usize = 36;

/// How far a PROXY header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The end has not been seen.
    More,
    /// The header is whole; the reader is of no use any more.
    Whole {
        /// Who connected to the balancer; `None` where the balancer speaks for itself, or does not say.
        source: Option<SocketAddr>,
        /// Where in the bytes just given those begin that follow the header.
        head_at: usize,
    },
    /// This is no PROXY header, told by its very first byte.
    Absent,
    /// The header is wrong; the reader is of no use any more.
    Refused(HeaderError),
}

/// Why a PROXY header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeaderError {
    /// It begins like one and goes on like none.
    Signature,
    /// A line without an end within [`LINE_BYTES_MAX`].
    LineTooLong,
    /// Version 1: not `PROXY FAMILY ADDRESS ADDRESS PORT PORT` with one space between.
    Line,
    /// Version 1: a family that is none of TCP4, TCP6, UNKNOWN.
    LineFamily,
    /// Version 1: an address or a port that is none.
    LineAddress,
    /// A version other than 1 and 2.
    Version,
    /// Version 2: a command that is neither LOCAL nor PROXY.
    Command,
    /// Version 2: a family or transport that does not exist.
    Family,
    /// Version 2: shorter than the addresses of its family.
    BlockTooShort,
    /// Version 2: longer than [`BLOCK_BYTES_MAX`].
    BlockTooLong,
}

/// Collects a header. It goes byte by byte, so that how the bytes are cut cannot matter.
#[derive(Debug)]
pub struct HeaderReader {
    kept: [u8; LINE_BYTES_MAX],
    kept_len: usize,
    /// Bytes of extensions still to be dropped; set once version 2 has told its length.
    skip: usize,
}

impl HeaderReader {
    /// A reader at the first byte of a connection.
    pub fn new() -> HeaderReader {
        HeaderReader { kept: [0; LINE_BYTES_MAX], kept_len: 0, skip: 0 }
    }

    /// Whether not one byte has come.
    pub fn is_empty(&self) -> bool {
        self.kept_len == 0
    }

    /// Takes the next bytes from the balancer.
    pub fn read(&mut self, bytes: &[u8]) -> Heard {
        for (at, &byte) in bytes.iter().enumerate() {
            match self.take(byte) {
                Taken::More => {}
                Taken::Whole(source) => return Heard::Whole { source, head_at: at + 1 },
                Taken::Absent => return Heard::Absent,
                Taken::Refused(error) => return Heard::Refused(error),
            }
        }
        Heard::More
    }

    fn take(&mut self, byte: u8) -> Taken {
        if self.skip > 0 {
            self.skip -= 1;
            return if self.skip == 0 { self.judge_block() } else { Taken::More };
        }
        if self.kept_len == 0 && byte != LINE_BEGIN[0] && byte != SIGNATURE[0] {
            return Taken::Absent;
        }
        self.kept[self.kept_len] = byte;
        self.kept_len += 1;
        if self.kept[0] == LINE_BEGIN[0] { self.take_line() } else { self.take_block() }
    }

    fn take_line(&self) -> Taken {
        let line = &self.kept[..self.kept_len];
        if !begins_alike(line, LINE_BEGIN) {
            return Taken::Refused(HeaderError::Signature);
        }
        match line.strip_suffix(b"\r\n") {
            Some(line) => match source_of_line(line) {
                Ok(source) => Taken::Whole(source),
                Err(error) => Taken::Refused(error),
            },
            None if self.kept_len == LINE_BYTES_MAX => Taken::Refused(HeaderError::LineTooLong),
            None => Taken::More,
        }
    }

    fn take_block(&mut self) -> Taken {
        let block = &self.kept[..self.kept_len];
        if !begins_alike(block, &SIGNATURE) {
            return Taken::Refused(HeaderError::Signature);
        }
        if self.kept_len < FIXED_BYTES {
            return Taken::More;
        }
        let len = self.block_len();
        if self.kept_len == FIXED_BYTES {
            if let Err(error) = judge_fixed(block, len) {
                return Taken::Refused(error);
            }
            if len == 0 {
                return self.judge_block();
            }
            return Taken::More;
        }
        let taken = self.kept_len - FIXED_BYTES;
        match len - taken {
            0 => self.judge_block(),
            left if taken == ADDRESSES_BYTES_MAX => {
                self.skip = left;
                Taken::More
            }
            _ => Taken::More,
        }
    }

    /// The bytes that version 2 announces behind its fixed part.
    fn block_len(&self) -> usize {
        usize::from(u16::from_be_bytes([self.kept[14], self.kept[15]]))
    }

    fn judge_block(&self) -> Taken {
        Taken::Whole(source_of_block(&self.kept[..self.kept_len]))
    }
}

impl Default for HeaderReader {
    fn default() -> HeaderReader {
        HeaderReader::new()
    }
}

enum Taken {
    More,
    Whole(Option<SocketAddr>),
    Absent,
    Refused(HeaderError),
}

const LINE_BEGIN: &[u8] = b"PROXY ";

fn begins_alike(bytes: &[u8], beginning: &[u8]) -> bool {
    let len = bytes.len().min(beginning.len());
    bytes[..len] == beginning[..len]
}

/// A line of version 1 without its end.
fn source_of_line(line: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    let line = std::str::from_utf8(line).map_err(|_| HeaderError::Line)?;
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        // What follows UNKNOWN says nothing and is not looked at (section 2.1).
        [_, "UNKNOWN", ..] => Ok(None),
        [_, family @ ("TCP4" | "TCP6"), source, destination, source_port, destination_port] => {
            let source = address(family, source)?;
            address(family, destination)?;
            port(destination_port)?;
            Ok(Some(SocketAddr::new(source.to_canonical(), port(source_port)?)))
        }
        [_, "TCP4" | "TCP6", ..] => Err(HeaderError::Line),
        _ => Err(HeaderError::LineFamily),
    }
}

fn address(family: &str, text: &str) -> Result<IpAddr, HeaderError> {
    let parsed = match family {
        "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::V4),
        _ => text.parse::<Ipv6Addr>().map(IpAddr::V6),
    };
    parsed.map_err(|_| HeaderError::LineAddress)
}

/// Zeroes in front are refused, as section 2.1 wants it: some would read an octal number.
fn port(text: &str) -> Result<u16, HeaderError> {
    let is_plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| is_plain).ok_or(HeaderError::LineAddress)
}

const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// Judges the fixed part of version 2, which announces `len` bytes behind it.
fn judge_fixed(fixed: &[u8], len: usize) -> Result<(), HeaderError> {
    let (version, command, family) = (fixed[12] >> 4, fixed[12] & 0xf, fixed[13]);
    if version != 2 {
        return Err(HeaderError::Version);
    }
    if len > BLOCK_BYTES_MAX {
        return Err(HeaderError::BlockTooLong);
    }
    if command > PROXY {
        return Err(HeaderError::Command);
    }
    let least = match family {
        // The balancer's own connection: the family is ignored (section 2.2).
        _ if command == LOCAL => 0,
        0x00 => 0,
        TCP4 | 0x12 => 12,
        TCP6 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => return Err(HeaderError::Family),
    };
    if len < least { Err(HeaderError::BlockTooShort) } else { Ok(()) }
}

/// What a header of version 2 says, which [`judge_fixed`] has found good.
fn source_of_block(block: &[u8]) -> Option<SocketAddr> {
    if block[12] & 0xf != PROXY {
        return None;
    }
    let behind = &block[FIXED_BYTES..];
    match block[13] {
        TCP4 => {
            let source = Ipv4Addr::from(*behind.first_chunk::<4>()?);
            Some(SocketAddr::new(source.into(), u16::from_be_bytes([behind[8], behind[9]])))
        }
        TCP6 => {
            let source = IpAddr::V6(Ipv6Addr::from(*behind.first_chunk::<16>()?));
            let port = u16::from_be_bytes([behind[32], behind[33]]);
            Some(SocketAddr::new(source.to_canonical(), port))
        }
        _ => None,
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeaderError::Signature => "it begins like a PROXY header and goes on like none",
            HeaderError::LineTooLong => "its line has no end within 107 bytes",
            HeaderError::Line => "its line is not PROXY FAMILY ADDRESS ADDRESS PORT PORT",
            HeaderError::LineFamily => "its family is none of TCP4, TCP6, UNKNOWN",
            HeaderError::LineAddress => "an address or a port in it is none",
            HeaderError::Version => "its version is neither 1 nor 2",
            HeaderError::Command => "its command is neither LOCAL nor PROXY",
            HeaderError::Family => "its family or transport does not exist",
            HeaderError::BlockTooShort => "it is shorter than the addresses of its family",
            HeaderError::BlockTooLong => "it announces more than 4096 bytes",
        })
    }
}

impl std::error::Error for HeaderError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2.
    fn block(command: u8, family: u8, behind: &[u8]) -> Vec<u8> {
        let len = (behind.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &len, behind].concat()
    }

    fn whole(source: &str, header: &[u8]) -> Heard {
        let source = (!source.is_empty()).then(|| source.parse().unwrap());
        Heard::Whole { source, head_at: header.len() }
    }

    /// The answer to `bytes` given in pieces; `head_at` counts from the first byte of all.
    fn read_in(bytes: &[u8], sizes: impl IntoIterator<Item = usize>) -> Heard {
        let mut reader = HeaderReader::new();
        let (mut at, mut sizes) = (0, sizes.into_iter());
        while at < bytes.len() {
            let end = (at + sizes.next().unwrap_or(1).max(1)).min(bytes.len());
            match reader.read(&bytes[at..end]) {
                Heard::More => at = end,
                Heard::Whole { source, head_at } => {
                    return Heard::Whole { source, head_at: at + head_at };
                }
                other => return other,
            }
        }
        Heard::More
    }

    const V4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 7, 0xc0, 0x01, 0x01, 0xbb];

    fn v6(source: &str) -> Vec<u8> {
        let source: Ipv6Addr = source.parse().unwrap();
        [&source.octets()[..], &[0; 16], &[0xc0, 0x01, 0x01, 0xbb]].concat()
    }

    fn vectors() -> Vec<(Vec<u8>, Heard)> {
        use HeaderError::*;
        let good: Vec<(&str, Vec<u8>)> = vec![
            ("192.0.2.1:49153", b"PROXY TCP4 192.0.2.1 198.51.100.7 49153 443\r\n".to_vec()),
            ("0.0.0.0:0", b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n".to_vec()),
            ("[2001:db8::1]:1", b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n".to_vec()),
            ("192.0.2.1:1", b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n".to_vec()),
            ("", b"PROXY UNKNOWN\r\n".to_vec()),
            ("", b"PROXY UNKNOWN ff:ff::1 what ever 65535 65535\r\n".to_vec()),
            ("192.0.2.1:49153", block(PROXY, TCP4, V4)),
            ("192.0.2.1:49153", block(PROXY, TCP4, &[V4, &[0x03, 0, 4, 1, 2, 3, 4]].concat())),
            ("192.0.2.1:49153", block(PROXY, TCP4, &[V4, &[0; 24]].concat())),
            ("192.0.2.1:49153", block(PROXY, TCP4, &[V4, &[0; 25]].concat())),
            ("192.0.2.1:49153", block(PROXY, TCP4, &[V4, &[7; 4084]].concat())),
            ("[2001:db8::1]:49153", block(PROXY, TCP6, &v6("2001:db8::1"))),
            ("192.0.2.1:49153", block(PROXY, TCP6, &v6("::ffff:192.0.2.1"))),
            ("[2001:db8::1]:49153", block(PROXY, TCP6, &[&v6("2001:db8::1")[..], b"x"].concat())),
            ("", block(LOCAL, 0, &[])),
            ("", block(LOCAL, TCP4, V4)),
            ("", block(LOCAL, 0xff, &[1; 300])),
            ("", block(PROXY, 0, &[])),
            ("", block(PROXY, 0, &[9; 50])),
            ("", block(PROXY, 0x12, V4)),
            ("", block(PROXY, 0x31, &[b'a'; 216])),
        ];
        let bad: Vec<(HeaderError, Vec<u8>)> = vec![
            (Signature, b"PROXX".to_vec()),
            (Signature, b"POST / HTTP/1.1\r\n".to_vec()),
            (Signature, b"\r\nGET /".to_vec()),
            (Signature, b"\r\n\r\n\0\r\nQUIt".to_vec()),
            (LineTooLong, [&b"PROXY UNKNOWN "[..], &[b'x'; 93]].concat()),
            (LineTooLong, [&b"PROXY TCP4 1.2.3.4\n"[..], &[b'x'; 93]].concat()),
            (Line, b"PROXY TCP4 192.0.2.1 198.51.100.7 49153\r\n".to_vec()),
            (Line, b"PROXY TCP4 192.0.2.1 198.51.100.7 1 2 3\r\n".to_vec()),
            (Line, b"PROXY TCP4  192.0.2.1 198.51.100.7 1 2\r\n".to_vec()),
            (Line, b"PROXY TCP4\r\n".to_vec()),
            (Line, b"PROXY \xff\r\n".to_vec()),
            (LineFamily, b"PROXY \r\n".to_vec()),
            (LineFamily, b"PROXY tcp4 192.0.2.1 198.51.100.7 1 2\r\n".to_vec()),
            (LineFamily, b"PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n".to_vec()),
            (LineAddress, b"PROXY TCP4 ::1 198.51.100.7 1 2\r\n".to_vec()),
            (LineAddress, b"PROXY TCP6 192.0.2.1 ::1 1 2\r\n".to_vec()),
            (LineAddress, b"PROXY TCP4 192.0.2.01 198.51.100.7 1 2\r\n".to_vec()),
            (LineAddress, b"PROXY TCP4 192.0.2.1 198.51.100 1 2\r\n".to_vec()),
            (LineAddress, b"PROXY TCP4 192.0.2.1 198.51.100.7 01 2\r\n".to_vec()),
            (LineAddress, b"PROXY TCP4 192.0.2.1 198.51.100.7 +1 2\r\n".to_vec()),
            (LineAddress, b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 2\r\n".to_vec()),
            (LineAddress, b"PROXY TCP4 192.0.2.1 198.51.100.7 1 x\r\n".to_vec()),
            (Version, [&SIGNATURE[..], &[0x11, TCP4, 0, 12]].concat()),
            (Version, [&SIGNATURE[..], &[0x31, TCP4, 0, 12]].concat()),
            (Command, block(2, TCP4, V4)),
            (Command, block(15, TCP4, V4)),
            (Family, block(PROXY, 0x10, V4)),
            (Family, block(PROXY, 0x01, &[])),
            (Family, block(PROXY, 0x13, V4)),
            (Family, block(PROXY, 0x41, V4)),
            (BlockTooShort, block(PROXY, TCP4, &V4[..11])),
            (BlockTooShort, block(PROXY, TCP4, &[])),
            (BlockTooShort, block(PROXY, TCP6, &[0; 35])),
            (BlockTooShort, block(PROXY, 0x31, &[0; 215])),
            (BlockTooLong, block(PROXY, TCP4, &[V4, &[0; 4085]].concat())),
            (BlockTooLong, block(LOCAL, 0, &[0; 65_535])),
        ];
        let good = good.into_iter().map(|(source, bytes)| {
            let heard = whole(source, &bytes);
            (bytes, heard)
        });
        let bad = bad.into_iter().map(|(error, bytes)| (bytes, Heard::Refused(error)));
        let absent = ["C", "GET /healthz", "\x16\x03\x01", " PROXY", "proxy", "\n"];
        let absent = absent.map(|text| (text.as_bytes().to_vec(), Heard::Absent));
        good.chain(bad).chain(absent).collect()
    }

    #[test]
    fn headers_say_who_connected_however_they_are_cut() {
        for (bytes, expected) in vectors() {
            let what = bytes.escape_ascii().to_string();
            assert_eq!(read_in(&bytes, [bytes.len()]), expected, "{what}");
            assert_eq!(read_in(&bytes, []), expected, "{what}, byte by byte");
            for first in 1..bytes.len().min(200) {
                assert_eq!(read_in(&bytes, [first, usize::MAX / 2]), expected, "{what}, {first}");
            }
        }
    }

    #[test]
    fn what_follows_is_pointed_at_and_never_changes_the_header() {
        for (bytes, expected) in vectors() {
            for more in [&b"CONNECT a.b:443 HTTP/1.1\r\n\r\n"[..], b"PROXY TCP4", &SIGNATURE, b"\n"]
            {
                let glued = [&bytes[..], more].concat();
                assert_eq!(read_in(&glued, [glued.len()]), expected, "{}", glued.escape_ascii());
            }
        }
    }

    #[test]
    fn a_header_cut_short_waits_for_more() {
        for (bytes, expected) in vectors() {
            if let Heard::Whole { .. } = expected {
                let mut reader = HeaderReader::new();
                assert!(reader.is_empty());
                for &byte in &bytes[..bytes.len() - 1] {
                    assert_eq!(reader.read(&[byte]), Heard::More, "{}", bytes.escape_ascii());
                    assert_eq!(reader.read(&[]), Heard::More);
                    assert!(!reader.is_empty());
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_get_the_same_answer_in_any_pieces(
            begin in 0..4_usize,
            rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
            sizes in proptest::collection::vec(1..40_usize, 0..60),
        ) {
            let begins: [&[u8]; 4] = [b"", b"PROXY TCP4 ", &SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00"];
            let bytes = [begins[begin], &rest].concat();
            let whole = read_in(&bytes, [bytes.len().max(1)]);
            proptest::prop_assert_eq!(read_in(&bytes, sizes), whole);
            if whole == Heard::More {
                proptest::prop_assert!(bytes.len() < FIXED_BYTES + BLOCK_BYTES_MAX);
            }
        }

        #[test]
        fn any_source_of_version_1_and_2_comes_back(
            address in proptest::prelude::any::<IpAddr>(),
            port in proptest::prelude::any::<u16>(),
        ) {
            let expected = Some(SocketAddr::new(address.to_canonical(), port));
            let (name, family, octets) = match address {
                IpAddr::V4(v4) => ("TCP4", TCP4, v4.octets().to_vec()),
                IpAddr::V6(v6) => ("TCP6", TCP6, v6.octets().to_vec()),
            };
            let line = format!("PROXY {name} {address} {address} {port} 1\r\n").into_bytes();
            let behind = [&octets[..], &octets, &port.to_be_bytes(), &[0, 1]].concat();
            for header in [line, block(PROXY, family, &behind)] {
                let heard = read_in(&header, [header.len()]);
                proptest::prop_assert_eq!(heard, Heard::Whole { source: expected, head_at: header.len() });
            }
        }
    }
}
