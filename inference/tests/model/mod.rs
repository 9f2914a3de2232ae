//! Where the tests find the default model.

use std::path::PathBuf;

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// The file that `CAUSERIE_TEST_MODEL` names, or the default model in the cache.
///
/// # Panics
/// When there is none: the message says how to get it.
pub(crate) fn path() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("CAUSERIE_CACHE_DIR")
        .or_else(|| variable("XDG_CACHE_HOME").map(|dir| dir.join("causerie")))
        .or_else(|| variable("HOME").map(|dir| dir.join(".cache/causerie")));
    let path = variable("CAUSERIE_TEST_MODEL").or_else(|| cache.map(|dir| dir.join("models").join(FILE)));
    match path {
        Some(path) if path.is_file() => path,
        seen => panic!("no model at {seen:?}; run `cargo run --release -- pull`, or set CAUSERIE_TEST_MODEL"),
    }
}
