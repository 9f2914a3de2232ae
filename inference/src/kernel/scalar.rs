//! The reference: plain Rust that says what every other kernel computes, and the fallback where there is none.

use super::activations::View;
use super::attention::{PAGE, Softmax, Span, lines_of};
use super::{Lanes, element};
use crate::pack::{BLOCK, GROUP, Halves, Line, Quantized, Shift};

/// One row of activations times one group of quantized rows.
pub(super) fn quantized(q: &Quantized, group: usize, x: View<'_>, row: usize) -> Lanes {
    let blocks = x.columns / BLOCK;
    let mut out = [0.0; GROUP];
    for b in 0..blocks {
        let (at, of_x) = (group * blocks + b, row * blocks + b);
        let codes = &x.codes[of_x * BLOCK..][..BLOCK];
        for (r, out) in out.iter_mut().enumerate() {
            let weights = q.codes_of(at, r);
            let mut dots = [0i32; 2];
            for (j, (&weight, &code)) in weights.iter().zip(codes).enumerate() {
                dots[j * 2 / BLOCK] += i32::from(weight) * i32::from(code);
            }
            dots[0] -= x.sums[2 * of_x] * i32::from(q.zero());
            dots[1] -= x.sums[2 * of_x + 1] * i32::from(q.zero());
            let scale = |half: usize| q.scales[at * q.scales_per_block + half].f16(r) * x.scales[of_x];
            if q.scales_per_block == 1 {
                *out += (dots[0] + dots[1]) as f32 * scale(0);
            } else {
                *out += dots[0] as f32 * scale(0);
                *out += dots[1] as f32 * scale(1);
            }
            match &q.shift {
                Shift::Offset { .. } => {}
                Shift::Min(mins) if q.scales_per_block == 1 => *out += mins[at].f16(r) * x.scaled_sums[of_x],
                Shift::Min(mins) => {
                    for half in 0..2 {
                        *out += mins[2 * at + half].f16(r) * (x.scales[of_x] * x.sums[2 * of_x + half] as f32);
                    }
                }
            }
        }
    }
    out
}

/// One row of activations times one group of dense rows, given column by column.
fn dense<T>(columns: &[T], x: View<'_>, row: usize, value: impl Fn(&T, usize) -> f32) -> Lanes {
    let mut out = [0.0; GROUP];
    for (lanes, x) in columns.iter().zip(&x.values[row * x.columns..]) {
        for (r, out) in out.iter_mut().enumerate() {
            *out += value(lanes, r) * x;
        }
    }
    out
}

pub(super) fn f16(columns: &[Halves], x: View<'_>, row: usize) -> Lanes {
    dense(columns, x, row, Halves::f16)
}

pub(super) fn bf16(columns: &[Halves], x: View<'_>, row: usize) -> Lanes {
    dense(columns, x, row, |halves, r| f32::from_bits(u32::from(halves.0[r]) << 16))
}

pub(super) fn f32(columns: &[Line], x: View<'_>, row: usize) -> Lanes {
    dense(columns, x, row, Line::f32)
}

/// Adds one page of keys and values, of `PER` numbers a lane, to the running softmaxes of some query heads; see
/// [`super::attention`].
pub(super) fn attend<const PER: usize>(
    queries: &[f32],
    span: Span<'_>,
    cap: Option<f32>,
    softmax: &mut [Softmax],
    out: &mut [f32],
) {
    let (dimensions, page) = (queries.len() / softmax.len(), span.page);
    let lines = lines_of(dimensions);
    let scales = page.token_scales();
    let heads = queries.chunks_exact(dimensions).zip(out.chunks_exact_mut(dimensions));
    for ((query, out), softmax) in heads.zip(softmax) {
        let mut scores = [0.0f32; PAGE];
        for (q, keys) in query.chunks(PER).zip(page.keys.chunks_exact(PAGE / GROUP)) {
            for (t, score) in scores[..span.tokens].iter_mut().enumerate() {
                for (i, q) in q.iter().enumerate() {
                    *score += q * keys[t / GROUP].number::<PER>(t % GROUP, i);
                }
            }
        }
        if let Some([scales, _]) = &scales {
            scores.iter_mut().zip(scales).for_each(|(score, scale)| *score *= scale);
        }
        if let Some(cap) = cap {
            element::cap(&mut scores, cap);
        }
        let seen = span.first..span.tokens;
        let peak = scores[seen.clone()].iter().fold(softmax.peak, |peak, &score| peak.max(score));
        let decay = element::exp(softmax.peak - peak);
        *softmax = Softmax { peak, sum: softmax.sum * decay };
        out.iter_mut().for_each(|out| *out *= decay);
        for t in seen {
            let weight = element::exp(scores[t] - peak);
            softmax.sum += weight;
            let weight = scales.map_or(weight, |[_, scales]| weight * scales[t]);
            let values = &page.values[t / PER * lines..];
            for (d, out) in out.iter_mut().enumerate() {
                *out += weight * values[d / GROUP].number::<PER>(d % GROUP, t % PER);
            }
        }
    }
}
