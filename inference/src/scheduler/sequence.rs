//! One sequence: what was asked, how far it is, and what it tells.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::choose::Chooser;
use super::constraint::{Coming, Compiler, Constraint};
use super::request::{Event, FinishReason, Request, SequenceFault, SequenceId, SubmitError, Timings, Usage};
use super::speculation::Speculator;
use crate::cache::{Cache, PageTable, Resumed};
use crate::forward::{Output, Work};
use crate::grammar::GrammarError;
use crate::kernel::{PAGE, Wanted};
use crate::model::Model;
use crate::sampler::Sampler;
use crate::stop::StopFilter;
use crate::utf8::Utf8Decoder;

/// Bytes of text that a sequence has room for from its beginning: several of the longest tokens that models have.
const TEXT: usize = 1 << 10;

/// A request in the queue.
pub(super) struct Waiting {
    pub(super) id: SequenceId,
    pub(super) cancelled: bool,
    request: Request,
    grammar: Option<Coming>,
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
        model: &Arc<Model>,
        compiler: &mut Compiler,
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
        let grammar = request.grammar.take().map(|grammar| compiler.ask(model, grammar));
        let grammar = grammar.transpose().map_err(SubmitError::Grammar)?;
        let limit = tokens.saturating_add(request.max_tokens).min(context);
        Ok(Self { id, cancelled: false, request, grammar, stop, submitted, limit })
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether it can begin, as far as its grammar goes.
    pub(super) fn is_ready(&mut self) -> bool {
        self.grammar.as_mut().is_none_or(Coming::is_here)
    }

    /// Waits a while for its grammar.
    pub(super) fn wait(&mut self, time: Duration) {
        if let Some(grammar) = &mut self.grammar {
            grammar.wait(time);
        }
    }

    /// What is wrong with its grammar.
    pub(super) fn refused(&self) -> Option<&GrammarError> {
        match &self.grammar {
            Some(Coming::Refused(error)) => Some(error),
            _ => None,
        }
    }

    pub(super) fn stopped(&self) -> Event<'static> {
        let usage = Usage { prompt_tokens: self.request.prompt.len(), ..Usage::default() };
        Event::Finished { reason: FinishReason::Stopped, usage, timings: Timings::default() }
    }

    /// # Panics
    /// If it is not ready, or refused.
    pub(super) fn start(self, cache: &mut Cache, seed: u64, speculates: bool) -> Sequence {
        let constraint = self.grammar.map(|grammar| match grammar {
            Coming::Ready(compiled) => Constraint::From(compiled),
            Coming::Compiling(_) | Coming::Refused(_) => panic!("a sequence begins with its grammar compiled"),
        });
        let Request { mut prompt, sampling, session, .. } = self.request;
        let Resumed { mut table, known, own } = cache.resume(session, &prompt);
        prompt.reserve_exact(self.limit - prompt.len());
        table.expect(self.limit);
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
            chooser: Chooser::new(Sampler::new(&sampling, seed), constraint),
            speculator: speculates.then(|| Speculator::new(self.limit)),
            decoder: Utf8Decoder::default(),
            stop: self.stop,
            decoded: String::with_capacity(TEXT),
            text: String::with_capacity(TEXT),
            submitted: self.submitted,
            first_token: None,
        }
    }
}

/// What a sequence wants of its rows, where the likeliest tokens are enough.
#[derive(Clone, Copy)]
pub(super) struct Likeliest<'a> {
    /// Of each row.
    pub(super) wanted: Wanted,
    sampler: &'a Sampler,
    drafts: &'a [u32],
}

impl Likeliest<'_> {
    /// What the sampler will make of a logit of its `number`-th row.
    pub(super) fn lowered(&self, number: usize, token: u32, logit: f32) -> f32 {
        self.sampler.adjusted_after(&self.drafts[..number], token, logit)
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
    speculator: Option<Speculator>,
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

    /// What its rows of this step are computed for.
    pub(super) fn work(&self) -> Work {
        if self.computed < self.prompt { Work::Prompt } else { Work::Generation }
    }

    /// Pages of the cache that it may come to need.
    pub(super) fn pages(&self) -> usize {
        self.limit.div_ceil(PAGE)
    }

    /// Whether tokens can be guessed: it is generating, and there is one to be chosen behind that of its row.
    fn may_guess(&self) -> bool {
        self.work() == Work::Generation && self.tokens.len() + 1 < self.limit
    }

    /// Guesses up to `room` tokens that follow, to be computed in this step; gives how many. See [`Speculator::guess`].
    pub(super) fn guess(&mut self, room: usize, worthwhile: Option<f32>) -> usize {
        let may_guess = self.may_guess();
        let Some(speculator) = &mut self.speculator else { return 0 };
        if !may_guess {
            speculator.withdraw();
            return 0;
        }
        speculator.guess(&self.tokens, room.min(self.limit - self.tokens.len() - 1), worthwhile);
        speculator.drafts().len()
    }

    /// What is computed ahead in this step.
    fn drafts(&self) -> &[u32] {
        self.speculator.as_ref().map_or(&[], Speculator::drafts)
    }

    /// The rows of this step: the token of each, its position, and whether its logits are wanted.
    pub(super) fn rows(&self) -> impl Iterator<Item = (u32, usize, bool)> {
        let known = self.tokens[self.computed..].iter().chain(self.drafts()).take(self.planned);
        let last = self.tokens.len() - 1;
        known.copied().zip(self.computed..).map(move |(token, position)| (token, position, position >= last))
    }

    /// Rows of this step whose logits are wanted.
    pub(super) fn choices(&self) -> usize {
        (self.computed + self.planned + 1).saturating_sub(self.tokens.len())
    }

    /// What holds it to a grammar, to be lent while its rows are computed.
    pub(super) fn constraint(&mut self) -> &mut Option<Constraint> {
        self.chooser.constraint()
    }

    /// Chooses the next token from its row of logits, and those that follow where they were guessed right. Touches nothing
    /// but the sequence's own, so several sequences may choose at once. The rows, of `vocabulary` each, change.
    pub(super) fn choose(&mut self, model: &Model, logits: &mut [f32], vocabulary: usize) {
        let drafts = self.speculator.as_ref().map_or(&[][..], Speculator::drafts);
        self.chooser.choose(model.tokenizer(), logits.chunks_exact_mut(vocabulary), drafts);
        if let Some(speculator) = &mut self.speculator {
            speculator.learn(self.chooser.tokens());
        }
    }

    /// What it takes for [`Sequence::choose_among`]; `None` if that is all logits.
    pub(super) fn likeliest(&self) -> Option<Likeliest<'_>> {
        Some(Likeliest { wanted: self.chooser.wanted()?, sampler: self.chooser.sampler(), drafts: self.drafts() })
    }

    /// As [`Sequence::choose`], from the likeliest tokens of its rows, the first of which is `row`; if too few are
    /// known, nothing is chosen.
    pub(super) fn choose_among(&mut self, model: &Model, output: &Output<'_>, row: usize) {
        let rows = (row..row + self.choices()).map(|row| output.found(row));
        let drafts = self.speculator.as_ref().map_or(&[][..], Speculator::drafts);
        self.chooser.choose_among(model.tokenizer(), rows, drafts);
        if let (true, Some(speculator)) = (self.has_chosen(), &mut self.speculator) {
            speculator.learn(self.chooser.tokens());
        }
    }

    /// Whether it has chosen in this step.
    pub(super) fn has_chosen(&self) -> bool {
        self.chooser.count() > 0
    }

    /// Takes the tokens that were chosen, up to the end. Of what was computed, what they follow on is kept.
    pub(super) fn advance(&mut self, model: &Model, tell: &mut dyn FnMut(SequenceId, Event<'_>)) {
        let computed = self.planned - self.choices();
        let mut taken = 0;
        while taken < self.chooser.count() && !self.ended {
            self.take(taken, model, tell);
            taken += 1;
        }
        self.planned = computed + taken;
        self.chooser.clear();
    }

    /// Takes one of the tokens that were chosen.
    fn take(&mut self, number: usize, model: &Model, tell: &mut dyn FnMut(SequenceId, Event<'_>)) {
        let choice = match self.chooser.choice(number) {
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
        if let Some((chosen, top)) = self.chooser.logprobs(number) {
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
            // What the model itself ends in the middle of a character is its own mistake; one that is cut there is none.
            if reason == FinishReason::Stop {
                self.decoder.finish(&mut self.decoded);
            }
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
        if let Some(constraint) = self.chooser.constraint().take() {
            constraint.leave();
        }
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
