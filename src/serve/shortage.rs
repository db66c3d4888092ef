//! Tells of a shortage once, however often it is met, and however often it ends and begins anew within
//! seconds: at the edge of a limit each session that goes lets one in, and the next one meets it again.

use std::time::{Duration, Instant};

/// Between two lines on the same shortage.
const QUIET: Duration = Duration::from_secs(5);

/// What is known of one kind of shortage.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shortage {
    lasts: bool,
    told_at: Option<Instant>,
}

impl Shortage {
    /// It is met; whether to tell of it.
    pub(super) fn is_to_be_told(&mut self, now: Instant) -> bool {
        let is_new = !std::mem::replace(&mut self.lasts, true);
        let is_fresh = |at| now.saturating_duration_since(at) < QUIET;
        if !is_new || self.told_at.is_some_and(is_fresh) {
            return false;
        }
        self.told_at = Some(now);
        true
    }

    /// Nobody lacks anything any more.
    pub(super) fn is_over(&mut self) {
        self.lasts = false;
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_told_once_and_not_again_within_seconds() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut shortage = Shortage::default();
        assert!(shortage.is_to_be_told(after(0)));
        assert!(!shortage.is_to_be_told(after(9_000)), "it lasts");
        shortage.is_over();
        assert!(shortage.is_to_be_told(after(9_100)));
        shortage.is_over();
        assert!(!shortage.is_to_be_told(after(9_200)), "at the edge of the limit");
        shortage.is_over();
        assert!(shortage.is_to_be_told(after(14_100)));
    }
}
