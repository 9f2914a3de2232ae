//! Products of many rows with the matrix unit: weights are unpacked panel by panel into the nearest cache.
//!
//! A *panel* is two groups of 16 outputs over all columns. A thread unpacks it to bf16 and multiplies all rows with it, 32
//! at a time, so that unpacking is spread over as many rows as there are; a block of 32 × 32 sums is finished (stored,
//! added, gated) before it leaves the cache.

use std::cell::RefCell;
use std::ops::Range;

use super::activations::{TILE_COLUMNS, TILE_ROWS, Tile};
use super::amx::{self, Configured, Place, Sums};
use super::team::{Crew, Shared};
use super::{Activations, Gated, Product};
use crate::pack::{BLOCK, GROUP, Packed};

/// Outputs of a panel.
const PANEL: usize = 2 * GROUP;

/// Rows that a panel is unpacked for, at least. Each thread unpacks all panels for rows of its own if there are as many: what
/// one core has written, another reads at a tenth of the speed.
const ROWS_PER_PART: usize = 128;

/// Where the weights of one half of a panel come from.
type Half<'a> = (&'a Packed, usize);

/// Column blocks of a panel that are multiplied at a time: their tiles, two columns of them, stay in the nearest cache (48 KiB)
/// while all rows pass through it.
const PART: usize = 20;

/// Pairs of row blocks whose sums are held while a panel is multiplied part by part.
const HELD: usize = 8;

/// What a thread works with, kept for its memory.
#[derive(Default)]
struct Bench {
    /// The panel that is unpacked: two columns of tiles.
    panel: Vec<Tile>,
    /// Sums of [`HELD`] pairs of row blocks.
    sums: Vec<Sums>,
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::default();
}

/// As [`super::linear`], for tiles.
pub(super) fn linear<const N: usize>(crew: &Crew, x: &Activations, outs: &[(&Packed, Shared<f32>); N]) {
    let of = |weights: &Packed| weights.rows.div_ceil(PANEL);
    let count = outs.iter().map(|(weights, _)| of(weights)).sum();
    let find = |mut panel: usize| {
        let mut outs = outs.iter();
        loop {
            let (weights, out) = outs.next().expect("panels are counted from the same products");
            if panel < of(weights) {
                return (*weights, out, panel);
            }
            panel -= of(weights);
        }
    };
    let halves = |panel: usize| {
        let (weights, _, panel) = find(panel);
        [(weights, 2 * panel), (weights, (2 * panel + 1).min(weights.groups() - 1))]
    };
    panels(crew, x, 0..x.columns().div_ceil(TILE_COLUMNS), count, halves, |panel, row, rows, sums| {
        let (weights, out, panel) = find(panel);
        let first = panel * PANEL;
        // SAFETY: `super::linear` has checked that the output holds `rows of x × rows of weights` numbers, of which only this
        // task writes these; tiles are there only with AVX-512.
        unsafe {
            let out = out.get().add(row * weights.rows + first);
            amx::store(sums, rows, PANEL.min(weights.rows - first), out, weights.rows);
        }
    });
}

/// As [`super::linear_add`], for tiles.
pub(super) fn linear_add(crew: &Crew, x: &Activations, product: Product<'_>) {
    let Product { weights, out } = product;
    let out = Shared(out.as_mut_ptr());
    let halves = |panel: usize| [(weights, 2 * panel), (weights, (2 * panel + 1).min(weights.groups() - 1))];
    let columns = 0..x.columns().div_ceil(TILE_COLUMNS);
    panels(crew, x, columns, weights.rows.div_ceil(PANEL), halves, |panel, row, rows, sums| {
        let first = panel * PANEL;
        // SAFETY: as in `linear`.
        unsafe {
            let out = out.get().add(row * weights.rows + first);
            amx::add(sums, rows, PANEL.min(weights.rows - first), out, weights.rows);
        }
    });
}

/// As [`super::gated`], for tiles.
pub(super) fn gated(crew: &Crew, x: &Activations, part: Gated<'_>, out: &mut Activations) {
    let (start, blocks) = out.tiles_mut();
    let Gated { activation, weights, biases, .. } = part;
    let halves = |panel: usize| [(weights[0], panel), (weights[1], panel)];
    panels(crew, x, 0..x.columns().div_ceil(TILE_COLUMNS), weights[0].groups(), halves, |panel, row, rows, sums| {
        let column = panel * GROUP;
        let biases = [biases[0].map(|bias| &bias[column..]), biases[1].map(|bias| &bias[column..])];
        let place = Place { start: start.get(), blocks, row, column };
        // SAFETY: `super::gated` has taken as many rows of `out` into use as `x` has, each with the columns of all groups; only
        // this task writes these; tiles are there only with AVX-512.
        unsafe { amx::gate(activation, sums, rows, biases, &place) };
    });
}

/// Cuts column blocks into equal parts of at most [`PART`].
fn parts(blocks: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let count = blocks.len().div_ceil(PART).max(1);
    let at = move |n: usize| blocks.start + n * blocks.len() / count;
    (0..count).map(move |n| at(n)..at(n + 1))
}

/// Multiplies some column blocks of all rows with those of `count` panels, and calls `finish(panel, first row, rows, sums)` for
/// each block of up to 32 rows.
fn panels<'w>(
    crew: &Crew,
    x: &Activations,
    columns: Range<usize>,
    count: usize,
    halves: impl Fn(usize) -> [Half<'w>; 2] + Sync,
    finish: impl Fn(usize, usize, usize, &Sums) + Sync,
) {
    const { assert!(TILE_COLUMNS == BLOCK) };
    let rows = x.rows();
    let (tiles, blocks) = x.tiles();
    let row_block = |index: usize, part: &Range<usize>| tiles.get(index * blocks..).and_then(|x| x.get(part.clone()));
    let pairs = rows.div_ceil(2 * TILE_ROWS);
    let parts_of_rows = (rows / ROWS_PER_PART).clamp(1, crew.threads());
    let pairs_per_part = pairs.div_ceil(parts_of_rows);
    crew.run(parts_of_rows * count, &|task| {
        let (rows_part, panel) = (task / count, task % count);
        BENCH.with_borrow_mut(|Bench { panel: unpacked, sums }| {
            unpacked.resize(2 * columns.len(), Tile::ZERO);
            sums.resize(HELD, Sums::ZERO);
            let (left, right) = unpacked.split_at_mut(columns.len());
            let [(weights, group), (other, other_group)] = halves(panel);
            amx::unpack(weights, group, columns.start, left);
            amx::unpack(other, other_group, columns.start, right);
            let configured = Configured::new();
            let end = pairs.min((rows_part + 1) * pairs_per_part);
            for first in (rows_part * pairs_per_part..end).step_by(HELD) {
                let pairs = first..end.min(first + HELD);
                for part in parts(columns.clone()) {
                    let of_panel = part.start - columns.start..part.end - columns.start;
                    let w = [&left[of_panel.clone()], &right[of_panel]];
                    for (pair, sums) in pairs.clone().zip(&mut *sums) {
                        let x = [row_block(2 * pair, &part), row_block(2 * pair + 1, &part)];
                        configured.multiply(x, w, part.start > columns.start, sums);
                        if part.end == columns.end {
                            let row = pair * 2 * TILE_ROWS;
                            finish(panel, row, (rows - row).min(2 * TILE_ROWS), sums);
                        }
                    }
                }
            }
        });
    });
}
