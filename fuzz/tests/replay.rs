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
    all_of("frames", 150);
}

#[test]
fn hub() {
    all_of("hub", 45);
}

#[test]
fn resume() {
    all_of("resume", 8);
}

#[test]
fn jwt() {
    all_of("jwt", 70);
}

#[test]
fn gguf() {
    all_of("gguf", 50);
}

#[test]
fn tokenizer() {
    all_of("tokenizer", 7);
}

/// Scripts changed as the fuzzer changes them, without its guidance; `CAUSERIE_FUZZ_ROUNDS` says how many, from another
/// beginning each time where it is given.
#[test]
fn changed_scripts_end_well() {
    /// Some seconds' worth.
    const ROUNDS: u32 = 300;
    const BYTES: usize = 8_192;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/hub");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("it is there").map(|e| e.expect("a file").path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("a file")).collect();
    let seeds: Vec<_> = seeds.into_iter().filter(|seed| seed.len() < BYTES).collect();
    let more = std::env::var("CAUSERIE_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse::<u32>().ok());
    let first = if more.is_some() { std::process::id().wrapping_mul(7_919) } else { 0 };
    for round in 0..more.unwrap_or(ROUNDS) {
        let number = first.wrapping_add(round);
        let mut script = seeds[number as usize % seeds.len()].clone();
        let mut size = script.len();
        script.resize(BYTES, 0);
        for change in 0..=number % 8 {
            let seed = number.wrapping_mul(31).wrapping_add(change);
            size = causerie_fuzz::hub::mutate(&mut script, size, BYTES, seed, |_, size, _| size);
        }
        let script = &script[..size];
        if std::panic::catch_unwind(|| causerie_fuzz::hub::check(script)).is_err() {
            panic!("this script ends badly:\n{}", String::from_utf8_lossy(script));
        }
    }
}
