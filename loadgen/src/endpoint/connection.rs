//! One client of the endpoint: its socket, its TLS, its requests.

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use rustls::ServerConfig;

use super::ingest::{Answer, Counts, Ingest};
use crate::payload::Block;
use crate::secure::records::Framing;
use crate::secure::server::ServerSide;

/// How long a handshake may take.
const HANDSHAKE_MS: u64 = 15_000;
/// How long an upload may stand still in the middle. At rest a connection may stay for ever.
const STALL_MS: u64 = 60_000;
/// How many bytes one connection may bring in a turn, and as many may go out.
const TURN_BYTES: usize = 256 << 10;

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing more until the socket is ready again.
    Waiting,
    /// The budget is spent; more can be done at once.
    Again,
    /// It is over; drop it.
    Over,
}

/// What the connections of a thread share.
pub struct Desk {
    /// For those who speak real TLS.
    pub config: Arc<ServerConfig>,
    /// What is counted.
    pub counts: Arc<Counts>,
    /// Where the bytes of answers lie.
    pub block: Block,
    /// What a read lands in; nothing stays here between turns.
    pub scratch: Box<[u8]>,
}

/// One client.
pub struct Connection {
    stream: TcpStream,
    side: ServerSide,
    ingest: Ingest,
    answer: Option<(Answer, u64)>,
    readable: bool,
    writable: bool,
    ending: bool,
    queued: bool,
    moved_at: Instant,
}

impl Connection {
    /// A client just accepted.
    pub fn new(stream: TcpStream, now: Instant) -> Connection {
        Connection {
            stream,
            side: ServerSide::new(),
            ingest: Ingest::default(),
            answer: None,
            readable: true,
            writable: true,
            ending: false,
            queued: false,
            moved_at: now,
        }
    }

    /// Notes what the poll has said. Readiness is sticky: only a `WouldBlock` takes it back.
    pub fn note_ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Marks whether it waits for a turn; tells whether it did before.
    pub fn set_queued(&mut self, queued: bool) -> bool {
        std::mem::replace(&mut self.queued, queued)
    }

    /// Whether it has stood still for longer than its state allows.
    pub fn is_stuck(&self, now: Instant) -> bool {
        let allowed_ms = match self.side.is_ready() {
            false => HANDSHAKE_MS,
            true if self.is_moving() => STALL_MS,
            true => return false,
        };
        now.saturating_duration_since(self.moved_at) > Duration::from_millis(allowed_ms)
    }

    fn is_moving(&self) -> bool {
        let owes = self.answer.is_some() || self.side.wants_write();
        owes || self.ending || self.ingest.is_amid()
    }

    /// Moves what can be moved.
    pub fn turn(&mut self, desk: &mut Desk, now: Instant) -> Outcome {
        let (mut budget, mut down_budget) = (TURN_BYTES, TURN_BYTES);
        loop {
            if !self.flush() || !self.pour(&desk.block, &mut down_budget, now) {
                return self.over(&desk.counts);
            }
            // While a client does not take its replies, nothing more is read from it; an answer's body
            // goes down while the request comes up.
            if self.side.wants_write() && self.answer.is_none() {
                return Outcome::Waiting;
            }
            if self.ending && self.answer.is_none() {
                return Outcome::Over;
            }
            let pours = self.answer.is_some() && self.writable;
            if budget == 0 || (pours && down_budget == 0) {
                return Outcome::Again;
            }
            if !self.readable || self.ending {
                return if pours { Outcome::Again } else { Outcome::Waiting };
            }
            match self.stream.read(&mut desk.scratch) {
                Ok(0) if self.ingest.is_amid() || self.answer.is_some() => {
                    return self.over(&desk.counts);
                }
                Ok(0) => return Outcome::Over,
                Ok(count) => {
                    self.moved_at = now;
                    budget = budget.saturating_sub(count);
                    self.take(&desk.scratch[..count], &desk.config, &desk.counts);
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.over(&desk.counts),
            }
        }
    }

    fn take(&mut self, wire: &[u8], config: &Arc<ServerConfig>, counts: &Counts) {
        let ingest = &mut self.ingest;
        let taken = self.side.receive(wire, config, &mut |bytes| ingest.take(bytes, counts));
        if taken.is_err() {
            counts.failed.fetch_add(1, Ordering::Relaxed);
        }
        let queued = self.queue_next();
        self.ending |= taken != Ok(true) || self.ingest.closes() || !queued;
    }

    /// Replies follow the answer that was begun before them. `false` when the session cannot go on.
    fn queue_next(&mut self) -> bool {
        if self.answer.is_none() {
            self.answer = self.ingest.take_answer().map(|answer| (answer, 0));
        }
        if self.answer.is_some() {
            return true;
        }
        let replies = self.ingest.take_replies();
        replies.is_empty() || self.side.queue(&replies).is_ok()
    }

    /// Sends of the answer what can be sent; `false` when the client is gone.
    fn pour(&mut self, block: &Block, budget: &mut usize, now: Instant) -> bool {
        while self.writable && *budget > 0 {
            let Some((answer, position)) = &mut self.answer else { return true };
            let message = Framing { head: &answer.head, body: &answer.body, block };
            let before = *position;
            let sent = self.side.send(&mut self.stream, &message, position, *budget);
            let moved = (*position - before) as usize;
            *budget = budget.saturating_sub(moved);
            if moved > 0 {
                self.moved_at = now;
            }
            match sent {
                Ok(true) => {
                    self.answer = None;
                    return self.queue_next() && self.flush();
                }
                Ok(false) => *budget = 0,
                Err(why) if why.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// `false` when the client is gone.
    fn flush(&mut self) -> bool {
        // An answer's own writes carry what waits in the session.
        if !self.writable || self.answer.is_some() || !self.side.wants_write() {
            return true;
        }
        match self.side.flush(&mut self.stream) {
            Ok(()) => true,
            Err(why) if why.kind() == ErrorKind::WouldBlock => {
                self.writable = false;
                true
            }
            Err(why) => why.kind() == ErrorKind::Interrupted,
        }
    }

    fn over(&self, counts: &Counts) -> Outcome {
        if !self.ending {
            counts.failed.fetch_add(1, Ordering::Relaxed);
        }
        Outcome::Over
    }
}
