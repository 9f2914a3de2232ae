//! Everything that is computed with vectors, and the only place where an instruction set is chosen.
//!
//! An operation is a method of [`Isa`] or a function here; below it stands one body for each instruction set, of which
//! `scalar` is the reference. All kernels work on groups of 16 rows ([`crate::pack`]), sum each row's products in the
//! order of its columns, and give a row of activations the same result whatever other rows are beside it.
//!
//! `unsafe` is confined to this module. It is used for three things: calling functions compiled for an instruction set
//! that was found at run time, loads and stores of vectors, and handing disjoint parts of one array to several threads.
//! The first is sound because whatever takes an [`Isa`] to compute with is private to the crate, and the crate has its
//! values from [`Isa::choose`] (a model's, once it is loaded) and [`Isa::available`] (tests) alone, never from a variant's
//! name other than `Scalar`.

mod activations;
#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod element;
#[cfg(target_arch = "x86_64")]
mod matrix;
mod memory;
#[cfg(feature = "bench")]
mod peak;
mod scalar;
mod team;

pub(crate) use activations::{ALONE, Activations, Form};
pub(crate) use attention::{Heads, STRETCH, Stretch, attend, key_pairs, stored_dimensions, value_pairs};
pub use attention::{PAGE, Pairs, Span};
pub(crate) use memory::{Arena, Plain, Slab};
#[cfg(feature = "bench")]
pub use peak::{Peak, peaks};
pub use team::{Crew, MAX_THREADS, Team};

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use crate::error::LoadError;
use crate::pack::{BLOCK, GROUP, Packed, Storage};
use activations::{CodesMut, TILE_COLUMNS, View};
use team::Shared;

/// Results of one row of activations and one group of weights.
type Lanes = [f32; GROUP];

/// Rows of activations that are multiplied with weights while these are in registers.
const TILE: usize = 8;

/// An instruction set that kernels exist for.
///
/// Any of them can be named, on any processor; only [`Model::load`](crate::Model::load) takes one, and refuses what the
/// processor lacks. What runs on it is out of reach:
///
/// ```compile_fail,E0624
/// causerie_inference::Isa::Avx512.add(&mut [1.0], &[1.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Plain Rust: the reference, and the fallback.
    Scalar,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL, DQ and VNNI.
    Avx512,
    /// The same with AVX-512 BF16, and AMX for bf16 and bytes, where the system gives its registers to processes.
    Amx,
}

impl Isa {
    /// All of them, the slowest first.
    pub const ALL: [Isa; 4] = [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Amx];

    /// The name, as in `CAUSERIE_ISA`.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Amx => "amx",
        }
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Isa::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => Isa::Avx512.is_available() && amx::permitted(),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 | Isa::Amx => false,
        }
    }

    /// Whether it multiplies tiles ([`Form::Tiles`]).
    pub(crate) const fn has_tiles(self) -> bool {
        matches!(self, Isa::Amx)
    }

    /// Those that this processor has, the slowest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        Self::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// The one to use: `wanted`, or what the environment variable `CAUSERIE_ISA` names, or the fastest.
    ///
    /// # Errors
    /// [`LoadError::Isa`] if the one that is asked for does not exist or this processor lacks it.
    pub fn choose(wanted: Option<Isa>) -> Result<Isa, LoadError> {
        let refuse = |seen: &str| {
            let available = Self::available().map(Self::name).collect::<Vec<_>>().join(", ");
            LoadError::Isa { seen: seen.to_owned(), available }
        };
        let wanted = match (wanted, std::env::var_os("CAUSERIE_ISA")) {
            (Some(isa), _) => Some(isa),
            (None, None) => None,
            (None, Some(name)) => {
                let name = name.to_string_lossy();
                Some(Self::ALL.into_iter().find(|isa| isa.name() == name).ok_or_else(|| refuse(&name))?)
            }
        };
        match wanted {
            Some(isa) if isa.is_available() => Ok(isa),
            Some(isa) => Err(refuse(isa.name())),
            None => Ok(Self::available().last().expect("the scalar kernels are always available")),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Calls a function of the module that `element` has for each instruction set.
macro_rules! element {
    ($isa:expr, $function:ident($($argument:expr),*)) => {
        match $isa {
            Isa::Scalar => element::portable::$function($($argument),*),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the crate computes with `Isa::Avx2` only after `Isa::choose` or `Isa::available` found its features.
            Isa::Avx2 => unsafe { element::avx2::$function($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as for AVX2.
            Isa::Avx512 | Isa::Amx => unsafe { element::avx512::$function($($argument),*) },
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 | Isa::Amx => element::portable::$function($($argument),*),
        }
    };
}

impl Isa {
    /// Root mean square normalization (Zhang and Sennrich, 2019): `out = weight × x / √(mean x² + epsilon)`.
    ///
    /// # Panics
    /// If the three are not of one length.
    pub(crate) fn rms_norm(self, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        assert!(x.len() == weight.len() && x.len() == out.len(), "{} {} {}", x.len(), weight.len(), out.len());
        element!(self, rms_norm(x, weight, epsilon, out));
    }

    /// As [`Isa::rms_norm`], added to what is there: `out += weight × x / √(mean x² + epsilon)`.
    ///
    /// # Panics
    /// If the three are not of one length.
    pub(crate) fn add_rms_norm(self, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        assert!(x.len() == weight.len() && x.len() == out.len(), "{} {} {}", x.len(), weight.len(), out.len());
        element!(self, add_rms_norm(x, weight, epsilon, out));
    }

    /// As [`Isa::rms_norm`], in place.
    ///
    /// # Panics
    /// If the two are not of one length.
    pub(crate) fn rms_norm_in_place(self, x: &mut [f32], weight: &[f32], epsilon: f32) {
        assert_eq!(x.len(), weight.len());
        element!(self, rms_norm_in_place(x, weight, epsilon));
    }

    /// SwiGLU (Shazeer, 2020): `out = gate × sigmoid(gate) × up`.
    ///
    /// # Panics
    /// If the three are not of one length.
    pub(crate) fn swiglu(self, gate: &[f32], up: &[f32], out: &mut [f32]) {
        assert!(gate.len() == up.len() && gate.len() == out.len(), "{} {} {}", gate.len(), up.len(), out.len());
        element!(self, swiglu(gate, up, out));
    }

    /// GeGLU (Shazeer, 2020): `out = gelu(gate) × up`, with GELU by the hyperbolic tangent.
    ///
    /// # Panics
    /// If the three are not of one length.
    pub(crate) fn geglu(self, gate: &[f32], up: &[f32], out: &mut [f32]) {
        assert!(gate.len() == up.len() && gate.len() == out.len(), "{} {} {}", gate.len(), up.len(), out.len());
        element!(self, geglu(gate, up, out));
    }

    /// Soft-capping (Riviere et al., 2024): `x = cap × tanh(x / cap)`.
    pub(crate) fn cap(self, x: &mut [f32], cap: f32) {
        element!(self, cap(x, cap));
    }

    /// `out = activation(gate) × up`.
    ///
    /// # Panics
    /// If the three are not of one length.
    fn gate(self, activation: Activation, gate: &[f32], up: &[f32], out: &mut [f32]) {
        match activation {
            Activation::Silu => self.swiglu(gate, up, out),
            Activation::GeluTanh => self.geglu(gate, up, out),
        }
    }

    /// `x += y`.
    ///
    /// # Panics
    /// If the two are not of one length.
    pub(crate) fn add(self, x: &mut [f32], y: &[f32]) {
        assert_eq!(x.len(), y.len());
        element!(self, add(x, y));
    }

    /// Rotary positions (Su et al., 2021) on neighbouring pairs: turns each `(x[2i], x[2i + 1])` of a head by the angle
    /// whose cosine and sine are `turns[i]`. Numbers beyond the last turn stay as they are.
    pub(crate) fn rope(self, head: &mut [f32], turns: &[[f32; 2]]) {
        element!(self, rope(head, turns));
    }

    /// Rotary positions on pairs half of the turned numbers apart: turns each `(x[i], x[i + turns.len()])` of a head as
    /// [`Isa::rope`] does.
    ///
    /// # Panics
    /// If the head has fewer numbers than two for each turn.
    pub(crate) fn rope_halves(self, head: &mut [f32], turns: &[[f32; 2]]) {
        assert!(2 * turns.len() <= head.len(), "{} pairs of {} numbers", turns.len(), head.len());
        element!(self, rope_halves(head, turns));
    }

    fn quantize(self, values: &[f32], out: &mut CodesMut<'_>) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => avx512::quantize(values, out),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::quantize(values, out),
            _ => element::quantize(values, out),
        }
    }

    /// Codes of what other codes leave of a row.
    fn quantize_rest(self, values: &[f32], codes: &CodesMut<'_>, out: &mut CodesMut<'_>) {
        /// Blocks at a time.
        const PART: usize = 16;
        let mut rest = [0.0; PART * BLOCK];
        for (part, values) in values.chunks(PART * BLOCK).enumerate() {
            let (first, blocks) = (part * PART, values.len() / BLOCK);
            let rest = &mut rest[..values.len()];
            for (at, (rest, values)) in (first..).zip(rest.chunks_exact_mut(BLOCK).zip(values.chunks_exact(BLOCK))) {
                let (codes, scale) = (&codes.codes[at * BLOCK..][..BLOCK], codes.scales[at]);
                for ((rest, x), &code) in rest.iter_mut().zip(values).zip(codes) {
                    *rest = x - scale * f32::from(code);
                }
            }
            let mut out = CodesMut {
                codes: &mut out.codes[first * BLOCK..][..blocks * BLOCK],
                scales: &mut out.scales[first..][..blocks],
                sums: &mut out.sums[2 * first..][..2 * blocks],
                scaled_sums: &mut out.scaled_sums[first..][..blocks],
            };
            self.quantize(rest, &mut out);
        }
    }

    /// A line of a tile: up to 32 numbers, filled up with zeros.
    fn round(self, values: &[f32], line: &mut [u16; TILE_COLUMNS]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => amx::round_row(values, line),
            _ => unreachable!("{self} has no tiles"),
        }
    }
}

/// What is done to a gate before it is multiplied with its partner (Shazeer, 2020).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x × sigmoid(x)`.
    Silu,
    /// GELU in its approximation by the hyperbolic tangent (Hendrycks and Gimpel, 2016).
    GeluTanh,
}

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
    let (view, rows) = (x.view(), x.rows());
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
    debug_assert!(rows == view.rows);
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
    let (weights, out, view) = (product.weights, Shared(product.out.as_mut_ptr()), x.view());
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
}

/// Computes it for all rows of `x`, in the form that `x` has.
///
/// # Panics
/// If the matrices are not of one shape with the columns of `x`, or biases and columns of `out` are not as many as they have
/// rows.
pub(crate) fn gated(crew: &Crew, isa: Isa, x: &Activations, part: Gated<'_>, out: &mut Activations) {
    /// Groups of 16 outputs whose results make a block of codes.
    const GROUPS: usize = BLOCK / GROUP;
    let Gated { activation, weights: [gate, up], biases } = part;
    assert!(x.form() != Form::FineCodes, "a gated part takes codes or tiles");
    assert!(gate.columns == x.columns() && up.columns == x.columns(), "a matrix takes rows of its own length");
    assert!(gate.rows == out.columns() && up.rows == out.columns(), "an output holds its product");
    assert!(part.biases.iter().flatten().all(|bias| bias.len() == gate.rows), "a bias is added to each output");
    out.start(x.form(), x.rows());
    #[cfg(target_arch = "x86_64")]
    if x.form() == Form::Tiles {
        return matrix::gated(crew, x, part, out);
    }
    let (view, rows) = (x.view(), x.rows());
    let writer = out.writer(isa);
    spans(crew, gate.groups(), GROUPS, &|groups| {
        GATED.with_borrow_mut(|products| {
            products.resize(2 * GROUPS * rows, [0.0; GROUP]);
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
}

thread_local! {
    /// Products of gate and up for two groups of outputs, `[half][group][row]`; kept for its memory.
    static GATED: RefCell<Vec<Lanes>> = const { RefCell::new(Vec::new()) };
}

/// Cuts `groups` into spans of whole `unit`s and gives them to the threads.
fn spans(crew: &Crew, groups: usize, unit: usize, task: &(dyn Fn(Range<usize>) + Sync)) {
    let span = groups.div_ceil(crew.threads() * TASKS_PER_THREAD).next_multiple_of(unit).max(1);
    crew.run(groups.div_ceil(span), &|index| task(index * span..groups.min((index + 1) * span)));
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
fn multiply_group(isa: Isa, weights: &Packed, group: usize, x: View<'_>, mut put: impl FnMut(usize, &Lanes)) {
    // Dense weights meet the numbers themselves, which are in one plane.
    let planes = if let Storage::Quantized(_) = weights.storage { x.planes } else { 1 };
    let x = View { rows: planes * x.rows, ..x };
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
        Isa::Avx512 | Isa::Amx => avx512::multiply(weights, group, x, row, tile),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::multiply(weights, group, x, row, tile),
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

#[cfg(test)]
pub(crate) mod tests;
