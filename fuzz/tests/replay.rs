//! Everything that is committed of the corpora, on stable Rust.

use std::path::Path;

use causerie_fuzz::{TARGETS, replay};

#[track_caller]
fn all_of(target: &str, least: usize) {
    let Some((_, check)) = TARGETS.iter().find(|(name, _)| *name == target) else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let seeds = replay(&folder, *check);
    assert!(seeds >= least, "{seeds} seeds of {target}");
}

#[test]
fn frames() {
    all_of("frames", 17);
}

#[test]
fn hub() {
    all_of("hub", 30);
}

#[test]
fn resume() {
    all_of("resume", 1);
}

#[test]
fn jwt() {
    all_of("jwt", 1);
}

#[test]
fn gguf() {
    all_of("gguf", 50);
}

#[test]
fn tokenizer() {
    all_of("tokenizer", 7);
}
