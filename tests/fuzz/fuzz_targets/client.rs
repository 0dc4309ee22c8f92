#![no_main]

#[path = "../roles/mod.rs"]
mod roles;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roles::client(bytes));
