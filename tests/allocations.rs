//! What promises to allocate nothing is held to it: an allocator that counts stands below this test.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use sluice::logic::hosts::{HostPattern, Hosts};
use sluice::logic::timers::Timers;
use sluice::observe::histograms::{Histograms, Measure};
use sluice::proto::target::Target;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is handed to the system's allocator as it came; the count is a plain number of
// this thread, which itself needs no memory of this allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as this function's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as this function's; `memory` came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn to_record_to_judge_and_to_put_off_a_deadline_allocate_nothing() {
    assert_eq!(allocations(|| drop(black_box(vec![1]))), 1, "an allocation is seen");
    let histograms = Histograms::new();
    let values = [0, 1, 77, 65_536, u64::MAX];
    let recording = || {
        for (measure, value) in Measure::ALL.into_iter().flat_map(|it| values.map(|v| (it, v))) {
            histograms.record(measure, value);
        }
    };
    assert_eq!(allocations(recording), 0, "to record");
    let patterns = ["a.x.com", "*.x.com", "a*.x.com:8", "*-b-*.x.com", "10.0.0.1"];
    let hosts = Hosts::new(patterns.map(|text| HostPattern::parse(text).expect("a good pattern")));
    let targets = ["a.x.com:443", "c-b-d.x.com:443", "y.z:443", "10.0.0.1:8"]
        .map(|text| Target::parse(text.as_bytes()).expect("a good target"));
    let judging = || {
        for target in &targets {
            black_box(hosts.judge(target));
        }
    };
    assert_eq!(allocations(judging), 0, "to judge");
    #[allow(clippy::disallowed_methods, reason = "any moment will do")]
    let now = Instant::now();
    let mut timers = Timers::new(now);
    timers.arm(9, now + Duration::from_secs(1));
    let putting_off = || timers.arm(9, now + Duration::from_secs(600));
    assert_eq!(allocations(putting_off), 0, "to put off a deadline");
}
