//! Attention of one query position over cached keys and values, page by page.
//!
//! The softmax is computed on line (Milakov and Gimelshein, 2018), so no more than a page of scores exists at a time: for
//! each page the peak grows, what was summed before decays, and the page's values are added. Pages are those of
//! [`crate::cache`], and their borders are at fixed positions, so the result does not depend on how a prompt was cut into
//! steps.
//!
//! How keys and values lie says [`page`]. Where they are codes, sums are brought to the scales of the keys before they
//! are scores, and weights to those of the values.

mod page;
mod segments;

use std::cell::RefCell;
use std::ops::Range;

use super::{Activations, Crew, Isa, scalar};
#[cfg(target_arch = "x86_64")]
use super::{Form, amx};
use crate::pack::BLOCK;
#[cfg(target_arch = "x86_64")]
pub(crate) use page::stored_dimensions;
pub(crate) use page::{BF16, CODES, ask_to_write, codes, lines_of};
pub use page::{KvType, PAGE, PageView, Pairs, Span};
pub(crate) use segments::Shares;

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
    /// What keys and values are kept as.
    pub(crate) kv: KvType,
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
    tiles: Option<amx::Bench>,
    #[cfg(target_arch = "x86_64")]
    codes: Option<amx::CodeBench>,
}

thread_local! {
    /// Kept for its memory.
    static BENCH: RefCell<Bench> = RefCell::default();
}

/// Attention of all rows of some stretches.
pub(crate) struct Attention<'a, Q, P> {
    pub(crate) isa: Isa,
    pub(crate) heads: Heads,
    /// One after the other.
    pub(crate) stretches: &'a [Stretch],
    /// `query(row, head, room)` gives a query, scaled.
    pub(crate) query: Q,
    /// `page(table, number, kv_head)` gives the keys and values of a page.
    pub(crate) page: P,
}

impl<'p, Q, P> Attention<'_, Q, P>
where
    Q: Fn(usize, usize, &mut [f32]) + Sync,
    P: Fn(usize, usize, usize) -> PageView<'p> + Sync,
{
    /// Computes it, into `[row][head][dimension]`.
    ///
    /// # Panics
    /// If the stretches are not one after the other, or not as many rows as are in use in `out`; or a page is shorter than its
    /// layout says.
    pub(crate) fn compute(&self, crew: &Crew, shares: &mut Shares, out: &mut Activations) {
        let Heads { dimensions, kv_heads, group, cap, .. } = self.heads;
        assert_eq!(out.columns(), dimensions * kv_heads * group, "a row has all heads");
        let rows = self.stretches.iter().fold(0, |next, stretch| {
            assert!(stretch.row == next && (1..=STRETCH).contains(&stretch.rows), "{stretch:?} after {next} rows");
            next + stretch.rows
        });
        assert_eq!(rows, out.rows(), "every row is in a stretch");
        #[cfg(target_arch = "x86_64")]
        if self.isa.has_tiles() && out.form() != Form::Tiles && cap.is_none() {
            self.row_by_row(crew, shares, out);
            return out.turn();
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (shares, cap);
        // A head that is not whole blocks shares one with its neighbour, whose task is another.
        let whole = dimensions.is_multiple_of(BLOCK);
        let writer = out.writer(self.isa);
        let put = |row: usize, head: usize, values: &[f32]| {
            let columns = head * dimensions..(head + 1) * dimensions;
            // SAFETY: the row is in use and has these columns; this head of this row has one task, as the stretches do
            // not overlap.
            unsafe { if whole { writer.columns(row, columns, values) } else { writer.values(row, columns, values) } }
        };
        crew.run(self.stretches.len() * kv_heads, &|task| {
            let (stretch, kv_head) = (self.stretches[task / kv_heads], task % kv_heads);
            BENCH.with_borrow_mut(|bench| {
                #[cfg(target_arch = "x86_64")]
                if out.form() == Form::Tiles && cap.is_none() {
                    return self.stretch_by_tiles(bench, stretch, kv_head, put);
                }
                self.stretch_by_rows(bench, stretch, kv_head, put);
            });
        });
        if whole {
            out.turn();
        } else {
            out.finish(crew, self.isa);
        }
    }

    /// The rows of a stretch and the heads that share keys and values, with the matrix unit: `put(row, head, result)`.
    #[cfg(target_arch = "x86_64")]
    fn stretch_by_tiles(
        &self,
        bench: &mut Bench,
        stretch: Stretch,
        kv_head: usize,
        put: impl Fn(usize, usize, &[f32]),
    ) {
        let Heads { dimensions, group, kv, window, .. } = self.heads;
        let tiles = amx::Bench::of(&mut bench.tiles, dimensions, group);
        let first = kv_head * group;
        let query = |row: usize, head: usize, room: &mut [f32]| (self.query)(stretch.row + row, first + head, room);
        let page = |number: usize| (self.page)(stretch.table, number, kv_head);
        amx::attend(tiles, stretch, (group, kv, window), query, page, |row, head, values| {
            put(stretch.row + row, first + head, values);
        });
    }

    /// As [`Self::stretch_by_tiles`], one row after the other.
    fn stretch_by_rows(&self, bench: &mut Bench, stretch: Stretch, kv_head: usize, put: impl Fn(usize, usize, &[f32])) {
        let Heads { dimensions, group, cap, window, .. } = self.heads;
        let Bench { queries, out, .. } = bench;
        queries.resize(group * dimensions, 0.0);
        out.resize(group * dimensions, 0.0);
        let heads = kv_head * group..;
        for row in 0..stretch.rows {
            for (head, room) in heads.clone().zip(queries.chunks_exact_mut(dimensions)) {
                (self.query)(stretch.row + row, head, room);
            }
            let seen = stretch.seen(row, window);
            let spans = (seen.start / PAGE..seen.end.div_ceil(PAGE)).map(|number| {
                let page = (self.page)(stretch.table, number, kv_head);
                debug_assert_eq!(page.kv(), self.heads.kv, "all pages are of one type");
                let first = seen.start.saturating_sub(number * PAGE);
                Span { page, first, tokens: PAGE.min(seen.end - number * PAGE) }
            });
            attention(self.isa, dimensions, cap, queries, &spans, out);
            for (head, values) in heads.clone().zip(out.chunks_exact(dimensions)) {
                put(stretch.row + row, head, values);
            }
        }
    }
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
            assert!(span.page.is_whole(dimensions), "a page has all dimensions");
            match span.page.kv() {
                KvType::Bf16 => attend::<BF16>(isa, queries, span, cap, softmax, out),
                KvType::Q8 => attend::<CODES>(isa, queries, span, cap, softmax, out),
            }
        }
        for (out, softmax) in out.chunks_exact_mut(dimensions).zip(softmax) {
            let scale = 1.0 / softmax.sum;
            out.iter_mut().for_each(|out| *out *= scale);
        }
    }
}

/// Adds one page of keys and values, of `PER` numbers a lane, to the running softmaxes of some query heads.
fn attend<const PER: usize>(
    isa: Isa,
    queries: &[f32],
    span: Span<'_>,
    cap: Option<f32>,
    softmax: &mut [Softmax],
    out: &mut [f32],
) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx => super::avx512::attend::<PER>(queries, span, cap, softmax, out),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => super::avx2::attend::<PER>(queries, span, cap, softmax, out),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon | Isa::NeonI8mm => super::neon::attend::<PER>(queries, span, cap, softmax, out),
        _ => scalar::attend::<PER>(queries, span, cap, softmax, out),
    }
}
