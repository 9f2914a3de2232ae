//! What a step computes.

use super::Scheduler;
use super::speculation::{DRAFT_ROWS, Speculation};
use crate::forward::{Row, Work};

/// Pairs of a query and a key that one step computes for the rows of a prompt while others wait for their next token.
/// Attention to a long prompt costs more than all the rest; with this bound, such a step takes about a tenth of a second
/// with the default model on two cores.
const PROMPT_PAIRS: usize = 1 << 16;
/// The same where prompts are computed by the matrix unit.
const TILED_PROMPT_PAIRS: usize = 1 << 20;

/// The rows of a step. Kept for their memory.
pub(super) struct Plan {
    /// Those that belong to prompts.
    pub(super) prompted: Vec<Row>,
    /// Those of sequences that are generating, with what they guess.
    pub(super) generated: Vec<Row>,
    /// How many of these are guesses.
    pub(super) guesses: usize,
}

impl Plan {
    /// For steps of at most so many rows of each kind.
    pub(super) fn new(rows: usize) -> Self {
        Self { prompted: Vec::with_capacity(rows), generated: Vec::with_capacity(rows), guesses: 0 }
    }
}

impl Scheduler {
    /// Divides the rows of the step: one for each that is generating, the rest in equal parts for prompts. Those that are
    /// generating may have more, for what they guess; these are not taken from the prompts.
    pub(super) fn plan(&mut self) {
        self.plan.prompted.clear();
        self.plan.generated.clear();
        self.plan.guesses = 0;
        let count = self.running.len();
        self.turn = if count == 0 { 0 } else { (self.turn + 1) % count };
        let generating = self.running.iter().filter(|sequence| sequence.pending() == 1).count();
        let (mut left, mut prompts) = (self.sizes.batch_tokens - generating, count - generating);
        let most_guesses = left.min(DRAFT_ROWS);
        // All texts to embed are as one prompt: many of them delay nobody more than a long one does.
        let embedded = if self.embeddings.is_empty() { 0 } else { left.div_ceil(prompts + 1) };
        left -= embedded;
        let worthwhile = (self.speculation != Speculation::On).then(|| self.pace.worthwhile(generating));
        let pairs = if self.model.isa().has_tiles() { TILED_PROMPT_PAIRS } else { PROMPT_PAIRS };
        for at in (self.turn..count).chain(0..self.turn) {
            let sequence = &mut self.running[at];
            let pending = sequence.pending();
            let rows = if pending == 1 {
                let guesses = sequence.guess(most_guesses - self.plan.guesses, worthwhile);
                self.plan.guesses += guesses;
                1 + guesses
            } else {
                let most = if generating == 0 { left } else { (pairs / (sequence.computed + 1)).max(1) };
                let share = left.div_ceil(prompts).min(pending).min(most);
                (left, prompts) = (left - share, prompts - 1);
                share
            };
            // It cannot fail while `admit` counts right; a sequence that stands still is better than a panic.
            let reserved = self.cache.reserve(&mut sequence.table, sequence.computed + rows);
            sequence.planned = if reserved.is_ok() { rows } else { 0 };
        }
        let pairs = if generating == 0 { usize::MAX } else { pairs };
        self.embeddings.plan(embedded + left, pairs, &mut self.cache);
        for (table, sequence) in self.running.iter().enumerate() {
            for (token, position, logits) in sequence.rows() {
                let row = Row { token, position: position as u32, table, logits };
                match sequence.work() {
                    Work::Prompt => self.plan.prompted.push(row),
                    Work::Generation => self.plan.generated.push(row),
                }
            }
        }
    }
}
