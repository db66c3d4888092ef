#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sluice::proto::head::fuzzed::head(input));
