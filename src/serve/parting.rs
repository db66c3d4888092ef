//! Waiting to pass a reset on: closing with a reset throws away what the kernel has not sent yet, so
//! the bytes that came before the reset are given time to leave.

use std::time::{Duration, Instant};

use crate::logic::ending::Ending;

/// The first pause between two looks at the send queue; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(320);
/// A peer that reads nothing for so long after its partner's reset is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A session that is over but for bytes on their way.
#[derive(Debug)]
pub struct Parting {
    ending: Ending,
    until: Instant,
    again_at: Instant,
    pause: Duration,
}

impl Parting {
    /// A parting that began at `now`.
    pub fn new(ending: Ending, now: Instant) -> Parting {
        Parting { ending, until: now + PATIENCE, again_at: now, pause: FIRST_PAUSE }
    }

    /// How the session ended.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// When to look at the send queue again.
    pub fn again_at(&self) -> Instant {
        self.again_at
    }

    /// There are still bytes to send: true where it is worth waiting.
    pub fn wait(&mut self, now: Instant) -> bool {
        if now >= self.again_at {
            self.again_at = now + self.pause;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        now < self.until
    }
}
