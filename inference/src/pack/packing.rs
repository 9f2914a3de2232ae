//! Stored tensors to the layout that the kernels read.

use rayon::prelude::*;

use super::{BLOCK, GROUP, Halves, Line, Quantized, Shift, Storage, Width};
use crate::block::words::{self, Scale, WORDS, Words};
use crate::block::{BlockType, Codes};
use crate::kernel::{Arena, Plain, Slab};

/// A stored matrix.
pub(super) struct Source<'a> {
    pub(super) arena: &'a Arena,
    pub(super) block_type: BlockType,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) bytes: &'a [u8],
}

/// How a type's codes are packed.
#[derive(Clone, Copy)]
struct Form {
    width: Width,
    /// What stands for zero; none for the types that have mins.
    zero: Option<u8>,
    scales_per_block: usize,
}

impl Form {
    const fn of(block_type: BlockType) -> Self {
        let (width, zero, scales_per_block) = match block_type {
            BlockType::TQ1_0 | BlockType::TQ2_0 => (Width::Nibble, Some(1), 1),
            BlockType::Q4_0 => (Width::Nibble, Some(8), 1),
            BlockType::Q4_1 | BlockType::Q4_K => (Width::Nibble, None, 1),
            BlockType::Q5_0 | BlockType::IQ1_S | BlockType::IQ3_S | BlockType::MXFP4 => (Width::Five, Some(16), 1),
            BlockType::Q5_1 | BlockType::Q5_K => (Width::Five, None, 1),
            BlockType::Q8_0 | BlockType::IQ4_NL | BlockType::IQ4_XS | BlockType::IQ2_XXS | BlockType::IQ3_XXS => {
                (Width::Byte, Some(0), 1)
            }
            BlockType::Q3_K
            | BlockType::IQ1_M
            | BlockType::NVFP4
            | BlockType::Q6_K
            | BlockType::IQ2_XS
            | BlockType::IQ2_S => (Width::Byte, Some(0), 2),
            BlockType::Q2_K => (Width::Byte, None, 2),
            BlockType::F32 | BlockType::F16 | BlockType::BF16 => panic!("floats have no codes"),
        };
        Self { width, zero, scales_per_block }
    }
}

/// See [`super::Packed::splits`].
pub(super) fn splits(block_type: BlockType) -> bool {
    let is_float = matches!(block_type, BlockType::F32 | BlockType::F16 | BlockType::BF16);
    !is_float && matches!(Form::of(block_type), Form { width: Width::Byte, zero: Some(0), scales_per_block: 1 })
}

/// Bytes that a packed matrix takes, each of its parts rounded up to lines.
pub(super) fn packed_bytes(block_type: BlockType, rows: usize, columns: usize) -> usize {
    const LINE: usize = size_of::<Line>();
    let groups = rows.div_ceil(GROUP);
    match block_type {
        BlockType::F32 => groups * columns * LINE,
        BlockType::F16 | BlockType::BF16 => (groups * columns * size_of::<Halves>()).next_multiple_of(LINE),
        _ => {
            let Form { width, zero, scales_per_block } = Form::of(block_type);
            let blocks = groups * (columns / BLOCK);
            let scales = (blocks * scales_per_block * size_of::<Halves>()).next_multiple_of(LINE);
            blocks * width.lines() * LINE + if zero.is_some() { scales } else { 2 * scales }
        }
    }
}

impl Source<'_> {
    /// Packs it, with all threads of the current rayon pool.
    pub(super) fn pack(&self) -> Storage {
        match self.block_type {
            BlockType::F32 => Storage::F32(self.lanes(|line: &mut Line, r, at| {
                line.0[4 * r..4 * r + 4].copy_from_slice(&self.bytes[4 * at..4 * at + 4]);
            })),
            BlockType::F16 => Storage::F16(self.halves()),
            BlockType::BF16 => Storage::Bf16(self.halves()),
            _ => Storage::Quantized(self.quantized(Form::of(self.block_type))),
        }
    }

    fn halves(&self) -> Slab<Halves> {
        self.lanes(|halves: &mut Halves, r, at| {
            halves.0[r] = u16::from_le_bytes([self.bytes[2 * at], self.bytes[2 * at + 1]]);
        })
    }

    /// Interleaves a dense matrix: `put(lanes, row in group, index of the value)`.
    fn lanes<T: Plain>(&self, put: impl Fn(&mut T, usize, usize) + Sync) -> Slab<T> {
        let groups = self.rows.div_ceil(GROUP);
        let mut packed = self.arena.zeros(groups * self.columns);
        packed.par_chunks_exact_mut(self.columns).enumerate().for_each(|(group, packed)| {
            for row in group * GROUP..self.rows.min((group + 1) * GROUP) {
                for (column, lanes) in packed.iter_mut().enumerate() {
                    put(lanes, row % GROUP, row * self.columns + column);
                }
            }
        });
        packed
    }

    fn quantized(&self, form: Form) -> Quantized {
        let Form { width, zero, scales_per_block } = form;
        let blocks = self.columns / BLOCK; // a group's
        let groups = self.rows.div_ceil(GROUP);
        let mut codes = self.arena.zeros(groups * blocks * width.lines());
        let mut scales: Slab<Halves> = self.arena.zeros(groups * blocks * scales_per_block);
        let mut mins = self.arena.zeros(if zero.is_none() { scales.len() } else { 0 });
        let of_groups: Vec<&mut [Halves]> = match zero {
            Some(_) => (0..groups).map(|_| &mut [][..]).collect(),
            None => mins.chunks_mut(blocks * scales_per_block).collect(),
        };
        codes
            .par_chunks_mut(blocks * width.lines())
            .zip(scales.par_chunks_mut(blocks * scales_per_block))
            .zip(of_groups)
            .enumerate()
            .for_each(|(group, ((codes, scales), mins))| {
                self.group(group, form, GroupMut { codes, scales, mins, scales_per_block });
            });
        let shift = zero.map_or(Shift::Min(mins), |zero| Shift::Offset { zero });
        Quantized { width, codes, scales, scales_per_block, shift, low: None }
    }

    /// Packs 16 rows, with a reader of their own for the types that most files are made of.
    fn group(&self, group: usize, form: Form, out: GroupMut<'_>) {
        let (rows, zero) = (&self.rows_of(group), form.zero.unwrap_or(0));
        match self.block_type {
            BlockType::Q4_0 => out.fill(form.width, rows, |block, _| words::q4_0(sized(block))),
            BlockType::Q4_1 => out.fill(form.width, rows, |block, _| words::q4_1(sized(block))),
            BlockType::Q5_0 => out.fill(form.width, rows, |block, _| words::q5_0(sized(block))),
            BlockType::Q5_1 => out.fill(form.width, rows, |block, _| words::q5_1(sized(block))),
            BlockType::Q8_0 => out.fill(form.width, rows, |block, _| words::q8_0(sized(block))),
            BlockType::Q4_K => out.fill(form.width, rows, |block, part| words::q4_k(sized(block), part)),
            BlockType::Q5_K => out.fill(form.width, rows, |block, part| words::q5_k(sized(block), part)),
            BlockType::Q6_K => out.fill(form.width, rows, |block, part| words::q6_k(sized(block), part)),
            any => out.fill(form.width, rows, |block, part| Words::of(&Codes::of(any, block, part), zero)),
        }
    }

    pub(super) fn rows_of(&self, group: usize) -> Rows<'_> {
        let row_bytes = self.block_type.bytes_of(self.columns);
        let (first, end) = (group * GROUP, self.rows.min((group + 1) * GROUP));
        let stored = &self.bytes[first * row_bytes..end * row_bytes];
        let (block_bytes, parts) = (self.block_type.block_bytes(), self.block_type.block_len() / BLOCK);
        Rows { stored, row_bytes, block_bytes, parts }
    }
}

/// A block of a type, whose bytes are known to be as many.
pub(super) fn sized<const N: usize>(block: &[u8]) -> &[u8; N] {
    block.try_into().expect("blocks are cut in this length")
}

/// The stored rows of a group.
pub(super) struct Rows<'a> {
    pub(super) stored: &'a [u8],
    pub(super) row_bytes: usize,
    pub(super) block_bytes: usize,
    /// 32 columns each, of which a stored block has so many.
    pub(super) parts: usize,
}

impl Rows<'_> {
    /// Reads all once, in order, which the processor foresees: block by block, it is far apart.
    pub(super) fn fetch(&self) {
        const LINE: usize = size_of::<Line>();
        let sum = self.stored.as_chunks::<LINE>().0.iter().fold(0u8, |sum, line| sum ^ line[0]);
        std::hint::black_box(sum);
    }
}

/// Where a group goes.
struct GroupMut<'a> {
    codes: &'a mut [Line],
    scales: &'a mut [Halves],
    /// Empty if the type has none.
    mins: &'a mut [Halves],
    scales_per_block: usize,
}

impl GroupMut<'_> {
    fn fill<S: Scale>(self, width: Width, rows: &Rows<'_>, read: impl Fn(&[u8], usize) -> Words<S>) {
        rows.fetch();
        match width {
            Width::Nibble => self.fill_lines::<4, S>(rows, read, nibbles),
            Width::Five => self.fill_lines::<5, S>(rows, read, fives),
            Width::Byte => self.fill_lines::<WORDS, S>(rows, read, |codes| codes),
            Width::Split => unreachable!("no type is stored split"),
        }
    }

    /// Writes block by block, all rows of each, so that no line is written twice.
    #[inline(always)]
    fn fill_lines<const LINES: usize, S: Scale>(
        self,
        rows: &Rows<'_>,
        read: impl Fn(&[u8], usize) -> Words<S>,
        join: impl Fn([u32; WORDS]) -> [u32; LINES],
    ) {
        let Self { codes, scales, mins, scales_per_block } = self;
        let (mut of_scales, mut of_mins) = ([[S::default(); GROUP]; 2], [[S::default(); GROUP]; 2]);
        for (block, lines) in codes.as_chunks_mut::<LINES>().0.iter_mut().enumerate() {
            let at = block / rows.parts * rows.block_bytes;
            for (r, row) in rows.stored.chunks_exact(rows.row_bytes).take(GROUP).enumerate() {
                let words = read(&row[at..at + rows.block_bytes], block % rows.parts);
                for (line, word) in lines.iter_mut().zip(join(words.codes)) {
                    line.0.as_chunks_mut::<4>().0[r] = word.to_le_bytes();
                }
                of_scales.iter_mut().zip(words.scales).for_each(|(of_rows, scale)| of_rows[r] = scale);
                of_mins.iter_mut().zip(words.mins).for_each(|(of_rows, min)| of_rows[r] = min);
            }
            let of_block = block * scales_per_block..(block + 1) * scales_per_block;
            scales[of_block.clone()].iter_mut().zip(&of_scales).for_each(|(out, scales)| S::round(scales, &mut out.0));
            if !mins.is_empty() {
                mins[of_block].iter_mut().zip(&of_mins).for_each(|(out, mins)| S::round(mins, &mut out.0));
            }
        }
    }
}

/// Lines of nibbles: the first 16 codes low, the others high.
#[inline(always)]
pub(super) fn nibbles(codes: [u32; WORDS]) -> [u32; 4] {
    let join = |v: usize| (codes[v] & 0x0f0f_0f0f) | (codes[v + 4] & 0x0f0f_0f0f) << 4;
    [join(0), join(1), join(2), join(3)] // `map` becomes a call for each
}

/// Lines of nibbles, and one of fifth bits: those of word `v` at bit `v`.
#[inline(always)]
fn fives(codes: [u32; WORDS]) -> [u32; 5] {
    const LOWEST: u32 = 0x0101_0101;
    let [a, b, c, d] = nibbles(codes);
    let fifths = codes.iter().zip(0..).fold(0, |fifths, (codes, v)| fifths | ((codes >> 4) & LOWEST) << v);
    [a, b, c, d, fifths]
}
