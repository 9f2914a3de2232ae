//! Causerie.
fn main() {}
