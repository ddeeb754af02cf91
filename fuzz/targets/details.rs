#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| semblance_fuzz::targets::details(data));
