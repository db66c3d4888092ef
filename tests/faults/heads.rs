//! Section A as data: heads that open a tunnel, and heads that do not.

use crate::bench::Vector;
use crate::support::random::Random;
use crate::support::reply::Refused;
use crate::support::tls;

const MALFORMED: Refused = Refused { status: 400, event: 104, reason: "malformed_head" };
const VERSION: Refused = Refused { status: 400, event: 104, reason: "unsupported_version" };
const NOT_CONNECT: Refused = Refused { status: 405, event: 104, reason: "not_connect" };
const HOST: Refused = Refused { status: 403, event: 105, reason: "host_not_allowed" };
const PORT: Refused = Refused { status: 403, event: 105, reason: "port_not_allowed" };
const TOO_LARGE: Refused = Refused { status: 431, event: 104, reason: "head_too_large" };

/// What a client sends before anything else.
#[derive(Clone, Debug)]
pub struct Head {
    /// Row of the catalogue.
    pub row: &'static str,
    bytes: Vec<u8>,
    /// Whether `@` stands for the target in it.
    has_target: bool,
    /// `None` where it opens a tunnel.
    pub refused: Option<Refused>,
}

impl Head {
    /// The bytes to send for this target.
    pub fn to(&self, target: &str) -> Vec<u8> {
        if !self.has_target {
            return self.bytes.clone();
        }
        let pieces: Vec<&[u8]> = self.bytes.split(|&byte| byte == b'@').collect();
        pieces.join(target.as_bytes())
    }
}

impl Vector for Head {
    fn refused(&self) -> Option<(u64, &'static str)> {
        self.refused.map(|refused| (refused.event, refused.reason))
    }

    fn shown(&self) -> String {
        format!("{}: {}", self.row, self.bytes[..self.bytes.len().min(100)].escape_ascii())
    }
}

/// Headers that change nothing, as real clients send them and as odd ones could.
const GOOD_FIELDS: &[(&str, &str)] = &[
    ("A1", "Host: @\r\n"),
    ("A1", ""),
    (
        "A5",
        "Host: 127.0.0.1\r\nContent-Length: 0\r\nProxy-Connection: Keep-Alive\r\nPragma: no-cache\r\n",
    ),
    ("A5", "Host: @\r\nUser-Agent: curl/8.5.0\r\nProxy-Connection: Keep-Alive\r\n"),
    (
        "A5",
        "User-Agent: Java/17.0.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nProxy-Connection: keep-alive\r\n",
    ),
    ("A5", "Connection: Keep-Alive\r\nUser-Agent: Mozilla/4.0 (compatible; Win32)\r\nHost: @\r\n"),
    ("A5", "Host: @\r\nExpect: 100-continue\r\nConnection: close\r\n"),
    ("A5", "Host: @\r\nVia: 1.1 a\r\nX-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n"),
    ("A5", "Host: @\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"),
    ("A5", "Host:\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n"),
    ("A5", "Proxy-Authorization: Negotiate YIIB\r\nProxy-Authorization: NTLM TlRM\r\n"),
    ("A6", "Content-Length: 00\r\n"),
    ("A6", "Content-Length: 0\r\nContent-Length: 000\r\n"),
    ("A7", "Host: other.example:443\r\nUser-Agent: x\r\n"),
    ("A7", "Host: @\r\nHost: @\r\n"),
    ("A7", "Host: user@[::1\r\n"),
    ("A8", "X: \u{e4}\r\n"),
    ("A8", "X:\r\nY:a\r\nZ: \t a b\tc \t\r\n"),
];

/// Heads that open a tunnel.
pub fn good() -> Vec<Head> {
    let good = |row, bytes: String| Head {
        row,
        bytes: bytes.into_bytes(),
        has_target: true,
        refused: None,
    };
    let mut heads = Vec::new();
    for (row, fields) in GOOD_FIELDS {
        heads.push(good(*row, format!("CONNECT @ HTTP/1.1\r\n{fields}\r\n")));
    }
    for (row, head) in [
        ("A5", "CONNECT @ HTTP/1.0\r\n\r\n"),
        ("A5", "CONNECT @ HTTP/1.0\r\nHost: @\r\nContent-Length: 0\r\n\r\n"),
        ("A8", "\r\n\r\nCONNECT @ HTTP/1.1\r\nHost: @\r\n\r\n"),
        ("A8", "\nCONNECT @ HTTP/1.1\r\n\r\n"),
        ("A8", "CONNECT @ HTTP/1.1\nHost: @\n\n"),
        ("A8", "CONNECT @ HTTP/1.1\nHost: @\r\nX: y\n\r\n"),
    ] {
        heads.push(good(row, head.to_owned()));
    }
    heads.push(good("A9", format!("CONNECT @ HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100))));
    heads.push(good("A9", format!("CONNECT @ HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(16_000))));
    heads
}

/// Headers that two readers could read in two ways.
const BAD_FIELDS: &[(&str, &str)] = &[
    ("A6", "Content-Length: 5\r\n"),
    ("A6", "Content-Length: 1\r\n"),
    ("A6", "content-length: 18446744073709551616\r\n"),
    ("A6", "Content-Length: 0\r\nContent-Length: 1\r\n"),
    ("A6", "Content-Length: 5\r\nContent-Length: 0\r\n"),
    ("A6", "Content-Length: +0\r\n"),
    ("A6", "Content-Length: -0\r\n"),
    ("A6", "Content-Length: 0, 0\r\n"),
    ("A6", "Content-Length: 0x0\r\n"),
    ("A6", "Content-Length: 0 0\r\n"),
    ("A6", "Content-Length:\r\n"),
    ("A6", "Content-Length: zero\r\n"),
    ("A6", "Transfer-Encoding: chunked\r\n"),
    ("A6", "Transfer-Encoding: Chunked\r\n"),
    ("A6", "TRANSFER-ENCODING: chunked,\r\n"),
    ("A6", "Transfer-Encoding: chunked\t\r\n"),
    ("A6", "Transfer-Encoding: \tchunked\r\n"),
    ("A6", "Transfer-Encoding: xchunked\r\n"),
    ("A6", "Transfer-Encoding: identity\r\n"),
    ("A6", "Transfer-Encoding: gzip, chunked\r\n"),
    ("A6", "Transfer-Encoding:\r\n"),
    ("A6", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    ("A6", "Transfer-Encoding: x\r\nContent-Length: 0\r\n"),
    ("A6", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    ("A7", "Host: a.example\r\nHost: b.example\r\n"),
    ("A7", "Host: @\r\nHost:\r\n"),
    ("A8", "X: a\rb\r\n"),
    ("A8", "X: a\r\r\n"),
    ("A8", "\r\r\n"),
    ("A8", "X: a\r\n folded\r\n"),
    ("A8", "X: a\r\n\tfolded\r\n"),
    ("A8", " X: a\r\n"),
    ("A8", "X : a\r\n"),
    ("A8", "X\t: a\r\n"),
    ("A8", "Host : @\r\n"),
    ("A8", "X: a\0b\r\n"),
    ("A8", "X\0: a\r\n"),
    ("A8", "X: a\x0bb\r\n"),
    ("A8", "X: a\x1b[31m\r\n"),
    ("A8", "X: a\x7f\r\n"),
    ("A8", ": a\r\n"),
    ("A8", "no colon\r\n"),
    ("A8", "\u{e4}: a\r\n"),
    ("A8", "(X): a\r\n"),
    ("A8", "a/b: c\r\n"),
    ("A8", "\"X\": a\r\n"),
];

const BAD_TEXTS: &[(&str, &str, Refused)] = &[
    ("A6", "CONNECT @ HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", MALFORMED),
    ("A6", "CONNECT @ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", MALFORMED),
    // A Host header that is allowed does not help a target that is not.
    ("A7", "CONNECT other.example:443 HTTP/1.1\r\nHost: @\r\n\r\n", HOST),
    ("A7", "CONNECT other.example:443 HTTP/1.0\r\nHost: @\r\nX-Forwarded-Host: @\r\n\r\n", HOST),
    ("A7", "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: @\r\n\r\n", PORT),
    // Request lines that two readers would split differently.
    ("A8", "CONNECT  @ HTTP/1.1\r\n\r\n", MALFORMED),
    ("A8", "CONNECT @  HTTP/1.1\r\n\r\n", MALFORMED),
    ("A8", "CONNECT @ HTTP/1.1 \r\n\r\n", MALFORMED),
    ("A8", "CONNECT @ @ HTTP/1.1\r\n\r\n", MALFORMED),
    ("A8", " CONNECT @ HTTP/1.1\r\n\r\n", MALFORMED),
    ("A8", "\tCONNECT @ HTTP/1.1\r\n\r\n", MALFORMED),
    ("A8", "CONNECT\t@\tHTTP/1.1\r\n\r\n", MALFORMED),
    ("A8", "CONNECT @\0 HTTP/1.1\r\n\r\n", MALFORMED),
    ("A8", "CONNECT\0 @ HTTP/1.1\r\n\r\n", MALFORMED),
    ("A8", "CONNECT @ HTTP/1.1\rHost: x\r\n\r\n", MALFORMED),
    ("A8", "\u{feff}CONNECT @ HTTP/1.1\r\n\r\n", MALFORMED),
    ("A8", "CONNECT\r\n\r\n", MALFORMED),
    // Other methods.
    ("A10", "GET http://169.254.169.254/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n", NOT_CONNECT),
    ("A10", "GET http://169.254.169.254/latest/meta-data/ HTTP/1.0\r\n\r\n", NOT_CONNECT),
    ("A10", "GET http://@/ HTTP/1.1\r\nHost: @\r\n\r\n", NOT_CONNECT),
    ("A10", "POST http://@/ HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", NOT_CONNECT),
    ("A10", "PUT http://@/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NOT_CONNECT),
    ("A10", "DELETE http://@/ HTTP/1.1\r\n\r\n", NOT_CONNECT),
    ("A10", "PROPFIND / HTTP/1.1\r\n\r\n", NOT_CONNECT),
    ("A10", "TRACE / HTTP/1.1\r\n\r\n", NOT_CONNECT),
    ("A10", "OPTIONS * HTTP/1.1\r\n\r\n", NOT_CONNECT),
    ("A10", "GET / HTTP/1.1\r\n\r\n", NOT_CONNECT),
    ("A10", "GET @ HTTP/1.1\r\n\r\n", NOT_CONNECT),
    ("A10", "GET /healthz/ HTTP/1.1\r\n\r\n", NOT_CONNECT),
    ("A10", "GET /healthz?x HTTP/1.1\r\n\r\n", NOT_CONNECT),
    ("A10", "GET //healthz HTTP/1.1\r\n\r\n", NOT_CONNECT),
    ("A10", "HEAD /healthz HTTP/1.1\r\n\r\n", NOT_CONNECT),
    ("A10", "connect @ HTTP/1.1\r\n\r\n", NOT_CONNECT),
    ("A10", "Connect @ HTTP/1.1\r\n\r\n", NOT_CONNECT),
    ("A10", "CONNECTS @ HTTP/1.1\r\n\r\n", NOT_CONNECT),
    ("A10", "CONNEC @ HTTP/1.1\r\n\r\n", NOT_CONNECT),
    ("A10", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NOT_CONNECT),
    // Other protocols that begin like words.
    ("A11", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nCONNECT @ HTTP/1.1\r\n\r\n", MALFORMED),
    ("A11", "PROXY UNKNOWN\r\nCONNECT @ HTTP/1.1\r\n\r\n", MALFORMED),
    ("A11", "SSH-2.0-OpenSSH_9.6\r\n", MALFORMED),
    ("A11", "EHLO there\r\n", VERSION),
    ("A11", "USER anonymous\r\n", VERSION),
    ("A11", "PING\r\n", MALFORMED),
    ("A11", "*1\r\n$4\r\nPING\r\n", MALFORMED),
    ("A11", "get key\r\n", VERSION),
    ("A11", "{\"jsonrpc\": \"2.0\"}\n", MALFORMED),
    ("A11", "<policy-file-request/>\0", MALFORMED),
    ("A11", "<?xml version='1.0'?>", MALFORMED),
    ("A11", "\u{e9}", MALFORMED),
    // Other versions.
    ("A12", "CONNECT @\r\n", VERSION),
    ("A12", "GET /\r\n", VERSION),
    ("A12", "GET /\n", VERSION),
    ("A12", "CONNECT @ HTTP/0.9\r\n\r\n", VERSION),
    ("A12", "CONNECT @ HTTP/1.2\r\n\r\n", VERSION),
    ("A12", "CONNECT @ HTTP/1.10\r\n\r\n", VERSION),
    ("A12", "CONNECT @ HTTP/01.1\r\n\r\n", VERSION),
    ("A12", "CONNECT @ HTTP/1\r\n\r\n", VERSION),
    ("A12", "CONNECT @ HTTP/2.0\r\n\r\n", VERSION),
    ("A12", "CONNECT @ HTTP/2\r\n\r\n", VERSION),
    ("A12", "CONNECT @ HTTP/3\r\n\r\n", VERSION),
    ("A12", "CONNECT @ HTTP/11.1\r\n\r\n", VERSION),
    ("A12", "GET /healthz HTTP/0.9\r\n\r\n", VERSION),
    ("A12", "PRI / HTTP/2.0\r\n\r\n", VERSION),
    ("A12", "CONNECT @ http/1.1\r\n\r\n", MALFORMED),
    ("A12", "CONNECT @ HTTP/\r\n\r\n", MALFORMED),
    ("A12", "CONNECT @ HTTP/1.\r\n\r\n", MALFORMED),
    ("A12", "CONNECT @ HTTP/1.1.1\r\n\r\n", MALFORMED),
    ("A12", "CONNECT @ HTTP/1,1\r\n\r\n", MALFORMED),
    ("A12", "CONNECT @ HTTP/-1.1\r\n\r\n", MALFORMED),
    ("A12", "CONNECT @ HTTP/1.1\t\r\n\r\n", MALFORMED),
    ("A12", "CONNECT @ HTTPS/1.1\r\n\r\n", MALFORMED),
    ("A12", "OPTIONS * RTSP/1.0\r\n\r\n", MALFORMED),
    ("A12", "OPTIONS icap://x ICAP/1.0\r\n\r\n", MALFORMED),
];

/// Other protocols, as bytes.
const BAD_BYTES: &[&[u8]] = &[
    &[5, 1, 0],
    &[5, 2, 0, 2],
    &[4, 1, 1, 187, 127, 0, 0, 1, 0],
    &[4, 1, 1, 187, 0, 0, 0, 1, 0, b'x', 0],
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x01\0\x02",
    &[0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10],
    &[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
    &[3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 3, 0, 0, 0],
    &[0, 0, 0, 0x85, 0xff, b'S', b'M', b'B'],
    &[0, 0, 0, 8, 4, 210, 22, 47],
    &[0x10, 0x0c, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 0],
    &[0, 29, 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0],
    &[0xff, 0xfb, 0x01, 0xff, 0xfb, 0x03],
    &[0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8],
    b"C\0O\0N\0N\0E\0C\0T\0 \0a\0:\x001\0 \0H\0T\0T\0P\0/\x001\0.\x001\0\r\0\n\0\r\0\n\0",
    &[0; 100],
    &[0xff; 100],
];

/// Heads that are refused before anything is looked up or dialled.
pub fn bad() -> Vec<Head> {
    let text = |row, text: &str, refused| Head {
        row,
        bytes: text.as_bytes().to_vec(),
        has_target: true,
        refused: Some(refused),
    };
    let fields = BAD_FIELDS
        .iter()
        .map(|(row, fields)| text(row, &format!("CONNECT @ HTTP/1.1\r\n{fields}\r\n"), MALFORMED));
    let texts = BAD_TEXTS.iter().map(|(row, bytes, refused)| text(row, bytes, *refused));
    let bytes = |bytes: &[u8]| Head {
        row: "A11",
        bytes: bytes.to_vec(),
        has_target: false,
        refused: Some(MALFORMED),
    };
    let other = BAD_BYTES.iter().map(|other| bytes(other));
    let noise = (0..6).map(|seed| bytes(&noise(seed)));
    let hellos = [tls::hello(Some("localhost")), tls::hello(None)].map(|hello| bytes(&hello));
    let headers = "X: 0123456789\r\n".repeat(10_000);
    let grown = [
        "A".repeat(64 * 1024),
        "\r\n".repeat(32 * 1024),
        format!("CONNECT {}", " ".repeat(64 * 1024)),
        format!("CONNECT {}:443 HTTP/1.1\r\n\r\n", "a".repeat(64 * 1024)),
        format!("CONNECT @ HTTP/1.{}\r\n\r\n", "1".repeat(64 * 1024)),
        format!("CONNECT @ HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(64 * 1024)),
        format!("CONNECT @ HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(16 * 1024)),
        format!("CONNECT @ HTTP/1.1\r\n{}: y\r\n\r\n", "X".repeat(64 * 1024)),
        format!("CONNECT @ HTTP/1.1\r\n{headers}\r\n"),
        format!("CONNECT @ HTTP/1.1\r\n{}\r\n", &headers[..15 * 101]),
    ];
    let grown = grown.iter().map(|grown| text("A9", grown, TOO_LARGE));
    fields.chain(texts).chain(other).chain(noise).chain(hellos).chain(grown).collect()
}

/// 64 KiB that begin with a byte that no method begins with.
fn noise(seed: u64) -> Vec<u8> {
    let mut random = Random::seeded(seed);
    let mut bytes: Vec<u8> = (0..8 * 1024).flat_map(|_| random.next().to_le_bytes()).collect();
    bytes[0] |= 0x80;
    bytes
}
