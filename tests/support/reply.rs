//! What comes back before there is a tunnel, as a client reads it.

use super::events::Event;
use super::gateway::Gateway;
use super::peer::Peer;

/// A reply of the gateway, read to the end of the connection.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub phrase: String,
    headers: Vec<(String, String)>,
    /// What follows the head.
    pub body: String,
}

/// What a refusal should be.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// The status code.
    pub status: u16,
    /// The event id.
    pub event: u64,
    /// The reason.
    pub reason: &'static str,
}

impl Reply {
    /// Reads a whole reply, and the orderly end of the connection behind it.
    pub fn read(peer: &mut Peer) -> Reply {
        Reply::parse(&peer.read_to_end())
    }

    /// Reads the bytes of a reply.
    ///
    /// # Panics
    /// Where it is none.
    pub fn parse(bytes: &[u8]) -> Reply {
        let text = String::from_utf8(bytes.to_vec()).expect("a reply is UTF-8");
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
        let mut lines = head.split("\r\n");
        let line = lines.next().expect("split gives one at least");
        let rest =
            line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("no status in {line:?}"));
        let (status, phrase) = rest.split_once(' ').expect("a status and a phrase");
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("header {line:?}"));
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Reply {
            status: status.parse().expect("a status is a number"),
            phrase: phrase.to_owned(),
            headers: headers.collect(),
            body: body.to_owned(),
        }
    }

    /// The value of a header; empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        let name = name.to_ascii_lowercase();
        self.headers.iter().find(|(is, _)| *is == name).map_or("", |(_, value)| value)
    }

    /// The session it names.
    pub fn session(&self) -> &str {
        self.header("Sluice-Session")
    }

    /// Checks reply and event together: what the client reads is what the operator reads.
    ///
    /// # Panics
    /// Where one of them is not as it should be.
    pub fn expect(&self, refused: Refused, gateway: &Gateway, what: &str) -> Event {
        let Refused { status, event: id, reason } = refused;
        let is = (self.status, self.header("Sluice-Reason"), self.header("Sluice-Event"));
        assert_eq!(is, (status, reason, id.to_string().as_str()), "{what}: {self:?}");
        assert_eq!(self.header("Connection"), "close", "{what}");
        assert_eq!(self.header("Content-Length"), self.body.len().to_string(), "{what}");
        assert_eq!(self.body.matches('\n').count(), 1, "{what}: {:?}", self.body);
        assert!(self.body.ends_with('\n') && self.phrase.len() >= 10, "{what}: {self:?}");
        assert_eq!(self.header("Allow"), if status == 405 { "CONNECT" } else { "" }, "{what}");
        assert_eq!(status == 503, !self.header("Retry-After").is_empty(), "{what}: {self:?}");
        assert_eq!(self.session().len(), 16, "{what}: {self:?}");
        let event = gateway.events().of(reason, self.session());
        assert_eq!((event.id(), event.number("status")), (id, u64::from(status)), "{what}");
        let level = if id == 403 { "error" } else { "warning" };
        assert_eq!(event.text("level"), level, "{what}: {event:?}");
        assert_eq!(event.text("message"), self.body.trim_end(), "{what}");
        assert!(event.text("client").starts_with("127.0.0."), "{what}: {event:?}");
        event
    }
}
