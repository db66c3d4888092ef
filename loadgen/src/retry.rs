//! Whether and when an upload that failed is tried again. Pure.

use std::time::{Duration, Instant};

use crate::failure::Failure;

/// The pause before the second attempt; it doubles with each that follows, up to the longest.
const FIRST_PAUSE_MS: u64 = 100;
const LONGEST_PAUSE_MS: u64 = 2_000;

/// What an attempt gets at least, however short the interval and however many the attempts.
const LEAST_ATTEMPT_MS: u64 = 500;

/// How agents take a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often an upload is tried again.
    pub retries: u32,
}

impl Patience {
    /// When attempt `attempt` (from 1) comes after `failure` at `now`. Never after `due`, when the
    /// agent's next upload is intended; and what the gateway asks for is granted up to `every`.
    pub fn again_at(
        self,
        failure: &Failure,
        attempt: u32,
        now: Instant,
        due: Instant,
        every: Duration,
    ) -> Option<Instant> {
        if attempt > self.retries || !failure.may_pass() {
            return None;
        }
        let doubled = FIRST_PAUSE_MS << (attempt - 1).min(10);
        let own = Duration::from_millis(doubled.min(LONGEST_PAUSE_MS));
        let asked = failure.retry_after.unwrap_or_default().min(every);
        let at = now + own.max(asked);
        (at < due).then_some(at)
    }

    /// What is left of `allowed` for one step of an attempt: one that hangs must leave time for the
    /// others before the next upload is due.
    pub fn limit(self, allowed: Duration, every: Duration) -> Duration {
        if self.retries == 0 {
            return allowed;
        }
        let share = every / self.retries.saturating_add(1);
        allowed.min(share.max(Duration::from_millis(LEAST_ATTEMPT_MS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::failure::{Cause, Stage};

    const EVERY: Duration = Duration::from_secs(6);

    fn failure(cause: Cause, retry_after_s: Option<u64>) -> Failure {
        Failure::new(cause, Stage::AwaitReply, "no").with_retry_after(retry_after_s)
    }

    #[test]
    fn what_may_pass_is_tried_again_before_the_next_is_due() {
        let busy = || Cause::Refused(503);
        let table = [
            (busy(), None, 1, 0, Some(100)),
            (busy(), None, 2, 0, Some(200)),
            (busy(), None, 3, 0, Some(400)),
            (busy(), None, 4, 0, None),
            (busy(), Some(1), 1, 0, Some(1_000)),
            (busy(), Some(0), 1, 0, Some(100)),
            (busy(), Some(1), 1, 5_500, None),
            (busy(), Some(3_600), 1, 0, None),
            (busy(), None, 1, 5_899, Some(5_999)),
            (busy(), None, 1, 5_900, None),
            (Cause::Dial, None, 1, 0, Some(100)),
            (Cause::Reset, None, 1, 0, Some(100)),
            (Cause::Closed, None, 1, 0, Some(100)),
            (Cause::Timeout, None, 1, 0, Some(100)),
            (Cause::Refused(403), None, 1, 0, None),
            (Cause::HashMismatch, None, 1, 0, None),
            (Cause::Tls, None, 1, 0, None),
            (Cause::Exhausted, None, 1, 0, None),
        ];
        let start = clock::now();
        let at = |ms| start + Duration::from_millis(ms);
        for (cause, retry_after_s, attempt, now_ms, expected) in table {
            let failure = failure(cause, retry_after_s);
            let patience = Patience { retries: 3 };
            let got = patience.again_at(&failure, attempt, at(now_ms), at(6_000), EVERY);
            assert_eq!(got, expected.map(at), "{failure} {attempt} {now_ms}");
        }
    }

    #[test]
    fn an_attempt_that_hangs_leaves_time_for_another() {
        let allowed = Duration::from_secs(10);
        for (retries, every_ms, expected_ms) in
            [(0, 6_000, 10_000), (2, 6_000, 2_000), (5, 1_000, 500), (1, 60_000, 10_000)]
        {
            let limit = Patience { retries }.limit(allowed, Duration::from_millis(every_ms));
            assert_eq!(limit, Duration::from_millis(expected_ms), "{retries} {every_ms}");
        }
    }
}
