//! Where the default model is.

use std::fmt;
use std::path::PathBuf;

/// The default model's file name.
pub const MODEL_FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// The file name of Gemma 3 with 270 million parameters.
pub const GEMMA_FILE: &str = "gemma-3-270m.Q4_K_M.gguf";

/// A model is not where it should be.
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
    found(variable("CAUSERIE_TEST_MODEL").or_else(|| pulled(MODEL_FILE)))
}

/// A model's file where `causerie pull` puts it.
///
/// # Errors
/// [`ModelMissing`] if it is not there.
pub fn model_named(file: &str) -> Result<PathBuf, ModelMissing> {
    found(pulled(file))
}

fn found(path: Option<PathBuf>) -> Result<PathBuf, ModelMissing> {
    match path {
        Some(path) if path.is_file() => Ok(path),
        path => Err(ModelMissing { path }),
    }
}

fn pulled(file: &str) -> Option<PathBuf> {
    let cache = variable("CAUSERIE_CACHE_DIR")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("causerie")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/causerie")));
    Some(cache?.join("models").join(file))
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
