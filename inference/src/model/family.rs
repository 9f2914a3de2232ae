//! What sets one family of models apart from another, in one place.
//!
//! All of them are dense transformers with RMS norms before each part, rotary positions, grouped queries and a gated
//! feed-forward part; the facts here are those that their files leave unsaid.

pub use crate::kernel::Activation;

/// A family of models, by the name in `general.architecture`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama and its many likes, Mistral and SmolLM2 among them (Touvron et al., 2023).
    Llama,
    /// Qwen2 and Qwen2.5 (Yang et al., 2024): biases on queries, keys and values.
    Qwen2,
    /// Qwen3 (Yang et al., 2025): the heads of queries and keys are normed.
    Qwen3,
    /// Gemma 2 (Riviere et al., 2024): norms after each part too, every other layer local, scores and logits soft-capped.
    Gemma2,
    /// Gemma 3 (Kamath et al., 2025): as Gemma 2 with five local layers to a global one, the heads of queries and keys
    /// normed, and no caps.
    Gemma3,
    /// Phi-3 and Phi-4 (Abdin et al., 2024): queries, keys and values in one matrix, gate and up in another.
    Phi3,
    /// SmolLM3 (Bakouch et al., 2025): as Llama, with every fourth layer blind to positions.
    SmolLm3,
}

/// Which numbers of a head a rotary angle turns together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopePairs {
    /// `(x[2i], x[2i + 1])`: the order into which Llama's converters bring queries and keys.
    Neighbours,
    /// `(x[i], x[i + dims / 2])`, as GPT-NeoX has it (Black et al., 2022).
    Halves,
}

/// Which layers look back only so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LocalLayers {
    /// Every one.
    All,
    /// All but each `n`-th, counted from 1.
    AllButEach(usize),
}

impl Architecture {
    /// All of them.
    pub const ALL: [Architecture; 7] =
        [Self::Llama, Self::Qwen2, Self::Qwen3, Self::Gemma2, Self::Gemma3, Self::Phi3, Self::SmolLm3];

    /// The name, as in `general.architecture`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3",
            Self::Phi3 => "phi3",
            Self::SmolLm3 => "smollm3",
        }
    }

    /// The family of a `general.architecture`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// The names of all, for messages.
    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Which numbers of a head are turned together.
    pub const fn rope_pairs(self) -> RopePairs {
        match self {
            Self::Llama | Self::SmolLm3 => RopePairs::Neighbours,
            Self::Qwen2 | Self::Qwen3 | Self::Gemma2 | Self::Gemma3 | Self::Phi3 => RopePairs::Halves,
        }
    }

    /// What the gate goes through.
    pub const fn activation(self) -> Activation {
        if self.is_gemma() { Activation::GeluTanh } else { Activation::Silu }
    }

    /// Whether each head of queries and keys is normed before it is turned.
    pub const fn norms_heads(self) -> bool {
        matches!(self, Self::Qwen3 | Self::Gemma3)
    }

    /// Whether what a part gives is normed before it is added to the residual stream.
    pub const fn norms_after(self) -> bool {
        self.is_gemma()
    }

    /// What embeddings are multiplied with.
    pub(super) fn embedding_scale(self, width: usize) -> f32 {
        if self.is_gemma() { (width as f32).sqrt() } else { 1.0 }
    }

    /// Whether the matrices of queries, keys and values are one in the file, and those of gate and up.
    pub(super) const fn fuses(self) -> bool {
        matches!(self, Self::Phi3)
    }

    /// Each `n`-th layer, counted from 1, is blind to positions.
    pub(super) const fn blind_each(self) -> Option<usize> {
        match self {
            Self::SmolLm3 => Some(4),
            _ => None,
        }
    }

    /// How far local layers look back if the file does not say.
    pub(super) const fn default_window(self) -> Option<usize> {
        match self {
            Self::Gemma2 => Some(4_096),
            _ => None,
        }
    }

    /// Which layers a file's window is meant for.
    pub(super) const fn local_layers(self) -> LocalLayers {
        match self {
            Self::Gemma2 => LocalLayers::AllButEach(2),
            Self::Gemma3 => LocalLayers::AllButEach(6),
            _ => LocalLayers::All,
        }
    }

    /// The rotary base of local layers, where it is not that of the others.
    pub(super) const fn local_rope_base(self) -> Option<f32> {
        match self {
            Self::Gemma3 => Some(10_000.0),
            _ => None,
        }
    }

    /// The largest of its family takes the width of a head for its attention scale from the model's, whatever its heads
    /// have: told by its number of layers, as files do not say.
    pub(super) const fn scales_by_width(self, layers: usize) -> bool {
        match self {
            Self::Gemma2 => layers == 46,
            Self::Gemma3 => layers == 62,
            _ => false,
        }
    }

    /// The caps of scores and of logits if the file does not say: a score `s` becomes `cap × tanh(s / cap)`.
    pub(super) const fn default_caps(self) -> (Option<f32>, Option<f32>) {
        match self {
            Self::Gemma2 => (Some(50.0), Some(30.0)),
            _ => (None, None),
        }
    }

    const fn is_gemma(self) -> bool {
        matches!(self, Self::Gemma2 | Self::Gemma3)
    }
}
