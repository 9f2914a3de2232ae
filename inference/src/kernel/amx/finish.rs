//! What is done with a block of sums while it is in the nearest cache.

use std::arch::x86_64::*;

use super::Sums;
use crate::kernel::Activation;
use crate::kernel::activations::{TILE_COLUMNS, TILE_ROWS, Tile};
use crate::pack::GROUP;

/// A place in rows of activations, as tiles: `[row block][column block]`.
pub(in crate::kernel) struct Place {
    /// The first tile of all.
    pub(in crate::kernel) start: *mut Tile,
    /// Tiles of a row block.
    pub(in crate::kernel) blocks: usize,
    /// The first row.
    pub(in crate::kernel) row: usize,
    /// The first column, a multiple of 16.
    pub(in crate::kernel) column: usize,
}

/// Writes `rows` rows of sums to rows of a matrix, `stride` floats apart: `outputs` of them.
///
/// # Safety
/// The processor has AVX-512; `out` has the places, and nobody else uses them.
#[target_feature(enable = "avx512f")]
pub(in crate::kernel) unsafe fn store(sums: &Sums, rows: usize, outputs: usize, out: *mut f32, stride: usize) {
    let masks = masks(outputs);
    for (row, sums) in sums.0[..rows].iter().enumerate() {
        for (half, mask) in masks.into_iter().enumerate() {
            // SAFETY: `Sums` has 32 numbers a row, and the mask covers the places that there are.
            unsafe {
                let sums = _mm512_load_ps(sums.as_ptr().add(half * GROUP));
                _mm512_mask_storeu_ps(out.add(row * stride + half * GROUP), mask, sums);
            }
        }
    }
}

/// Adds `rows` rows of sums to rows of a matrix; as [`store`].
///
/// # Safety
/// As [`store`].
#[target_feature(enable = "avx512f")]
pub(in crate::kernel) unsafe fn add(sums: &Sums, rows: usize, outputs: usize, out: *mut f32, stride: usize) {
    let masks = masks(outputs);
    for (row, sums) in sums.0[..rows].iter().enumerate() {
        for (half, mask) in masks.into_iter().enumerate() {
            // SAFETY: as in `store`.
            unsafe {
                let out = out.add(row * stride + half * GROUP);
                let sums = _mm512_load_ps(sums.as_ptr().add(half * GROUP));
                _mm512_mask_storeu_ps(out, mask, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, out), sums));
            }
        }
    }
}

/// Which of two times 16 outputs there are.
fn masks(outputs: usize) -> [u16; 2] {
    let mask = u32::MAX.checked_shr(32 - outputs.min(32) as u32).unwrap_or(0);
    [mask as u16, (mask >> 16) as u16]
}

/// Gates `rows` rows of sums, which are 16 of the gate and 16 of what it is multiplied with, to 16 columns.
///
/// # Safety
/// The processor has AVX-512 with BF16; the rows and columns are there, and nobody else uses them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(in crate::kernel) unsafe fn gate(
    activation: Activation,
    sums: &Sums,
    rows: usize,
    biases: [Option<&[f32]>; 2],
    place: &Place,
) {
    let (of_gate, of_up) = (bias_of(biases[0]), bias_of(biases[1]));
    let Place { start, blocks, column, .. } = *place;
    for (row, sums) in (place.row..).zip(&sums.0[..rows]) {
        // SAFETY: `Sums` has 32 numbers a row; the caller answers for the place.
        unsafe {
            let x = _mm512_add_ps(_mm512_load_ps(sums.as_ptr()), of_gate);
            let up = _mm512_add_ps(_mm512_load_ps(sums.as_ptr().add(GROUP)), of_up);
            let gated = match activation {
                Activation::Silu => _mm512_mul_ps(x, sigmoid(x)),
                Activation::GeluTanh => _mm512_mul_ps(x, sigmoid(gelu_argument(x))),
            };
            let tile = start.add(row / TILE_ROWS * blocks + column / TILE_COLUMNS);
            let line = (&raw mut (*tile).0[row % TILE_ROWS]).cast::<u16>();
            _mm256_store_si256(line.add(column % TILE_COLUMNS).cast(), round(_mm512_mul_ps(gated, up)));
        }
    }
}

/// Up to 16 numbers, filled up with zeros.
#[inline]
#[target_feature(enable = "avx512f")]
fn bias_of(bias: Option<&[f32]>) -> __m512 {
    // SAFETY: the mask covers the numbers that there are.
    bias.map_or(_mm512_setzero_ps(), |bias| unsafe {
        _mm512_maskz_loadu_ps(masks(bias.len().min(GROUP))[0], bias.as_ptr())
    })
}

/// `(1 + tanh(y)) / 2 = sigmoid(2 y)`, with `y = √(2/π) (x + 0.044715 x³)`.
#[inline]
#[target_feature(enable = "avx512f")]
fn gelu_argument(x: __m512) -> __m512 {
    const TWO_ROOT: f32 = 1.595_769;
    let cube = _mm512_fmadd_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(TWO_ROOT * 0.044_715), _mm512_set1_ps(TWO_ROOT));
    _mm512_mul_ps(x, cube)
}

/// `1 / (1 + e^-x)` to some 13 bits, more than what it is rounded to.
#[inline]
#[target_feature(enable = "avx512f")]
fn sigmoid(x: __m512) -> __m512 {
    let x = _mm512_mul_ps(x, _mm512_set1_ps(-std::f32::consts::LOG2_E));
    // So far that what it is multiplied with stays a normal number: processors are slow with subnormal ones.
    let power = exp2(_mm512_min_ps(x, _mm512_set1_ps(100.0)));
    _mm512_rcp14_ps(_mm512_add_ps(_mm512_set1_ps(1.0), power))
}

/// `2^x` to some 18 bits.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn exp2(x: __m512) -> __m512 {
    // The fraction from -1/2 to 1/2 by a polynomial (minimax in the relative error), the integer into the exponent.
    let n = _mm512_roundscale_ps::<0x08>(x);
    let f = _mm512_sub_ps(x, n);
    let mut p = _mm512_set1_ps(0.009_582_59);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.055_905_79));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.240_240_99));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.693_124_3));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0));
    _mm512_scalef_ps(p, n)
}

/// To bf16, to the nearest.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn round(x: __m512) -> __m256i {
    // SAFETY: both are 32 bytes, for which every pattern is a value.
    unsafe { std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(x)) }
}

/// A line of a tile: up to 32 numbers, filled up with zeros.
///
/// # Panics
/// If there are more.
pub(super) fn round_line(values: &[f32], line: &mut [u16; TILE_COLUMNS]) {
    assert!(values.len() <= TILE_COLUMNS, "{} numbers", values.len());
    // SAFETY: tiles are used only where `permitted` was true, on processors which all have these features; there is one line.
    unsafe { round_lines(values, line.as_mut_ptr()) }
}

/// A row as one line each of tiles that follow each other, of which the first line is at `to`: filled up with zeros.
///
/// # Safety
/// The processor has AVX-512 with BF16; there are tiles for all numbers, and nobody else uses these lines of them.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(in crate::kernel) unsafe fn round_lines(values: &[f32], to: *mut u16) {
    const TILE: usize = TILE_ROWS * TILE_COLUMNS;
    for (n, values) in values.chunks(TILE_COLUMNS).enumerate() {
        let [low, high] = if values.len() == TILE_COLUMNS { [u16::MAX; 2] } else { masks(values.len()) };
        // SAFETY: the masks cover the numbers that there are, of which only those are read; a line has 32 places.
        unsafe {
            let low = _mm512_maskz_loadu_ps(low, values.as_ptr());
            let high = _mm512_maskz_loadu_ps(high, values.as_ptr().wrapping_add(GROUP));
            to.add(n * TILE).cast::<__m512bh>().write_unaligned(_mm512_cvtne2ps_pbh(high, low));
        }
    }
}

/// As [`Isa::rms_norm`](crate::kernel::Isa::rms_norm) to the bit, and then [`round_lines`].
///
/// # Panics
/// If there are not as many weights as numbers.
///
/// # Safety
/// As [`round_lines`].
#[target_feature(enable = "avx512f,avx512bf16")]
pub(in crate::kernel) unsafe fn norm_lines(x: &[f32], weight: &[f32], epsilon: f32, to: *mut u16) {
    assert_eq!(x.len(), weight.len());
    let (whole, rest) = x.as_chunks::<GROUP>();
    let mut sums = _mm512_setzero_ps();
    for x in whole {
        // SAFETY: there are 16 numbers.
        let x = unsafe { _mm512_loadu_ps(x.as_ptr()) };
        sums = _mm512_add_ps(sums, _mm512_mul_ps(x, x));
    }
    let mut parts = [0.0; GROUP];
    // SAFETY: there are 16 places.
    unsafe { _mm512_storeu_ps(parts.as_mut_ptr(), sums) };
    let sum = parts.iter().sum::<f32>() + rest.iter().map(|x| x * x).sum::<f32>();
    let scale = _mm512_set1_ps(1.0 / (sum / x.len() as f32 + epsilon).sqrt());
    let normed = |mask: u16, at: usize| {
        // SAFETY: the mask covers the numbers that there are, of which only those are read.
        let (x, weight) = unsafe {
            let at = [x, weight].map(|of| of.as_ptr().wrapping_add(at));
            (_mm512_maskz_loadu_ps(mask, at[0]), _mm512_maskz_loadu_ps(mask, at[1]))
        };
        _mm512_mul_ps(_mm512_mul_ps(x, scale), weight)
    };
    for (n, at) in (0..x.len()).step_by(TILE_COLUMNS).enumerate() {
        let [low, high] = if x.len() - at >= TILE_COLUMNS { [u16::MAX; 2] } else { masks(x.len() - at) };
        let line = _mm512_cvtne2ps_pbh(normed(high, at + GROUP), normed(low, at));
        // SAFETY: a line has 32 places.
        unsafe { to.add(n * TILE_ROWS * TILE_COLUMNS).cast::<__m512bh>().write_unaligned(line) };
    }
}
