//! How one sequence chooses its tokens.

use super::constraint::Constraint;
use super::request::SequenceFault;
use super::speculation::MAX_DRAFTS;
use crate::grammar::Next;
use crate::kernel::Wanted;
use crate::sampler::{Candidates, Needs, Sampler, TokenLogprob};
use crate::tokenizer::Tokenizer;

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// The token; none where the grammar was complete already.
    pub(super) token: Option<u32>,
    /// Nothing may follow.
    pub(super) complete: bool,
}

/// A choice of this step, and the probabilities that belong to it.
struct Chosen {
    choice: Result<Choice, SequenceFault>,
    logprob: Option<TokenLogprob>,
    /// Behind its likeliest tokens in `top`.
    top_end: usize,
}

/// Chooses the tokens of one sequence, within its grammar if it has one.
///
/// All of this is the sequence's own, so several can choose at once on several threads.
pub(super) struct Chooser {
    sampler: Sampler,
    constraint: Option<Constraint>,
    /// What was chosen in this step, in order.
    chosen: Vec<Chosen>,
    /// The likeliest tokens of each choice, one after the other.
    top: Vec<TokenLogprob>,
}

impl Chooser {
    pub(super) fn new(sampler: Sampler, constraint: Option<Constraint>) -> Self {
        // Room for all choices of a step, so that none has to ask for memory.
        let top = Vec::with_capacity((1 + MAX_DRAFTS) * sampler.told());
        Self { sampler, constraint, chosen: Vec::with_capacity(1 + MAX_DRAFTS), top }
    }

    /// What holds it to a grammar, to be lent.
    pub(super) fn constraint(&mut self) -> &mut Option<Constraint> {
        &mut self.constraint
    }

    /// Chooses from rows of logits, which change: from the first, and from the one behind each draft that is what was chosen.
    /// So the sampler and the grammar see what they would see if each token were computed when the one before is known.
    pub(super) fn choose<'l>(
        &mut self,
        tokenizer: &Tokenizer,
        rows: impl IntoIterator<Item = &'l mut [f32]>,
        drafts: &[u32],
    ) {
        self.chosen.clear();
        self.top.clear();
        let drafts = drafts.iter().copied().map(Some).chain(std::iter::once(None));
        for (logits, draft) in rows.into_iter().zip(drafts) {
            let choice = self.try_choose(tokenizer, logits);
            let (logprob, top) = self.sampler.logprobs().unzip();
            self.top.extend_from_slice(top.unwrap_or_default());
            self.chosen.push(Chosen { choice, logprob, top_end: self.top.len() });
            let goes_on = choice.is_ok_and(|choice| {
                choice.token == draft && !choice.complete && !choice.token.is_some_and(|token| tokenizer.is_end(token))
            });
            if !goes_on {
                return;
            }
        }
    }

    /// What the likeliest tokens must be looked for, if these are enough; `None` if it takes all logits.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        if self.constraint.is_some() {
            return None;
        }
        match self.sampler.needs() {
            Needs::All => None,
            // Penalties are part of the search, so that no more are needed.
            Needs::Top { likely, .. } => Some(Wanted::Greatest(likely)),
            Needs::Near(distance) => Some(Wanted::Near(distance)),
        }
    }

    /// Chooses the tokens, and says what it will make of their logits.
    pub(super) fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// As [`Chooser::choose`], from the likeliest tokens of each row. It ends before a row of which too few are known; if that is
    /// the first one, nothing is chosen.
    pub(super) fn choose_among<'c>(
        &mut self,
        tokenizer: &Tokenizer,
        rows: impl IntoIterator<Item = Option<Candidates<'c>>>,
        drafts: &[u32],
    ) {
        self.chosen.clear();
        self.top.clear();
        let drafts = drafts.iter().copied().map(Some).chain(std::iter::once(None));
        for (among, draft) in rows.into_iter().zip(drafts) {
            let Some(token) = among.and_then(|among| self.sampler.sample_among(&among)) else { return };
            self.sampler.accept(token);
            let choice = Ok(Choice { token: Some(token), complete: false });
            self.chosen.push(Chosen { choice, logprob: None, top_end: 0 });
            if Some(token) != draft || tokenizer.is_end(token) {
                return;
            }
        }
    }

    fn try_choose(&mut self, tokenizer: &Tokenizer, logits: &mut [f32]) -> Result<Choice, SequenceFault> {
        if !logits.iter().any(|logit| logit.is_finite()) {
            return Err(SequenceFault::NotFinite);
        }
        let Some(constraint) = &mut self.constraint else {
            let token = self.sampler.sample(logits);
            self.sampler.accept(token);
            return Ok(Choice { token: Some(token), complete: false });
        };
        let token = match constraint.allowed().map_err(SequenceFault::Grammar)? {
            Next::Tokens(allowed) => self.sampler.sample_allowed(logits, allowed),
            Next::End => return Ok(Choice { token: None, complete: true }),
        };
        self.sampler.accept(token);
        if tokenizer.is_end(token) {
            return Ok(Choice { token: Some(token), complete: true });
        }
        let complete = constraint.accept(token).map_err(SequenceFault::Grammar)?;
        Ok(Choice { token: Some(token), complete })
    }

    /// Forgets the choices of a step.
    pub(super) fn clear(&mut self) {
        self.chosen.clear();
    }

    /// How many choices there were in this step.
    pub(super) fn count(&self) -> usize {
        self.chosen.len()
    }

    /// A choice of this step.
    ///
    /// # Panics
    /// If there were not so many.
    pub(super) fn choice(&self, number: usize) -> Result<Choice, SequenceFault> {
        self.chosen[number].choice
    }

    /// The tokens that were chosen in this step.
    pub(super) fn tokens(&self) -> impl Iterator<Item = u32> {
        self.chosen.iter().map_while(|chosen| chosen.choice.ok()?.token)
    }

    /// The probabilities of a choice of this step, if the request asks for them.
    pub(super) fn logprobs(&self, number: usize) -> Option<(TokenLogprob, &[TokenLogprob])> {
        let start = number.checked_sub(1).map_or(0, |before| self.chosen[before].top_end);
        let chosen = &self.chosen[number];
        Some((chosen.logprob?, &self.top[start..chosen.top_end]))
    }
}
