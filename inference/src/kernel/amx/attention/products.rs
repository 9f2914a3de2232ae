//! The two products of the attention of many rows: queries with keys, and weights with values.

use std::arch::asm;

use super::{CHUNK, ROWS, Scores, Weights};
use crate::kernel::activations::{TILE_COLUMNS, TILE_ROWS, Tile};
use crate::kernel::amx::{Configured, Side, Sums};
use crate::kernel::attention::{KvType, PAGE, Pairs};
use crate::pack::GROUP;

/// Keys that are multiplied together: two tiles of scores, and a tile of weights.
pub(super) const PART: usize = 2 * GROUP;

/// Tiles of a row block of queries that stay in registers: heads of 64 dimensions, which are the usual ones.
pub(super) const SHORT: usize = 2;

const _: () = assert!(PART == TILE_COLUMNS && PAGE.is_multiple_of(PART));

impl Configured {
    /// Scores of a part of a chunk, whose page has these keys.
    pub(super) fn score(&self, queries: &[Tile], keys: &[Pairs], part: usize, scores: &mut [Scores]) {
        let blocks = queries.len() / 2;
        assert!(
            keys.len() >= KvType::Bf16.key_lines(blocks * TILE_COLUMNS)
                && scores.len() == ROWS
                && (part + 1) * PART <= CHUNK
        );
        const ROW: usize = PAGE / GROUP * size_of::<Pairs>();
        let x = Side { starts: [queries.as_ptr().cast(), queries[blocks..].as_ptr().cast()], row: 64, step: 1024 };
        let first = part % (PAGE / PART) * (PART / GROUP);
        let starts = [(&raw const keys[first]).cast(), (&raw const keys[first + 1]).cast()];
        let w = Side { starts, row: ROW, step: TILE_ROWS * ROW };
        let out = &raw mut scores[0].0[part * PART];
        // SAFETY: queries are two rows of tiles. A tile of keys has 16 pairs of dimensions, each of which takes 4 `Pairs`, so
        // `blocks` of them are what `KvType::key_lines` says; 32 columns of 32 rows of scores are there.
        unsafe { self.set_product(x, w, blocks, out, size_of::<Scores>()) };
    }

    /// As [`Configured::score`] for some parts of a chunk and heads of [`SHORT`] blocks, where few products make a
    /// score: a row block's queries stay in registers, and while a part is multiplied, the scores of the part before
    /// are stored. `keys(part)` are those of the part's page.
    pub(super) fn score_short<'a>(
        &self,
        queries: &[Tile],
        keys: impl Fn(usize) -> &'a [Pairs],
        parts: usize,
        scores: &mut [Scores],
    ) {
        const ROW: usize = PAGE / GROUP * size_of::<Pairs>();
        const SCORES_ROW: usize = size_of::<Scores>();
        /// Multiplies two tiles of keys, to two tiles of scores.
        macro_rules! multiply {
            ($left:literal, $right:literal, $keys:ident) => {
                asm!(
                    concat!("tilezero tmm", $left),
                    concat!("tilezero tmm", $right),
                    "tileloadd tmm6, [{keys} + {row}]",
                    "tileloadd tmm7, [{keys} + {row} + 64]",
                    concat!("tdpbf16ps tmm", $left, ", tmm4, tmm6"),
                    concat!("tdpbf16ps tmm", $right, ", tmm4, tmm7"),
                    "tileloadd tmm6, [{keys} + {row} + {next}]",
                    "tileloadd tmm7, [{keys} + {row} + {next} + 64]",
                    concat!("tdpbf16ps tmm", $left, ", tmm5, tmm6"),
                    concat!("tdpbf16ps tmm", $right, ", tmm5, tmm7"),
                    keys = in(reg) $keys,
                    row = in(reg) ROW,
                    next = const TILE_ROWS * ROW,
                    options(nostack),
                )
            };
        }
        macro_rules! store {
            ($left:literal, $right:literal, $out:ident) => {
                asm!(
                    concat!("tilestored [{out} + {row}], tmm", $left),
                    concat!("tilestored [{out} + {row} + 64], tmm", $right),
                    out = in(reg) $out,
                    row = in(reg) SCORES_ROW,
                    options(nostack),
                )
            };
        }
        assert!(queries.len() == 2 * SHORT && scores.len() == ROWS && parts * PART <= CHUNK);
        let mut before: Option<*mut f32> = None;
        let mut even = true;
        for (queries, scores) in queries.chunks_exact(SHORT).zip(scores.chunks_exact_mut(TILE_ROWS)) {
            let scores = scores.as_mut_ptr().cast::<f32>();
            // SAFETY: tiles are set up; two of queries are there.
            unsafe {
                asm!(
                    "tileloadd tmm4, [{queries} + {row}]",
                    "tileloadd tmm5, [{queries} + {row} + 1024]",
                    queries = in(reg) queries.as_ptr(),
                    row = in(reg) 64usize,
                    options(nostack),
                );
            }
            for part in 0..parts {
                let keys = keys(part);
                assert!(keys.len() >= KvType::Bf16.key_lines(SHORT * TILE_COLUMNS));
                let keys = &raw const keys[part % (PAGE / PART) * (PART / GROUP)];
                // SAFETY: tiles are set up. A tile of keys has 16 pairs of dimensions, each of which takes 4 `Pairs`,
                // of which a part has two, so two tiles lie in what `KvType::key_lines` says; 32 columns of 16 rows of
                // scores are there for each part.
                unsafe {
                    if even {
                        multiply!(0, 1, keys);
                        if let Some(out) = before {
                            store!(2, 3, out);
                        }
                    } else {
                        multiply!(2, 3, keys);
                        if let Some(out) = before {
                            store!(0, 1, out);
                        }
                    }
                    before = Some(scores.add(part * PART));
                    even = !even;
                }
            }
        }
        if let Some(out) = before {
            // SAFETY: as above.
            unsafe {
                if even {
                    store!(2, 3, out);
                } else {
                    store!(0, 1, out);
                }
            }
        }
    }

    /// Adds 32 dimensions of the values of some parts of a chunk, each times its weight, to what is there, or to nothing:
    /// `values(part)` are those of the part's page.
    pub(super) fn add_values<'a>(
        &self,
        weights: &[Weights],
        parts: usize,
        values: impl Fn(usize) -> &'a [Pairs],
        block: usize,
        add: bool,
        sums: &mut [Sums],
    ) {
        assert!(weights.len() == ROWS && parts * PART <= CHUNK && block < sums.len());
        let lines = 2 * sums.len();
        let row = lines * size_of::<Pairs>();
        let enough = KvType::Bf16.value_lines(sums.len() * TILE_COLUMNS);
        let out = sums[block].0.as_mut_ptr().cast::<f32>();
        // SAFETY: a tile of weights has 32 columns of 16 rows; a tile of values has 16 pairs of tokens, each of which
        // takes `lines`, and there are two in a page; `Sums` are 32 rows of 128 bytes.
        unsafe {
            self.start_sums(add.then_some(out.cast_const()), 128);
            for part in 0..parts {
                let values = values(part);
                assert!(values.len() >= enough);
                let values = &values[part % (PAGE / PART) * TILE_ROWS * lines + 2 * block..];
                let at = part * PART;
                let x = [(&raw const weights[0].0[at]).cast(), (&raw const weights[TILE_ROWS].0[at]).cast()];
                let w = [(&raw const values[0]).cast(), (&raw const values[1]).cast()];
                let x = Side { starts: x, row: size_of::<Weights>(), step: 0 };
                self.add_to_sums(x, Side { starts: w, row, step: 0 });
            }
            self.put_sums(out, 128);
        }
    }
}
