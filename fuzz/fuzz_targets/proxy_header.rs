#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sluice::proto::proxy_header::fuzzed::proxy_header(
    input
));
