//! K-quants: blocks of 256 values, with a scale (and in some a min) for each 16 or 32 that is itself quantized.

use super::{Codes, SUB_BLOCK, half_at, pairs};

/// Scale and min of 4 bits in a byte for each 16 values; 2 bits a value.
pub(super) fn q2_k(b: &[u8], part: usize) -> Codes {
    let (d, m) = (half_at(b, 80), half_at(b, 82));
    let of_half = |half: usize| b[2 * part + half];
    Codes::new(pairs(&b[16..80], part).map(|q| q as i8), [0, 1].map(|half| d * f32::from(of_half(half) & 15)))
        .with_mins([0, 1].map(|half| -(m * f32::from(of_half(half) >> 4))))
}

/// Scales of 6 bits in 12 bytes: the low nibbles of all, then the upper pairs; 2 + 1 bits a value.
pub(super) fn q3_k(b: &[u8], part: usize) -> Codes {
    let (high, low, scales, d) = (&b[..32], &b[32..96], &b[96..108], half_at(b, 108));
    let scale = |j: usize| {
        let low = (scales[j % 8] >> (4 * (j / 8))) & 15;
        let high = (scales[8 + j % 4] >> (2 * (j / 4))) & 3;
        d * f32::from((low | (high << 4)) as i8 - 32)
    };
    let low = pairs(low, part);
    let q = std::array::from_fn(|j| (low[j] | (((high[j] >> part) & 1) << 2)) as i8 - 4);
    Codes::new(q, [scale(2 * part), scale(2 * part + 1)])
}

pub(super) fn q4_k(b: &[u8], part: usize) -> Codes {
    let (scales, mins) = scales_and_mins(b, part);
    let packed = &b[16 + part / 2 * 32..][..SUB_BLOCK];
    Codes::new(std::array::from_fn(|j| ((packed[j] >> (part % 2 * 4)) & 15) as i8), scales).with_mins(mins)
}

pub(super) fn q5_k(b: &[u8], part: usize) -> Codes {
    let (scales, mins) = scales_and_mins(b, part);
    let (fifth, packed) = (&b[16..48], &b[48 + part / 2 * 32..][..SUB_BLOCK]);
    let q = |j: usize| ((packed[j] >> (part % 2 * 4)) & 15) | (((fifth[j] >> part) & 1) << 4);
    Codes::new(std::array::from_fn(|j| q(j) as i8), scales).with_mins(mins)
}

pub(super) fn q6_k(b: &[u8], part: usize) -> Codes {
    let (half, quarter) = (part / 4, part % 4);
    let low = &b[64 * half + 32 * (quarter % 2)..][..SUB_BLOCK];
    let high = &b[128 + 32 * half..][..SUB_BLOCK];
    let q = |j: usize| ((low[j] >> (quarter / 2 * 4)) & 15) | (((high[j] >> (2 * quarter)) & 3) << 4);
    Codes::new(std::array::from_fn(|j| q(j) as i8 - 32), q6_k_scales(b, part))
}

/// The scales of 32 values of a `Q6_K` block.
#[inline]
pub(super) fn q6_k_scales(b: &[u8], part: usize) -> [f32; 2] {
    let d = half_at(b, 208);
    [0, 1].map(|half| d * f32::from(b[192 + 2 * part + half] as i8))
}

/// Scale and min of 32 values (`part` is 0 to 7) of a `Q4_K` or `Q5_K` block, from its first 16 bytes: two halves, then
/// 6 bits each in 12 bytes.
#[inline]
pub(super) fn scales_and_mins(b: &[u8], part: usize) -> ([f32; 2], [f32; 2]) {
    let packed = &b[4..16];
    let (scale, min) = if part < 4 {
        (packed[part] & 63, packed[part + 4] & 63)
    } else {
        let scale = (packed[part + 4] & 15) | ((packed[part - 4] >> 6) << 4);
        let min = (packed[part + 4] >> 4) | ((packed[part] >> 6) << 4);
        (scale, min)
    };
    ([half_at(b, 0) * f32::from(scale); 2], [-(half_at(b, 2) * f32::from(min)); 2])
}
