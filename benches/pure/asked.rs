//! What a client asks for: the head, and the target in it.

use std::hint::black_box;

use criterion::Criterion;
use sluice::proto::head::{HeadReader, Progress};
use sluice::proto::target::Target;

const HEAD_BYTES: usize = 16 * 1024;

/// As the Linux agent asks, by its HTTP library.
const AGENT: &[u8] = b"CONNECT ws.ods.opinsights.azure.com:443 HTTP/1.1\r\n\
    Host: ws.ods.opinsights.azure.com:443\r\nUser-Agent: LinuxMonitoringAgent/1.14\r\n\
    Proxy-Connection: Keep-Alive\r\n\r\n";

pub fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    let most = [AGENT.strip_suffix(b"\r\n").unwrap_or(AGENT), &many_headers(), b"\r\n"].concat();
    let (first, rest) = AGENT.split_at(AGENT.len() / 2);
    group.bench_function("an agent's", |bencher| bencher.iter(|| read(&[AGENT])));
    group.bench_function("an agent's, in two pieces", |bencher| {
        bencher.iter(|| read(&[first, rest]));
    });
    group.bench_function("97 headers, 10 KiB", |bencher| bencher.iter(|| read(&[&most])));
    group.finish();
}

pub fn targets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("target");
    for text in ["ws.ods.opinsights.azure.com:443", "10.20.30.40:443", "[2001:db8::1:2:3]:443"] {
        group.bench_function(text, |bencher| {
            bencher.iter(|| Target::parse(black_box(text.as_bytes())).expect("a good target"));
        });
    }
    group.finish();
}

fn many_headers() -> Vec<u8> {
    (0..94).flat_map(|n| format!("X-Header-{n:02}: {}\r\n", "v".repeat(96)).into_bytes()).collect()
}

fn read(pieces: &[&[u8]]) {
    let mut reader = HeadReader::new(HEAD_BYTES);
    let mut progress = Progress::More;
    for piece in pieces {
        progress = reader.read(black_box(piece));
    }
    assert!(matches!(black_box(progress), Progress::Whole { .. }), "a good head");
}
