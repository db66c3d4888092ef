//! How long things take, as histograms: recorded by one worker, merged by whoever asks.
//!
//! The buckets are fixed and log-linear, as those of HdrHistogram, but each is an atomic that one
//! thread writes by a plain load and store. A real HdrHistogram needs a lock around it, and a scrape
//! that is descheduled while it holds the lock would hold up a worker; here it cannot. One worker's
//! histograms take 36 KiB.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Buckets for each power of two: a value is known to 1.6 % (half of 1/32).
const STEPS: usize = 32;
const STEPS_BITS: u32 = STEPS.ilog2();

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// From the question for a name to its answer; names that were known take no time and are not
    /// counted.
    Resolve,
    /// From the first dialling attempt to a connection.
    Dial,
    /// From a whole CONNECT to the 200.
    SetUp,
    /// From accept to close of a session that got a well-formed head.
    Session,
    /// From the return of a worker's poll to its next poll.
    Turn,
}

impl Timing {
    /// All of them, in declaration order.
    pub const ALL: [Timing; Timing::Turn as usize + 1] =
        [Timing::Resolve, Timing::Dial, Timing::SetUp, Timing::Session, Timing::Turn];

    /// The spelling in reports and, between `sluice_` and `_seconds`, in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Timing::Resolve => "resolve",
            Timing::Dial => "dial",
            Timing::SetUp => "setup",
            Timing::Session => "session",
            Timing::Turn => "loop_turn",
        }
    }

    /// Microseconds fit into so many bits; longer times count as the longest. 18 minutes are far
    /// beyond every limit of a set-up, 12 days hold nearly every session.
    const fn bits(self) -> u32 {
        match self {
            Timing::Session => 40,
            _ => 30,
        }
    }
}

/// The histograms of one worker, which alone records.
#[derive(Debug)]
pub struct Timings([Recorder; Timing::ALL.len()]);

impl Timings {
    /// Empty ones.
    pub fn new() -> Timings {
        Timings(Timing::ALL.map(Recorder::new))
    }

    /// Records one duration. Two threads that record at once lose one of both.
    pub fn record(&self, timing: Timing, duration: Duration) {
        self.0[timing as usize].record(duration);
    }

    /// What was recorded, at this moment.
    fn of(&self, timing: Timing) -> &Recorder {
        &self.0[timing as usize]
    }
}

impl Default for Timings {
    fn default() -> Timings {
        Timings::new()
    }
}

#[derive(Debug)]
struct Recorder {
    buckets: Box<[AtomicU64]>,
    sum_us: AtomicU64,
}

impl Recorder {
    fn new(timing: Timing) -> Recorder {
        let buckets = (0..buckets(timing.bits())).map(|_| AtomicU64::new(0)).collect();
        Recorder { buckets, sum_us: AtomicU64::new(0) }
    }

    fn record(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = &self.buckets[bucket_of(us).min(self.buckets.len() - 1)];
        // One writer: nothing is lost between load and store, and no bus is locked.
        bucket.store(bucket.load(Relaxed) + 1, Relaxed);
        self.sum_us.store(self.sum_us.load(Relaxed).wrapping_add(us), Relaxed);
    }
}

/// What several workers recorded of one timing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    buckets: Vec<u64>,
    sum_us: u64,
}

impl Distribution {
    /// The sum of `timing` over `workers`.
    pub fn merged<'a>(
        timing: Timing,
        workers: impl IntoIterator<Item = &'a Timings>,
    ) -> Distribution {
        let mut merged = Distribution { buckets: vec![0; buckets(timing.bits())], sum_us: 0 };
        for recorder in workers.into_iter().map(|timings| timings.of(timing)) {
            for (sum, bucket) in merged.buckets.iter_mut().zip(&recorder.buckets) {
                *sum += bucket.load(Relaxed);
            }
            merged.sum_us = merged.sum_us.wrapping_add(recorder.sum_us.load(Relaxed));
        }
        merged
    }

    /// Durations recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all durations, exact.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// How many are at most as long as each of `bounds_us`, which ascend.
    pub fn up_to(&self, bounds_us: &[u64]) -> Vec<u64> {
        let mut filled = self.buckets.iter().enumerate().peekable();
        let mut count = 0;
        let mut counts = Vec::with_capacity(bounds_us.len());
        for &bound_us in bounds_us {
            while let Some((_, more)) = filled.next_if(|(index, _)| middle_us(*index) <= bound_us) {
                count += more;
            }
            counts.push(count);
        }
        counts
    }

    /// The same as an HdrHistogram of microseconds, which knows of quantiles.
    pub fn quantiles(&self) -> Histogram<u64> {
        let longest_us = middle_us(self.buckets.len() - 1).max(2);
        let mut histogram = Histogram::new_with_bounds(1, longest_us, 2)
            .expect("2 digits from 1 to more than 2 are within what it takes");
        for (index, &count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            histogram.saturating_record_n(middle_us(index), count);
        }
        histogram
    }
}

/// Buckets for values of so many bits.
const fn buckets(bits: u32) -> usize {
    STEPS * (bits - STEPS_BITS + 1) as usize
}

/// Below [`STEPS`] each value has a bucket; from there on each power of two has [`STEPS`].
const fn bucket_of(us: u64) -> usize {
    if us < STEPS as u64 {
        return us as usize;
    }
    let shift = us.ilog2() - STEPS_BITS;
    STEPS * shift as usize + (us >> shift) as usize
}

/// The value that stands for a bucket.
const fn middle_us(index: usize) -> u64 {
    if index < 2 * STEPS {
        return index as u64;
    }
    let shift = index / STEPS - 1;
    let least = ((index % STEPS + STEPS) as u64) << shift;
    least + (((1 << shift) - 1) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(timing: Timing, values_us: &[u64]) -> Distribution {
        let timings = Timings::new();
        for &us in values_us {
            timings.record(timing, Duration::from_micros(us));
        }
        Distribution::merged(timing, [&timings])
    }

    #[test]
    fn buckets_follow_each_other_and_know_a_value_to_a_fiftieth() {
        for us in (0..1 << 16).chain((17..40).flat_map(|bit| [(1 << bit) - 1, 1 << bit])) {
            let (bucket, before) = (bucket_of(us), bucket_of(us.saturating_sub(1)));
            assert!(bucket == before || bucket == before + 1, "{us}");
            assert!(middle_us(bucket).abs_diff(us) * 50 <= us, "{us}: {}", middle_us(bucket));
        }
        assert_eq!(bucket_of((1 << 40) - 1), buckets(40) - 1);
        assert_eq!(bucket_of((1 << 30) - 1), buckets(30) - 1);
    }

    #[test]
    fn workers_are_merged_and_no_duration_is_too_long() {
        let (one, two) = (Timings::new(), Timings::new());
        one.record(Timing::Dial, Duration::from_millis(3));
        two.record(Timing::Dial, Duration::from_millis(5));
        two.record(Timing::Dial, Duration::MAX);
        two.record(Timing::SetUp, Duration::ZERO);
        let dial = Distribution::merged(Timing::Dial, [&one, &two]);
        assert_eq!(dial.count(), 3);
        assert_eq!(dial.up_to(&[1_000, 4_000, 6_000, 1 << 30]), [0, 1, 2, 3]);
        assert_eq!(Distribution::merged(Timing::SetUp, [&one, &two]).count(), 1);
        assert_eq!(Distribution::merged(Timing::Turn, [&one, &two]).count(), 0);
        let month = distribution(Timing::Session, &[30 * 86_400 * 1_000_000]);
        assert_eq!((month.count(), month.sum().as_secs()), (1, 30 * 86_400));
        assert_eq!(month.up_to(&[86_400_000_000]), [0]);
    }

    #[test]
    fn quantiles_come_back_within_two_digits() {
        let values: Vec<u64> = (1..=10_000).map(|number| number * 100).collect();
        let quantiles = distribution(Timing::SetUp, &values).quantiles();
        assert_eq!(quantiles.len(), 10_000);
        for (quantile, us) in [(0.5, 500_000_u64), (0.99, 990_000), (1.0, 1_000_000)] {
            let told = quantiles.value_at_quantile(quantile);
            assert!(told.abs_diff(us) * 40 <= us, "{quantile}: {told} for {us}");
        }
        assert_eq!(distribution(Timing::Turn, &[]).quantiles().len(), 0);
    }

    #[test]
    fn the_histograms_of_a_worker_are_small() {
        let bytes: usize = Timing::ALL.iter().map(|timing| 8 * buckets(timing.bits())).sum();
        assert!(bytes <= 37 * 1024, "{bytes}");
        for (index, timing) in Timing::ALL.into_iter().enumerate() {
            assert_eq!(timing as usize, index);
        }
    }
}
