//! One session's CONNECT to a relay proxy: what is asked, and what the answer means.

use std::time::Instant;

use super::policy::Refusal;
use super::reason::Reason;
use super::relay_proxies::RelayRules;
use super::secret::Secret;
use crate::proto::relay_reply::{Answer, Answered, BadAnswer, ReplyReader};
use crate::proto::relay_request;
use crate::proto::target::Target;
use crate::proto::via::Via;

/// A call that has not been answered to the end.
#[derive(Debug)]
pub struct RelayCall {
    passed: Option<Box<Via>>,
    reply: ReplyReader,
    /// All relay proxies together must have answered by then.
    until: Instant,
}

/// What a relay proxy has answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing whole yet.
    More,
    /// The tunnel is open; the target's bytes begin at this index of those just given.
    Opened(usize),
    /// It is not up to it; another one may be.
    Unavailable(Refusal),
    /// It will not open this tunnel, and no other is asked.
    Refused(Refusal),
}

impl RelayCall {
    /// A call for a request that has `passed` other proxies.
    pub fn new(passed: Option<Box<Via>>, until: Instant) -> RelayCall {
        RelayCall { passed, reply: ReplyReader::default(), until }
    }

    /// When all relay proxies together must have answered.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// What is written to the relay proxy, with the credentials in it.
    pub fn request(&self, target: &Target, rules: &RelayRules) -> Secret {
        let nobody = Via::default();
        let passed = self.passed.as_deref().unwrap_or(&nobody);
        let authorization = rules.authorization.as_ref().map(|secret| secret.reveal());
        Secret::new(relay_request::request(target, passed, &rules.name, authorization))
    }

    /// Takes the next bytes of the relay proxy.
    pub fn read(&mut self, bytes: &[u8]) -> Heard {
        match self.reply.read(bytes) {
            Answered::More => Heard::More,
            Answered::Whole { answer, early_at } => judge(&answer, early_at),
            Answered::Bad(error) => Heard::Refused(bad(error)),
        }
    }

    /// The relay proxy has ended or broken the connection. Where it had not begun to answer, the next
    /// one is asked: this one may just be starting or stopping.
    pub fn ended(&self) -> Heard {
        match self.reply.ended() {
            BadAnswer::Nothing => Heard::Unavailable(bad(BadAnswer::Nothing)),
            error => Heard::Refused(bad(error)),
        }
    }

    /// The next relay proxy is asked: its answer begins anew.
    pub fn begin_anew(&mut self) {
        self.reply = ReplyReader::default();
    }
}

/// No redirect is followed, and credentials are never tried twice.
fn judge(answer: &Answer, early_at: usize) -> Heard {
    let Answer { status, phrase } = answer;
    let words = format!("it answered {status} {phrase}");
    let words = words.trim_end();
    match status {
        200..=299 => Heard::Opened(early_at),
        // tinyproxy says 401 where credentials are wrong, and 407 only where there are none.
        401 | 407 => Heard::Refused(Refusal::because(Reason::RelayProxyRefusedCredentials, words)),
        503 => Heard::Unavailable(Refusal::because(Reason::RelayProxyRefused, words)),
        _ => Heard::Refused(Refusal::because(Reason::RelayProxyRefused, words)),
    }
}

fn bad(error: BadAnswer) -> Refusal {
    Refusal::because(Reason::RelayProxyBadReply, error.to_string())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_they_should() {
        let refused = |reason, words: &str| Heard::Refused(Refusal::because(reason, words));
        let credentials = Reason::RelayProxyRefusedCredentials;
        let rows = [
            (&b"HTTP/1.1 200 OK\r\n\r\nxx"[..], Heard::Opened(19)),
            (b"HTTP/1.0 299 OK\r\n\r\n", Heard::Opened(19)),
            (
                b"HTTP/1.1 301 Moved\r\n\r\n",
                refused(Reason::RelayProxyRefused, "it answered 301 Moved"),
            ),
            (b"HTTP/1.1 403\r\n\r\n", refused(Reason::RelayProxyRefused, "it answered 403")),
            (b"HTTP/1.1 407 Who?\r\n\r\n", refused(credentials, "it answered 407 Who?")),
            (b"HTTP/1.1 401 Who?\r\n\r\n", refused(credentials, "it answered 401 Who?")),
            (b"HTTP/1.1 500 x\r\n\r\n", refused(Reason::RelayProxyRefused, "it answered 500 x")),
            (
                b"HTTP/1.1 503 Busy\r\n\r\n",
                Heard::Unavailable(Refusal::because(
                    Reason::RelayProxyRefused,
                    "it answered 503 Busy",
                )),
            ),
            (b"SSH-2.0", refused(Reason::RelayProxyBadReply, "what it answers is not HTTP/1")),
            (b"HTTP/1.1 20", Heard::More),
        ];
        for (bytes, heard) in rows {
            let mut call = RelayCall::new(None, Instant::now());
            assert_eq!(call.read(bytes), heard, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn an_end_before_the_answer_is_no_answer() {
        let mut call = RelayCall::new(None, Instant::now());
        assert!(matches!(call.ended(), Heard::Unavailable(_)));
        call.read(b"H");
        assert!(matches!(call.ended(), Heard::Refused(_)));
        call.begin_anew();
        assert!(matches!(call.ended(), Heard::Unavailable(_)));
        assert_eq!(call.read(b"HTTP/1.1 200\r\n\r\n"), Heard::Opened(16));
    }
}
