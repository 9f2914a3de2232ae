//! How the keys and values of 64 tokens lie in memory, for one layer and one key-value head.
//!
//! They are lines of 16 lanes, and a lane has 4 bytes: two numbers of bf16, or four codes of 8 bits, which are multiplied for one
//! sum. So in both products the lanes of a register hold independent sums, and the matrix unit reads both as they are.
//!
//! | | bf16 | codes |
//! |---|---|---|
//! | keys | `[dimension / 2][token][2]` | `[dimension / 4][token][4]` |
//! | values | `[token / 2][dimension][2]` | `[token / 4][dimension][4]` |
//! | scales | none | f32: `[token]` of the keys, then of the values |
//!
//! Dimensions of keys are filled up with zeros to 16 lanes, which is a tile; those of values to 32.

use crate::kernel::activations::TILE_ROWS;
use crate::pack::GROUP;

/// Tokens in a page of the cache.
pub const PAGE: usize = 64;

/// What keys and values are kept as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KvType {
    /// Floats of 16 bits, bf16.
    #[default]
    Bf16,
    /// Codes of 8 bits, with a scale for the key and one for the value of each token and head: half of the memory and nearly
    /// twice the speed where there is much context, for a loss in accuracy.
    Q8,
}

impl KvType {
    /// Both.
    pub const ALL: [KvType; 2] = [KvType::Bf16, KvType::Q8];

    /// The name, as in `--kv`.
    pub const fn name(self) -> &'static str {
        match self {
            KvType::Bf16 => "bf16",
            KvType::Q8 => "q8",
        }
    }

    /// Numbers in a lane.
    pub(crate) const fn per_lane(self) -> usize {
        match self {
            KvType::Bf16 => BF16,
            KvType::Q8 => CODES,
        }
    }

    /// [`Pairs`] of the keys of a page.
    pub(crate) const fn key_lines(self, dimensions: usize) -> usize {
        dimensions.div_ceil(TILE_ROWS * self.per_lane()) * TILE_ROWS * (PAGE / GROUP)
    }

    /// [`Pairs`] of the values of a page.
    pub(crate) const fn value_lines(self, dimensions: usize) -> usize {
        PAGE / self.per_lane() * lines_of(dimensions)
    }

    /// [`Pairs`] of the scales of a page.
    pub(crate) const fn scale_lines(self) -> usize {
        match self {
            KvType::Bf16 => 0,
            KvType::Q8 => 2 * PAGE / GROUP,
        }
    }

    /// [`Pairs`] of all of a page.
    pub(crate) const fn lines(self, dimensions: usize) -> usize {
        self.key_lines(dimensions) + self.value_lines(dimensions) + self.scale_lines()
    }
}

/// Numbers of bf16 in a lane.
pub(crate) const BF16: usize = 2;
/// Codes in a lane.
pub(crate) const CODES: usize = 4;

/// Dimensions of a head as they are stored: filled up to whole tiles.
pub(crate) const fn stored_dimensions(dimensions: usize) -> usize {
    dimensions.next_multiple_of(2 * GROUP)
}

/// [`Pairs`] of the values of tokens that share lanes.
pub(crate) const fn lines_of(dimensions: usize) -> usize {
    stored_dimensions(dimensions) / GROUP
}

/// Sixteen lanes: pairs of bf16, or of two codes each, the first in the lower bits; or a float each, the lower half first.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Pairs(pub [[u16; 2]; GROUP]);

impl Pairs {
    pub(crate) const ZERO: Pairs = Pairs([[0; 2]; GROUP]);

    /// The `i`-th number of a lane of `N`: [`BF16`] or [`CODES`].
    #[inline]
    pub(crate) fn number<const N: usize>(&self, lane: usize, i: usize) -> f32 {
        const { assert!(N == BF16 || N == CODES) };
        if N == BF16 {
            f32::from_bits(u32::from(self.0[lane][i]) << 16)
        } else {
            f32::from(self.0[lane][i / 2].to_le_bytes()[i % 2] as i8)
        }
    }

    /// Sets a code of a lane.
    pub(crate) fn set_code(&mut self, lane: usize, i: usize, code: i8) {
        let half = &mut self.0[lane][i / 2];
        let mut bytes = half.to_le_bytes();
        bytes[i % 2] = code as u8;
        *half = u16::from_le_bytes(bytes);
    }

    /// The float in a lane.
    #[inline]
    pub(crate) fn float(&self, lane: usize) -> f32 {
        let [low, high] = self.0[lane];
        f32::from_bits(u32::from(high) << 16 | u32::from(low))
    }

    /// Sets the float in a lane.
    pub(crate) fn set_float(&mut self, lane: usize, x: f32) {
        self.0[lane] = [x.to_bits() as u16, (x.to_bits() >> 16) as u16];
    }
}

/// Asks for a line that is written soon; nothing comes of it where the processor is not known.
pub(crate) fn ask_to_write(line: &Pairs) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction does nothing that a program could notice, not even on the oldest processors of this kind,
    // which ignore it.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// The keys and values of a page, for one layer and one key-value head.
#[derive(Clone, Copy)]
pub struct PageView<'a> {
    /// The keys.
    pub keys: &'a [Pairs],
    /// The values.
    pub values: &'a [Pairs],
    /// The scales, if these are codes.
    pub scales: &'a [Pairs],
}

impl<'a> PageView<'a> {
    /// Of so many lines of such a type.
    ///
    /// # Panics
    /// If they are too few.
    pub(crate) fn new(kv: KvType, dimensions: usize, lines: &'a [Pairs]) -> Self {
        let (keys, rest) = lines.split_at(kv.key_lines(dimensions));
        let (values, rest) = rest.split_at(kv.value_lines(dimensions));
        Self { keys, values, scales: &rest[..kv.scale_lines()] }
    }

    /// What it is made of.
    pub(crate) fn kv(self) -> KvType {
        if self.scales.is_empty() { KvType::Bf16 } else { KvType::Q8 }
    }

    /// Whether it has all of the keys and values of so many dimensions.
    pub(crate) fn is_whole(self, dimensions: usize) -> bool {
        let kv = self.kv();
        self.keys.len() >= kv.key_lines(dimensions)
            && self.values.len() >= kv.value_lines(dimensions)
            && self.scales.len() >= kv.scale_lines()
    }

    /// The scales of the keys, and of the values, if these are codes.
    #[inline]
    pub(crate) fn token_scales(self) -> Option<[[f32; PAGE]; 2]> {
        let (keys, values) = self.scales.split_at_checked(PAGE / GROUP)?;
        let floats = |lines: &[Pairs]| std::array::from_fn(|token| lines[token / GROUP].float(token % GROUP));
        Some([floats(keys), floats(values)])
    }
}

/// A stretch of cached tokens, for one layer and one key-value head.
#[derive(Clone, Copy)]
pub struct Span<'a> {
    /// Their page.
    pub page: PageView<'a>,
    /// The first token that is looked at: below `tokens`.
    pub first: usize,
    /// Where the tokens that are looked at end: 1 to [`PAGE`].
    pub tokens: usize,
}

/// Codes of the key or value of a token, and their scale: `number ≈ scale × code`, with `scale = max |number| / 127`.
/// The scale tells of what is not a finite number.
pub(crate) fn codes(numbers: &[f32], mut set: impl FnMut(usize, i8)) -> f32 {
    // As integers, so that what is not a number is the largest.
    let largest = numbers.iter().fold(0, |largest: u32, x| largest.max(x.abs().to_bits()));
    let scale = f32::from_bits(largest) / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    for (i, x) in numbers.iter().enumerate() {
        set(i, (x * inverse).round_ties_even() as i8);
    }
    scale
}
