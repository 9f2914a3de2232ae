//! Any text, with one of several small vocabularies: encoded and decoded it is the same text.

#![no_main]

#[path = "../../inference/tests/roundtrip/mod.rs"]
mod roundtrip;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str)| roundtrip::check(input.0, input.1));
