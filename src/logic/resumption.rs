//! Which sessions of TLS 1.0 to 1.2 may be resumed: those whose full handshake this gateway saw, by
//! their session ids (RFC 5246 section 7.4.1.2) and tickets (RFC 5077).
//!
//! A resumed handshake shows no certificate. What the id or the ticket was given for is remembered as
//! a keyed hash, together with the target, so that neither another target's session nor a guess is
//! taken for one. The table is one for all workers, because the next connection of a client may come
//! to any of them; it is touched only where a list of subjects is configured.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::certificates::Grounds;
use crate::proto::target::Target;

/// Ids and tickets that are remembered: those of ten thousand agents with six connections each. An
/// entry takes some 100 bytes.
const ENTRIES_MAX: usize = 65_536;
/// How long one is good: RFC 5246 section F.1.4 suggests that no server keeps sessions longer.
const LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// What resumes a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Means {
    /// A session id.
    Id,
    /// A ticket.
    Ticket,
}

/// An id or a ticket as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64, u64);

/// The sessions that may be resumed.
#[derive(Debug, Default)]
pub struct Resumable {
    hashers: (RandomState, RandomState),
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    known: HashMap<Key, Entry>,
    /// Keys in the order in which they came.
    order: VecDeque<Key>,
}

#[derive(Debug)]
struct Entry {
    grounds: Grounds,
    until: Instant,
}

impl Resumable {
    /// None yet.
    pub fn new() -> Resumable {
        Resumable::default()
    }

    /// The key of an id or a ticket that `target` gave.
    pub fn key(&self, target: &Target, means: Means, bytes: &[u8]) -> Key {
        let whole = (target, means, bytes);
        Key(self.hashers.0.hash_one(whole), self.hashers.1.hash_one(whole))
    }

    /// A session that may be resumed by `key` from `now` on was admitted on these grounds.
    pub fn remember(&self, key: Key, grounds: Grounds, now: Instant) {
        let entries = &mut *self.entries.lock();
        entries.forget_old(now);
        let entry = Entry { grounds, until: now + LIFETIME };
        if entries.known.insert(key, entry).is_some() {
            return;
        }
        entries.order.push_back(key);
        if entries.order.len() > ENTRIES_MAX
            && let Some(oldest) = entries.order.pop_front()
        {
            entries.known.remove(&oldest);
        }
    }

    /// On which grounds the session that `key` resumes was admitted.
    pub fn recall(&self, key: Key, now: Instant) -> Option<Grounds> {
        let entries = self.entries.lock();
        entries.known.get(&key).filter(|entry| now < entry.until).map(|entry| entry.grounds)
    }
}

impl Entries {
    /// One that was renewed stands between older ones, and goes when it comes to the front.
    fn forget_old(&mut self, now: Instant) {
        while let Some(key) = self.order.front()
            && self.known.get(key).is_none_or(|entry| entry.until <= now)
        {
            self.known.remove(key);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        Target::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_key_is_of_one_target_and_one_means() {
        let resumable = Resumable::new();
        let now = Instant::now();
        let ours = target("a.test:443");
        let key = resumable.key(&ours, Means::Id, b"id");
        resumable.remember(key, Grounds::Rule(7), now);
        assert_eq!(resumable.recall(key, now), Some(Grounds::Rule(7)));
        for other in [
            resumable.key(&target("b.test:443"), Means::Id, b"id"),
            resumable.key(&target("a.test:8443"), Means::Id, b"id"),
            resumable.key(&ours, Means::Ticket, b"id"),
            resumable.key(&ours, Means::Id, b"id2"),
            Resumable::new().key(&ours, Means::Id, b"id"),
        ] {
            assert_eq!(resumable.recall(other, now), None);
        }
    }

    #[test]
    fn entries_grow_old_and_make_room() {
        let resumable = Resumable::new();
        let start = Instant::now();
        let key = |number: usize| {
            resumable.key(&target("a.test:443"), Means::Ticket, &number.to_be_bytes())
        };
        for number in 0..ENTRIES_MAX + 10 {
            resumable.remember(key(number), Grounds::NoneNeeded, start);
        }
        assert_eq!(resumable.recall(key(9), start), None, "the oldest made room");
        assert!(resumable.recall(key(10), start).is_some());
        assert!(resumable.recall(key(ENTRIES_MAX + 9), start).is_some());
        assert_eq!(resumable.entries.lock().order.len(), ENTRIES_MAX);
        let half = start + LIFETIME / 2;
        resumable.remember(key(10), Grounds::Rule(1), half);
        let end = start + LIFETIME;
        assert_eq!(resumable.recall(key(11), end), None);
        assert_eq!(resumable.recall(key(10), end), Some(Grounds::Rule(1)), "it was renewed");
        resumable.remember(key(0), Grounds::Rule(2), half + LIFETIME);
        let entries = resumable.entries.lock();
        assert_eq!((entries.known.len(), entries.order.len()), (1, 1), "the old are gone");
    }
}
