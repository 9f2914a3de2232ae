//! [`causerie_fuzz::hub`] for libFuzzer; without it, the files named are replayed.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| causerie_fuzz::hub::check(data));

// Scripts are changed by lines, which finds more than changing bytes.
#[cfg(fuzzing)]
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    causerie_fuzz::hub::mutate(data, size, max_size, seed, libfuzzer_sys::fuzzer_mutate)
});

#[cfg(not(fuzzing))]
fn main() {
    causerie_fuzz::replay_arguments(causerie_fuzz::hub::check);
}
