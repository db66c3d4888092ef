//! One list on both kernels, compared at every step.

use std::time::Duration;

use super::fake::{Fake, PAGE_BYTES};
use super::operation::{LINKS, Op, Outcome, PIPES};
use super::real::{Real, tell};
use crate::chance::Chance;

/// Bytes of one direction that may be unread at a time: far from filling a queue.
const UNREAD_BYTES_MAX: usize = 30_000;

/// Both kernels.
pub struct Pair {
    pub fake: Fake,
    pub real: Real,
    /// What was done and came of it.
    pub log: Vec<(Op, Outcome)>,
}

impl Pair {
    pub fn new(chance: &mut Chance) -> Pair {
        Pair { fake: Fake::new(chance), real: Real::new(), log: Vec::new() }
    }

    /// Does one operation on both and compares what came of it and how they look then.
    pub fn step(&mut self, op: Op) -> Result<Outcome, String> {
        let op = match op {
            // A pipe is never poured for more than it holds.
            Op::Pour(pipe, link, len) => {
                Op::Pour(pipe, link, len.min(self.fake.slots(pipe).iter().sum()))
            }
            op => op,
        };
        let outcome = if self.is_out_of_bounds(op) { Ok(Outcome::Skipped) } else { self.both(op) };
        let outcome = outcome.map_err(|wrong| format!("{op:?}: {wrong}"))?;
        self.log.push((op, outcome.clone()));
        self.fake.settle();
        for link in 0..LINKS {
            let wanted = self.fake.look(link);
            let counts = !self.fake.is_stuffed(link);
            self.real
                .comes_to(link, wanted, counts)
                .map_err(|wrong| format!("after {op:?}: {wrong}"))?;
        }
        if let Op::Fill(pipe, ..) | Op::Pour(pipe, ..) | Op::ReadPipe(pipe, _) = op {
            same(self.real.slots(pipe), self.fake.slots(pipe))
                .map_err(|wrong| format!("slots after {op:?}: {wrong}"))?;
        }
        Ok(outcome)
    }

    fn both(&mut self, op: Op) -> Result<Outcome, String> {
        match op {
            Op::Fill(pipe, link, len) => self.fill(pipe, link, len),
            Op::Stuff(link) => self.stuff(link),
            Op::Unstuff(link) => self.unstuff(link),
            Op::Unsent(link) => self.unsent(link),
            Op::Poll => {
                let fake = self.fake.bench.poll(Duration::ZERO);
                let real = self.real.poll_for(&fake);
                if tell(&real, &fake) {
                    Ok(Outcome::Done)
                } else {
                    same(real, fake).map(|_| Outcome::Done)
                }
            }
            Op::PeerWrite(..)
            | Op::PeerRead(..)
            | Op::PeerShut(_)
            | Op::PeerClose(_)
            | Op::PeerReset(_) => same(self.real.perform_peer(op), self.fake.perform_peer(op)),
            Op::Write(link, _) | Op::Pour(_, link, _) if self.fake.is_stuffed(link) => {
                let real = self.real.bench.perform(op, None);
                if let Outcome::Moved(moved) = real {
                    self.fake.loosen(link, moved);
                }
                same(real, self.fake.bench.perform(op, None))
            }
            _ => same(self.real.bench.perform(op, None), self.fake.bench.perform(op, None)),
        }
    }

    /// How arriving bytes are cut is for the real kernel to say. It may stop early only where the pipe
    /// has no slot left, and it takes a page for each free slot at most.
    fn fill(&mut self, pipe: usize, link: usize, len: usize) -> Result<Outcome, String> {
        let op = Op::Fill(pipe, link, len);
        let held = self.fake.slots(pipe);
        let unread = self.fake.look(link)[0].map_or(0, |seen| seen.unread_bytes);
        let real = self.real.bench.perform(op, None);
        let Outcome::Moved(moved) = real else {
            return same(real, self.fake.bench.perform(op, None));
        };
        let slots = self.real.slots(pipe);
        let fresh = slots.get(held.len()..).unwrap_or_default();
        let most = len.min(unread).min((PIPES[pipe] - held.len()) * PAGE_BYTES);
        if moved < most && slots.len() < PIPES[pipe] {
            return Err(format!("{moved} of {most} bytes went into {slots:?}, was {held:?}"));
        }
        self.fake.cut(link, fresh);
        same(real, self.fake.bench.perform(op, None))
    }

    fn stuff(&mut self, link: usize) -> Result<Outcome, String> {
        let (bytes, unsent) = self.real.stuff(link);
        if bytes == 0 {
            return self.both(Op::Write(link, 1));
        }
        self.real.bench.written[link] = self.fake.bench.written[link] + bytes;
        same(Outcome::Moved(bytes), self.fake.stuff(link, bytes, unsent))
    }

    fn unstuff(&mut self, link: usize) -> Result<Outcome, String> {
        let fake = self.fake.unstuff(link);
        let real = self.real.unstuff(link, fake.len());
        // Where a reset has come between, more may have got through than was known then.
        if !real.starts_with(&fake) {
            return same(real, fake).map(Outcome::Bytes);
        }
        if self.fake.look(link)[0].is_some_and(|seen| !seen.is_over) {
            self.real.unsent_come_to(link, Some(0))?;
        }
        Ok(Outcome::Bytes(fake))
    }

    /// In peace the counts are the same once all is acknowledged. Of a full window it is a matter of
    /// timers how much gets through, and a reset may come before the acknowledgement of what had
    /// arrived: there, something is left in both or may be in the real one.
    fn unsent(&mut self, link: usize) -> Result<Outcome, String> {
        let fake = self.fake.bench.unsent_bytes(link);
        let is_over = self.fake.look(link)[0].is_some_and(|seen| seen.is_over);
        if !is_over && !self.fake.is_stuffed(link) {
            self.real.unsent_come_to(link, fake)?;
            return Ok(fake.map_or(Outcome::Skipped, Outcome::Moved));
        }
        let real = self.real.bench.unsent_bytes(link);
        let alike = if fake > Some(0) { real > Some(0) } else { is_over || real == fake };
        if alike { Ok(Outcome::Done) } else { same(real, fake).map(|_| Outcome::Done) }
    }

    /// What would depend on the size of the queues, or splices nothing.
    fn is_out_of_bounds(&self, op: Op) -> bool {
        let unread = |link: usize, side: usize| {
            self.fake.look(link)[side].map_or(0, |seen| seen.unread_bytes)
        };
        match op {
            Op::Write(link, _) => !self.fake.is_stuffed(link) && unread(link, 1) > UNREAD_BYTES_MAX,
            Op::PeerWrite(link, _) => unread(link, 0) > UNREAD_BYTES_MAX,
            Op::Pour(_, _, 0) => true,
            Op::Pour(_, link, _) => {
                !self.fake.is_stuffed(link) && unread(link, 1) > UNREAD_BYTES_MAX
            }
            Op::PeerRead(link, _) => self.fake.is_stuffed(link),
            Op::Stuff(link) => {
                let [gateway, peer] = self.fake.look(link);
                let open = |seen: Option<super::fake::Seen>| seen.is_some_and(|seen| !seen.is_over);
                self.fake.is_stuffed(link) || !open(gateway) || !open(peer)
            }
            Op::Unstuff(link) => !self.fake.is_stuffed(link),
            _ => false,
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(real: T, fake: T) -> Result<T, String> {
    if real == fake { Ok(real) } else { Err(format!("really {real:?}, the fake says {fake:?}")) }
}
