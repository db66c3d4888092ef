//! The head of a request to the admin listener. Bodies are not read: no route takes one.

/// Bytes of a head. Browsers and probes send less than 1 KiB.
pub(super) const HEAD_BYTES: usize = 8 * 1024;
/// Headers of a head.
const HEADERS: usize = 64;

/// A well-formed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// What follows the question mark; empty where there is none.
    pub(super) query: String,
    /// A browser sent it on behalf of some page.
    pub(super) is_of_a_page: bool,
}

/// What has come of a head so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Whole(Request),
    /// This status is the answer.
    Refused(u16),
}

/// Reads the head that `bytes` begins with.
pub(super) fn read(bytes: &[u8]) -> Progress {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES => return Progress::More,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Progress::Refused(431);
        }
        Err(_) => return Progress::Refused(400),
    }
    let (Some(method), Some(target)) = (head.method, head.path) else {
        return Progress::Refused(400);
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let is_of_a_page = head.headers.iter().any(|header| header.name.eq_ignore_ascii_case("origin"));
    Progress::Whole(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        is_of_a_page,
    })
}

impl Request {
    /// The value of `key` in the query, as it stands: no value that is known here needs an escape.
    pub(super) fn asked(&self, key: &str) -> Option<&str> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_or_refused() {
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(HEAD_BYTES));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS + 1));
        for (bytes, status) in [
            (&b"\x16\x03\x01\x02\x00"[..], 400),
            (b"GET\r\n\r\n", 400),
            (b"GET / HTTP/2.0\r\n\r\n", 400),
            (long.as_bytes(), 431),
            (many.as_bytes(), 431),
        ] {
            assert_eq!(read(bytes), Progress::Refused(status), "{:?}", bytes.escape_ascii());
        }
        let whole = b"GET /report?a=1&format=json&x HTTP/1.1\r\nHost: a\r\nORIGIN: b\r\n\r\nbody";
        for end in 0..whole.len() - 4 {
            assert_eq!(read(&whole[..end]), Progress::More, "{end}");
        }
        let Progress::Whole(request) = read(whole) else { panic!("it is whole") };
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/report"));
        assert_eq!((request.asked("format"), request.asked("x")), (Some("json"), None));
        assert!(request.is_of_a_page);
        assert!(matches!(read(b"GET / HTTP/1.0\n\n"), Progress::Whole(_)));
    }
}
