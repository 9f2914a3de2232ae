//! From logits to the next token.
//!
//! The order is that of llama.cpp's default chain: penalties, top-k, top-p, min-p, temperature, draw. Top-p and min-p
//! therefore look at the probabilities before the temperature changes them. A temperature of 0 takes the likeliest
//! token after the penalties, the lowest id of equals.
//!
//! The same seed, options and logits give the same token on every machine: the random numbers are integer arithmetic
//! (xoshiro256++), the exponential is our own, and no order depends on a hash or on a sorting algorithm.

mod exp;
mod options;
mod rng;
#[cfg(test)]
mod tests;

use exp::{exp_negative, sum_exp};
pub use options::{MAX_REPETITION_WINDOW, MAX_TEMPERATURE, SamplingError, SamplingOptions, SamplingOverrides};
use rng::Rng;
use std::cmp::Ordering;
use std::collections::VecDeque;

/// How many candidates top-p sorts first, when it must look at a whole vocabulary. A peaked distribution, which is
/// the common one, needs no more; a flat one doubles it until there are enough.
const TOP_P_FIRST: usize = 64;

/// How many logits are looked at together.
const LANES: usize = 16;

/// A token that may be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    logit: f32,
    id: u32,
}

impl Candidate {
    /// The likeliest first, the lowest id of equals: a total order, so every selection has one result.
    fn order(&self, other: &Self) -> Ordering {
        other.logit.total_cmp(&self.logit).then(self.id.cmp(&other.id))
    }
}

/// Chooses the tokens of one sequence. After its first token it allocates nothing.
#[derive(Debug, Clone)]
pub struct Sampler {
    options: SamplingOptions,
    rng: Rng,
    window: Window,
    candidates: Vec<Candidate>,
}

impl Sampler {
    /// A sampler that draws with the seed of `options`, or with `seed` where they name none.
    pub fn new(options: &SamplingOptions, seed: u64) -> Self {
        Self {
            rng: Rng::new(options.seed().unwrap_or(seed)),
            window: Window::new(if options.penalizes() { options.repetition_window() as usize } else { 0 }),
            candidates: Vec::new(),
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
        self.penalize(logits);
        let best = greatest(logits);
        if self.options.temperature() == 0.0 || best.logit == f32::NEG_INFINITY {
            return best.id;
        }
        self.filter(logits, best);
        self.draw(best.logit)
    }

    /// Penalties as in Keskar et al. 2019 (CTRL, section 4.1) and OpenAI's presence and frequency penalties.
    fn penalize(&self, logits: &mut [f32]) {
        let (presence, frequency) = (self.options.presence_penalty(), self.options.frequency_penalty());
        let repetition = self.options.repetition_penalty();
        for &(token, count) in &self.window.counts {
            let Some(logit) = logits.get_mut(token as usize) else { continue };
            // What is impossible (-inf, by a mask) stays so, and nothing else becomes so.
            if logit.is_finite() {
                let scaled = if *logit > 0.0 { *logit / repetition } else { *logit * repetition };
                *logit = (scaled - (presence + frequency * count as f32)).clamp(f32::MIN, f32::MAX);
            }
        }
    }

    /// Leaves in `candidates` the tokens that top-k, top-p and min-p let pass.
    ///
    /// Each of the three keeps a beginning of the list sorted by likelihood, and none changes the ratio of two
    /// probabilities. So min-p may go first, where it is a plain comparison, and nothing has to be sorted whole.
    fn filter(&mut self, logits: &[f32], best: Candidate) {
        let top_k = self.options.top_k() as usize;
        let (top_p, min_p) = (f64::from(self.options.top_p()), f64::from(self.options.min_p()));
        let least = if min_p > 0.0 { (f64::from(best.logit) + min_p.ln()) as f32 } else { f32::MIN };
        self.candidates.clear();
        let whole = top_k == 0 || top_k >= logits.len();
        if whole {
            self.candidates.reserve(logits.len());
            self.candidates.extend(candidates(logits).filter(|c| c.logit >= least));
            if top_p < 1.0 {
                let total = sum_exp(logits, best.logit);
                keep_probability(&mut self.candidates, best.logit, top_p * total);
            }
        } else {
            keep_greatest(&mut self.candidates, logits, top_k);
            if top_p < 1.0 {
                let total: f64 = self.candidates.iter().map(|c| weight(c.logit, best.logit)).sum();
                keep_probability(&mut self.candidates, best.logit, top_p * total);
            }
            self.candidates.retain(|c| c.logit >= least);
        }
    }

    /// Draws one of the candidates, of which there is at least the one with the logit `best`.
    fn draw(&mut self, best: f32) -> u32 {
        let inverse = (1.0 / self.options.temperature()).min(f32::MAX); // so that 0 * inverse stays 0
        let tempered = |c: &Candidate| f64::from(exp_negative((c.logit - best) * inverse));
        let total: f64 = self.candidates.iter().map(tempered).sum();
        let mut left = self.rng.unit() * total;
        for candidate in &self.candidates {
            left -= tempered(candidate);
            if left < 0.0 {
                return candidate.id;
            }
        }
        // Rounding may leave a hair of the total: it belongs to the last candidate that can be drawn at all.
        let last = self.candidates.iter().rev().find(|c| tempered(c) > 0.0);
        last.map_or(0, |c| c.id)
    }
}

/// All tokens with a number for a logit; +inf becomes the greatest number, so that differences stay numbers.
fn candidates(logits: &[f32]) -> impl Iterator<Item = Candidate> {
    logits.iter().zip(0u32..).filter_map(|(&logit, id)| usable(logit).map(|logit| Candidate { logit, id }))
}

fn usable(logit: f32) -> Option<f32> {
    // -inf is an impossible token and NaN a broken one; adding 0.0 makes one zero of the two.
    (logit > f32::NEG_INFINITY).then(|| logit.min(f32::MAX) + 0.0)
}

/// The likeliest token, the first of equals; with the logit -inf if none is possible.
fn greatest(logits: &[f32]) -> Candidate {
    let greatest = greatest_of(logits);
    let Some(logit) = usable(greatest) else { return Candidate { logit: f32::NEG_INFINITY, id: 0 } };
    let id = logits.iter().zip(0u32..).find(|&(&logit, _)| logit == greatest).map_or(0, |(_, id)| id);
    Candidate { logit, id }
}

/// The greatest number; -inf if there is none. In lanes, of which the compiler makes vectors.
#[inline]
fn greatest_of(logits: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a }; // false for NaN, which so is passed over
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = greater(*lane, logit);
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, greater)
}

fn weight(logit: f32, best: f32) -> f64 {
    f64::from(exp_negative(logit - best))
}

/// Fills `kept` with the `k` likeliest tokens, sorted. One pass, in which nearly all tokens fail a comparison for
/// sixteen at once: the buffer takes what may be among the best and is cut back to `k` when it holds twice as many.
fn keep_greatest(kept: &mut Vec<Candidate>, logits: &[f32], k: usize) {
    let room = 2 * k;
    kept.reserve(room.min(logits.len()));
    let mut threshold = f32::NEG_INFINITY;
    for (chunk, first) in logits.chunks(LANES).zip((0u32..).step_by(LANES)) {
        if greatest_of(chunk) <= threshold {
            continue;
        }
        for (&logit, id) in chunk.iter().zip(first..) {
            // Strictly greater: of equals the lower id came first and stays.
            if logit > threshold {
                kept.push(Candidate { logit: logit.min(f32::MAX) + 0.0, id });
                if kept.len() == room {
                    kept.select_nth_unstable_by(k - 1, Candidate::order);
                    kept.truncate(k);
                    threshold = kept[k - 1].logit;
                }
            }
        }
    }
    kept.sort_unstable_by(Candidate::order);
    kept.truncate(k);
}

/// Keeps the shortest beginning of the candidates, sorted by likelihood, whose weights reach `enough`; always at
/// least one. Sorts only as much as it needs.
fn keep_probability(candidates: &mut Vec<Candidate>, best: f32, enough: f64) {
    let mut sorted = 0;
    let mut reached = 0.0;
    let mut next = TOP_P_FIRST;
    while sorted < candidates.len() {
        let end = next.min(candidates.len());
        let rest = &mut candidates[sorted..];
        let head = end - sorted;
        if head < rest.len() {
            rest.select_nth_unstable_by(head, Candidate::order);
        }
        rest[..head].sort_unstable_by(Candidate::order);
        for (place, candidate) in rest[..head].iter().enumerate() {
            reached += weight(candidate.logit, best);
            if reached >= enough {
                candidates.truncate(sorted + place + 1);
                return;
            }
        }
        sorted = end;
        next *= 4;
    }
}

/// The last tokens of the text, and how often each stands there.
#[derive(Debug, Clone)]
struct Window {
    length: usize,
    tokens: VecDeque<u32>,
    /// Sorted by token. Short, so moving its end costs less than a map's hashing, and its order is certain.
    counts: Vec<(u32, u32)>,
}

impl Window {
    fn new(length: usize) -> Self {
        Self { length, tokens: VecDeque::with_capacity(length), counts: Vec::with_capacity(length) }
    }

    fn push(&mut self, token: u32) {
        if self.length == 0 {
            return;
        }
        if self.tokens.len() == self.length {
            self.forget_oldest();
        }
        self.tokens.push_back(token);
        match self.counts.binary_search_by_key(&token, |&(id, _)| id) {
            Ok(place) => self.counts[place].1 += 1,
            Err(place) => self.counts.insert(place, (token, 1)),
        }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.tokens.pop_front() else { return };
        let place = self.counts.binary_search_by_key(&oldest, |&(id, _)| id);
        let place = place.expect("every token of the window is counted");
        self.counts[place].1 -= 1;
        if self.counts[place].1 == 0 {
            self.counts.remove(place);
        }
    }
}
