//! Lists drawn from a seed.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::operation::{Op, Outcome, draw};
use super::run::Pair;
use crate::chance::Chance;
use crate::seeds::{number, range};

/// Lists of the ordinary test run.
const LISTS: std::ops::Range<u64> = 0..500;
/// A run stops at so many failed lists.
const FAILURES_MAX: usize = 5;
/// Lists wait more than they work.
const THREADS: usize = 8;

/// What the ordinary run must have met, so that it cannot pass by doing nothing.
const MUST_REACH: &[&str] = &[
    "Fill Blocked",
    "Fill ConnectionReset",
    "Fill End",
    "Fill Moved",
    "IsConnected BrokenPipe",
    "IsConnected ConnectionReset",
    "PeerRead ConnectionReset",
    "PeerRead End",
    "Pour Blocked",
    "Pour BrokenPipe",
    "Pour Moved",
    "Read ConnectionReset",
    "Read End",
    "Shut NotConnected",
    "Stuff Moved",
    "TakeError BrokenPipe",
    "TakeError ConnectionReset",
    "Unstuff Bytes",
    "Write Blocked",
    "Write BrokenPipe",
    "Write ConnectionReset",
];

#[test]
fn lists_run_alike_on_the_real_kernel() {
    if let Some(seed) = number("SLUICE_LIST") {
        let (result, report) = run(seed, &Mutex::default());
        println!("{report}");
        assert_eq!(result, Ok(()), "list {seed}");
        return;
    }
    let (failed, reached) = run_all(range("SLUICE_LISTS").unwrap_or(LISTS));
    println!("{reached:#?}");
    if let Some((first, _, report)) = failed.first() {
        let all: Vec<String> =
            failed.iter().map(|(seed, wrong, _)| format!("list {seed}: {wrong}")).collect();
        panic!("{report}\n{}\nreplay with SLUICE_LIST={first}", all.join("\n"));
    }
    if range("SLUICE_LISTS").is_none() {
        let missed: Vec<_> =
            MUST_REACH.iter().filter(|what| !reached.contains_key(**what)).collect();
        assert!(missed.is_empty(), "never reached: {missed:?}");
    }
}

type Failure = (u64, String, String);
/// How often an operation came to an outcome.
type Reached = BTreeMap<String, u64>;

fn run_all(seeds: std::ops::Range<u64>) -> (Vec<Failure>, Reached) {
    let next = AtomicU64::new(seeds.start);
    let failed: Mutex<Vec<Failure>> = Mutex::default();
    let reached: Mutex<Reached> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().len() >= FAILURES_MAX {
                        break;
                    }
                    let ran = catch_unwind(AssertUnwindSafe(|| run(seed, &reached)));
                    match ran {
                        Ok((Ok(()), _)) => {}
                        Ok((Err(wrong), report)) => failed.lock().push((seed, wrong, report)),
                        Err(_) => failed.lock().push((seed, "panicked".to_owned(), String::new())),
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner();
    failed.sort_by_key(|(seed, ..)| *seed);
    (failed, reached.into_inner())
}

fn run(seed: u64, reached: &Mutex<Reached>) -> (Result<(), String>, String) {
    let mut chance = Chance::new(seed);
    let ops = draw(&mut chance);
    let mut pair = Pair::new(&mut chance);
    let result = ops.iter().try_for_each(|&op| pair.step(op).map(drop));
    let result = result.map_err(|wrong| shorten(&wrong));
    let mut report = format!("list {seed}\n");
    for (op, outcome) in &pair.log {
        *reached.lock().entry(describe(*op, outcome)).or_default() += 1;
        report.push_str(&format!("{op:?} -> {}\n", shorten(&format!("{outcome:?}"))));
    }
    report.push_str(&pair.fake.trace());
    report.push_str(&format!("\n{result:?}"));
    (result, report)
}

/// As in `read failed ConnectionReset`.
fn describe(op: Op, outcome: &Outcome) -> String {
    let name = |text: String| text.split(['(', ' ']).next().unwrap_or_default().to_owned();
    match outcome {
        Outcome::Failed(kind) => format!("{} {kind:?}", name(format!("{op:?}"))),
        _ => format!("{} {}", name(format!("{op:?}")), name(format!("{outcome:?}"))),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(300).collect()
}
