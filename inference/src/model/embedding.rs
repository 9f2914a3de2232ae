//! What a file says about embeddings: one vector for a whole text.

use crate::gguf::Metadata;

/// How the vectors of a text's tokens become the text's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean: what serves best where a model was not trained for embeddings.
    #[default]
    Mean,
    /// The last token's, which alone has seen all of the text: what Qwen3's embeddings and other models made of chat models
    /// are trained for.
    Last,
}

impl Pooling {
    /// `ARCHITECTURE.pooling_type`, as llama.cpp numbers it: 3 is the last token's. The others are for models that look ahead, which
    /// these families do not; files of theirs that say nothing else get the mean.
    pub(super) fn from_metadata(metadata: &Metadata, architecture: &str) -> Self {
        match metadata.u64(&format!("{architecture}.pooling_type")) {
            Some(3) => Self::Last,
            _ => Self::Mean,
        }
    }
}

/// How texts are embedded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Embedding {
    /// How the vectors of a text's tokens become the text's.
    pub pooling: Pooling,
    /// The token that the model was trained to see behind a text (`tokenizer.ggml.add_eos_token`).
    pub end: Option<u32>,
}

impl Embedding {
    /// The keys of a file, whose end-of-text token is `end`.
    pub(super) fn from_metadata(metadata: &Metadata, architecture: &str, end: Option<u32>) -> Self {
        let adds_end = metadata.bool("tokenizer.ggml.add_eos_token") == Some(true);
        Self { pooling: Pooling::from_metadata(metadata, architecture), end: end.filter(|_| adds_end) }
    }
}
