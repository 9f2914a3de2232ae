//! Attention over the keys and values of a page: a register holds the scores of 16 tokens, or 16 dimensions of what is summed.

use std::arch::x86_64::*;
use std::ops::Range;

use crate::kernel::attention::{CODES, HEADS, PAGE, Pairs, Softmax, Span, lines_of};
use crate::kernel::element;
use crate::pack::GROUP;

/// As [`crate::kernel::scalar::attend`].
pub(in crate::kernel) fn attend<const PER: usize>(
    queries: &[f32],
    span: Span<'_>,
    cap: Option<f32>,
    softmax: &mut [Softmax],
    out: &mut [f32],
) {
    let dimensions = queries.len() / softmax.len();
    assert!(queries.len() == out.len() && queries.len() == dimensions * softmax.len() && span.tokens <= PAGE);
    assert!(span.page.kv().per_lane() == PER && span.page.is_whole(dimensions));
    // SAFETY: see the module `kernel` for the features; the lengths were checked.
    unsafe {
        match softmax {
            [a] => attend_page::<PER, 1>(dimensions, queries, span, cap, [a], out),
            [a, b] => attend_page::<PER, 2>(dimensions, queries, span, cap, [a, b], out),
            [a, b, c] => attend_page::<PER, 3>(dimensions, queries, span, cap, [a, b, c], out),
            [a, b, c, d] => attend_page::<PER, 4>(dimensions, queries, span, cap, [a, b, c, d], out),
            other => unreachable!("1 to {HEADS} heads go together, not {}", other.len()),
        }
    }
}

/// # Safety
/// `queries` and `out` are `N × dimensions` long; the span has at most [`PAGE`] tokens, and the keys and values of a
/// page, `PER` numbers a lane.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
unsafe fn attend_page<const PER: usize, const N: usize>(
    dimensions: usize,
    queries: &[f32],
    span: Span<'_>,
    cap: Option<f32>,
    softmax: [&mut Softmax; N],
    out: &mut [f32],
) {
    const LINES: usize = PAGE / GROUP;
    let page = span.page;
    let mut scores = [[_mm512_setzero_ps(); LINES]; N];
    // Values are fetched while keys are computed with: they lie elsewhere, and a page is too short for the processor to notice.
    let fetched = page.values.as_ptr().cast::<i8>();
    let lines_a_part = page.values.len().div_ceil(dimensions.div_ceil(PER));
    for part in 0..dimensions.div_ceil(PER) {
        for line in 0..lines_a_part {
            _mm_prefetch::<_MM_HINT_T0>(fetched.wrapping_add((part * lines_a_part + line) * 64));
        }
        for line in 0..LINES {
            // SAFETY: passed on to the caller.
            let keys = load_lanes::<PER>(unsafe { page.keys.get_unchecked(part * LINES + line) });
            for (head, scores) in scores.iter_mut().enumerate() {
                for (d, keys) in (PER * part..).zip(keys) {
                    // SAFETY: passed on to the caller; the last lane may have more numbers than the head.
                    let q = if d < dimensions { unsafe { *queries.get_unchecked(head * dimensions + d) } } else { 0.0 };
                    scores[line] = _mm512_fmadd_ps(_mm512_set1_ps(q), keys, scores[line]);
                }
            }
        }
    }
    let scales = page.token_scales();
    if let Some([scales, _]) = &scales {
        for (line, scales) in scales.as_chunks::<GROUP>().0.iter().enumerate() {
            // SAFETY: there are 16 scales.
            let scales = unsafe { _mm512_loadu_ps(scales.as_ptr()) };
            scores.iter_mut().for_each(|scores| scores[line] = _mm512_mul_ps(scores[line], scales));
        }
    }
    if let Some(cap) = cap {
        scores.as_flattened_mut().iter_mut().for_each(|scores| *scores = capped(*scores, cap));
    }
    let mut weights = [[0.0f32; PAGE]; N];
    let mut decays = [0.0f32; N];
    for (head, softmax) in softmax.into_iter().enumerate() {
        decays[head] = weigh(&scores[head], span.first..span.tokens, softmax, &mut weights[head]);
    }
    if let Some([_, scales]) = &scales {
        for weights in &mut weights {
            weights.iter_mut().zip(scales).for_each(|(weight, scale)| *weight *= scale);
        }
    }
    let lines = lines_of(dimensions);
    // Two lines at once: with one, each sum would wait for itself.
    for line in (0..dimensions.div_ceil(GROUP)).step_by(2) {
        let mut sums = [[_mm512_setzero_ps(); 2]; N];
        for part in span.first / PER..span.tokens.div_ceil(PER) {
            for further in 0..2 {
                // SAFETY: passed on to the caller; the lines of a value are even in number.
                let values = load_lanes::<PER>(unsafe { page.values.get_unchecked(part * lines + line + further) });
                for (sums, weights) in sums.iter_mut().zip(&weights) {
                    for (token, values) in (PER * part..).zip(values) {
                        // SAFETY: there are as many weights as a page has tokens.
                        let weight = _mm512_set1_ps(unsafe { *weights.get_unchecked(token) });
                        sums[further] = _mm512_fmadd_ps(weight, values, sums[further]);
                    }
                }
            }
        }
        for (head, out) in out.chunks_exact_mut(dimensions).enumerate() {
            for (out, sum) in out[line * GROUP..].chunks_mut(GROUP).zip(sums[head]) {
                let mask = ((1u32 << out.len()) - 1) as u16;
                // SAFETY: the mask covers what the line of the output has, here and below.
                let before = unsafe { _mm512_maskz_loadu_ps(mask, out.as_ptr()) };
                let after = _mm512_fmadd_ps(before, _mm512_set1_ps(decays[head]), sum);
                // SAFETY: as above.
                unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), mask, after) };
            }
        }
    }
}

/// `cap × tanh(score / cap)`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn capped(scores: __m512, cap: f32) -> __m512 {
    let power = exp(_mm512_mul_ps(scores, _mm512_set1_ps(2.0 / cap)));
    let rest = _mm512_div_ps(_mm512_set1_ps(2.0 * cap), _mm512_add_ps(power, _mm512_set1_ps(1.0)));
    _mm512_sub_ps(_mm512_set1_ps(cap), rest)
}

/// The first, second … numbers of sixteen lanes of `PER`.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_lanes<const PER: usize>(lanes: &Pairs) -> [__m512; PER] {
    // SAFETY: `Pairs` is 64 bytes, aligned to them.
    let bits = unsafe { _mm512_load_si512(lanes.0.as_ptr().cast()) };
    let mut numbers = [_mm512_setzero_ps(); PER];
    for (i, number) in numbers.iter_mut().enumerate() {
        // To the highest bits, where the sign is.
        let high = _mm512_sll_epi32(bits, _mm_cvtsi32_si128((32 - 32 / PER * (i + 1)) as i32));
        *number = if PER == CODES {
            _mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(high))
        } else {
            _mm512_castsi512_ps(_mm512_and_si512(high, _mm512_set1_epi32(0xffff_0000_u32 as i32)))
        };
    }
    numbers
}

/// Turns scores into weights, and tells by how much earlier sums decay.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn weigh(scores: &[__m512; PAGE / GROUP], seen: Range<usize>, softmax: &mut Softmax, weights: &mut [f32; PAGE]) -> f32 {
    let below = |token: usize, line: usize| ((1u32 << token.saturating_sub(line * GROUP).min(GROUP)) - 1) as u16;
    let mask = |line: usize| below(seen.end, line) & !below(seen.start, line);
    let mut largest = _mm512_set1_ps(softmax.peak);
    for (line, &scores) in scores.iter().enumerate() {
        largest = _mm512_mask_max_ps(largest, mask(line), largest, scores);
    }
    let peak = _mm512_reduce_max_ps(largest);
    let mut sum = _mm512_setzero_ps();
    let (weights, _) = weights.as_chunks_mut::<GROUP>();
    for ((line, &scores), weights) in scores.iter().enumerate().zip(weights) {
        let weight = _mm512_maskz_mov_ps(mask(line), exp(_mm512_sub_ps(scores, _mm512_set1_ps(peak))));
        sum = _mm512_add_ps(sum, weight);
        // SAFETY: there are 16 places.
        unsafe { _mm512_storeu_ps(weights.as_mut_ptr(), weight) };
    }
    let decay = element::exp(softmax.peak - peak);
    *softmax = Softmax { peak, sum: softmax.sum * decay + _mm512_reduce_add_ps(sum) };
    decay
}

/// [`element::exp`] for 16 numbers that are not above 0.
#[inline]
#[target_feature(enable = "avx512f")]
#[expect(clippy::excessive_precision, reason = "Cephes' coefficients as published")]
fn exp(x: __m512) -> __m512 {
    const COEFFICIENTS: [f32; 6] =
        [1.987_569_15e-4, 1.398_199_95e-3, 8.333_451_9e-3, 4.166_579_6e-2, 1.666_666_55e-1, 5.000_000_1e-1];
    let x = _mm512_max_ps(x, _mm512_set1_ps(-87.3));
    let n = _mm512_roundscale_ps::<0>(_mm512_mul_ps(x, _mm512_set1_ps(std::f32::consts::LOG2_E)));
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693_359_375), x);
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.121_944_4e-4), r);
    let mut poly = _mm512_set1_ps(COEFFICIENTS[0]);
    for coefficient in &COEFFICIENTS[1..] {
        poly = _mm512_fmadd_ps(poly, r, _mm512_set1_ps(*coefficient));
    }
    let fraction = _mm512_fmadd_ps(_mm512_mul_ps(poly, r), r, _mm512_add_ps(r, _mm512_set1_ps(1.0)));
    _mm512_scalef_ps(fraction, n)
}
