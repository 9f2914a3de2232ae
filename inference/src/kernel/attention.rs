//! Attention of one query position over cached keys and values, page by page.
//!
//! The softmax is computed on line (Milakov and Gimelshein, 2018), so no more than a page of scores exists at a time: for
//! each page the peak grows, what was summed before decays, and the page's values are added. Pages are those of
//! [`crate::cache`], and their borders are at fixed positions, so the result does not depend on how a prompt was cut into
//! steps.
//!
//! Keys and values are bf16, two of them side by side that are multiplied for one sum: keys are `[dimension / 2][token][2]` and
//! values `[token / 2][dimension][2]`. So in both products the lanes of a register hold independent sums, and the matrix
//! unit reads both as they are.

use std::cell::RefCell;
use std::ops::Range;

use super::{Activations, Crew, Isa, scalar};
#[cfg(target_arch = "x86_64")]
use super::{Form, team::Shared};
use crate::pack::{BLOCK, GROUP};

/// Tokens in a page of the cache.
pub const PAGE: usize = 64;

/// Sixteen pairs of bf16: for each of 16 tokens two dimensions of its key, or for each of 16 dimensions the values of two
/// tokens.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Pairs(pub [[u16; 2]; GROUP]);

/// Dimensions of a head as they are stored: filled up to whole tiles.
pub(crate) const fn stored_dimensions(dimensions: usize) -> usize {
    dimensions.next_multiple_of(2 * GROUP)
}

/// [`Pairs`] of the keys of a page.
pub(crate) const fn key_pairs(dimensions: usize) -> usize {
    stored_dimensions(dimensions) / 2 * (PAGE / GROUP)
}

/// [`Pairs`] of the values of a page.
pub(crate) const fn value_pairs(dimensions: usize) -> usize {
    PAGE / 2 * (stored_dimensions(dimensions) / GROUP)
}

/// A stretch of cached tokens, for one layer and one key-value head.
#[derive(Clone, Copy)]
pub struct Span<'a> {
    /// Keys, `[dimension / 2][token]`, dimensions filled up to a multiple of 32.
    pub keys: &'a [Pairs],
    /// Values, `[token / 2][dimension]`, as the keys.
    pub values: &'a [Pairs],
    /// The first token that is looked at: below `tokens`.
    pub first: usize,
    /// Where the tokens that are looked at end: 1 to [`PAGE`].
    pub tokens: usize,
}

/// The running softmax of one query head; the weighted sum of the values so far stands in the output.
#[derive(Clone, Copy)]
pub(super) struct Softmax {
    /// The largest score so far.
    pub(super) peak: f32,
    /// The sum of the weights so far, relative to the peak.
    pub(super) sum: f32,
}

/// Query heads that go over a page together, while its keys and values are in registers.
pub(super) const HEADS: usize = 4;

/// The heads of a layer.
#[derive(Clone, Copy)]
pub(crate) struct Heads {
    /// Numbers in a head.
    pub(crate) dimensions: usize,
    /// Key-value heads.
    pub(crate) kv_heads: usize,
    /// Query heads that share a key-value head.
    pub(crate) group: usize,
    /// Soft cap of scores.
    pub(crate) cap: Option<f32>,
    /// Positions that a row sees, its own and those before.
    pub(crate) window: usize,
}

/// Rows of one sequence that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The first row.
    pub(crate) row: usize,
    /// Rows: 1 to [`STRETCH`].
    pub(crate) rows: usize,
    /// The position of the first.
    pub(crate) position: usize,
    /// Which of the page tables is the sequence's.
    pub(crate) table: usize,
}

/// Rows of a stretch, at most.
pub(crate) const STRETCH: usize = 32;

/// Positions that one task looks at, where rows are computed one by one with the matrix unit: a long context is work for several threads.
/// A segment begins at a multiple of this, and what a row gets of its segments is summed in order, whoever computed them: so the result
/// does not depend on the number of threads. A multiple of what the matrix unit looks at together.
#[cfg(target_arch = "x86_64")]
const SEGMENT: usize = 512;

/// What rows get of single segments, before it is summed; kept for its memory.
#[derive(Default)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only the matrix unit has segments"))]
pub(crate) struct Shares {
    /// `[row][head][segment][dimension]`
    values: Vec<f32>,
    /// Peak and total of each: `[row][head][segment]`.
    weights: Vec<[f32; 2]>,
}

impl Stretch {
    /// The positions that its `row`-th row sees, back to so many with its own.
    pub(super) fn seen(self, row: usize, window: usize) -> Range<usize> {
        let end = self.position + row + 1;
        end.saturating_sub(window)..end
    }
}

/// What a thread works in.
#[derive(Default)]
struct Bench {
    /// `[head of a group][dimension]`
    queries: Vec<f32>,
    /// As the queries.
    out: Vec<f32>,
    #[cfg(target_arch = "x86_64")]
    tiles: Option<super::amx::Bench>,
}

thread_local! {
    /// Kept for its memory.
    static BENCH: RefCell<Bench> = RefCell::default();
}

/// Attention of all rows of some stretches. `query(row, head, room)` gives a query, scaled;
/// `page(table, number, kv_head)` the keys and values of a page.
///
/// # Panics
/// If the stretches are not one after the other, or not as many rows as are in use in `out`, which are `[head][dimension]`;
/// or a page is shorter than its layout says.
#[expect(clippy::too_many_arguments, reason = "each is another thing, and there is one caller")]
pub(crate) fn attend<'a>(
    crew: &Crew,
    isa: Isa,
    heads: Heads,
    stretches: &[Stretch],
    query: impl Fn(usize, usize, &mut [f32]) + Sync,
    page: impl Fn(usize, usize, usize) -> (&'a [Pairs], &'a [Pairs]) + Sync,
    shares: &mut Shares,
    out: &mut Activations,
) {
    let Heads { dimensions, kv_heads, group, window, .. } = heads;
    assert_eq!(out.columns(), dimensions * kv_heads * group, "a row has all heads");
    let rows = stretches.iter().fold(0, |next, stretch| {
        assert!(stretch.row == next && (1..=STRETCH).contains(&stretch.rows), "{stretch:?} after {next} rows");
        next + stretch.rows
    });
    assert_eq!(rows, out.rows(), "every row is in a stretch");
    // A head that is not whole blocks shares one with its neighbour, whose task is another.
    let whole = dimensions.is_multiple_of(BLOCK);
    let writer = out.writer(isa);
    let put = |row: usize, head: usize, values: &[f32]| {
        let columns = head * dimensions..(head + 1) * dimensions;
        // SAFETY: the row is in use and has these columns; this head of this row has one task, as the stretches do not overlap.
        unsafe { if whole { writer.columns(row, columns, values) } else { writer.values(row, columns, values) } }
    };
    #[cfg(target_arch = "x86_64")]
    if isa.has_tiles() && out.form() != Form::Tiles && heads.cap.is_none() {
        row_by_row(crew, isa, heads, stretches, query, page, shares, out);
        return out.turn();
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = shares;
    crew.run(stretches.len() * kv_heads, &|task| {
        let (stretch, kv_head) = (stretches[task / kv_heads], task % kv_heads);
        let page = |number: usize| page(stretch.table, number, kv_head);
        BENCH.with_borrow_mut(|bench| {
            #[cfg(target_arch = "x86_64")]
            if out.form() == super::Form::Tiles && heads.cap.is_none() {
                let tiles = super::amx::Bench::of(&mut bench.tiles, dimensions);
                for head in kv_head * group..(kv_head + 1) * group {
                    let query = |row: usize, room: &mut [f32]| query(stretch.row + row, head, room);
                    super::amx::attend(tiles, stretch, window, query, page, |row, values| {
                        put(stretch.row + row, head, values);
                    });
                }
                return;
            }
            let Bench { queries, out, .. } = bench;
            queries.resize(group * dimensions, 0.0);
            out.resize(group * dimensions, 0.0);
            for row in 0..stretch.rows {
                for (head, room) in (kv_head * group..).zip(queries.chunks_exact_mut(dimensions)) {
                    query(stretch.row + row, head, room);
                }
                let seen = stretch.seen(row, window);
                let spans = (seen.start / PAGE..seen.end.div_ceil(PAGE)).map(|number| {
                    let (keys, values) = page(number);
                    let first = seen.start.saturating_sub(number * PAGE);
                    Span { keys, values, first, tokens: PAGE.min(seen.end - number * PAGE) }
                });
                attention(isa, dimensions, heads.cap, queries, &spans, out);
                for (head, values) in (kv_head * group..).zip(out.chunks_exact(dimensions)) {
                    put(stretch.row + row, head, values);
                }
            }
        });
    });
    if whole {
        out.turn();
    } else {
        out.finish(crew, isa);
    }
}

/// As [`attend`], with the matrix unit, each row by itself: the heads of a row that share keys and values go together.
#[cfg(target_arch = "x86_64")]
#[expect(clippy::too_many_arguments, reason = "those of `attend`")]
fn row_by_row<'a>(
    crew: &Crew,
    isa: Isa,
    heads: Heads,
    stretches: &[Stretch],
    query: impl Fn(usize, usize, &mut [f32]) + Sync,
    page: impl Fn(usize, usize, usize) -> (&'a [Pairs], &'a [Pairs]) + Sync,
    shares: &mut Shares,
    out: &mut Activations,
) {
    let Heads { dimensions, kv_heads, group, window, .. } = heads;
    let (rows, all_heads) = (out.rows(), kv_heads * group);
    let of_row = |row: usize| {
        let stretch = stretches[stretches.partition_point(|stretch| stretch.row <= row) - 1];
        (stretch.table, stretch.seen(row - stretch.row, window))
    };
    let segments = |seen: &Range<usize>| seen.end.div_ceil(SEGMENT) - seen.start / SEGMENT;
    let most = (0..rows).map(|row| segments(&of_row(row).1)).max().unwrap_or(0);
    // What a row gets of one segment needs no sum. A head that is not whole blocks shares one with its neighbour, whose task may be another.
    let is_single = |segments: usize| segments == 1 && dimensions.is_multiple_of(BLOCK);
    let (values, weights) = (rows * all_heads * most * dimensions, rows * all_heads * most);
    let (values, weights) = if is_single(most) { (0, 0) } else { (values, weights) };
    shares.values.resize(shares.values.len().max(values), 0.0);
    shares.weights.resize(shares.weights.len().max(weights), [0.0; 2]);
    let (values, weights) = (Shared(shares.values.as_mut_ptr()), Shared(shares.weights.as_mut_ptr()));
    let writer = out.writer(isa);
    crew.run(rows * kv_heads * most, &|task| {
        let (row, kv_head, segment) = (task / (kv_heads * most), task / most % kv_heads, task % most);
        let (table, seen) = of_row(row);
        let count = segments(&seen);
        if segment >= count {
            return;
        }
        let first = (seen.start / SEGMENT + segment) * SEGMENT;
        let seen = seen.start.max(first)..seen.end.min(first + SEGMENT);
        BENCH.with_borrow_mut(|bench| {
            let tiles = super::amx::Bench::of(&mut bench.tiles, dimensions);
            let query = |head: usize, room: &mut [f32]| query(row, kv_head * group + head, room);
            super::amx::attend_heads(
                tiles,
                group,
                seen,
                query,
                |number| page(table, number, kv_head),
                |head, share| {
                    let head = kv_head * group + head;
                    if is_single(count) {
                        let scale = 1.0 / share.total;
                        share.values.iter_mut().for_each(|value| *value *= scale);
                        let columns = head * dimensions..(head + 1) * dimensions;
                        // SAFETY: the row is in use and has this head's columns, which have one task.
                        return unsafe { writer.columns(row, columns, share.values) };
                    }
                    let at = (row * all_heads + head) * most + segment;
                    // SAFETY: there is room for each row, head and segment, which has one task.
                    unsafe {
                        std::ptr::copy_nonoverlapping(
                            share.values.as_ptr(),
                            values.get().add(at * dimensions),
                            dimensions,
                        );
                        weights.get().add(at).write([share.peak, share.total]);
                    }
                },
            );
        });
    });
    if is_single(most) {
        return;
    }
    let shares = &*shares;
    crew.run(rows, &|row| {
        let segments = segments(&of_row(row).1);
        if is_single(segments) {
            return;
        }
        BENCH.with_borrow_mut(|Bench { out, .. }| {
            out.resize(all_heads * dimensions, 0.0);
            for (head, out) in out.chunks_exact_mut(dimensions).enumerate() {
                let at = (row * all_heads + head) * most;
                let weights = &shares.weights[at..at + segments];
                let peak = weights.iter().fold(f32::NEG_INFINITY, |peak, weights| peak.max(weights[0]));
                let total: f32 = weights.iter().map(|[of, total]| total * (of - peak).exp2()).sum();
                out.fill(0.0);
                let values = shares.values[at * dimensions..].chunks_exact(dimensions);
                for ([of, _], values) in weights.iter().zip(values) {
                    let scale = (of - peak).exp2() / total;
                    out.iter_mut().zip(values).for_each(|(out, value)| *out += scale * value);
                }
            }
            // SAFETY: the row is in use and has all of these columns, and one task.
            unsafe { writer.columns(row, 0..out.len(), out) };
        });
    });
}

/// Attention of the query heads that share one key-value head: `queries` and `out` are `[head][dimension]`. Scores are
/// plain products: queries come scaled. With a cap, a score `s` becomes `cap × tanh(s / cap)` (Riviere et al., 2024).
///
/// # Panics
/// If `out` and `queries` are not of one length, made of whole heads, or a span is shorter than its tokens or has none.
fn attention<'a>(
    isa: Isa,
    dimensions: usize,
    cap: Option<f32>,
    queries: &[f32],
    spans: &(impl Iterator<Item = Span<'a>> + Clone),
    out: &mut [f32],
) {
    assert!(queries.len() == out.len() && queries.len().is_multiple_of(dimensions), "{} {}", queries.len(), out.len());
    for (queries, out) in queries.chunks(HEADS * dimensions).zip(out.chunks_mut(HEADS * dimensions)) {
        out.fill(0.0);
        let mut softmax = [Softmax { peak: f32::NEG_INFINITY, sum: 0.0 }; HEADS];
        let softmax = &mut softmax[..out.len() / dimensions];
        for span in spans.clone() {
            assert!(span.first < span.tokens && span.tokens <= PAGE, "{} to {}", span.first, span.tokens);
            assert!(span.keys.len() >= key_pairs(dimensions) && span.values.len() >= value_pairs(dimensions));
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 | Isa::Amx => super::avx512::attend(queries, span, cap, softmax, out),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => super::avx2::attend(queries, span, cap, softmax, out),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon | Isa::NeonI8mm => super::neon::attend(queries, span, cap, softmax, out),
                _ => scalar::attend(queries, span, cap, softmax, out),
            }
        }
        for (out, softmax) in out.chunks_exact_mut(dimensions).zip(softmax) {
            let scale = 1.0 / softmax.sum;
            out.iter_mut().for_each(|out| *out *= scale);
        }
    }
}
