//! What tests with the real model share.

use std::path::PathBuf;

/// The default model's file: `$CAUSERIE_TEST_MODEL`, or where `causerie pull` puts it.
///
/// # Panics
/// If there is none.
pub(crate) fn model_file() -> PathBuf {
    const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
    if let Some(file) = std::env::var_os("CAUSERIE_TEST_MODEL") {
        return file.into();
    }
    let of = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = of("CAUSERIE_CACHE_DIR")
        .or_else(|| of("XDG_CACHE_HOME").map(|dir| dir.join("causerie")))
        .or_else(|| of("HOME").map(|dir| dir.join(".cache/causerie")))
        .expect("HOME is set");
    let file = cache.join("models").join(FILE);
    assert!(file.exists(), "{} is missing; run `cargo run --release -- pull`", file.display());
    file
}
