//! What products cannot exceed, from the upper halves of codes.

use super::portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::kernel::Isa;
use crate::kernel::activations::View;
use crate::pack::{BLOCK, Norms, Quantized};

/// Products beyond this are not bounded, but computed: far from where sums of them would overflow.
pub(super) const LARGEST: f32 = 1e30;

/// Rows that are bounded together, at most.
pub(super) const BOUNDED_ROWS: usize = 8;

/// What products near the smallest numbers may be off by.
pub(super) const SMALLEST: f32 = 1e-30;

/// Rows of activations, as the upper plane meets them: `[block][row]`.
pub(super) struct Rows {
    pub(super) count: usize,
    pub(super) codes: Vec<[i8; BLOCK]>,
    pub(super) factors: Vec<Factors>,
}

/// What a block's sums over codes are multiplied with, before the scale of the weights.
#[derive(Clone, Copy, Default)]
pub(super) struct Factors {
    /// With `Σ h x`.
    pub(super) high: f32,
    /// Added to that: what stands for zero, and what was taken for the lower halves.
    pub(super) base: f32,
    /// With a stored norm.
    pub(super) norm: f32,
    /// Added to that: what stands out, and what rounding may be off by.
    pub(super) slack: f32,
}

impl Rows {
    /// Room for rows of so many columns.
    pub(super) fn with_room(columns: usize) -> Self {
        let blocks = columns / BLOCK * BOUNDED_ROWS;
        Self { count: 0, codes: Vec::with_capacity(blocks), factors: Vec::with_capacity(blocks) }
    }

    /// Takes rows, at most [`BOUNDED_ROWS`].
    pub(super) fn set(&mut self, x: View<'_>) {
        assert!(x.rows <= BOUNDED_ROWS && x.planes == 1, "{} rows", x.rows);
        let blocks = x.columns / BLOCK;
        self.count = x.rows;
        self.codes.clear();
        self.factors.clear();
        let codes = x.codes.as_chunks::<BLOCK>().0;
        for block in 0..blocks {
            for at in (block..).step_by(blocks).take(x.rows) {
                self.codes.push(codes[at]);
                self.factors.push(Factors::of(codes[at], x.scales[at], blocks));
            }
        }
    }

    /// The codes of a row with their factors, block by block.
    pub(super) fn row(&self, row: usize) -> impl Iterator<Item = (&[i8; BLOCK], &Factors)> {
        self.codes.iter().zip(&self.factors).skip(row).step_by(self.count.max(1))
    }
}

impl Factors {
    /// Of a block in a row of `blocks`.
    ///
    /// Rounding, with `u` = 2⁻²⁴ and `M` the sum over blocks of `|scale| × x's scale × 361 ‖x‖₁`, which is more than
    /// the terms of any of the sums here come to (`|16 h x| + |120.5 Σ x|`; a code is at most 128, a norm at most 43):
    /// a product as kernels compute it is off by at most `(blocks + 6) u M`, the bound by `3 (blocks + 6) u M`. `slack`
    /// comes to `8 (blocks + 8) u M` for that.
    fn of(codes: [i8; BLOCK], scale: f32, blocks: usize) -> Self {
        let rounding = 8.0 * (blocks + 8) as f64 * 361.0 * f64::from(f32::EPSILON) / 2.0;
        let sum: i32 = codes.iter().map(|&code| i32::from(code)).sum();
        let mut sizes = codes.map(|code| u32::from(code.unsigned_abs()));
        let absolute: u32 = sizes.iter().sum();
        let (outstanding, squares) = outstanding(&mut sizes);
        let scale = f64::from(scale);
        let up = 1.0 + 4.0 * f64::from(f32::EPSILON); // for rounding to f32
        Self {
            high: (16.0 * scale) as f32,
            base: (-120.5 * scale * f64::from(sum)) as f32,
            norm: (scale * f64::from(squares).sqrt() / f64::from(Norms::PER_UNIT) * up) as f32,
            slack: (scale * (f64::from(absolute) * rounding + 7.5 * f64::from(outstanding)) * up) as f32,
        }
    }
}

/// Of a block's sizes the sum of those that stand out, and the squares of the others: as makes the least bound with the norm of
/// a usual block, to which each adds at most 7.5.
fn outstanding(sizes: &mut [u32; BLOCK]) -> (u32, u32) {
    /// `√(32 × 21.25)`, with halves of codes that are evenly spread.
    const USUAL_NORM: f32 = 26.1;
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let squares: u32 = sizes.iter().map(|size| size * size).sum();
    let bound = |sum: u32, squares: u32| 7.5 * sum as f32 + USUAL_NORM * (squares as f32).sqrt();
    let (mut best, mut rest) = ((0, squares), (0, squares));
    for &size in &*sizes {
        rest = (rest.0 + size, rest.1 - size * size);
        if bound(rest.0, rest.1) < bound(best.0, best.1) {
            best = rest;
        }
    }
    best
}

/// A split matrix.
#[derive(Clone, Copy)]
pub(super) struct Planes<'a> {
    pub(super) q: &'a Quantized,
    /// Of the lower plane: `[group][block]`.
    pub(super) norms: &'a [Norms],
    /// Of a row.
    pub(super) blocks: usize,
}

impl<'a> Planes<'a> {
    /// # Panics
    /// If the matrix is not split.
    pub(super) fn new(q: &'a Quantized, columns: usize) -> Self {
        let low = q.low.as_ref().expect("only what is split is bounded");
        Self { q, norms: &low.norms, blocks: columns / BLOCK }
    }

    /// What no product of a group with each row exceeds; infinite where something is no number. Rows have as many blocks as the
    /// matrix.
    pub(super) fn scan(&self, isa: Isa, group: usize, rows: &Rows, uppers: &mut [f32; BOUNDED_ROWS]) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => avx512::scan(self, group, rows, uppers),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => (0..rows.count).for_each(|row| uppers[row] = avx2::scan(self, group, rows, row)),
            _ => (0..rows.count).for_each(|row| uppers[row] = portable::scan(self, group, rows, row)),
        }
    }
}
