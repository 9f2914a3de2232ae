//! Where the default model is.

use std::fmt;
use std::path::PathBuf;

/// The default model's file name.
pub const MODEL_FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// The default model is not where it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelMissing {
    /// Where it was looked for, if there is such a place.
    pub path: Option<PathBuf>,
}

impl fmt::Display for ModelMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{} is missing; run `cargo run --release -- pull`", path.display())?,
            None => f.write_str("HOME is not set, so there is no place for the default model")?,
        }
        write!(f, ", or set CAUSERIE_TEST_MODEL to a copy of {MODEL_FILE}")
    }
}

impl std::error::Error for ModelMissing {}

/// The default model's file: `$CAUSERIE_TEST_MODEL`, or where `causerie pull` puts it.
///
/// # Errors
/// [`ModelMissing`] if it is not there.
pub fn model_file() -> Result<PathBuf, ModelMissing> {
    let of = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || {
        of("CAUSERIE_CACHE_DIR")
            .or_else(|| of("XDG_CACHE_HOME").map(|cache| cache.join("causerie")))
            .or_else(|| of("HOME").map(|home| home.join(".cache/causerie")))
            .map(|cache| cache.join("models").join(MODEL_FILE))
    };
    match of("CAUSERIE_TEST_MODEL").or_else(cache) {
        Some(path) if path.is_file() => Ok(path),
        path => Err(ModelMissing { path }),
    }
}
