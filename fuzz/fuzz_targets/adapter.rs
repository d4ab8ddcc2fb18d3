#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fotaproof_tests::fuzz::adapter(bytes));
