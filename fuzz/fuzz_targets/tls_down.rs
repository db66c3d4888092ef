#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sluice::logic::watch::fuzzed::tls_down(input));
