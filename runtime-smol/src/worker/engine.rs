//! The model with its scheduler, in the terms of the protocol: generations in, events out.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use causerie_core::{
    FinishReason, GenerationFailure, GenerationId, GenerationNotice, MessageRole, Sampling, SessionId,
};
use causerie_core::{Timings, Usage};
use causerie_inference::chat::{self, PromptError, Speaker, Turn};
use causerie_inference::scheduler;
use causerie_inference::{
    LoadError, LoadOptions, Model, Request, SamplingOptions, SamplingOverrides, Saving, Scheduler, SchedulerOptions,
    SequenceId, SubmitError,
};

use super::{Event, Generate};
use crate::config::EngineOptions;
use crate::limits;
use crate::store::Conversation;

/// A prompt leaves at least this part of the context to its answer, unless less is wanted or its last message alone is
/// longer.
const ANSWER_PART: usize = 4;

/// A model that answers.
pub(super) struct Engine {
    name: String,
    model: Arc<Model>,
    scheduler: Scheduler,
    generations: HashMap<SequenceId, GenerationId>,
    sequences: HashMap<GenerationId, SequenceId>,
}

impl Engine {
    /// Reads a model file and makes ready for it, with the keys and values that an earlier engine saved.
    ///
    /// # Errors
    /// When the file is no good, or the options do not suit the model.
    pub(super) fn load(path: &Path, options: &EngineOptions, saved: Option<PathBuf>) -> Result<Engine, LoadError> {
        let threads = options.threads.map(std::num::NonZero::get);
        let context = options.context.map(std::num::NonZero::get);
        let load = LoadOptions { threads, context, kv: options.kv.into(), ..LoadOptions::default() };
        let model = Arc::new(Model::load(path, &load)?);
        let scheduler = Scheduler::new(
            model.clone(),
            &SchedulerOptions {
                threads,
                max_sequences: options.parallel.map(std::num::NonZero::get),
                context,
                queue: Some(limits::WORKER_GENERATIONS),
                saved,
                speculation: options.speculate.into(),
                seed: seed(),
                ..SchedulerOptions::default()
            },
        )?;
        let info = model.info();
        tracing::info!(
            "the model {} is ready: {}, {} M parameters in {}, context {}, {} threads with {} kernels",
            path.display(),
            info.architecture,
            (info.parameters + 500_000) / 1_000_000,
            info.quantization,
            scheduler.context(),
            scheduler.threads(),
            info.isa,
        );
        match scheduler.restored() {
            Ok(0) => {}
            Ok(pages) => tracing::info!("{pages} pages of keys and values are known from before"),
            Err(error) => tracing::warn!("conversations are computed anew: {error}"),
        }
        let name = path.file_stem().map_or_else(|| info.name.clone(), |stem| stem.to_string_lossy().into_owned());
        Ok(Engine { name, model, scheduler, generations: HashMap::new(), sequences: HashMap::new() })
    }

    /// What people call the model: its file's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Saves keys and values for the next engine. If it cannot be done, the next one computes them anew.
    pub(super) fn save(&self) {
        match self.scheduler.save() {
            Ok(0) => {}
            Ok(pages) => tracing::info!("{pages} pages of keys and values are saved"),
            Err(error) => tracing::warn!("keys and values cannot be saved, conversations are computed anew: {error}"),
        }
    }

    /// How long to wait for work before [`Engine::save_some`].
    pub(super) fn pause(&self) -> Duration {
        match self.scheduler.saving() {
            Saving::UpToDate => Duration::MAX,
            Saving::Due => limits::SAVE_PAUSE,
            Saving::Begun => Duration::ZERO,
        }
    }

    /// Saves a piece of the keys and values, for an engine that starts after a crash.
    pub(super) fn save_some(&mut self) {
        match self.scheduler.save_some() {
            Ok(None) => {}
            Ok(Some(pages)) => tracing::debug!("{pages} pages of keys and values are saved"),
            Err(error) => tracing::warn!("keys and values cannot be saved: {error}"),
        }
    }

    /// Whether there is anything for [`Engine::step`] to do.
    pub(super) fn has_work(&self) -> bool {
        !self.generations.is_empty()
    }

    /// Takes a generation on, or tells why not.
    pub(super) fn begin(&mut self, generate: Generate, tell: &mut dyn FnMut(Event)) {
        let Generate { generation, session, conversation, sampling } = generate;
        let asked = sampling.max_tokens.unwrap_or(limits::DEFAULT_ANSWER_TOKENS).max(1) as usize;
        let context = self.scheduler.context();
        let room = context - asked.min(context / ANSWER_PART).max(1);
        let turns = turns(conversation);
        let prompt = |room| chat::prompt(self.model.tokenizer(), self.model.template(), &turns, room);
        let prompted = match prompt(room) {
            // A message that fits into the context is answered, in what it leaves.
            Err(PromptError::TooLong { tokens, .. }) if tokens < context => prompt(context - 1),
            prompted => prompted,
        };
        let prompt = match prompted {
            Ok(prompt) => prompt,
            Err(error) => return tell(Event::Failed { generation, failure: unpromptable(&error, context) }),
        };
        if prompt.dropped_turns > 0 {
            let notice = GenerationNotice::ContextTrimmed { messages: saturate(prompt.dropped_turns) };
            tell(Event::Notice { generation, notice });
        }
        let session = Some(key(session));
        let submitted = options(self.model.sampling(), &sampling).and_then(|options| {
            let request = Request {
                prompt: prompt.tokens,
                sampling: options,
                max_tokens: asked,
                stop: sampling.stop,
                session,
                ..Request::default()
            };
            self.scheduler.submit(request).map_err(|error| unsubmittable(&error))
        });
        match submitted {
            Ok(sequence) => {
                self.generations.insert(sequence, generation);
                self.sequences.insert(generation, sequence);
            }
            Err(failure) => tell(Event::Failed { generation, failure }),
        }
    }

    /// Ends a generation in the next step. It may have ended already.
    pub(super) fn cancel(&mut self, generation: GenerationId) {
        if let Some(&sequence) = self.sequences.get(&generation) {
            self.scheduler.cancel(sequence);
        }
    }

    /// Forgets what was computed of a session.
    pub(super) fn forget(&mut self, session: SessionId) {
        self.scheduler.forget(key(session));
    }

    /// One step of everything that runs.
    pub(super) fn step(&mut self, tell: &mut dyn FnMut(Event)) {
        let Engine { scheduler, generations, sequences, .. } = self;
        scheduler.step(&mut |sequence, event| {
            let Some(&generation) = generations.get(&sequence) else { return };
            let event = match event {
                scheduler::Event::Text(text) => return tell(Event::Text { generation, text: text.to_owned() }),
                scheduler::Event::Token { .. } => return, // nobody asks for probabilities
                scheduler::Event::Finished { reason, usage, timings } => Event::Generated {
                    generation,
                    reason: finish_reason(reason),
                    usage: Usage {
                        prompt_tokens: saturate(usage.prompt_tokens),
                        cached_tokens: saturate(usage.cached_tokens),
                        completion_tokens: saturate(usage.completion_tokens),
                    },
                    timings: Timings {
                        first_token_ms: timings.first_token.as_secs_f32() * 1000.0,
                        tokens_per_second: timings.tokens_per_second,
                    },
                },
                scheduler::Event::Refused { error } => {
                    tracing::error!(%error, "a grammar was refused"); // the protocol has none yet
                    Event::Failed { generation, failure: GenerationFailure::Internal }
                }
                scheduler::Event::Failed { fault } => {
                    tracing::error!(%fault, "a generation has failed; its people were told");
                    Event::Failed { generation, failure: GenerationFailure::Internal }
                }
            };
            generations.remove(&sequence);
            sequences.remove(&generation);
            tell(event);
        });
    }
}

/// A session in the engine's terms.
fn key(session: SessionId) -> u128 {
    u128::from_be_bytes(session.0.0)
}

/// What the seeds of answers are made from whose people gave none.
fn seed() -> u64 {
    let mut seed = [0; 8];
    // Without randomness the answers are repeatable, which is no reason not to answer.
    let _ = getrandom::fill(&mut seed);
    u64::from_le_bytes(seed)
}

/// A session without a system prompt gets none, so that the model's own template says what it is used to.
fn turns(conversation: Conversation) -> Vec<Turn> {
    let system = conversation.system.map(|content| Turn { role: Speaker::System, content });
    let messages = conversation.turns.into_iter().map(|turn| {
        let role = match turn.role {
            MessageRole::User => Speaker::User,
            MessageRole::Assistant => Speaker::Assistant,
            MessageRole::System => Speaker::System,
        };
        Turn { role, content: turn.content }
    });
    system.into_iter().chain(messages).collect()
}

/// What was asked for, and what is the model's own where nothing was.
fn options(model: &SamplingOptions, sampling: &Sampling) -> Result<SamplingOptions, GenerationFailure> {
    let overrides = SamplingOverrides {
        temperature: sampling.temperature,
        top_k: sampling.top_k,
        top_p: sampling.top_p,
        min_p: sampling.min_p,
        repetition_penalty: sampling.repetition_penalty,
        seed: sampling.seed,
        ..SamplingOverrides::default()
    };
    model.clone().with(&overrides).map_err(|error| {
        // The core has checked them, by the same ranges.
        tracing::error!(%error, "the engine does not take what the core let through");
        GenerationFailure::Internal
    })
}

/// Of a prompt for a context of so many tokens.
fn unpromptable(error: &PromptError, context: usize) -> GenerationFailure {
    match error {
        PromptError::TooLong { tokens, .. } => {
            GenerationFailure::TooLong { prompt_tokens: saturate(*tokens), context: saturate(context) }
        }
        PromptError::Empty | PromptError::Template(_) => {
            tracing::error!(%error, "no prompt can be made of a conversation");
            GenerationFailure::Internal
        }
    }
}

fn unsubmittable(error: &SubmitError) -> GenerationFailure {
    match *error {
        SubmitError::Full { .. } => GenerationFailure::Overloaded,
        SubmitError::PromptTooLong { tokens, context } => {
            GenerationFailure::TooLong { prompt_tokens: saturate(tokens), context: saturate(context) }
        }
        _ => {
            tracing::error!(%error, "the engine does not take a request");
            GenerationFailure::Internal
        }
    }
}

fn finish_reason(reason: scheduler::FinishReason) -> FinishReason {
    match reason {
        scheduler::FinishReason::Stop => FinishReason::Stop,
        scheduler::FinishReason::Length => FinishReason::Length,
        scheduler::FinishReason::Stopped => FinishReason::Stopped,
    }
}

fn saturate(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
