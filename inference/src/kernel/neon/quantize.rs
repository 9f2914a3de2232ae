//! Codes of activations.

use std::arch::aarch64::*;

use super::{CodesMut, LANES};
use crate::pack::BLOCK;

/// As the portable one in [`super::super::element`].
pub(in crate::kernel) fn quantize(values: &[f32], out: &mut CodesMut<'_>) {
    // SAFETY: see the module `kernel` for the features.
    unsafe { quantize_blocks(values, out) }
}

#[target_feature(enable = "neon")]
fn quantize_blocks(values: &[f32], out: &mut CodesMut<'_>) {
    /// Registers of a block's numbers, and of half of them.
    const ALL: usize = BLOCK / LANES;
    const HALF: usize = ALL / 2;
    let blocks = values.as_chunks::<BLOCK>().0.iter().zip(out.codes.as_chunks_mut::<BLOCK>().0);
    let factors = out.scales.iter_mut().zip(out.scaled_sums.iter_mut()).zip(out.sums.as_chunks_mut::<2>().0);
    for ((block, codes), ((scale, scaled_sum), sums)) in blocks.zip(factors) {
        let mut numbers = [vdupq_n_f32(0.0); ALL];
        let mut largest = vdupq_n_f32(0.0);
        for (numbers, four) in numbers.iter_mut().zip(block.as_chunks::<LANES>().0) {
            // SAFETY: there are four.
            *numbers = unsafe { vld1q_f32(four.as_ptr()) };
            largest = vmaxnmq_f32(largest, vabsq_f32(*numbers));
        }
        let largest = vmaxnmvq_f32(largest);
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        *scale = largest / 127.0;
        let halves = numbers.as_chunks::<HALF>().0.iter().zip(codes.as_chunks_mut::<{ BLOCK / 2 }>().0);
        for ((numbers, codes), sum) in halves.zip(sums.iter_mut()) {
            let mut rounded = [vdupq_n_s32(0); HALF];
            for (rounded, numbers) in rounded.iter_mut().zip(numbers) {
                let nearest = vcvtnq_s32_f32(vmulq_n_f32(*numbers, inverse));
                // As in the portable one, what is not finite is a code too.
                *rounded = vmaxq_s32(vminq_s32(nearest, vdupq_n_s32(127)), vdupq_n_s32(-127));
            }
            let [a, b, c, d] = rounded;
            *sum = vaddvq_s32(vaddq_s32(vaddq_s32(a, b), vaddq_s32(c, d)));
            let low = vcombine_s16(vmovn_s32(a), vmovn_s32(b));
            let high = vcombine_s16(vmovn_s32(c), vmovn_s32(d));
            // SAFETY: there are 16 places.
            unsafe { vst1q_s8(codes.as_mut_ptr(), vcombine_s8(vmovn_s16(low), vmovn_s16(high))) };
        }
        *scaled_sum = *scale * sums[0].wrapping_add(sums[1]) as f32;
    }
}
