#![no_main]

use std::time::Instant;

libfuzzer_sys::fuzz_target!(|input: &[u8]| sluice::logic::flight::fuzzed::flight(input, Instant::now()));
