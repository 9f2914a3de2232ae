//! What is done to vectors number by number. Each body is written once, in a form that compilers turn into vector code,
//! and compiled once for every instruction set ([`instances`]).

use super::activations::CodesMut;
use crate::pack::BLOCK;

/// Partial sums, so that additions can run side by side; their order does not depend on the instruction set.
const LANES: usize = 16;

/// `e^x` to within 2 units in the last place; at most `e^88.3`, at least `e^-87.3`.
///
/// Cephes' `expf`: the exponent is split off, and a polynomial approximates the rest on ±ln 2 / 2.
#[inline(always)]
#[expect(clippy::excessive_precision, reason = "Cephes' coefficients as published")]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding this rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.3);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_375 - n * -2.121_944_4e-4;
    let poly = ((((1.987_569_15e-4 * r + 1.398_199_95e-3) * r + 8.333_451_9e-3) * r + 4.166_579_6e-2) * r
        + 1.666_666_55e-1)
        * r
        + 5.000_000_1e-1;
    let fraction = poly * r * r + r + 1.0;
    let exponent = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32).wrapping_add(127) << 23;
    fraction * f32::from_bits(exponent as u32)
}

#[inline(always)]
fn sum_of_squares(x: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x * x;
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|x| x * x).sum::<f32>()
}

/// Root mean square normalization (Zhang and Sennrich, 2019): `out = weight × x / √(mean x² + epsilon)`.
#[inline(always)]
fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let scale = 1.0 / (sum_of_squares(x) / x.len() as f32 + epsilon).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

/// As [`rms_norm`], added to what is there: `out += weight × x / √(mean x² + epsilon)`.
#[inline(always)]
fn add_rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let scale = 1.0 / (sum_of_squares(x) / x.len() as f32 + epsilon).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out += x * scale * weight;
    }
}

/// As [`rms_norm`], in place.
#[inline(always)]
fn rms_norm_in_place(x: &mut [f32], weight: &[f32], epsilon: f32) {
    let scale = 1.0 / (sum_of_squares(x) / x.len() as f32 + epsilon).sqrt();
    for (x, weight) in x.iter_mut().zip(weight) {
        *x = *x * scale * weight;
    }
}

/// SwiGLU (Shazeer, 2020): `out = gate × sigmoid(gate) × up`.
#[inline(always)]
fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((out, &gate), up) in out.iter_mut().zip(gate).zip(up) {
        *out = gate / (1.0 + exp(-gate)) * up;
    }
}

/// GeGLU (Shazeer, 2020): `out = gelu(gate) × up`, with GELU's approximation by the hyperbolic tangent (Hendrycks and
/// Gimpel, 2016), `x (1 + tanh u) / 2 = x × sigmoid(2 u)` for `u = √(2/π) (x + 0.044715 x³)`.
#[inline(always)]
fn geglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    const TWICE_ROOT: f32 = 1.595_769; // 2 √(2/π)
    for ((out, &gate), up) in out.iter_mut().zip(gate).zip(up) {
        *out = gate / (1.0 + exp(-TWICE_ROOT * (gate + 0.044_715 * gate * gate * gate))) * up;
    }
}

/// `x = cap × tanh(x / cap)`.
#[inline(always)]
pub(super) fn cap(x: &mut [f32], cap: f32) {
    for x in x {
        *x = cap - 2.0 * cap / (exp(*x * (2.0 / cap)) + 1.0);
    }
}

/// `x += y`.
#[inline(always)]
fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// `x *= factor`.
#[inline(always)]
fn scale(x: &mut [f32], factor: f32) {
    x.iter_mut().for_each(|x| *x *= factor);
}

/// Rotary positions (Su et al., 2021) on neighbouring pairs: turns each `(x[2i], x[2i + 1])` of a head by the angle whose
/// cosine and sine are `turns[i]`. Numbers beyond the last turn stay.
#[inline(always)]
fn rope(head: &mut [f32], turns: &[[f32; 2]]) {
    let (pairs, _) = head.as_chunks_mut::<2>();
    for (pair, turn) in pairs.iter_mut().zip(turns) {
        let [a, b] = *pair;
        *pair = [a * turn[0] - b * turn[1], a * turn[1] + b * turn[0]];
    }
}

/// Rotary positions on pairs half of the turned numbers apart: as [`rope`] for `(x[i], x[i + turns.len()])`.
#[inline(always)]
fn rope_halves(head: &mut [f32], turns: &[[f32; 2]]) {
    let (first, rest) = head.split_at_mut(turns.len());
    for ((a, b), turn) in first.iter_mut().zip(rest).zip(turns) {
        (*a, *b) = (*a * turn[0] - *b * turn[1], *a * turn[1] + *b * turn[0]);
    }
}

/// Numbers that [`rotate`] mixes, at most.
const MIXED: usize = 256;

/// The Walsh-Hadamard transform, orthonormal, of parts of as many numbers as the largest power of two that divides the length.
#[inline(always)]
fn rotate(x: &mut [f32]) {
    let part = (1 << x.len().trailing_zeros().min(MIXED.ilog2())).min(x.len().max(1));
    let scale = 1.0 / (part as f32).sqrt();
    let mut room = [0.0; MIXED];
    for x in x.chunks_exact_mut(part) {
        let (sums, differences) = room[..part].split_at_mut(part / 2);
        for _ in 0..part.ilog2() {
            for ((pair, sum), difference) in x.as_chunks::<2>().0.iter().zip(&mut *sums).zip(&mut *differences) {
                (*sum, *difference) = (pair[0] + pair[1], pair[0] - pair[1]);
            }
            x[..part / 2].copy_from_slice(sums);
            x[part / 2..].copy_from_slice(differences);
        }
        x.iter_mut().for_each(|x| *x *= scale);
    }
}

/// Codes of a row, whose length is a multiple of 32.
#[inline(always)]
pub(super) fn quantize(values: &[f32], out: &mut CodesMut<'_>) {
    const ROUND: f32 = 12_582_912.0;
    let (blocks, _) = values.as_chunks::<BLOCK>();
    let (codes, _) = out.codes.as_chunks_mut::<BLOCK>();
    let (sums, _) = out.sums.as_chunks_mut::<2>();
    for (b, (block, codes)) in blocks.iter().zip(codes).enumerate() {
        let largest = largest(block);
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        let mut rounded = [0i32; BLOCK];
        for (rounded, x) in rounded.iter_mut().zip(block) {
            let nearest = ((x * inverse + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
            *rounded = nearest.clamp(-127, 127); // a number that is not finite would be any
        }
        for (code, &rounded) in codes.iter_mut().zip(&rounded) {
            *code = rounded as i8;
        }
        let (low, high) = rounded.split_at(BLOCK / 2);
        let add = |half: &[i32]| half.iter().fold(0i32, |sum, &code| sum.wrapping_add(code));
        sums[b] = [add(low), add(high)];
        let scale = largest / 127.0;
        out.scales[b] = scale;
        out.scaled_sums[b] = scale * sums[b][0].wrapping_add(sums[b][1]) as f32;
    }
}

/// The largest absolute value.
#[inline(always)]
fn largest(block: &[f32; BLOCK]) -> f32 {
    let mut lanes = block.map(f32::abs);
    let mut width = BLOCK / 2;
    while width > 0 {
        let (left, right) = lanes.split_at_mut(width);
        for (left, &mut right) in left.iter_mut().zip(right) {
            *left = if right > *left { right } else { *left };
        }
        width /= 2;
    }
    lanes[0]
}

/// Compiles the bodies above for one instruction set, as safe functions for processors that have it.
macro_rules! instances {
    ($name:ident $(, $feature:literal)?) => {
        #[doc = "The bodies, compiled for one instruction set."]
        pub(super) mod $name {
            $(#[target_feature(enable = $feature)])?
            pub(in crate::kernel) fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
                super::rms_norm(x, weight, epsilon, out);
            }

            $(#[target_feature(enable = $feature)])?
            pub(in crate::kernel) fn add_rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
                super::add_rms_norm(x, weight, epsilon, out);
            }

            $(#[target_feature(enable = $feature)])?
            pub(in crate::kernel) fn rms_norm_in_place(x: &mut [f32], weight: &[f32], epsilon: f32) {
                super::rms_norm_in_place(x, weight, epsilon);
            }

            $(#[target_feature(enable = $feature)])?
            pub(in crate::kernel) fn geglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
                super::geglu(gate, up, out);
            }

            $(#[target_feature(enable = $feature)])?
            pub(in crate::kernel) fn cap(x: &mut [f32], cap: f32) {
                super::cap(x, cap);
            }

            $(#[target_feature(enable = $feature)])?
            pub(in crate::kernel) fn rope_halves(head: &mut [f32], turns: &[[f32; 2]]) {
                super::rope_halves(head, turns);
            }

            $(#[target_feature(enable = $feature)])?
            pub(in crate::kernel) fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
                super::swiglu(gate, up, out);
            }

            $(#[target_feature(enable = $feature)])?
            pub(in crate::kernel) fn add(x: &mut [f32], y: &[f32]) {
                super::add(x, y);
            }

            $(#[target_feature(enable = $feature)])?
            pub(in crate::kernel) fn rotate(x: &mut [f32]) {
                super::rotate(x);
            }

            $(#[target_feature(enable = $feature)])?
            pub(in crate::kernel) fn scale(x: &mut [f32], factor: f32) {
                super::scale(x, factor);
            }

            $(#[target_feature(enable = $feature)])?
            pub(in crate::kernel) fn rope(head: &mut [f32], turns: &[[f32; 2]]) {
                super::rope(head, turns);
            }
        }
    };
}

instances!(portable);
#[cfg(target_arch = "x86_64")]
instances!(avx2, "avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
instances!(avx512, "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c");
