//! The exponential function for probabilities, in plain single-precision arithmetic.
//!
//! The platform's `exp` differs in its last bits between machines, and a sampled text would differ with it; this one
//! is the same everywhere and the compiler makes vector code of it.

/// `e^x` for `x` of at most 0, with a relative error below 3e-7; 0 for less than -87, where single precision ends, and for
/// what is no number.
///
/// Reduction by multiples of ln 2 in two parts (Cody and Waite), then a Taylor polynomial of degree 7 on ±ln 2 / 2.
#[inline]
pub(super) fn exp_negative(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4; // 9 bits: its product with a small integer is exact
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding and taking away 1.5 * 2^23 rounds to the nearest integer without a call.
    const ROUND: f32 = 12_582_912.0;

    let clamped = x.clamp(-87.0, 0.0);
    let rounded = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (clamped - n * LN2_HIGH) - n * LN2_LOW;
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    // n is from -126 to 0, so the biased exponent is that of a normal number. As an integer n stands in the last bits of
    // the rounded sum; a conversion would ask whether it is a number, which keeps vectors from being made.
    let two_to_n = f32::from_bits(rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    if x >= -87.0 { p * two_to_n } else { 0.0 }
}

/// Numbers that are added up in single precision: the sum is as exact as the exponentials are.
pub(super) const SUMMED: usize = 64;
const LANES: usize = 16;

/// The sum of `e^(logit - shift)`, with a relative error below 6e-7.
pub(super) fn sum_exp(logits: &[f32], shift: f32) -> f64 {
    let (blocks, rest) = logits.as_chunks::<SUMMED>();
    let of_blocks: f64 = blocks.iter().map(|block| sum_of_block(&block.map(|logit| exp_negative(logit - shift)))).sum();
    of_blocks + rest.iter().map(|&logit| f64::from(exp_negative(logit - shift))).sum::<f64>()
}

/// The sum of numbers that are not negative, in lanes of which the compiler makes vectors.
pub(super) fn sum_of_block(block: &[f32; SUMMED]) -> f64 {
    let mut lanes = [0.0; LANES];
    for chunk in block.as_chunks::<LANES>().0 {
        for (lane, &number) in lanes.iter_mut().zip(chunk) {
            *lane += number;
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
    }
    f64::from(lanes[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_the_double_precision_exponential() {
        let mut x = 0.0f32;
        while x > -86.9 {
            let exact = f64::from(x).exp();
            let error = ((f64::from(exp_negative(x)) - exact) / exact).abs();
            assert!(error < 3e-7, "e^{x}: relative error {error}");
            x -= 0.000_7;
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        assert_eq!(exp_negative(0.0), 1.0);
        assert_eq!(exp_negative(-0.0), 1.0);
        assert_eq!(exp_negative(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp_negative(f32::MIN), 0.0);
        assert_eq!(exp_negative(f32::NAN), 0.0);
    }

    #[test]
    fn the_sum_takes_every_element_of_any_length() {
        for length in 0..200 {
            let logits: Vec<f32> = (0..length).map(|i| (i % 42) as f32 / 7.0).collect();
            let exact: f64 = logits.iter().map(|&l| (f64::from(l) - 6.0).exp()).sum();
            let sum = sum_exp(&logits, 6.0);
            assert!((sum - exact).abs() <= 1e-6 * exact.max(1e-9), "{length}: {sum} against {exact}");
        }
    }
}
