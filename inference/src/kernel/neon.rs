//! Kernels for AArch64: NEON with dot products of bytes (`dotprod`), and with matrix products of them (`i8mm`) where there are.

mod attention;
mod codes;
mod dot;
mod quantize;
mod weights;

use std::arch::aarch64::*;

pub(super) use attention::attend;
#[cfg(feature = "bench")]
pub(super) use dot::{dot, matrix};
pub(super) use quantize::quantize;

use super::activations::{CodesMut, View};
use super::{Lanes, TILE};
use crate::pack::{GROUP, Halves, Line, Packed, Storage};

/// Lanes of a register of f32, which are neighbouring rows of a group.
const LANES: usize = 4;

/// Registers with one number of each row of a group.
const REGISTERS: usize = GROUP / LANES;

/// Rows of activations that weights are multiplied with at once.
const ROWS: usize = 4;

/// Up to [`TILE`] rows of `x`, from `row`, times one group of weights; with `i8mm` only if the processor has it.
pub(super) fn multiply(i8mm: bool, weights: &Packed, group: usize, x: View<'_>, row: usize, tile: &mut [Lanes]) {
    assert!(weights.columns == x.columns && tile.len() <= TILE);
    let columns = group * x.columns..(group + 1) * x.columns;
    match &weights.storage {
        Storage::Quantized(quantized) => codes::multiply(i8mm, quantized, group, x, row, tile),
        // SAFETY: see the module `kernel` for the features, here and below.
        Storage::F16(halves) => dense(&halves[columns], x, row, tile, |halves, r| unsafe { load_f16(halves, r) }),
        // SAFETY: as above.
        Storage::Bf16(halves) => dense(&halves[columns], x, row, tile, |halves, r| unsafe { load_bf16(halves, r) }),
        // SAFETY: as above.
        Storage::F32(lines) => dense(&lines[columns], x, row, tile, |line, r| unsafe { load_f32(line, r) }),
    }
}

/// Rows of `x` times dense weights, given column by column; `load(numbers, r)` gives the `r`-th register of a column.
fn dense<T>(columns: &[T], x: View<'_>, row: usize, tile: &mut [Lanes], load: impl Fn(&T, usize) -> float32x4_t) {
    for (part, tile) in tile.chunks_mut(ROWS).enumerate() {
        let x = &x.values[(row + part * ROWS) * x.columns..];
        // SAFETY: see the module `kernel` for the features.
        unsafe {
            match tile.len() {
                1 => dense_rows::<1, T>(columns, x, tile, &load),
                2 => dense_rows::<2, T>(columns, x, tile, &load),
                3 => dense_rows::<3, T>(columns, x, tile, &load),
                _ => dense_rows::<ROWS, T>(columns, x, tile, &load),
            }
        }
    }
}

#[target_feature(enable = "neon")]
fn dense_rows<const N: usize, T>(
    columns: &[T],
    x: &[f32],
    tile: &mut [Lanes],
    load: impl Fn(&T, usize) -> float32x4_t,
) {
    let rows: [&[f32]; N] = std::array::from_fn(|n| &x[n * columns.len()..][..columns.len()]);
    let mut sums = [[vdupq_n_f32(0.0); REGISTERS]; N];
    for (column, numbers) in columns.iter().enumerate() {
        for r in 0..REGISTERS {
            let weights = load(numbers, r);
            for (sums, row) in sums.iter_mut().zip(rows) {
                sums[r] = vfmaq_n_f32(sums[r], weights, row[column]);
            }
        }
    }
    for (out, sums) in tile.iter_mut().zip(sums) {
        for (out, sum) in out.as_chunks_mut().0.iter_mut().zip(sums) {
            store(out, sum);
        }
    }
}

/// The `r`-th four of 16 halves.
#[inline]
#[target_feature(enable = "neon")]
fn load_f16(halves: &Halves, r: usize) -> float32x4_t {
    let four: &[u16; LANES] = &halves.0.as_chunks().0[r];
    // SAFETY: there are four.
    vcvt_f32_f16(vreinterpret_f16_u16(unsafe { vld1_u16(four.as_ptr()) }))
}

#[inline]
#[target_feature(enable = "neon")]
fn load_bf16(halves: &Halves, r: usize) -> float32x4_t {
    let four: &[u16; LANES] = &halves.0.as_chunks().0[r];
    // SAFETY: there are four.
    vreinterpretq_f32_u32(vshll_n_u16::<16>(unsafe { vld1_u16(four.as_ptr()) }))
}

#[inline]
#[target_feature(enable = "neon")]
fn load_f32(line: &Line, r: usize) -> float32x4_t {
    vreinterpretq_f32_u8(load_bytes(line, r))
}

/// The `r`-th 16 bytes of a line.
#[inline]
#[target_feature(enable = "neon")]
fn load_bytes(line: &Line, r: usize) -> uint8x16_t {
    let bytes: &[u8; 16] = &line.0.as_chunks().0[r];
    // SAFETY: there are 16.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(out: &mut [f32; LANES], numbers: float32x4_t) {
    // SAFETY: there are four places.
    unsafe { vst1q_f32(out.as_mut_ptr(), numbers) }
}
