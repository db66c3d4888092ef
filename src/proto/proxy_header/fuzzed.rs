//! What any bytes must do as a PROXY header: however they are cut, the same comes of them, and the
//! address in them can be written and read again in both versions.

use std::net::{IpAddr, SocketAddr};

use super::{BLOCK_BYTES_MAX, FIXED_BYTES, HeaderReader, Heard, LINE_BYTES_MAX, SIGNATURE};
use crate::proto::cuts::Cut;

/// The body of the fuzz target: the first byte of `input` chooses the cuts, the others come from a
/// balancer.
///
/// # Panics
/// Where a promise of [`HeaderReader`] is broken.
pub fn proxy_header(input: &[u8]) {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let [whole, single, drawn] = Cut::ways(choice).map(|cut| read(bytes, cut));
    assert_eq!(whole, single, "byte by byte");
    assert_eq!(whole, drawn, "in pieces");
    let is_line = bytes.starts_with(b"P");
    let most = if is_line { LINE_BYTES_MAX } else { FIXED_BYTES + BLOCK_BYTES_MAX };
    match whole {
        Heard::More => assert!(bytes.len() < most, "more than the limit is awaited"),
        Heard::Whole { source, head_at } => {
            assert!(head_at <= most.min(bytes.len()));
            let header = &bytes[..head_at];
            assert!(header.starts_with(if is_line { b"PROXY " } else { &SIGNATURE }));
            assert!(!is_line || header.ends_with(b"\r\n"));
            assert_eq!(read(header, Cut::Single), whole, "what follows decides nothing");
            if let Some(source) = source {
                assert_eq!(source.ip(), source.ip().to_canonical());
                judge_again(source);
            }
        }
        Heard::Absent => assert!(!matches!(bytes.first(), None | Some(b'P' | b'\r'))),
        Heard::Refused(error) => {
            let text = error.to_string();
            assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
        }
    }
}

/// `head_at` counts from the first byte of all.
fn read(bytes: &[u8], cut: Cut) -> Heard {
    let mut reader = HeaderReader::new();
    let mut before = 0;
    for piece in cut.pieces(bytes) {
        match reader.read(piece) {
            Heard::More => before += piece.len(),
            Heard::Whole { source, head_at } => {
                return Heard::Whole { source, head_at: before + head_at };
            }
            other => return other,
        }
        assert!(!reader.is_empty());
    }
    Heard::More
}

/// Writes a header for `source` in each version and reads it.
fn judge_again(source: SocketAddr) {
    let (ip, port) = (source.ip(), source.port());
    let (family, zeroes) = if ip.is_ipv4() { ("TCP4", "0.0.0.0") } else { ("TCP6", "::") };
    let line = format!("PROXY {family} {ip} {zeroes} {port} 443\r\n").into_bytes();
    let mut behind = Vec::new();
    match ip {
        IpAddr::V4(v4) => [v4.octets(), [0; 4]].iter().for_each(|octets| behind.extend(octets)),
        IpAddr::V6(v6) => [v6.octets(), [0; 16]].iter().for_each(|octets| behind.extend(octets)),
    }
    behind.extend(port.to_be_bytes());
    behind.extend(443u16.to_be_bytes());
    let fixed = [0x21, if ip.is_ipv4() { 0x11 } else { 0x21 }, 0, behind.len() as u8];
    for header in [line, [&SIGNATURE[..], &fixed, &behind].concat()] {
        let whole = Heard::Whole { source: Some(source), head_at: header.len() };
        assert_eq!(read(&header, Cut::Whole), whole);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_passes() {
        crate::corpus::replay("proxy_header", super::proxy_header);
    }
}
