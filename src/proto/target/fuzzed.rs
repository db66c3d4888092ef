//! What any bytes must do as a target: they are refused, or read back as themselves from the one way
//! in which they are written.

use std::net::IpAddr;

use super::{Host, LABEL_BYTES, NAME_BYTES, Target};
use crate::proto::cuts::Cut;
use crate::proto::head::{Head, HeadError, HeadReader, Progress, Request};

/// The body of the fuzz target: `input` is a target.
///
/// # Panics
/// Where a promise of [`Target`] or [`Host`] is broken.
pub fn target(input: &[u8]) {
    let parsed = Target::parse(input);
    if let Ok(target) = &parsed {
        judge_target(target, input);
    }
    if let Ok(host) = Host::parse(input) {
        judge_host(&host);
        let with_port = Target::parse(format!("{}:443", bracketed(&host)).as_bytes());
        assert_eq!(with_port, Ok(Target { host, port: 443 }));
    }
    if let Err(error) = &parsed {
        let text = error.to_string();
        assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
    }
    // A head is split at its spaces and lines, and has no control characters; all else is the target's.
    if !input.is_empty() && !input.iter().any(|byte| *byte == b' ' || byte.is_ascii_control()) {
        for cut in Cut::ways(input[0]) {
            assert_eq!(in_a_head(input, cut), parsed.clone().map_err(HeadError::MalformedTarget));
        }
    }
}

/// What must hold of a target that was read from `written`.
///
/// # Panics
/// Where it does not.
pub fn judge_target(target: &Target, written: &[u8]) {
    let shown = target.to_string();
    assert_eq!(Target::parse(shown.as_bytes()).as_ref(), Ok(target));
    assert!(target.port > 0);
    let is_strange = |byte: &u8| byte.is_ascii_control() || b" %@/*".contains(byte) || *byte > 127;
    assert!(!written.iter().any(is_strange), "{} was read", written.escape_ascii());
    judge_host(&target.host);
    // Nothing but case, one trailing dot and the spelling of an IPv6 address gets lost.
    if !matches!(target.host, Host::Address(IpAddr::V6(_))) {
        let lower = String::from_utf8_lossy(written).to_ascii_lowercase();
        assert_eq!(lower.replace(".:", ":"), shown);
    }
}

fn judge_host(host: &Host) {
    assert_eq!(Host::parse(host.to_string().as_bytes()).as_ref(), Ok(host));
    let Host::Name(name) = host else { return };
    assert!(name.len() <= NAME_BYTES && **name == name.to_ascii_lowercase());
    assert!(name.split('.').all(|label| (1..=LABEL_BYTES).contains(&label.len())), "{name}");
    assert!(name.parse::<IpAddr>().is_err(), "{name} is an address");
    let last = name.rsplit('.').next().unwrap_or_default();
    let digits = last.strip_prefix("0x");
    let is_hex = digits.is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let is_number = is_hex || last.bytes().all(|byte| byte.is_ascii_digit());
    assert!(!is_number, "{name} ends in a number");
}

fn bracketed(host: &Host) -> String {
    match host {
        Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
        host => host.to_string(),
    }
}

fn in_a_head(target: &[u8], cut: Cut) -> Result<Target, HeadError> {
    let head = [b"CONNECT ", target, b" HTTP/1.1\r\n\r\n"].concat();
    let mut reader = HeadReader::new(head.len());
    for piece in cut.pieces(&head) {
        match reader.read(piece) {
            Progress::More => {}
            Progress::Whole { head: Head { request: Request::Connect(target), .. }, .. } => {
                return Ok(target);
            }
            Progress::Whole { .. } => break,
            Progress::Refused(error) => return Err(error),
        }
    }
    Err(HeadError::Malformed("a CONNECT that is not read as one"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_passes() {
        crate::corpus::replay("target", super::target);
    }
}
