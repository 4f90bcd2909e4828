//! `properties::utf8` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::utf8(bytes));
