//! What products cannot exceed, from the upper halves of codes.

use super::portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::kernel::Isa;
use crate::kernel::activations::View;
use crate::pack::{BLOCK, Norms, Quantized};

/// Products beyond this are not bounded, but computed: far from where sums of them would overflow.
pub(super) const LARGEST: f32 = 1e30;

/// What products near the smallest numbers may be off by.
pub(super) const SMALLEST: f32 = 1e-30;

/// A row of activations, as the upper plane meets it: one of each for every block.
pub(super) struct Row(Vec<Factors>);

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

impl Row {
    /// Room for rows of so many columns.
    pub(super) fn with_room(columns: usize) -> Self {
        Self(Vec::with_capacity(columns / BLOCK))
    }

    /// Of one row.
    ///
    /// Rounding, with `u` = 2⁻²⁴ and `M` the sum over blocks of `|scale| × x's scale × 361 ‖x‖₁`, which is more than the terms of
    /// any of the sums here come to (`|16 h x| + |120.5 Σ x|`; a code is at most 128, a norm at most 43): a product as kernels
    /// compute it, the one from the high plane and the bound each are off by at most `(blocks + 6) u M`. `slack` comes to
    /// `8 (blocks + 8) u M` for that.
    pub(super) fn set(&mut self, x: View<'_>) {
        let blocks = x.columns / BLOCK;
        self.0.clear();
        let rounding = 8.0 * (blocks + 8) as f64 * 361.0 * f64::from(f32::EPSILON) / 2.0;
        for (codes, &scale) in x.codes.as_chunks::<BLOCK>().0.iter().zip(x.scales) {
            let sum: i32 = codes.iter().map(|&code| i32::from(code)).sum();
            let mut sizes = codes.map(|code| u32::from(code.unsigned_abs()));
            let absolute: u32 = sizes.iter().sum();
            let (outstanding, squares) = outstanding(&mut sizes);
            let scale = f64::from(scale);
            let up = 1.0 + 4.0 * f64::from(f32::EPSILON); // for rounding to f32
            self.0.push(Factors {
                high: (16.0 * scale) as f32,
                base: (-120.5 * scale * f64::from(sum)) as f32,
                norm: (scale * f64::from(squares).sqrt() / f64::from(Norms::PER_UNIT) * up) as f32,
                slack: (scale * (f64::from(absolute) * rounding + 7.5 * f64::from(outstanding)) * up) as f32,
            });
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

/// A split matrix and a row of activations that fits it.
#[derive(Clone, Copy)]
pub(super) struct Planes<'a> {
    pub(super) q: &'a Quantized,
    /// Of the lower plane: `[group][block]`.
    pub(super) norms: &'a [Norms],
    pub(super) codes: &'a [[i8; BLOCK]],
    /// One for each block.
    pub(super) factors: &'a [Factors],
}

impl<'a> Planes<'a> {
    /// # Panics
    /// If the matrix is not split.
    pub(super) fn new(q: &'a Quantized, x: View<'a>, row: &'a Row) -> Self {
        let low = q.low.as_ref().expect("only what is split is bounded");
        Self { q, norms: &low.norms, codes: x.codes.as_chunks().0, factors: &row.0 }
    }

    /// What no product of a group exceeds; infinite where something is no number.
    pub(super) fn scan(&self, isa: Isa, group: usize) -> f32 {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => avx512::scan(self, group),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::scan(self, group),
            _ => portable::scan(self, group),
        }
    }
}
