//! The likeliest tokens, found among all logits in one pass and a little.
//!
//! The pass takes the greatest logit of each block of [`BLOCK`], in lanes of which the compiler makes vectors. All that
//! is asked afterwards, the greatest of all, the greatest `k`, those near the greatest, looks only into blocks that can
//! hold such a token.

use std::cmp::Ordering;

use super::exp::{SUMMED, exp_negative, sum_of_block};

/// How many logits are looked at together.
const LANES: usize = 16;

/// Logits of a block: long enough for its greatest to cost little beside the pass, short enough that the few blocks
/// which are looked into hold few logits.
const BLOCK: usize = 4 * LANES;

/// Groups of blocks for each token that is wanted: among so many the k-th greatest is near the k-th greatest of all.
const GROUPS: usize = 8;

/// Bits of a logit that top-p looks at in turn, and how far they are from the last bit.
const DIGITS: [(u32, u32); 3] = [(11, 21), (11, 10), (10, 0)];

/// A token that may be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) logit: f32,
    pub(crate) id: u32,
}

impl Candidate {
    /// A token with a logit that can be computed with; `None` for one that is impossible (-inf) or broken (NaN). +inf
    /// becomes the greatest number, so that differences stay numbers, and adding 0.0 makes one zero of the two.
    pub(super) fn new(id: u32, logit: f32) -> Option<Self> {
        (logit > f32::NEG_INFINITY).then(|| Self { logit: logit.min(f32::MAX) + 0.0, id })
    }

    /// The likeliest first, the lowest id of equals: a total order, so every selection has one result.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        other.logit.total_cmp(&self.logit).then(self.id.cmp(&other.id))
    }

    /// A number that is the less the likelier the token is. The negative numbers' bits count backwards.
    fn rank(&self) -> u32 {
        let bits = self.logit.to_bits();
        if bits >> 31 == 0 { !bits & (u32::MAX >> 1) } else { bits }
    }
}

/// The probability of a token as a part of the likeliest one's.
pub(super) fn weight(logit: f32, best: f32) -> f64 {
    f64::from(exp_negative(logit - best))
}

/// What one pass over the logits has found. Kept for its memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scan {
    /// The greatest logit of each block; -inf for one without a number.
    blocks: Vec<f32>,
    /// The greatest of groups of blocks, in no order.
    groups: Vec<f32>,
}

impl Scan {
    /// With room for so many logits, of which at most the `k` greatest will be kept.
    pub(crate) fn with_room(logits: usize, k: usize) -> Self {
        let blocks = logits.div_ceil(BLOCK);
        Self { blocks: Vec::with_capacity(blocks), groups: Vec::with_capacity(blocks.min(2 * GROUPS * k)) }
    }

    /// Passes over the logits, and gives the likeliest token, the first of equals; `None` if none is possible.
    pub(crate) fn pass(&mut self, logits: &[f32]) -> Option<Candidate> {
        self.blocks.clear();
        let (blocks, rest) = logits.as_chunks::<BLOCK>();
        self.blocks.extend(blocks.iter().map(greatest_of_block));
        if !rest.is_empty() {
            self.blocks.push(rest.iter().copied().fold(f32::NEG_INFINITY, greater));
        }
        let greatest = self.blocks.iter().copied().fold(f32::NEG_INFINITY, greater);
        let block = self.blocks.iter().position(|&block| block == greatest)?;
        let place = logits[block * BLOCK..].iter().position(|&logit| logit == greatest)?;
        Candidate::new((block * BLOCK + place) as u32, greatest)
    }

    /// Appends all tokens with a logit of at least `least`, by their ids. The pass was over the same logits.
    pub(crate) fn keep_from(&self, kept: &mut Vec<Candidate>, logits: &[f32], least: f32) {
        for (first, block) in self.blocks_from(logits, least) {
            let candidates = block.iter().zip(first..).filter_map(|(&logit, id)| Candidate::new(id, logit));
            kept.extend(candidates.filter(|candidate| candidate.logit >= least));
        }
    }

    /// Fills `kept` with the `k` likeliest tokens, sorted; `k` is at least 1. The pass was over the same logits.
    ///
    /// The k-th greatest of groups of blocks is a logit that at least `k` tokens reach: nothing below it is looked at. The
    /// buffer is cut back to `k` when it holds twice as many, so that it never grows beyond that.
    pub(crate) fn keep_greatest(&mut self, kept: &mut Vec<Candidate>, logits: &[f32], k: usize) {
        kept.clear();
        let room = k.saturating_mul(2).min(logits.len()).max(k.min(logits.len()) + 1);
        kept.reserve(room);
        // A logit must be greater than this. Of equals the lower id came first and stays.
        let mut threshold = self.reached_by(k).next_down();
        for (first, block) in self.blocks_from(logits, threshold) {
            for (&logit, id) in block.iter().zip(first..) {
                if logit > threshold
                    && let Some(candidate) = Candidate::new(id, logit)
                {
                    kept.push(candidate);
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

    /// A logit that at least `k` tokens have or exceed; -inf if the blocks are too few to tell.
    fn reached_by(&mut self, k: usize) -> f32 {
        if k > self.blocks.len() {
            return f32::NEG_INFINITY;
        }
        let size = (self.blocks.len() / k.saturating_mul(GROUPS)).max(1);
        self.groups.clear();
        self.groups
            .extend(self.blocks.chunks(size).map(|group| group.iter().copied().fold(f32::NEG_INFINITY, greater)));
        let (_, &mut kth, _) = self.groups.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
        kth
    }

    /// The blocks whose greatest logit is at least `least`, with the id of their first token.
    fn blocks_from<'l>(&self, logits: &'l [f32], least: f32) -> impl Iterator<Item = (u32, &'l [f32])> {
        let firsts = (0u32..).step_by(BLOCK);
        let blocks = logits.chunks(BLOCK).zip(firsts).zip(&self.blocks);
        blocks.filter(move |&(_, &greatest)| greatest >= least).map(|((block, first), _)| (first, block))
    }
}

/// False for NaN, which so is passed over.
fn greater(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

#[inline]
fn greatest_of_block(block: &[f32; BLOCK]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in block.as_chunks::<LANES>().0 {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = greater(*lane, logit);
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = greater(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}

/// The weights of candidates added up, for top-p and for the draw. Kept for its memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Weights {
    sums: Vec<f64>,
}

impl Weights {
    /// Keeps the likeliest candidates, as few as reach `enough` together and always at least one; of equals those that come
    /// first. They stay in their order. False if all of them together do not reach it: all are kept then.
    ///
    /// A radix selection: weights are added up by the first bits of the logits, which says in which of these groups it is
    /// reached, then within that group by the next bits. So nothing is sorted, and three passes are enough for any logits.
    pub(super) fn keep_probability(&mut self, candidates: &mut Vec<Candidate>, best: f32, enough: f64) -> bool {
        let (mut reached, mut group, mut known) = (0.0, 0, 0);
        for (bits, shift) in DIGITS {
            self.sums.clear();
            self.sums.resize(1 << bits, 0.0);
            for candidate in candidates.iter() {
                let rank = candidate.rank();
                if rank & known == group {
                    self.sums[(rank >> shift) as usize & ((1 << bits) - 1)] += weight(candidate.logit, best);
                }
            }
            let reaches = |&sum: &f64| {
                let with = reached + sum;
                let here = sum > 0.0 && with >= enough;
                reached = if here { reached } else { with };
                here
            };
            let Some(digit) = self.sums.iter().position(reaches) else {
                // The first time they are too few; later it is rounding, and the whole group is what it takes.
                candidates.retain(|candidate| candidate.rank() & known <= group);
                return known != 0;
            };
            group |= (digit as u32) << shift;
            known |= ((1 << bits) - 1) << shift;
        }
        // What is left of the group are equals.
        candidates.retain(|candidate| match candidate.rank().cmp(&group) {
            Ordering::Less => true,
            Ordering::Equal if reached < enough || reached == 0.0 => {
                reached += weight(candidate.logit, best);
                true
            }
            _ => false,
        });
        true
    }

    /// The candidate at a place of the line of all weights: `place` of 0 is its beginning, 1 its end. `tempered` gives a
    /// logit's distance to the greatest as the draw has it, at most 0. None if no candidate has a weight.
    pub(super) fn at(&mut self, candidates: &[Candidate], place: f64, tempered: impl Fn(f32) -> f32) -> Option<u32> {
        let weight = |candidate: &Candidate| f64::from(exp_negative(tempered(candidate.logit)));
        let (blocks, rest) = candidates.as_chunks::<SUMMED>();
        self.sums.clear();
        self.sums.extend(
            blocks.iter().map(|block| sum_of_block(&block.each_ref().map(|c| exp_negative(tempered(c.logit))))),
        );
        self.sums.push(rest.iter().map(weight).sum::<f64>());
        let mut left = place * self.sums.iter().sum::<f64>();
        for (block, &sum) in candidates.chunks(SUMMED).zip(&self.sums) {
            if left >= sum {
                left -= sum;
                continue;
            }
            for candidate in block {
                left -= weight(candidate);
                if left < 0.0 {
                    return Some(candidate.id);
                }
            }
        }
        // Rounding may leave a hair of the line: it belongs to the last candidate that can be drawn at all.
        candidates.iter().rev().find(|&candidate| weight(candidate) > 0.0).map(|candidate| candidate.id)
    }
}

/// The likeliest tokens, from an output head that did not compute the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidates<'a> {
    /// The tokens, each once, in any order.
    pub ids: &'a [u32],
    /// Their logits; as many.
    pub logits: &'a [f32],
    /// No other token's logit is greater than this; -inf if there is no other, or none that is possible.
    pub bound: f32,
}

/// What a sampler must know of the logits for its next token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Needs {
    /// All of them.
    All,
    /// The likeliest tokens.
    Top {
        /// So many are enough, unless penalties push tokens down among them.
        likely: usize,
        /// So many are enough in any case but one: that the last and the bound are equal.
        sure: usize,
    },
    /// The tokens whose logits are at most this below the greatest; more, if penalties push that one down.
    Near(f32),
}
