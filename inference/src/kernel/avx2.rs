//! Kernels for AVX2: two registers hold one number of each of the 16 rows of a group.

use std::arch::x86_64::*;

use super::Lanes;
use super::activations::{CodesMut, View};
use super::attention::{CODES, PAGE, Pairs, Softmax, Span, lines_of};
use super::element::exp;
use crate::pack::{BLOCK, GROUP, Halves, Line, Packed, Quantized, Shift, Storage, Width};

/// Lanes of a register of f32.
const LANES: usize = 8;

/// Rows of activations that are kept in registers at once.
const ROWS: usize = 4;

/// Up to [`super::TILE`] rows of `x`, from `row`, times one group of weights.
pub(super) fn multiply(weights: &Packed, group: usize, x: View<'_>, row: usize, tile: &mut [Lanes]) {
    assert!(row + tile.len() <= x.rows && group < weights.groups() && weights.columns == x.columns);
    for (part, tile) in tile.chunks_mut(ROWS).enumerate() {
        let row = row + part * ROWS;
        // SAFETY: see the module `kernel` for the features; the assertion holds what the functions ask.
        unsafe {
            match tile.len() {
                1 => rows::<1>(weights, group, x, row, tile),
                2 => rows::<2>(weights, group, x, row, tile),
                3 => rows::<3>(weights, group, x, row, tile),
                _ => rows::<ROWS>(weights, group, x, row, tile),
            }
        }
    }
}

/// # Safety
/// `x` has rows `row` to `row + N`, the group is one of `weights`, which has the columns of `x`, and `tile` has `N` places.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn rows<const N: usize>(weights: &Packed, group: usize, x: View<'_>, row: usize, tile: &mut [Lanes]) {
    let columns = group * x.columns..(group + 1) * x.columns;
    for half in 0..GROUP / LANES {
        // SAFETY: passed on to the caller; the slices of columns are as long as a row of `x`.
        let sums: [__m256; N] = unsafe {
            match &weights.storage {
                Storage::Quantized(q) => match (q.width, q.scales_per_block) {
                    (Width::Nibble, _) => quantized::<N, 4, 1, 1>(q, group, half, x, row),
                    (Width::Five, _) => quantized::<N, 5, 1, 1>(q, group, half, x, row),
                    (Width::Byte, 1) => quantized::<N, 8, 1, 1>(q, group, half, x, row),
                    (Width::Byte, _) => quantized::<N, 8, 1, 2>(q, group, half, x, row),
                    (Width::Split, _) => quantized::<N, 8, 2, 1>(q, group, half, x, row),
                },
                Storage::F16(halves) => dense(&halves[columns.clone()], x, row, |halves| load_f16(halves, half)),
                Storage::Bf16(halves) => dense(&halves[columns.clone()], x, row, |halves| load_bf16(halves, half)),
                Storage::F32(lines) => dense(&lines[columns.clone()], x, row, |line| load_f32(line, half)),
            }
        };
        for (out, sum) in tile.iter_mut().zip(sums) {
            // SAFETY: the place has 16 floats, and the half is 0 or 1.
            unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(half * LANES), sum) };
        }
    }
}

/// `LINES` is 4 for nibbles, 5 for fives and 8 for bytes, which are in 1 or 2 `PLANES`; `SCALES` a block has 1 or 2.
///
/// `vpmaddubsw` adds two products in 16 bits, saturating. Codes without a sign stay below (31 × 127 × 2); with bytes, the sign is
/// moved to the activation, so that 128 × 127 × 2 is the most.
///
/// # Safety
/// As [`rows`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn quantized<const N: usize, const LINES: usize, const PLANES: usize, const SCALES: usize>(
    q: &Quantized,
    group: usize,
    half: usize,
    x: View<'_>,
    row: usize,
) -> [__m256; N] {
    let blocks = x.columns / BLOCK;
    let lines = LINES / PLANES; // of a block, in each plane
    let codes = &q.codes[group * blocks * lines..][..blocks * lines];
    let lower =
        q.low.as_ref().filter(|_| PLANES == 2).map(|low| &low.codes[group * blocks * lines..][..blocks * lines]);
    let scales = &q.scales[group * blocks * SCALES..][..blocks * SCALES];
    let mins =
        if let Shift::Min(mins) = &q.shift { Some(&mins[group * blocks * SCALES..][..blocks * SCALES]) } else { None };
    let zero = i32::from(q.zero());
    let (low, ones, sixteen) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1), _mm256_set1_epi8(16));
    let mut out = [_mm256_setzero_ps(); N];
    for b in 0..blocks {
        // Sums in 32 bits of each half of the block; of nibbles in 16 bits (8 × 2 × 15 × 127 at most) of all of it.
        let mut dots = [[_mm256_setzero_si256(); 2]; N];
        // SAFETY: the slices have as many lines for each block, and a line is two times 32 bytes.
        let load_of = |codes: &[Line], v: usize| unsafe {
            _mm256_load_si256(codes.as_ptr().add(b * lines + v).cast::<__m256i>().add(half))
        };
        let load = |v: usize| match lower {
            Some(lower) => joined(load_of(codes, v % 4), load_of(lower, v % 4), v >= 4),
            None => load_of(codes, v),
        };
        let fifth = if LINES == 5 { load(4) } else { low };
        for v in 0..if LINES == 8 { 8 } else { 4 } {
            let line = load(v);
            let (mut w, mut high) = if LINES == 8 {
                (_mm256_abs_epi8(line), line)
            } else {
                (_mm256_and_si256(line, low), _mm256_and_si256(_mm256_srli_epi16::<4>(line), low))
            };
            if LINES == 5 {
                // Bit `v` of each byte, and bit `v + 4`, as bit 4.
                let (of_w, of_high) = (_mm_cvtsi32_si128(4 - v as i32), _mm_cvtsi32_si128(v as i32));
                w = _mm256_or_si256(w, _mm256_and_si256(_mm256_sll_epi16(fifth, of_w), sixteen));
                high = _mm256_or_si256(high, _mm256_and_si256(_mm256_srl_epi16(fifth, of_high), sixteen));
            }
            for (n, dots) in dots.iter_mut().enumerate() {
                // SAFETY: `x` has the row, and a block has 8 times 4 codes.
                let x_codes = unsafe { x.codes.as_ptr().add(((row + n) * blocks + b) * BLOCK).cast::<i32>() };
                // SAFETY: as above, here and below: `v` is below 8, and below 4 where 4 is added.
                let four = _mm256_set1_epi32(unsafe { x_codes.add(v).read_unaligned() });
                if LINES == 8 {
                    let products = _mm256_maddubs_epi16(w, _mm256_sign_epi8(four, high));
                    dots[v / 4] = _mm256_add_epi32(dots[v / 4], _mm256_madd_epi16(products, ones));
                } else {
                    // SAFETY: as above.
                    let next = _mm256_set1_epi32(unsafe { x_codes.add(v + 4).read_unaligned() });
                    let products = _mm256_add_epi16(_mm256_maddubs_epi16(w, four), _mm256_maddubs_epi16(high, next));
                    dots[0] = if LINES == 4 {
                        _mm256_add_epi16(dots[0], products)
                    } else {
                        _mm256_add_epi32(dots[0], _mm256_madd_epi16(products, ones))
                    };
                }
            }
        }
        let scale = [load_f16(&scales[b * SCALES], half), load_f16(&scales[b * SCALES + SCALES - 1], half)];
        let min = mins.map(|mins| [load_f16(&mins[b * SCALES], half), load_f16(&mins[b * SCALES + SCALES - 1], half)]);
        for n in 0..N {
            let of_x = (row + n) * blocks + b;
            let mut dots = dots[n];
            if LINES == 4 {
                dots[0] = _mm256_madd_epi16(dots[0], ones);
            }
            if zero != 0 {
                dots[0] = _mm256_sub_epi32(dots[0], _mm256_set1_epi32(x.sums[of_x * 2].wrapping_mul(zero)));
                dots[1] = _mm256_sub_epi32(dots[1], _mm256_set1_epi32(x.sums[of_x * 2 + 1].wrapping_mul(zero)));
            }
            let x_scale = _mm256_set1_ps(x.scales[of_x]);
            if SCALES == 1 {
                let dot = _mm256_cvtepi32_ps(_mm256_add_epi32(dots[0], dots[1]));
                out[n] = _mm256_fmadd_ps(dot, _mm256_mul_ps(scale[0], x_scale), out[n]);
            } else {
                out[n] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[0]), _mm256_mul_ps(scale[0], x_scale), out[n]);
                out[n] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[1]), _mm256_mul_ps(scale[1], x_scale), out[n]);
            }
            match min {
                Some([min, _]) if SCALES == 1 => {
                    out[n] = _mm256_fmadd_ps(min, _mm256_set1_ps(x.scaled_sums[of_x]), out[n]);
                }
                Some(mins) => {
                    for (part, min) in mins.into_iter().enumerate() {
                        let x_sum = x.scales[of_x] * x.sums[of_x * 2 + part] as f32;
                        out[n] = _mm256_fmadd_ps(min, _mm256_set1_ps(x_sum), out[n]);
                    }
                }
                None => {}
            }
        }
    }
    out
}

/// Signed codes of a line in two planes: its first columns, or those `further`.
#[inline]
#[target_feature(enable = "avx2")]
fn joined(high: __m256i, low: __m256i, further: bool) -> __m256i {
    let upper = _mm256_set1_epi8(-16);
    let [high, low] = if further { [high, _mm256_srli_epi16::<4>(low)] } else { [_mm256_slli_epi16::<4>(high), low] };
    let codes = _mm256_or_si256(_mm256_and_si256(upper, high), _mm256_andnot_si256(upper, low));
    _mm256_xor_si256(codes, _mm256_set1_epi8(-128))
}

/// # Safety
/// `x` has rows `row` to `row + N`, and they are as long as there are columns.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn dense<const N: usize, T>(columns: &[T], x: View<'_>, row: usize, load: impl Fn(&T) -> __m256) -> [__m256; N] {
    let mut out = [_mm256_setzero_ps(); N];
    for (column, lanes) in columns.iter().enumerate() {
        let w = load(lanes);
        for (n, out) in out.iter_mut().enumerate() {
            // SAFETY: passed on to the caller.
            let x = unsafe { *x.values.as_ptr().add((row + n) * x.columns + column) };
            *out = _mm256_fmadd_ps(w, _mm256_set1_ps(x), *out);
        }
    }
    out
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
pub(super) fn load_f16(halves: &Halves, half: usize) -> __m256 {
    let halves = &halves.0[half * LANES..][..LANES];
    // SAFETY: there are 8 halves.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(halves.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_bf16(halves: &Halves, half: usize) -> __m256 {
    let halves = &halves.0[half * LANES..][..LANES];
    // SAFETY: there are 8 halves.
    let halves = unsafe { _mm_loadu_si128(halves.as_ptr().cast()) };
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_f32(line: &Line, half: usize) -> __m256 {
    let floats = &line.0[half * 4 * LANES..][..4 * LANES];
    // SAFETY: there are 32 bytes.
    unsafe { _mm256_loadu_ps(floats.as_ptr().cast()) }
}

/// As [`super::scalar::attend`].
pub(super) fn attend<const PER: usize>(
    queries: &[f32],
    span: Span<'_>,
    cap: Option<f32>,
    softmax: &mut [Softmax],
    out: &mut [f32],
) {
    let dimensions = queries.len() / softmax.len();
    let heads = queries.chunks_exact(dimensions).zip(out.chunks_exact_mut(dimensions));
    for ((query, out), softmax) in heads.zip(softmax) {
        // SAFETY: see the module `kernel` for the features.
        unsafe { attend_head::<PER>(query, span, cap, softmax, out) };
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn attend_head<const PER: usize>(
    query: &[f32],
    span: Span<'_>,
    cap: Option<f32>,
    softmax: &mut Softmax,
    out: &mut [f32],
) {
    let page = span.page;
    let mut sums = [_mm256_setzero_ps(); PAGE / LANES];
    for (q, keys) in query.chunks(PER).zip(page.keys.chunks_exact(PAGE / GROUP)) {
        let mut of_lane = [_mm256_setzero_ps(); PER];
        of_lane.iter_mut().zip(q).for_each(|(of_lane, &q)| *of_lane = _mm256_set1_ps(q));
        for (line, sum) in sums.iter_mut().enumerate() {
            for (q, keys) in of_lane.into_iter().zip(load_lanes::<PER>(&keys[line / 2], line % 2)) {
                *sum = _mm256_fmadd_ps(q, keys, *sum);
            }
        }
    }
    let mut scores = [0.0f32; PAGE];
    for (scores, sum) in scores.chunks_exact_mut(LANES).zip(sums) {
        // SAFETY: there are 8 places.
        unsafe { _mm256_storeu_ps(scores.as_mut_ptr(), sum) };
    }
    let scales = page.token_scales();
    if let Some([scales, _]) = &scales {
        scores.iter_mut().zip(scales).for_each(|(score, scale)| *score *= scale);
    }
    if let Some(cap) = cap {
        super::element::cap(&mut scores, cap);
    }
    let seen = span.first..span.tokens;
    let peak = scores[seen.clone()].iter().fold(softmax.peak, |peak, &score| peak.max(score));
    let mut weights = [0.0f32; PAGE];
    for (weight, score) in weights.iter_mut().zip(scores) {
        *weight = exp(score - peak);
    }
    weights[..seen.start].fill(0.0);
    weights[seen.end..].fill(0.0);
    let decay = exp(softmax.peak - peak);
    *softmax = Softmax { peak, sum: softmax.sum * decay + weights.iter().sum::<f32>() };
    if let Some([_, scales]) = &scales {
        weights.iter_mut().zip(scales).for_each(|(weight, scale)| *weight *= scale);
    }
    let lines = lines_of(out.len());
    for (part, out) in out.chunks_mut(LANES).enumerate() {
        let mut sums = _mm256_setzero_ps();
        for lane in seen.start / PER..seen.end.div_ceil(PER) {
            let values = load_lanes::<PER>(&page.values[lane * lines + part / 2], part % 2);
            for (weight, values) in weights[PER * lane..].iter().zip(values) {
                sums = _mm256_fmadd_ps(_mm256_set1_ps(*weight), values, sums);
            }
        }
        let mut added = [0.0f32; LANES];
        // SAFETY: there are 8 places.
        unsafe { _mm256_storeu_ps(added.as_mut_ptr(), sums) };
        for (out, added) in out.iter_mut().zip(added) {
            *out = *out * decay + added;
        }
    }
}

/// The first, second … numbers of eight lanes of `PER`: the `half`-th.
#[inline]
#[target_feature(enable = "avx2")]
fn load_lanes<const PER: usize>(lanes: &Pairs, half: usize) -> [__m256; PER] {
    let lanes = &lanes.0[half * LANES..][..LANES];
    // SAFETY: there are 8 lanes, 32 bytes.
    let bits = unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) };
    let mut numbers = [_mm256_setzero_ps(); PER];
    for (i, number) in numbers.iter_mut().enumerate() {
        // To the highest bits, where the sign is.
        let high = _mm256_sll_epi32(bits, _mm_cvtsi32_si128((32 - 32 / PER * (i + 1)) as i32));
        *number = if PER == CODES {
            _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(high))
        } else {
            _mm256_castsi256_ps(_mm256_and_si256(high, _mm256_set1_epi32(0xffff_0000_u32 as i32)))
        };
    }
    numbers
}

/// As the portable one in [`super::element`], compiled for these instructions.
pub(super) fn quantize(values: &[f32], out: &mut CodesMut<'_>) {
    #[target_feature(enable = "avx2,fma")]
    fn compiled(values: &[f32], out: &mut CodesMut<'_>) {
        super::element::quantize(values, out);
    }
    // SAFETY: see the module `kernel` for the features.
    unsafe { compiled(values, out) }
}
