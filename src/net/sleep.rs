//! How long a poll sleeps.

use std::time::{Duration, Instant};

use mio::Registry;

use super::slots::{Token, mio_token};
use crate::sys::Alarm;

/// Shorter sleeps are the poll's own: what is so near has come before an alarm for it has paid.
const ALARM_LEAST: Duration = Duration::from_secs(1);

/// Sleeps that end by an alarm rather than by the poll's own timeout, for which the system arms a timer
/// before each sleep and takes it away after it. Deadlines of tunnels are far and put off again and again,
/// so one alarm, set for the first of them, serves hundreds of sleeps, and ends one of them too early.
#[derive(Debug)]
pub struct Sleep {
    /// None where the system has none.
    alarm: Option<Alarm>,
    set_for: Option<Instant>,
}

impl Sleep {
    /// Sleeps of the poll that `registry` belongs to.
    pub fn new(registry: &Registry) -> Sleep {
        let alarm = Alarm::new(registry, mio_token(Token::ALARM));
        Sleep { alarm: alarm.ok(), set_for: None }
    }

    /// The timeout to poll with so that it ends `sleep` after `now` at the latest, or by [`Token::ALARM`].
    /// A turn may have passed since `now`, which `clock` tells.
    pub fn timeout(
        &mut self,
        now: Instant,
        sleep: Option<Duration>,
        clock: impl FnOnce() -> Instant,
    ) -> Option<Duration> {
        let sleep = sleep?;
        let Some(alarm) = self.alarm.as_ref().filter(|_| sleep >= ALARM_LEAST) else {
            return Some(sleep);
        };
        let end = now + sleep;
        if self.set_for.is_some_and(|set_for| now < set_for && set_for <= end) {
            return None;
        }
        if alarm.set(end.saturating_duration_since(clock())).is_err() {
            self.alarm = None;
            return Some(sleep);
        }
        self.set_for = Some(end);
        None
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use mio::{Events, Poll};

    use super::*;

    const FAR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_sleep_ends_in_time_by_alarm_or_timeout() {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(4);
        let mut sleep = Sleep::new(poll.registry());
        for wanted in [Duration::ZERO, Duration::from_millis(20), ALARM_LEAST, ALARM_LEAST] {
            let begin = Instant::now();
            let timeout = sleep.timeout(begin, Some(wanted), Instant::now);
            assert!(timeout.is_none_or(|timeout| timeout == wanted), "{timeout:?}");
            poll.poll(&mut events, timeout).unwrap();
            let slept = begin.elapsed();
            assert!(slept >= wanted && slept < wanted + Duration::from_secs(60), "{slept:?}");
            assert_eq!(events.is_empty(), timeout.is_some());
        }
    }

    #[test]
    fn an_alarm_serves_all_later_deadlines_and_is_set_again_for_a_nearer_one() {
        let poll = Poll::new().unwrap();
        let mut sleep = Sleep::new(poll.registry());
        if sleep.alarm.is_none() {
            assert_eq!(sleep.timeout(Instant::now(), Some(FAR), Instant::now), Some(FAR));
            return;
        }
        let begin = Instant::now();
        let at = |s: u64| begin + Duration::from_secs(s);
        let end = Duration::from_secs(100);
        for (now_s, wanted, set_for_s) in [
            (0, Some(end), 100),
            (50, Some(end), 100),
            (50, None, 100),
            (50, Some(Duration::from_millis(1)), 100),
            (60, Some(Duration::from_secs(30)), 90),
            (89, Some(end), 90),
            (90, Some(end), 190),
        ] {
            let own = wanted.filter(|wanted| *wanted < ALARM_LEAST);
            assert_eq!(sleep.timeout(at(now_s), wanted, Instant::now), own);
            assert_eq!(sleep.set_for, Some(at(set_for_s)), "after {now_s} s");
        }
    }

    #[test]
    fn without_an_alarm_the_poll_counts_the_time() {
        let mut sleep = Sleep { alarm: None, set_for: None };
        for wanted in [None, Some(Duration::ZERO), Some(FAR)] {
            assert_eq!(sleep.timeout(Instant::now(), wanted, Instant::now), wanted);
        }
    }
}
