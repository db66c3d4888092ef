//! The little HTTP/1.1 that a tunnel and an upload need, as bytes and values: no sockets, no clock.

use crate::payload::Body;

/// The most a head may take before its sender is given up.
pub const HEAD_BYTES: usize = 16_384;

/// The most of a reply's body that is waited for; an ingestion endpoint answers in a line.
const REPLY_BODY_BYTES: usize = 1 << 20;

const MOST_HEADERS: usize = 64;

/// The request that asks the gateway for a tunnel (RFC 9110 section 9.3.6).
pub fn connect_head(target: &str) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: loadgen/{version}\r\n\r\n")
        .into_bytes()
}

/// The head of one upload; the endpoint finds in it what it needs to verify the body.
pub fn upload_head(target: &str, body: &Body, hash: u64) -> Vec<u8> {
    format!(
        "POST /upload HTTP/1.1\r\nHost: {target}\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {}\r\nLoadgen-Agent: {}\r\nLoadgen-Upload: {}\r\nLoadgen-Hash: {hash:016x}\r\n\r\n",
        body.bytes, body.agent, body.sequence
    )
    .into_bytes()
}

/// The path of exchanges that only move bytes: the answer begins before the request has ended.
const STREAM_PATH: &str = "/stream";

/// Where paths of the Logs Ingestion API begin; its clients take nothing but a 204 for a success.
const LOGS_PATH: &str = "/dataCollectionRules/";

/// The head of one exchange of bytes both ways: `up` follows it, and `down_bytes` come back.
pub fn stream_head(target: &str, up: &Body, hash: u64, down_bytes: u64) -> Vec<u8> {
    format!(
        "POST {STREAM_PATH} HTTP/1.1\r\nHost: {target}\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {}\r\nLoadgen-Agent: {}\r\nLoadgen-Upload: {}\r\nLoadgen-Hash: {hash:016x}\r\n\
         Loadgen-Down: {down_bytes}\r\n\r\n",
        up.bytes, up.agent, up.sequence
    )
    .into_bytes()
}

/// The head of the answer to a stream: `down_bytes`, and then the endpoint's word on what went up.
pub fn stream_reply_head(down_bytes: u64) -> Vec<u8> {
    let length = down_bytes + WORD_BYTES as u64;
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n")
        .into_bytes()
}

/// How long the endpoint's word at the end of a stream is.
pub const WORD_BYTES: usize = 26;

/// The endpoint's word at the end of a stream: whether the bytes that went up were those claimed.
pub fn word(verified: bool, hash: u64) -> String {
    format!("{} {hash:016x}\n", if verified { "verified" } else { "mismatch" })
}

/// A reply as far as the load cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The reason phrase, with the gateway's `Sluice-Reason` if it gave one; control characters escaped.
    pub phrase: String,
    /// For how many seconds the sender asked to be left alone; a date in its place is passed over.
    pub retry_after_s: Option<u64>,
    /// How many bytes of the input the reply took.
    pub taken: usize,
}

/// What a piece of input amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// Not whole yet.
    Partial,
    /// Whole.
    Whole(T),
    /// Will never be right; says why.
    Bad(String),
}

/// Reads the head of the answer to CONNECT. A 2xx has no body (RFC 9110 section 9.3.6), and the body of
/// a refusal says no more than its head, so neither is waited for.
pub fn tunnel_reply(input: &[u8]) -> Parsed<Reply> {
    match reply_head(input) {
        Parsed::Whole((reply, _)) => Parsed::Whole(reply),
        Parsed::Partial => Parsed::Partial,
        Parsed::Bad(why) => Parsed::Bad(why),
    }
}

/// Reads a whole reply to an upload, body and all.
pub fn upload_reply(input: &[u8]) -> Parsed<Reply> {
    let (mut reply, length) = match reply_head(input) {
        Parsed::Whole(head) => head,
        Parsed::Partial => return Parsed::Partial,
        Parsed::Bad(why) => return Parsed::Bad(why),
    };
    let body = match length {
        _ if reply.status == 204 || reply.status == 304 => 0,
        Some(length) if length <= REPLY_BODY_BYTES => length,
        Some(length) => {
            return Parsed::Bad(format!(
                "a reply body of {length} bytes is more than loadgen reads"
            ));
        }
        None => {
            return Parsed::Bad(format!("the {} reply has no Content-Length", reply.status));
        }
    };
    if input.len() < reply.taken + body {
        return Parsed::Partial;
    }
    reply.taken += body;
    Parsed::Whole(reply)
}

/// Reads a reply's head: the reply without its body, and how long that is said to be.
pub fn reply_head(input: &[u8]) -> Parsed<(Reply, Option<usize>)> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let taken = match response.parse(input) {
        Ok(httparse::Status::Complete(taken)) => taken,
        Ok(httparse::Status::Partial) if input.len() >= HEAD_BYTES => {
            return Parsed::Bad(format!("the reply's head is longer than {HEAD_BYTES} bytes"));
        }
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(why) => return Parsed::Bad(format!("not an HTTP reply: {why}")),
    };
    let mut phrase = response.reason.unwrap_or("").escape_debug().to_string();
    if let Some(reason) = header(response.headers, "sluice-reason") {
        phrase.push_str(&format!(" [{}]", reason.escape_debug()));
    }
    let status = response.code.unwrap_or(0);
    let retry_after_s = header(response.headers, "retry-after").and_then(|text| text.parse().ok());
    match content_length(response.headers) {
        Ok(length) => Parsed::Whole((Reply { status, phrase, retry_after_s, taken }, length)),
        Err(why) => Parsed::Bad(why),
    }
}

/// The head of an upload as the endpoint sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadHead {
    /// The body's length in bytes.
    pub body_bytes: u64,
    /// Agent, sequence and hash to verify against; `None` from a client that is not a loadgen.
    pub claim: Option<Claim>,
    /// Whether the client asked for the connection to be closed afterwards.
    pub close: bool,
    /// Whether the client waits for a `100 Continue` (RFC 9110 section 10.1.1).
    pub expects_continue: bool,
    /// How many bytes are to come back, where the request is a stream.
    pub down_bytes: Option<u64>,
    /// Whether the answer to a success is a 204, as the Logs Ingestion API gives it.
    pub is_of_logs: bool,
    /// How many bytes of the input the head took.
    pub taken: usize,
}

/// What the sender says its body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who uploads.
    pub agent: u32,
    /// The agent's upload.
    pub sequence: u32,
    /// The body's hash.
    pub hash: u64,
}

/// Reads the head of a request to the endpoint.
pub fn upload_request(input: &[u8]) -> Parsed<UploadHead> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let taken = match request.parse(input) {
        Ok(httparse::Status::Complete(taken)) => taken,
        Ok(httparse::Status::Partial) if input.len() >= HEAD_BYTES => {
            return Parsed::Bad(format!("the request's head is longer than {HEAD_BYTES} bytes"));
        }
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(why) => return Parsed::Bad(format!("not an HTTP request: {why}")),
    };
    let has_body = matches!(request.method, Some("POST" | "PUT"));
    let body_bytes = match content_length(request.headers) {
        Ok(Some(length)) => length as u64,
        Ok(None) if !has_body => 0,
        Ok(None) => return Parsed::Bad("an upload needs a Content-Length".to_owned()),
        Err(why) => return Parsed::Bad(why),
    };
    let is_stream = request.path == Some(STREAM_PATH);
    let down_bytes = match header(request.headers, "loadgen-down").map(str::parse) {
        Some(Ok(bytes)) if is_stream => Some(bytes),
        _ if is_stream => return Parsed::Bad("a stream needs a Loadgen-Down".to_owned()),
        _ => None,
    };
    let says = |name: &str, value: &str| {
        header(request.headers, name).is_some_and(|given| given.eq_ignore_ascii_case(value))
    };
    Parsed::Whole(UploadHead {
        body_bytes,
        claim: claim(request.headers),
        close: says("connection", "close") || request.version == Some(0),
        expects_continue: says("expect", "100-continue"),
        down_bytes,
        is_of_logs: request.path.is_some_and(|path| path.starts_with(LOGS_PATH)),
        taken,
    })
}

fn claim(headers: &[httparse::Header<'_>]) -> Option<Claim> {
    Some(Claim {
        agent: header(headers, "loadgen-agent")?.parse().ok()?,
        sequence: header(headers, "loadgen-upload")?.parse().ok()?,
        hash: u64::from_str_radix(header(headers, "loadgen-hash")?, 16).ok()?,
    })
}

fn content_length(headers: &[httparse::Header<'_>]) -> Result<Option<usize>, String> {
    match header(headers, "content-length") {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(length) => Ok(Some(length)),
            Err(_) => Err(format!("Content-Length {:?} is not a number", text.escape_debug())),
        },
    }
}

fn header<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(found.value).ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_head_is_read_back_as_it_was_written() {
        let body = Body::new(17, 3, 200_000);
        let bytes = upload_head("localhost:443", &body, 0xABCD);
        for cut in 0..bytes.len() {
            assert_eq!(upload_request(&bytes[..cut]), Parsed::Partial, "cut at {cut}");
        }
        let Parsed::Whole(head) = upload_request(&bytes) else { panic!("not whole") };
        assert_eq!(head.body_bytes, 200_000);
        assert_eq!(head.claim, Some(Claim { agent: 17, sequence: 3, hash: 0xABCD }));
        assert_eq!(head.taken, bytes.len());
        assert!(!head.close && !head.expects_continue);
    }

    #[test]
    fn a_stream_says_how_much_is_to_come_back() {
        let up = Body::new(5, 0, 1_000);
        let bytes = stream_head("localhost:443", &up, 7, 2_000);
        let Parsed::Whole(head) = upload_request(&bytes) else { panic!("not whole") };
        assert_eq!((head.body_bytes, head.down_bytes), (1_000, Some(2_000)));
        let without = b"POST /stream HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
        assert!(matches!(upload_request(without), Parsed::Bad(_)));
        let Parsed::Whole((reply, length)) = reply_head(&stream_reply_head(2_000)) else {
            panic!("not whole")
        };
        assert_eq!((reply.status, length), (200, Some(2_000 + WORD_BYTES)));
        assert_eq!([word(true, 7).len(), word(false, u64::MAX).len()], [WORD_BYTES; 2]);
    }

    #[test]
    fn a_reply_may_ask_to_be_left_alone() {
        for (value, expected) in
            [("2", Some(2)), ("Fri, 31 Dec 1999 23:59:59 GMT", None), ("-1", None)]
        {
            let input = format!("HTTP/1.1 503 Busy\r\nRetry-After: {value}\r\n\r\n");
            let Parsed::Whole(reply) = tunnel_reply(input.as_bytes()) else { panic!("not whole") };
            assert_eq!(reply.retry_after_s, expected, "{value}");
        }
    }

    #[test]
    fn a_foreign_request_is_taken_without_a_claim() {
        let input = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        let Parsed::Whole(head) = upload_request(input) else { panic!("not whole") };
        assert_eq!((head.body_bytes, head.claim, head.close), (5, None, true));
        assert_eq!(input.len() - head.taken, 5);
    }

    #[test]
    fn replies_are_read_with_reason_and_body() {
        type Row = (&'static str, Parsed<(u16, &'static str)>);
        let table: [Row; 6] = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Parsed::Whole((200, "OK"))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", Parsed::Partial),
            ("HTTP/1.1 204 No Content\r\n\r\n", Parsed::Whole((204, "No Content"))),
            (
                "HTTP/1.1 403 Forbidden\r\nSluice-Reason: host_not_allowed\r\nContent-Length: 0\r\n\r\n",
                Parsed::Whole((403, "Forbidden [host_not_allowed]")),
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\n",
                Parsed::Bad("the 200 reply has no Content-Length".to_owned()),
            ),
            (
                "SSH-2.0-x\r\n\r\n",
                Parsed::Bad("not an HTTP reply: invalid HTTP version".to_owned()),
            ),
        ];
        for (input, expected) in table {
            let got = match upload_reply(input.as_bytes()) {
                Parsed::Whole(reply) => {
                    assert_eq!(reply.taken, input.len());
                    Parsed::Whole((reply.status, reply.phrase))
                }
                Parsed::Partial => Parsed::Partial,
                Parsed::Bad(why) => Parsed::Bad(why),
            };
            let expected = match expected {
                Parsed::Whole((status, phrase)) => Parsed::Whole((status, phrase.to_owned())),
                Parsed::Partial => Parsed::Partial,
                Parsed::Bad(why) => Parsed::Bad(why),
            };
            assert_eq!(got, expected, "{input:?}");
        }
    }

    #[test]
    fn an_endless_head_is_given_up() {
        let mut endless = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
        endless.resize(HEAD_BYTES, b'a');
        assert!(matches!(tunnel_reply(&endless), Parsed::Bad(_)));
    }
}
