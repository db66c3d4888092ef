//! Whether every worker still turns.
//!
//! An idle worker sleeps for as long as nothing happens, so the time of its last turn says nothing.
//! A worker hangs where one turn lasts too long, where it does not wake although it was knocked at, or
//! where its thread is over. Knocks are sent only when somebody asks, so that nobody who does not ask
//! pays with wake-ups.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::gauges::{Doing, WorkerGauges};

/// How long a turn, or the answer to a knock, may take. Turns take microseconds; a machine that gives
/// a thread no time for so long is no good either.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of all workers from the last time that somebody asked.
#[derive(Debug)]
pub struct Liveness {
    knocks: Vec<Knock>,
}

/// A knock, and how many turns the worker had begun before it.
#[derive(Clone, Copy, Debug)]
struct Knock {
    at: Instant,
    turns: u64,
}

/// A worker that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hanging {
    /// Its index.
    pub worker: usize,
    /// For how long at least; `None` where its thread is over.
    pub since: Option<Duration>,
}

impl Liveness {
    /// Nothing is known yet.
    pub fn new() -> Liveness {
        Liveness { knocks: Vec::new() }
    }

    /// The workers that hang at `now`. Whoever asks knocks at all workers *afterwards*.
    pub fn judge(&mut self, workers: &[Arc<WorkerGauges>], now: Instant) -> Vec<Hanging> {
        let mut hanging = Vec::new();
        for (index, worker) in workers.iter().enumerate() {
            let unanswered = self.knock(index, worker.turns(), now);
            let since = match worker.doing(now) {
                Doing::IsOver => None,
                Doing::Turns(turning) => Some(turning.max(unanswered)),
                Doing::Sleeps => Some(unanswered),
            };
            if since.is_none_or(|since| since >= PATIENCE) {
                hanging.push(Hanging { worker: index, since });
            }
        }
        hanging
    }

    /// How long the last knock has been unanswered; one that was answered is followed by another.
    fn knock(&mut self, index: usize, turns: u64, now: Instant) -> Duration {
        let fresh = Knock { at: now, turns };
        match self.knocks.get_mut(index) {
            None => self.knocks.push(fresh),
            Some(knock) if knock.turns != turns => *knock = fresh,
            Some(knock) => return now.saturating_duration_since(knock.at),
        }
        Duration::ZERO
    }
}

impl Default for Liveness {
    fn default() -> Liveness {
        Liveness::new()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use super::*;
    use crate::observe::gauges::Held;

    struct Crew {
        start: Instant,
        workers: Vec<Arc<WorkerGauges>>,
        liveness: Liveness,
    }

    impl Crew {
        fn new() -> Crew {
            let start = Instant::now();
            let workers = (0..2).map(|_| Arc::new(WorkerGauges::new(start))).collect();
            Crew { start, workers, liveness: Liveness::new() }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn turn(&self, worker: usize, ms: u64) {
            self.workers[worker].turn_begins(self.at(ms));
            self.workers[worker].turn_ends(self.at(ms), self.at(ms), Held::default());
        }

        fn judge(&mut self, ms: u64) -> Vec<Hanging> {
            let now = self.at(ms);
            self.liveness.judge(&self.workers, now)
        }
    }

    fn since(worker: usize, ms: u64) -> Vec<Hanging> {
        vec![Hanging { worker, since: Some(Duration::from_millis(ms)) }]
    }

    #[test]
    fn idle_workers_that_answer_are_alive_however_seldom_one_asks() {
        let mut crew = Crew::new();
        for round in 0..4 {
            let ms = round * 3_600_000;
            assert_eq!(crew.judge(ms), []);
            crew.turn(0, ms + 1);
            crew.turn(1, ms + 1);
        }
    }

    #[test]
    fn one_that_does_not_wake_hangs_until_it_does() {
        let mut crew = Crew::new();
        assert_eq!(crew.judge(1_000), []);
        crew.turn(0, 1_001);
        assert_eq!(crew.judge(5_999), []);
        crew.turn(0, 6_000);
        assert_eq!(crew.judge(6_000), since(1, 5_000));
        crew.turn(0, 6_001);
        assert_eq!(crew.judge(9_000), since(1, 8_000));
        crew.turn(0, 9_001);
        crew.turn(1, 9_001);
        assert_eq!(crew.judge(9_002), []);
    }

    #[test]
    fn a_turn_that_does_not_end_hangs_though_nobody_asked_before() {
        let mut crew = Crew::new();
        crew.workers[1].turn_begins(crew.at(0));
        assert_eq!(crew.judge(4_999), []);
        crew.turn(0, 5_000);
        assert_eq!(crew.judge(7_000), since(1, 7_000));
    }

    #[test]
    fn a_worker_that_is_busy_without_end_is_alive() {
        let mut crew = Crew::new();
        for second in 0..30 {
            crew.turn(0, second * 1_000);
            crew.turn(1, second * 1_000);
            crew.workers[1].turn_begins(crew.at(second * 1_000 + 1));
            assert_eq!(crew.judge(second * 1_000 + 2), []);
        }
    }

    #[test]
    fn one_whose_thread_is_over_hangs_at_once() {
        let mut crew = Crew::new();
        crew.workers[0].is_over();
        assert_eq!(crew.judge(0), [Hanging { worker: 0, since: None }]);
    }
}
