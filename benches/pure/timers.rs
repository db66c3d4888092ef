//! Deadlines of 100,000 sessions.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use sluice::logic::timers::Timers;

const SESSIONS: usize = 100_000;
const IDLE: Duration = Duration::from_secs(600);

pub fn timers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timers of 100,000");
    group.bench_function("a deadline is put off", |bencher| {
        let (mut timers, mut now) = armed();
        let mut key = 0;
        bencher.iter(|| {
            key = (key + 7_919) % SESSIONS;
            now += Duration::from_micros(1);
            timers.arm(black_box(key), now + IDLE);
        });
    });
    group.bench_function("a session comes and goes", |bencher| {
        let (mut timers, now) = armed();
        bencher.iter(|| {
            timers.arm(black_box(SESSIONS), now + Duration::from_secs(10));
            timers.disarm(SESSIONS);
        });
    });
    group.bench_function("when to wake", |bencher| {
        let (timers, now) = armed();
        bencher.iter(|| timers.sleep(black_box(now)));
    });
    // Each that is due begins again, so that there are always as many: one in 6 ms.
    group.bench_function("a millisecond passes", |bencher| {
        let (mut timers, mut now) = armed();
        let mut due = Vec::new();
        bencher.iter(|| {
            now += Duration::from_millis(1);
            timers.expire(now, &mut due);
            for key in due.drain(..) {
                timers.arm(key, now + IDLE);
            }
        });
    });
    group.finish();
}

/// All armed, evenly spread over the idle limit.
fn armed() -> (Timers, Instant) {
    let now = Instant::now();
    let mut timers = Timers::new(now);
    for key in 0..SESSIONS {
        timers.arm(key, now + IDLE * (key as u32 + 1) / SESSIONS as u32);
    }
    (timers, now)
}
