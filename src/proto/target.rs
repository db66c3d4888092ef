//! The target of a CONNECT: `host:port`, read strictly. Whatever two programs could read in two ways
//! (user information, percent signs, numbers that libc would call an address) is refused, so that the
//! name that is judged is the name that is resolved. RFC 9110 section 9.3.6, RFC 1123 section 2.1.

#[cfg(any(test, fuzzing))]
pub mod fuzzed;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a client wants to reach. Shown as `host:port`, with brackets around an IPv6 address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The name or address.
    pub host: Host,
    /// 1 to 65535.
    pub port: u16,
}

/// A name or an address literal. Shown without brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// Canonical: lower case, no trailing dot, A-labels, at most 253 bytes.
    Name(Box<str>),
    /// As the client wrote it: an IPv4-mapped IPv6 address stays one.
    Address(IpAddr),
}

/// What is wrong with a host or a target. The text never repeats bytes that could disturb a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetError {
    /// There is no host.
    NoHost,
    /// There is no port.
    NoPort,
    /// The port has other characters than digits.
    PortNotNumber,
    /// The port has a leading zero.
    PortLeadingZero,
    /// The port is 0 or above 65535.
    PortOutOfRange,
    /// `user@`.
    UserInformation,
    /// A scheme or a path.
    Slash,
    /// `%` in a name: percent encoding is never decoded.
    Percent,
    /// `%` in brackets: the zone of an IPv6 address.
    Zone,
    /// A byte above 127: names outside ASCII are written as A-labels.
    NotAscii,
    /// A byte that no host has.
    Byte(u8),
    /// More than one colon outside brackets.
    Colons,
    /// A bracket without its partner, or in the wrong place.
    Brackets,
    /// Brackets around something that is not an IPv6 address.
    NotIpv6,
    /// Two dots in a row, or one at the start.
    EmptyLabel,
    /// A label above 63 bytes.
    LongLabel,
    /// A name above 253 bytes.
    LongName,
    /// A label that begins or ends with a hyphen.
    Hyphen,
    /// The last label is a number, and the whole is not a dotted quad.
    Number,
    /// An `xn--` label that cannot be decoded (RFC 3492).
    Punycode,
}

/// The longest name, without the trailing dot (RFC 1035 section 2.3.4, in its written form).
pub const NAME_BYTES: usize = 253;
/// The longest label (RFC 1035 section 2.3.4).
pub const LABEL_BYTES: usize = 63;

impl Target {
    /// Reads `host:port`, `1.2.3.4:port` or `[2001:db8::1]:port`; the port is required.
    pub fn parse(authority: &[u8]) -> Result<Target, TargetError> {
        judge_bytes(authority)?;
        let (host, port) = split_port(authority)?;
        let port = parse_port(port.ok_or(TargetError::NoPort)?)?;
        Ok(Target { host: parse_host(host)?, port })
    }
}

impl Host {
    /// Reads a name, an IPv4 address, or an IPv6 address with or without brackets; no port.
    pub fn parse(text: &[u8]) -> Result<Host, TargetError> {
        judge_bytes(text)?;
        parse_host(text)
    }

    /// The canonical name, where the host is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Host::Name(name) => Some(name),
            Host::Address(_) => None,
        }
    }
}

/// Splits `host[:port]` outside brackets; an IPv6 address without brackets is refused here.
pub(crate) fn split_port(text: &[u8]) -> Result<(&[u8], Option<&[u8]>), TargetError> {
    if text.first() == Some(&b'[') {
        let end = text.iter().position(|&b| b == b']').ok_or(TargetError::Brackets)?;
        let (host, rest) = text.split_at(end + 1);
        return match rest {
            [] => Ok((host, None)),
            [b':', port @ ..] => Ok((host, Some(port))),
            _ => Err(TargetError::Brackets),
        };
    }
    let Some(colon) = text.iter().position(|&b| b == b':') else { return Ok((text, None)) };
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    if port.contains(&b':') {
        return Err(TargetError::Colons);
    }
    Ok((host, Some(port)))
}

/// A port in its one spelling: digits without a leading zero, 1 to 65535.
pub(crate) fn parse_port(text: &[u8]) -> Result<u16, TargetError> {
    if text.is_empty() {
        return Err(TargetError::NoPort);
    }
    if !text.iter().all(u8::is_ascii_digit) {
        return Err(TargetError::PortNotNumber);
    }
    if text[0] == b'0' {
        let zero = text.len() == 1;
        return Err(if zero { TargetError::PortOutOfRange } else { TargetError::PortLeadingZero });
    }
    text.iter()
        .try_fold(0u16, |port, b| port.checked_mul(10)?.checked_add(u16::from(b - b'0')))
        .ok_or(TargetError::PortOutOfRange)
}

/// Finds the first byte that no host and no port has, and says what it probably means.
fn judge_bytes(text: &[u8]) -> Result<(), TargetError> {
    let may_occur =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    match text.iter().find(|&&b| !may_occur(b)) {
        None => Ok(()),
        Some(b'@') => Err(TargetError::UserInformation),
        Some(b'/') => Err(TargetError::Slash),
        Some(b'%') if text[0] == b'[' => Err(TargetError::Zone),
        Some(b'%') => Err(TargetError::Percent),
        Some(128..) => Err(TargetError::NotAscii),
        Some(&b) => Err(TargetError::Byte(b)),
    }
}

/// `text` has passed [`judge_bytes`], so it is ASCII.
fn parse_host(text: &[u8]) -> Result<Host, TargetError> {
    let bracketed = text.first() == Some(&b'[');
    if bracketed || text.contains(&b':') {
        let inner = match text {
            [b'[', inner @ .., b']'] => inner,
            _ if bracketed => return Err(TargetError::Brackets),
            _ => text,
        };
        let address = as_text(inner).parse::<Ipv6Addr>().map_err(|_| TargetError::NotIpv6)?;
        return Ok(Host::Address(IpAddr::V6(address)));
    }
    if text.contains(&b'[') || text.contains(&b']') {
        return Err(TargetError::Brackets);
    }
    parse_name(text)
}

fn parse_name(text: &[u8]) -> Result<Host, TargetError> {
    let name = text.strip_suffix(b".").unwrap_or(text);
    if text.is_empty() {
        return Err(TargetError::NoHost);
    }
    if name.len() > NAME_BYTES {
        return Err(TargetError::LongName);
    }
    let mut last: &[u8] = &[];
    for label in name.split(|&b| b == b'.') {
        judge_label(label)?;
        last = label;
    }
    if is_number(last) {
        // A trailing dot belongs to names; libc would still take "127.0.0.1." for an address.
        let address = as_text(text).parse::<Ipv4Addr>().map_err(|_| TargetError::Number)?;
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    Ok(Host::Name(as_text(name).to_ascii_lowercase().into_boxed_str()))
}

fn judge_label(label: &[u8]) -> Result<(), TargetError> {
    match label {
        [] => Err(TargetError::EmptyLabel),
        _ if label.len() > LABEL_BYTES => Err(TargetError::LongLabel),
        [b'x' | b'X', b'n' | b'N', b'-', b'-', encoded @ ..] if !is_punycode(encoded) => {
            Err(TargetError::Punycode)
        }
        [b'-', ..] | [.., b'-'] => Err(TargetError::Hyphen),
        _ => Ok(()),
    }
}

/// What libc, or a browser, would read as (part of) an IPv4 address: all digits, or `0x` and hex digits.
fn is_number(label: &[u8]) -> bool {
    match label {
        [b'0', b'x' | b'X', hex @ ..] => hex.iter().all(u8::is_ascii_hexdigit),
        _ => label.iter().all(u8::is_ascii_digit),
    }
}

/// Whether RFC 3492 section 6.2 decodes `encoded` to something that needed encoding. Only the arithmetic
/// is done: where the code points go does not matter here.
fn is_punycode(encoded: &[u8]) -> bool {
    let literal = encoded.iter().rposition(|&b| b == b'-').unwrap_or(0);
    let digits = if literal > 0 { &encoded[literal + 1..] } else { encoded };
    let mut code_point: u32 = 128;
    let mut count = literal as u32;
    let mut position: u32 = 0;
    let mut bias = 72;
    let mut rest = digits.iter();
    while !rest.as_slice().is_empty() {
        let Some(delta) = punycode_delta(&mut rest, bias) else { return false };
        count += 1;
        let Some(moved) = position.checked_add(delta) else { return false };
        code_point = code_point.saturating_add(moved / count);
        // What no encoder makes: more than there is, and the control characters behind ASCII.
        if char::from_u32(code_point).is_none_or(char::is_control) {
            return false;
        }
        bias = punycode_bias(delta, count, count == literal as u32 + 1);
        position = moved % count + 1;
    }
    !digits.is_empty()
}

/// One variable-length integer (RFC 3492 section 3.3); `None` where it is cut, foreign or too big.
fn punycode_delta(digits: &mut std::slice::Iter<'_, u8>, bias: u32) -> Option<u32> {
    let (mut delta, mut weight) = (0u32, 1u32);
    for k in (36u32..).step_by(36) {
        let digit = match *digits.next()? {
            letter @ (b'a'..=b'z') => letter - b'a',
            letter @ (b'A'..=b'Z') => letter - b'A',
            number @ (b'0'..=b'9') => number - b'0' + 26,
            _ => return None,
        };
        let digit = u32::from(digit);
        delta = delta.checked_add(digit.checked_mul(weight)?)?;
        let threshold = k.saturating_sub(bias).clamp(1, 26);
        if digit < threshold {
            return Some(delta);
        }
        weight = weight.checked_mul(36 - threshold)?;
    }
    None
}

/// RFC 3492 section 6.1.
fn punycode_bias(delta: u32, count: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / count;
    let mut k = 0;
    while delta > (36 - 1) * 26 / 2 {
        delta /= 36 - 1;
        k += 36;
    }
    k + 36 * delta / (delta + 38)
}

/// Only called on bytes that are known to be ASCII.
fn as_text(ascii: &[u8]) -> &str {
    std::str::from_utf8(ascii).expect("bytes outside ASCII were refused before")
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TargetError::NoHost => "there is no host",
            TargetError::NoPort => "there is no port; write host:port",
            TargetError::PortNotNumber => "the port is not a number",
            TargetError::PortLeadingZero => "the port has a leading zero",
            TargetError::PortOutOfRange => "the port is not between 1 and 65535",
            TargetError::UserInformation => {
                "user information before an @ is not allowed; write host:port"
            }
            TargetError::Slash => "a scheme or a path is not allowed; write host:port",
            TargetError::Percent => "percent encoding is not allowed in a host",
            TargetError::Zone => "an IPv6 address with a zone is not allowed",
            TargetError::NotAscii => {
                "bytes outside ASCII are not allowed; write the xn-- form of the name"
            }
            TargetError::Byte(byte @ 0x21..=0x7e) => {
                return write!(
                    f,
                    "the character {} is not allowed in a host or a port",
                    char::from(*byte)
                );
            }
            TargetError::Byte(byte) => {
                return write!(f, "the byte 0x{byte:02x} is not allowed in a host or a port");
            }
            TargetError::Colons => "more than one colon; write an IPv6 address in brackets",
            TargetError::Brackets => "the brackets do not match",
            TargetError::NotIpv6 => "what the brackets or colons hold is not an IPv6 address",
            TargetError::EmptyLabel => "the name has an empty label (a dot too many)",
            TargetError::LongLabel => "a label of the name is longer than 63 bytes",
            TargetError::LongName => "the name is longer than 253 bytes",
            TargetError::Hyphen => "a label of the name begins or ends with a hyphen",
            TargetError::Number => {
                "the last label is a number, but the whole is not an IPv4 address like 192.0.2.1"
            }
            TargetError::Punycode => "an xn-- label of the name cannot be decoded",
        })
    }
}

impl std::error::Error for TargetError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::TargetError::*;
    use super::*;

    #[test]
    fn targets_are_read_in_their_canonical_form() {
        let rows = [
            ("www.test.com:443", "www.test.com:443"),
            ("WWW.Test.COM:443", "www.test.com:443"),
            ("www.test.com.:443", "www.test.com:443"),
            ("intranet:8443", "intranet:8443"),
            ("a_b.example-1.com:1", "a_b.example-1.com:1"),
            ("_srv.example.com:65535", "_srv.example.com:65535"),
            ("XN--Bcher-KVA.example:443", "xn--bcher-kva.example:443"),
            ("1.2.3.4:443", "1.2.3.4:443"),
            ("[2001:DB8::1]:443", "[2001:db8::1]:443"),
            ("[::ffff:10.0.0.1]:443", "[::ffff:10.0.0.1]:443"),
            ("[::ffff:a9fe:a9fe]:443", "[::ffff:169.254.169.254]:443"),
            ("1.2.3.4.example:443", "1.2.3.4.example:443"),
            ("0xyz:443", "0xyz:443"),
            ("4everyoung.com:443", "4everyoung.com:443"),
        ];
        for (written, canonical) in rows {
            let target = Target::parse(written.as_bytes())
                .unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(target.to_string(), canonical);
            assert_eq!(Target::parse(canonical.as_bytes()), Ok(target));
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let long_label = format!("{}.com:443", "a".repeat(64));
        let long_name = format!(
            "{}:443",
            ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(62)].join(".")
        );
        let long_port = format!("h:{}", "4".repeat(200));
        let rows: &[(&[u8], TargetError)] = &[
            // B1
            (b"host..:443", EmptyLabel),
            (b".host:443", EmptyLabel),
            (b"a..b:443", EmptyLabel),
            (b".:443", EmptyLabel),
            // B2
            (b"[allowed.host]:443", NotIpv6),
            (b"[[allowed.host]]:443", Brackets),
            (b"[[::1]]:443", Brackets),
            (b"[::1]", NoPort),
            (b"[::1]443", Brackets),
            (b"[::1]x:443", Brackets),
            (b"[::1:443", Brackets),
            (b"::1]:443", Colons),
            (b"a]:443", Brackets),
            (b"a[:443", Brackets),
            (b"a[::1]:443", Colons),
            (b"[]:443", NotIpv6),
            (b"[1.2.3.4]:443", NotIpv6),
            (b"::1:443", Colons),
            (b"h:443:443", Colons),
            // B3
            (b"evil.com\0.allowed.host:443", Byte(0)),
            (b"evil.com\x7f:443", Byte(0x7f)),
            (b"evil.com\t:443", Byte(9)),
            // B4
            (b"evil.com%00.allowed.host:443", Percent),
            (b"a%2eallowed.host:443", Percent),
            (b"evil%23.allowed.host:443", Percent),
            (b"h%0d%0a:443", Percent),
            // B5
            (b"allowed.host@evil.com:443", UserInformation),
            (b"user:pw@allowed.host:443", UserInformation),
            // B6
            (b"http://allowed.host:443", Slash),
            (b"/", Slash),
            (b"allowed.host:443/", Slash),
            (b"*", Byte(b'*')),
            (b"allowed.host", NoPort),
            (b"allowed.host:", NoPort),
            (b"", NoPort),
            (b":443", NoHost),
            // B7
            (b"h:0", PortOutOfRange),
            (b"h:65979", PortOutOfRange),
            (b"h:65536", PortOutOfRange),
            (b"h:4294967739", PortOutOfRange),
            (b"h:18446744073709552059", PortOutOfRange),
            (b"h:-1", PortNotNumber),
            (b"h:+443", Byte(b'+')),
            (b"h: 443", Byte(b' ')),
            (b"h:443x", PortNotNumber),
            (b"h:0443", PortLeadingZero),
            (b"h:00", PortLeadingZero),
            (b"h:https", PortNotNumber),
            (long_port.as_bytes(), PortOutOfRange),
            // B8
            (b"127.1:443", Number),
            (b"0x7f.1:443", Number),
            (b"1.0x7f:443", Number),
            (b"0x:443", Number),
            (b"2130706433:443", Number),
            (b"017700000001:443", Number),
            (b"0:443", Number),
            (b"127.0.0.01:443", Number),
            (b"127.0.0.1.:443", Number),
            (b"256.0.0.1:443", Number),
            (b"1.2.3.4.5:443", Number),
            (b"host.1:443", Number),
            ("\u{2460}\u{2461}\u{2466}.0.0.1:443".as_bytes(), NotAscii),
            // B9
            (b"[fe80::1%25eth0]:443", Zone),
            (b"[fe80::1%eth0]:443", Zone),
            (b"[::1.2.3.04]:443", NotIpv6),
            (b"[1::2::3]:443", NotIpv6),
            // B13, B14
            (b".ods.x.com:443", EmptyLabel),
            ("b\u{fc}cher.example:443".as_bytes(), NotAscii),
            ("\u{ff45}xample.com:443".as_bytes(), NotAscii),
            ("example\u{3002}com:443".as_bytes(), NotAscii),
            ("exam\u{200b}ple.com:443".as_bytes(), NotAscii),
            (b"\xff:443", NotAscii),
            (b"xn--.example:443", Punycode),
            (b"xn--a$.example:443", Byte(b'$')),
            (b"xn--99999999999.example:443", Punycode),
            (b"xn--bcher-kv.example:443", Punycode),
            (b"xn--_.example:443", Punycode),
            (b"xn--a:443", Punycode),
            // Lengths and hyphens
            (long_label.as_bytes(), LongLabel),
            (long_name.as_bytes(), LongName),
            (b"-a.com:443", Hyphen),
            (b"a-.com:443", Hyphen),
            (b"xn--abc-.example:443", Punycode),
        ];
        for (written, error) in rows {
            assert_eq!(Target::parse(written), Err(*error), "{}", written.escape_ascii());
        }
    }

    #[test]
    fn the_longest_names_pass() {
        let name = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert_eq!(name.len(), NAME_BYTES);
        for written in [format!("{name}:443"), format!("{name}.:443")] {
            assert_eq!(Target::parse(written.as_bytes()).unwrap().host.name(), Some(name.as_str()));
        }
    }

    /// Samples of RFC 3492 section 7.1 and labels in use; then labels that no encoder makes.
    #[test]
    fn punycode_is_told_from_noise() {
        let good = [
            "egbpdaj6bu4bxfgehfvwxn",
            "ihqwcrb4cv8a8dqg056pqjye",
            "Proprostnemluvesky-uyb24dma41a",
            "3B-ww4c5e180e575a65lsy2b",
            "-with-SUPER-MONKEYS-pc58ag80a8qai00g7n9n",
            "MajiKoi5-783gue6qz075azm5e",
            "d9juau41awczczp",
            "bcher-kva",
            "p1ai",
            "80ak6aa92e",
        ];
        for encoded in good {
            assert!(is_punycode(encoded.as_bytes()), "{encoded}");
        }
        for encoded in [
            "",
            "a",
            "a-a",
            "-",
            "a-",
            "--",
            "-a",
            "bcher-kv",
            "!!",
            "99999999999",
            "a-zzzzzzzzzzzzzzzz",
        ] {
            assert!(!is_punycode(encoded.as_bytes()), "{encoded}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong_without_raw_bytes() {
        for byte in (0..=127).filter(|b: &u8| !b.is_ascii_alphanumeric()) {
            let text = Byte(byte).to_string();
            assert!(text.chars().all(|c| matches!(c, ' '..='~')), "{text:?}");
        }
        assert_eq!(Byte(b'*').to_string(), "the character * is not allowed in a host or a port");
        assert_eq!(Byte(0).to_string(), "the byte 0x00 is not allowed in a host or a port");
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Target::parse(&bytes);
            let _ = Host::parse(&bytes);
        }

        #[test]
        fn what_is_accepted_reads_back_as_itself(text in "[xn0-9a-zA-Z.:_\\[\\]-]{0,40}(:[0-9]{1,5})?") {
            if let Ok(target) = Target::parse(text.as_bytes()) {
                prop_assert_eq!(Target::parse(target.to_string().as_bytes()), Ok(target.clone()));
                prop_assert_eq!(Host::parse(target.host.to_string().as_bytes()), Ok(target.host));
            }
        }

        #[test]
        fn case_and_one_trailing_dot_do_not_matter(name in "[a-z][a-z0-9_]{0,10}(\\.[a-z]{1,10}){0,4}", port in 1u16..) {
            let plain = Target::parse(format!("{name}:{port}").as_bytes());
            prop_assert!(plain.is_ok());
            prop_assert_eq!(&plain, &Target::parse(format!("{}.:{port}", name.to_uppercase()).as_bytes()));
        }

        #[test]
        fn every_address_reads_back(address: IpAddr, port in 1u16..) {
            let target = Target { host: Host::Address(address), port };
            prop_assert_eq!(Target::parse(target.to_string().as_bytes()), Ok(target));
        }

        #[test]
        fn punycode_is_judged_as_its_decoder_does(encoded in "[a-z0-9]{0,3}-?[a-z0-9]{0,8}") {
            let decoded = idna::punycode::decode_to_string(&encoded);
            let is_good = |text: String| !text.is_ascii() && !text.contains(char::is_control);
            prop_assert_eq!(is_punycode(encoded.as_bytes()), decoded.is_some_and(is_good));
        }

        #[test]
        fn names_that_idna_makes_pass(name in "[\u{e0}-\u{ff}a-z]{1,12}\\.example") {
            if let Ok(ascii) = idna::domain_to_ascii(&name) {
                let host = Host::parse(ascii.as_bytes());
                prop_assert!(host.is_ok(), "{} {:?}", ascii, host);
            }
        }
    }
}
