//! Kernels for AVX-512 with VNNI: a register holds one number of each of the 16 rows of a group.

mod attention;

use std::arch::x86_64::*;

use super::activations::{CodesMut, Scales, View};
use super::{Lanes, TILE};
use crate::pack::{BLOCK, GROUP, Halves, Line, Packed, Quantized, Shift, Storage, Width};
pub(super) use attention::attend;

/// Up to [`TILE`] rows of `x`, from `row`, times one group of weights.
pub(super) fn multiply(weights: &Packed, group: usize, x: View<'_>, row: usize, tile: &mut [Lanes]) {
    assert!(row + tile.len() <= x.rows && group < weights.groups() && weights.columns == x.columns);
    // SAFETY: see the module `kernel` for the features; the assertion holds what the functions ask.
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
            Storage::Quantized(q) => match (q.width, q.scales_per_block) {
                (Width::Nibble, _) => quantized::<N, 4, 1, 1>(q, group, x, row),
                (Width::Five, _) => quantized::<N, 5, 1, 1>(q, group, x, row),
                (Width::Byte, 1) => quantized::<N, 8, 1, 1>(q, group, x, row),
                (Width::Byte, _) => quantized::<N, 8, 1, 2>(q, group, x, row),
                (Width::Split, _) => quantized::<N, 8, 2, 1>(q, group, x, row),
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

/// `LINES` is 4 for nibbles, 5 for fives and 8 for bytes, which are in 1 or 2 `PLANES`; `SCALES` a block has 1 or 2.
///
/// # Safety
/// As [`rows`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
unsafe fn quantized<const N: usize, const LINES: usize, const PLANES: usize, const SCALES: usize>(
    q: &Quantized,
    group: usize,
    x: View<'_>,
    row: usize,
) -> [__m512; N] {
    let blocks = x.columns / BLOCK;
    let lines = LINES / PLANES; // of a block, in each plane
    let codes = &q.codes[group * blocks * lines..][..blocks * lines];
    let low = q.low.as_ref().filter(|_| PLANES == 2).map(|low| &low.codes[group * blocks * lines..][..blocks * lines]);
    let scales = &q.scales[group * blocks * SCALES..][..blocks * SCALES];
    let mins =
        if let Shift::Min(mins) = &q.shift { Some(&mins[group * blocks * SCALES..][..blocks * SCALES]) } else { None };
    // `vpdpbusd` wants weights without a sign: bytes are moved up by 128.
    let zero = if LINES == 8 { 128 } else { i32::from(q.zero()) };
    let mut out = [_mm512_setzero_ps(); N];
    // Mins come first, as they do for the matrix unit.
    if let Some(mins) = mins {
        for (part, min) in mins.iter().enumerate() {
            let min = load_f16(min);
            for (n, out) in out.iter_mut().enumerate() {
                let of_x = (row + n) * blocks + part / SCALES;
                // SAFETY: `x` has the row, and each of its blocks has a scaled sum, a scale and two sums.
                let x_sum = unsafe {
                    if SCALES == 1 {
                        *x.scaled_sums.as_ptr().add(of_x)
                    } else {
                        *x.scales.as_ptr().add(of_x) * *x.sums.as_ptr().add(of_x * 2 + part % 2) as f32
                    }
                };
                *out = _mm512_fmadd_ps(min, _mm512_set1_ps(x_sum), *out);
            }
        }
    }
    for b in 0..blocks {
        let of_x = row * blocks + b; // and `blocks` more for each row
        fetch_codes_ahead(lines, &codes[b * lines..]);
        fetch_scales_ahead(&scales[b * SCALES..]);
        // Not by `map`, which would be a call: it is compiled for no instruction set.
        if let Some(mins) = mins {
            fetch_scales_ahead(&mins[b * SCALES..]);
        }
        if let Some(low) = low {
            fetch_codes_ahead(lines, &low[b * lines..]);
        }
        for part in 0..SCALES {
            let mut dots = [_mm512_setzero_si512(); N];
            if zero != 0 {
                for (n, dots) in dots.iter_mut().enumerate() {
                    // SAFETY: `x` has the row, and each of its blocks has two sums.
                    let sum = unsafe {
                        let sums = x.sums.as_ptr().add((of_x + n * blocks) * 2);
                        if SCALES == 1 { *sums + *sums.add(1) } else { *sums.add(part) }
                    };
                    *dots = _mm512_set1_epi32(sum.wrapping_mul(-zero));
                }
            }
            let mut fours = 8 / SCALES * part..8 / SCALES * (part + 1);
            if LINES == 8 && PLANES == 1 {
                for v in fours {
                    // SAFETY: the slice has `LINES` lines for each block, and a line is 64 bytes.
                    let line = unsafe { _mm512_load_si512(codes.as_ptr().add(b * LINES + v).cast()) };
                    let w = _mm512_xor_si512(line, _mm512_set1_epi8(-128));
                    for (n, dots) in dots.iter_mut().enumerate() {
                        // SAFETY: `x` has the row, and a block has 8 times 4 codes.
                        let x = unsafe { four(x.codes.as_ptr().add((of_x + n * blocks) * BLOCK + 4 * v)) };
                        *dots = _mm512_dpbusd_epi32(*dots, w, x);
                    }
                }
            } else {
                fours.end /= 2;
                for v in fours {
                    // SAFETY: as above, for either plane.
                    let [w, high] = unsafe {
                        match low {
                            Some(low) => joined(codes.as_ptr().add(b * lines + v), low.as_ptr().add(b * lines + v)),
                            None => columns_of::<LINES>(codes.as_ptr().add(b * lines), v),
                        }
                    };
                    for (n, dots) in dots.iter_mut().enumerate() {
                        // SAFETY: `x` has the row, and a block has 8 times 4 codes; `v` is below 4.
                        unsafe {
                            let x = x.codes.as_ptr().add((of_x + n * blocks) * BLOCK + 4 * v);
                            *dots = _mm512_dpbusd_epi32(*dots, w, four(x));
                            *dots = _mm512_dpbusd_epi32(*dots, high, four(x.add(16)));
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
    }
    out
}

/// Sets the first `N` totals to the mins of a group: `Σ over blocks (min × scaled sum of the row)`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
pub(super) fn begin_with_mins<const N: usize>(mins: &[Halves], sums: &[Scales], totals: &mut [Lanes; 16]) {
    let mut begun = [_mm512_setzero_ps(); N];
    for (min, sums) in mins.iter().zip(sums) {
        let min = load_f16(min);
        for (begun, sum) in begun.iter_mut().zip(sums.0) {
            *begun = _mm512_fmadd_ps(min, _mm512_set1_ps(sum), *begun);
        }
    }
    for (begun, total) in begun.into_iter().zip(totals) {
        // SAFETY: there are 16 lanes.
        unsafe { _mm512_storeu_ps(total.as_mut_ptr(), begun) };
    }
}

/// Codes of columns `4 v` to `4 v + 3` of a block, and of those 16 further, as bytes. `LINES` is 4 for nibbles and 5 for fives.
///
/// # Safety
/// `v` is below 4, and there are as many lines.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn columns_of<const LINES: usize>(lines: *const Line, v: usize) -> [__m512i; 2] {
    let low = _mm512_set1_epi8(15);
    // SAFETY: a line is 64 bytes, aligned to them; the rest is passed on to the caller.
    let line = unsafe { _mm512_load_si512(lines.add(v).cast()) };
    let nibbles = [_mm512_and_si512(line, low), _mm512_and_si512(_mm512_srli_epi16::<4>(line), low)];
    if LINES == 4 {
        return nibbles;
    }
    // SAFETY: as above.
    let fifth = unsafe { _mm512_load_si512(lines.add(4).cast()) };
    // Bit `v` of each byte, and bit `v + 4`, as bit 4.
    let moved = [
        _mm512_sll_epi16(fifth, _mm_cvtsi32_si128(4 - v as i32)),
        _mm512_srl_epi16(fifth, _mm_cvtsi32_si128(v as i32)),
    ];
    let sixteen = _mm512_set1_epi8(16);
    // moved & sixteen | nibbles
    let five = |moved, nibbles| _mm512_ternarylogic_epi32::<0b1110_1010>(moved, sixteen, nibbles);
    [five(moved[0], nibbles[0]), five(moved[1], nibbles[1])]
}

/// Codes of a line in two planes, 128 more: columns `4 v` to `4 v + 3` of a block, and those 16 further.
///
/// # Safety
/// Both can be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn joined(high: *const Line, low: *const Line) -> [__m512i; 2] {
    // SAFETY: a line is 64 bytes, aligned to them; the rest is passed on to the caller.
    let [high, low] = unsafe { [_mm512_load_si512(high.cast()), _mm512_load_si512(low.cast())] };
    let lower = _mm512_set1_epi8(15);
    // Where `lower` has bits those of `low`, else those of `high`.
    let join = |high, low| _mm512_ternarylogic_epi32::<0b1100_1010>(lower, low, high);
    [join(_mm512_slli_epi16::<4>(high), low), join(high, _mm512_srli_epi16::<4>(low))]
}

/// Bytes of codes that are asked for ahead, beyond the slices too, into the second cache: without it a processor waits
/// for memory half of the time. 8 KiB was faster than 4 and 16. The first cache can wait for few lines at once, so it
/// does for what is [`NEAR`].
const AHEAD: usize = 8192;

/// Bytes of codes that are brought from the second cache into the first. 1 and 2 KiB were as fast, half of one slower.
const NEAR: usize = 1024;

#[inline]
#[target_feature(enable = "avx512f")]
fn fetch_codes_ahead(lines: usize, codes: &[Line]) {
    let codes = codes.as_ptr().cast::<i8>();
    for line in 0..lines {
        _mm_prefetch::<_MM_HINT_T1>(codes.wrapping_add(AHEAD + line * 64));
        _mm_prefetch::<_MM_HINT_T0>(codes.wrapping_add(NEAR + line * 64));
    }
}

/// As [`fetch_codes_ahead`], for scales or mins: as far in blocks.
#[inline]
#[target_feature(enable = "avx512f")]
fn fetch_scales_ahead(scales: &[Halves]) {
    _mm_prefetch::<_MM_HINT_T1>(scales.as_ptr().cast::<i8>().wrapping_add(AHEAD / 8));
}

/// Four codes, in every lane.
///
/// # Safety
/// There are four codes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn four(codes: *const i8) -> __m512i {
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
pub(super) fn load_f16(halves: &Halves) -> __m512 {
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

/// As the portable one in [`super::element`]; here by hand, as compilers make a poor thing of it.
pub(super) fn quantize(values: &[f32], out: &mut CodesMut<'_>) {
    // SAFETY: see the module `kernel` for the features.
    unsafe { quantize_blocks(values, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn quantize_blocks(values: &[f32], out: &mut CodesMut<'_>) {
    let (blocks, _) = values.as_chunks::<BLOCK>();
    let (codes, _) = out.codes.as_chunks_mut::<BLOCK>();
    let (sums, _) = out.sums.as_chunks_mut::<2>();
    let (most, least) = (_mm512_set1_epi32(127), _mm512_set1_epi32(-127));
    for (b, (block, codes)) in blocks.iter().zip(codes).enumerate() {
        // SAFETY: a block has two times 16 floats.
        let halves = unsafe { [_mm512_loadu_ps(block.as_ptr()), _mm512_loadu_ps(block.as_ptr().add(GROUP))] };
        let largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(halves[0]), _mm512_abs_ps(halves[1])));
        let inverse = _mm512_set1_ps(if largest > 0.0 { 127.0 / largest } else { 0.0 });
        for (half, (values, codes)) in halves.into_iter().zip(codes.as_chunks_mut::<GROUP>().0).enumerate() {
            let nearest = _mm512_cvtps_epi32(_mm512_mul_ps(values, inverse));
            let rounded = _mm512_max_epi32(_mm512_min_epi32(nearest, most), least); // as in the portable one
            sums[b][half] = _mm512_reduce_add_epi32(rounded);
            // SAFETY: there are 16 codes.
            unsafe { _mm_storeu_si128(codes.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(rounded)) };
        }
        let scale = largest / 127.0;
        out.scales[b] = scale;
        out.scaled_sums[b] = scale * sums[b][0].wrapping_add(sums[b][1]) as f32;
    }
}
