//! The default model's file.

use std::path::PathBuf;

/// `$CAUSERIE_TEST_MODEL`, or where `causerie pull` puts it.
pub(crate) fn default_model() -> PathBuf {
    let named = std::env::var_os("CAUSERIE_TEST_MODEL").map(PathBuf::from);
    let cached = || {
        causerie::fetch::find(
            &causerie::fetch::ModelSource::Known(causerie::fetch::DEFAULT_MODEL),
            &causerie::config::cache_directory().ok()?,
        )
    };
    match named.or_else(cached) {
        Some(path) if path.is_file() => path,
        other => panic!("the default model is not at {other:?}: run `cargo run --release -- pull`"),
    }
}
