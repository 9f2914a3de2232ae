//! `causerie pull`: a model into the cache.

use std::io::{self, Write};

use clap::Args;

use super::failure::Failure;
use super::source;
use crate::fetch::{DEFAULT_MODEL, ModelSource};

/// What `causerie pull` takes.
#[derive(Args, Debug)]
pub(crate) struct PullOptions {
    /// A known model (smollm2-135m, gemma3-270m) or a GGUF file of a Hugging Face repository [default: smollm2-135m]
    #[arg(value_name = "NAME|OWNER/REPO[:FILE]", conflicts_with = "hf")]
    name: Option<ModelSource>,

    /// The same
    #[arg(long, value_name = "NAME|OWNER/REPO[:FILE]")]
    hf: Option<ModelSource>,

    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

/// The file's path on stdout; what happens meanwhile on stderr.
pub(crate) fn pull(options: &PullOptions) -> Result<(), Failure> {
    let source = options.name.as_ref().or(options.hf.as_ref()).unwrap_or(&ModelSource::Known(DEFAULT_MODEL));
    let path = source::fetch(source, false, options.quiet)?;
    writeln!(io::stdout().lock(), "{}", path.display())?;
    Ok(())
}
