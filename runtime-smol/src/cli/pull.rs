//! `causerie pull`: a model into the cache.

use std::io::{self, Write};

use clap::Args;

use super::failure::Failure;
use super::source;
use crate::fetch::{HubName, ModelSource};

/// What `causerie pull` takes.
#[derive(Args, Debug)]
pub(crate) struct PullOptions {
    /// A GGUF file of a Hugging Face repository [default: the default model]
    #[arg(value_name = "OWNER/REPO[:FILE]", conflicts_with = "hf")]
    name: Option<HubName>,

    /// The same
    #[arg(long, value_name = "OWNER/REPO[:FILE]")]
    hf: Option<HubName>,

    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

/// The file's path on stdout; what happens meanwhile on stderr.
pub(crate) fn pull(options: &PullOptions) -> Result<(), Failure> {
    let name = options.name.clone().or_else(|| options.hf.clone());
    let path = source::fetch(&name.map_or(ModelSource::Default, ModelSource::Hub), false, options.quiet)?;
    writeln!(io::stdout().lock(), "{}", path.display())?;
    Ok(())
}
