//! `causerie tokenize`: text to token ids.

use std::io::{self, Read, Write};

use causerie_inference::tokenizer::Special;
use causerie_inference::{Gguf, Tokenizer};
use clap::Args;

use super::failure::Failure;
use super::source;
use crate::config::ModelOptions;

/// The longest text, in bytes: a book, several times over.
const TEXT_BYTES: u64 = 64 << 20;

/// What `causerie tokenize` takes.
#[derive(Args, Debug)]
pub(crate) struct TokenizeOptions {
    #[command(flatten)]
    model: ModelOptions,
}

/// The ids of stdin's text as a JSON array on stdout: special tokens recognized, the beginning token added where the
/// model's file says so.
pub(crate) fn tokenize(options: &TokenizeOptions) -> Result<(), Failure> {
    let path = source::model_file(&options.model)?;
    let at = |error: &dyn std::fmt::Display| Failure::Failed(format!("{}: {error}", path.display()));
    let gguf = Gguf::open(&path).map_err(|error| at(&error))?;
    let tokenizer = Tokenizer::from_metadata(gguf.metadata()).map_err(|error| at(&error))?;
    let text = read_text(io::stdin().lock(), "stdin")?;
    let mut tokens = Vec::new();
    tokenizer.encode(&text, Special::Parse, true, &mut tokens);
    let mut out = io::BufWriter::new(io::stdout().lock());
    serde_json::to_writer(&mut out, &tokens).map_err(io::Error::from)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

/// All of a text, as it is: no line end is added or taken away.
pub(crate) fn read_text(from: impl Read, name: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    from.take(TEXT_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::Failed(format!("cannot read {name}: {error}")))?;
    if bytes.len() as u64 > TEXT_BYTES {
        return Err(Failure::Failed(format!("{name} has more than {TEXT_BYTES} bytes, the most that is read")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::Failed(format!("{name} is not UTF-8: the byte at offset {at} does not belong there"))
    })
}
