//! How long things take and how much they move, as histograms: recorded by one worker, merged by
//! whoever asks.
//!
//! The buckets are fixed and log-linear, as those of HdrHistogram, but each is an atomic that one
//! thread writes by a plain load and store. A real HdrHistogram needs a lock around it, and a scrape
//! that is descheduled while it holds the lock would hold up a worker; here it cannot. Nothing is
//! allocated to record. One worker's histograms take 216 KiB of addresses, of which memory is used where values
//! fell, unless the allocator had so much at hand.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::sys::zeroed_counters;

/// Buckets for each power of two, as many as HdrHistogram has for two digits: a bucket is at most
/// as wide as 1/128 of its values.
const STEPS: usize = 128;
const STEPS_BITS: u32 = STEPS.ilog2();

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// From the question for a name to its answer; names that were known take no time and are not
    /// counted.
    Resolve,
    /// From the first dialling attempt to a connection.
    Dial,
    /// From a whole CONNECT to the 200.
    SetUp,
    /// From the 200 to the first bytes of the target that the client was given.
    FirstByte,
    /// From accept to close of a session that got a well-formed head.
    Session,
    /// What a session relayed up, where it relayed anything.
    Upload,
    /// What one splice moved out of a pipe; where tunnels are copied, what one write moved.
    Pour,
    /// From the return of a worker's poll to its next poll.
    Turn,
    /// What a poll told of.
    Ready,
}

/// In what a measure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Times.
    Microseconds,
    /// Amounts.
    Bytes,
    /// Numbers.
    Events,
}

impl Measure {
    /// All of them, in declaration order.
    pub const ALL: [Measure; Measure::Ready as usize + 1] = [
        Measure::Resolve,
        Measure::Dial,
        Measure::SetUp,
        Measure::FirstByte,
        Measure::Session,
        Measure::Upload,
        Measure::Pour,
        Measure::Turn,
        Measure::Ready,
    ];

    /// The spelling in reports and, after `sluice_` and before its unit, in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Measure::Resolve => "resolve",
            Measure::Dial => "dial",
            Measure::SetUp => "setup",
            Measure::FirstByte => "first_byte",
            Measure::Session => "session",
            Measure::Upload => "upload",
            Measure::Pour => "pour",
            Measure::Turn => "loop_turn",
            Measure::Ready => "ready",
        }
    }

    /// A sentence for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Measure::Resolve => {
                "From the question for a name to its answer, for names not known already."
            }
            Measure::Dial => "From the first dialling attempt to a connection.",
            Measure::SetUp => "From a whole CONNECT to its 200.",
            Measure::FirstByte => {
                "From the 200 to the first bytes of the target that the client was given."
            }
            Measure::Session => "From accept to close of sessions that got a well-formed head.",
            Measure::Upload => {
                "What a session relayed up in all, of those that have ended and relayed anything."
            }
            Measure::Pour => "What one splice moved out of a pipe; without splice, one write.",
            Measure::Turn => "From the return of a worker's poll to its next poll.",
            Measure::Ready => "Of how many events a poll told.",
        }
    }

    /// In what it counts.
    pub const fn unit(self) -> Unit {
        match self {
            Measure::Upload | Measure::Pour => Unit::Bytes,
            Measure::Ready => Unit::Events,
            _ => Unit::Microseconds,
        }
    }

    /// Values fit into so many bits; greater ones count as the greatest. Of times, 18 minutes are far
    /// beyond every limit of a set-up, and 12 days hold nearly every session; a TiB holds nearly every
    /// upload, 16 MiB every pipe and buffer, and a poll tells of 1,024 events at most.
    const fn bits(self) -> u32 {
        match self {
            Measure::Session | Measure::Upload => 40,
            Measure::Pour => 24,
            Measure::Ready => 16,
            _ => 30,
        }
    }
}

/// The histograms of one worker, which alone records.
#[derive(Debug)]
pub struct Histograms {
    /// Of all measures, one after the other: so large that each page mostly comes from the system
    /// when it is used.
    buckets: Box<[AtomicU64]>,
    totals: [Totals; Measure::ALL.len()],
}

impl Histograms {
    /// Empty ones.
    pub fn new() -> Histograms {
        Histograms {
            buckets: zeroed_counters(LAYOUT[Measure::ALL.len()]),
            totals: std::array::from_fn(|_| Totals::new()),
        }
    }

    /// Records one value in the unit of `measure`. Two threads that record at once lose one of both.
    pub fn record(&self, measure: Measure, value: u64) {
        let buckets = self.buckets(measure);
        add(&buckets[bucket_of(value).min(buckets.len() - 1)], 1);
        self.totals[measure as usize].record(value);
    }

    /// Records one duration.
    pub fn record_time(&self, measure: Measure, duration: Duration) {
        debug_assert_eq!(measure.unit(), Unit::Microseconds);
        self.record(measure, u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    fn buckets(&self, measure: Measure) -> &[AtomicU64] {
        let number = measure as usize;
        &self.buckets[LAYOUT[number]..LAYOUT[number + 1]]
    }
}

impl Default for Histograms {
    fn default() -> Histograms {
        Histograms::new()
    }
}

/// What is known exactly of the values of a measure.
#[derive(Debug)]
struct Totals {
    sum: AtomicU64,
    least: AtomicU64,
    most: AtomicU64,
}

impl Totals {
    fn new() -> Totals {
        let [sum, most] = [0, 0].map(AtomicU64::new);
        Totals { sum, least: AtomicU64::new(u64::MAX), most }
    }

    fn record(&self, value: u64) {
        add(&self.sum, value);
        if value < self.least.load(Relaxed) {
            self.least.store(value, Relaxed);
        }
        if value > self.most.load(Relaxed) {
            self.most.store(value, Relaxed);
        }
    }
}

/// One writer: nothing is lost between load and store, and no bus is locked.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

/// What several workers recorded of one measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    buckets: Vec<u64>,
    sum: u64,
    least: u64,
    most: u64,
}

impl Distribution {
    /// The sum of `measure` over `workers`.
    pub fn merged<'a>(
        measure: Measure,
        workers: impl IntoIterator<Item = &'a Histograms>,
    ) -> Distribution {
        let buckets = vec![0; buckets(measure.bits())];
        let mut merged = Distribution { buckets, sum: 0, least: u64::MAX, most: 0 };
        for histograms in workers {
            for (sum, bucket) in merged.buckets.iter_mut().zip(histograms.buckets(measure)) {
                *sum += bucket.load(Relaxed);
            }
            let totals = &histograms.totals[measure as usize];
            merged.sum = merged.sum.wrapping_add(totals.sum.load(Relaxed));
            merged.least = merged.least.min(totals.least.load(Relaxed));
            merged.most = merged.most.max(totals.most.load(Relaxed));
        }
        merged
    }

    /// Values recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all values, exact.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The least and the greatest value, exact; none where nothing was recorded.
    pub fn ends(&self) -> Option<(u64, u64)> {
        (self.least <= self.most).then_some((self.least, self.most))
    }

    /// How many are at most as great as each of `bounds`, which ascend.
    pub fn up_to(&self, bounds: &[u64]) -> Vec<u64> {
        let mut filled = self.buckets.iter().enumerate().peekable();
        let mut count = 0;
        let mut counts = Vec::with_capacity(bounds.len());
        for &bound in bounds {
            while let Some((_, more)) = filled.next_if(|(index, _)| middle(*index) <= bound) {
                count += more;
            }
            counts.push(count);
        }
        counts
    }

    /// The same as an HdrHistogram, which knows of quantiles.
    pub fn quantiles(&self) -> Histogram<u64> {
        let greatest = middle(self.buckets.len() - 1).max(2);
        let mut histogram = Histogram::new_with_bounds(1, greatest, 2)
            .expect("2 digits from 1 to more than 2 are within what it takes");
        for (index, &count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            histogram.saturating_record_n(middle(index), count);
        }
        histogram
    }
}

/// Where the buckets of each measure begin, in declaration order, and where those of the last end.
const LAYOUT: [usize; Measure::ALL.len() + 1] = {
    let mut places = [0; Measure::ALL.len() + 1];
    let mut number = 0;
    while number < Measure::ALL.len() {
        places[number + 1] = places[number] + buckets(Measure::ALL[number].bits());
        number += 1;
    }
    places
};

/// Buckets for values of so many bits.
const fn buckets(bits: u32) -> usize {
    STEPS * (bits - STEPS_BITS + 1) as usize
}

/// Below [`STEPS`] each value has a bucket; from there on each power of two has [`STEPS`].
const fn bucket_of(value: u64) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let shift = value.ilog2() - STEPS_BITS;
    STEPS * shift as usize + (value >> shift) as usize
}

/// The value that stands for a bucket.
const fn middle(index: usize) -> u64 {
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

    fn distribution(measure: Measure, values: &[u64]) -> Distribution {
        let histograms = Histograms::new();
        for &value in values {
            histograms.record(measure, value);
        }
        Distribution::merged(measure, [&histograms])
    }

    #[test]
    fn buckets_follow_each_other_and_know_two_digits_of_a_value() {
        for value in (0..1 << 16).chain((17..40).flat_map(|bit| [(1 << bit) - 1, 1 << bit])) {
            let (bucket, before) = (bucket_of(value), bucket_of(value.saturating_sub(1)));
            assert!(bucket == before || bucket == before + 1, "{value}");
            assert!(middle(bucket).abs_diff(value) * 200 <= value, "{value}: {}", middle(bucket));
        }
        for bits in Measure::ALL.map(Measure::bits) {
            assert_eq!(bucket_of((1 << bits) - 1), buckets(bits) - 1);
        }
    }

    #[test]
    fn workers_are_merged_and_no_duration_is_too_long() {
        let (one, two) = (Histograms::new(), Histograms::new());
        one.record_time(Measure::Dial, Duration::from_millis(3));
        two.record_time(Measure::Dial, Duration::from_millis(5));
        two.record_time(Measure::Dial, Duration::MAX);
        two.record_time(Measure::SetUp, Duration::ZERO);
        let dial = Distribution::merged(Measure::Dial, [&one, &two]);
        assert_eq!(dial.count(), 3);
        assert_eq!(dial.up_to(&[1_000, 4_000, 6_000, 1 << 30]), [0, 1, 2, 3]);
        assert_eq!(dial.ends(), Some((3_000, u64::MAX)));
        let set_up = Distribution::merged(Measure::SetUp, [&one, &two]);
        assert_eq!((set_up.count(), set_up.ends()), (1, Some((0, 0))));
        let turn = Distribution::merged(Measure::Turn, [&one, &two]);
        assert_eq!((turn.count(), turn.ends()), (0, None));
        let month_us = 30 * 86_400 * 1_000_000;
        let month = distribution(Measure::Session, &[month_us]);
        assert_eq!((month.count(), month.sum()), (1, month_us));
        assert_eq!(month.up_to(&[86_400_000_000]), [0]);
    }

    #[test]
    fn quantiles_come_back_within_two_digits() {
        let values: Vec<u64> = (1..=10_000).map(|number| number * 100).collect();
        let quantiles = distribution(Measure::Upload, &values).quantiles();
        assert_eq!(quantiles.len(), 10_000);
        for (quantile, value) in [(0.5, 500_000_u64), (0.99, 990_000), (1.0, 1_000_000)] {
            let told = quantiles.value_at_quantile(quantile);
            assert!(told.abs_diff(value) * 100 <= value, "{quantile}: {told} for {value}");
        }
        assert_eq!(distribution(Measure::Turn, &[]).quantiles().len(), 0);
    }

    #[test]
    fn the_histograms_of_a_worker_are_small() {
        let bytes = size_of_val(&*Histograms::new().buckets);
        assert!(bytes <= 216 * 1024, "{bytes}");
        for (index, measure) in Measure::ALL.into_iter().enumerate() {
            assert_eq!(measure as usize, index);
        }
    }
}
