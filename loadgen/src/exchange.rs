//! What a tunnel is asked to carry: a request, and what its answer has to be. No socket, no clock.

use xxhash_rust::xxh3::Xxh3;

use crate::failure::{Cause, Failure, Stage};
use crate::http::{self, Parsed, Reply, WORD_BYTES};
use crate::payload::{self, Block, Body};

/// How many bytes of a stream are verified at a time, each way: enough that the pause between two does
/// not show, and little enough that the last ones end soon after the load.
pub const PART_BYTES: u64 = 4 << 20;

/// What the agents of a load do with their tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Upload so many bytes.
    Upload(u64),
    /// Open it and close it.
    Session,
    /// Move bytes as fast as it goes.
    Stream {
        /// How many of a part go up.
        up_bytes: u64,
        /// How many come down meanwhile.
        down_bytes: u64,
    },
}

impl Job {
    /// How many bytes one of these carries.
    pub fn bytes(self) -> u64 {
        match self {
            Job::Upload(bytes) => bytes,
            Job::Session => 0,
            Job::Stream { up_bytes, down_bytes } => up_bytes + down_bytes,
        }
    }
}

/// The hashes of an agent's stream: the same bytes again and again, so they are found once.
#[derive(Clone, Copy)]
pub struct Hashes {
    up: u64,
    down: u64,
}

/// One request and what is awaited for it.
pub struct Exchange {
    /// The request's head.
    pub head: Vec<u8>,
    /// What follows it.
    pub body: Body,
    /// How far it is sent, in the session's own way of counting.
    pub position: u64,
    down: Option<Down>,
}

/// The body of a stream's answer.
struct Down {
    bytes: u64,
    hash: u64,
    left: Option<u64>,
    hasher: Box<Xxh3>,
}

impl Exchange {
    /// The request that uploads `body` to `target`.
    pub fn upload(target: &str, block: &Block, body: Body) -> Exchange {
        let head = http::upload_head(target, &body, block.hash(&body));
        Exchange { head, body, position: 0, down: None }
    }

    /// The request that sends `up_bytes` to `target` and has `down_bytes` sent back. The hashes are
    /// found the first time, and kept in `hashes`.
    pub fn stream(
        target: &str,
        block: &Block,
        agent: u32,
        (up_bytes, down_bytes): (u64, u64),
        hashes: &mut Option<Hashes>,
    ) -> Exchange {
        let (body, down) = (Body::up(agent, up_bytes), Body::down(agent, down_bytes));
        let hashes =
            hashes.get_or_insert_with(|| Hashes { up: block.hash(&body), down: block.hash(&down) });
        let head = http::stream_head(target, &body, hashes.up, down_bytes);
        let down = Down {
            bytes: down_bytes,
            hash: hashes.down,
            left: None,
            hasher: Box::new(payload::hasher(down.agent, down.sequence)),
        };
        Exchange { head, body, position: 0, down: Some(down) }
    }

    /// Takes what has come so far from `inbox`. `Ok(true)` once the answer is whole and good. `stage`
    /// tells whether the request is sent.
    pub fn take(&mut self, inbox: &mut Vec<u8>, stage: Stage) -> Result<bool, Failure> {
        match &mut self.down {
            None => match http::upload_reply(inbox) {
                Parsed::Partial => Ok(false),
                Parsed::Bad(why) => Err(Failure::new(Cause::Reply, stage, why)),
                Parsed::Whole(reply) => judge(&reply, inbox.len(), stage).map(|()| true),
            },
            Some(down) => down.take(inbox, stage),
        }
    }
}

impl Down {
    fn take(&mut self, inbox: &mut Vec<u8>, stage: Stage) -> Result<bool, Failure> {
        let bad = |why: String| Failure::new(Cause::Reply, stage, why);
        let left = match &mut self.left {
            Some(left) => left,
            None => match http::reply_head(inbox) {
                Parsed::Partial => return Ok(false),
                Parsed::Bad(why) => return Err(bad(why)),
                Parsed::Whole((reply, _)) if reply.status != 200 => {
                    return Err(refused(&reply, stage));
                }
                Parsed::Whole((_, length)) if length != Some(self.bytes as usize + WORD_BYTES) => {
                    return Err(bad("a stream's answer has another length".to_owned()));
                }
                Parsed::Whole((reply, _)) => {
                    inbox.drain(..reply.taken);
                    self.left.insert(self.bytes)
                }
            },
        };
        let count = (*left).min(inbox.len() as u64) as usize;
        self.hasher.update(&inbox[..count]);
        *left -= count as u64;
        // Most often all of it is, and nothing has to move.
        if count == inbox.len() {
            inbox.clear();
            return Ok(false);
        }
        inbox.drain(..count);
        if inbox.len() < WORD_BYTES {
            return Ok(false);
        }
        let mismatch = |why: &str| Err(Failure::new(Cause::HashMismatch, stage, why));
        match inbox.len() {
            _ if !inbox.starts_with(b"verified ") => mismatch("going up"),
            _ if self.hasher.digest() != self.hash => mismatch("coming down"),
            WORD_BYTES if stage == Stage::AwaitAnswer => Ok(true),
            WORD_BYTES => Err(bad("verified before it was sent".to_owned())),
            _ => Err(bad("more came than the answer".to_owned())),
        }
    }
}

fn judge(reply: &Reply, inbox_bytes: usize, stage: Stage) -> Result<(), Failure> {
    let bad = |why: &str| Err(Failure::new(Cause::Reply, stage, why));
    match reply.status {
        200..300 if stage != Stage::AwaitAnswer => bad("answered before it was sent"),
        200..300 if reply.taken != inbox_bytes => bad("more came than the answer"),
        200..300 => Ok(()),
        _ => Err(refused(reply, stage)),
    }
}

fn refused(reply: &Reply, stage: Stage) -> Failure {
    let cause = if reply.status == 422 { Cause::HashMismatch } else { Cause::Reply };
    Failure::new(cause, stage, format!("{} {}", reply.status, reply.phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(word: &str, damage: bool) -> (Exchange, Vec<u8>) {
        let block = Block::new();
        let exchange = Exchange::stream("localhost:1", &block, 3, (10, 40_000), &mut None);
        let down = Body::down(3, 40_000);
        let mut wire = http::stream_reply_head(40_000);
        let head_bytes = wire.len();
        while wire.len() < head_bytes + 40_000 {
            let piece = block.piece(&down, (wire.len() - head_bytes) as u64);
            wire.extend_from_slice(piece);
        }
        wire[head_bytes + 20_000] ^= u8::from(damage);
        wire.extend_from_slice(word.as_bytes());
        (exchange, wire)
    }

    fn fed(exchange: &mut Exchange, wire: &[u8], step: usize) -> Result<bool, Cause> {
        let mut inbox = Vec::new();
        let mut done = false;
        for piece in wire.chunks(step) {
            inbox.extend_from_slice(piece);
            done =
                exchange.take(&mut inbox, Stage::AwaitAnswer).map_err(|failure| failure.cause)?;
            assert!(inbox.len() <= step.max(http::HEAD_BYTES), "nothing piles up");
        }
        Ok(done)
    }

    #[test]
    fn a_stream_is_whole_when_its_bytes_and_the_word_are_good() {
        let good = http::word(true, 1);
        let table = [
            (good.clone(), false, Ok(true)),
            (good.clone(), true, Err(Cause::HashMismatch)),
            (http::word(false, 1), false, Err(Cause::HashMismatch)),
            (good[..20].to_owned(), false, Ok(false)),
            (good + "x", false, Err(Cause::Reply)),
        ];
        for (word, damage, expected) in table {
            let (mut exchange, wire) = answer(&word, damage);
            assert_eq!(fed(&mut exchange, &wire, wire.len()), expected, "{word:?}");
        }
        for step in [1, 7, 1_000] {
            let (mut exchange, wire) = answer(&http::word(true, 1), false);
            assert_eq!(fed(&mut exchange, &wire, step), Ok(true), "step {step}");
        }
    }

    #[test]
    fn a_stream_that_is_refused_or_misjudged_fails() {
        for reply in ["HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            let (mut exchange, _) = answer("", false);
            assert_eq!(fed(&mut exchange, reply.as_bytes(), 100), Err(Cause::Reply), "{reply}");
        }
    }
}
