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
                for v in 0..LINES {
                    high[v].0.as_chunks_mut::<4>().0[r] = of_high[v].to_le_bytes();
                    low[v].0.as_chunks_mut::<4>().0[r] = of_low[v].to_le_bytes();
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
    let mut upper = codes;
    for upper in &mut upper {
        *upper = (*upper ^ 0x8080_8080) >> 4; // what comes from the next byte is masked
    }
    [nibbles(upper), nibbles(codes)]
}

/// The norms of a block: twice `low − 7.5` is an integer.
fn norms_of(low: &[Line; LINES]) -> Norms {
    let mut squares = [0i16; size_of::<Line>()]; // at most 8 × 15²
    for line in low {
        for (squares, &byte) in squares.iter_mut().zip(&line.0) {
            let (low, high) = (2 * i16::from(byte & 15) - 15, 2 * i16::from(byte >> 4) - 15);
            *squares += low * low + high * high;
        }
    }
    // Half of the root, in units.
    const FACTOR: i32 = Norms::PER_UNIT as i32 / 2;
    let mut norms = [0; GROUP];
    for (norm, squares) in norms.iter_mut().zip(squares.as_chunks::<4>().0) {
        let square = FACTOR * FACTOR * squares.iter().map(|&square| i32::from(square)).sum::<i32>();
        let root = (square as f32).sqrt() as i32; // rounded down, if not exact
        *norm = (root + i32::from(root * root < square)) as u8;
    }
    Norms(norms)
}
