//! From logits to the next token.
//!
//! The order is that of llama.cpp's default chain: bias, penalties, top-k, top-p, min-p, temperature, draw. Top-p and
//! min-p therefore look at the probabilities before the temperature changes them. A temperature of 0 takes the
//! likeliest token after the penalties, the lowest id of equals. Where a grammar allows only some tokens, the others count as
//! impossible from the filters on.
//!
//! The same seed, options and logits give the same token on every machine: the random numbers are integer arithmetic
//! (xoshiro256++), the exponential is our own, and no order depends on a hash or on a sorting algorithm.
//!
//! An output head that finds the likeliest tokens without computing all logits asks [`Sampler::needs`] whether these
//! are enough, and gives them to [`Sampler::sample_among`], which says if they were not.

mod candidates;
mod exp;
mod logprobs;
mod options;
mod rng;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use candidates::{Candidate, Scan};
pub use candidates::{Candidates, Needs};
use candidates::{Weights, weight};
use exp::sum_exp;
use logprobs::Logprobs;
pub use logprobs::TokenLogprob;
pub use options::{
    MAX_LOGIT_BIAS, MAX_LOGPROBS, MAX_REPETITION_WINDOW, MAX_TEMPERATURE, SamplingError, SamplingOptions,
    SamplingOverrides,
};
use rng::Rng;
use window::Window;

/// How far below the greatest logit top-p looks first, when it must look at a whole vocabulary, and then: tokens further
/// down have less than e^-8 of the likeliest one's probability, and few distributions need them.
const TOP_P_DEPTHS: [f32; 3] = [8.0, 16.0, f32::INFINITY];

/// One allowed token in so many, or fewer: they are taken out one by one. More: the others are struck out instead.
const SPARSE: usize = 8;

/// Candidates that a sampler has room for from its beginning: more than most steps leave.
const CANDIDATES: usize = 1 << 10;

/// Chooses the tokens of one sequence. Once its buffers have grown, with the first tokens, it allocates nothing.
#[derive(Debug, Clone)]
pub struct Sampler {
    options: SamplingOptions,
    rng: Rng,
    window: Window,
    scan: Scan,
    candidates: Vec<Candidate>,
    weights: Weights,
    logprobs: Logprobs,
}

impl Sampler {
    /// A sampler that draws with the seed of `options`, or with `seed` where they name none.
    pub fn new(options: &SamplingOptions, seed: u64) -> Self {
        let window = if options.penalizes() { options.repetition_window() as usize } else { 0 };
        Self {
            rng: Rng::new(options.seed().unwrap_or(seed)),
            window: Window::new(window),
            scan: Scan::default(),
            candidates: Vec::with_capacity(CANDIDATES),
            weights: Weights::default(),
            logprobs: Logprobs::new(window + options.logit_bias().len()),
            options: options.clone(),
        }
    }

    /// Tells of a token that now stands in the text, so that the penalties see it. To be called for every token that
    /// was sampled; whether for the prompt's too is the caller's choice (its special tokens should be left out, or
    /// the model is kept from ending its turn).
    pub fn accept(&mut self, token: u32) {
        self.window.push(token);
    }

    /// The next token's id. `logits` has one entry per token of the vocabulary, and is changed. An entry that is no
    /// number counts as impossible; if all are, or there is none, the answer is 0.
    pub fn sample(&mut self, logits: &mut [f32]) -> u32 {
        self.look(logits);
        self.adjust(logits);
        let token = self.pick(logits).unwrap_or(0);
        self.tell(token, logits)
    }

    /// The next token's id, of those that are allowed: token `i` is if bit `i % 32` of word `i / 32` is set. As
    /// [`Sampler::sample`] otherwise; if no allowed token is possible, it is the first allowed one, and 0 if there is none.
    pub fn sample_allowed(&mut self, logits: &mut [f32], allowed: &[u32]) -> u32 {
        self.look(logits);
        self.adjust(logits);
        let count: usize = allowed.iter().map(|word| word.count_ones() as usize).sum();
        let token = if count * SPARSE <= logits.len() {
            self.pick_allowed(logits, allowed)
        } else {
            strike_out(logits, allowed);
            self.pick(logits)
        };
        let token = token.or_else(|| allowed_ids(allowed).next()).unwrap_or(0);
        self.tell(token, logits)
    }

    /// What [`Sampler::sample_among`] must be given for the next token.
    pub fn needs(&self) -> Needs {
        let o = &self.options;
        if o.logprobs().is_some() || self.raises() {
            return Needs::All;
        }
        let lowered = self.window.counts().len() + o.logit_bias().len();
        let top = |k: usize| Needs::Top { likely: k, sure: k.saturating_add(lowered) };
        if o.temperature() == 0.0 {
            top(1)
        } else if o.top_k() > 0 {
            top(o.top_k() as usize)
        } else if o.top_p() == 1.0 && o.min_p() > 0.0 {
            Needs::Near(-o.min_p().ln())
        } else {
            Needs::All
        }
    }

    /// The next token's id, the same that [`Sampler::sample`] gives for all logits; `None` if it takes more of them than
    /// these to tell, and then nothing has changed.
    ///
    /// # Panics
    /// If there are not as many logits as ids.
    pub fn sample_among(&mut self, among: &Candidates<'_>) -> Option<u32> {
        assert_eq!(among.ids.len(), among.logits.len(), "every candidate has a logit");
        if self.needs() == Needs::All {
            return None;
        }
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        let adjusted = among.ids.iter().zip(among.logits).map(|(&id, &logit)| (id, self.adjusted(id, logit)));
        candidates.extend(adjusted.filter_map(|(id, logit)| Candidate::new(id, logit)));
        candidates.sort_unstable_by(Candidate::order);
        self.candidates = candidates;
        let best = *self.candidates.first()?;
        if !self.suffices(best, among.bound) {
            return None;
        }
        if self.options.temperature() == 0.0 {
            return Some(best.id);
        }
        let (top_k, least) = (self.options.top_k() as usize, self.least(best));
        if top_k == 0 {
            self.candidates.retain(|candidate| candidate.logit >= least);
            self.candidates.sort_unstable_by_key(|candidate| candidate.id); // in which order all logits are drawn from
        } else {
            self.candidates.truncate(top_k);
            self.narrow(best, least);
        }
        Some(self.draw(best.logit))
    }

    /// Of the last token that was sampled, if the options ask for it: its own probability, and the likeliest tokens', the
    /// likeliest first.
    pub fn logprobs(&self) -> Option<(TokenLogprob, &[TokenLogprob])> {
        self.logprobs.chosen.map(|chosen| (chosen, &self.logprobs.top[..]))
    }

    /// How many likeliest tokens [`Sampler::logprobs`] tells of.
    pub(crate) fn told(&self) -> usize {
        self.options.logprobs().unwrap_or(0) as usize
    }

    fn look(&mut self, logits: &[f32]) {
        if let Some(top) = self.options.logprobs() {
            let bias = self.options.logit_bias().iter().map(|&(token, _)| token);
            let changing = bias.chain(self.window.counts().iter().map(|&(token, _)| token));
            self.logprobs.look(&mut self.scan, logits, top as usize, changing);
        }
    }

    fn tell(&mut self, token: u32, logits: &[f32]) -> u32 {
        if self.options.logprobs().is_some() {
            self.logprobs.choose(token, logits);
        }
        token
    }

    /// Bias, and penalties as in Keskar et al. 2019 (CTRL, section 4.1) and OpenAI's presence and frequency penalties.
    fn adjust(&self, logits: &mut [f32]) {
        for &(token, bias) in self.options.logit_bias() {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = biased(*logit, bias);
            }
        }
        for &(token, count) in self.window.counts() {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = self.penalized(*logit, count);
            }
        }
    }

    /// What bias and penalties make of one logit.
    fn adjusted(&self, token: u32, logit: f32) -> f32 {
        self.adjusted_after(&[], token, logit)
    }

    /// What bias and penalties will make of one logit when these tokens, too, stand in the text.
    pub(crate) fn adjusted_after(&self, ahead: &[u32], token: u32, logit: f32) -> f32 {
        let biases = self.options.logit_bias().iter().filter(|&&(biased, _)| biased == token);
        let logit = biases.fold(logit, |logit, &(_, bias)| biased(logit, bias));
        let ahead = if self.window.is_used() { ahead } else { &[] };
        match self.window.count(token) + ahead.iter().filter(|&&ahead| ahead == token).count() as u32 {
            0 => logit,
            count => self.penalized(logit, count),
        }
    }

    /// What is impossible (-inf, by a mask) stays so, and nothing else becomes so.
    fn penalized(&self, logit: f32, count: u32) -> f32 {
        if !logit.is_finite() {
            return logit;
        }
        let (presence, frequency) = (self.options.presence_penalty(), self.options.frequency_penalty());
        let repetition = self.options.repetition_penalty();
        let scaled = if logit > 0.0 { logit / repetition } else { logit * repetition };
        (scaled - (presence + frequency * count as f32)).clamp(f32::MIN, f32::MAX)
    }

    /// Whether a token that is not among the likeliest may come to be by bias or penalties.
    fn raises(&self) -> bool {
        let o = &self.options;
        o.logit_bias().iter().any(|&(_, bias)| bias > 0.0)
            || (!self.window.counts().is_empty()
                && (o.presence_penalty() < 0.0 || o.frequency_penalty() < 0.0 || o.repetition_penalty() < 1.0))
    }

    /// Whether the candidates, sorted, hold all that can be drawn when no other token exceeds `bound`.
    fn suffices(&self, best: Candidate, bound: f32) -> bool {
        let o = &self.options;
        // Strictly: of equals a lower id might be among the others.
        let above = |place: usize| self.candidates.get(place).is_some_and(|candidate| candidate.logit > bound);
        let all = bound == f32::NEG_INFINITY;
        let near = o.top_p() == 1.0 && o.min_p() > 0.0 && self.least(best) > bound;
        match (o.temperature() == 0.0, o.top_k() as usize) {
            (true, _) => all || above(0),
            (false, 0) => all || near,
            (false, k) => all || near || above(k - 1),
        }
    }

    /// The least logit that min-p lets pass.
    fn least(&self, best: Candidate) -> f32 {
        let min_p = f64::from(self.options.min_p());
        if min_p > 0.0 { (f64::from(best.logit) + min_p.ln()) as f32 } else { f32::MIN }
    }

    /// A token of those that the filters let pass; `None` if none is possible.
    fn pick(&mut self, logits: &[f32]) -> Option<u32> {
        let best = self.scan.pass(logits)?;
        if self.options.temperature() == 0.0 {
            return Some(best.id);
        }
        self.filter(logits, best);
        Some(self.draw(best.logit))
    }

    /// As [`Sampler::pick`], looking at allowed tokens alone.
    fn pick_allowed(&mut self, logits: &[f32], allowed: &[u32]) -> Option<u32> {
        self.candidates.clear();
        let possible = allowed_ids(allowed).filter_map(|id| Candidate::new(id, *logits.get(id as usize)?));
        self.candidates.extend(possible);
        let best = *self.candidates.iter().min_by(|a, b| a.order(b))?;
        if self.options.temperature() == 0.0 {
            return Some(best.id);
        }
        let (top_k, least) = (self.options.top_k() as usize, self.least(best));
        if top_k == 0 {
            let total: f64 = self.candidates.iter().map(|c| weight(c.logit, best.logit)).sum();
            self.candidates.retain(|candidate| candidate.logit >= least);
            if self.options.top_p() < 1.0 {
                let enough = f64::from(self.options.top_p()) * total;
                self.weights.keep_probability(&mut self.candidates, best.logit, enough);
            }
        } else {
            if top_k < self.candidates.len() {
                self.candidates.select_nth_unstable_by(top_k - 1, Candidate::order);
                self.candidates.truncate(top_k);
            }
            self.candidates.sort_unstable_by(Candidate::order);
            self.narrow(best, least);
        }
        Some(self.draw(best.logit))
    }

    /// Leaves in `candidates` the tokens that top-k, top-p and min-p let pass. The scan has passed over the logits.
    ///
    /// Each of the three keeps a beginning of the list sorted by likelihood, and none changes the ratio of two
    /// probabilities. So min-p may go first, where it is a plain comparison, and nothing has to be sorted whole.
    fn filter(&mut self, logits: &[f32], best: Candidate) {
        let (top_k, least) = (self.options.top_k() as usize, self.least(best));
        if top_k > 0 {
            self.scan.keep_greatest(&mut self.candidates, logits, top_k.min(logits.len()));
            return self.narrow(best, least);
        }
        if self.options.top_p() == 1.0 {
            self.candidates.clear();
            return self.scan.keep_from(&mut self.candidates, logits, least);
        }
        let enough = f64::from(self.options.top_p()) * sum_exp(logits, best.logit);
        for depth in TOP_P_DEPTHS {
            let from = (best.logit - depth).max(least);
            self.candidates.clear();
            self.scan.keep_from(&mut self.candidates, logits, from);
            if self.weights.keep_probability(&mut self.candidates, best.logit, enough) || from == least {
                return;
            }
        }
    }

    /// Top-p and min-p on the candidates of top-k, which are sorted.
    fn narrow(&mut self, best: Candidate, least: f32) {
        if self.options.top_p() < 1.0 {
            let total: f64 = self.candidates.iter().map(|c| weight(c.logit, best.logit)).sum();
            let (enough, mut reached) = (f64::from(self.options.top_p()) * total, 0.0);
            let reaches = |candidate: &Candidate| {
                reached += weight(candidate.logit, best.logit);
                reached >= enough
            };
            let kept = self.candidates.iter().position(reaches).map_or(self.candidates.len(), |place| place + 1);
            self.candidates.truncate(kept);
        }
        self.candidates.retain(|candidate| candidate.logit >= least);
    }

    /// Draws one of the candidates, of which there is at least the one with the logit `best`.
    fn draw(&mut self, best: f32) -> u32 {
        let inverse = (1.0 / self.options.temperature()).min(f32::MAX); // so that 0 * inverse stays 0
        let place = self.rng.unit();
        self.weights.at(&self.candidates, place, |logit| (logit - best) * inverse).unwrap_or(0)
    }
}

/// What is impossible stays so.
fn biased(logit: f32, bias: f32) -> f32 {
    if logit.is_finite() { (logit + bias).clamp(f32::MIN, f32::MAX) } else { logit }
}

/// The tokens whose bits are set, by their ids.
fn allowed_ids(allowed: &[u32]) -> impl Iterator<Item = u32> {
    let words = allowed.iter().zip((0u32..).step_by(32)).filter(|&(&word, _)| word != 0);
    words.flat_map(|(&word, first)| {
        let mut left = word;
        std::iter::from_fn(move || {
            let bit = (left != 0).then(|| left.trailing_zeros())?;
            left &= left - 1;
            Some(first + bit)
        })
    })
}

/// Makes tokens impossible whose bits are not set.
fn strike_out(logits: &mut [f32], allowed: &[u32]) {
    let words = allowed.iter().copied().chain(std::iter::repeat(0));
    for (logits, word) in logits.chunks_mut(32).zip(words) {
        match word {
            u32::MAX => {}
            0 => logits.fill(f32::NEG_INFINITY),
            _ => {
                for (bit, logit) in logits.iter_mut().enumerate() {
                    *logit = if word & (1 << bit) == 0 { f32::NEG_INFINITY } else { *logit };
                }
            }
        }
    }
}
