//! What any bytes must do as a head: however they are cut, the same comes of them, and what is taken
//! for a CONNECT is one for a second, simpler reader too.

use super::{HEADERS, HOST_CHARS, Head, HeadError, HeadReader, Progress, Request};
use crate::proto::cuts::Cut;
use crate::proto::target::Target;
use crate::proto::target::fuzzed::judge_target;

/// Limits that the first byte of an input chooses from.
const LIMITS_BYTES: [usize; 4] = [16_384, 64, 300, 4_096];

/// The body of the fuzz target: the first byte of `input` chooses limit and cuts, the others come from
/// a client.
///
/// # Panics
/// Where a promise of [`HeadReader`] is broken.
pub fn head(input: &[u8]) {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let limit_bytes = LIMITS_BYTES[usize::from(choice & 3)];
    let [whole, single, drawn] = Cut::ways(choice >> 2).map(|cut| read(limit_bytes, bytes, cut));
    assert_eq!(whole, single, "byte by byte");
    assert_eq!(whole, drawn, "in pieces");
    match whole {
        Outcome::More => assert!(bytes.len() < limit_bytes, "more than the limit is awaited"),
        Outcome::Whole(head, end) => {
            assert!(end <= limit_bytes.min(bytes.len()));
            judge(&head, &bytes[..end]);
        }
        Outcome::Refused(error) => {
            let text = error.to_string();
            assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
        }
    }
}

/// What has come of the bytes, and where the head ends in them.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    More,
    Whole(Head, usize),
    Refused(HeadError),
}

fn read(limit_bytes: usize, bytes: &[u8], cut: Cut) -> Outcome {
    let mut reader = HeadReader::new(limit_bytes);
    let mut before = 0;
    for piece in cut.pieces(bytes) {
        match reader.read(piece) {
            Progress::More => before += piece.len(),
            Progress::Whole { head, early_at } => return Outcome::Whole(head, before + early_at),
            Progress::Refused(error) => return Outcome::Refused(error),
        }
        assert!(!reader.is_empty() && reader.kept.len() == before);
    }
    Outcome::More
}

/// Reads `text` again, line by line, and finds in it what `head` says.
fn judge(head: &Head, text: &[u8]) {
    let lines = text.split(|&byte| byte == b'\n');
    let lines: Vec<&[u8]> = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    let begin = lines.iter().position(|line| !line.is_empty()).expect("a request line");
    let (request, fields) = (lines[begin], &lines[begin + 1..]);
    let words: Vec<&[u8]> = request.split(|&byte| byte == b' ').collect();
    let [method, target, version] = words[..] else { not_a_head(request) };
    assert!(version == b"HTTP/1.1" || version == b"HTTP/1.0");
    match &head.request {
        Request::Connect(parsed) => {
            assert_eq!(method, b"CONNECT");
            judge_target(parsed, target);
            assert_eq!(Target::parse(target).as_ref(), Ok(parsed));
        }
        Request::Health => assert_eq!((method, target), (&b"GET"[..], &b"/healthz"[..])),
    }
    // The blank line, and nothing behind its end.
    let [fields @ .., [], []] = fields else { not_a_head(text) };
    assert!(fields.len() <= HEADERS);
    for field in fields {
        let Some(colon) = field.iter().position(|&byte| byte == b':') else { not_a_head(field) };
        let (name, value) = (&field[..colon], field[colon + 1..].trim_ascii());
        assert!(!name.is_empty() && name.iter().copied().all(super::is_token_byte));
        assert!(!name.eq_ignore_ascii_case(b"transfer-encoding"), "a body");
        if name.eq_ignore_ascii_case(b"content-length") {
            assert!(!value.is_empty() && value.iter().all(|&byte| byte == b'0'), "a body");
        }
    }
    if let Some(host) = &head.host {
        assert!(host.len() <= HOST_CHARS && host.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    }
}

fn not_a_head(text: &[u8]) -> ! {
    unreachable!("not a head: {}", text.escape_ascii())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_passes() {
        crate::corpus::replay("head", super::head);
    }
}
