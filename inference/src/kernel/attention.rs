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

use super::{Isa, scalar};
use crate::pack::GROUP;

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
    /// Keys, `[dimension / 2][token]`: [`key_pairs`] of them.
    pub keys: &'a [Pairs],
    /// Values, `[token / 2][dimension]`: [`value_pairs`] of them.
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

/// Attention of the query heads that share one key-value head: `queries` and `out` are `[head][dimension]`. Scores are
/// plain products: queries come scaled. With a cap, a score `s` becomes `cap × tanh(s / cap)` (Riviere et al., 2024).
///
/// # Panics
/// If `out` and `queries` are not of one length, made of whole heads, or a span is shorter than its tokens or has none.
pub(crate) fn attention<'a>(
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
                _ => scalar::attend(queries, span, cap, softmax, out),
            }
        }
        for (out, softmax) in out.chunks_exact_mut(dimensions).zip(softmax) {
            let scale = 1.0 / softmax.sum;
            out.iter_mut().for_each(|out| *out *= scale);
        }
    }
}
