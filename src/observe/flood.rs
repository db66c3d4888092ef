//! Keeps like events from flooding the outlets: beyond 20 a second of one reason, the rest of that
//! second becomes one line with a count. Counters are moved elsewhere and stay exact.
//!
//! Time is the time of the events, so that nothing in here asks a clock.

use std::time::{Duration, SystemTime};

use crate::logic::reason::Reason;

use super::events::{Event, rule};

/// Events of one reason that are written in one second. The contract fixes it.
pub(super) const LIKE_EVENTS_PER_SECOND: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);

const REASONS: usize = Reason::ALL.len();

/// The last second of each reason, of refusals and of what `allow.mode = "report"` tells instead.
pub(super) struct Flood {
    seconds: [[Option<Second>; REASONS]; 2],
    /// How many of `seconds` have left something out: almost always 0, which makes a look cheap.
    left_out: usize,
}

#[derive(Clone, Copy)]
struct Second {
    begin: SystemTime,
    latest: SystemTime,
    seen: u32,
    left_out: u64,
}

impl Flood {
    pub(super) fn new() -> Flood {
        Flood { seconds: [[None; REASONS]; 2], left_out: 0 }
    }

    /// Whether `event` is to be written. One that is not is counted for a summary. Call
    /// [`Flood::finish_seconds`] with its time first.
    pub(super) fn admits(&mut self, event: &Event) -> bool {
        if !is_limited(event.reason) {
            return true;
        }
        let seconds = &mut self.seconds[usize::from(event.is_reported)];
        let slot = &mut seconds[event.reason as usize];
        let second = match slot {
            Some(second) if !second.is_over(event.time) => second,
            _ => {
                slot.insert(Second { begin: event.time, latest: event.time, seen: 0, left_out: 0 })
            }
        };
        if second.seen < LIKE_EVENTS_PER_SECOND {
            second.seen += 1;
            return true;
        }
        if second.left_out == 0 {
            self.left_out += 1;
        }
        second.left_out += 1;
        second.latest = second.latest.max(event.time);
        false
    }

    /// The summaries of the seconds that are over at `now`; of all of them where `now` is `None`.
    pub(super) fn finish_seconds(
        &mut self,
        now: Option<SystemTime>,
        mut write: impl FnMut(&Event),
    ) {
        if self.left_out == 0 {
            return;
        }
        for (is_reported, seconds) in [false, true].into_iter().zip(&mut self.seconds) {
            for (reason, slot) in Reason::ALL.into_iter().zip(seconds) {
                let Some(second) = slot else { continue };
                if second.left_out > 0 && now.is_none_or(|now| second.is_over(now)) {
                    let summary = Event::new(reason, second.latest).count(second.left_out);
                    write(&if is_reported { summary.reported() } else { summary });
                    self.left_out -= 1;
                    *slot = None;
                }
            }
        }
    }

    /// How long after `now` the next summary is due; `None` when none is.
    pub(super) fn next_due(&self, now: SystemTime) -> Option<Duration> {
        if self.left_out == 0 {
            return None;
        }
        let due = self.seconds.iter().flatten().flatten().filter(|second| second.left_out > 0).map(
            |second| {
                let gone = now.duration_since(second.begin).unwrap_or_default();
                SECOND.saturating_sub(gone)
            },
        );
        due.min()
    }
}

impl Second {
    /// Also over when the clock was set back by more than workers' clocks can differ.
    fn is_over(&self, now: SystemTime) -> bool {
        match now.duration_since(self.begin) {
            Ok(gone) => gone >= SECOND,
            Err(early) => early.duration() >= SECOND,
        }
    }
}

/// A relay proxy that comes and goes with every session would flood as refusals do.
fn is_limited(reason: Reason) -> bool {
    matches!(rule(reason).id, 104..=106 | 400..=403)
        || matches!(reason, Reason::RelayProxyLost | Reason::RelayProxyReached)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000 + ms)
    }

    /// Feeds events and returns how many passed and the counts of the summaries.
    fn feed(flood: &mut Flood, reason: Reason, times: &[u64]) -> (usize, Vec<u64>) {
        let (mut passed, mut summaries) = (0, Vec::new());
        for ms in times {
            flood.finish_seconds(Some(at(*ms)), |line| summaries.extend(line.count));
            passed += usize::from(flood.admits(&Event::new(reason, at(*ms))));
        }
        (passed, summaries)
    }

    #[test]
    fn twenty_a_second_pass_and_the_rest_is_one_summary() {
        let mut flood = Flood::new();
        let times: Vec<u64> = (0..50).chain([1_000, 1_001]).collect();
        assert_eq!(feed(&mut flood, Reason::HostNotAllowed, &times), (22, vec![30]));
        assert_eq!(feed(&mut flood, Reason::RelayProxyLost, &times), (22, vec![30]));
    }

    #[test]
    fn reasons_do_not_share_a_second() {
        let mut flood = Flood::new();
        assert_eq!(feed(&mut flood, Reason::HostNotAllowed, &[0; 25]).0, 20);
        assert_eq!(feed(&mut flood, Reason::PortNotAllowed, &[0; 25]).0, 20);
        let mut reasons = Vec::new();
        flood.finish_seconds(None, |line| reasons.push((line.reason, line.count)));
        let expected = [(Reason::HostNotAllowed, Some(5)), (Reason::PortNotAllowed, Some(5))];
        assert_eq!(reasons, expected);
        assert_eq!(flood.next_due(at(0)), None);
    }

    #[test]
    fn what_was_not_refused_has_a_second_of_its_own() {
        let mut flood = Flood::new();
        assert_eq!(feed(&mut flood, Reason::HostNotAllowed, &[0; 25]).0, 20);
        let reported = Event::new(Reason::HostNotAllowed, at(0)).reported();
        let passed = (0..27).filter(|_| flood.admits(&reported)).count();
        let mut summaries = Vec::new();
        flood.finish_seconds(None, |line| summaries.push((line.is_reported, line.count)));
        assert_eq!((passed, summaries), (20, vec![(false, Some(5)), (true, Some(7))]));
    }

    #[test]
    fn what_is_not_a_refusal_or_an_error_always_passes() {
        let mut flood = Flood::new();
        for reason in [Reason::SessionEnded, Reason::TlsVerified, Reason::ConnectReceived] {
            assert_eq!(feed(&mut flood, reason, &[0; 100]), (100, vec![]));
        }
    }

    #[test]
    fn a_summary_is_due_at_the_end_of_its_second() {
        let mut flood = Flood::new();
        feed(&mut flood, Reason::DialFailed, &[0; 20]);
        assert_eq!(flood.next_due(at(10)), None);
        feed(&mut flood, Reason::DialFailed, &[100]);
        assert_eq!(flood.next_due(at(100)), Some(Duration::from_millis(900)));
        assert_eq!(flood.next_due(at(5_000)), Some(Duration::ZERO));
    }

    #[test]
    fn a_clock_set_back_does_not_hold_a_summary_for_ever() {
        let mut flood = Flood::new();
        let mut times = vec![500_000; 30];
        times.push(1);
        assert_eq!(feed(&mut flood, Reason::DialFailed, &times), (21, vec![10]));
    }
}
