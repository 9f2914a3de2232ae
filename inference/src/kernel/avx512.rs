//! Kernels for AVX-512 with VNNI: a register holds one number of each of the 16 rows of a group.

use std::arch::x86_64::*;

use super::activations::View;
use super::attention::{Head, PAGE};
use super::{Lanes, TILE};
use crate::pack::{BLOCK, GROUP, Halves, Line, Packed, Quantized, Shift, Storage, Width};

/// Up to [`TILE`] rows of `x`, from `row`, times one group of weights.
pub(super) fn multiply(weights: &Packed, group: usize, x: View<'_>, row: usize, tile: &mut [Lanes]) {
    assert!(row + tile.len() <= x.rows && group < weights.groups() && weights.columns == x.columns);
    // SAFETY: `Isa::Avx512` is in use only where the features were found, and the assertion holds what the functions ask.
    unsafe {
        match tile.len() {
            1 => rows::<1>(weights, group, x, row, tile),
            2 => rows::<2>(weights, group, x, row, tile),
            3 => rows::<3>(weights, group, x, row, tile),
            4 => rows::<4>(weights, group, x, row, tile),
            5 => rows::<5>(weights, group, x, row, tile),
            6 => rows::<6>(weights, group, x, row, tile),
            7 => rows::<7>(weights, group, x, row, tile),
            TILE => rows::<TILE>(weights, group, x, row, tile),
            other => unreachable!("a tile has 1 to {TILE} rows, not {other}"),
        }
    }
}

/// # Safety
/// `x` has rows `row` to `row + N`, the group is one of `weights`, which has the columns of `x`, and `tile` has `N` places.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
unsafe fn rows<const N: usize>(weights: &Packed, group: usize, x: View<'_>, row: usize, tile: &mut [Lanes]) {
    let columns = group * x.columns..(group + 1) * x.columns;
    // SAFETY: passed on to the caller; the slices of columns are as long as a row of `x`.
    let sums: [__m512; N] = unsafe {
        match &weights.storage {
            Storage::Quantized(q) => match (q.width, &q.shift, q.scales_per_block) {
                (Width::Nibble, Shift::Min(mins), _) => quantized::<N, 4, 1>(q, Some(mins), 0, group, x, row),
                (Width::Nibble, Shift::Offset { bits }, _) => quantized::<N, 4, 1>(q, None, *bits, group, x, row),
                (Width::Byte, Shift::Min(mins), _) => quantized::<N, 8, 1>(q, Some(mins), 0, group, x, row),
                (Width::Byte, Shift::Offset { bits }, 1) => quantized::<N, 8, 1>(q, None, *bits, group, x, row),
                (Width::Byte, Shift::Offset { bits }, _) => quantized::<N, 8, 2>(q, None, *bits, group, x, row),
            },
            Storage::F16(halves) => dense(&halves[columns], x, row, |halves| load_f16(halves)),
            Storage::Bf16(halves) => dense(&halves[columns], x, row, |halves| load_bf16(halves)),
            Storage::F32(lines) => dense(&lines[columns], x, row, |line| load_f32(line)),
        }
    };
    for (out, sum) in tile.iter_mut().zip(sums) {
        // SAFETY: the place has 16 floats.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sum) };
    }
}

/// `LINES` is 4 for nibbles and 8 for bytes; `SCALES` a block has 1 or 2. Without mins, `1 << bits` is taken from codes.
///
/// # Safety
/// As [`rows`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
unsafe fn quantized<const N: usize, const LINES: usize, const SCALES: usize>(
    q: &Quantized,
    mins: Option<&Vec<Halves>>,
    bits: u32,
    group: usize,
    x: View<'_>,
    row: usize,
) -> [__m512; N] {
    let blocks = x.columns / BLOCK;
    let codes = &q.codes[group * blocks * LINES..][..blocks * LINES];
    let scales = &q.scales[group * blocks * SCALES..][..blocks * SCALES];
    let mins = mins.map(|mins| &mins[group * blocks..][..blocks]);
    let offset = mins.is_none().then(|| _mm_cvtsi32_si128(bits as i32));
    let (low, zero) = (_mm512_set1_epi8(15), _mm512_setzero_si512());
    let mut out = [_mm512_setzero_ps(); N];
    for b in 0..blocks {
        let of_x = row * blocks + b; // and `blocks` more for each row
        for part in 0..SCALES {
            let mut dots = [zero; N];
            if let Some(offset) = offset {
                for (n, dots) in dots.iter_mut().enumerate() {
                    // SAFETY: `x` has the row, and each of its blocks has two sums.
                    let sum = unsafe {
                        let sums = x.sums.as_ptr().add((of_x + n * blocks) * 2);
                        if SCALES == 1 { *sums + *sums.add(1) } else { *sums.add(part) }
                    };
                    *dots = _mm512_sub_epi32(zero, _mm512_sll_epi32(_mm512_set1_epi32(sum), offset));
                }
            }
            for v in part * LINES / SCALES..(part + 1) * LINES / SCALES {
                // SAFETY: the slice has `LINES` lines for each block, and a line is 64 bytes.
                let line = unsafe { _mm512_load_si512(codes.as_ptr().add(b * LINES + v).cast()) };
                let (w, high) = (_mm512_and_si512(line, low), _mm512_and_si512(_mm512_srli_epi16::<4>(line), low));
                for (n, dots) in dots.iter_mut().enumerate() {
                    // SAFETY: `x` has the row, and a block has 8 times 4 codes; with nibbles `v` is below 4.
                    unsafe {
                        let x = x.codes.as_ptr().add((of_x + n * blocks) * BLOCK + 4 * v);
                        if LINES == 4 {
                            *dots = _mm512_dpbusd_epi32(*dots, w, four(x));
                            *dots = _mm512_dpbusd_epi32(*dots, high, four(x.add(16)));
                        } else {
                            *dots = _mm512_dpbusd_epi32(*dots, line, four(x));
                        }
                    }
                }
            }
            let scale = load_f16(&scales[b * SCALES + part]);
            for (n, (out, dots)) in out.iter_mut().zip(dots).enumerate() {
                // SAFETY: `x` has the row, and each of its blocks has a scale.
                let x_scale = unsafe { *x.scales.as_ptr().add(of_x + n * blocks) };
                let dot = _mm512_mul_ps(_mm512_cvtepi32_ps(dots), _mm512_set1_ps(x_scale));
                *out = _mm512_fmadd_ps(dot, scale, *out);
            }
        }
        if let Some(mins) = mins {
            let min = load_f16(&mins[b]);
            for (n, out) in out.iter_mut().enumerate() {
                // SAFETY: `x` has the row, and each of its blocks has a scaled sum.
                let x_sum = unsafe { *x.scaled_sums.as_ptr().add(of_x + n * blocks) };
                *out = _mm512_fmadd_ps(min, _mm512_set1_ps(x_sum), *out);
            }
        }
    }
    out
}

/// Four codes, in every lane.
///
/// # Safety
/// There are four codes.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn four(codes: *const i8) -> __m512i {
    // SAFETY: passed on to the caller.
    _mm512_broadcastd_epi32(unsafe { _mm_loadu_si32(codes.cast()) })
}

/// # Safety
/// `x` has rows `row` to `row + N`, and they are as long as there are columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
unsafe fn dense<const N: usize, T>(columns: &[T], x: View<'_>, row: usize, load: impl Fn(&T) -> __m512) -> [__m512; N] {
    let mut out = [_mm512_setzero_ps(); N];
    for (column, lanes) in columns.iter().enumerate() {
        let w = load(lanes);
        for (n, out) in out.iter_mut().enumerate() {
            // SAFETY: passed on to the caller.
            let x = unsafe { *x.values.as_ptr().add((row + n) * x.columns + column) };
            *out = _mm512_fmadd_ps(w, _mm512_set1_ps(x), *out);
        }
    }
    out
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_f16(halves: &Halves) -> __m512 {
    // SAFETY: `Halves` is 32 bytes, aligned to them.
    _mm512_cvtph_ps(unsafe { _mm256_load_si256(halves.0.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_bf16(halves: &Halves) -> __m512 {
    // SAFETY: as above.
    let halves = unsafe { _mm256_load_si256(halves.0.as_ptr().cast()) };
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_f32(line: &Line) -> __m512 {
    // SAFETY: `Line` is 64 bytes, aligned to them.
    unsafe { _mm512_load_ps(line.0.as_ptr().cast()) }
}

/// As [`super::scalar::attend`].
pub(super) fn attend(query: &[f32], keys: &[Halves], values: &[Halves], tokens: usize, head: &mut Head<'_>) {
    assert!((1..=PAGE).contains(&tokens) && query.len() == head.out.len());
    assert!(keys.len() >= query.len() * (PAGE / GROUP) && values.len() >= tokens * query.len().div_ceil(GROUP));
    // SAFETY: the features are there, and the lengths were checked.
    unsafe { attend_page(query, keys, values, tokens, head) }
}

/// # Safety
/// `keys` has [`PAGE`] halves for each number of the query, `values` whole lines for each of at most [`PAGE`] tokens, and
/// the head's output is as long as the query.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
unsafe fn attend_page(query: &[f32], keys: &[Halves], values: &[Halves], tokens: usize, head: &mut Head<'_>) {
    const LINES: usize = PAGE / GROUP;
    let mut scores = [_mm512_setzero_ps(); LINES];
    for (d, &q) in query.iter().enumerate() {
        let q = _mm512_set1_ps(q);
        for (line, score) in scores.iter_mut().enumerate() {
            // SAFETY: passed on to the caller.
            let keys = load_f16(unsafe { keys.get_unchecked(d * LINES + line) });
            *score = _mm512_fmadd_ps(q, keys, *score);
        }
    }
    let minus_infinity = _mm512_set1_ps(f32::NEG_INFINITY);
    let mut largest = minus_infinity;
    let mut masks = [0u16; LINES];
    for (line, score) in scores.iter().enumerate() {
        let left = tokens.saturating_sub(line * GROUP).min(GROUP);
        masks[line] = ((1u32 << left) - 1) as u16;
        largest = _mm512_mask_max_ps(largest, masks[line], largest, *score);
    }
    let peak = head.peak.max(_mm512_reduce_max_ps(largest));
    let decay = super::element::exp(head.peak - peak);
    let mut weights = [0.0f32; PAGE];
    let mut sum = _mm512_setzero_ps();
    for (line, score) in scores.iter().enumerate() {
        let weight = _mm512_maskz_mov_ps(masks[line], exp(_mm512_sub_ps(*score, _mm512_set1_ps(peak))));
        sum = _mm512_add_ps(sum, weight);
        // SAFETY: there are 16 weights for each line.
        unsafe { _mm512_storeu_ps(weights.as_mut_ptr().add(line * GROUP), weight) };
    }
    (head.peak, head.sum) = (peak, head.sum * decay + _mm512_reduce_add_ps(sum));
    let lines = head.out.len().div_ceil(GROUP);
    for (part, out) in head.out.chunks_mut(GROUP).enumerate() {
        let mask = ((1u32 << out.len()) - 1) as u16;
        // SAFETY: the mask covers what the part of the output has.
        let mut sums = _mm512_mul_ps(unsafe { _mm512_maskz_loadu_ps(mask, out.as_ptr()) }, _mm512_set1_ps(decay));
        for (token, &weight) in weights[..tokens].iter().enumerate() {
            // SAFETY: passed on to the caller.
            let values = load_f16(unsafe { values.get_unchecked(token * lines + part) });
            sums = _mm512_fmadd_ps(_mm512_set1_ps(weight), values, sums);
        }
        // SAFETY: as for the load.
        unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), mask, sums) };
    }
}

/// [`super::element::exp`] for 16 numbers.
#[inline]
#[target_feature(enable = "avx512f")]
fn exp(x: __m512) -> __m512 {
    let mut lanes = [0.0f32; GROUP];
    // SAFETY: there are 16 lanes, here and below.
    unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), x) };
    lanes.iter_mut().for_each(|x| *x = super::element::exp(*x));
    // SAFETY: as above.
    unsafe { _mm512_loadu_ps(lanes.as_ptr()) }
}
