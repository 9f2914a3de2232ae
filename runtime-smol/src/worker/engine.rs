//! The model with its scheduler, in the terms of the protocol: generations in, events out.

mod embed;
mod task;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use causerie_core::{
    FinishReason, GenerationFailure, GenerationId, GenerationNotice, MessageRole, Sampling, SessionId,
};
use causerie_core::{Timings, Usage};
use causerie_inference::chat::{self, Prompt, PromptError, Speaker, Turn};
use causerie_inference::scheduler;
use causerie_inference::{
    LoadError, LoadOptions, Model, Request, SamplingOptions, SamplingOverrides, Saving, Scheduler, SchedulerOptions,
    SequenceId, SubmitError,
};

use super::task::Asked;
use super::{Event, Generate};
use crate::config::EngineOptions;
use crate::limits;
use crate::store::{Conversation, ConversationTurn};
use embed::Tokenizing;

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
    tasks: HashMap<SequenceId, Asked>,
    /// Come to the scheduler when they are tokens.
    tokenizing: VecDeque<Tokenizing>,
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
                queue: Some(limits::WORKER_GENERATIONS + limits::WORKER_TASKS),
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
        let (generations, sequences, tasks) = (HashMap::new(), HashMap::new(), HashMap::new());
        let tokenizing = VecDeque::new();
        Ok(Engine { name, model, scheduler, generations, sequences, tasks, tokenizing })
    }

    /// What people call the model: its file's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Tokens of one conversation.
    pub(super) fn context(&self) -> usize {
        self.scheduler.context()
    }

    /// Saves keys and values for the next engine. If it cannot be done, the next one computes them anew.
    pub(super) fn save(&self) {
        match self.scheduler.save() {
            Ok(0) => {}
            Ok(pages) => tracing::info!("{pages} pages of keys and values are saved"),
            Err(error) => tracing::warn!("keys and values cannot be saved, conversations are computed anew: {error}"),
        }
    }

    /// Sequences that run, and that wait.
    pub(super) fn load_now(&self) -> (usize, usize) {
        self.scheduler.load()
    }

    /// Pages of keys and values in use, and their limit.
    pub(super) fn pages(&self) -> (usize, usize) {
        self.scheduler.pages()
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
        !(self.generations.is_empty() && self.tasks.is_empty() && self.tokenizing.is_empty())
    }

    /// Takes a generation on, or tells why not.
    pub(super) fn begin(&mut self, generate: Generate, tell: &mut dyn FnMut(Event)) {
        let Generate { generation, session, conversation, sampling } = generate;
        let asked = answer_tokens(sampling.max_tokens);
        let context = self.scheduler.context();
        let turns = turns(conversation);
        let prompt = |room| chat::prompt(self.model.tokenizer(), self.model.template(), &turns, room);
        let prompt = match self.prompt(prompt, asked) {
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

    /// The prompt for an answer of so many tokens, if there is room for them; `prompt` makes it, of so many tokens at most.
    fn prompt(
        &self,
        prompt: impl Fn(usize) -> Result<Prompt, PromptError>,
        asked: usize,
    ) -> Result<Prompt, PromptError> {
        let context = self.scheduler.context();
        let room = context - asked.min(context / ANSWER_PART).max(1);
        match prompt(room) {
            // A message that fits into the context is answered, in what it leaves.
            Err(PromptError::TooLong { tokens, .. }) if tokens < context => prompt(context - 1),
            prompted => prompted,
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
        self.tokenize_some();
        let Engine { model, scheduler, generations, sequences, tasks, .. } = self;
        task::cancel_unheard(scheduler, tasks);
        scheduler.step(&mut |sequence, event| {
            let Some(&generation) = generations.get(&sequence) else {
                return task::tell(tasks, model.tokenizer(), sequence, event);
            };
            let event = match event {
                scheduler::Event::Text(text) => return tell(Event::Text { generation, text: text.to_owned() }),
                // Nobody asks for these.
                scheduler::Event::Token { .. } | scheduler::Event::Embedded { .. } => return,
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

/// Tokens of an answer, as asked for or by default.
fn answer_tokens(asked: Option<u32>) -> usize {
    asked.unwrap_or(limits::DEFAULT_ANSWER_TOKENS).max(1) as usize
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

/// A session without a system prompt gets none, so that the model's own template says what it is used to. Where several
/// people speak, the model is told who says what; where one does, nothing stands before the words, as models are used to.
/// What a turn becomes changes once at most, when a second person speaks for the first time, so that what the cache knows
/// stays of use.
fn turns(conversation: Conversation) -> Vec<Turn> {
    let mut people = conversation.turns.iter().filter_map(speaker);
    let first = people.next();
    let several = people.any(|other| Some(other) != first);
    let system = conversation.system.map(|content| Turn { role: Speaker::System, content });
    let messages = conversation.turns.into_iter().map(|turn| {
        let role = match turn.role {
            MessageRole::User => Speaker::User,
            MessageRole::Assistant => Speaker::Assistant,
            MessageRole::System => Speaker::System,
        };
        let content = match speaker(&turn).filter(|_| several) {
            Some(name) => format!("{name}: {}", turn.content),
            None => turn.content,
        };
        Turn { role, content }
    });
    system.into_iter().chain(messages).collect()
}

/// The person who wrote a message.
fn speaker(turn: &ConversationTurn) -> Option<&str> {
    turn.username.as_deref().filter(|_| turn.role == MessageRole::User)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(turns: &[(MessageRole, Option<&str>, &str)]) -> Vec<String> {
        let turn = |&(role, username, content): &(MessageRole, Option<&str>, &str)| ConversationTurn {
            role,
            username: username.map(str::to_owned),
            content: content.to_owned(),
        };
        let conversation =
            Conversation { system: Some("Be brief.".to_owned()), turns: turns.iter().map(turn).collect(), cut: false };
        super::turns(conversation).into_iter().map(|turn| turn.content).collect()
    }

    #[test]
    fn the_model_is_told_who_speaks_where_several_people_do() {
        let (user, assistant) = (MessageRole::User, MessageRole::Assistant);
        let alone = [(user, Some("ada"), "Hi"), (assistant, None, "Hello."), (user, Some("ada"), "Bye")];
        assert_eq!(said(&alone), ["Be brief.", "Hi", "Hello.", "Bye"]);
        let two = [alone[0], alone[1], alone[2], (user, Some("bob"), "Wait: why?")];
        let expected = ["Be brief.", "ada: Hi", "Hello.", "ada: Bye", "bob: Wait: why?"];
        assert_eq!(said(&two), expected);
        let three = [&two[..], &[(assistant, None, "Well."), (user, Some("eve"), "Hm")]].concat();
        assert_eq!(said(&three)[..5], expected, "what was said before stays as it was");
        assert_eq!(said(&three)[5..], ["Well.", "eve: Hm"]);
    }
}
