//! Products of many rows with the matrix unit: weights are unpacked panel by panel into the nearest cache.
//!
//! A *panel* is two groups of 16 outputs over all columns. A thread unpacks it to bf16 and multiplies all rows with it, 32
//! at a time, so that unpacking is spread over as many rows as there are; a block of 32 × 32 sums is finished (stored,
//! added, gated) before it leaves the cache.

use std::cell::RefCell;

use super::activations::{TILE_COLUMNS, TILE_ROWS, Tile};
use super::amx::{self, Configured, Place, Sums};
use super::team::{Crew, Shared};
use super::{Activations, Gated, Product};
use crate::pack::{GROUP, Packed};

/// Outputs of a panel.
const PANEL: usize = 2 * GROUP;

/// Tasks for each thread, so that one that is held up costs little.
const TASKS_PER_THREAD: usize = 4;

/// Pairs of row blocks that a task has at least, if there are so many: a panel is unpacked for them.
const PAIRS_PER_TASK: usize = 4;

/// Where the weights of one half of a panel come from.
type Half<'a> = (&'a Packed, usize);

thread_local! {
    /// The panel that this thread has unpacked, kept for its memory.
    static PANELS: RefCell<Vec<Tile>> = const { RefCell::new(Vec::new()) };
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
    panels(crew, x, count, halves, |panel, row, rows, sums| {
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
    panels(crew, x, weights.rows.div_ceil(PANEL), halves, |panel, row, rows, sums| {
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
    let Gated { activation, weights, biases } = part;
    let halves = |panel: usize| weights.map(|weights| (weights, panel));
    panels(crew, x, weights[0].groups(), halves, |panel, row, rows, sums| {
        let column = panel * GROUP;
        let bias = biases.map(|bias| bias.map_or([0.0; GROUP], |bias| padded(&bias[column..])));
        let place = Place { start: start.get(), blocks, row, column };
        // SAFETY: `super::gated` has taken as many rows of `out` into use as `x` has, each with the columns of all groups; only
        // this task writes these; tiles are there only with AVX-512.
        unsafe { amx::gate(activation, sums, rows, &bias, &place) };
    });
}

fn padded(bias: &[f32]) -> [f32; GROUP] {
    std::array::from_fn(|at| bias.get(at).copied().unwrap_or(0.0))
}

/// Multiplies all rows with `count` panels, and calls `finish(panel, first row, rows, sums)` for each block of up to 32 rows.
fn panels<'w>(
    crew: &Crew,
    x: &Activations,
    count: usize,
    halves: impl Fn(usize) -> [Half<'w>; 2] + Sync,
    finish: impl Fn(usize, usize, usize, &Sums) + Sync,
) {
    let rows = x.rows();
    let (tiles, blocks) = x.tiles();
    let pairs = rows.div_ceil(2 * TILE_ROWS);
    let parts = (TASKS_PER_THREAD * crew.threads()).div_ceil(count.max(1)).min(pairs / PAIRS_PER_TASK).max(1);
    let pairs_per_part = pairs.div_ceil(parts);
    crew.run(count * parts, &|task| {
        let (panel, part) = (task / parts, task % parts);
        PANELS.with_borrow_mut(|unpacked| {
            if unpacked.len() < 2 * blocks {
                unpacked.resize(2 * blocks, Tile::ZERO);
            }
            let (left, right) = unpacked[..2 * blocks].split_at_mut(blocks);
            let [(weights, group), (other, other_group)] = halves(panel);
            amx::unpack(weights, group, left);
            amx::unpack(other, other_group, right);
            let configured = Configured::new();
            let mut sums = Sums::ZERO;
            for pair in part * pairs_per_part..pairs.min((part + 1) * pairs_per_part) {
                let first = 2 * pair * blocks;
                configured.multiply(&tiles[first..tiles.len().min(first + 2 * blocks)], [left, right], &mut sums);
                let row = pair * 2 * TILE_ROWS;
                finish(panel, row, (rows - row).min(2 * TILE_ROWS), &sums);
            }
        });
    });
    debug_assert_eq!(TILE_COLUMNS, crate::pack::BLOCK);
}
