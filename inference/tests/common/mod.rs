//! What tests with the real model share.

#![allow(dead_code, reason = "each test crate needs some of it")]

use std::path::PathBuf;

/// The default model's file: `$CAUSERIE_TEST_MODEL`, or where `causerie pull` puts it.
///
/// # Panics
/// If there is none.
pub(crate) fn model_file() -> PathBuf {
    match std::env::var_os("CAUSERIE_TEST_MODEL") {
        Some(file) => file.into(),
        None => cached("SmolLM2-135M-Instruct.Q4_1.gguf", "pull"),
    }
}

/// The file of Gemma 3 with 270 million parameters: where `causerie pull gemma3-270m` puts it.
///
/// # Panics
/// If there is none.
pub(crate) fn gemma_file() -> PathBuf {
    cached("gemma-3-270m.Q4_K_M.gguf", "pull gemma3-270m")
}

fn cached(file: &str, pull: &str) -> PathBuf {
    let of = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = of("CAUSERIE_CACHE_DIR")
        .or_else(|| of("XDG_CACHE_HOME").map(|dir| dir.join("causerie")))
        .or_else(|| of("HOME").map(|dir| dir.join(".cache/causerie")))
        .expect("HOME is set");
    let file = cache.join("models").join(file);
    assert!(file.exists(), "{} is missing; run `cargo run --release -- {pull}`", file.display());
    file
}
