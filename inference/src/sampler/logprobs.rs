//! What the model thought of the tokens, for those who ask.

use super::candidates::{Candidate, Scan};
use super::exp::sum_exp;

/// A token and the logarithm of its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub token: u32,
    /// The natural logarithm of the probability that the model itself gives it: before bias, penalties, temperature,
    /// filters and grammar. -inf for an impossible token.
    pub logprob: f32,
}

/// The likeliest tokens of the last step, and the one that was drawn. Kept for its memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Logprobs {
    pub(super) chosen: Option<TokenLogprob>,
    pub(super) top: Vec<TokenLogprob>,
    /// Logarithm of the sum of exponentials.
    log_sum: f64,
    /// Tokens whose logits are about to change, with what they were.
    before: Vec<(u32, f32)>,
    found: Vec<Candidate>,
}

impl Logprobs {
    /// For steps that change so many logits at most.
    pub(super) fn new(changing: usize) -> Self {
        Self { before: Vec::with_capacity(changing), ..Self::default() }
    }

    /// Looks at logits that nothing has changed yet, of which `changing` will be.
    pub(super) fn look(&mut self, scan: &mut Scan, logits: &[f32], top: usize, changing: impl Iterator<Item = u32>) {
        self.chosen = None;
        self.top.clear();
        self.before.clear();
        let Some(best) = scan.pass(logits) else { return };
        self.log_sum = f64::from(best.logit) + sum_exp(logits, best.logit).ln();
        self.before.extend(changing.filter_map(|token| Some((token, *logits.get(token as usize)?))));
        if top > 0 {
            scan.keep_greatest(&mut self.found, logits, top);
            let log_sum = self.log_sum;
            self.top.extend(self.found.iter().map(|c| logprob(c.id, c.logit, log_sum)));
        }
    }

    /// Tells what was drawn; `logits` may have changed where [`Logprobs::look`] was told.
    pub(super) fn choose(&mut self, token: u32, logits: &[f32]) {
        let before = self.before.iter().find(|&&(changed, _)| changed == token).map(|&(_, logit)| logit);
        let logit = before.or(logits.get(token as usize).copied());
        self.chosen = Some(logprob(token, logit.unwrap_or(f32::NEG_INFINITY), self.log_sum));
    }
}

fn logprob(token: u32, logit: f32, log_sum: f64) -> TokenLogprob {
    let logprob = Candidate::new(token, logit).map_or(f32::NEG_INFINITY, |c| (f64::from(c.logit) - log_sum) as f32);
    TokenLogprob { token, logprob }
}
