//! What is told of a session: its closing event in words, and a value in a histogram.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant, UNIX_EPOCH};

use criterion::Criterion;
use sluice::logic::ending::{Cause, Ending, SessionId, Side, Stage};
use sluice::logic::reason::Reason;
use sluice::observe::events::{Ended, Event};
use sluice::observe::histograms::{Histograms, Measure};
use sluice::observe::lines;
use sluice::observe::settings::Format;

pub fn events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event");
    let (closing, mut line) = (closing(), Vec::new());
    for (name, format) in [("text", Format::Text), ("json", Format::Json)] {
        group.bench_function(format!("session_ended, {name}"), |bencher| {
            bencher.iter(|| {
                line.clear();
                lines::write(format, black_box(&closing), &mut line);
            });
        });
    }
    group.bench_function("session_ended, made and dropped", |bencher| bencher.iter(self::closing));
    group.finish();
}

pub fn histograms(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("histogram");
    let (histograms, mut value) = (Histograms::new(), 0);
    group.bench_function("a value is recorded", |bencher| {
        bencher.iter(|| {
            value = (value + 977) % 65_536;
            histograms.record(Measure::Pour, black_box(value));
        });
    });
    // A worker reads the clock once more in each turn, to know how long it was.
    group.bench_function("the clock is read", |bencher| bencher.iter(Instant::now));
    group.finish();
}

fn closing() -> Event {
    let ended = Ended {
        ending: Ending { stage: Stage::Tunnel, side: Side::Client, cause: Cause::Finished },
        bytes_up: 203_517,
        bytes_down: 3_914,
        duration: Duration::from_millis(61),
    };
    let at = |port| SocketAddr::from(([10, 20, 30, 40], port));
    Event::new(Reason::SessionEnded, UNIX_EPOCH + Duration::from_millis(1_700_000_000_123))
        .session(SessionId(0x5f_0102_0304))
        .client(at(50_123))
        .target("ws.ods.opinsights.azure.com:443")
        .address(at(443))
        .server_name("ws.ods.opinsights.azure.com")
        .tls_version("1.3")
        .ended(ended)
}
