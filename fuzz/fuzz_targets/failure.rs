#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| noex_net::__fuzz::failure(bytes));
