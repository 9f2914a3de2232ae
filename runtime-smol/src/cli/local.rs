//! The engine in this process, for one conversation at a time: what `run` and `chat` talk to.

use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use causerie_inference::chat::{self, Turn};
use causerie_inference::scheduler::{Event, FinishReason, SequenceFault, Timings, Usage};
use causerie_inference::{
    Grammar, GrammarError, LoadOptions, Model, ModelInfo, Request, SamplingOptions, Scheduler, SchedulerOptions,
};
use clap::Args;

use super::failure::Failure;
use super::sampling::Sampling;
use crate::config::{Kv, Speculate};

/// A prompt leaves at least this part of the context to its answer, unless less is wanted.
const ANSWER_PART: usize = 4;

/// How the engine runs when there is one conversation.
#[derive(Args, Clone, Debug)]
pub(crate) struct LocalOptions {
    /// Threads that compute [default: one a core]
    #[arg(long, env = "CAUSERIE_THREADS", value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Tokens of the conversation, question and answer together [default: what the model was trained for]
    #[arg(long, env = "CAUSERIE_CONTEXT", value_name = "TOKENS")]
    context: Option<NonZeroUsize>,

    /// Whether to guess from the conversation what comes next, and compute it ahead; answers are the same either way
    #[arg(long, env = "CAUSERIE_SPECULATE", value_name = "WHEN", default_value = "auto")]
    speculate: Speculate,

    /// What keys and values, which are what is remembered of the conversation's tokens, are kept as
    #[arg(long, env = "CAUSERIE_KV", value_name = "TYPE", default_value = "bf16")]
    kv: Kv,
}

/// A loaded model.
pub(crate) struct Local {
    name: String,
    model: Arc<Model>,
    scheduler: Scheduler,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) reason: FinishReason,
    pub(crate) usage: Usage,
    pub(crate) timings: Timings,
    /// Of the oldest turns, how many did not fit into the context.
    pub(crate) dropped_turns: usize,
}

impl Local {
    /// Loads a model for one conversation.
    pub(crate) fn load(path: &Path, options: &LocalOptions) -> Result<Local, Failure> {
        let at = |error| Failure::Failed(format!("{}: {error}", path.display()));
        let threads = options.threads.map(NonZeroUsize::get);
        let context = options.context.map(NonZeroUsize::get);
        let load = LoadOptions { threads, context, kv: options.kv.into(), ..LoadOptions::default() };
        let model = Arc::new(Model::load(path, &load).map_err(at)?);
        let options = SchedulerOptions {
            threads,
            max_sequences: Some(1),
            context,
            speculation: options.speculate.into(),
            seed: seed(),
            ..SchedulerOptions::default()
        };
        let scheduler = Scheduler::new(Arc::clone(&model), &options).map_err(at)?;
        let name =
            path.file_stem().map_or_else(|| model.info().name.clone(), |stem| stem.to_string_lossy().into_owned());
        Ok(Local { name, model, scheduler })
    }

    /// What people call the model: its file's name. What its makers wrote into the file is often a note to themselves.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The model itself: its size, its kernels.
    pub(crate) fn info(&self) -> &ModelInfo {
        self.model.info()
    }

    /// Tokens that question and answer may have together.
    pub(crate) fn context(&self) -> usize {
        self.scheduler.context()
    }

    /// How the model is sampled where nobody wishes anything.
    pub(crate) fn sampling(&self) -> &SamplingOptions {
        self.model.sampling()
    }

    /// Answers the last of `turns`. The text goes to `sink` as it comes; once `stop` is set it ends soon, and so it does
    /// when the sink fails.
    pub(crate) fn answer(
        &mut self,
        turns: &[Turn],
        wished: &Sampling,
        grammar: Option<&Grammar>,
        stop: &AtomicBool,
        sink: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<Answered, Failure> {
        let max_tokens = wished.max_tokens() as usize;
        let context = self.scheduler.context();
        let room = context - max_tokens.min(context / ANSWER_PART).max(1);
        let prompt = chat::prompt(self.model.tokenizer(), self.model.template(), turns, room).map_err(Failure::of)?;
        let sampling = wished.over(self.model.sampling()).map_err(Failure::of)?;
        let grammar = grammar.cloned();
        let session = Some(0); // there is one conversation
        let request = Request { prompt: prompt.tokens, sampling, grammar, max_tokens, session, ..Request::default() };
        let id = self.scheduler.submit(request).map_err(Failure::of)?;
        let mut outcome = Outcome::default();
        while self.scheduler.step(&mut |from, event| outcome.take(from == id, event, sink)) {
            if stop.load(Ordering::Relaxed) || outcome.sink_error.is_some() {
                self.scheduler.cancel(id);
            }
        }
        let Outcome { end, fault, refused, sink_error } = outcome;
        if let Some(error) = sink_error {
            return Err(error.into());
        }
        if let Some(refused) = refused {
            return Err(refusal(&refused));
        }
        match (end, fault) {
            (Some((reason, usage, timings)), _) => {
                Ok(Answered { reason, usage, timings, dropped_turns: prompt.dropped_turns })
            }
            (None, Some(fault)) => Err(Failure::of(fault)),
            (None, None) => {
                Err(Failure::Failed(format!("the answer {id:?} had no end; this is a fault of the engine")))
            }
        }
    }
}

/// What the steps of one answer told.
#[derive(Default)]
struct Outcome {
    end: Option<(FinishReason, Usage, Timings)>,
    fault: Option<SequenceFault>,
    refused: Option<GrammarError>,
    sink_error: Option<io::Error>,
}

impl Outcome {
    fn take(&mut self, ours: bool, event: Event<'_>, sink: &mut dyn FnMut(&str) -> io::Result<()>) {
        match event {
            _ if !ours => {}
            Event::Text(text) if self.sink_error.is_none() => self.sink_error = sink(text).err(),
            // No embedding is asked for.
            Event::Text(_) | Event::Token { .. } | Event::Embedded { .. } => {}
            Event::Refused { error } => self.refused = Some(error.clone()),
            Event::Finished { reason, usage, timings } => self.end = Some((reason, usage, timings)),
            Event::Failed { fault } => self.fault = Some(fault),
        }
    }
}

/// What the seed of an answer is made from when none is given.
fn seed() -> u64 {
    let mut seed = [0; 8];
    // Without randomness the answers are repeatable, which is no reason not to answer.
    let _ = getrandom::fill(&mut seed);
    u64::from_le_bytes(seed)
}

/// What is wrong with a grammar is wrong usage, unless the model is at fault.
fn refusal(error: &GrammarError) -> Failure {
    match error {
        GrammarError::Empty | GrammarError::TooLong { .. } | GrammarError::Invalid { .. } => {
            Failure::Usage(error.to_string())
        }
        _ => Failure::of(error),
    }
}
