#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fotaproof_dtls::replay::dtls(bytes));
