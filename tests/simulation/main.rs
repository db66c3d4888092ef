//! The real worker, tunnel, carrier, session and flow on a fake kernel: no socket, no thread, no real
//! clock. Scenarios are written by hand; the seeded runs draw everything from one number. On Linux
//! `model` holds the fake kernel against the real one, which is why it may be believed.
//!
//! `SLUICE_SEED=7 cargo test --test simulation seeds -- --nocapture` replays a run with its trace
//! (`SLUICE_TRACE=FILE` keeps all of it), `SLUICE_SEEDS=0..1000000 cargo test --release --test simulation
//! seeds` runs many. `tests/planted/` holds known bugs and which test catches each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod actors;
mod acts;
mod calls;
mod chance;
mod fuzzed;
mod generations;
mod handles;
mod invariants;
mod kernel;
mod lab;
mod ledger;
mod link;
#[cfg(target_os = "linux")]
mod model;
mod names;
mod operator;
mod options;
mod peer;
mod pipe;
mod plan;
mod poll;
mod scenarios;
mod script;
mod seeds;
mod speech;
mod trace;
mod verdicts;
mod world;
