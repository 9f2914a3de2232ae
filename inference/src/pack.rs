//! Weights in the one layout that all kernels read.
//!
//! A matrix of `rows × columns` is cut into *groups* of 16 rows; a vector register holds one number of each row of a
//! group, so that kernels never sum across lanes. The last group is filled up with rows of zeros. Stored types fall into
//! few packed forms:
//!
//! | stored | codes | value of a code `q` |
//! |---|---|---|
//! | `Q4_0` | nibbles | scale (q − 8) |
//! | `Q4_1`, `Q4_K` | nibbles | scale q + min |
//! | `Q5_0`, `Q8_0` | bytes | scale (q − 16), scale (q − 128) |
//! | `Q5_1`, `Q5_K` | bytes | scale q + min |
//! | `Q6_K` | bytes | scale (q − 32), one scale for 16 columns |
//! | `F16`, `BF16`, `F32` | as stored | |
//!
//! Codes come in blocks of 32 columns. Byte `4 r + k` of line `v` of a block belongs to row `r` of the group: with bytes to
//! column `4 v + k` (8 lines a block); with nibbles the low one to column `4 v + k`, the high one to `16 + 4 v + k` (4
//! lines a block). So four neighbouring bytes are what one lane of VNNI's `vpdpbusd` multiplies with four activations.
//! Scales and mins stand apart, 16 halves (one a row) for each block. Dense matrices have 16 numbers for each column.

use half::{bf16, f16};
use rayon::prelude::*;

use crate::block::{BlockType, half_at, scale_and_min};

/// Rows in a group, and lanes of the widest register of f32.
pub const GROUP: usize = 16;
/// Columns in a block of codes.
pub const BLOCK: usize = 32;

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
    F16(Vec<Halves>),
    /// The upper halves of f32, `[group][column]`.
    Bf16(Vec<Halves>),
    /// Floats, little-endian, `[group][column]`.
    F32(Vec<Line>),
}

/// Codes with scales.
pub struct Quantized {
    /// How wide a code is.
    pub width: Width,
    /// Codes: `[group][block][line]`.
    pub codes: Vec<Line>,
    /// Scales as f16: `[group][block]`, or `[group][block][half]` when there is one for 16 columns.
    pub scales: Vec<Halves>,
    /// How many of `scales` a block has: 1 or 2.
    pub scales_per_block: usize,
    /// What makes a code signed.
    pub shift: Shift,
}

/// How wide a code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Four bits, 4 lines a block.
    Nibble,
    /// Eight bits, 8 lines a block.
    Byte,
}

impl Width {
    /// Lines in a block of 16 rows and 32 columns.
    pub const fn lines(self) -> usize {
        match self {
            Width::Nibble => 4,
            Width::Byte => 8,
        }
    }
}

/// What makes a code signed.
pub enum Shift {
    /// `1 << bits` is taken from every code.
    Offset {
        /// 3, 4, 5 or 7.
        bits: u32,
    },
    /// This is added to every scaled code: f16, `[group][block]`.
    Min(Vec<Halves>),
}

impl Packed {
    /// Packs a stored matrix, with all threads of the current rayon pool.
    ///
    /// # Panics
    /// If `bytes` is not exactly `rows × columns` values of the type, or `columns` no multiple of its block length.
    pub fn new(block_type: BlockType, rows: usize, columns: usize, bytes: &[u8]) -> Self {
        assert_eq!(columns % block_type.block_len(), 0, "rows are whole blocks");
        assert_eq!(bytes.len(), rows * block_type.bytes_of(columns), "as many bytes as the matrix takes");
        let source = Source { block_type, rows, columns, bytes };
        let storage = match block_type {
            BlockType::F32 => Storage::F32(source.lanes(Line([0; 64]), |line, r, at| {
                line.0[4 * r..4 * r + 4].copy_from_slice(&bytes[4 * at..4 * at + 4]);
            })),
            BlockType::F16 => Storage::F16(source.halves()),
            BlockType::BF16 => Storage::Bf16(source.halves()),
            BlockType::Q4_0 => source.quantized(Width::Nibble, Some(3)),
            BlockType::Q4_1 | BlockType::Q4_K => source.quantized(Width::Nibble, None),
            BlockType::Q5_0 => source.quantized(Width::Byte, Some(4)),
            BlockType::Q8_0 => source.quantized(Width::Byte, Some(7)),
            BlockType::Q6_K => source.quantized(Width::Byte, Some(5)),
            BlockType::Q5_1 | BlockType::Q5_K => source.quantized(Width::Byte, None),
        };
        Self { rows, columns, storage }
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

    /// Bytes of memory that the numbers take.
    pub fn bytes(&self) -> usize {
        match &self.storage {
            Storage::F16(halves) | Storage::Bf16(halves) => size_of_val(&halves[..]),
            Storage::F32(lines) => size_of_val(&lines[..]),
            Storage::Quantized(q) => {
                let mins = if let Shift::Min(mins) = &q.shift { size_of_val(&mins[..]) } else { 0 };
                size_of_val(&q.codes[..]) + size_of_val(&q.scales[..]) + mins
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
    /// The codes of row `r` in a block.
    pub fn codes_of(&self, block: usize, r: usize) -> [u8; BLOCK] {
        let mut codes = [0; BLOCK];
        let lines = &self.codes[block * self.width.lines()..][..self.width.lines()];
        for (line, four) in lines.iter().zip(codes.chunks_exact_mut(4)) {
            four.copy_from_slice(&line.0[4 * r..4 * r + 4]);
        }
        if self.width == Width::Nibble {
            let (low, high) = codes.split_at_mut(BLOCK / 2);
            for (low, high) in low.iter_mut().zip(high) {
                (*low, *high) = (*low & 15, *low >> 4);
            }
        }
        codes
    }

    fn expand(&self, block: usize, r: usize, out: &mut [f32]) {
        let (offset, min) = match &self.shift {
            Shift::Offset { bits } => ((1u32 << bits) as f32, 0.0),
            Shift::Min(mins) => (0.0, mins[block].f16(r)),
        };
        let columns_per_scale = BLOCK / self.scales_per_block;
        for (j, (out, code)) in out.iter_mut().zip(self.codes_of(block, r)).enumerate() {
            let scale = self.scales[self.scales_per_block * block + j / columns_per_scale].f16(r);
            *out = (f32::from(code) - offset) * scale + min;
        }
    }
}

/// A stored matrix.
struct Source<'a> {
    block_type: BlockType,
    rows: usize,
    columns: usize,
    bytes: &'a [u8],
}

/// 32 columns of one row.
struct Codes {
    codes: [u8; BLOCK],
    /// One for each 16 columns.
    scales: [f32; 2],
    min: f32,
}

impl Source<'_> {
    fn halves(&self) -> Vec<Halves> {
        self.lanes(Halves([0; GROUP]), |halves, r, at| {
            halves.0[r] = u16::from_le_bytes([self.bytes[2 * at], self.bytes[2 * at + 1]]);
        })
    }

    /// Interleaves a dense matrix: `put(lanes, row in group, index of the value)`.
    fn lanes<T: Copy + Send + Sync>(&self, zero: T, put: impl Fn(&mut T, usize, usize) + Sync) -> Vec<T> {
        let groups = self.rows.div_ceil(GROUP);
        let mut packed = vec![zero; groups * self.columns];
        packed.par_chunks_exact_mut(self.columns).enumerate().for_each(|(group, packed)| {
            for row in group * GROUP..self.rows.min((group + 1) * GROUP) {
                for (column, lanes) in packed.iter_mut().enumerate() {
                    put(lanes, row % GROUP, row * self.columns + column);
                }
            }
        });
        packed
    }

    /// `offset` is the exponent of what is taken from every code, for the types that have no min.
    fn quantized(&self, width: Width, offset: Option<u32>) -> Storage {
        let blocks = self.columns / BLOCK; // a group's
        let groups = self.rows.div_ceil(GROUP);
        let scales_per_block = if self.block_type == BlockType::Q6_K { 2 } else { 1 };
        let mut codes = vec![Line([0; 64]); groups * blocks * width.lines()];
        let mut scales = vec![Halves([0; GROUP]); groups * blocks * scales_per_block];
        let mut mins = vec![Halves([0; GROUP]); if offset.is_none() { groups * blocks } else { 0 }];
        let of_groups: Vec<Option<&mut [Halves]>> = match offset {
            Some(_) => (0..groups).map(|_| None).collect(),
            None => mins.chunks_mut(blocks).map(Some).collect(),
        };
        codes
            .par_chunks_mut(blocks * width.lines())
            .zip(scales.par_chunks_mut(blocks * scales_per_block))
            .zip(of_groups)
            .enumerate()
            .for_each(|(group, ((codes, scales), mut mins))| {
                for row in group * GROUP..self.rows.min((group + 1) * GROUP) {
                    let r = row % GROUP;
                    for block in 0..blocks {
                        let source = self.block(row, block);
                        put_codes(width, &mut codes[block * width.lines()..], r, &source.codes);
                        for half in 0..scales_per_block {
                            scales[block * scales_per_block + half].0[r] = f16::from_f32(source.scales[half]).to_bits();
                        }
                        if let Some(mins) = &mut mins {
                            mins[block].0[r] = f16::from_f32(source.min).to_bits();
                        }
                    }
                }
            });
        let shift = offset.map_or(Shift::Min(mins), |bits| Shift::Offset { bits });
        Storage::Quantized(Quantized { width, codes, scales, scales_per_block, shift })
    }

    /// The 32 columns from `32 × block` of a row, as codes.
    fn block(&self, row: usize, block: usize) -> Codes {
        let row_bytes = self.block_type.bytes_of(self.columns);
        let stored = block * BLOCK / self.block_type.block_len();
        let within = block * BLOCK % self.block_type.block_len();
        let at = row * row_bytes + stored * self.block_type.block_bytes();
        codes_of(self.block_type, &self.bytes[at..at + self.block_type.block_bytes()], within / BLOCK)
    }
}

/// Codes, scales and min of 32 columns: the `part`-th 32 of a stored block.
fn codes_of(block_type: BlockType, b: &[u8], part: usize) -> Codes {
    let d = half_at(b, 0);
    let mut codes = [0; BLOCK];
    let (mut scales, mut min) = ([d; 2], 0.0);
    match block_type {
        BlockType::Q4_0 => nibbles(&b[2..18], &mut codes),
        BlockType::Q4_1 => {
            nibbles(&b[4..20], &mut codes);
            min = half_at(b, 2);
        }
        BlockType::Q5_0 => {
            nibbles(&b[6..22], &mut codes);
            fifth_bits(&b[2..6], &mut codes);
        }
        BlockType::Q5_1 => {
            nibbles(&b[8..24], &mut codes);
            fifth_bits(&b[4..8], &mut codes);
            min = half_at(b, 2);
        }
        BlockType::Q8_0 => {
            for (code, &byte) in codes.iter_mut().zip(&b[2..34]) {
                *code = byte ^ 0x80; // from two's complement to an offset of 128
            }
        }
        BlockType::Q4_K | BlockType::Q5_K => {
            let (scale, m) = scale_and_min(&b[4..16], part);
            (scales, min) = ([d * f32::from(scale); 2], -half_at(b, 2) * f32::from(m));
            let low = &b[if block_type == BlockType::Q4_K { 16 } else { 48 } + part / 2 * 32..][..32];
            for (j, code) in codes.iter_mut().enumerate() {
                *code = (low[j] >> (part % 2 * 4)) & 15;
                if block_type == BlockType::Q5_K {
                    *code |= ((b[16 + j] >> part) & 1) << 4;
                }
            }
        }
        BlockType::Q6_K => {
            let (half, quarter) = (part / 4, part % 4);
            let d = half_at(b, 208);
            let low = &b[64 * half + 32 * (quarter % 2)..][..32];
            let high = &b[128 + 32 * half..][..32];
            for (j, code) in codes.iter_mut().enumerate() {
                *code = ((low[j] >> (quarter / 2 * 4)) & 15) | (((high[j] >> (2 * quarter)) & 3) << 4);
            }
            scales = [0, 1].map(|i| d * f32::from(b[192 + 8 * half + 2 * quarter + i] as i8));
        }
        BlockType::F32 | BlockType::F16 | BlockType::BF16 => unreachable!("dense types have no codes"),
    }
    Codes { codes, scales, min }
}

fn nibbles(bytes: &[u8], codes: &mut [u8; BLOCK]) {
    let (low, high) = codes.split_at_mut(BLOCK / 2);
    for ((low, high), &byte) in low.iter_mut().zip(high).zip(bytes) {
        (*low, *high) = (byte & 15, byte >> 4);
    }
}

fn fifth_bits(bytes: &[u8], codes: &mut [u8; BLOCK]) {
    for (j, code) in codes.iter_mut().enumerate() {
        *code |= ((bytes[j / 8] >> (j % 8)) & 1) << 4;
    }
}

fn put_codes(width: Width, lines: &mut [Line], r: usize, codes: &[u8; BLOCK]) {
    match width {
        Width::Nibble => {
            let (low, high) = codes.split_at(BLOCK / 2);
            for (line, (low, high)) in lines.iter_mut().zip(low.chunks_exact(4).zip(high.chunks_exact(4))) {
                for k in 0..4 {
                    line.0[4 * r + k] = low[k] | (high[k] << 4);
                }
            }
        }
        Width::Byte => {
            for (line, codes) in lines.iter_mut().zip(codes.chunks_exact(4)) {
                line.0[4 * r..4 * r + 4].copy_from_slice(codes);
            }
        }
    }
}

#[cfg(test)]
#[path = "pack/tests.rs"]
mod tests;
