//! A downloaded list of hosts as text: one name a line, port 443 only, `#` begins a comment. It counts
//! as a whole or not at all: half of a list, or somebody's error page, must not decide who gets through.

use std::fmt;

use super::hosts::{DEFAULT_PORT, HostPattern, PatternError};

/// Bytes of a feed: the longest list that is allowed takes half of it.
pub const FEED_BYTES_MAX: usize = 1 << 20;
/// Hosts of a feed: beyond what the services of any cloud need.
pub const FEED_HOSTS_MAX: usize = 20_000;
/// Characters that are shown of what somebody else wrote.
const SHOWN_CHARS: usize = 80;

/// Why a feed does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedError {
    /// More than [`FEED_BYTES_MAX`].
    TooLarge,
    /// More than [`FEED_HOSTS_MAX`].
    TooMany,
    /// No host at all: a list that was cut, or another page; what it would take away is worth a doubt.
    Empty,
    /// This line, counted from 1, holds no host.
    Line(usize, String, LineError),
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// It is not UTF-8.
    Encoding,
    /// It is no host pattern, or one too wide.
    Pattern(PatternError),
    /// A port other than 443, which only the operator opens.
    Port(u16),
}

/// The hosts of a feed, each once, in their order.
///
/// # Errors
/// The first reason why it does not count.
pub fn read(bytes: &[u8]) -> Result<Vec<HostPattern>, FeedError> {
    if bytes.len() > FEED_BYTES_MAX {
        return Err(FeedError::TooLarge);
    }
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut hosts = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let wrong = |why| FeedError::Line(index + 1, shown(&String::from_utf8_lossy(line)), why);
        let Some(host) = read_line(line).map_err(wrong)? else { continue };
        if seen.insert(host.clone()) {
            if hosts.len() == FEED_HOSTS_MAX {
                return Err(FeedError::TooMany);
            }
            hosts.push(host);
        }
    }
    if hosts.is_empty() { Err(FeedError::Empty) } else { Ok(hosts) }
}

fn read_line(line: &[u8]) -> Result<Option<HostPattern>, LineError> {
    let line = std::str::from_utf8(line).map_err(|_| LineError::Encoding)?;
    let text = line.split('#').next().unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(None);
    }
    let host = HostPattern::parse(text).map_err(LineError::Pattern)?;
    match host.port() {
        DEFAULT_PORT => Ok(Some(host)),
        port => Err(LineError::Port(port)),
    }
}

/// Text from the network, fit for a line of an event: short, and nothing but plain ASCII.
pub fn shown(text: &str) -> String {
    let mut shown = String::new();
    for (index, character) in text.trim().chars().enumerate() {
        match character {
            _ if index == SHOWN_CHARS => {
                shown.push_str("...");
                break;
            }
            ' '..='~' => shown.push(character),
            _ => shown.extend(character.escape_default()),
        }
    }
    shown
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FeedError::TooLarge => write!(f, "larger than {FEED_BYTES_MAX} bytes"),
            FeedError::TooMany => write!(f, "more than {FEED_HOSTS_MAX} hosts"),
            FeedError::Empty => f.write_str("no host is in it"),
            FeedError::Line(line, text, why) => write!(f, "line {line}, \"{text}\": {why}"),
        }
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::Encoding => f.write_str("not UTF-8"),
            LineError::Pattern(error) => error.fmt(f),
            LineError::Port(port) => {
                write!(f, "port {port}: a feed opens port {DEFAULT_PORT} alone")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_feed_is_its_hosts() {
        for (text, hosts) in [
            ("a.test\n", &["a.test"][..]),
            ("a.test", &["a.test"]),
            ("# one\n\n  a.test  # why\r\n\tB.test.:443\n#c.test", &["a.test", "b.test"]),
            ("\u{feff}a.test\n*.b.test\nc*.d.test\n", &["a.test", "*.b.test", "c*.d.test"]),
            ("a.test\nA.TEST\na.test:443\n", &["a.test"]),
            ("b\u{fc}cher.test\n192.0.2.1\n", &["xn--bcher-kva.test", "192.0.2.1"]),
        ] {
            let read: Vec<String> =
                read(text.as_bytes()).unwrap().iter().map(ToString::to_string).collect();
            assert_eq!(read, hosts, "{text:?}");
        }
    }

    #[test]
    fn one_bad_line_makes_a_bad_feed_and_is_told() {
        for (text, told) in [
            (&b""[..], "no host is in it"),
            (b"# nothing\n\r\n \n", "no host is in it"),
            (b"a.test\n*\n", "line 2, \"*\": "),
            (b"*.com\n", "line 1, \"*.com\": "),
            (b"a.test\n\nb.test:8443\n", "line 3, \"b.test:8443\": port 8443: a feed opens"),
            (b"a.test:80", "line 1, \"a.test:80\": port 80"),
            (b"a.test b.test\n", "line 1, \"a.test b.test\": "),
            (b"a.test,b.test\n", "line 1, \"a.test,b.test\": "),
            (b"https://a.test/\n", "line 1, \"https://a.test/\": "),
            (b"<!DOCTYPE html>\n<html>\n", "line 1, \"<!DOCTYPE html>\": "),
            (b"{\"hosts\": []}", "line 1, \"{\"hosts\": []}\": "),
            (b"a.test\n\xff\xfe\n", "line 2, \"\\u{fffd}\\u{fffd}\": not UTF-8"),
            (b"a.test\n\x1b[2J\n", "line 2, \"\\u{1b}[2J\": "),
            (b"a.test\0\n", "line 1, \"a.test\\u{0}\": "),
            (b"a.test\rb.test\n", "line 1, \"a.test\\rb.test\": "),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
        let long = read("x".repeat(5_000).as_bytes()).unwrap_err().to_string();
        assert!(long.len() < 300 && long.contains("xxx...\": "), "{long}");
    }

    #[test]
    fn a_feed_has_limits_of_bytes_and_hosts() {
        let mut large = b"a.test\n#".to_vec();
        large.resize(FEED_BYTES_MAX, b'x');
        assert_eq!(read(&large).map(|hosts| hosts.len()), Ok(1));
        large.push(b'x');
        assert_eq!(read(&large), Err(FeedError::TooLarge));
        let many =
            |count: usize| -> String { (0..count).map(|n| format!("h{n}.test\n")).collect() };
        let most = many(FEED_HOSTS_MAX);
        assert_eq!(read(most.as_bytes()).map(|hosts| hosts.len()), Ok(FEED_HOSTS_MAX));
        assert_eq!(
            read((most + "h0.test\n").as_bytes()).map(|hosts| hosts.len()),
            Ok(FEED_HOSTS_MAX)
        );
        assert_eq!(read(many(FEED_HOSTS_MAX + 1).as_bytes()), Err(FeedError::TooMany));
    }
}
