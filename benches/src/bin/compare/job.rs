//! What a process that measures is told, and what it answers: one line of JSON each, the same for both engines.
//!
//! Enums are written as `{"name":{…}}`. A tag among the fields would not do: gguf-rs switches on serde_json's
//! `arbitrary_precision`, with which numbers beside a tag are not read.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use causerie_benches::number;

/// What a process is to do.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Job {
    pub(crate) model: PathBuf,
    pub(crate) threads: usize,
    pub(crate) task: Task,
}

/// One thing to measure, in a process of its own.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// Nothing: to say what it is.
    About {},
    /// A prompt; the logits of its last token. Once untimed, then `passes` times.
    Prefill { tokens: usize, passes: usize },
    /// One sequence, token by token after `depth` tokens, the logits of each; some untimed tokens before.
    Decode { depth: usize, tokens: usize, passes: usize },
    /// Several sequences, token by token after a prompt, the logits of each; some untimed tokens before.
    Streams { streams: usize, prompt: usize, steps: usize },
    /// Loading, a prompt and the likeliest token after it, with room for `context` tokens. The parent looks at the clock.
    FirstToken { prompt: usize, context: usize },
    /// Memory with room for `sequences` of `context` tokens, after a prompt and some steps of each.
    Memory { sequences: usize, context: usize, prompt: usize, steps: usize },
    /// The logits of a text, `step` tokens at a time: of each of its tokens those that are `wanted`.
    Scores { step: usize, tokens: Vec<u32>, wanted: Vec<Vec<u32>> },
}

/// What a process answers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    About(About),
    /// Tokens a second, of each pass.
    Rates(Vec<f64>),
    /// That it is there.
    FirstToken {},
    Memory(Memory),
    Scores(Vec<Score>),
}

/// What measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct About {
    /// The package's name and version.
    pub(crate) version: String,
    /// Instruction sets: those that it was built for, or the one that it computes with.
    pub(crate) features: Vec<String>,
    /// The compiler that built it; empty if that cannot be told.
    pub(crate) compiler: String,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.version, self.features.join(" "))?;
        if self.compiler.is_empty() { Ok(()) } else { write!(f, "; {}", self.compiler) }
    }
}

/// Bytes of the process that are in memory, before the model was opened and at the end.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Memory {
    pub(crate) before: u64,
    pub(crate) after: u64,
}

/// What an engine gives for the token after a position.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Score {
    /// Logarithm of the sum of exponentials over the vocabulary.
    pub(crate) logsumexp: f64,
    /// The logits that were wanted, in their order.
    pub(crate) logits: Vec<f64>,
    /// The likeliest token.
    pub(crate) likeliest: u32,
}

/// In what a measurement is given, and whether more of it is better.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    #[serde(rename = "tok/s")]
    TokensPerSecond,
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "MiB")]
    Mebibytes,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::TokensPerSecond => "tok/s",
            Unit::Seconds => "s",
            Unit::Mebibytes => "MiB",
        }
    }

    /// Digits behind the point that mean something.
    pub(crate) fn digits(self) -> usize {
        if self == Unit::Seconds { 3 } else { 1 }
    }

    pub(crate) fn more_is_better(self) -> bool {
        self == Unit::TokensPerSecond
    }
}

impl Task {
    /// The rows of the table that are measured in turn. Only Linux tells of memory in a way that both engines can read.
    pub(crate) fn rows(quick: bool) -> Vec<Task> {
        let (short, long, tokens, depth, few, many) =
            if quick { (64, 128, 16, 128, 2, 4) } else { (512, 2_048, 128, 4_096, 8, 32) };
        let (prompt, steps, context, passes) = if quick { (16, 8, 512, 1) } else { (128, 48, 4_096, 3) };
        let mut rows = vec![
            Task::Prefill { tokens: short, passes },
            Task::Prefill { tokens: long, passes },
            Task::Decode { depth: 0, tokens, passes },
            // Computing what is before it takes seconds, so it is there once only.
            Task::Decode { depth, tokens: tokens / 2, passes: 1 },
            Task::Streams { streams: few, prompt, steps },
            Task::Streams { streams: many, prompt, steps },
            Task::FirstToken { prompt: 32, context },
        ];
        if cfg!(target_os = "linux") {
            rows.push(Task::Memory { sequences: 8, context, prompt, steps: 16 });
        }
        rows
    }

    pub(crate) fn unit(&self) -> Unit {
        match self {
            Task::FirstToken { .. } => Unit::Seconds,
            Task::Memory { .. } => Unit::Mebibytes,
            _ => Unit::TokensPerSecond,
        }
    }
}

/// The row's name in the table.
impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = |count: usize| number(count as f64, 0);
        match self {
            Task::About {} => f.write_str("about"),
            Task::Prefill { tokens, .. } => write!(f, "prefill, {} tokens", n(*tokens)),
            Task::Decode { depth: 0, .. } => f.write_str("decode, 1 stream"),
            Task::Decode { depth, .. } => write!(f, "decode at depth {}", n(*depth)),
            Task::Streams { streams, .. } => write!(f, "decode, {streams} streams together"),
            Task::FirstToken { .. } => f.write_str("load to first token"),
            Task::Memory { sequences, context, .. } => write!(f, "memory, {sequences} × {} tokens", n(*context)),
            Task::Scores { step: 1, .. } => f.write_str("logits of a text, token by token"),
            Task::Scores { step, .. } => write!(f, "logits of a text, {step} tokens a step"),
        }
    }
}
