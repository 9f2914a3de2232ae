//! Weights in the one layout that all kernels read.
//!
//! A matrix of `rows × columns` is cut into *groups* of 16 rows; a vector register holds one number of each row of a
//! group, so that kernels never sum across lanes. The last group is filled up with rows of zeros. Stored types fall into
//! few packed forms:
//!
//! | stored | codes | value of a code `q` |
//! |---|---|---|
//! | `TQ1_0`, `TQ2_0`, `Q4_0` | nibbles | scale (q − 1), scale (q − 8) |
//! | `Q4_1`, `Q4_K` | nibbles | scale q + min |
//! | `Q5_0`, `IQ1_S`, `IQ3_S`, `MXFP4` | fives | scale (q − 16) |
//! | `Q5_1`, `Q5_K` | fives | scale q + min |
//! | `Q8_0`, `IQ4_NL`, `IQ4_XS`, `IQ2_XXS`, `IQ3_XXS` | bytes | scale q |
//! | `Q3_K`, `IQ1_M`, `NVFP4`, `Q6_K`, `IQ2_XS`, `IQ2_S` | bytes | scale q, one scale for 16 columns |
//! | `Q2_K` | bytes | scale q + min, one scale and one min for 16 columns |
//! | `F16`, `BF16`, `F32` | as stored | |
//!
//! Nibbles take 4.5 bits a weight (5 with mins), fives 5.5 (6), bytes 8.5 (9 with two scales, 10 with mins too). For
//! most types of fewer than 5 bits that is more than in the file: a code holds what the file's tables and grids stand
//! for, so that one kernel serves them all. Bytes are signed, nibbles and fives are not. Scales and mins are rounded to
//! f16, those of `MXFP4` beyond 2⁻²⁴ … 2¹⁵ to zero and infinity.
//!
//! Codes come in blocks of 32 columns. Byte `4 r + k` of line `v` of a block belongs to row `r` of the group: with
//! bytes to column `4 v + k` (8 lines a block); with nibbles the low one to column `4 v + k`, the high one to
//! `16 + 4 v + k` (4 lines a block). Fives are nibbles, and after them a line of fifth bits: bit `v` of a byte is that
//! of column `4 v + k`. So four neighbouring bytes are what one lane of VNNI's `vpdpbusd` multiplies with four activations.
//! Scales and mins stand apart, 16 halves (one a row) for each block or half of one. Dense matrices have 16 numbers for
//! each column.
//!
//! An output matrix of bytes can be *split*: the upper four bits of its codes lie as nibbles do, the lower four in the
//! same way elsewhere, with a norm for each block of a row. So the likeliest outputs can be found from half of the
//! bytes; see [`LowPlane`].

mod packing;
mod planes;

use half::{bf16, f16};

use crate::block::{BlockType, SUB_BLOCK};
use crate::kernel::{Arena, Slab};
use packing::Source;

/// Rows in a group, and lanes of the widest register of f32.
pub const GROUP: usize = 16;
/// Columns in a block of codes.
pub const BLOCK: usize = SUB_BLOCK;

/// A cache line of codes or of 16 f32.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Line(pub [u8; 64]);

/// Sixteen 2-byte floats as bits, one for each row of a group.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub struct Halves(pub [u16; GROUP]);

/// A packed matrix.
pub struct Packed {
    /// Rows (outputs).
    pub rows: usize,
    /// Columns (inputs).
    pub columns: usize,
    /// The numbers.
    pub storage: Storage,
}

/// The packed forms.
pub enum Storage {
    /// Codes with scales; multiplied with activations of 8 bits.
    Quantized(Quantized),
    /// IEEE halves, `[group][column]`.
    F16(Slab<Halves>),
    /// The upper halves of f32, `[group][column]`.
    Bf16(Slab<Halves>),
    /// Floats, little-endian, `[group][column]`.
    F32(Slab<Line>),
}

/// Codes with scales.
pub struct Quantized {
    /// How wide a code is.
    pub width: Width,
    /// Codes: `[group][block][line]`.
    pub codes: Slab<Line>,
    /// Scales as f16: `[group][block]`, or `[group][block][half]` when there is one for 16 columns.
    pub scales: Slab<Halves>,
    /// How many of `scales`, and of mins, a block has: 1 or 2.
    pub scales_per_block: usize,
    /// What a code stands for.
    pub shift: Shift,
    /// The rest of codes that are [`Width::Split`]; none for others.
    pub low: Option<LowPlane>,
}

/// The lower halves of codes that are split, and how much they can matter.
pub struct LowPlane {
    /// The lower four bits of each code `q`, laid out as nibbles: `[group][block][line]`. The upper four, in
    /// [`Quantized::codes`], are those of `q + 128`.
    pub codes: Slab<Line>,
    /// What the lower four bits are at most together: `[group][block]`.
    pub norms: Slab<Norms>,
}

/// For each row of a group the Euclidean norm of `low − 7.5` over a block, in units of 1 / [`Norms::PER_UNIT`], rounded up.
#[derive(Clone, Copy)]
#[repr(align(16))]
pub struct Norms(pub [u8; GROUP]);

impl Norms {
    /// So that the largest norm, 7.5 √32, just fits a byte.
    pub const PER_UNIT: u32 = 6;
}

/// How wide a code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Four bits, 4 lines a block.
    Nibble,
    /// Five bits, 5 lines a block.
    Five,
    /// Eight bits with their sign, 8 lines a block.
    Byte,
    /// The same in two planes of four bits, 4 lines a block in each.
    Split,
}

impl Width {
    /// Lines in a block of 16 rows and 32 columns, of one plane.
    pub const fn lines(self) -> usize {
        match self {
            Width::Nibble | Width::Split => 4,
            Width::Five => 5,
            Width::Byte => 8,
        }
    }
}

/// What a code stands for beside its scale.
pub enum Shift {
    /// `zero` is taken from every code before it is scaled.
    Offset {
        /// What stands for zero: 0 for bytes, which have their sign; 1, 8 or 16 for the others.
        zero: u8,
    },
    /// This is added to every scaled code: f16, as many as there are scales, and in the same order.
    Min(Slab<Halves>),
}

impl Packed {
    /// Packs a stored matrix into memory of its own; as [`Packed::new_in`].
    pub fn new(block_type: BlockType, rows: usize, columns: usize, bytes: &[u8]) -> Self {
        Self::new_in(&Arena::new(0), block_type, rows, columns, bytes)
    }

    /// Packs a stored matrix, with all threads of the current rayon pool.
    ///
    /// # Panics
    /// If `bytes` is not exactly `rows × columns` values of the type, or `columns` no multiple of its block length.
    pub fn new_in(arena: &Arena, block_type: BlockType, rows: usize, columns: usize, bytes: &[u8]) -> Self {
        assert_eq!(columns % block_type.block_len(), 0, "rows are whole blocks");
        assert_eq!(bytes.len(), rows * block_type.bytes_of(columns), "as many bytes as the matrix takes");
        let storage = Source { arena, block_type, rows, columns, bytes }.pack();
        Self { rows, columns, storage }
    }

    /// As [`Packed::new_in`], with codes in two planes.
    ///
    /// # Panics
    /// As [`Packed::new_in`], and if the type [cannot be split](Packed::splits).
    pub fn split_in(arena: &Arena, block_type: BlockType, rows: usize, columns: usize, bytes: &[u8]) -> Self {
        assert!(Self::splits(block_type), "{} has no bytes with one scale a block", block_type.name());
        assert_eq!(columns % block_type.block_len(), 0, "rows are whole blocks");
        assert_eq!(bytes.len(), rows * block_type.bytes_of(columns), "as many bytes as the matrix takes");
        let storage = Source { arena, block_type, rows, columns, bytes }.split();
        Self { rows, columns, storage }
    }

    /// Whether codes of this type can be split: bytes with one scale a block, and no mins.
    pub fn splits(block_type: BlockType) -> bool {
        packing::splits(block_type)
    }

    /// Bytes that a matrix takes more when it is split.
    pub fn split_bytes(rows: usize, columns: usize) -> usize {
        (rows.div_ceil(GROUP) * (columns / BLOCK) * size_of::<Norms>()).next_multiple_of(size_of::<Line>())
    }

    /// Whether the codes are in two planes.
    pub fn is_split(&self) -> bool {
        matches!(&self.storage, Storage::Quantized(q) if q.low.is_some())
    }

    /// Groups of rows, the last one perhaps not full.
    pub fn groups(&self) -> usize {
        self.rows.div_ceil(GROUP)
    }

    /// Expands one row to f32, for embeddings.
    ///
    /// # Panics
    /// If `row` is not below `rows`, or `out.len()` is not `columns`.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows && out.len() == self.columns, "row {row} of {} × {}", self.rows, self.columns);
        let (group, r) = (row / GROUP, row % GROUP);
        let columns = group * self.columns..(group + 1) * self.columns;
        match &self.storage {
            Storage::F16(halves) => {
                for (out, halves) in out.iter_mut().zip(&halves[columns]) {
                    *out = f16::from_bits(halves.0[r]).to_f32();
                }
            }
            Storage::Bf16(halves) => {
                for (out, halves) in out.iter_mut().zip(&halves[columns]) {
                    *out = bf16::from_bits(halves.0[r]).to_f32();
                }
            }
            Storage::F32(lines) => {
                for (out, line) in out.iter_mut().zip(&lines[columns]) {
                    *out = line.f32(r);
                }
            }
            Storage::Quantized(quantized) => {
                let blocks = self.columns / BLOCK;
                for (b, out) in out.chunks_exact_mut(BLOCK).enumerate() {
                    quantized.expand(group * blocks + b, r, out);
                }
            }
        }
    }

    /// Bytes that a matrix takes when it is packed, each of its parts rounded up to whole lines.
    pub fn bytes_of(block_type: BlockType, rows: usize, columns: usize) -> usize {
        packing::packed_bytes(block_type, rows, columns)
    }

    /// Bytes of memory that the numbers take.
    pub fn bytes(&self) -> usize {
        match &self.storage {
            Storage::F16(halves) | Storage::Bf16(halves) => size_of_val(&halves[..]),
            Storage::F32(lines) => size_of_val(&lines[..]),
            Storage::Quantized(q) => {
                let mins = if let Shift::Min(mins) = &q.shift { size_of_val(&mins[..]) } else { 0 };
                let low = q.low.as_ref().map_or(0, |low| size_of_val(&low.codes[..]) + size_of_val(&low.norms[..]));
                size_of_val(&q.codes[..]) + size_of_val(&q.scales[..]) + mins + low
            }
        }
    }
}

impl Line {
    /// The `r`-th of 16 floats.
    pub fn f32(&self, r: usize) -> f32 {
        f32::from_le_bytes([self.0[4 * r], self.0[4 * r + 1], self.0[4 * r + 2], self.0[4 * r + 3]])
    }
}

impl Halves {
    /// The `r`-th number, read as an IEEE half.
    pub fn f16(&self, r: usize) -> f32 {
        f16::from_bits(self.0[r]).to_f32()
    }
}

impl Quantized {
    /// The codes of row `r` in a block, without what is taken from them.
    pub fn codes_of(&self, block: usize, r: usize) -> [i8; BLOCK] {
        let lines = &self.codes[block * self.width.lines()..][..self.width.lines()];
        let mut codes = if self.width == Width::Byte { bytes_of(lines, r) } else { nibbles_of(&lines[..4], r) };
        if self.width == Width::Five {
            let fifth = &lines[4].0[4 * r..4 * r + 4];
            for (j, code) in codes.iter_mut().enumerate() {
                *code |= (fifth[j % 4] >> (j / 4) & 1) << 4;
            }
        }
        if let Some(low) = &self.low {
            let low = nibbles_of(&low.codes[block * 4..][..4], r);
            codes.iter_mut().zip(low).for_each(|(code, low)| *code = (*code << 4 | low) ^ 0x80);
        }
        codes.map(|code| code as i8)
    }

    /// What is taken from every code.
    pub fn zero(&self) -> u8 {
        if let Shift::Offset { zero } = self.shift { zero } else { 0 }
    }

    fn expand(&self, block: usize, r: usize, out: &mut [f32]) {
        let (codes, zero) = (self.codes_of(block, r), f32::from(self.zero()));
        let columns_per_scale = BLOCK / self.scales_per_block;
        let parts = out.chunks_exact_mut(columns_per_scale).zip(codes.chunks_exact(columns_per_scale));
        for (of_scale, (out, codes)) in (self.scales_per_block * block..).zip(parts) {
            let scale = self.scales[of_scale].f16(r);
            let min = if let Shift::Min(mins) = &self.shift { mins[of_scale].f16(r) } else { 0.0 };
            for (out, &code) in out.iter_mut().zip(codes) {
                *out = (f32::from(code) - zero) * scale + min;
            }
        }
    }
}

/// Bytes of row `r` in lines.
fn bytes_of(lines: &[Line], r: usize) -> [u8; BLOCK] {
    let mut bytes = [0; BLOCK];
    for (line, four) in lines.iter().zip(bytes.chunks_exact_mut(4)) {
        four.copy_from_slice(&line.0[4 * r..4 * r + 4]);
    }
    bytes
}

/// Nibbles of row `r` in four lines.
fn nibbles_of(lines: &[Line], r: usize) -> [u8; BLOCK] {
    let mut codes = bytes_of(lines, r);
    let (low, high) = codes.split_at_mut(BLOCK / 2);
    for (low, high) in low.iter_mut().zip(high) {
        (*low, *high) = (*low & 15, *low >> 4);
    }
    codes
}

#[cfg(test)]
#[path = "pack/tests.rs"]
mod tests;
