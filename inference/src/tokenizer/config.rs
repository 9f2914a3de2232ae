//! What a tokenizer is made of.

use super::error::TokenizerError;
use crate::gguf::{Metadata, Texts};

/// What a tokenizer is made of: the `tokenizer.ggml.*` metadata of a GGUF file under their names there.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenizerConfig<'a> {
    /// `model`: `gpt2` is byte-level BPE, `llama` SentencePiece's BPE.
    pub model: &'a str,
    /// `pre`: the name of byte-level BPE's pre-tokenizer.
    pub pre: &'a str,
    /// `tokens`: every token's text, in GPT-2's alphabet of bytes, or with `▁` for a space.
    pub tokens: &'a Texts,
    /// `token_type`: every token's kind; without it all are normal.
    pub token_type: Option<&'a [i32]>,
    /// `scores`: of every token, the highest to be joined first; without them all are equal. For SentencePiece's BPE.
    pub scores: Option<&'a [f32]>,
    /// `merges`: pairs of tokens with a space between, the first to be joined first. For byte-level BPE.
    pub merges: &'a Texts,
    /// `add_bos_token`: whether a text begins with the beginning token; by default as the pre-tokenizer has it, and with
    /// SentencePiece always.
    pub add_bos_token: Option<bool>,
    /// `add_space_prefix`: whether text at the beginning, and after a special token, is read as if a space stood before
    /// it; SentencePiece alone does that, and by default.
    pub add_space_prefix: Option<bool>,
    /// Whether whitespace after a special token belongs to it: so with SentencePiece's vocabulary of Phi-3, whose files do
    /// not say it. The unknown token and those that begin and end texts are left as they are.
    pub strips_after_special: bool,
    /// `ignore_merges`: whether a piece that is a token is taken whole; by default as the pre-tokenizer has it.
    pub ignore_merges: Option<bool>,
    /// `bos_token_id`: begins a text.
    pub bos_token_id: Option<u32>,
    /// `eos_token_id`: ends a text or a turn.
    pub eos_token_id: Option<u32>,
    /// `eot_token_id`: ends a turn.
    pub eot_token_id: Option<u32>,
    /// `eom_token_id`: ends a message that calls a tool.
    pub eom_token_id: Option<u32>,
    /// `unknown_token_id`: stands for what a vocabulary without tokens for single bytes cannot write.
    pub unknown_token_id: Option<u32>,
}

impl<'a> TokenizerConfig<'a> {
    /// The keys of a file.
    ///
    /// # Errors
    /// When a key that is needed is missing or of another type.
    pub fn from_metadata(metadata: &'a Metadata) -> Result<Self, TokenizerError> {
        let missing = |key| TokenizerError::Missing { key };
        Ok(Self {
            model: metadata.str("tokenizer.ggml.model").ok_or(missing("tokenizer.ggml.model"))?,
            pre: metadata.str("tokenizer.ggml.pre").unwrap_or_default(),
            tokens: metadata.strs("tokenizer.ggml.tokens").ok_or(missing("tokenizer.ggml.tokens"))?,
            token_type: metadata.i32s("tokenizer.ggml.token_type"),
            scores: metadata.f32s("tokenizer.ggml.scores"),
            merges: metadata.strs("tokenizer.ggml.merges").unwrap_or_default(),
            add_bos_token: metadata.bool("tokenizer.ggml.add_bos_token"),
            add_space_prefix: metadata.bool("tokenizer.ggml.add_space_prefix"),
            strips_after_special: metadata.str("general.architecture") == Some("phi3")
                && metadata.str("tokenizer.ggml.model") == Some("llama"),
            ignore_merges: metadata.bool("tokenizer.ggml.ignore_merges"),
            bos_token_id: metadata.u32("tokenizer.ggml.bos_token_id"),
            eos_token_id: metadata.u32("tokenizer.ggml.eos_token_id"),
            eot_token_id: metadata.u32("tokenizer.ggml.eot_token_id"),
            eom_token_id: metadata.u32("tokenizer.ggml.eom_token_id"),
            unknown_token_id: metadata.u32("tokenizer.ggml.unknown_token_id"),
        })
    }

    /// Whether the ids are tokens, and those that are needed there.
    pub(super) fn check_ids(&self, vocabulary: usize) -> Result<(), TokenizerError> {
        for (key, id) in [
            ("tokenizer.ggml.bos_token_id", self.bos_token_id),
            ("tokenizer.ggml.eos_token_id", self.eos_token_id),
            ("tokenizer.ggml.eot_token_id", self.eot_token_id),
            ("tokenizer.ggml.eom_token_id", self.eom_token_id),
            ("tokenizer.ggml.unknown_token_id", self.unknown_token_id),
        ] {
            if let Some(got) = id.filter(|&id| id as usize >= vocabulary) {
                return Err(TokenizerError::TokenId { key, got, vocabulary });
            }
        }
        if self.add_bos_token == Some(true) && self.bos_token_id.is_none() {
            return Err(TokenizerError::Missing { key: "tokenizer.ggml.bos_token_id" });
        }
        Ok(())
    }
}
