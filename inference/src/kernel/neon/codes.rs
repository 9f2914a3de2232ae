//! Codes times codes, block by block.
//!
//! A register has four columns of four rows of weights, which `sdot` multiplies with four codes of one row of activations.
//! Two such registers, zipped, have eight columns of two rows and of the next two, which `smmla` multiplies with eight codes of
//! two rows at a time. Either sums a block's products as integers and goes on alike, so a row gets the same from both.

use std::arch::aarch64::*;

use super::dot::{dot, matrix};
use super::weights::{Group, Scales};
use super::{Lanes, REGISTERS, ROWS, TILE, View, store};
use crate::pack::{BLOCK, Quantized, Shift, Width};

/// Rows of `x`, from `row`, times one group of weights; with `i8mm` only if the processor has it.
pub(super) fn multiply(i8mm: bool, q: &Quantized, group: usize, x: View<'_>, row: usize, tile: &mut [Lanes]) {
    let (weights, x) = (Group::new(q, group, x.columns), Rows::new(x, row, tile.len()));
    let multiply = match (q.width, q.scales_per_block, &q.shift) {
        (Width::Nibble, _, Shift::Offset { .. }) => multiply_rows::<4, 1, false>,
        (Width::Nibble, _, Shift::Min(_)) => multiply_rows::<4, 1, true>,
        (Width::Five, _, Shift::Offset { .. }) => multiply_rows::<5, 1, false>,
        (Width::Five, _, Shift::Min(_)) => multiply_rows::<5, 1, true>,
        (Width::Byte, 1, Shift::Offset { .. }) => multiply_rows::<8, 1, false>,
        (Width::Byte, 1, Shift::Min(_)) => multiply_rows::<8, 1, true>,
        (Width::Byte, _, Shift::Offset { .. }) => multiply_rows::<8, 2, false>,
        (Width::Byte, _, Shift::Min(_)) => multiply_rows::<8, 2, true>,
        (Width::Split, _, _) => unreachable!("the reference multiplies what is split"),
    };
    multiply(i8mm, weights, x, tile);
}

/// `LINES` is 4 for nibbles, 5 for fives and 8 for bytes; `SCALES` a block has 1 or 2, and as many mins if it has `MINS`.
fn multiply_rows<const LINES: usize, const SCALES: usize, const MINS: bool>(
    i8mm: bool,
    weights: Group<'_>,
    x: Rows<'_>,
    tile: &mut [Lanes],
) {
    // SAFETY: see the module `kernel` for the features.
    unsafe {
        match tile.len() {
            // From four rows on it takes fewer instructions to multiply them in pairs.
            4 if i8mm => pairs::<2, LINES, SCALES, MINS>(weights, x, tile),
            5 | 6 if i8mm => pairs::<3, LINES, SCALES, MINS>(weights, x, tile),
            7 | 8 if i8mm => pairs::<4, LINES, SCALES, MINS>(weights, x, tile),
            _ => {
                for (part, tile) in tile.chunks_mut(ROWS).enumerate() {
                    let x = x.from(part * ROWS);
                    match tile.len() {
                        1 => rows::<1, LINES, SCALES, MINS>(weights, x, tile),
                        2 => rows::<2, LINES, SCALES, MINS>(weights, x, tile),
                        3 => rows::<3, LINES, SCALES, MINS>(weights, x, tile),
                        _ => rows::<ROWS, LINES, SCALES, MINS>(weights, x, tile),
                    }
                }
            }
        }
    }
}

const _: () = assert!(TILE <= 8, "four pairs are a tile");

/// Rows of activations.
#[derive(Clone, Copy)]
struct Rows<'a> {
    /// Blocks of a row.
    blocks: usize,
    /// `[row][block]`, as the others, which are as many.
    codes: &'a [[i8; BLOCK]],
    scales: &'a [f32],
    sums: &'a [[i32; 2]],
    scaled_sums: &'a [f32],
}

impl<'a> Rows<'a> {
    /// `count` rows, from `row`.
    fn new(x: View<'a>, row: usize, count: usize) -> Self {
        let blocks = x.columns / BLOCK;
        let all = row * blocks..(row + count) * blocks;
        Self {
            blocks,
            codes: &x.codes.as_chunks().0[all.clone()],
            scales: &x.scales[all.clone()],
            sums: &x.sums.as_chunks().0[all.clone()],
            scaled_sums: &x.scaled_sums[all],
        }
    }

    /// The rows from `row` on.
    fn from(self, row: usize) -> Self {
        let first = row * self.blocks;
        Self {
            codes: &self.codes[first..],
            scales: &self.scales[first..],
            sums: &self.sums[first..],
            scaled_sums: &self.scaled_sums[first..],
            ..self
        }
    }

    /// A block of a row.
    #[inline]
    fn block(&self, row: usize, block: usize) -> RowBlock<'a> {
        let at = row * self.blocks + block;
        let codes = &self.codes[at];
        // SAFETY: `new` and `from` make the four equally long, and one of them has it.
        unsafe {
            RowBlock {
                codes,
                scale: *self.scales.get_unchecked(at),
                sums: *self.sums.get_unchecked(at),
                scaled_sum: *self.scaled_sums.get_unchecked(at),
            }
        }
    }
}

/// A block of a row of activations.
struct RowBlock<'a> {
    codes: &'a [i8; BLOCK],
    scale: f32,
    sums: [i32; 2],
    scaled_sum: f32,
}

impl RowBlock<'_> {
    /// The codes, half by half.
    #[inline]
    #[target_feature(enable = "neon")]
    fn codes(&self) -> [int8x16_t; 2] {
        // SAFETY: there are twice 16.
        unsafe { [vld1q_s8(self.codes.as_ptr()), vld1q_s8(self.codes.as_ptr().add(BLOCK / 2))] }
    }

    /// What products with a part of the block are brought together with, if `zero` is taken from codes without `MINS`.
    #[inline]
    #[target_feature(enable = "neon")]
    fn factors<const SCALES: usize, const MINS: bool>(&self, part: usize, zero: i32) -> Factors {
        let (sum, scaled_sum) = match SCALES {
            1 => (self.sums[0].wrapping_add(self.sums[1]), self.scaled_sum),
            _ => (self.sums[part], self.scale * self.sums[part] as f32),
        };
        Factors {
            start: vdupq_n_s32(if MINS { 0 } else { sum.wrapping_mul(-zero) }),
            scale: vdupq_n_f32(self.scale),
            scaled_sum: vdupq_n_f32(scaled_sum),
        }
    }
}

/// What sums of products are brought together with: the same for all lanes of a row of activations.
#[derive(Clone, Copy)]
struct Factors {
    /// Where sums begin.
    start: int32x4_t,
    scale: float32x4_t,
    scaled_sum: float32x4_t,
}

impl Factors {
    #[inline]
    #[target_feature(enable = "neon")]
    fn zero() -> Self {
        Self { start: vdupq_n_s32(0), scale: vdupq_n_f32(0.0), scaled_sum: vdupq_n_f32(0.0) }
    }

    /// Two lanes of one row, and two of another.
    #[inline]
    #[target_feature(enable = "neon")]
    fn beside(self, other: Self) -> Self {
        Self {
            start: vcombine_s32(vget_low_s32(self.start), vget_low_s32(other.start)),
            scale: vcombine_f32(vget_low_f32(self.scale), vget_low_f32(other.scale)),
            scaled_sum: vcombine_f32(vget_low_f32(self.scaled_sum), vget_low_f32(other.scaled_sum)),
        }
    }
}

/// `N` rows, one by one.
#[target_feature(enable = "neon,dotprod")]
fn rows<const N: usize, const LINES: usize, const SCALES: usize, const MINS: bool>(
    weights: Group<'_>,
    x: Rows<'_>,
    tile: &mut [Lanes],
) {
    let mut sums = [[vdupq_n_f32(0.0); N]; REGISTERS];
    for (b, block) in weights.blocks::<LINES, SCALES>().enumerate() {
        let (mut codes, mut factors) = ([[vdupq_n_s8(0); N]; 2], [[Factors::zero(); N]; SCALES]);
        for n in 0..N {
            let x = x.block(n, b);
            [codes[0][n], codes[1][n]] = x.codes();
            for (part, factors) in factors.iter_mut().enumerate() {
                factors[n] = x.factors::<SCALES, MINS>(part, weights.zero);
            }
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            let halves = block.codes(r);
            let mut dots = dot_columns(starts(&factors[0]), halves[0], codes[0]);
            if SCALES == 2 {
                add::<N, MINS>(sums, dots, &factors[0], block.scales(0, r));
                dots = starts(&factors[SCALES - 1]);
            }
            dots = dot_columns(dots, halves[1], codes[1]);
            add::<N, MINS>(sums, dots, &factors[SCALES - 1], block.scales(SCALES - 1, r));
        }
    }
    for (n, out) in tile.iter_mut().enumerate() {
        for (out, sums) in out.as_chunks_mut().0.iter_mut().zip(sums) {
            store(out, sums[n]);
        }
    }
}

/// Half of the columns of four rows of weights, times those of rows of activations.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot_columns<const N: usize>(mut dots: [int32x4_t; N], w: [int8x16_t; 4], x: [int8x16_t; N]) -> [int32x4_t; N] {
    for (dots, x) in dots.iter_mut().zip(x) {
        *dots = dot::<0>(*dots, w[0], x);
        *dots = dot::<1>(*dots, w[1], x);
        *dots = dot::<2>(*dots, w[2], x);
        *dots = dot::<3>(*dots, w[3], x);
    }
    dots
}

/// `2 N` rows, or one less, two by two. A register of sums is `[x₀·w₀, x₀·w₁, x₁·w₀, x₁·w₁]` for rows `x` and `w`.
#[target_feature(enable = "neon,dotprod,i8mm")]
fn pairs<const N: usize, const LINES: usize, const SCALES: usize, const MINS: bool>(
    weights: Group<'_>,
    x: Rows<'_>,
    tile: &mut [Lanes],
) {
    let mut sums = [[[vdupq_n_f32(0.0); N]; 2]; REGISTERS];
    for (b, block) in weights.blocks::<LINES, SCALES>().enumerate() {
        let (mut codes, mut factors) = ([[[vdupq_n_s8(0); 2]; N]; 2], [[Factors::zero(); N]; SCALES]);
        for n in 0..N {
            // Without a second one, a row is its own neighbour.
            let [one, other] = [x.block(2 * n, b), x.block((2 * n + 1).min(tile.len() - 1), b)];
            codes[0][n] = zip_rows(one.codes()[0], other.codes()[0]);
            codes[1][n] = zip_rows(one.codes()[1], other.codes()[1]);
            for (part, factors) in factors.iter_mut().enumerate() {
                let of_one = one.factors::<SCALES, MINS>(part, weights.zero);
                factors[n] = of_one.beside(other.factors::<SCALES, MINS>(part, weights.zero));
            }
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            let halves = block.codes(r);
            let starts = [starts(&factors[0]), starts(&factors[SCALES - 1])];
            let mut dots = matrix_columns([starts[0]; 2], halves[0], codes[0]);
            if SCALES == 2 {
                let scales = block.scales(0, r).twice();
                add::<N, MINS>(&mut sums[0], dots[0], &factors[0], scales[0]);
                add::<N, MINS>(&mut sums[1], dots[1], &factors[0], scales[1]);
                dots = [starts[1]; 2];
            }
            dots = matrix_columns(dots, halves[1], codes[1]);
            let scales = block.scales(SCALES - 1, r).twice();
            add::<N, MINS>(&mut sums[0], dots[0], &factors[SCALES - 1], scales[0]);
            add::<N, MINS>(&mut sums[1], dots[1], &factors[SCALES - 1], scales[1]);
        }
    }
    for (row, out) in tile.iter_mut().enumerate() {
        for (out, sums) in out.as_chunks_mut().0.iter_mut().zip(sums) {
            let [first, last] = [sums[0][row / 2], sums[1][row / 2]];
            let four = if row % 2 == 0 {
                vcombine_f32(vget_low_f32(first), vget_low_f32(last))
            } else {
                vcombine_f32(vget_high_f32(first), vget_high_f32(last))
            };
            store(out, four);
        }
    }
}

/// As [`dot_columns`] for pairs of rows of activations: products with the first two rows of weights, and with the last two.
#[inline]
#[target_feature(enable = "neon,dotprod,i8mm")]
fn matrix_columns<const N: usize>(
    mut dots: [[int32x4_t; N]; 2],
    w: [int8x16_t; 4],
    x: [[int8x16_t; 2]; N],
) -> [[int32x4_t; N]; 2] {
    let (low, high) = (zip_lines(w[0], w[1]), zip_lines(w[2], w[3]));
    for (two, dots) in dots.iter_mut().enumerate() {
        for (dots, x) in dots.iter_mut().zip(x) {
            *dots = matrix(matrix(*dots, x[0], low[two]), x[1], high[two]);
        }
    }
    dots
}

/// Where sums begin.
#[inline]
#[target_feature(enable = "neon")]
fn starts<const N: usize>(factors: &[Factors; N]) -> [int32x4_t; N] {
    let mut starts = [vdupq_n_s32(0); N];
    for (start, factors) in starts.iter_mut().zip(factors) {
        *start = factors.start;
    }
    starts
}

/// Adds a part of a block to what the blocks before have come to.
#[inline]
#[target_feature(enable = "neon")]
fn add<const N: usize, const MINS: bool>(
    sums: &mut [float32x4_t; N],
    dots: [int32x4_t; N],
    factors: &[Factors; N],
    weights: Scales,
) {
    for ((sum, dots), x) in sums.iter_mut().zip(dots).zip(factors) {
        *sum = vfmaq_f32(*sum, vmulq_f32(vcvtq_f32_s32(dots), x.scale), weights.scale);
        if MINS {
            *sum = vfmaq_f32(*sum, weights.min, x.scaled_sum);
        }
    }
}

/// Eight columns of two rows of activations, and the next eight.
#[inline]
#[target_feature(enable = "neon")]
fn zip_rows(first: int8x16_t, second: int8x16_t) -> [int8x16_t; 2] {
    [vcombine_s8(vget_low_s8(first), vget_low_s8(second)), vcombine_s8(vget_high_s8(first), vget_high_s8(second))]
}

/// Eight columns of two rows of weights, and of the next two, of twice four columns of four rows.
#[inline]
#[target_feature(enable = "neon")]
fn zip_lines(first: int8x16_t, second: int8x16_t) -> [int8x16_t; 2] {
    let (first, second) = (vreinterpretq_s32_s8(first), vreinterpretq_s32_s8(second));
    [vreinterpretq_s8_s32(vzip1q_s32(first, second)), vreinterpretq_s8_s32(vzip2q_s32(first, second))]
}
