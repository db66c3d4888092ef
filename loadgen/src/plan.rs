//! When each upload is meant to begin. Pure: the clock is an argument, nothing is measured here.

use std::time::{Duration, Instant};

/// How late an upload may begin and still be on time (CONTRACT section 6).
pub const BEGIN_GRACE_MS: u64 = 1_000;

/// The least time the last uploads get after the end of the load.
pub const END_GRACE_MS: u64 = 10_000;

/// What makes the times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Beat {
    /// Agent `i`'s upload `k` is intended at `every * i / agents + k * every`. Spreading the agents
    /// evenly over the interval gives a steady rate instead of a burst of all at once.
    Each {
        /// The interval between two uploads of one agent.
        every: Duration,
        /// How many agents share the interval; at least 1.
        agents: u32,
    },
    /// Number `k` of all is intended at `k * every`, by whichever agent is free.
    Line {
        /// The interval between two of them.
        every: Duration,
    },
    /// As soon as the one before is done.
    FlatOut,
}

/// The agents' timetable: when they begin, for as long as that lies before `start + span`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The moment of the first upload.
    pub start: Instant,
    /// How long uploads go on being intended.
    pub span: Duration,
    /// What makes the times.
    pub beat: Beat,
}

/// How one upload stood against its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Punctuality {
    /// Begun within a second of its time and done before the next one's.
    OnTime,
    /// Begun more than [`BEGIN_GRACE_MS`] after its time.
    BegunLate,
    /// Begun in time, but not done before the agent's next upload was due.
    DoneLate,
}

impl Schedule {
    /// When upload `sequence` of agent `agent` is to begin (both from 0; on a line, the number of all);
    /// the agent is free since `free_at`. `None` once the load is over.
    pub fn intended(&self, agent: u32, sequence: u32, free_at: Instant) -> Option<Instant> {
        let after_start = match self.beat {
            Beat::Each { every, agents } => {
                let offset = every.mul_f64(f64::from(agent) / f64::from(agents.max(1)));
                offset + every.checked_mul(sequence)?
            }
            Beat::Line { every } => every.checked_mul(sequence)?,
            Beat::FlatOut => free_at.saturating_duration_since(self.start),
        };
        (after_start < self.span).then(|| self.start + after_start)
    }

    /// How many uploads all agents together are meant to make; flat out, none is more than hoped for.
    pub fn planned(&self) -> u64 {
        let times = |first: Duration, every: Duration| {
            let left = self.span.saturating_sub(first);
            u64::try_from(left.as_nanos().div_ceil(every.as_nanos().max(1))).unwrap_or(u64::MAX)
        };
        match self.beat {
            Beat::Each { every, agents } => (0..agents)
                .filter_map(|agent| self.intended(agent, 0, self.start))
                .map(|first| times(first - self.start, every))
                .sum(),
            Beat::Line { every } => times(Duration::ZERO, every),
            Beat::FlatOut => 0,
        }
    }

    /// When the run is over at the latest, whatever still hangs.
    pub fn hard_end(&self) -> Instant {
        let every = self.interval().unwrap_or_default();
        self.start + self.span + every.max(Duration::from_millis(END_GRACE_MS))
    }

    /// The time that an upload has from when it is intended until the agent's next is due, where its
    /// agent has such times.
    pub fn interval(&self) -> Option<Duration> {
        match self.beat {
            Beat::Each { every, .. } => Some(every),
            Beat::Line { .. } | Beat::FlatOut => None,
        }
    }

    /// Judges an upload by the three moments that count.
    pub fn judge(&self, intended: Instant, begun: Instant, done: Instant) -> Punctuality {
        let took = done.saturating_duration_since(intended);
        if begun.saturating_duration_since(intended) > Duration::from_millis(BEGIN_GRACE_MS) {
            Punctuality::BegunLate
        } else if self.interval().is_some_and(|every| took > every) {
            Punctuality::DoneLate
        } else {
            Punctuality::OnTime
        }
    }
}

/// When tunnel `number` (from 0) is opened ahead of the load, at `per_second` tunnels a second: a gateway
/// is to be measured at the load, not at a thundering herd before it.
pub fn opening_time(start: Instant, number: u32, per_second: u32) -> Instant {
    start + Duration::from_secs_f64(f64::from(number) / f64::from(per_second.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn schedule(agents: u32, every_ms: u64, span_ms: u64) -> Schedule {
        let every = Duration::from_millis(every_ms);
        beating(Beat::Each { every, agents }, span_ms)
    }

    fn beating(beat: Beat, span_ms: u64) -> Schedule {
        Schedule { start: clock::now(), span: Duration::from_millis(span_ms), beat }
    }

    #[test]
    fn agents_are_spread_evenly_over_the_interval() {
        let schedule = schedule(1000, 6_000, 30_000);
        let at = |agent, sequence| {
            let intended = schedule.intended(agent, sequence, schedule.start);
            intended.map(|t| (t - schedule.start).as_millis())
        };
        assert_eq!(at(0, 0), Some(0));
        assert_eq!(at(500, 0), Some(3_000));
        assert_eq!(at(999, 0), Some(5_994));
        assert_eq!(at(1, 4), Some(24_006));
        assert_eq!(at(0, 5), None);
        assert_eq!(schedule.planned(), 5_000);
    }

    #[test]
    fn the_number_planned_is_the_number_intended() {
        for (agents, every_ms, span_ms) in
            [(1, 1_000, 1_000), (7, 900, 3_100), (20, 1_000, 3_000), (3, 5_000, 1_000), (1, 1, 1)]
        {
            let each = schedule(agents, every_ms, span_ms);
            let line = beating(Beat::Line { every: Duration::from_millis(every_ms) }, span_ms);
            for (schedule, agents) in [(each, agents), (line, 1)] {
                let is_intended = |a, k| schedule.intended(a, k, schedule.start).is_some();
                let counted: u64 = (0..agents)
                    .map(|a| (0..).take_while(|k| is_intended(a, *k)).count() as u64)
                    .sum();
                assert_eq!(schedule.planned(), counted, "{agents} agents, {every_ms}, {span_ms}");
            }
        }
    }

    #[test]
    fn a_line_has_one_time_for_all_agents() {
        let line = beating(Beat::Line { every: Duration::from_millis(2) }, 1_000);
        for agent in [0, 7] {
            let at = |number| line.intended(agent, number, line.start).map(|t| t - line.start);
            assert_eq!(at(100), Some(Duration::from_millis(200)));
            assert_eq!(at(500), None);
        }
    }

    #[test]
    fn flat_out_is_at_once_until_the_end() {
        let schedule = beating(Beat::FlatOut, 1_000);
        let at = |ms| schedule.start + Duration::from_millis(ms);
        let before = schedule.start.checked_sub(Duration::from_millis(5)).expect("a clock");
        assert_eq!(schedule.intended(0, 3, before), Some(schedule.start));
        assert_eq!(schedule.intended(0, 3, at(999)), Some(at(999)));
        assert_eq!(schedule.intended(0, 3, at(1_000)), None);
        assert_eq!(schedule.judge(at(0), at(0), at(9_000)), Punctuality::OnTime);
    }

    #[test]
    fn late_is_begun_a_second_late_or_not_done_before_the_next() {
        let schedule = schedule(1, 6_000, 30_000);
        let at = |ms| schedule.start + Duration::from_millis(ms);
        for (begun, done, expected) in [
            (0, 10, Punctuality::OnTime),
            (1_000, 6_000, Punctuality::OnTime),
            (1_001, 1_100, Punctuality::BegunLate),
            (10, 6_001, Punctuality::DoneLate),
        ] {
            assert_eq!(schedule.judge(at(0), at(begun), at(done)), expected, "{begun} {done}");
        }
    }

    #[test]
    fn the_run_always_ends() {
        let short = schedule(1, 1_000, 3_000);
        assert_eq!(short.hard_end() - short.start, Duration::from_secs(13));
        let long = schedule(1, 60_000, 60_000);
        assert_eq!(long.hard_end() - long.start, Duration::from_secs(120));
    }

    #[test]
    fn openings_are_paced() {
        let start = clock::now();
        assert_eq!(opening_time(start, 250, 500) - start, Duration::from_millis(500));
    }
}
