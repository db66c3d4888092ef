#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sluice::proto::relay_reply::fuzzed::relay_reply(input));
