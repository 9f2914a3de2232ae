//! What can be wrong with a grammar, before and after generation has begun.

use std::fmt;

use super::MAX_GRAMMAR_BYTES;

/// The most bytes of llguidance's words that are passed on: it may quote the grammar.
const MAX_REASON_BYTES: usize = 400;

/// Why a grammar was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrammarError {
    /// There is nothing in it.
    Empty,
    /// It is longer than [`MAX_GRAMMAR_BYTES`].
    TooLong {
        /// Its length in bytes.
        got: usize,
    },
    /// It is not valid, not supported, or too complex.
    Invalid {
        /// What llguidance says.
        reason: String,
    },
    /// No text that the model's tokens can write satisfies it.
    Impossible,
    /// The model's tokens are together too long for a tree of them.
    Vocabulary {
        /// Bytes that they have.
        got: usize,
        /// Bytes that they may have.
        limit: usize,
    },
}

impl GrammarError {
    /// The first lines of what llguidance says: behind them it may quote its state, the whole grammar or a backtrace.
    pub(super) fn invalid(reason: &str) -> Self {
        let reason = reason.split("\n<").next().unwrap_or_default().trim();
        let end = reason.floor_char_boundary(MAX_REASON_BYTES);
        Self::Invalid { reason: reason[..end].to_owned() }
    }
}

impl fmt::Display for GrammarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the grammar is empty; leave it out, or say what the answer must look like"),
            Self::TooLong { got } => {
                write!(f, "the grammar has {got} bytes, at most {MAX_GRAMMAR_BYTES} are allowed; shorten it")
            }
            Self::Invalid { reason } => write!(f, "the grammar is not usable: {reason}"),
            Self::Impossible => f.write_str("no text of this model's tokens satisfies the grammar"),
            Self::Vocabulary { got, limit } => {
                write!(f, "the model's tokens have {got} bytes together, with grammars they may have {limit}")
            }
        }
    }
}

impl std::error::Error for GrammarError {}

/// What can go wrong with a grammar while a text is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrammarFault {
    /// The text has come to a place where no token of the model may follow and the text may not end.
    DeadEnd,
    /// What may come next takes more work or memory to find than the limits allow.
    TooComplex,
    /// llguidance contradicts itself.
    Broken,
}

impl fmt::Display for GrammarFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeadEnd => "the grammar leads to a place where none of the model's tokens may follow; change it",
            Self::TooComplex => "the grammar is too complex to follow any further; simplify it",
            Self::Broken => "the grammar could not be followed; this is a fault of the engine",
        })
    }
}

impl std::error::Error for GrammarFault {}
