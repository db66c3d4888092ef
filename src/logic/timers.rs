//! Deadlines of many sessions at O(1) each: a hierarchical timing wheel over slots, in milliseconds.
//!
//! A deadline that moves *later* while it is armed costs one store: the entry stays where it is and is
//! placed anew when its old time comes. That is the case on the relay's hot path, where every byte
//! pushes the idle deadline away. Nothing fires before its time; it may fire up to 1 ms late.

use std::time::{Duration, Instant};

const LEVELS: usize = 6;
const SLOT_BITS: usize = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// 2^36 ms, about two years: beyond it a deadline is capped.
const SPAN_MS: u64 = 1 << (LEVELS * SLOT_BITS);
const NONE: u32 = u32::MAX;

/// One deadline per key; keys are small dense numbers (slots of a slab).
#[derive(Debug)]
pub struct Timers {
    base: Instant,
    /// Every entry placed at or before this time has been taken out.
    elapsed_ms: u64,
    levels: [Level; LEVELS],
    entries: Vec<Entry>,
    armed: usize,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    occupied: u64,
    heads: [u32; SLOTS],
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where the entry stands in the wheel; `placed_ms <= deadline_ms` always.
    placed_ms: u64,
    deadline_ms: u64,
    previous: u32,
    next: u32,
    level: u8,
    slot: u8,
    linked: bool,
}

impl Timers {
    /// An empty wheel whose time starts at `base`.
    pub fn new(base: Instant) -> Timers {
        Timers {
            base,
            elapsed_ms: 0,
            levels: [Level { occupied: 0, heads: [NONE; SLOTS] }; LEVELS],
            entries: Vec::new(),
            armed: 0,
        }
    }

    /// Arms or moves the one deadline of `key`.
    pub fn arm(&mut self, key: usize, deadline: Instant) {
        let deadline_ms = self.round_up(deadline);
        if key >= self.entries.len() {
            self.entries.resize(key + 1, Entry::UNLINKED);
        }
        let entry = &mut self.entries[key];
        if entry.linked {
            entry.deadline_ms = deadline_ms;
            if deadline_ms >= entry.placed_ms {
                return;
            }
            self.unlink(key);
        }
        self.link(key, deadline_ms);
    }

    /// Takes the deadline of `key` away, if it has one.
    pub fn disarm(&mut self, key: usize) {
        if self.entries.get(key).is_some_and(|entry| entry.linked) {
            self.unlink(key);
        }
    }

    /// Whether `key` has a deadline.
    pub fn is_armed(&self, key: usize) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.linked)
    }

    /// Deadlines armed at the moment.
    pub fn len(&self) -> usize {
        self.armed
    }

    /// Whether no deadline is armed.
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// How long a poll may sleep from `now` on; `None` where nothing is armed. Waking then may find
    /// nothing due yet: entries are also moved down the wheel.
    pub fn sleep(&self, now: Instant) -> Option<Duration> {
        let (_, _, at_ms) = self.next_slot()?;
        let at = self.base + Duration::from_millis(at_ms);
        Some(at.saturating_duration_since(now))
    }

    /// Moves every key whose deadline is at or before `now` to `due`, disarmed.
    pub fn expire(&mut self, now: Instant, due: &mut Vec<usize>) {
        let now_ms = self.round_down(now);
        while let Some((level, slot, at_ms)) = self.next_slot() {
            if at_ms > now_ms {
                break;
            }
            self.elapsed_ms = at_ms;
            let mut key = self.levels[level].heads[slot];
            self.levels[level].heads[slot] = NONE;
            self.levels[level].occupied &= !(1 << slot);
            while key != NONE {
                let entry = &mut self.entries[key as usize];
                let next = entry.next;
                entry.linked = false;
                self.armed -= 1;
                let deadline_ms = entry.deadline_ms;
                if deadline_ms <= now_ms {
                    due.push(key as usize);
                } else {
                    self.link(key as usize, deadline_ms);
                }
                key = next;
            }
        }
        self.elapsed_ms = self.elapsed_ms.max(now_ms);
    }

    /// The first occupied slot in time, with the time at which it must be looked at.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        for (level, wheel) in self.levels.iter().enumerate() {
            if wheel.occupied == 0 {
                continue;
            }
            let shift = level * SLOT_BITS;
            let here = (self.elapsed_ms >> shift) as usize % SLOTS;
            let ahead = wheel.occupied.rotate_right(here as u32).trailing_zeros() as usize;
            let slot = (here + ahead) % SLOTS;
            let turn = 1u64 << (shift + SLOT_BITS);
            let turn_start = self.elapsed_ms & !(turn - 1);
            let mut at_ms = turn_start + ((slot as u64) << shift);
            if at_ms < self.elapsed_ms && slot < here {
                at_ms += turn;
            }
            return Some((level, slot, at_ms.max(self.elapsed_ms)));
        }
        None
    }

    fn link(&mut self, key: usize, deadline_ms: u64) {
        let placed_ms = deadline_ms.clamp(self.elapsed_ms, self.elapsed_ms + SPAN_MS - 1);
        let differing = (self.elapsed_ms ^ placed_ms) | (SLOTS as u64 - 1);
        let level = ((63 - differing.leading_zeros()) as usize / SLOT_BITS).min(LEVELS - 1);
        let slot = (placed_ms >> (level * SLOT_BITS)) as usize % SLOTS;
        let head = self.levels[level].heads[slot];
        self.entries[key] = Entry {
            placed_ms,
            deadline_ms,
            previous: NONE,
            next: head,
            level: level as u8,
            slot: slot as u8,
            linked: true,
        };
        if head != NONE {
            self.entries[head as usize].previous = key as u32;
        }
        self.levels[level].heads[slot] = key as u32;
        self.levels[level].occupied |= 1 << slot;
        self.armed += 1;
    }

    fn unlink(&mut self, key: usize) {
        let entry = self.entries[key];
        let level = &mut self.levels[entry.level as usize];
        if entry.previous == NONE {
            level.heads[entry.slot as usize] = entry.next;
            if entry.next == NONE {
                level.occupied &= !(1 << entry.slot);
            }
        } else {
            self.entries[entry.previous as usize].next = entry.next;
        }
        if entry.next != NONE {
            self.entries[entry.next as usize].previous = entry.previous;
        }
        self.entries[key].linked = false;
        self.armed -= 1;
    }

    fn round_up(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.base);
        u64::try_from(since.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    fn round_down(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.base).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Entry {
    const UNLINKED: Entry = Entry {
        placed_ms: 0,
        deadline_ms: 0,
        previous: NONE,
        next: NONE,
        level: 0,
        slot: 0,
        linked: false,
    };
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn due_at(timers: &mut Timers, at: Instant) -> Vec<usize> {
        let mut due = Vec::new();
        timers.expire(at, &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn fires_at_its_time_and_not_before() {
        let base = Instant::now();
        let at = |ms: u64| base + Duration::from_millis(ms);
        for ms in [0, 1, 63, 64, 65, 4_095, 4_096, 10_000, 262_144, 600_000, 86_400_000] {
            let mut timers = Timers::new(base);
            timers.arm(7, at(ms));
            if ms > 0 {
                assert_eq!(
                    due_at(&mut timers, at(ms - 1)),
                    Vec::<usize>::new(),
                    "{ms} ms fired early"
                );
            }
            assert_eq!(due_at(&mut timers, at(ms)), [7], "{ms} ms did not fire");
            assert!(timers.is_empty());
        }
    }

    #[test]
    fn a_later_deadline_replaces_an_earlier_one_and_the_reverse() {
        let base = Instant::now();
        let at = |ms: u64| base + Duration::from_millis(ms);
        let mut timers = Timers::new(base);
        timers.arm(0, at(100));
        timers.arm(0, at(900));
        assert!(due_at(&mut timers, at(899)).is_empty());
        timers.arm(0, at(1_000));
        timers.arm(0, at(950));
        assert_eq!(due_at(&mut timers, at(950)), [0]);
        assert_eq!(timers.len(), 0);
    }

    #[test]
    fn a_jump_of_the_clock_fires_what_is_due_and_only_that() {
        let base = Instant::now();
        let at = |ms: u64| base + Duration::from_millis(ms);
        let mut timers = Timers::new(base);
        for key in 0..1_000 {
            timers.arm(key, at(key as u64 * 1_000));
        }
        assert_eq!(due_at(&mut timers, at(600_000)).len(), 601);
        assert_eq!(timers.len(), 399);
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_list(steps in prop::collection::vec((0usize..40, 0u64..200_000, 0u64..5_000), 1..300)) {
            let base = Instant::now();
            let at = |ms: u64| base + Duration::from_millis(ms);
            let mut timers = Timers::new(base);
            let mut model = std::collections::BTreeMap::new();
            let mut now_ms = 0;
            for (key, delay_ms, advance_ms) in steps {
                if delay_ms % 7 == 0 {
                    timers.disarm(key);
                    model.remove(&key);
                } else {
                    timers.arm(key, at(now_ms + delay_ms));
                    model.insert(key, now_ms + delay_ms);
                }
                let sleep = timers.sleep(at(now_ms));
                let first = model.values().min().copied();
                prop_assert_eq!(sleep.is_some(), first.is_some());
                if let (Some(sleep), Some(first)) = (sleep, first) {
                    prop_assert!(now_ms + sleep.as_millis() as u64 <= first.max(now_ms));
                }
                now_ms += advance_ms;
                let expected: Vec<usize> = model.iter().filter(|(_, at)| **at <= now_ms).map(|(key, _)| *key).collect();
                model.retain(|_, at| *at > now_ms);
                prop_assert_eq!(due_at(&mut timers, at(now_ms)), expected);
                prop_assert_eq!(timers.len(), model.len());
            }
        }
    }
}
