//! Speculation by prompt lookup: what a sequence will probably say, taken from what it has said or read.
//!
//! Answers repeat: names, quotations, code that is changed in one place. Where the last tokens stood in the sequence before,
//! those that followed there are computed as further rows of the same step (Saxena, "Prompt Lookup Decoding", 2023). The
//! rows are then chosen from in order, for as long as what is chosen is what was computed; so each token is chosen from the
//! logits that it would have been chosen from without, and nothing that is told depends on any of this but the time.
//!
//! Rows are not free, and a guess is worth its row only where it is probably right. How often guesses are is counted for
//! each length of match, whether or not they were computed; what rows cost is measured.

use std::ops::RangeInclusive;

use super::lookup::{LONGEST, Lookup, SHORTEST};

/// Tokens that one sequence guesses in a step, at most: with the one before them they are the 16 rows of a tile.
pub(super) const MAX_DRAFTS: usize = 15;

/// Rows of a step that are guesses, of all sequences together, at most: each takes a row of logits.
pub(super) const DRAFT_ROWS: usize = 16;

/// How probable a guess is for each length of match, before a sequence has shown it.
const ACCEPTANCE: [f32; LONGEST - SHORTEST + 1] = [0.2, 0.35, 0.5, 0.6, 0.7];

/// How much one outcome weighs against those before it.
const OUTCOME: f32 = 1.0 / 8.0;

/// What a row adds to a step's time, as a part of what a step of one row takes, before that was measured.
const ROW_COST: f32 = 0.1;

/// What can be believed to have been measured: a row costs something, and no more than if it were computed alone.
const ROW_COSTS: RangeInclusive<f32> = 0.02..=1.0;

/// How much one measurement weighs against those before it. The machine may have been busy with something else.
const MEASUREMENT: f32 = 1.0 / 8.0;

/// How much of what was measured is forgotten in a step without guesses, so that a dear one does not end them for ever.
const FORGETTING: f32 = 1.0 / 256.0;

/// A guess must promise so many times what its row costs.
const MARGIN: f32 = 1.25;

/// Whether tokens are guessed and computed ahead. What is generated does not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speculation {
    /// Never.
    Off,
    /// Where it makes generating faster, by what was measured.
    #[default]
    Auto,
    /// Wherever there is a guess: for tests and comparisons.
    On,
}

/// What rows cost, by the time of steps with guesses and without.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    /// Rows of the last steps without guesses.
    plain_rows: usize,
    /// Seconds that they took.
    plain: f32,
    /// What a row adds to a step of one row, as a part of it.
    row: f32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { plain_rows: 0, plain: 0.0, row: ROW_COST }
    }
}

impl Pace {
    /// A step of `rows`, none of a prompt and some of them guesses, took so many seconds. Only steps of as many sequences
    /// are compared.
    pub(super) fn observe(&mut self, rows: usize, guesses: usize, seconds: f32) {
        let generating = rows - guesses;
        if guesses == 0 {
            let weight = if generating == self.plain_rows { MEASUREMENT } else { 1.0 };
            self.plain += (seconds - self.plain) * weight;
            self.plain_rows = generating;
            self.row += (ROW_COST - self.row) * FORGETTING;
        } else if generating == self.plain_rows && self.plain > 0.0 {
            // Of (1 + (rows - 1) cost) / (1 + (generating - 1) cost) = seconds / plain.
            let ratio = seconds / self.plain;
            let left = (rows - 1) as f32 - ratio * (generating - 1) as f32;
            let cost = if left > 0.0 { (ratio - 1.0) / left } else { *ROW_COSTS.end() };
            self.row += (cost.clamp(*ROW_COSTS.start(), *ROW_COSTS.end()) - self.row) * MEASUREMENT;
        }
    }

    /// How probable a guess must be to be worth its row, where so many sequences generate together: what tokens a step gives
    /// for its time must not become less. A row beside many others delays all of them.
    pub(super) fn worthwhile(&self, generating: usize) -> f32 {
        let generating = generating.max(1) as f32;
        let step = 1.0 + (generating - 1.0) * self.row;
        MARGIN * self.row * generating / step
    }
}

/// How many guesses are computed, where each is right with a probability if those before it are, and must be
/// right with another one to be worth its row.
pub(super) fn drafts(acceptance: f32, worthwhile: f32) -> usize {
    let probabilities = std::iter::successors(Some(acceptance), |probability| Some(probability * acceptance));
    probabilities.take(MAX_DRAFTS).take_while(|&probability| probability > worthwhile).count()
}

/// What one sequence guesses. Allocates nothing once it is made.
pub(super) struct Speculator {
    lookup: Lookup,
    /// Of guesses, how many were right lately, by the length of the match.
    acceptance: [f32; ACCEPTANCE.len()],
    /// What is computed ahead in this step.
    drafts: Vec<u32>,
    /// The length of the match and its first token, whether computed ahead or not.
    guess: Option<(usize, u32)>,
}

impl Speculator {
    /// For a sequence that will have at most `limit` tokens.
    pub(super) fn new(limit: usize) -> Self {
        let drafts = Vec::with_capacity(MAX_DRAFTS);
        Self { lookup: Lookup::new(limit), acceptance: ACCEPTANCE, drafts, guess: None }
    }

    /// Guesses what follows `tokens`: at most `room` tokens, and if only such are wanted that are worth their rows, only those.
    pub(super) fn guess(&mut self, tokens: &[u32], room: usize, worthwhile: Option<f32>) {
        self.drafts.clear();
        self.guess = None;
        let Some(found) = self.lookup.find(tokens) else { return };
        let class = found.len - SHORTEST;
        self.guess = Some((class, tokens[found.next]));
        let wanted = worthwhile.map_or(MAX_DRAFTS, |worthwhile| drafts(self.acceptance[class], worthwhile));
        // A match that overlaps the end is a text that goes round: the guesses themselves are what follows there.
        for place in found.next..found.next + wanted.min(room) {
            let ahead = place.checked_sub(tokens.len());
            let token = ahead.map_or_else(|| tokens[place], |ahead| self.drafts[ahead]);
            self.drafts.push(token);
        }
    }

    /// What is computed ahead.
    pub(super) fn drafts(&self) -> &[u32] {
        &self.drafts
    }

    /// Computes nothing ahead after all.
    pub(super) fn withdraw(&mut self) {
        self.drafts.clear();
    }

    /// Learns from the tokens that were chosen: one, and one more for each guess that was computed and right.
    pub(super) fn learn(&mut self, chosen: impl IntoIterator<Item = u32>) {
        let Some((class, first)) = self.guess.take() else { return };
        let guesses = std::iter::once(first).chain(self.drafts.iter().skip(1).copied());
        for (guess, chosen) in guesses.zip(chosen) {
            let outcome = if guess == chosen { 1.0 } else { 0.0 };
            self.acceptance[class] += (outcome - self.acceptance[class]) * OUTCOME;
        }
        self.drafts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_what_followed_before_and_go_round_where_the_text_does() {
        let mut speculator = Speculator::new(100);
        let mut guess = |tokens: &[u32], room| {
            speculator.guess(tokens, room, None);
            speculator.drafts().to_vec()
        };
        assert!(guess(&[1, 2, 3, 4], 8).is_empty());
        assert_eq!(guess(&[1, 2, 3, 4, 1, 2], 3), [3, 4, 1]);
        assert!(guess(&[1, 2, 3, 4, 1, 2], 0).is_empty());
        let round = guess(&[1, 2, 3, 4, 1, 2], 100);
        assert_eq!(round, [3, 4, 1, 2].into_iter().cycle().take(MAX_DRAFTS).collect::<Vec<_>>());
    }

    #[test]
    fn guesses_that_are_wrong_are_no_longer_computed_and_those_that_become_right_are_again() {
        let mut speculator = Speculator::new(100);
        let worthwhile = Pace::default().worthwhile(1);
        let mut step = |chosen: u32| {
            speculator.guess(&[1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6], MAX_DRAFTS, Some(worthwhile));
            let drafts = speculator.drafts().len();
            speculator.learn([chosen]);
            drafts
        };
        assert!(step(7) > 1);
        (0..40).for_each(|_| _ = step(8));
        assert_eq!(step(8), 0);
        (0..40).for_each(|_| _ = step(7));
        assert_eq!(step(7), MAX_DRAFTS);
    }

    #[test]
    fn the_more_sequences_and_the_dearer_rows_the_surer_must_a_guess_be() {
        let pace = |row| Pace { row, ..Pace::default() };
        for row in [0.02, 0.07, 0.1, 0.3, 0.5] {
            let worthwhile: Vec<f32> = (1..100).map(|generating| pace(row).worthwhile(generating)).collect();
            assert!(worthwhile.is_sorted(), "{row}");
            assert!(pace(row).worthwhile(4) < pace(row + 0.01).worthwhile(4));
        }
        // Where rows cost as much as steps no guess is worth one, were it certain.
        assert_eq!(drafts(1.0, pace(1.0).worthwhile(1)), 0);
        assert_eq!(drafts(0.9, pace(0.07).worthwhile(1)), MAX_DRAFTS);
        assert_eq!(drafts(0.9, pace(0.07).worthwhile(8)), 7);
        assert_eq!(drafts(0.9, pace(0.07).worthwhile(32)), 1);
        assert_eq!(drafts(0.6, pace(0.07).worthwhile(8)), 1);
        assert_eq!(drafts(0.2, pace(0.3).worthwhile(1)), 0);
    }

    #[test]
    fn what_rows_cost_is_measured_and_forgotten() {
        for (generating, cost) in [(1, 0.5), (1, 0.05), (4, 0.5), (8, 0.1)] {
            let seconds = |rows: usize| 0.002 * (1.0 + (rows - 1) as f32 * cost);
            let mut pace = Pace::default();
            pace.observe(8, 7, 1.0);
            pace.observe(9, 0, 1.0);
            pace.observe(12, 4, 1.0);
            assert!((pace.row - ROW_COST).abs() < 1e-3, "there is nothing to compare with: {pace:?}");
            for guesses in [3, 5].repeat(30) {
                pace.observe(generating, 0, seconds(generating));
                pace.observe(generating + guesses, guesses, seconds(generating + guesses));
            }
            assert!((pace.row - cost).abs() < 0.1 * cost, "{generating}, {cost}: {pace:?}");
            for _ in 0..2000 {
                pace.observe(generating, 0, seconds(generating));
            }
            assert!((pace.row - ROW_COST).abs() < 0.01, "{pace:?}");
            for seconds in [0.0, f32::INFINITY, f32::MAX, 1e-9] {
                pace.observe(generating + 1, 1, seconds);
                assert!(ROW_COSTS.contains(&pace.row), "{pace:?}");
            }
        }
    }
}
