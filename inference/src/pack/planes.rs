//! Codes in two planes of four bits.

use rayon::prelude::*;

use super::packing::{Rows, Source, nibbles, sized};
use super::{BLOCK, GROUP, Halves, Line, LowPlane, Norms, Quantized, Shift, Storage, Width};
use crate::block::words::{self, Scale, WORDS, Words};
use crate::block::{BlockType, Codes};
use crate::kernel::Slab;

/// Lines of a block in each plane.
const LINES: usize = Width::Split.lines();

impl Source<'_> {
    /// As [`Source::pack`], for types of bytes with one scale a block.
    pub(super) fn split(&self) -> Storage {
        let (groups, blocks) = (self.rows.div_ceil(GROUP), self.columns / BLOCK);
        let mut codes = self.arena.zeros(groups * blocks * LINES);
        let mut low: Slab<Line> = self.arena.zeros(groups * blocks * LINES);
        let mut scales = self.arena.zeros(groups * blocks);
        let mut norms = self.arena.zeros(groups * blocks);
        let planes = codes.par_chunks_mut(blocks * LINES).zip(low.par_chunks_mut(blocks * LINES));
        let others = scales.par_chunks_mut(blocks).zip(norms.par_chunks_mut(blocks));
        planes.zip(others).enumerate().for_each(|(group, ((high, low), (scales, norms)))| {
            let (rows, out) = (self.rows_of(group), SplitMut { high, low, scales, norms });
            match self.block_type {
                BlockType::Q8_0 => out.fill(&rows, |block, _| words::q8_0(sized(block))),
                any => out.fill(&rows, |block, part| Words::of(&Codes::of(any, block, part), 0)),
            }
        });
        let low = Some(LowPlane { codes: low, norms });
        let shift = Shift::Offset { zero: 0 };
        Storage::Quantized(Quantized { width: Width::Split, codes, scales, scales_per_block: 1, shift, low })
    }
}

/// Where a group goes.
struct SplitMut<'a> {
    high: &'a mut [Line],
    low: &'a mut [Line],
    scales: &'a mut [Halves],
    norms: &'a mut [Norms],
}

impl SplitMut<'_> {
    fn fill<S: Scale>(self, rows: &Rows<'_>, read: impl Fn(&[u8], usize) -> Words<S>) {
        rows.fetch();
        let Self { high, low, scales, norms } = self;
        let planes = high.as_chunks_mut::<LINES>().0.iter_mut().zip(low.as_chunks_mut::<LINES>().0);
        let mut of_scales = [S::default(); GROUP];
        for (block, ((high, low), (scales, norms))) in planes.zip(scales.iter_mut().zip(norms)).enumerate() {
            let at = block / rows.parts * rows.block_bytes;
            for (r, row) in rows.stored.chunks_exact(rows.row_bytes).take(GROUP).enumerate() {
                let words = read(&row[at..at + rows.block_bytes], block % rows.parts);
                let [of_high, of_low] = halves(words.codes);
                for (line, word) in high.iter_mut().zip(of_high).chain(low.iter_mut().zip(of_low)) {
                    line.0.as_chunks_mut::<4>().0[r] = word.to_le_bytes();
                }
                of_scales[r] = words.scales[0];
            }
            S::round(&of_scales, &mut scales.0);
            *norms = norms_of(low);
        }
    }
}

/// Signed bytes to the upper and lower halves of what is 128 more.
#[inline(always)]
fn halves(codes: [u32; WORDS]) -> [[u32; LINES]; 2] {
    let (mut upper, mut lower) = (codes, codes);
    for (upper, lower) in upper.iter_mut().zip(&mut lower) {
        (*upper, *lower) = ((*upper ^ 0x8080_8080) >> 4, *lower);
    }
    [nibbles(upper), nibbles(lower)]
}

/// The norms of a block: twice `low − 7.5` is an integer.
fn norms_of(low: &[Line; LINES]) -> Norms {
    let mut squares = [0u16; size_of::<Line>()];
    for line in low {
        for (squares, &byte) in squares.iter_mut().zip(&line.0) {
            let [low, high] = [byte & 15, byte >> 4].map(|low| 2 * i16::from(low) - 15);
            *squares += (low * low + high * high).cast_unsigned();
        }
    }
    // Half of the root, in units.
    const FACTOR: u32 = Norms::PER_UNIT / 2;
    let mut norms = [0; GROUP];
    for (norm, squares) in norms.iter_mut().zip(squares.as_chunks::<4>().0) {
        let square = FACTOR * FACTOR * squares.iter().map(|&square| u32::from(square)).sum::<u32>();
        let root = (square as f32).sqrt() as u32; // below a whole number by too little for a float there is no root
        *norm = (root + u32::from(root * root < square)) as u8;
    }
    Norms(norms)
}
