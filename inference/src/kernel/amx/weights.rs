//! Packed weights as tiles of bf16: the one step between the compact form and the matrix unit.
//!
//! A code becomes a float without a conversion: its bits are put into the mantissa of a power of two, and that power,
//! scaled, is taken off again by the addend that the multiplication has anyway.

use std::arch::x86_64::*;

use crate::kernel::activations::Tile;
use crate::kernel::avx512::{columns_of, joined};
use crate::pack::{BLOCK, GROUP, Halves, Packed, Quantized, Shift, Storage, Width};

/// The weights of a group of 16 outputs from the column block `first` on: a tile for each 32 columns, of which the last of a
/// row is filled up with zeros.
///
/// # Panics
/// If there is no such group, or not as many column blocks.
pub(in crate::kernel) fn unpack(weights: &Packed, group: usize, first: usize, out: &mut [Tile]) {
    assert!(group < weights.groups() && first + out.len() <= weights.columns.div_ceil(BLOCK), "{group}, {first}");
    // SAFETY: tiles are used only where `permitted` was true, on processors which all have these features.
    unsafe { unpack_group(weights, group, first, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn unpack_group(weights: &Packed, group: usize, first: usize, out: &mut [Tile]) {
    let columns = group * weights.columns + first * BLOCK..(group + 1) * weights.columns;
    match &weights.storage {
        Storage::Quantized(q) => {
            let first = group * (weights.columns / BLOCK) + first;
            match (q.width, q.scales_per_block) {
                (Width::Nibble, _) => quantized::<4, 1, 1>(q, first, out),
                (Width::Five, _) => quantized::<5, 1, 1>(q, first, out),
                (Width::Byte, 1) => quantized::<8, 1, 1>(q, first, out),
                (Width::Byte, _) => quantized::<8, 1, 2>(q, first, out),
                (Width::Split, _) => quantized::<8, 2, 1>(q, first, out),
            }
        }
        Storage::F16(halves) => dense(&halves[columns], out, |halves| _mm512_cvtph_ps(load(halves))),
        Storage::Bf16(halves) => {
            dense(&halves[columns], out, |halves| {
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(load(halves))))
            });
        }
        // SAFETY: a line is 64 bytes, aligned to them.
        Storage::F32(lines) => dense(&lines[columns], out, |line| unsafe { _mm512_load_ps(line.0.as_ptr().cast()) }),
    }
}

/// Blocks from `first` on. `LINES` is 4 for nibbles, 5 for fives and 8 for bytes, which are in 1 or 2 `PLANES`; a block has
/// 1 or 2 `SCALES`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn quantized<const LINES: usize, const PLANES: usize, const SCALES: usize>(
    q: &Quantized,
    first: usize,
    out: &mut [Tile],
) {
    // What is taken off in units of the scale: the power of two of `nibble` or `byte`, and what code 0 stands for.
    let power = if LINES == 4 { 128.0 } else { 256.0 };
    let zero = if LINES == 8 { 128.0 } else { f32::from(q.zero()) };
    let off = _mm512_set1_ps(-(power + zero));
    for (block, tile) in (first..).zip(out) {
        // Loops, not closures given to `map`: only code compiled for these instructions can be inlined into this.
        let (mut scales, mut bases) = ([_mm512_setzero_ps(); SCALES], [_mm512_setzero_ps(); SCALES]);
        for part in 0..SCALES {
            scales[part] = _mm512_cvtph_ps(load(&q.scales[block * SCALES + part]));
            bases[part] = match &q.shift {
                Shift::Offset { .. } => _mm512_mul_ps(scales[part], off),
                Shift::Min(mins) => {
                    _mm512_fmadd_ps(scales[part], off, _mm512_cvtph_ps(load(&mins[block * SCALES + part])))
                }
            };
        }
        if LINES == 5 {
            for v in 0..4 {
                // SAFETY: a block has 5 lines, and `v` is below 4.
                let lines = unsafe { columns_of::<LINES>(&raw const q.codes[block * LINES..][..LINES][0], v) };
                for (half, bytes) in lines.into_iter().enumerate() {
                    put_bytes(tile, 8 * half + 2 * v, scales[0], bases[0], bytes);
                }
            }
            continue;
        }
        if let Some(low) = q.low.as_ref().filter(|_| PLANES == 2) {
            let (high, low) = (&q.codes[block * 4..][..4], &low.codes[block * 4..][..4]);
            for (v, (high, low)) in high.iter().zip(low).enumerate() {
                // SAFETY: both are lines.
                let lines = unsafe { joined(high, low) };
                for (half, line) in lines.into_iter().enumerate() {
                    put_bytes(tile, 8 * half + 2 * v, scales[0], bases[0], line);
                }
            }
            continue;
        }
        for v in 0..LINES {
            // SAFETY: a line is 64 bytes, aligned to them.
            let line = unsafe { _mm512_load_si512(q.codes[block * LINES + v].0.as_ptr().cast()) };
            if LINES == 4 {
                let [left12, left4, right4, right12] = [
                    _mm512_slli_epi32::<12>(line),
                    _mm512_slli_epi32::<4>(line),
                    _mm512_srli_epi32::<4>(line),
                    _mm512_srli_epi32::<12>(line),
                ];
                let [left16, left8, right8] =
                    [_mm512_slli_epi32::<16>(line), _mm512_slli_epi32::<8>(line), _mm512_srli_epi32::<8>(line)];
                put(tile, 2 * v, scales[0], bases[0], nibble(left16), nibble(left8));
                put(tile, 2 * v + 1, scales[0], bases[0], nibble(line), nibble(right8));
                put(tile, 8 + 2 * v, scales[SCALES - 1], bases[SCALES - 1], nibble(left12), nibble(left4));
                put(tile, 9 + 2 * v, scales[SCALES - 1], bases[SCALES - 1], nibble(right4), nibble(right12));
            } else {
                let line = _mm512_xor_si512(line, _mm512_set1_epi8(-128)); // the sign goes: 128 more
                let part = v * SCALES / LINES;
                put_bytes(tile, 2 * v, scales[part], bases[part], line);
            }
        }
    }
}

/// 128 plus the four bits from bit 16, as a float.
#[inline]
#[target_feature(enable = "avx512f")]
fn nibble(bits: __m512i) -> __m512i {
    masked_or(bits, _mm512_set1_epi32(0x000f_0000), _mm512_set1_epi32(0x4300_0000))
}

/// 256 plus the eight bits from bit 15, as a float.
#[inline]
#[target_feature(enable = "avx512f")]
fn byte(bits: __m512i) -> __m512i {
    masked_or(bits, _mm512_set1_epi32(0x007f_8000), _mm512_set1_epi32(0x4380_0000))
}

/// `bits & mask | also`
#[inline]
#[target_feature(enable = "avx512f")]
fn masked_or(bits: __m512i, mask: __m512i, also: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0b1110_1010>(bits, mask, also)
}

/// Dense columns of 16 numbers each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn dense<T>(columns: &[T], out: &mut [Tile], value: impl Fn(&T) -> __m512) {
    for (columns, tile) in columns.chunks(BLOCK).zip(out) {
        let whole = columns.len() == BLOCK;
        for pair in 0..GROUP {
            let number = |column: usize| {
                if whole || column < columns.len() { value(&columns[column]) } else { _mm512_setzero_ps() }
            };
            put_floats(tile, pair, number(2 * pair), number(2 * pair + 1));
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,f16c")]
fn load(halves: &Halves) -> __m256i {
    // SAFETY: `Halves` is 32 bytes, aligned to them.
    unsafe { _mm256_load_si256(halves.0.as_ptr().cast()) }
}

/// Four columns of bytes without a sign, scaled.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn put_bytes(tile: &mut Tile, pair: usize, scale: __m512, base: __m512, bytes: __m512i) {
    let [left15, left7] = [_mm512_slli_epi32::<15>(bytes), _mm512_slli_epi32::<7>(bytes)];
    let [right1, right9] = [_mm512_srli_epi32::<1>(bytes), _mm512_srli_epi32::<9>(bytes)];
    put(tile, pair, scale, base, byte(left15), byte(left7));
    put(tile, pair + 1, scale, base, byte(right1), byte(right9));
}

/// Two columns of codes of 16 outputs, scaled.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn put(tile: &mut Tile, pair: usize, scale: __m512, base: __m512, even: __m512i, odd: __m512i) {
    let even = _mm512_fmadd_ps(_mm512_castsi512_ps(even), scale, base);
    let odd = _mm512_fmadd_ps(_mm512_castsi512_ps(odd), scale, base);
    put_floats(tile, pair, even, odd);
}

/// Rounds two columns of 16 outputs to bf16, side by side.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn put_floats(tile: &mut Tile, pair: usize, even: __m512, odd: __m512) {
    let half = _mm512_set1_epi32(0x8000);
    let even = _mm512_add_epi32(_mm512_castps_si512(even), half);
    let odd = _mm512_add_epi32(_mm512_castps_si512(odd), half);
    let both = _mm512_mask_blend_epi16(0xaaaa_aaaa, _mm512_srli_epi32::<16>(even), odd);
    // SAFETY: a row of a tile is 64 bytes, aligned to them.
    unsafe { _mm512_store_si512(tile.0[pair].as_mut_ptr().cast(), both) };
}
