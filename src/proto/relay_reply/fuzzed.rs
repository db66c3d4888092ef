//! What any bytes must do as a relay proxy's answer: however they are cut, the same comes of them, and
//! what follows the head decides nothing. A parser of another hand reads no other status.

use super::{Answer, Answered, BadAnswer, PHRASE_CHARS, REPLY_BYTES, REPLY_HEADERS, ReplyReader};
use crate::proto::cuts::Cut;

/// The body of the fuzz target: the first byte of `input` chooses the cuts, the others come from a
/// relay proxy, which then closes.
///
/// # Panics
/// Where a promise of [`ReplyReader`] is broken.
pub fn relay_reply(input: &[u8]) {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let [whole, single, drawn] = Cut::ways(choice).map(|cut| read(bytes, cut));
    assert_eq!(whole, single, "byte by byte");
    assert_eq!(whole, drawn, "in pieces");
    if let Some(status) = status_by_another_parser(bytes)
        && let Ok((answer, _)) = &whole
    {
        assert_eq!(answer.status, status);
    }
    match whole {
        Ok((answer, early_at)) => {
            assert!((200..600).contains(&answer.status), "{answer:?}");
            assert!(answer.phrase.chars().count() <= PHRASE_CHARS);
            assert!(early_at <= bytes.len().min(REPLY_BYTES));
            let head = &bytes[..early_at];
            assert!(head.starts_with(b"HTTP/1.") && head.ends_with(b"\n"));
            assert_eq!(read(head, Cut::Single), Ok((answer, early_at)), "what follows decides");
        }
        Err(BadAnswer::Nothing) => assert!(bytes.is_empty()),
        Err(BadAnswer::CutShort) => assert!(bytes.len() <= REPLY_BYTES),
        Err(error) => {
            let text = error.to_string();
            assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
        }
    }
}

/// The status of a final answer that comes first.
fn status_by_another_parser(bytes: &[u8]) -> Option<u16> {
    let mut headers = [httparse::EMPTY_HEADER; REPLY_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).ok()?;
    response.code.filter(|code| parsed.is_complete() && *code >= 200)
}

/// The answer, and where the bytes begin that follow its head, counted from the first byte of all.
fn read(bytes: &[u8], cut: Cut) -> Result<(Answer, usize), BadAnswer> {
    let mut reader = ReplyReader::default();
    let mut before = 0;
    for piece in cut.pieces(bytes) {
        match reader.read(piece) {
            Answered::More => before += piece.len(),
            Answered::Whole { answer, early_at } => return Ok((answer, before + early_at)),
            Answered::Bad(error) => return Err(error),
        }
        assert!(!reader.is_empty());
    }
    Err(reader.ended())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_passes() {
        crate::corpus::replay("relay_reply", super::relay_reply);
    }
}
