//! [`causerie_fuzz::gguf`] for libFuzzer; without it, the files named are replayed.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| causerie_fuzz::gguf::check(data));

#[cfg(not(fuzzing))]
fn main() {
    causerie_fuzz::replay_arguments(causerie_fuzz::gguf::check);
}
