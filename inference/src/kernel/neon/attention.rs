//! Attention over a page of keys and values.

use std::arch::aarch64::*;
use std::array::from_fn;

use super::super::attention::{HEADS, PAGE, Pairs, Softmax, Span, key_pairs, stored_dimensions, value_pairs};
use super::super::element;
use super::{LANES, REGISTERS, store};
use crate::pack::GROUP;

/// As [`super::super::scalar::attend`].
pub(in crate::kernel) fn attend(
    queries: &[f32],
    span: Span<'_>,
    cap: Option<f32>,
    softmax: &mut [Softmax],
    out: &mut [f32],
) {
    // SAFETY: see the module `kernel` for the features.
    unsafe {
        match softmax {
            [a] => attend_page(queries, span, cap, [a], out),
            [a, b] => attend_page(queries, span, cap, [a, b], out),
            [a, b, c] => attend_page(queries, span, cap, [a, b, c], out),
            [a, b, c, d] => attend_page(queries, span, cap, [a, b, c, d], out),
            other => unreachable!("1 to {HEADS} heads go together, not {}", other.len()),
        }
    }
}

/// `N` heads: keys and values are unpacked once for all of them.
#[target_feature(enable = "neon")]
fn attend_page<const N: usize>(
    queries: &[f32],
    span: Span<'_>,
    cap: Option<f32>,
    softmax: [&mut Softmax; N],
    out: &mut [f32],
) {
    let dimensions = queries.len() / N;
    assert!(queries.len() == out.len() && span.tokens <= PAGE);
    assert!(span.keys.len() >= key_pairs(dimensions) && span.values.len() >= value_pairs(dimensions));
    let mut weights = scores::<N>(dimensions, queries, span);
    let mut decays = [0.0; N];
    for ((weights, decay), softmax) in weights.iter_mut().zip(&mut decays).zip(softmax) {
        if let Some(cap) = cap {
            element::cap(weights, cap);
        }
        *decay = weigh(weights, span, softmax);
    }
    let lines = stored_dimensions(dimensions) / GROUP;
    for line in 0..dimensions.div_ceil(GROUP) {
        let mut sums = [[vdupq_n_f32(0.0); REGISTERS]; N];
        for pair in span.first / 2..span.tokens.div_ceil(2) {
            let values = &span.values[pair * lines + line];
            let mut of_pair = [vdup_n_f32(0.0); N];
            for (of_pair, weights) in of_pair.iter_mut().zip(&weights) {
                *of_pair = load_two(&weights.as_chunks().0[pair]);
            }
            multiply_pairs(&mut sums, values, of_pair);
        }
        for ((out, sums), decay) in out.chunks_exact_mut(dimensions).zip(sums).zip(decays) {
            let mut added = [0.0; GROUP];
            for (added, sum) in added.as_chunks_mut().0.iter_mut().zip(sums) {
                store(added, sum);
            }
            for (out, added) in out[line * GROUP..].iter_mut().zip(added) {
                *out = *out * decay + added;
            }
        }
    }
}

/// Queries times keys, where there are tokens to be looked at.
#[inline]
#[target_feature(enable = "neon")]
fn scores<const N: usize>(dimensions: usize, queries: &[f32], span: Span<'_>) -> [[f32; PAGE]; N] {
    const LINES: usize = PAGE / GROUP;
    let heads: [&[f32]; N] = from_fn(|n| &queries[n * dimensions..][..dimensions]);
    let mut scores = [[0.0; PAGE]; N];
    for line in span.first / GROUP..span.tokens.div_ceil(GROUP) {
        let mut sums = [[vdupq_n_f32(0.0); REGISTERS]; N];
        for pair in 0..dimensions / 2 {
            let mut of_pair = [vdup_n_f32(0.0); N];
            for (of_pair, head) in of_pair.iter_mut().zip(heads) {
                *of_pair = load_two(&head.as_chunks().0[pair]);
            }
            multiply_pairs(&mut sums, &span.keys[pair * LINES + line], of_pair);
        }
        if dimensions % 2 == 1 {
            let last = heads.map(|head| [head[dimensions - 1], 0.0]);
            let mut of_pair = [vdup_n_f32(0.0); N];
            for (of_pair, last) in of_pair.iter_mut().zip(&last) {
                *of_pair = load_two(last);
            }
            multiply_pairs(&mut sums, &span.keys[dimensions / 2 * LINES + line], of_pair);
        }
        for (scores, sums) in scores.iter_mut().zip(sums) {
            for (scores, sum) in scores.as_chunks_mut().0[line * REGISTERS..].iter_mut().zip(sums) {
                store(scores, sum);
            }
        }
    }
    scores
}

/// Adds sixteen pairs of numbers, each times a pair of factors.
#[inline]
#[target_feature(enable = "neon")]
fn multiply_pairs<const N: usize>(sums: &mut [[float32x4_t; REGISTERS]; N], pairs: &Pairs, factors: [float32x2_t; N]) {
    for (r, four) in pairs.0.as_chunks::<LANES>().0.iter().enumerate() {
        // SAFETY: there are four pairs of 4 bytes.
        let bits = unsafe { vld1q_u32(four.as_ptr().cast()) };
        let first = vreinterpretq_f32_u32(vshlq_n_u32::<16>(bits));
        let second = vreinterpretq_f32_u32(vandq_u32(bits, vdupq_n_u32(0xffff_0000)));
        for (sums, factors) in sums.iter_mut().zip(factors) {
            sums[r] = vfmaq_lane_f32::<0>(sums[r], first, factors);
            sums[r] = vfmaq_lane_f32::<1>(sums[r], second, factors);
        }
    }
}

/// Turns scores into weights, and tells by how much earlier sums decay.
#[inline]
#[target_feature(enable = "neon")]
fn weigh(scores: &mut [f32; PAGE], span: Span<'_>, softmax: &mut Softmax) -> f32 {
    let fill_unseen = |scores: &mut [f32; PAGE], value| {
        scores[..span.first].fill(value);
        scores[span.tokens..].fill(value);
    };
    fill_unseen(scores, f32::NEG_INFINITY);
    let mut largest = vdupq_n_f32(softmax.peak);
    for four in scores.as_chunks().0 {
        largest = vmaxnmq_f32(largest, load(four));
    }
    let peak = vmaxnmvq_f32(largest);
    scores.iter_mut().for_each(|score| *score = element::exp(*score - peak));
    fill_unseen(scores, 0.0);
    let mut sum = vdupq_n_f32(0.0);
    for four in scores.as_chunks().0 {
        sum = vaddq_f32(sum, load(four));
    }
    let decay = element::exp(softmax.peak - peak);
    *softmax = Softmax { peak, sum: softmax.sum * decay + vaddvq_f32(sum) };
    decay
}

#[inline]
#[target_feature(enable = "neon")]
fn load(four: &[f32; LANES]) -> float32x4_t {
    // SAFETY: there are four.
    unsafe { vld1q_f32(four.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn load_two(two: &[f32; 2]) -> float32x2_t {
    // SAFETY: there are two.
    unsafe { vld1_f32(two.as_ptr()) }
}
