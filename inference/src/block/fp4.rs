//! Blocks of 4-bit floats with an 8-bit float as scale (OCP Microscaling Formats 1.0; NVIDIA's NVFP4).

use super::{Codes, SUB_BLOCK, nibbles};

/// The sixteen floats of 4 bits (E2M1: sign, two bits of exponent, one of mantissa), doubled, so that they are whole.
const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// 32 values with one power of two as scale.
pub(super) fn mxfp4(b: &[u8]) -> Codes {
    Codes::new(nibbles(&b[1..17]).map(|q| E2M1[usize::from(q)]), [half_e8m0(b[0]); 2])
}

/// 64 values with a scale for each 16, whose low nibbles are its first 8 values.
pub(super) fn nvfp4(b: &[u8], part: usize) -> Codes {
    let packed = &b[4 + 16 * part..][..16];
    let nibble = |j: usize| (packed[j / 16 * 8 + j % 8] >> (j / 8 % 2 * 4)) & 15;
    let q: [i8; SUB_BLOCK] = std::array::from_fn(|j| E2M1[usize::from(nibble(j))]);
    Codes::new(q, [half_ue4m3(b[2 * part]), half_ue4m3(b[2 * part + 1])])
}

/// Half of `2^(e - 127)`.
fn half_e8m0(e: u8) -> f32 {
    f32::from_bits(if e < 2 { 0x0020_0000 << e } else { u32::from(e - 1) << 23 })
}

/// Half of a float with 4 bits of exponent (bias 7) and 3 of mantissa, whose sign is ignored; 0x7f, not a number, is 0.
fn half_ue4m3(bits: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(bits >> 3) & 15, f32::from(bits & 7));
    match (bits, exponent) {
        (0x7f, _) => 0.0,
        (_, 0) => mantissa * 2f32.powi(-10),
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 8),
    }
}
