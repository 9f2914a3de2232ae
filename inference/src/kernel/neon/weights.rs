//! Groups of quantized weights, as registers.

use std::arch::aarch64::*;

use super::{load_bytes, load_f16};
use crate::pack::{BLOCK, Halves, Line, Quantized, Shift};

/// A group of weights.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    codes: &'a [Line],
    scales: &'a [Halves],
    /// As many as scales; where there are no mins, these are the scales and not looked at.
    mins: &'a [Halves],
    /// What is taken from every code.
    pub(super) zero: i32,
}

impl<'a> Group<'a> {
    pub(super) fn new(q: &'a Quantized, group: usize, columns: usize) -> Self {
        let blocks = columns / BLOCK;
        let lines = blocks * q.width.lines();
        let halves = group * blocks * q.scales_per_block..(group + 1) * blocks * q.scales_per_block;
        let mins = if let Shift::Min(mins) = &q.shift { mins } else { &q.scales };
        Self {
            codes: &q.codes[group * lines..][..lines],
            scales: &q.scales[halves.clone()],
            mins: &mins[halves],
            zero: i32::from(q.zero()),
        }
    }

    pub(super) fn blocks<const LINES: usize, const SCALES: usize>(
        self,
    ) -> impl Iterator<Item = Block<'a, LINES, SCALES>> {
        let (lines, scales, mins) = (self.codes.as_chunks().0, self.scales.as_chunks().0, self.mins.as_chunks().0);
        lines.iter().zip(scales).zip(mins).map(|((lines, scales), mins)| Block { lines, scales, mins })
    }
}

/// A block of a group.
pub(super) struct Block<'a, const LINES: usize, const SCALES: usize> {
    lines: &'a [Line; LINES],
    scales: &'a [Halves; SCALES],
    mins: &'a [Halves; SCALES],
}

impl<const LINES: usize, const SCALES: usize> Block<'_, LINES, SCALES> {
    /// The codes of the `r`-th four rows, half by half of the block's columns: four columns in each register.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn codes(&self, r: usize) -> [[int8x16_t; 4]; 2] {
        let mut codes = [[vdupq_n_s8(0); 4]; 2];
        for (v, line) in self.lines.iter().enumerate().take(4) {
            let line = load_bytes(line, r);
            let halves = if LINES == 8 {
                [line, load_bytes(&self.lines[4 + v], r)]
            } else {
                [vandq_u8(line, vdupq_n_u8(15)), vshrq_n_u8::<4>(line)]
            };
            for (half, mut four) in halves.into_iter().enumerate() {
                if LINES == 5 {
                    // Of the line of fifth bits, bit `v` or `v + 4` becomes bit 4.
                    let shift = vdupq_n_s8(4 - v as i8 - 4 * half as i8);
                    four = vbslq_u8(vdupq_n_u8(16), vshlq_u8(load_bytes(&self.lines[4], r), shift), four);
                }
                codes[half][v] = vreinterpretq_s8_u8(four);
            }
        }
        codes
    }

    /// The `r`-th four of the scales and mins of a part of the block.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn scales(&self, part: usize, r: usize) -> Scales {
        Scales { scale: load_f16(&self.scales[part], r), min: load_f16(&self.mins[part], r) }
    }
}

/// Scales and mins of the rows of weights that a register of sums belongs to.
#[derive(Clone, Copy)]
pub(super) struct Scales {
    pub(super) scale: float32x4_t,
    pub(super) min: float32x4_t,
}

impl Scales {
    /// Those of the first two rows twice, and those of the last two.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn twice(self) -> [Self; 2] {
        let ([scale, scale_2], [min, min_2]) = (twice(self.scale), twice(self.min));
        [Self { scale, min }, Self { scale: scale_2, min: min_2 }]
    }
}

/// The numbers of two rows twice, and those of the next two.
#[inline]
#[target_feature(enable = "neon")]
fn twice(four: float32x4_t) -> [float32x4_t; 2] {
    let (low, high) = (vget_low_f32(four), vget_high_f32(four));
    [vcombine_f32(low, low), vcombine_f32(high, high)]
}
