#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sluice::config::load::fuzzed::configuration(input));
