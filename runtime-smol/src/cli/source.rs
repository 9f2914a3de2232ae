//! The model's file for the commands that need one.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use super::failure::Failure;
use super::progress::Shown;
use crate::config::ModelOptions;
use crate::fetch::{self, FetchOptions, ModelSource};

/// Finds the model, or fetches it with progress on stderr. Ctrl-C ends the process; what is there by then is kept.
pub(crate) fn model_file(options: &ModelOptions) -> Result<PathBuf, Failure> {
    let source = options.source();
    if let ModelSource::File(path) = &source {
        // Needs no cache, and whoever reads it says more about a file that cannot be read.
        return Ok(path.clone());
    }
    fetch(&source, options.offline, false)
}

/// Finds a model, or fetches it.
pub(crate) fn fetch(source: &ModelSource, offline: bool, quiet: bool) -> Result<PathBuf, Failure> {
    let options = FetchOptions::from_environment(offline).map_err(Failure::of)?;
    let mut shown = Shown::new(quiet);
    let never = AtomicBool::new(false);
    fetch::fetch(source, &options, &mut |progress| shown.show(progress), &never).map_err(Failure::of)
}
