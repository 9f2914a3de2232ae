//! Everything that is computed with vectors, and the only place where an instruction set is chosen.
//!
//! An operation is a method of [`Isa`] or a function here; below it stands one body for each instruction set, of which
//! `scalar` is the reference. All kernels work on groups of 16 rows ([`crate::pack`]), sum each row's products in the
//! order of its columns, and give a row of activations the same result whatever other rows are beside it.
//!
//! `unsafe` is confined to this module. It is used for four things: calling functions compiled for an instruction set
//! that was found at run time, loads and stores of vectors, handing disjoint parts of one array to several threads, and
//! memory that comes from the system.
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
mod beside;
mod element;
mod head;
mod large;
#[cfg(target_arch = "x86_64")]
mod matrix;
mod memory;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(feature = "bench")]
mod peak;
mod product;
mod scalar;
mod team;

pub(crate) use activations::{ALONE, Activations, Form};
pub(crate) use attention::{Attention, BF16, CODES, Heads, STRETCH, Shares, Stretch, ask_to_write, codes, lines_of};
pub use attention::{KvType, PAGE, PageView, Pairs, Span};
pub(crate) use beside::Beside;
pub(crate) use head::{Lowered, Search, Wanted, search};
pub(crate) use large::Settling;
pub(crate) use memory::{Arena, Plain, Slab};
#[cfg(feature = "bench")]
pub use peak::{Peak, peaks};
pub(crate) use product::{Gated, Product, gated, linear, linear_add};
pub use team::{Crew, MAX_THREADS, Team};

use std::fmt;

use crate::error::LoadError;
use crate::pack::BLOCK;
use activations::CodesMut;
use product::Lanes;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use product::TILE;

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
    /// AArch64 with NEON's dot products of bytes (`dotprod`).
    Neon,
    /// The same with matrix products of bytes (`i8mm`).
    NeonI8mm,
}

impl Isa {
    /// All of them; of those that one processor can have, the slowest first.
    pub const ALL: [Isa; 6] = [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Amx, Isa::Neon, Isa::NeonI8mm];

    /// The name, as in `CAUSERIE_ISA`.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Amx => "amx",
            Isa::Neon => "neon",
            Isa::NeonI8mm => "neon-i8mm",
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
            // The kernels take the bytes of a register to be in the order that they have in memory.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => cfg!(target_endian = "little") && std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonI8mm => Isa::Neon.is_available() && std::arch::is_aarch64_feature_detected!("i8mm"),
            #[cfg(not(target_arch = "aarch64"))]
            Isa::Neon | Isa::NeonI8mm => false,
        }
    }

    /// Whether it multiplies tiles ([`Form::Tiles`]).
    pub(crate) const fn has_tiles(self) -> bool {
        matches!(self, Isa::Amx)
    }

    /// Whether [`search`] has kernels for it that bound products.
    pub(crate) const fn searches(self) -> bool {
        matches!(self, Isa::Avx2 | Isa::Avx512 | Isa::Amx)
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
            // NEON is what compilers always use for AArch64.
            Isa::Scalar | Isa::Neon | Isa::NeonI8mm => element::portable::$function($($argument),*),
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

    /// `x *= factor`.
    pub(crate) fn scale(self, x: &mut [f32], factor: f32) {
        element!(self, scale(x, factor));
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

    /// Mixes the numbers of a head so that none stands out, which leaves products of heads that are both mixed as they are: the
    /// Walsh-Hadamard transform, as "QuaRot" (Ashkboos et al., 2024) has it.
    pub(crate) fn rotate(self, head: &mut [f32]) {
        element!(self, rotate(head));
    }

    fn quantize(self, values: &[f32], out: &mut CodesMut<'_>) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => avx512::quantize(values, out),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::quantize(values, out),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::NeonI8mm => neon::quantize(values, out),
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

    /// A row as one line each of tiles that follow each other, of which the first line is at `to`: filled up with zeros.
    ///
    /// # Safety
    /// There are tiles for all numbers, and nobody else uses these lines of them.
    unsafe fn round(self, values: &[f32], to: *mut u16) {
        #[cfg(target_arch = "x86_64")]
        if self == Isa::Amx {
            // SAFETY: the processor has what `Isa::Amx` asks for; the rest is passed on to the caller.
            return unsafe { amx::round_lines(values, to) };
        }
        unreachable!("{self} has no tiles to round {} numbers for, at {to:?}", values.len())
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

#[cfg(test)]
pub(crate) mod tests;
