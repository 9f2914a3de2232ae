//! Any sequence of operations on a hub, every four bytes one of them, against the reference model of the property tests.

#![no_main]

#[path = "../../core/tests/driver/mod.rs"]
mod driver;

use driver::scenario::{Op, live};
use libfuzzer_sys::fuzz_target;

/// Longer lives find nothing that shorter ones do not, and cost time.
const OPERATIONS: usize = 1_000;

fuzz_target!(|data: &[u8]| {
    live(data.as_chunks::<4>().0.iter().take(OPERATIONS).map(|four| Op::from(*four)));
});
