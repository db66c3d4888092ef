//! What the engines count: histograms and failures. Each engine has its own, merged at the end; only
//! the few numbers that progress shows are shared while the run goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::failure::Failure;
use crate::plan::Punctuality;

/// The longest time a histogram tells apart, in microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// How many failures are shown in full.
const MOST_EXAMPLES: usize = 8;

/// How many kinds of failure are told apart; statuses come from the network and must not grow a table.
const MOST_KINDS: usize = 32;

/// What progress shows.
#[derive(Default)]
pub struct Live {
    /// Tunnels opened ahead of the load.
    pub opened: AtomicU64,
    /// Tunnels that could not be opened ahead of the load.
    pub not_opened: AtomicU64,
    /// Uploads that arrived.
    pub arrived: AtomicU64,
    /// Uploads that failed.
    pub failed: AtomicU64,
}

impl Live {
    /// How many of the tunnels opened ahead have come to something, good or bad.
    pub fn settled(&self) -> u64 {
        self.opened.load(Ordering::Relaxed) + self.not_opened.load(Ordering::Relaxed)
    }
}

/// All that was counted.
pub struct Tally {
    /// From the intended time to the answer, in microseconds.
    pub latency_us: Histogram<u64>,
    /// From dialling the gateway to the end of the TLS handshake, in microseconds.
    pub setup_us: Histogram<u64>,
    /// How much later than it could an upload was begun, because the engine was busy, in microseconds.
    pub lag_us: Histogram<u64>,
    /// Uploads answered with success.
    pub arrived: u64,
    /// Of those, begun too late.
    pub begun_late: u64,
    /// Of those, begun in time but done too late.
    pub done_late: u64,
    /// Uploads that failed.
    pub failed: u64,
    /// How often an upload that had failed was tried again.
    pub retries: u64,
    /// Uploads that arrived, but not at the first attempt.
    pub arrived_after_retries: u64,
    /// When the last of them was done.
    pub last_done: Option<Instant>,
    /// Body bytes of the uploads that arrived.
    pub bytes: u64,
    /// The same for each agent.
    pub moved_bytes: Vec<u64>,
    /// The longest turn of an engine during the load, in microseconds.
    pub longest_turn_us: u64,
    /// Tunnels opened, for whatever reason.
    pub opened: u64,
    /// Tunnels that could not be opened, or broke at rest.
    pub tunnels_failed: u64,
    /// Failures by kind.
    pub failures: BTreeMap<String, u64>,
    /// Failures that were followed by another attempt, by kind.
    pub retried: BTreeMap<String, u64>,
    /// The first failures in full.
    pub examples: Vec<String>,
    live: Arc<Live>,
}

impl Tally {
    /// An empty one that also feeds `live`.
    pub fn new(live: Arc<Live>) -> Tally {
        Tally {
            latency_us: micros(),
            setup_us: micros(),
            lag_us: micros(),
            arrived: 0,
            begun_late: 0,
            done_late: 0,
            failed: 0,
            retries: 0,
            arrived_after_retries: 0,
            last_done: None,
            bytes: 0,
            moved_bytes: Vec::new(),
            longest_turn_us: 0,
            opened: 0,
            tunnels_failed: 0,
            failures: BTreeMap::new(),
            retried: BTreeMap::new(),
            examples: Vec::new(),
            live,
        }
    }

    /// A tunnel was opened; `ahead` of the load, or as part of an upload.
    pub fn tunnel_opened(&mut self, took: Duration, ahead: bool) {
        self.opened += 1;
        record(&mut self.setup_us, took);
        if ahead {
            self.live.opened.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A tunnel that carried no upload could not be opened or broke.
    pub fn tunnel_failed(&mut self, agent: u32, failure: &Failure, ahead: bool) {
        self.tunnels_failed += 1;
        if ahead {
            self.live.not_opened.fetch_add(1, Ordering::Relaxed);
        }
        self.note(agent, failure);
    }

    /// An upload was begun this much later than the engine could have.
    pub fn begun(&mut self, lag: Duration) {
        record(&mut self.lag_us, lag);
    }

    /// An engine has given every agent that was ready its turn.
    pub fn turned(&mut self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.longest_turn_us = self.longest_turn_us.max(took_us);
    }

    /// An upload failed and will be tried again.
    pub fn retried(&mut self, failure: &Failure) {
        self.retries += 1;
        count(&mut self.retried, failure.kind());
    }

    /// An upload was answered with success at `now`, in its attempt `attempt` (from 0).
    pub fn arrived(
        &mut self,
        bytes: u64,
        latency: Duration,
        punctuality: Punctuality,
        attempt: u32,
        now: Instant,
    ) {
        self.arrived += 1;
        self.arrived_after_retries += u64::from(attempt > 0);
        self.last_done = self.last_done.max(Some(now));
        self.bytes += bytes;
        record(&mut self.latency_us, latency);
        match punctuality {
            Punctuality::OnTime => {}
            Punctuality::BegunLate => self.begun_late += 1,
            Punctuality::DoneLate => self.done_late += 1,
        }
        self.live.arrived.fetch_add(1, Ordering::Relaxed);
    }

    /// An upload failed.
    pub fn failed(&mut self, agent: u32, failure: &Failure) {
        self.failed += 1;
        self.live.failed.fetch_add(1, Ordering::Relaxed);
        self.note(agent, failure);
    }

    /// Adds what another engine counted.
    pub fn merge(&mut self, other: &Tally) {
        for (mine, theirs) in [
            (&mut self.latency_us, &other.latency_us),
            (&mut self.setup_us, &other.setup_us),
            (&mut self.lag_us, &other.lag_us),
        ] {
            mine.add(theirs).expect("all histograms have the same bounds");
        }
        self.arrived += other.arrived;
        self.begun_late += other.begun_late;
        self.done_late += other.done_late;
        self.failed += other.failed;
        self.retries += other.retries;
        self.arrived_after_retries += other.arrived_after_retries;
        self.last_done = self.last_done.max(other.last_done);
        self.moved_bytes.extend_from_slice(&other.moved_bytes);
        self.longest_turn_us = self.longest_turn_us.max(other.longest_turn_us);
        self.bytes += other.bytes;
        self.opened += other.opened;
        self.tunnels_failed += other.tunnels_failed;
        for (mine, theirs) in
            [(&mut self.failures, &other.failures), (&mut self.retried, &other.retried)]
        {
            for (kind, count) in theirs {
                *mine.entry(kind.clone()).or_default() += count;
            }
        }
        let room = MOST_EXAMPLES.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.iter().take(room).cloned());
    }

    fn note(&mut self, agent: u32, failure: &Failure) {
        count(&mut self.failures, failure.kind());
        if self.examples.len() < MOST_EXAMPLES {
            self.examples.push(format!("agent {agent}: {failure}"));
        }
    }
}

fn count(kinds: &mut BTreeMap<String, u64>, kind: String) {
    let is_new = !kinds.contains_key(&kind);
    let kind = if is_new && kinds.len() >= MOST_KINDS { "other".to_owned() } else { kind };
    *kinds.entry(kind).or_default() += 1;
}

fn micros() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("constant bounds are valid")
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Cause, Stage};

    #[test]
    fn failures_are_counted_by_kind_and_the_first_are_kept() {
        let live = Arc::new(Live::default());
        let mut tally = Tally::new(live.clone());
        for status in 400..600 {
            let failure = Failure::new(Cause::Refused(status), Stage::AwaitReply, "no");
            tally.failed(7, &failure);
        }
        assert_eq!(tally.failures.len(), MOST_KINDS + 1);
        assert_eq!(tally.failures.values().sum::<u64>(), 200);
        assert_eq!(tally.examples.len(), MOST_EXAMPLES);
        assert!(tally.examples[0].contains("agent 7: refused with 400"), "{}", tally.examples[0]);
        assert_eq!(live.failed.load(Ordering::Relaxed), 200);
    }

    #[test]
    fn tallies_add_up() {
        let live = Arc::new(Live::default());
        let (mut one, mut other) = (Tally::new(live.clone()), Tally::new(live));
        let now = crate::clock::now();
        one.arrived(5, Duration::from_millis(10), Punctuality::OnTime, 0, now);
        let later = now + Duration::from_secs(1);
        other.arrived(6, Duration::from_millis(30), Punctuality::DoneLate, 2, later);
        other.retried(&Failure::new(Cause::Reset, Stage::Sending, "gone"));
        one.moved_bytes.push(5);
        other.moved_bytes.push(6);
        other.tunnel_opened(Duration::from_millis(1), true);
        one.merge(&other);
        assert_eq!((one.arrived, one.bytes, one.done_late, one.opened), (2, 11, 1, 1));
        assert_eq!(one.latency_us.len(), 2);
        assert_eq!((one.retries, one.arrived_after_retries, one.retried["reset"]), (1, 1, 1));
        assert_eq!((one.last_done, one.moved_bytes), (Some(later), vec![5, 6]));
    }
}
