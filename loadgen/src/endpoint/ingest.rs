//! Requests as they come in, in pieces of any size: hashes the bodies, verifies them against what the
//! head claims, and says what to reply. Keeps no body.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use xxhash_rust::xxh3::Xxh3;

use super::seen::Seen;
use crate::http::{self, Claim, HEAD_BYTES, Parsed, UploadHead};
use crate::payload::{self, Body};

/// What the endpoint counts.
#[derive(Default)]
pub struct Counts {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Uploads received whole.
    pub received: AtomicU64,
    /// Of those, with the hash they claimed.
    pub verified: AtomicU64,
    /// Of those, with another hash.
    pub mismatched: AtomicU64,
    /// Of those, received whole once before.
    pub duplicates: AtomicU64,
    /// Body bytes of the uploads received whole.
    pub bytes: AtomicU64,
    /// Connections that failed, in TLS, in HTTP or by a reset.
    pub failed: AtomicU64,
    /// The longest turn of its loop, in microseconds: the endpoint's own share of any lateness.
    pub longest_turn_us: AtomicU64,
    seen: Mutex<Seen>,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Received {
    /// Connections accepted.
    pub connections: u64,
    /// Uploads received whole.
    pub received: u64,
    /// Of those, with the hash they claimed.
    pub verified: u64,
    /// Of those, with another hash.
    pub mismatched: u64,
    /// Of those, received whole once before: sent again because the first answer was lost.
    pub duplicates: u64,
    /// Body bytes of the uploads received whole.
    pub bytes: u64,
    /// Connections that failed.
    pub failed: u64,
    /// The longest turn of its loop, in microseconds.
    pub longest_turn_us: u64,
}

impl Counts {
    /// The counts at this moment.
    pub fn read(&self) -> Received {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Received {
            connections: read(&self.connections),
            received: read(&self.received),
            verified: read(&self.verified),
            mismatched: read(&self.mismatched),
            duplicates: read(&self.duplicates),
            bytes: read(&self.bytes),
            failed: read(&self.failed),
            longest_turn_us: read(&self.longest_turn_us),
        }
    }
}

/// One connection's requests.
#[derive(Default)]
pub struct Ingest {
    head: Vec<u8>,
    upload: Option<Upload>,
    replies: Vec<u8>,
    answer: Option<Answer>,
    close: bool,
}

/// What goes down while a stream comes up; the replies that wait then follow it.
pub struct Answer {
    /// Everything that is to be said before the body.
    pub head: Vec<u8>,
    /// The bytes that the client asked for.
    pub body: Body,
}

struct Upload {
    left: u64,
    bytes: u64,
    close: bool,
    claim: Option<Claim>,
    is_stream: bool,
    is_of_logs: bool,
    // The state of the hash is large; a connection at rest does not carry it.
    hasher: Box<Xxh3>,
}

impl Ingest {
    /// Takes `bytes`. Errors where they are no request that can be answered; the reply that says so
    /// waits in `replies` like any other.
    pub fn take(&mut self, mut bytes: &[u8], counts: &Counts) -> Result<(), String> {
        while !self.close {
            if let Some(upload) = &mut self.upload {
                let count = upload.left.min(bytes.len() as u64) as usize;
                upload.hasher.update(&bytes[..count]);
                upload.left -= count as u64;
                bytes = &bytes[count..];
                if upload.left == 0 {
                    self.finish(counts);
                } else {
                    return Ok(());
                }
            }
            if bytes.is_empty() {
                return Ok(());
            }
            self.take_head(&mut bytes)?;
        }
        Ok(())
    }

    /// Whether the last reply ends the connection.
    pub fn closes(&self) -> bool {
        self.close
    }

    /// Whether a request has begun and is not whole.
    pub fn is_amid(&self) -> bool {
        self.upload.is_some() || !self.head.is_empty()
    }

    /// What is to be sent, once.
    pub fn take_replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.replies)
    }

    /// What is to be sent before the replies, once.
    pub fn take_answer(&mut self) -> Option<Answer> {
        self.answer.take()
    }

    fn take_head(&mut self, bytes: &mut &[u8]) -> Result<(), String> {
        let before = self.head.len();
        let room = (HEAD_BYTES - before).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        match http::upload_request(&self.head) {
            Parsed::Partial => *bytes = &bytes[room..],
            Parsed::Whole(head) => {
                *bytes = &bytes[head.taken - before..];
                self.head = Vec::new();
                if let Err(why) = self.begin(&head) {
                    return self.refuse(why);
                }
            }
            Parsed::Bad(why) => return self.refuse(why),
        }
        Ok(())
    }

    fn refuse(&mut self, why: String) -> Result<(), String> {
        self.close = true;
        self.reply("400 Bad Request", &why);
        Err(why)
    }

    fn begin(&mut self, head: &UploadHead) -> Result<(), String> {
        if head.expects_continue {
            self.replies.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let (agent, sequence) = head.claim.map_or((0, 0), |claim| (claim.agent, claim.sequence));
        if let Some(down_bytes) = head.down_bytes {
            if self.answer.is_some() {
                return Err("a stream was asked for while another was answered".to_owned());
            }
            let mut before = self.take_replies();
            before.extend_from_slice(&http::stream_reply_head(down_bytes));
            self.answer = Some(Answer { head: before, body: Body::down(agent, down_bytes) });
        }
        self.upload = Some(Upload {
            left: head.body_bytes,
            bytes: head.body_bytes,
            close: head.close,
            claim: head.claim,
            is_stream: head.down_bytes.is_some(),
            is_of_logs: head.is_of_logs,
            hasher: Box::new(payload::hasher(agent, sequence)),
        });
        Ok(())
    }

    fn finish(&mut self, counts: &Counts) {
        let Some(upload) = self.upload.take() else { return };
        counts.received.fetch_add(1, Ordering::Relaxed);
        counts.bytes.fetch_add(upload.bytes, Ordering::Relaxed);
        self.close = upload.close;
        let hash = upload.hasher.digest();
        let verified = upload.claim.is_none_or(|claim| claim.hash == hash);
        match upload.claim {
            None => {}
            Some(_) if !verified => {
                counts.mismatched.fetch_add(1, Ordering::Relaxed);
            }
            Some(claim) => {
                counts.verified.fetch_add(1, Ordering::Relaxed);
                // A stream repeats one body by intent.
                if !upload.is_stream && counts.seen.lock().note(claim.agent, claim.sequence) {
                    counts.duplicates.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        match upload.claim {
            _ if upload.is_stream => {
                self.replies.extend_from_slice(http::word(verified, hash).as_bytes());
            }
            Some(claim) if !verified => {
                let text = format!("claimed {:016x}, received {hash:016x}", claim.hash);
                self.reply("422 Hash Mismatch", &text);
            }
            _ if upload.is_of_logs => self.reply_without_body(),
            Some(_) => self.reply("200 OK", &format!("verified {hash:016x}")),
            None => self.reply("200 OK", &format!("received {} bytes", upload.bytes)),
        }
    }

    /// A 204 has no body and no length (RFC 9110 section 15.3.5).
    fn reply_without_body(&mut self) {
        let reply = format!("HTTP/1.1 204 No Content\r\n{}\r\n", self.close_header());
        self.replies.extend_from_slice(reply.as_bytes());
    }

    fn close_header(&self) -> &'static str {
        if self.close { "Connection: close\r\n" } else { "" }
    }

    fn reply(&mut self, status: &str, text: &str) {
        let close = self.close_header();
        let reply = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n{close}Content-Length: {}\r\n\r\n{text}\n",
            text.len() + 1
        );
        self.replies.extend_from_slice(reply.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Block;

    fn upload(agent: u32, bytes: u64, damage: bool) -> Vec<u8> {
        let block = Block::new();
        let body = Body::new(agent, 0, bytes);
        let mut wire = http::upload_head("localhost", &body, block.hash(&body));
        let mut position = 0;
        while position < bytes {
            let piece = block.piece(&body, position);
            wire.extend_from_slice(piece);
            position += piece.len() as u64;
        }
        if damage && let Some(last) = wire.last_mut() {
            *last ^= 1;
        }
        wire
    }

    fn fed(wire: &[u8], step: usize) -> (String, Received, bool, bool) {
        let counts = Counts::default();
        let mut ingest = Ingest::default();
        let whole = wire.chunks(step).try_for_each(|piece| ingest.take(piece, &counts)).is_ok();
        let replies = String::from_utf8(ingest.take_replies()).expect("text");
        (replies, counts.read(), ingest.closes(), whole)
    }

    #[test]
    fn uploads_back_to_back_are_verified_whatever_the_cuts() {
        let mut wire = upload(1, 20_000, false);
        wire.extend_from_slice(&upload(2, 0, false));
        wire.extend_from_slice(&upload(3, 17, false));
        for step in [1, 3, 1_000, 1 << 20] {
            let (replies, counts, closes, whole) = fed(&wire, step);
            assert_eq!((counts.received, counts.verified, counts.bytes), (3, 3, 20_017));
            assert_eq!(replies.matches("200 OK").count(), 3);
            assert!(!closes && whole);
        }
    }

    #[test]
    fn an_upload_that_comes_twice_is_a_duplicate() {
        let mut wire = upload(1, 100, false);
        wire.extend_from_slice(&upload(2, 100, false));
        wire.extend_from_slice(&upload(1, 100, false));
        let (_, counts, ..) = fed(&wire, 64);
        assert_eq!((counts.verified, counts.duplicates), (3, 1));
    }

    #[test]
    fn a_stream_is_answered_at_once_and_judged_at_its_end() {
        for (damage, word) in [(0, "verified"), (1, "mismatch")] {
            let block = Block::new();
            let up = Body::up(9, 30);
            let mut wire = http::stream_head("localhost", &up, block.hash(&up), 1_000);
            let head_bytes = wire.len();
            wire.extend_from_slice(block.piece(&up, 0));
            wire[head_bytes] ^= damage;
            let (counts, mut ingest) = (Counts::default(), Ingest::default());
            ingest.take(&wire[..head_bytes], &counts).expect("a head");
            let answer = ingest.take_answer().expect("an answer before the body");
            assert!(answer.head.starts_with(b"HTTP/1.1 200 OK\r\n"));
            assert_eq!((answer.body.agent, answer.body.bytes), (9, 1_000));
            assert!(ingest.take_replies().is_empty() && ingest.is_amid());
            ingest.take(&wire[head_bytes..], &counts).expect("a body");
            let replies = String::from_utf8(ingest.take_replies()).expect("text");
            assert!(replies.starts_with(word) && replies.len() == http::WORD_BYTES, "{replies}");
            assert_eq!(counts.read().mismatched, u64::from(damage));
        }
    }

    #[test]
    fn streams_are_answered_one_at_a_time() {
        let head = http::stream_head("localhost", &Body::up(1, 0), 0, 5);
        let (counts, mut ingest) = (Counts::default(), Ingest::default());
        assert!(ingest.take(&[head.clone(), head].concat(), &counts).is_err());
        assert!(ingest.closes());
    }

    #[test]
    fn a_damaged_upload_is_told_to_its_sender() {
        let (replies, counts, ..) = fed(&upload(1, 20_000, true), 4_096);
        assert_eq!((counts.verified, counts.mismatched), (0, 1));
        assert!(replies.starts_with("HTTP/1.1 422 Hash Mismatch\r\n"), "{replies}");
    }

    #[test]
    fn logs_are_answered_without_a_body_and_the_connection_goes_on() {
        let one =
            b"POST /dataCollectionRules/dcr-0/streams/Custom-T?api-version=2023-01-01 HTTP/1.1\r\n\
                    Content-Length: 5\r\n\r\n[{}]\n";
        let (replies, counts, closes, whole) = fed(&one.repeat(2), 7);
        assert_eq!(replies, "HTTP/1.1 204 No Content\r\n\r\n".repeat(2));
        assert_eq!((counts.received, counts.bytes), (2, 10));
        assert!(!closes && whole);
    }

    #[test]
    fn what_is_no_upload_is_answered_and_closed() {
        for wire in [
            &b"\x16\x03\x01garbage\r\n\r\n"[..],
            b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"POST / HTTP/1.1\r\n\r\n",
            &[b'A'; 2 * HEAD_BYTES],
        ] {
            let (replies, counts, closes, whole) = fed(wire, 512);
            assert!(replies.starts_with("HTTP/1.1 400 "), "{replies}");
            assert!(closes && !whole);
            assert_eq!(counts.received, 0);
        }
    }

    #[test]
    fn a_foreign_client_may_ask_to_continue_and_to_close() {
        let wire = b"PUT /x HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
        let (replies, counts, closes, whole) = fed(wire, 5);
        assert!(
            replies.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"),
            "{replies}"
        );
        assert!(closes && whole);
        assert_eq!((counts.received, counts.verified, counts.mismatched), (1, 0, 0));
    }
}
