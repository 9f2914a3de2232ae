//! Attention of one row, whose heads that share keys and values are the rows of a tile.
//!
//! A generated token's queries and weights are multiplied as two numbers of bf16 each, rounded and the rest, which
//! makes them as good as 16 bits: reading the keys and values takes longer.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

use super::{Bench, CHUNK, Head, Scores, Weights};
use crate::kernel::activations::{TILE_COLUMNS, TILE_ROWS, Tile};
use crate::kernel::amx::{Configured, Shape, Sums};
use crate::kernel::attention::{KvType, PAGE, PageView, Pairs};
use crate::pack::GROUP;

/// Heads that go together.
const HEADS: usize = TILE_ROWS;

/// What a head gets of some positions: the weighted sum of values, and of what.
pub(in crate::kernel) struct Share<'a> {
    /// The weighted sum of the values, in dimensions; to be worked with.
    pub(in crate::kernel) values: &'a mut [f32],
    /// The largest score, in powers of two.
    pub(in crate::kernel) peak: f32,
    /// The sum of the weights, which are powers of two below the peak.
    pub(in crate::kernel) total: f32,
}

impl<'a> Share<'a> {
    /// What a head gets that gets nothing else.
    pub(in crate::kernel) fn normed(self) -> &'a mut [f32] {
        let scale = 1.0 / self.total;
        self.values.iter_mut().for_each(|value| *value *= scale);
        self.values
    }
}

/// Attention of some heads of one row over some positions: `query(head, room)` gives a query, scaled, and `put(head,
/// share)` takes what it gets. The result does not depend on anything else, so positions can be split as one likes, if
/// always in the same way.
///
/// # Panics
/// If a page is shorter than its layout says.
pub(in crate::kernel) fn attend_heads<'a>(
    bench: &mut Bench,
    heads: usize,
    seen: Range<usize>,
    mut query: impl FnMut(usize, &mut [f32]),
    page: impl Fn(usize) -> PageView<'a>,
    mut put: impl FnMut(usize, Share<'_>),
) {
    for first_head in (0..heads).step_by(HEADS) {
        let count = HEADS.min(heads - first_head);
        bench.start(0, count, |row, room| query(first_head + row, room));
        let configured = Configured::with(Shape { rows: count, unit_columns: TILE_COLUMNS });
        let is_half = |at: usize| seen.end - at <= PAGE / 2;
        let ask = |at: usize| {
            if at < seen.end {
                ask_for(page(at / PAGE), seen.end - at);
            }
        };
        ask(seen.start / PAGE * PAGE);
        for first in (seen.start / CHUNK * CHUNK..seen.end).step_by(CHUNK) {
            let pages = (first.max(seen.start / PAGE * PAGE)..seen.end.min(first + CHUNK)).step_by(PAGE);
            for at in pages.clone() {
                ask(at + PAGE);
                configured.score_few(
                    &bench.heads[0].queries,
                    page(at / PAGE).keys,
                    is_half(at),
                    at - first,
                    &mut bench.scores,
                );
            }
            // SAFETY: tiles are used only where `permitted` was true, on processors which all have these features.
            unsafe { bench.weigh(0, count, |_| seen.clone(), first) };
            if first > seen.start {
                bench.decay(0, count); // nothing is there before the first chunk
            }
            for at in pages {
                configured.add_values_few(
                    &bench.weights,
                    at - first,
                    page(at / PAGE).values,
                    is_half(at),
                    &mut bench.heads[0].sums,
                );
            }
        }
        let Bench { dimensions, row: room, heads: of_heads, .. } = &mut *bench;
        let Head { sums, totals, peaks, .. } = &of_heads[0];
        for (row, total) in totals.iter().enumerate().take(count) {
            for (out, sums) in room.chunks_mut(TILE_COLUMNS).zip(sums) {
                out.copy_from_slice(&sums.0[row]);
            }
            let share = Share { values: &mut room[..*dimensions], peak: peaks[row], total: total.0.iter().sum() };
            put(first_head + row, share);
        }
    }
}

/// Asks for a page that is read soon, of which `left` tokens are seen. (Nothing was faster than all lines of the page
/// that comes next: every second or fourth one, the next row's page too, or only to the second cache.)
pub(super) fn ask_for(page: PageView<'_>, left: usize) {
    let PageView { keys, values, scales } = page;
    if left <= PAGE / 2 {
        keys.chunks(PAGE / GROUP).for_each(|keys| ask_for_lines(&keys[..keys.len() / 2]));
        ask_for_lines(&values[..values.len() / 2]);
    } else {
        ask_for_lines(keys);
        ask_for_lines(values);
    }
    ask_for_lines(scales);
}

fn ask_for_lines(lines: &[Pairs]) {
    for line in lines {
        // SAFETY: all processors with tiles have the instruction, which reads nothing that a program could notice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>((&raw const *line).cast()) };
    }
}

impl Configured {
    /// Scores of a page's keys, or of those in its first half, for one row block, into the columns from `at`.
    fn score_few(&self, queries: &[Tile], keys: &[Pairs], half: bool, at: usize, scores: &mut [Scores]) {
        let blocks = queries.len() / 2;
        assert!(
            keys.len() >= KvType::Bf16.key_lines(blocks * TILE_COLUMNS)
                && scores.len() >= TILE_ROWS
                && at + PAGE <= CHUNK
        );
        assert!(blocks > 0, "heads have dimensions");
        let (out, row) = (&raw mut scores[0].0[at], PAGE / GROUP * size_of::<Pairs>());
        // SAFETY: tiles are set up. Queries are a row of tiles. A tile of keys has 16 pairs of dimensions, each of
        // which takes 4 `Pairs`, so `blocks` of them are what `KvType::key_lines` says; 64 columns of up to 16 rows of
        // scores are there.
        unsafe {
            self.score_32(queries, keys.as_ptr(), row, out);
            if !half {
                self.score_32(queries, keys.as_ptr().add(2), row, out.add(2 * GROUP));
            }
        }
    }

    /// Scores of 32 keys.
    ///
    /// # Safety
    /// For each tile of queries there are 16 rows of two `Pairs`, `row` bytes apart; `out` has 32 columns of `Scores`
    /// for as many rows as are set up.
    unsafe fn score_32(&self, queries: &[Tile], keys: *const Pairs, row: usize, out: *mut f32) {
        // SAFETY: tiles are set up; the rest is passed on to the caller.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "2:",
                "tileloadd tmm4, [{x} + {line}]",
                "tileloadd tmm2, [{rest} + {line}]",
                "tileloadd tmm6, [{w} + {w_row}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm0, tmm2, tmm6",
                "tileloadd tmm6, [{w} + {w_row} + 64]",
                "tdpbf16ps tmm1, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm2, tmm6",
                "add {x}, 1024",
                "add {rest}, 1024",
                "add {w}, {w_step}",
                "dec {left}",
                "jnz 2b",
                "tilestored [{out} + {out_row}], tmm0",
                "tilestored [{out} + {out_row} + 64], tmm1",
                x = inout(reg) queries.as_ptr() => _,
                rest = inout(reg) queries[queries.len() / 2..].as_ptr() => _,
                w = inout(reg) keys => _,
                w_step = in(reg) TILE_ROWS * row,
                left = inout(reg) queries.len() / 2 => _,
                out = in(reg) out,
                line = in(reg) 64usize,
                w_row = in(reg) row,
                out_row = in(reg) size_of::<Scores>(),
                options(nostack),
            );
        }
    }

    /// Adds the values of a page, or of its first half, for one row block, each times its weight, which stand in the
    /// columns from `at`.
    fn add_values_few(&self, weights: &[Weights], at: usize, values: &[Pairs], half: bool, sums: &mut [Sums]) {
        const _: () = assert!(PAGE == 2 * TILE_COLUMNS, "a page is two tiles of weights");
        let lines = 2 * sums.len();
        let enough = values.len() >= KvType::Bf16.value_lines(sums.len() * TILE_COLUMNS);
        assert!(enough && weights.len() >= 2 * TILE_ROWS && at + PAGE <= CHUNK && !sums.is_empty());
        let row = lines * size_of::<Pairs>();
        // SAFETY: tiles are set up. A tile of weights has 32 columns of up to 16 rows, of which a page has two; a tile
        // of values has 16 pairs of tokens, each of which takes `lines`; a `Sums` is 32 rows of 128 bytes, of which up
        // to 16 are used.
        unsafe {
            self.add_32(&raw const weights[0].0[at], values.as_ptr(), row, sums);
            if !half {
                let (weights, values) =
                    (&raw const weights[0].0[at + TILE_COLUMNS], values.as_ptr().byte_add(TILE_ROWS * row));
                self.add_32(weights, values, row, sums);
            }
        }
    }

    /// Adds 32 values, each times its weight.
    ///
    /// # Safety
    /// There are weights of 32 columns, in rows of `Weights`, as many as are set up, and their rests 16 rows further;
    /// and 16 pairs of values, `row` bytes apart, with two `Pairs` for each of `sums`.
    unsafe fn add_32(&self, weights: *const u16, values: *const Pairs, row: usize, sums: &mut [Sums]) {
        // SAFETY: tiles are set up; the rest is passed on to the caller.
        unsafe {
            asm!(
                "tileloadd tmm4, [{x} + {x_row}]",
                "tileloadd tmm2, [{rest} + {x_row}]",
                "2:",
                "tileloadd tmm0, [{out} + {out_row}]",
                "tileloadd tmm1, [{out} + {out_row} + 64]",
                "tileloadd tmm6, [{w} + {w_row}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm0, tmm2, tmm6",
                "tileloadd tmm6, [{w} + {w_row} + 64]",
                "tdpbf16ps tmm1, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm2, tmm6",
                "tilestored [{out} + {out_row}], tmm0",
                "tilestored [{out} + {out_row} + 64], tmm1",
                "add {w}, 128",
                "add {out}, {out_size}",
                "dec {left}",
                "jnz 2b",
                x = in(reg) weights,
                rest = in(reg) weights.byte_add(TILE_ROWS * size_of::<Weights>()),
                w = inout(reg) values => _,
                left = inout(reg) sums.len() => _,
                out = inout(reg) sums.as_mut_ptr() => _,
                out_size = const size_of::<Sums>(),
                x_row = in(reg) size_of::<Weights>(),
                w_row = in(reg) row,
                out_row = in(reg) 128usize,
                options(nostack),
            );
        }
    }
}
