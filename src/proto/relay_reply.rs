//! What a relay proxy answers to our CONNECT. RFC 9112 section 4, RFC 9110 sections 9.3.6 and 15.2.
//!
//! Only the status decides. A 2xx opens the tunnel with the blank line of its head, whatever it says
//! about a body; what follows is of the target already. Interim answers (1xx) are passed over.

#[cfg(any(test, fuzzing))]
pub mod fuzzed;

use std::fmt;

/// The most bytes of an answer's head, interim answers before it included.
pub const REPLY_BYTES: usize = 16 * 1024;
/// The most headers of an answer.
pub const REPLY_HEADERS: usize = 64;
/// The most interim answers before the final one.
const INTERIM_MAX: u8 = 8;
/// Characters of a reason phrase that are kept.
const PHRASE_CHARS: usize = 120;
const BEGINNING: &[u8] = b"HTTP/1.";

/// A final answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 to 599.
    pub status: u16,
    /// The reason phrase, cut at 120 characters: raw text of the network, control characters and all,
    /// to be escaped where it is shown. What is not UTF-8 in it is replaced.
    pub phrase: Box<str>,
}

/// How far the answer has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The end of the head has not been seen.
    More,
    /// The head is whole; the reader is of no use any more.
    Whole {
        /// What it says.
        answer: Answer,
        /// Where in the bytes just given those begin that follow the head.
        early_at: usize,
    },
    /// This is no answer to a CONNECT; the reader is of no use any more.
    Bad(BadAnswer),
}

/// Why an answer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAnswer {
    /// It does not begin as an HTTP/1 answer does.
    NotHttp,
    /// Its status is not a number from 100 to 599.
    Status,
    /// Its headers break the rules.
    Headers,
    /// It has more than [`REPLY_HEADERS`] headers.
    TooManyHeaders,
    /// Its head is longer than [`REPLY_BYTES`].
    TooLarge,
    /// Too many interim answers, or one that changes the protocol, which nobody asked for.
    Interim,
    /// The connection ended within the head.
    CutShort,
    /// The connection ended without a byte.
    Nothing,
}

/// Collects the head of an answer; each byte is searched once for its end.
#[derive(Debug, Default)]
pub struct ReplyReader {
    kept: Vec<u8>,
    /// Where the current line begins.
    line_at: usize,
    /// Bytes of interim answers before this one.
    passed_bytes: usize,
    interim: u8,
}

impl ReplyReader {
    /// Takes the next bytes of the relay proxy. How they are cut makes no difference to the result.
    pub fn read(&mut self, bytes: &[u8]) -> Answered {
        let mut taken = 0;
        while taken < bytes.len() {
            let rest = &bytes[taken..];
            let line = rest.iter().position(|&byte| byte == b'\n').map_or(rest, |at| &rest[..=at]);
            let room = REPLY_BYTES - self.passed_bytes - self.kept.len();
            self.kept.extend_from_slice(&line[..line.len().min(room)]);
            if !begins_as_an_answer(&self.kept) {
                return Answered::Bad(BadAnswer::NotHttp);
            }
            if line.len() > room {
                return Answered::Bad(BadAnswer::TooLarge);
            }
            taken += line.len();
            if !line.ends_with(b"\n") {
                return Answered::More;
            }
            let is_blank = matches!(&self.kept[self.line_at..], b"\n" | b"\r\n");
            self.line_at = self.kept.len();
            if !is_blank {
                continue;
            }
            match judge(&self.kept) {
                Ok(answer) if answer.status >= 200 => {
                    return Answered::Whole { answer, early_at: taken };
                }
                Ok(answer) if answer.status == 101 || self.interim == INTERIM_MAX => {
                    return Answered::Bad(BadAnswer::Interim);
                }
                Ok(_) => self.pass_over(),
                Err(error) => return Answered::Bad(error),
            }
        }
        Answered::More
    }

    /// What is wrong with an answer that ends here.
    pub fn ended(&self) -> BadAnswer {
        if self.is_empty() { BadAnswer::Nothing } else { BadAnswer::CutShort }
    }

    /// Whether not one byte has come.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.interim == 0
    }

    fn pass_over(&mut self) {
        self.interim += 1;
        self.passed_bytes += self.kept.len();
        self.kept.clear();
        self.line_at = 0;
    }
}

/// Told with the first bytes: who speaks another protocol may wait for us for ever.
fn begins_as_an_answer(head: &[u8]) -> bool {
    let len = head.len().min(BEGINNING.len());
    head[..len] == BEGINNING[..len]
}

/// Lenient about what decides nothing here: the headers, and what the reason phrase is made of.
fn judge(head: &[u8]) -> Result<Answer, BadAnswer> {
    let line_end = head.iter().position(|&byte| byte == b'\n').map_or(head.len(), |at| at + 1);
    let (line, headers) = head.split_at(line_end);
    let answer = status_line(line)?;
    // The phrase is known; without it, none can hide the headers from their parser.
    let plain = [b"HTTP/1.1 200\r\n", headers].concat();
    let mut headers = [httparse::EMPTY_HEADER; REPLY_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = httparse::ParserConfig::default()
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .parse_response(&mut response, &plain);
    match parsed {
        Ok(httparse::Status::Complete(end)) if end == plain.len() => Ok(answer),
        Err(httparse::Error::TooManyHeaders) => Err(BadAnswer::TooManyHeaders),
        _ => Err(BadAnswer::Headers),
    }
}

/// RFC 9112 section 4, with as many spaces as the relay proxy likes, and any bytes for a phrase.
fn status_line(line: &[u8]) -> Result<Answer, BadAnswer> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let rest = match line.strip_prefix(BEGINNING) {
        Some([b'0' | b'1', b' ', rest @ ..]) => rest.trim_ascii_start(),
        // Without anything behind the version there is no status.
        Some([b'0' | b'1']) => return Err(BadAnswer::Status),
        _ => return Err(BadAnswer::NotHttp),
    };
    let (digits, phrase) = rest.split_at_checked(3).ok_or(BadAnswer::Status)?;
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(phrase, [] | [b' ' | b'\t', ..]) {
        return Err(BadAnswer::Status);
    }
    let status = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    if !(100..600).contains(&status) {
        return Err(BadAnswer::Status);
    }
    let phrase = String::from_utf8_lossy(phrase.trim_ascii());
    Ok(Answer { status, phrase: phrase.chars().take(PHRASE_CHARS).collect() })
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadAnswer::NotHttp => f.write_str("what it answers is not HTTP/1"),
            BadAnswer::Status => f.write_str("its status is not a number from 100 to 599"),
            BadAnswer::Headers => f.write_str("its headers break the rules of HTTP"),
            BadAnswer::TooManyHeaders => {
                write!(f, "its answer has more than {REPLY_HEADERS} headers")
            }
            BadAnswer::TooLarge => {
                write!(f, "the head of its answer is larger than {REPLY_BYTES} bytes")
            }
            BadAnswer::Interim => f.write_str("it sends interim answers that nobody asked for"),
            BadAnswer::CutShort => f.write_str("its answer ends within the head"),
            BadAnswer::Nothing => f.write_str("it closed the connection without an answer"),
        }
    }
}

impl std::error::Error for BadAnswer {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes of these pieces, and how many of all bytes belong to the head.
    fn read(pieces: &[&[u8]]) -> (Result<Answer, BadAnswer>, usize) {
        let mut reader = ReplyReader::default();
        let mut before = 0;
        for piece in pieces {
            match reader.read(piece) {
                Answered::More => before += piece.len(),
                Answered::Whole { answer, early_at } => return (Ok(answer), before + early_at),
                Answered::Bad(error) => return (Err(error), 0),
            }
        }
        (Err(reader.ended()), 0)
    }

    fn answer(status: u16, phrase: &str) -> Result<Answer, BadAnswer> {
        Ok(Answer { status, phrase: phrase.into() })
    }

    fn headers(count: usize) -> Vec<u8> {
        [b"HTTP/1.1 200 OK\r\n".to_vec(), b"A: b\r\n".repeat(count), b"\r\n".to_vec()].concat()
    }

    #[test]
    fn answers_of_the_field_are_read() {
        let rows: &[(&[u8], u16, &str)] = &[
            (b"HTTP/1.1 200 OK\r\n\r\n", 200, "OK"),
            (b"HTTP/1.1 200 Connection established\r\n\r\n", 200, "Connection established"),
            (
                b"HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n",
                200,
                "Connection established",
            ),
            (b"HTTP/1.1 200\r\n\r\n", 200, ""),
            (b"HTTP/1.1 204 \r\n\r\n", 204, ""),
            (b"HTTP/1.1 200 OK\n\n", 200, "OK"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 123\r\nConnection: close\r\n\r\n", 200, "OK"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "OK"),
            (b"HTTP/1.1 200 OK\r\nX : y\r\n z\r\n\r\n", 200, "OK"),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200, "OK"),
            (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 407 No\r\n\r\n", 407, "No"),
            (b"HTTP/1.1 301 Moved\r\nLocation: http://x/\r\n\r\n", 301, "Moved"),
            (b"HTTP/1.1 503 Busy\r\n\r\n", 503, "Busy"),
            (b"HTTP/1.1 403 Verbot\xc3\xa9n\r\n\r\n", 403, "Verbot\u{e9}n"),
            (b"HTTP/1.1 403 Verbot\xe9n\r\n\r\n", 403, "Verbot\u{fffd}n"),
            (b"HTTP/1.1  407  Who  are you\r\n\r\n", 407, "Who  are you"),
            (b"HTTP/1.1 503\tBusy\r\n\r\n", 503, "Busy"),
            (b"HTTP/1.1 503 \x1b[31mBu\0sy\x7f\r\nA: b\r\n\r\n", 503, "\u{1b}[31mBu\0sy\u{7f}"),
            (b"HTTP/1.1 407 a\rb\n\n", 407, "a\rb"),
            (b"HTTP/1.1 599 x\r\n\r\n", 599, "x"),
        ];
        for (bytes, status, phrase) in rows {
            let what = bytes.escape_ascii().to_string();
            assert_eq!(read(&[bytes]), (answer(*status, phrase), bytes.len()), "{what}");
        }
        assert_eq!(read(&[&headers(REPLY_HEADERS)]).0, answer(200, "OK"));
        let long = format!("HTTP/1.1 500 {}\r\n\r\n", "x".repeat(1_000));
        assert_eq!(read(&[long.as_bytes()]).0, answer(500, &"x".repeat(PHRASE_CHARS)));
    }

    #[test]
    fn what_is_no_answer_is_told_as_soon_as_it_is_known() {
        let many = headers(REPLY_HEADERS + 1);
        let large = [b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'x'; REPLY_BYTES]].concat();
        let interim = b"HTTP/1.1 100 x\r\n\r\n".repeat(usize::from(INTERIM_MAX) + 1);
        let endless = b"HTTP/1.1 103 x\r\nA: ".repeat(1 << 10);
        let rows: &[(&[u8], BadAnswer)] = &[
            (b"HTTP/1.1 2000 OK\r\n\r\n", BadAnswer::Status),
            (b"HTTP/1.1 20 OK\r\n\r\n", BadAnswer::Status),
            (b"HTTP/1.1 -20 OK\r\n\r\n", BadAnswer::Status),
            (b"HTTP/1.1 099 OK\r\n\r\n", BadAnswer::Status),
            (b"HTTP/1.1 600 OK\r\n\r\n", BadAnswer::Status),
            (b"HTTP/1.1 \r\n\r\n", BadAnswer::Status),
            (b"HTTP/1.1\r\n\r\n", BadAnswer::Status),
            (b"HTTP/1.1 200\0OK\r\n\r\n", BadAnswer::Status),
            (b"HTTP/1.1 +20 OK\r\n\r\n", BadAnswer::Status),
            (b"HTTP/1.1200 OK\r\n\r\n", BadAnswer::NotHttp),
            (b"ICY 200 OK\r\n\r\n", BadAnswer::NotHttp),
            (b"I", BadAnswer::NotHttp),
            (b"HTTP/2", BadAnswer::NotHttp),
            (b"HTTP/1.2 200 OK\r\n\r\n", BadAnswer::NotHttp),
            (b"<html>", BadAnswer::NotHttp),
            (b"\r\n", BadAnswer::NotHttp),
            (b"\x16\x03\x01", BadAnswer::NotHttp),
            (b"HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n", BadAnswer::Headers),
            (b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", BadAnswer::Headers),
            (b"HTTP/1.1 200 O\0K\r\nA\0: b\r\n\r\n", BadAnswer::Headers),
            (b"HTTP/1.1 200 OK\r\nA\r\n\r\n", BadAnswer::Headers),
            (b"HTTP/1.1 101 Switch\r\n\r\n", BadAnswer::Interim),
            (b"HTTP/1.1 200 OK\r\nA: b", BadAnswer::CutShort),
            (b"HTTP/1.1 100 x\r\n\r\n", BadAnswer::CutShort),
            (b"HTTP", BadAnswer::CutShort),
            (b"", BadAnswer::Nothing),
            (&many, BadAnswer::TooManyHeaders),
            (&large, BadAnswer::TooLarge),
            (&interim, BadAnswer::Interim),
            (&endless, BadAnswer::TooLarge),
        ];
        for (bytes, error) in rows {
            let what = bytes[..bytes.len().min(60)].escape_ascii().to_string();
            assert_eq!(read(&[bytes]).0, Err(*error), "{what}");
            let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(read(&bytewise).0, Err(*error), "{what}, byte by byte");
        }
    }

    #[test]
    fn what_follows_is_pointed_at_wherever_it_is_cut() {
        let head = b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let all = [&head[..], b"HTTP/1.1 200 not ours\r\n\r\n"].concat();
        for cut in 0..=all.len() {
            let (first, second) = all.split_at(cut);
            assert_eq!(read(&[first, second]), (answer(200, "OK"), head.len()), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference_and_nothing_panics(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "HTTP/1\\.[01] [0-9]{3}[ -~]{0,9}\r?\n([A-Z]: [a-z]{0,4}\r?\n){0,3}\r?\n[a-z]{0,9}"
                    .prop_map(String::into_bytes),
            ],
            cuts in prop::collection::vec(1usize..20, 1..60),
        ) {
            let mut pieces: Vec<&[u8]> = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(read(&pieces), read(&[&bytes]));
        }
    }
}
