//! Products of weights and activations, spread over the threads.

use std::cell::RefCell;
use std::ops::Range;

use super::activations::View;
use super::team::{Crew, Shared};
use super::{Activation, Activations, Form, Isa, scalar};
#[cfg(target_arch = "x86_64")]
use super::{amx, matrix};
use crate::pack::{BLOCK, GROUP, Packed, Storage};

/// Results of one row of activations and one group of weights.
pub(super) type Lanes = [f32; GROUP];

/// Rows of activations that are multiplied with weights while these are in registers.
pub(super) const TILE: usize = 8;

/// One matrix product: `out[row][output] = Σ weights[output][column] × x[row][column]`.
pub(crate) struct Product<'a> {
    /// The matrix.
    pub(crate) weights: &'a Packed,
    /// `[rows of x][rows of weights]`.
    pub(crate) out: &'a mut [f32],
}

/// Tasks for each thread: enough that one that is held up costs little.
const TASKS_PER_THREAD: usize = 6;

/// Multiplies the rows of `x` with several matrices, spread over the threads.
///
/// # Panics
/// If a matrix has other columns than `x`, or an output has not as many numbers as its product.
pub(crate) fn linear<const N: usize>(crew: &Crew, isa: Isa, x: &Activations, products: [Product<'_>; N]) {
    let outs = products.map(|product| {
        product.check(x);
        (product.weights, Shared(product.out.as_mut_ptr()))
    });
    #[cfg(target_arch = "x86_64")]
    if x.form() == Form::Tiles {
        return matrix::linear(crew, x, &outs);
    }
    let view = x.view();
    let groups: usize = outs.iter().map(|(weights, _)| weights.groups()).sum();
    spans(crew, groups, 1, &|wanted| {
        let mut first = 0; // of the current product, among the groups of all
        for (weights, out) in &outs {
            let last = first + weights.groups();
            for group in wanted.start.max(first)..wanted.end.min(last) {
                multiply_group(isa, weights, group - first, view, |row, lanes| {
                    // SAFETY: `check` has found room for `rows × weights.rows` numbers, of which only this task has these.
                    let out = unsafe { place(out, weights, row, group - first) };
                    match out.as_mut_array::<GROUP>() {
                        Some(out) => *out = *lanes, // of known length, so no call of `memmove`
                        None => out.copy_from_slice(&lanes[..out.len()]),
                    }
                });
            }
            first = last;
        }
    });
}

/// Multiplies the rows of `x` with a matrix and adds the products to what is there.
///
/// # Panics
/// As [`linear`].
pub(crate) fn linear_add(crew: &Crew, isa: Isa, x: &Activations, product: Product<'_>) {
    product.check(x);
    #[cfg(target_arch = "x86_64")]
    if x.form() == Form::Tiles {
        return matrix::linear_add(crew, x, product);
    }
    let Product { weights, out } = product;
    let (out, view) = (Shared(out.as_mut_ptr()), x.view());
    spans(crew, weights.groups(), 1, &|groups| {
        for group in groups {
            multiply_group(isa, weights, group, view, |row, lanes| {
                // SAFETY: as in `linear`.
                let out = unsafe { place(&out, weights, row, group) };
                out.iter_mut().zip(lanes).for_each(|(out, lane)| *out += lane);
            });
        }
    });
}

/// The gated half of a feed-forward part: `activation(gate · x + bias) × (up · x + bias)`.
#[derive(Clone, Copy)]
pub(crate) struct Gated<'a> {
    /// What the gate goes through.
    pub(crate) activation: Activation,
    /// The matrices of gate and up.
    pub(crate) weights: [&'a Packed; 2],
    /// What is added to their products.
    pub(crate) biases: [Option<&'a [f32]>; 2],
    /// What the result is multiplied as: tiles if the input is tiles.
    pub(crate) form: Form,
}

/// Computes it for all rows of `x`, in the form that `x` has.
///
/// # Panics
/// If the matrices are not of one shape with the columns of `x`, or biases and columns of `out` are not as many as they have
/// rows.
pub(crate) fn gated(crew: &Crew, isa: Isa, x: &Activations, part: Gated<'_>, out: &mut Activations) {
    /// Groups of 16 outputs whose results make a block of codes.
    const GROUPS: usize = BLOCK / GROUP;
    let Gated { activation, weights: [gate, up], biases, .. } = part;
    assert!(x.form() != Form::FineCodes, "a gated part takes codes or tiles");
    assert!(gate.columns == x.columns() && up.columns == x.columns(), "a matrix takes rows of its own length");
    assert!(gate.rows == out.columns() && up.rows == out.columns(), "an output holds its product");
    assert!(part.biases.iter().flatten().all(|bias| bias.len() == gate.rows), "a bias is added to each output");
    assert_eq!(part.form == Form::Tiles, x.form() == Form::Tiles, "tiles make tiles");
    out.start(part.form, x.rows());
    #[cfg(target_arch = "x86_64")]
    if x.form() == Form::Tiles {
        return matrix::gated(crew, x, part, out);
    }
    let (view, rows) = (x.view(), x.rows());
    let writer = out.writer(isa);
    spans(crew, gate.groups(), GROUPS, &|groups| {
        GATED.with_borrow_mut(|products| {
            // For as many rows as there will ever be here, so that no later step has to ask for memory.
            products.resize(products.len().max(2 * GROUPS * x.capacity()), [0.0; GROUP]);
            for first in groups.clone().step_by(GROUPS) {
                let groups = first..groups.end.min(first + GROUPS);
                let columns = first * GROUP..gate.rows.min(groups.end * GROUP);
                for (half, weights) in [gate, up].into_iter().enumerate() {
                    for (n, group) in groups.clone().enumerate() {
                        let products = &mut products[(half * GROUPS + n) * rows..][..rows];
                        multiply_group(isa, weights, group, view, |row, lanes| products[row] = *lanes);
                        if let Some(bias) = biases[half] {
                            let bias = &bias[group * GROUP..gate.rows.min((group + 1) * GROUP)];
                            let add = |lanes: &mut Lanes| lanes.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
                            products.iter_mut().for_each(add);
                        }
                    }
                }
                for row in 0..rows {
                    let mut values = [0.0; BLOCK];
                    for (n, values) in values.chunks_exact_mut(GROUP).enumerate().take(groups.len()) {
                        let [of_gate, of_up] = [n * rows + row, (GROUPS + n) * rows + row];
                        isa.gate(activation, &products[of_gate], &products[of_up], values);
                    }
                    // SAFETY: `start` has taken the row into use, and only this task has these columns.
                    unsafe { writer.columns(row, columns.clone(), &values[..columns.len()]) };
                }
            }
        });
    });
    out.turn();
}

thread_local! {
    /// Products of gate and up for two groups of outputs, `[half][group][row]`; kept for its memory.
    static GATED: RefCell<Vec<Lanes>> = const { RefCell::new(Vec::new()) };
    /// What the matrix unit works in; kept for its memory.
    #[cfg(target_arch = "x86_64")]
    static BATCH: RefCell<amx::Batch> = RefCell::default();
}

/// Cuts `groups` into spans of whole `unit`s and gives them to the threads.
pub(super) fn spans(crew: &Crew, groups: usize, unit: usize, task: &(dyn Fn(Range<usize>) + Sync)) {
    let span = groups.div_ceil(crew.threads() * TASKS_PER_THREAD).next_multiple_of(unit).max(1);
    crew.run(groups.div_ceil(span), &|index| {
        task(index * span..groups.min((index + 1) * span));
        #[cfg(target_arch = "x86_64")]
        BATCH.with_borrow_mut(amx::Batch::release);
    });
}

/// The places of a group's results in a row of the output.
///
/// # Safety
/// The output holds the row, and nobody else uses these places.
unsafe fn place<'a>(out: &Shared<f32>, weights: &Packed, row: usize, group: usize) -> &'a mut [f32] {
    let outputs = GROUP.min(weights.rows - group * GROUP);
    // SAFETY: passed on to the caller.
    unsafe { std::slice::from_raw_parts_mut(out.get().add(row * weights.rows + group * GROUP), outputs) }
}

impl Product<'_> {
    fn check(&self, x: &Activations) {
        assert_eq!(self.weights.columns, x.columns(), "a matrix takes rows of its own length");
        assert_eq!(self.out.len(), x.rows() * self.weights.rows, "an output holds its product");
    }
}

/// All rows of `x` times one group of weights: `put(row, results)` for each.
pub(super) fn multiply_group(
    isa: Isa,
    weights: &Packed,
    group: usize,
    x: View<'_>,
    mut put: impl FnMut(usize, &Lanes),
) {
    // Dense weights meet the numbers themselves, which are in one plane.
    let planes = if let Storage::Quantized(_) = weights.storage { x.planes } else { 1 };
    let x = View { rows: planes * x.rows, ..x };
    #[cfg(target_arch = "x86_64")]
    if isa.has_tiles() && amx::takes_codes(weights, x.rows) {
        return BATCH.with_borrow_mut(|batch| {
            let mut rows = batch.multiply(weights, group, x);
            for row in 0..x.rows / planes {
                match (rows.next(), if planes == 1 { None } else { rows.next() }) {
                    (Some(lanes), None) => put(row, lanes),
                    (Some(lanes), Some(others)) => {
                        let sum: Lanes = std::array::from_fn(|lane| lanes[lane] + others[lane]);
                        put(row, &sum);
                    }
                    (None, _) => unreachable!("each row of codes has its lanes"),
                }
            }
        });
    }
    let mut put = |row: usize, tile: &mut [Lanes]| {
        for (n, lanes) in tile.chunks_exact_mut(planes).enumerate() {
            let (lanes, others) = lanes.split_first_mut().expect("a row has a plane");
            for other in others {
                lanes.iter_mut().zip(other).for_each(|(lane, other)| *lane += *other);
            }
            put(row / planes + n, lanes);
        }
    };
    let mut tile = [[0.0; GROUP]; TILE];
    for row in (0..x.rows).step_by(TILE) {
        let count = TILE.min(x.rows - row);
        multiply_tile(isa, weights, group, x, row, &mut tile[..count]);
        put(row, &mut tile[..count]);
    }
}

const _: () = assert!(TILE.is_multiple_of(2), "the planes of a row are in one tile");

/// Up to [`TILE`] rows of `x`, from `row`, times one group of weights.
fn multiply_tile(isa: Isa, weights: &Packed, group: usize, x: View<'_>, row: usize, tile: &mut [Lanes]) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx => super::avx512::multiply(weights, group, x, row, tile),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => super::avx2::multiply(weights, group, x, row, tile),
        // What is split is what the head's search reads, which NEON has no kernel for.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon | Isa::NeonI8mm if !weights.is_split() => {
            super::neon::multiply(isa == Isa::NeonI8mm, weights, group, x, row, tile);
        }
        _ => {
            let columns = group * x.columns..(group + 1) * x.columns;
            for (n, out) in tile.iter_mut().enumerate() {
                *out = match &weights.storage {
                    Storage::Quantized(quantized) => scalar::quantized(quantized, group, x, row + n),
                    Storage::F16(halves) => scalar::f16(&halves[columns.clone()], x, row + n),
                    Storage::Bf16(halves) => scalar::bf16(&halves[columns.clone()], x, row + n),
                    Storage::F32(lines) => scalar::f32(&lines[columns.clone()], x, row + n),
                };
            }
        }
    }
}
