//! `causerie logits` and `causerie bench`: what the engine computes, and how fast.

use std::io::{self, Write};
use std::num::NonZeroUsize;

use causerie_inference::measure::{self, BenchOptions, BenchReport, MeasureError};
use causerie_inference::{LoadOptions, Model};
use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::source;
use crate::config::{Kv, ModelOptions};

/// What `causerie logits` takes.
#[derive(Args, Debug)]
pub(crate) struct LogitsFlags {
    #[command(flatten)]
    model: ModelOptions,

    /// Token ids, as in 1,4093,198
    #[arg(long, value_name = "IDS", value_delimiter = ',', required = true)]
    tokens: Vec<u32>,

    /// The largest logits that are shown for each token
    #[arg(long, value_name = "N", default_value_t = 32)]
    top: usize,

    /// Tokens to go on with, the likeliest each time
    #[arg(long, value_name = "N", default_value_t = 0)]
    greedy: usize,

    /// Threads that compute [default: one a core]
    #[arg(long, env = "CAUSERIE_THREADS", value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// What keys and values are kept as
    #[arg(long, env = "CAUSERIE_KV", value_name = "TYPE", default_value = "bf16")]
    kv: Kv,
}

/// What `causerie bench` takes.
#[derive(Args, Debug)]
pub(crate) struct BenchFlags {
    #[command(flatten)]
    model: ModelOptions,

    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 512)]
    prompt: usize,

    /// Tokens that are generated one by one
    #[arg(long, value_name = "N", default_value_t = 128)]
    generate: usize,

    /// Numbers of answers that are generated at once, as in 8,32
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "8,32")]
    streams: Vec<usize>,

    /// Tokens that are there before the prompt, and before what is generated
    #[arg(long, value_name = "N", default_value_t = 0)]
    depth: usize,

    /// Threads that compute [default: one a core]
    #[arg(long, env = "CAUSERIE_THREADS", value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// What keys and values are kept as
    #[arg(long, env = "CAUSERIE_KV", value_name = "TYPE", default_value = "bf16")]
    kv: Kv,

    /// Repetitions, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 3)]
    repeat: usize,

    /// JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// Logits as JSON on stdout.
pub(crate) fn logits(flags: &LogitsFlags) -> Result<(), Failure> {
    let path = source::model_file(&flags.model)?;
    let threads = flags.threads.map(NonZeroUsize::get);
    let model = Model::load(&path, &LoadOptions { threads, kv: flags.kv.into(), ..LoadOptions::default() })
        .map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
    let report = measure::logits(&model, &flags.tokens, flags.top, flags.greedy, threads).map_err(failure)?;
    write_json(&report)
}

/// A benchmark, as JSON or for people, on stdout.
pub(crate) fn bench(flags: &BenchFlags) -> Result<(), Failure> {
    let path = source::model_file(&flags.model)?;
    let options = BenchOptions {
        prompt: flags.prompt,
        generate: flags.generate,
        streams: flags.streams.clone(),
        threads: flags.threads.map(NonZeroUsize::get),
        repeat: flags.repeat,
        depth: flags.depth,
        kv: flags.kv.into(),
    };
    let report = measure::bench(&path, &options).map_err(|error| match error {
        MeasureError::Load(error) => Failure::Failed(format!("{}: {error}", path.display())),
        other => failure(other),
    })?;
    if flags.json { write_json(&report) } else { write_table(flags, &report) }
}

/// Numbers that are out of range are wrong usage; everything else is a failure.
fn failure(error: MeasureError) -> Failure {
    match error {
        MeasureError::OutOfRange { .. } | MeasureError::UnknownToken { .. } => Failure::Usage(error.to_string()),
        MeasureError::Load(_) => Failure::of(error),
    }
}

fn write_json(report: &impl Serialize) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    serde_json::to_writer(&mut out, report).map_err(io::Error::from)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

fn write_table(flags: &BenchFlags, report: &BenchReport) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "load      {:>10.3} s", report.load_s)?;
    writeln!(out, "threads   {:>10}", report.threads)?;
    writeln!(out, "prefill   {:>10.1} tok/s   ({} tokens)", report.prefill_tps, flags.prompt)?;
    writeln!(out, "decode    {:>10.1} tok/s   ({} tokens)", report.decode_tps, flags.generate)?;
    for (streams, rate) in &report.streams {
        writeln!(out, "{:<10}{rate:>10.1} tok/s   together", format!("{streams} at once"))?;
    }
    Ok(())
}
