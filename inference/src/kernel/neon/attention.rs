//! Attention over a page of keys and values.

use std::arch::aarch64::*;
use std::array::from_fn;

use super::super::attention::{CODES, HEADS, PAGE, Pairs, Softmax, Span, lines_of};
use super::super::element;
use super::{LANES, REGISTERS, store};
use crate::pack::GROUP;

/// As [`super::super::scalar::attend`].
pub(in crate::kernel) fn attend<const PER: usize>(
    queries: &[f32],
    span: Span<'_>,
    cap: Option<f32>,
    softmax: &mut [Softmax],
    out: &mut [f32],
) {
    // SAFETY: see the module `kernel` for the features.
    unsafe {
        match softmax {
            [a] => attend_page::<PER, 1>(queries, span, cap, [a], out),
            [a, b] => attend_page::<PER, 2>(queries, span, cap, [a, b], out),
            [a, b, c] => attend_page::<PER, 3>(queries, span, cap, [a, b, c], out),
            [a, b, c, d] => attend_page::<PER, 4>(queries, span, cap, [a, b, c, d], out),
            other => unreachable!("1 to {HEADS} heads go together, not {}", other.len()),
        }
    }
}

/// `N` heads: keys and values are unpacked once for all of them.
#[target_feature(enable = "neon")]
fn attend_page<const PER: usize, const N: usize>(
    queries: &[f32],
    span: Span<'_>,
    cap: Option<f32>,
    softmax: [&mut Softmax; N],
    out: &mut [f32],
) {
    let (dimensions, page) = (queries.len() / N, span.page);
    assert!(queries.len() == out.len() && span.tokens <= PAGE && page.is_whole(dimensions));
    let mut weights = scores::<PER, N>(dimensions, queries, span);
    let mut decays = [0.0; N];
    let scales = page.token_scales();
    for ((weights, decay), softmax) in weights.iter_mut().zip(&mut decays).zip(softmax) {
        if let Some([scales, _]) = &scales {
            weights.iter_mut().zip(scales).for_each(|(score, scale)| *score *= scale);
        }
        if let Some(cap) = cap {
            element::cap(weights, cap);
        }
        *decay = weigh(weights, span, softmax);
        if let Some([_, scales]) = &scales {
            weights.iter_mut().zip(scales).for_each(|(weight, scale)| *weight *= scale);
        }
    }
    let lines = lines_of(dimensions);
    for line in 0..dimensions.div_ceil(GROUP) {
        let mut sums = [[vdupq_n_f32(0.0); REGISTERS]; N];
        for part in span.first / PER..span.tokens.div_ceil(PER) {
            let of_part: [[f32; PER]; N] = from_fn(|n| weights[n].as_chunks().0[part]);
            multiply_lanes(&mut sums, &page.values[part * lines + line], of_part);
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
fn scores<const PER: usize, const N: usize>(dimensions: usize, queries: &[f32], span: Span<'_>) -> [[f32; PAGE]; N] {
    const LINES: usize = PAGE / GROUP;
    let heads: [&[f32]; N] = from_fn(|n| &queries[n * dimensions..][..dimensions]);
    let mut scores = [[0.0; PAGE]; N];
    for line in span.first / GROUP..span.tokens.div_ceil(GROUP) {
        let mut sums = [[vdupq_n_f32(0.0); REGISTERS]; N];
        for part in 0..dimensions.div_ceil(PER) {
            let of_part: [[f32; PER]; N] = match part < dimensions / PER {
                true => heads.map(|head| head.as_chunks().0[part]),
                false => heads.map(|head| from_fn(|i| head.get(PER * part + i).copied().unwrap_or(0.0))),
            };
            multiply_lanes(&mut sums, &span.page.keys[part * LINES + line], of_part);
        }
        for (scores, sums) in scores.iter_mut().zip(sums) {
            for (scores, sum) in scores.as_chunks_mut().0[line * REGISTERS..].iter_mut().zip(sums) {
                store(scores, sum);
            }
        }
    }
    scores
}

/// Adds sixteen lanes of `PER` numbers, each times as many factors.
#[inline]
#[target_feature(enable = "neon")]
fn multiply_lanes<const PER: usize, const N: usize>(
    sums: &mut [[float32x4_t; REGISTERS]; N],
    lanes: &Pairs,
    factors: [[f32; PER]; N],
) {
    for (r, four) in lanes.0.as_chunks::<LANES>().0.iter().enumerate() {
        // SAFETY: there are four lanes of 4 bytes.
        let bits = unsafe { vld1q_u32(four.as_ptr().cast()) };
        for i in 0..PER {
            // To the highest bits, where the sign is.
            let high = vshlq_u32(bits, vdupq_n_s32((32 - 32 / PER * (i + 1)) as i32));
            let numbers = if PER == CODES {
                vcvtq_f32_s32(vshrq_n_s32::<24>(vreinterpretq_s32_u32(high)))
            } else {
                vreinterpretq_f32_u32(vandq_u32(high, vdupq_n_u32(0xffff_0000)))
            };
            for (sums, factors) in sums.iter_mut().zip(factors) {
                sums[r] = vfmaq_n_f32(sums[r], numbers, factors[i]);
            }
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
