//! Rotary positions (Su et al., 2021) and the ways to stretch them over longer contexts than a model was first trained for.

use super::config::CONTEXT;
use super::keys::Keys;
use crate::error::LoadError;

/// How positions turn the heads of some layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Pair `i` of `dims / 2` turns by `position × base^(−2i / dims)`, before scaling.
    pub base: f32,
    /// How the angles are stretched.
    pub scaling: RopeScaling,
    /// What turned numbers are multiplied with.
    pub magnitude: f32,
    /// Positions that the model was trained for before it was stretched.
    pub original_context: usize,
}

/// How angles are stretched. Divisors that a file has for each pair (Llama 3, `LongRoPE`) come on top.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All alike (Chen et al., 2023).
    Linear {
        /// Positions are divided by this.
        factor: f32,
    },
    /// Slow pairs as linear, fast ones not at all, those between in part (Peng et al., 2023: `YaRN`).
    Yarn {
        /// Positions of slow pairs are divided by this.
        factor: f32,
        /// Pairs that turn more often than this over the original context are fast.
        beta_fast: f32,
        /// Pairs that turn less often than this over the original context are slow.
        beta_slow: f32,
    },
}

/// What a position is multiplied with to give the angles of its pairs.
#[derive(Clone, Debug, PartialEq)]
pub struct Frequencies {
    /// Radians per position: `[rope_dims / 2]`.
    pub of_pairs: Vec<f64>,
    /// What cosines and sines are multiplied with.
    pub magnitude: f64,
}

impl Rope {
    /// A rope without stretching.
    pub(super) fn plain(base: f32, context: usize) -> Self {
        Self { base, scaling: RopeScaling::None, magnitude: 1.0, original_context: context }
    }

    /// Reads the keys below `rope.`; `context` is what the model was trained for in the end.
    pub(super) fn from_keys(keys: &Keys<'_>, context: usize) -> Result<Self, LoadError> {
        let original_context = keys.optional("rope.scaling.original_context_length", CONTEXT)?.unwrap_or(context);
        // Files of 2023 have the factor under another name.
        let linear = match keys.positive_unless_zero("rope.scaling.factor", None)? {
            None => keys.positive_unless_zero("rope.scale_linear", None)?,
            factor => factor,
        };
        let scaling = match keys.str("rope.scaling.type") {
            // A factor without a type is linear; `LongRoPE` is known by its divisors and has none.
            None => linear.map_or(RopeScaling::None, |factor| RopeScaling::Linear { factor }),
            Some("none" | "longrope") => RopeScaling::None,
            Some("linear") => RopeScaling::Linear { factor: keys.positive("rope.scaling.factor", linear)? },
            Some("yarn") => RopeScaling::Yarn {
                factor: keys.positive("rope.scaling.factor", None)?,
                beta_fast: keys.positive("rope.scaling.yarn_beta_fast", Some(32.0))?,
                beta_slow: keys.positive("rope.scaling.yarn_beta_slow", Some(1.0))?,
            },
            Some(other) => {
                let reason = format!("`{other}` is not supported; supported: none, linear, yarn, longrope");
                return Err(keys.bad("rope.scaling.type", reason));
            }
        };
        Ok(Self {
            base: keys.positive("rope.freq_base", Some(10_000.0))?,
            scaling,
            magnitude: keys.positive("rope.scaling.attn_factor", Some(1.0))?,
            original_context,
        })
    }

    /// The frequencies of `dims / 2` pairs, each divided by its divisor where there are any.
    pub(super) fn frequencies(&self, dims: usize, divisors: Option<&[f32]>) -> Frequencies {
        let base = f64::from(self.base);
        let of_pair = |i: usize| {
            let plain = base.powf(-2.0 * i as f64 / dims as f64) / divisors.map_or(1.0, |of| f64::from(of[i]));
            match self.scaling {
                RopeScaling::None => plain,
                RopeScaling::Linear { factor } => plain / f64::from(factor),
                RopeScaling::Yarn { factor, beta_fast, beta_slow } => {
                    let slow = self.slowness(dims, i, beta_fast, beta_slow);
                    plain / f64::from(factor) * slow + plain * (1.0 - slow)
                }
            }
        };
        let stretched = match self.scaling {
            RopeScaling::Yarn { factor, .. } if factor > 1.0 => 1.0 + 0.1 * f64::from(factor).ln(),
            _ => 1.0,
        };
        Frequencies { of_pairs: (0..dims / 2).map(of_pair).collect(), magnitude: f64::from(self.magnitude) * stretched }
    }

    /// How slow pair `i` is, from 0 to 1: a ramp between the pairs that turn `beta_fast` and `beta_slow` times over the
    /// original context.
    fn slowness(&self, dims: usize, i: usize, beta_fast: f32, beta_slow: f32) -> f64 {
        let pair_that_turns = |times: f32| {
            let turn = f64::from(times) * std::f64::consts::TAU;
            dims as f64 * (self.original_context as f64 / turn).ln() / (2.0 * f64::from(self.base).ln())
        };
        let first = pair_that_turns(beta_fast).floor().max(0.0);
        let last = pair_that_turns(beta_slow).ceil().min(dims as f64 - 1.0);
        ((i as f64 - first) / (last - first).max(0.001)).clamp(0.0, 1.0)
    }
}
