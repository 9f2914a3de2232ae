//! Attention of one query position over cached keys and values, page by page.
//!
//! The softmax is computed on line (Milakov and Gimelshein, 2018), so no more than a page of scores exists at a time: for
//! each page the peak grows, what was summed before decays, and the page's values are added. Pages are those of
//! [`crate::cache`], and their borders are at fixed positions, so the result does not depend on how a prompt was cut into
//! steps.
//!
//! Within a page, keys are `[dimension][token]` and values `[token][dimension]`, so that in both products the lanes of a
//! register hold independent sums.

use super::{Isa, scalar};
use crate::pack::{GROUP, Halves};

/// Tokens in a page of the cache.
pub const PAGE: usize = 64;

/// A stretch of cached tokens, for one layer and one key-value head.
#[derive(Clone, Copy)]
pub struct Span<'a> {
    /// Keys as halves, `[dimension][token]`: [`PAGE`] tokens a dimension.
    pub keys: &'a [Halves],
    /// Values as halves, `[token][dimension]`: dimensions filled up to a multiple of 16.
    pub values: &'a [Halves],
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
            assert!(span.first < span.tokens && span.tokens <= PAGE && span.keys.len() >= dimensions * (PAGE / GROUP));
            assert!(span.values.len() >= span.tokens * dimensions.div_ceil(GROUP));
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => super::avx512::attend(queries, span, cap, softmax, out),
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
