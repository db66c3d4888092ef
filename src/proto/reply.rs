//! What the gateway says before there is a tunnel. Many clients show nothing of a refusal but its
//! reason phrase, so the phrase says why; headers and body are for people who look closer.

use std::fmt::{self, Write};

/// The answer to a CONNECT once the remote is connected: byte for byte the one of the original.
pub const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Seconds after which a client that met an overload or a drain may come again.
const RETRY_AFTER_S: u32 = 5;

/// A refusal to write down.
#[derive(Clone, Copy)]
pub struct Refusal<'a> {
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// Why, in a few words.
    pub phrase: &'a str,
    /// The spelling of the reason, for programs.
    pub reason: &'a str,
    /// The event that tells of it.
    pub event: u16,
    /// The session that the event names.
    pub session: &'a dyn fmt::Display,
    /// One line for the body.
    pub text: &'a str,
}

/// The whole reply, after which the connection is closed. No text in it can end its line: control
/// characters become spaces, and outside the body so does everything that is not ASCII.
pub fn refusal(refusal: &Refusal<'_>) -> Vec<u8> {
    let mut body = String::with_capacity(refusal.text.len() + 1);
    body.extend(refusal.text.chars().map(|c| if c.is_control() { ' ' } else { c }));
    body.push('\n');
    let mut out = Lines(String::with_capacity(body.len() + 320));
    out.line(format_args!("HTTP/1.1 {} {}", refusal.status, refusal.phrase));
    out.line(format_args!("Content-Type: text/plain; charset=utf-8"));
    out.line(format_args!("Content-Length: {}", body.len()));
    out.line(format_args!("Connection: close"));
    out.line(format_args!("Sluice-Reason: {}", refusal.reason));
    out.line(format_args!("Sluice-Event: {}", refusal.event));
    out.line(format_args!("Sluice-Session: {}", refusal.session));
    match refusal.status {
        405 => out.line(format_args!("Allow: CONNECT")),
        503 => out.line(format_args!("Retry-After: {RETRY_AFTER_S}")),
        _ => {}
    }
    let Lines(mut reply) = out;
    reply.push_str("\r\n");
    reply.push_str(&body);
    reply.into_bytes()
}

/// The answer to `GET /healthz` on the proxy port: 200 `ok`, or 503 while draining.
pub fn health(draining: bool) -> &'static [u8] {
    if draining {
        b"HTTP/1.1 503 Draining\r\nContent-Type: text/plain\r\nContent-Length: 9\r\nConnection: close\r\n\r\ndraining\n"
    } else {
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
    }
}

/// Lines of a head; what is written between two line ends cannot contain one.
struct Lines(String);

impl Lines {
    fn line(&mut self, text: fmt::Arguments<'_>) {
        // A String takes everything; a value that cannot be shown leaves its line short.
        let _ = self.write_fmt(text);
        self.0.push_str("\r\n");
    }
}

impl Write for Lines {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend(text.chars().map(|c| if matches!(c, ' '..='~') { c } else { ' ' }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample<'a>() -> Refusal<'a> {
        Refusal {
            status: 403,
            phrase: "Host not allowed",
            reason: "host_not_allowed",
            event: 105,
            session: &"0000010000000001",
            text: "Target host (www.test.com) is forbidden",
        }
    }

    #[test]
    fn the_200_is_the_39_bytes_of_the_original() {
        assert_eq!(ESTABLISHED, b"HTTP/1.1 200 Connection established\r\n\r\n");
        assert_eq!(ESTABLISHED.len(), 39);
    }

    #[test]
    fn a_refusal_is_written_to_the_letter() {
        let expected = "HTTP/1.1 403 Host not allowed\r\n\
                        Content-Type: text/plain; charset=utf-8\r\n\
                        Content-Length: 40\r\n\
                        Connection: close\r\n\
                        Sluice-Reason: host_not_allowed\r\n\
                        Sluice-Event: 105\r\n\
                        Sluice-Session: 0000010000000001\r\n\
                        \r\n\
                        Target host (www.test.com) is forbidden\n";
        assert_eq!(String::from_utf8(refusal(&sample())).unwrap(), expected);
    }

    #[test]
    fn statuses_that_need_a_header_get_it() {
        let rows = [
            (400, None),
            (403, None),
            (405, Some("Allow: CONNECT")),
            (502, None),
            (503, Some("Retry-After: 5")),
        ];
        for (status, header) in rows {
            let reply = String::from_utf8(refusal(&Refusal { status, ..sample() })).unwrap();
            for other in ["Allow: CONNECT", "Retry-After: 5"] {
                assert_eq!(
                    reply.contains(&format!("\r\n{other}\r\n")),
                    header == Some(other),
                    "{status} {other}"
                );
            }
        }
    }

    #[test]
    fn no_text_can_split_the_reply() {
        let evil = "a\r\nSet-Cookie: x\r\n\r\n<b>\0\u{85}\u{2028}\x1b[31m";
        let reply = refusal(&Refusal {
            phrase: evil,
            reason: evil,
            session: &evil,
            text: evil,
            ..sample()
        });
        let reply = String::from_utf8(reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert_eq!(head.lines().count(), 7);
        assert!(head.chars().all(|c| matches!(c, ' '..='~' | '\r' | '\n')));
        assert_eq!(head.matches('\r').count(), head.matches('\n').count());
        assert!(head.lines().skip(1).all(|line| !line.starts_with("Set-Cookie")));
        assert!(!body.trim_end_matches('\n').contains(char::is_control));
        assert!(body.ends_with('\n'));
    }

    #[test]
    fn the_declared_length_is_that_of_the_body() {
        for text in ["", "plain", "Zielrechner verboten: bücher"] {
            let replies = [
                refusal(&Refusal { text, ..sample() }),
                health(true).to_vec(),
                health(false).to_vec(),
            ];
            for reply in replies {
                let reply = String::from_utf8(reply).unwrap();
                let (head, body) = reply.split_once("\r\n\r\n").unwrap();
                let length =
                    head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
                assert_eq!(length.parse::<usize>().unwrap(), body.len());
                assert!(head.contains("Connection: close"));
            }
        }
        assert!(
            health(false).ends_with(b"\r\n\r\nok\n") && health(false).starts_with(b"HTTP/1.1 200 ")
        );
        assert!(
            health(true).ends_with(b"\r\n\r\ndraining\n")
                && health(true).starts_with(b"HTTP/1.1 503 ")
        );
    }
}
