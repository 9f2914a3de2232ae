//! Stored values as packing takes them: bytes, four to a word.
//!
//! Beside [`Codes`], which is the reference for every type, stand here the types that most files are made of. Their
//! nibbles and bits become bytes four at a time, within a word, without instructions that only some processors have.

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

use super::{Codes, SUB_BLOCK, k, short_at, word_at};

/// Words of 32 codes.
pub(crate) const WORDS: usize = SUB_BLOCK / 4;

/// 32 stored values: those of [`Codes`], with what stands for zero added to the integers, in those types that have them
/// without a sign in the packed form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Words<S> {
    /// The integers, little-endian: byte `k` of word `v` is value `4 v + k`.
    pub(crate) codes: [u32; WORDS],
    /// One for each 16 values.
    pub(crate) scales: [S; 2],
    /// What is added to each 16 values; zeros in the types that have no such.
    pub(crate) mins: [S; 2],
}

/// How a type has its scales and mins.
pub(crate) trait Scale: Copy + Default {
    /// Rounds one of each of 16 rows to halves.
    fn round(scales: &[Self; 16], halves: &mut [u16; 16]);
}

/// The bits of a half, as they stand in the file.
impl Scale for u16 {
    fn round(scales: &[Self; 16], halves: &mut [u16; 16]) {
        *halves = *scales;
    }
}

/// A product of a half and an integer.
impl Scale for f32 {
    fn round(scales: &[Self; 16], halves: &mut [u16; 16]) {
        halves.reinterpret_cast_mut::<f16>().convert_from_f32_slice(scales);
    }
}

impl Words<f32> {
    /// The values of any type; `zero` is what is added.
    pub(crate) fn of(codes: &Codes, zero: u8) -> Self {
        let byte = |j: usize| codes.q[j].cast_unsigned().wrapping_add(zero);
        let word = |v: usize| u32::from_le_bytes(std::array::from_fn(|k| byte(4 * v + k)));
        Self { codes: std::array::from_fn(word), scales: codes.scales, mins: codes.mins.unwrap_or_default() }
    }
}

/// Eight words, each made by its place.
#[inline(always)]
fn words(word: impl Fn(usize) -> u32) -> [u32; WORDS] {
    let mut words = [0; WORDS]; // `from_fn` becomes a call for each
    for (v, out) in words.iter_mut().enumerate() {
        *out = word(v);
    }
    words
}

/// The nibbles of 16 bytes: the low ones are the first 16 values.
#[inline(always)]
fn nibbles(b: &[u8]) -> [u32; WORDS] {
    words(|v| (word_at(b, v % 4 * 4) >> (v / 4 * 4)) & 0x0f0f_0f0f)
}

/// Nibbles with a fifth bit from another place.
#[inline(always)]
fn fives(b: &[u8], bits: u32) -> [u32; WORDS] {
    let low = nibbles(b);
    // Copies of four bits, 7 bits apart, of which each leaves another bit at the beginning of a byte.
    words(|v| low[v] | ((((bits >> (4 * v)) & 15) * 0x0020_4081) & 0x0101_0101) << 4)
}

/// The nibbles of a part of a K-quant: two parts share 32 bytes.
#[inline(always)]
fn part_nibbles(b: &[u8], part: usize) -> [u32; WORDS] {
    words(|v| (word_at(b, part / 2 * SUB_BLOCK + 4 * v) >> (part % 2 * 4)) & 0x0f0f_0f0f)
}

/// One scale, and one min.
#[inline(always)]
fn single(codes: [u32; WORDS], scale: u16, min: u16) -> Words<u16> {
    Words { codes, scales: [scale; 2], mins: [min; 2] }
}

#[inline(always)]
pub(crate) fn q4_0(b: &[u8; 18]) -> Words<u16> {
    single(nibbles(&b[2..]), short_at(b, 0), 0)
}

#[inline(always)]
pub(crate) fn q4_1(b: &[u8; 20]) -> Words<u16> {
    single(nibbles(&b[4..]), short_at(b, 0), short_at(b, 2))
}

#[inline(always)]
pub(crate) fn q5_0(b: &[u8; 22]) -> Words<u16> {
    single(fives(&b[6..], word_at(b, 2)), short_at(b, 0), 0)
}

#[inline(always)]
pub(crate) fn q5_1(b: &[u8; 24]) -> Words<u16> {
    single(fives(&b[8..], word_at(b, 4)), short_at(b, 0), short_at(b, 2))
}

#[inline(always)]
pub(crate) fn q8_0(b: &[u8; 34]) -> Words<u16> {
    single(words(|v| word_at(b, 2 + 4 * v)), short_at(b, 0), 0)
}

#[inline(always)]
pub(crate) fn q4_k(b: &[u8; 144], part: usize) -> Words<f32> {
    let (scales, mins) = k::scales_and_mins(b, part);
    Words { codes: part_nibbles(&b[16..], part), scales, mins }
}

#[inline(always)]
pub(crate) fn q5_k(b: &[u8; 176], part: usize) -> Words<f32> {
    let (scales, mins) = k::scales_and_mins(b, part);
    let low = part_nibbles(&b[48..], part);
    let fifth = |v: usize| ((word_at(b, 16 + 4 * v) >> part) & 0x0101_0101) << 4;
    Words { codes: words(|v| low[v] | fifth(v)), scales, mins }
}

#[inline(always)]
pub(crate) fn q6_k(b: &[u8; 210], part: usize) -> Words<f32> {
    const SIGNS: u32 = 0x8080_8080;
    let (half, quarter) = (part / 4, part % 4);
    let low = |v: usize| (word_at(b, 64 * half + 32 * (quarter % 2) + 4 * v) >> (quarter / 2 * 4)) & 0x0f0f_0f0f;
    let high = |v: usize| ((word_at(b, 128 + 32 * half + 4 * v) >> (2 * quarter)) & 0x0303_0303) << 4;
    // 32 is taken from each byte; its highest bit stands by, so that none borrows from its neighbour.
    let codes = words(|v| ((low(v) | high(v) | SIGNS) - 0x2020_2020) ^ SIGNS);
    Words { codes, scales: k::q6_k_scales(b, part), mins: [0.0; 2] }
}
