//! Why a vocabulary was refused.

use super::split::PreTokenizer;
use crate::error::LoadError;
use std::fmt;

/// Why no tokenizer can be made of a file's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenizerError {
    /// A key is absent or has another type.
    Missing {
        /// The key.
        key: &'static str,
    },
    /// `tokenizer.ggml.model` names a kind of tokenizer that is not supported.
    Kind {
        /// What it names.
        seen: String,
    },
    /// `tokenizer.ggml.pre` names a pre-tokenizer that is not supported.
    PreTokenizer {
        /// What it names.
        seen: String,
    },
    /// A count or a length is over its limit.
    TooMany {
        /// What is counted, with its unit.
        what: &'static str,
        /// The limit.
        limit: usize,
        /// What the file has.
        got: usize,
    },
    /// Two arrays that go together have different lengths.
    Lengths {
        /// The length of `tokenizer.ggml.tokens`.
        tokens: usize,
        /// The other array.
        array: &'static str,
        /// Its length.
        got: usize,
    },
    /// A token type that the format does not know.
    TokenType {
        /// The token.
        id: usize,
        /// The type: 1 to 6 are known.
        got: i32,
    },
    /// A byte token whose text is not `<0xHH>`.
    ByteToken {
        /// The token.
        id: usize,
        /// Its text.
        text: String,
    },
    /// Two tokens with one text.
    Duplicate {
        /// The first token.
        first: u32,
        /// The second token.
        second: usize,
        /// Their text.
        text: String,
    },
    /// A merge that is not two tokens with a space between.
    MergeForm {
        /// Its place in `tokenizer.ggml.merges`.
        index: usize,
        /// Its text.
        text: String,
    },
    /// A merge of, or into, a token that the vocabulary does not have.
    MergeUnknown {
        /// Its place in `tokenizer.ggml.merges`.
        index: usize,
        /// The token's text.
        token: String,
    },
    /// A token id that is not in the vocabulary.
    TokenId {
        /// The key that names it.
        key: &'static str,
        /// The id.
        got: u32,
        /// How many tokens there are.
        vocabulary: usize,
    },
}

impl fmt::Display for TokenizerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { key } => {
                write!(f, "metadata key `{key}` is missing or of another type; convert the model with a current tool")
            }
            Self::Kind { seen } => {
                let known_as = match seen.as_str() {
                    "t5" => " (Unigram)",
                    "bert" => " (WordPiece)",
                    "rwkv" => " (RWKV's trie)",
                    _ => "",
                };
                write!(
                    f,
                    "tokenizer.ggml.model is `{seen}`{known_as}, supported are `gpt2` (byte-level BPE) and `llama` \
                     (SentencePiece's BPE); take a model with such a vocabulary"
                )
            }
            Self::PreTokenizer { seen } => write!(
                f,
                "tokenizer.ggml.pre is `{seen}`, supported are {} and their aliases; take a model with one of these",
                PreTokenizer::NAMES
            ),
            Self::TooMany { what, limit, got } => write!(f, "{what} is {got}, the limit is {limit}"),
            Self::Lengths { tokens, array, got } => {
                write!(f, "tokenizer.ggml.tokens has {tokens} entries and {array} {got}; the file is damaged")
            }
            Self::TokenType { id, got } => write!(f, "token {id} has the type {got}, known are 1 to 6"),
            Self::ByteToken { id, text } => {
                write!(f, "token {id} is a byte token, and its text `{text}` is not `<0xHH>`")
            }
            Self::Duplicate { first, second, text } => {
                write!(f, "tokens {first} and {second} have the same text `{text}`; the file is damaged")
            }
            Self::MergeForm { index, text } => {
                write!(
                    f,
                    "merge {index} is `{text}`, which is not two tokens with a space between; the file is damaged"
                )
            }
            Self::MergeUnknown { index, token } => {
                write!(f, "merge {index} names `{token}`, which is no token of the vocabulary; the file is damaged")
            }
            Self::TokenId { key, got, vocabulary } => {
                write!(f, "{key} is {got}, and the vocabulary has {vocabulary} tokens; the file is damaged")
            }
        }
    }
}

impl std::error::Error for TokenizerError {}

impl From<TokenizerError> for LoadError {
    fn from(error: TokenizerError) -> Self {
        Self::Vocabulary { reason: error.to_string() }
    }
}
