//! One sequence: what was asked, how far it is, and what it tells.

use std::fmt;
use std::time::{Duration, Instant};

use super::choose::Chooser;
use crate::cache::{Cache, PageTable, Resumed};
use crate::grammar::{Compiled, Grammar, GrammarError, GrammarFault};
use crate::kernel::PAGE;
use crate::model::Model;
use crate::sampler::{Sampler, SamplingOptions, TokenLogprob};
use crate::stop::{StopError, StopFilter};
use crate::utf8::Utf8Decoder;

/// A sequence of a scheduler. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(pub(super) u64);

/// What is to be generated.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The tokens to go on from: at least one, and fewer than the context.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: SamplingOptions,
    /// What the answer must look like. The first request with a grammar waits until the model's tokens are sorted for it, and
    /// each new grammar is compiled; [`Grammars::compile`](crate::grammar::Grammars::compile) does so ahead, on any thread.
    pub grammar: Option<Grammar>,
    /// Tokens to generate, at most; the context is a limit too.
    pub max_tokens: usize,
    /// Text that ends the answer and is not part of it.
    pub stop: Vec<String>,
    /// The conversation that this is a turn of. What was generated in it is found in the cache by its later turns, and by
    /// nobody else; without it, an answer is found by none.
    pub session: Option<u128>,
}

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// Too many are waiting; try again later.
    Full {
        /// How many may.
        limit: usize,
    },
    /// There is no token to go on from.
    EmptyPrompt,
    /// No token is wanted.
    NoTokens,
    /// The prompt leaves no room for an answer.
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens that prompt and answer may have together.
        context: usize,
    },
    /// A token that the model does not know.
    UnknownToken {
        /// Its place in the prompt.
        at: usize,
        /// Its id.
        token: u32,
        /// Tokens that the model knows.
        vocabulary: usize,
    },
    /// The stop strings are too many, too long or empty.
    Stop(StopError),
    /// A token in the logit bias that the model does not know.
    UnknownBias {
        /// Its id.
        token: u32,
        /// Tokens that the model knows.
        vocabulary: usize,
    },
    /// The grammar is not usable.
    Grammar(GrammarError),
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { limit } => write!(f, "{limit} requests are waiting already; try again later"),
            Self::EmptyPrompt => f.write_str("the prompt is empty; give at least one token"),
            Self::NoTokens => f.write_str("no tokens are wanted; ask for at least one"),
            Self::PromptTooLong { tokens, context } => {
                write!(f, "the prompt has {tokens} tokens, and with its answer it may have {context}; shorten it")
            }
            Self::UnknownToken { at, token, vocabulary } => {
                write!(
                    f,
                    "token {token} at place {at} of the prompt is unknown: ids of this model are below {vocabulary}"
                )
            }
            Self::Stop(error) => error.fmt(f),
            Self::UnknownBias { token, vocabulary } => {
                write!(f, "token {token} of the logit bias is unknown: ids of this model are below {vocabulary}")
            }
            Self::Grammar(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SubmitError {}

/// What a sequence tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// A token of the answer, if the request asks for probabilities. Its text follows, but maybe only with later tokens:
    /// where a character is not complete, or where a stop string may have begun. What ends the model's turn is not told.
    Token {
        /// The token, and what the model thought of it.
        chosen: TokenLogprob,
        /// The likeliest tokens, the likeliest first; as many as were asked for.
        top: &'a [TokenLogprob],
    },
    /// More of the answer, in whole characters; never empty.
    Text(&'a str),
    /// The end: nothing more comes.
    Finished {
        /// Why.
        reason: FinishReason,
        /// Tokens that it took.
        usage: Usage,
        /// How fast it was.
        timings: Timings,
    },
    /// The end, because something broke.
    Failed {
        /// What.
        fault: SequenceFault,
    },
}

/// Why a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended its turn, a stop string came, or the grammar is complete.
    Stop,
    /// `max_tokens`, or the context is full.
    Length,
    /// It was cancelled.
    Stopped,
}

/// What can break in a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceFault {
    /// The model gives no number for any token: its file is damaged.
    NotFinite,
    /// The grammar cannot be followed any further.
    Grammar(GrammarFault),
}

impl fmt::Display for SequenceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite => f.write_str("the model's numbers are not finite; its file is damaged, fetch it again"),
            Self::Grammar(fault) => fault.fmt(f),
        }
    }
}

/// Tokens that a sequence took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: usize,
    /// Of those, found in the cache and left there by the same session. What others left is used as well, and not told.
    pub cached_tokens: usize,
    /// Generated, the one that ended the turn included.
    pub completion_tokens: usize,
}

/// How fast a sequence was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// From the submission to the first token, waiting included; zero if there was none.
    pub first_token: Duration,
    /// From the first token to the last.
    pub generation: Duration,
    /// Tokens a second after the first; zero if there were none.
    pub tokens_per_second: f32,
}

/// A request in the queue.
pub(super) struct Waiting {
    pub(super) id: SequenceId,
    pub(super) cancelled: bool,
    request: Request,
    grammar: Option<Compiled>,
    stop: StopFilter,
    submitted: Instant,
    /// Tokens that prompt and answer may have.
    limit: usize,
}

impl Waiting {
    pub(super) fn new(
        id: SequenceId,
        mut request: Request,
        context: usize,
        model: &Model,
    ) -> Result<Self, SubmitError> {
        let vocabulary = model.info().vocabulary_size;
        let tokens = request.prompt.len();
        if tokens == 0 {
            return Err(SubmitError::EmptyPrompt);
        }
        if request.max_tokens == 0 {
            return Err(SubmitError::NoTokens);
        }
        if tokens >= context {
            return Err(SubmitError::PromptTooLong { tokens, context });
        }
        if let Some(at) = request.prompt.iter().position(|&token| token as usize >= vocabulary) {
            return Err(SubmitError::UnknownToken { at, token: request.prompt[at], vocabulary });
        }
        if let Some(&(token, _)) = request.sampling.logit_bias().iter().find(|(token, _)| *token as usize >= vocabulary)
        {
            return Err(SubmitError::UnknownBias { token, vocabulary });
        }
        let submitted = Instant::now();
        let stop = StopFilter::new(std::mem::take(&mut request.stop)).map_err(SubmitError::Stop)?;
        let grammar = request.grammar.take().map(|grammar| model.grammars().compile(&grammar));
        let grammar = grammar.transpose().map_err(SubmitError::Grammar)?;
        let limit = tokens.saturating_add(request.max_tokens).min(context);
        Ok(Self { id, cancelled: false, request, grammar, stop, submitted, limit })
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn stopped(&self) -> Event<'static> {
        let usage = Usage { prompt_tokens: self.request.prompt.len(), ..Usage::default() };
        Event::Finished { reason: FinishReason::Stopped, usage, timings: Timings::default() }
    }

    pub(super) fn start(self, cache: &mut Cache, seed: u64) -> Sequence {
        let Request { prompt, sampling, session, .. } = self.request;
        let Resumed { table, known, own } = cache.resume(session, &prompt);
        Sequence {
            id: self.id,
            cancelled: false,
            ended: false,
            failed: false,
            forgotten: false,
            prompt: prompt.len(),
            tokens: prompt,
            cached: own,
            computed: known,
            planned: 0,
            table,
            limit: self.limit,
            chooser: Chooser::new(Sampler::new(&sampling, seed), self.grammar.map(|grammar| grammar.matcher())),
            decoder: Utf8Decoder::default(),
            stop: self.stop,
            decoded: String::new(),
            text: String::new(),
            submitted: self.submitted,
            first_token: None,
        }
    }
}

/// A running sequence.
pub(super) struct Sequence {
    pub(super) id: SequenceId,
    pub(super) cancelled: bool,
    /// It has told its end.
    pub(super) ended: bool,
    /// What it computed is no good.
    failed: bool,
    /// Its session is to be forgotten, when it has ended.
    pub(super) forgotten: bool,
    /// Tokens of the prompt.
    pub(super) prompt: usize,
    /// The prompt and what was generated.
    pub(super) tokens: Vec<u32>,
    /// Tokens that its session left in the cache.
    cached: usize,
    /// Tokens whose keys and values are in the cache.
    pub(super) computed: usize,
    /// Tokens that are computed in this step.
    pub(super) planned: usize,
    pub(super) table: PageTable,
    /// Tokens that prompt and answer may have.
    limit: usize,
    chooser: Chooser,
    decoder: Utf8Decoder,
    stop: StopFilter,
    /// What the last token decoded to; kept for its memory.
    decoded: String,
    /// What is to be told; kept for its memory.
    text: String,
    submitted: Instant,
    first_token: Option<Instant>,
}

impl Sequence {
    /// Tokens that are not yet computed: at least one.
    pub(super) fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Pages of the cache that it may come to need.
    pub(super) fn pages(&self) -> usize {
        self.limit.div_ceil(PAGE)
    }

    /// Chooses the next token from its row of logits, which changes. Touches nothing but the sequence's own, so several
    /// sequences may choose at once.
    pub(super) fn choose(&mut self, model: &Model, logits: &mut [f32]) {
        self.chooser.choose(model.tokenizer(), logits);
    }

    /// Takes the token that was chosen.
    pub(super) fn advance(&mut self, model: &Model, tell: &mut dyn FnMut(SequenceId, Event<'_>)) {
        let choice = match self.chooser.choice() {
            Ok(choice) => choice,
            Err(fault) => {
                // After a grammar's fault what was computed is sound.
                (self.ended, self.failed) = (true, fault == SequenceFault::NotFinite);
                return tell(self.id, Event::Failed { fault });
            }
        };
        let Some(token) = choice.token else { return self.finish(FinishReason::Stop, tell) };
        let tokenizer = model.tokenizer();
        let before = self.tokens.last().copied();
        self.tokens.push(token);
        self.first_token.get_or_insert_with(Instant::now);
        if tokenizer.is_end(token) {
            return self.finish(FinishReason::Stop, tell);
        }
        if let Some((chosen, top)) = self.chooser.logprobs() {
            tell(self.id, Event::Token { chosen, top });
        }
        if !tokenizer.is_control(token) {
            self.decoder.push(tokenizer.bytes_after(before, token), &mut self.decoded);
            self.stop.push(&self.decoded, &mut self.text);
            self.decoded.clear();
        }
        if self.stop.found().is_some() || choice.complete {
            self.finish(FinishReason::Stop, tell);
        } else if self.tokens.len() >= self.limit {
            self.finish(FinishReason::Length, tell);
        } else {
            self.tell_text(tell);
        }
    }

    /// Tells what is left of the text, and the end.
    pub(super) fn finish(&mut self, reason: FinishReason, tell: &mut dyn FnMut(SequenceId, Event<'_>)) {
        if self.stop.found().is_none() {
            self.decoder.finish(&mut self.decoded);
            self.stop.push(&self.decoded, &mut self.text);
            self.stop.finish(&mut self.text);
        }
        self.tell_text(tell);
        self.ended = true;
        tell(self.id, Event::Finished { reason, usage: self.usage(), timings: self.timings() });
    }

    fn tell_text(&mut self, tell: &mut dyn FnMut(SequenceId, Event<'_>)) {
        if !self.text.is_empty() {
            tell(self.id, Event::Text(&self.text));
            self.text.clear();
        }
    }

    /// What was planned is computed: full pages are there for others at once.
    pub(super) fn commit(&mut self, cache: &mut Cache) {
        self.computed += std::mem::take(&mut self.planned);
        if !self.failed {
            cache.publish(&mut self.table, &self.tokens[..self.computed]);
        }
    }

    /// Leaves its pages for later turns.
    pub(super) fn leave(mut self, cache: &mut Cache) {
        if self.failed {
            return cache.release(self.table);
        }
        if self.first_token.is_some() {
            self.table.vouch();
        }
        let session = self.table.session().filter(|_| self.forgotten);
        cache.keep(self.table, &self.tokens[..self.computed]);
        session.into_iter().for_each(|session| cache.forget(session));
    }

    fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: self.prompt,
            cached_tokens: self.cached,
            completion_tokens: self.tokens.len() - self.prompt,
        }
    }

    fn timings(&self) -> Timings {
        let Some(first) = self.first_token else { return Timings::default() };
        let generation = first.elapsed();
        let after_first = self.tokens.len() - self.prompt - 1;
        let tokens_per_second = if after_first > 0 { after_first as f32 / generation.as_secs_f32() } else { 0.0 };
        Timings { first_token: first.duration_since(self.submitted), generation, tokens_per_second }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::block::BlockType;
    use crate::cache::PAGE;
    use crate::kernel::Isa;
    use crate::model::tests::Tiny;
    use crate::scheduler::{Scheduler, SchedulerOptions};

    #[test]
    fn what_broke_is_not_kept() {
        const BROKEN: u32 = 39;
        let model = Tiny::new(BlockType::F32, 2).with_broken_token(BROKEN as usize).load(Isa::Scalar).unwrap();
        let options = SchedulerOptions { threads: Some(1), batch_tokens: Some(50), ..SchedulerOptions::default() };
        let mut scheduler = Scheduler::new(Arc::new(model), &options).unwrap();
        let mut prompt: Vec<u32> = (0..200).map(|i| i % 30).collect();
        prompt[70] = BROKEN;
        for _ in 0..2 {
            let request = Request { prompt: prompt.clone(), max_tokens: 5, session: Some(1), ..Request::default() };
            let id = scheduler.submit(request).unwrap();
            let mut told = Vec::new();
            while scheduler.step(&mut |of, event| told.push((of, matches!(event, Event::Failed { .. })))) {}
            assert_eq!(told, [(id, true)]);
        }
        let Resumed { known, .. } = scheduler.cache.resume(Some(1), &prompt);
        assert_eq!(known, PAGE, "the page before it is whole");
    }
}
