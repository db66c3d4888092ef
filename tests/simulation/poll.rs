//! How the worker is told of what has changed, in each poll model.

use std::time::Duration;

use sluice::net::kernel::Ready;
use sluice::net::slots::Token;

use crate::link::{LinkId, State, Who};
use crate::options::PollModel;
use crate::world::World;

impl World {
    /// Lets time pass until there is something to tell, or `sleep` is over.
    pub fn poll(&mut self, sleep: Option<Duration>, ready: &mut Vec<Ready>) {
        self.polls += 1;
        let slept_from = self.now_us;
        if self.is_seeded() && sleep != Some(Duration::ZERO) && !self.is_anything_pending() {
            self.check_asleep(sleep);
        }
        let until = sleep.map_or(u64::MAX, |sleep| {
            slept_from.saturating_add(u64::try_from(sleep.as_micros()).unwrap_or(u64::MAX))
        });
        let until = until.min(self.horizon_us);
        loop {
            while self.perform_next(self.now_us) {
                if self.is_anything_pending() && self.chance.once_in(8) {
                    break;
                }
            }
            if self.is_anything_pending() {
                break;
            }
            match self.next_at() {
                Some(at) if at <= until => self.now_us = self.now_us.max(at),
                _ if until == u64::MAX => {
                    self.exhausted = true;
                    break;
                }
                _ => {
                    self.slept = until == self.horizon_us && sleep != Some(Duration::ZERO);
                    self.now_us = self.now_us.max(until);
                    break;
                }
            }
        }
        if self.chance.once_in(self.options.jump_once_in) {
            let jump = 1 << self.chance.below(42);
            self.now_us = (self.now_us + jump).min(self.horizon_us);
        }
        self.polled_us = self.now_us;
        self.letters_seen = self.letters.len();
        let before = ready.len();
        self.collect(ready);
        let now_us = self.now_us;
        let told = &ready[before..];
        self.trace.note(now_us, || format!("poll {sleep:?} -> {}", describe(told)));
    }

    /// Whether a poll would return at once.
    pub fn is_anything_pending(&self) -> bool {
        !self.letters.is_empty()
            || (!self.backlog.is_empty() && !self.backlog_told)
            || (0..self.links.len()).any(|link| self.readiness(link).is_some())
    }

    fn collect(&mut self, ready: &mut Vec<Ready>) {
        let mut waiting: Vec<LinkId> =
            (0..self.links.len()).filter(|&link| self.readiness(link).is_some()).collect();
        if self.options.shuffled {
            for at in (1..waiting.len()).rev() {
                waiting.swap(at, self.chance.below(at + 1));
            }
        }
        self.told_all = waiting.len() <= self.options.events_per_poll;
        for link in waiting.into_iter().take(self.options.events_per_poll) {
            if let Some(event) = self.readiness(link) {
                self.settle(link, event);
                ready.push(event);
            }
        }
        if self.chance.once_in(self.options.stray_once_in) && !self.tokens_given.is_empty() {
            let token = self.chance.pick(&self.tokens_given).with_lane(self.chance.below(3));
            let [readable, writable, ended, broken] =
                std::array::from_fn(|_| self.chance.once_in(2));
            ready.push(Ready { token, readable, writable, ended, broken });
        }
        if !self.backlog.is_empty() && !self.backlog_told {
            self.backlog_told = true;
            let token = Token::listener(0);
            ready.push(Ready {
                token,
                readable: true,
                writable: false,
                ended: false,
                broken: false,
            });
        }
    }

    /// The event that a poll would give for `link`.
    fn readiness(&self, link: LinkId) -> Option<Ready> {
        let end = self.links[link].look(Who::Gateway);
        let watch = &end.watch;
        let token = watch.token?;
        if end.closed {
            return None;
        }
        let dead = end.state == State::Dead;
        let ended = dead || end.end_came || end.error.is_some();
        match self.options.model {
            PollModel::Windows => {
                let readable = watch.read_armed && end.is_readable();
                let writable = watch.write_armed && end.is_writable();
                (readable || writable).then_some(Ready {
                    token,
                    readable,
                    writable,
                    ended,
                    broken: dead,
                })
            }
            PollModel::Narrow => {
                (watch.readable || watch.writable || watch.broken).then_some(Ready {
                    token,
                    readable: watch.readable,
                    writable: watch.writable,
                    ended,
                    broken: watch.broken,
                })
            }
            // An edge makes epoll look again, and it tells all it sees then.
            PollModel::Epoll if watch.readable || watch.writable || watch.broken => {
                let (readable, writable) = (end.is_readable(), end.is_writable());
                // Two ends in order are a hang-up as well.
                let broken = end.is_over();
                (readable || writable).then_some(Ready { token, readable, writable, ended, broken })
            }
            PollModel::Epoll => None,
        }
    }

    /// The event was told.
    fn settle(&mut self, link: LinkId, event: Ready) {
        let watch = &mut self.links[link].end(Who::Gateway).watch;
        match self.options.model {
            PollModel::Windows => {
                watch.read_armed &= !event.readable;
                watch.write_armed &= !event.writable;
            }
            PollModel::Epoll | PollModel::Narrow => {
                watch.readable = false;
                watch.writable = false;
                watch.broken = false;
            }
        }
    }
}

fn describe(ready: &[Ready]) -> String {
    let events: Vec<String> = ready
        .iter()
        .map(|ready| {
            let mut text = match ready.token.as_listener() {
                Some(_) => "listener".to_owned(),
                None => format!("{}/{}", ready.token.slot(), ready.token.lane()),
            };
            for (set, letter) in
                [(ready.readable, " r"), (ready.writable, " w"), (ready.broken, " b")]
            {
                text.push_str(if set { letter } else { "" });
            }
            text
        })
        .collect();
    events.join(", ")
}
