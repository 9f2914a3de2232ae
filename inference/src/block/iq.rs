//! `IQ` types: blocks of codes that name entries of a table, or points of a grid ([`grids`]) with the signs apart.

use super::grids::{self, eight, four};
use super::{Codes, SUB_BLOCK, half_at, nibbles, short_at, word_at};

/// The sixteen values of `IQ4_NL` and `IQ4_XS`, spread as weights are.
const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// One scale for 32 values.
pub(super) fn iq4_nl(b: &[u8]) -> Codes {
    Codes::new(nibbles(&b[2..18]).map(|q| IQ4_VALUES[usize::from(q)]), [half_at(b, 0); 2])
}

/// A scale of 6 bits for each 32 values: the upper pairs, then the low nibbles.
pub(super) fn iq4_xs(b: &[u8], part: usize) -> Codes {
    let high = ((short_at(b, 2) >> (2 * part)) & 3) as u8;
    let low = (b[4 + part / 2] >> (part % 2 * 4)) & 15;
    let scale = half_at(b, 0) * f32::from((low | (high << 4)) as i8 - 32);
    Codes::new(nibbles(&b[8 + 16 * part..][..16]).map(|q| IQ4_VALUES[usize::from(q)]), [scale; 2])
}

/// For each 32 values four bytes that name points, and a word of four times 7 signs and a scale.
pub(super) fn iq2_xxs(b: &[u8], part: usize) -> Codes {
    let (points, word) = (&b[2 + 8 * part..][..4], word_at(b, 6 + 8 * part));
    let q = eights(|j| signed(iq2(&grids::IQ2_XXS, points[j]), sign_bits(word >> (7 * j))));
    Codes::new(q, [half_at(b, 0) * (0.5 + (word >> 28) as f32) * 0.25; 2])
}

/// For each 8 values a short of 9 bits of point and 7 of sign; a scale of 4 bits for each 16.
pub(super) fn iq2_xs(b: &[u8], part: usize) -> Codes {
    let q = eights(|j| {
        let short = short_at(b, 2 + 8 * part + 2 * j);
        signed(iq2(&grids::IQ2_XS, short & 511), sign_bits(u32::from(short >> 9)))
    });
    Codes::new(q, iq2_scales(half_at(b, 0), b[66 + part]))
}

/// For each 8 values a byte and two bits elsewhere that name a point, and a byte of signs; a scale of 4 bits for each 16.
pub(super) fn iq2_s(b: &[u8], part: usize) -> Codes {
    let (points, signs, high) = (&b[2 + 4 * part..][..4], &b[34 + 4 * part..][..4], b[66 + part]);
    let q = eights(|j| {
        let point = u16::from(points[j]) | (u16::from((high >> (2 * j)) & 3) << 8);
        signed(iq2(&grids::IQ2_S, point), signs[j])
    });
    Codes::new(q, iq2_scales(half_at(b, 0), b[74 + part]))
}

/// For each 32 values eight bytes that name points; then a word of four times 7 signs and a scale for each 32.
pub(super) fn iq3_xxs(b: &[u8], part: usize) -> Codes {
    let (points, word) = (&b[2 + 8 * part..][..8], word_at(b, 66 + 4 * part));
    let point = |j: usize| four(grids::IQ3_XXS[usize::from(points[j])], &grids::IQ3_XXS_VALUES);
    let q = eights(|j| signed(joined(point(2 * j), point(2 * j + 1)), sign_bits(word >> (7 * j))));
    Codes::new(q, [half_at(b, 0) * (0.5 + (word >> 28) as f32) * 0.5; 2])
}

/// For each 4 values a byte and a bit elsewhere that name a point, a byte of signs for each 8; a scale of 4 bits for 32.
pub(super) fn iq3_s(b: &[u8], part: usize) -> Codes {
    let (points, high, signs) = (&b[2 + 8 * part..][..8], b[66 + part], &b[74 + 4 * part..][..4]);
    let point = |j: usize| {
        let index = usize::from(points[j]) | (usize::from((high >> j) & 1) << 8);
        four(grids::IQ3_S[index], &grids::IQ3_S_VALUES)
    };
    let q = eights(|j| signed(joined(point(2 * j), point(2 * j + 1)), signs[j]));
    let scale = (b[106 + part / 2] >> (part % 2 * 4)) & 15;
    Codes::new(q, [half_at(b, 0) * f32::from(1 + 2 * scale); 2])
}

/// For each 8 values a byte and three bits elsewhere that name a point; for 32 a scale of 3 bits and one sign of the shift.
pub(super) fn iq1_s(b: &[u8], part: usize) -> Codes {
    let (points, high) = (&b[2 + 4 * part..][..4], short_at(b, 34 + 2 * part));
    let q = eights(|j| {
        let point = u16::from(points[j]) | (((high >> (3 * j)) & 7) << 8);
        iq1(point, high & 0x8000 != 0)
    });
    Codes::new(q, [half_at(b, 0) * f32::from(2 * ((high >> 12) & 7) + 1) * IQ1_SHIFT; 2])
}

/// As [`iq1_s`], with the sign of the shift for each 8, a scale of 3 bits for each 16, and the nibbles of `d` scattered.
pub(super) fn iq1_m(b: &[u8], part: usize) -> Codes {
    let (points, high) = (&b[4 * part..][..4], &b[32 + 2 * part..][..2]);
    let q = eights(|j| {
        let nibble = (high[j / 2] >> (4 * (j % 2))) & 15;
        iq1(u16::from(points[j]) | (u16::from(nibble & 7) << 8), nibble & 8 != 0)
    });
    let scales: [u16; 4] = std::array::from_fn(|j| short_at(b, 48 + 2 * j));
    let d = scales.iter().rev().fold(0, |d, scale| (d << 4) | (scale >> 12));
    let scale = |j: usize| f32::from(2 * ((scales[j / 4] >> (3 * (j % 4))) & 7) + 1);
    let d = half::f16::from_bits(d).to_f32();
    Codes::new(q, [d * scale(2 * part) * IQ1_SHIFT, d * scale(2 * part + 1) * IQ1_SHIFT])
}

/// What is added to the values of an `IQ1` point, or taken from them. As it is an eighth, eight times the sum is whole.
const IQ1_SHIFT: f32 = 0.125;

/// Eight times a point of the `IQ1` grid, shifted down or up.
fn iq1(point: u16, down: bool) -> [i8; 8] {
    let shift = if down { -1 } else { 1 };
    eight(grids::IQ1_S[usize::from(point)], &grids::IQ1_VALUES).map(|value| 8 * value + shift)
}

fn iq2(grid: &[u16], point: impl Into<usize>) -> [i8; 8] {
    eight(grid[point.into()], &grids::IQ2_VALUES)
}

/// From the two nibbles of a byte, the lower one for the first 16 values.
fn iq2_scales(d: f32, scales: u8) -> [f32; 2] {
    [scales & 15, scales >> 4].map(|scale| d * (0.5 + f32::from(scale)) * 0.25)
}

/// Seven signs of eight: there is always an even number of minuses.
fn sign_bits(seven: u32) -> u8 {
    let seven = (seven & 127) as u8;
    seven | ((seven.count_ones() as u8 & 1) << 7)
}

/// Negates the values whose bit is set.
fn signed(values: [i8; 8], signs: u8) -> [i8; 8] {
    std::array::from_fn(|j| if (signs >> j) & 1 == 0 { values[j] } else { -values[j] })
}

fn joined(a: [i8; 4], b: [i8; 4]) -> [i8; 8] {
    std::array::from_fn(|j| if j < 4 { a[j] } else { b[j - 4] })
}

/// 32 values from four times eight.
fn eights(values: impl Fn(usize) -> [i8; 8]) -> [i8; SUB_BLOCK] {
    let mut all = [0; SUB_BLOCK];
    for (j, all) in all.as_chunks_mut().0.iter_mut().enumerate() {
        *all = values(j);
    }
    all
}
