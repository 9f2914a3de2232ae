//! How a client wants its answer sampled.

use alloc::string::String;
use alloc::vec::Vec;

/// What a `chat_message` may say about sampling; what it leaves out is the runtime's to choose. Values are within the
/// bounds that [`limits`](crate::limits) names.
///
/// ```
/// use causerie_core::Sampling;
///
/// let asked = Sampling::default();
/// assert_eq!(asked.temperature.unwrap_or(0.7), 0.7);
/// assert!(asked.stop.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Sampling {
    /// 0 is greedy; at most [`limits::TEMPERATURE`](crate::limits).
    pub temperature: Option<f32>,
    /// Only the k likeliest tokens; 0 for all.
    pub top_k: Option<u32>,
    /// Only the likeliest tokens that together have this probability.
    pub top_p: Option<f32>,
    /// Only tokens with at least this part of the likeliest one's probability.
    pub min_p: Option<f32>,
    /// Divides the logits of tokens seen lately; 1 changes nothing.
    pub repetition_penalty: Option<f32>,
    /// At most this many tokens.
    pub max_tokens: Option<u32>,
    /// The same seed, prompt and sampling give the same text.
    pub seed: Option<u64>,
    /// Text that ends the answer and is not part of it.
    pub stop: Vec<String>,
}
