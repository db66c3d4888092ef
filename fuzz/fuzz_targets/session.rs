//! Whole sessions on the fake kernel of `tests/simulation`, whose rooms are taken in as they are.
#![no_main]
#![allow(dead_code, reason = "what only the tests of these rooms use")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../tests/simulation/actors.rs"]
mod actors;
#[path = "../../tests/simulation/acts.rs"]
mod acts;
#[path = "../../tests/simulation/calls.rs"]
mod calls;
#[path = "../../tests/simulation/chance.rs"]
mod chance;
#[path = "../../tests/simulation/fuzzed.rs"]
mod fuzzed;
#[path = "../../tests/simulation/generations.rs"]
mod generations;
#[path = "../../tests/simulation/handles.rs"]
mod handles;
#[path = "../../tests/simulation/invariants.rs"]
mod invariants;
#[path = "../../tests/simulation/kernel.rs"]
mod kernel;
#[path = "../../tests/simulation/lab.rs"]
mod lab;
#[path = "../../tests/simulation/ledger.rs"]
mod ledger;
#[path = "../../tests/simulation/link.rs"]
mod link;
#[path = "../../tests/simulation/names.rs"]
mod names;
#[path = "../../tests/simulation/operator.rs"]
mod operator;
#[path = "../../tests/simulation/options.rs"]
mod options;
#[path = "../../tests/simulation/peer.rs"]
mod peer;
#[path = "../../tests/simulation/pipe.rs"]
mod pipe;
#[path = "../../tests/simulation/plan.rs"]
mod plan;
#[path = "../../tests/simulation/poll.rs"]
mod poll;
#[path = "../../tests/simulation/script.rs"]
mod script;
#[path = "../../tests/simulation/seeds.rs"]
mod seeds;
#[path = "../../tests/simulation/speech.rs"]
mod speech;
#[path = "../../tests/simulation/trace.rs"]
mod trace;
#[path = "../../tests/simulation/verdicts.rs"]
mod verdicts;
#[path = "../../tests/simulation/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzzed::session(input));
