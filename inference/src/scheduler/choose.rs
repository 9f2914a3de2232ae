//! How one sequence chooses its tokens.

use super::sequence::SequenceFault;
use crate::grammar::{Matcher, Next};
use crate::sampler::{Sampler, TokenLogprob};
use crate::tokenizer::Tokenizer;

/// What was chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// The token; none where the grammar was complete already.
    pub(super) token: Option<u32>,
    /// Nothing may follow.
    pub(super) complete: bool,
}

/// Chooses the tokens of one sequence, within its grammar if it has one.
///
/// All of this is the sequence's own, so several can choose at once on several threads.
pub(super) struct Chooser {
    sampler: Sampler,
    matcher: Option<Matcher>,
    choice: Result<Choice, SequenceFault>,
}

impl Chooser {
    pub(super) fn new(sampler: Sampler, matcher: Option<Matcher>) -> Self {
        Self { sampler, matcher, choice: Ok(Choice::default()) }
    }

    /// Chooses the next token from a row of logits, which changes.
    pub(super) fn choose(&mut self, tokenizer: &Tokenizer, logits: &mut [f32]) {
        self.choice = self.try_choose(tokenizer, logits);
    }

    fn try_choose(&mut self, tokenizer: &Tokenizer, logits: &mut [f32]) -> Result<Choice, SequenceFault> {
        if !logits.iter().any(|logit| logit.is_finite()) {
            return Err(SequenceFault::NotFinite);
        }
        let Some(matcher) = &mut self.matcher else {
            let token = self.sampler.sample(logits);
            self.sampler.accept(token);
            return Ok(Choice { token: Some(token), complete: false });
        };
        let token = match matcher.allowed().map_err(SequenceFault::Grammar)? {
            Next::Tokens(allowed) => self.sampler.sample_allowed(logits, allowed),
            Next::End => return Ok(Choice { token: None, complete: true }),
        };
        self.sampler.accept(token);
        if tokenizer.is_end(token) {
            return Ok(Choice { token: Some(token), complete: true });
        }
        matcher.accept(token).map_err(SequenceFault::Grammar)?;
        Ok(Choice { token: Some(token), complete: matcher.is_complete() })
    }

    /// What was chosen last.
    pub(super) fn choice(&self) -> Result<Choice, SequenceFault> {
        self.choice
    }

    /// The probabilities of that step, if the request asks for them.
    pub(super) fn logprobs(&self) -> Option<(TokenLogprob, &[TokenLogprob])> {
        self.sampler.logprobs()
    }
}
