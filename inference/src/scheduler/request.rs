//! What is asked of a scheduler, and what it tells.

use std::fmt;
use std::time::Duration;

use crate::grammar::{Grammar, GrammarError, GrammarFault};
use crate::sampler::{SamplingOptions, TokenLogprob};
use crate::stop::StopError;

/// A sequence of a scheduler. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(pub(super) u64);

/// What is to be generated.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The tokens to go on from: at least one, and fewer than the context.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: SamplingOptions,
    /// What the answer must look like. The first request with a grammar waits until the model's tokens are sorted, and the first
    /// with each grammar until that is compiled: on a thread of its own, so that others do not wait. Who wants to do so ahead
    /// calls [`Grammars::compile`](crate::grammar::Grammars::compile).
    pub grammar: Option<Grammar>,
    /// Tokens to generate, at most; the context is a limit too.
    pub max_tokens: usize,
    /// Text that ends the answer and is not part of it.
    pub stop: Vec<String>,
    /// The conversation that this is a turn of. What was generated in it is found in the cache by its later turns, and by
    /// nobody else; without it, an answer is found by none.
    pub session: Option<u128>,
}

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// Too many are waiting; try again later.
    Full {
        /// How many may.
        limit: usize,
    },
    /// There is no token to go on from.
    EmptyPrompt,
    /// No token is wanted.
    NoTokens,
    /// The prompt leaves no room for an answer.
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens that prompt and answer may have together.
        context: usize,
    },
    /// A token that the model does not know.
    UnknownToken {
        /// Its place in the prompt.
        at: usize,
        /// Its id.
        token: u32,
        /// Tokens that the model knows.
        vocabulary: usize,
    },
    /// The stop strings are too many, too long or empty.
    Stop(StopError),
    /// A token in the logit bias that the model does not know.
    UnknownBias {
        /// Its id.
        token: u32,
        /// Tokens that the model knows.
        vocabulary: usize,
    },
    /// So many texts are not embedded at once.
    TooManyTexts {
        /// How many there are.
        texts: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The grammar is empty or too long. What else is wrong with one [`Event::Refused`] tells.
    Grammar(GrammarError),
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { limit } => write!(f, "{limit} requests are waiting already; try again later"),
            Self::EmptyPrompt => f.write_str("the prompt is empty; give at least one token"),
            Self::NoTokens => f.write_str("no tokens are wanted; ask for at least one"),
            Self::PromptTooLong { tokens, context } => {
                write!(f, "the prompt has {tokens} tokens, and with its answer it may have {context}; shorten it")
            }
            Self::UnknownToken { at, token, vocabulary } => {
                write!(
                    f,
                    "token {token} at place {at} of the prompt is unknown: ids of this model are below {vocabulary}"
                )
            }
            Self::Stop(error) => error.fmt(f),
            Self::UnknownBias { token, vocabulary } => {
                write!(f, "token {token} of the logit bias is unknown: ids of this model are below {vocabulary}")
            }
            Self::TooManyTexts { texts, limit } => {
                write!(f, "{texts} texts are to be embedded at once, and {limit} can be; send them in parts")
            }
            Self::Grammar(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SubmitError {}

/// What a sequence tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// A token of the answer, if the request asks for probabilities. Its text follows, but maybe only with later tokens:
    /// where a character is not complete, or where a stop string may have begun. What ends the model's turn is not told.
    Token {
        /// The token, and what the model thought of it.
        chosen: TokenLogprob,
        /// The likeliest tokens, the likeliest first; as many as were asked for.
        top: &'a [TokenLogprob],
    },
    /// More of the answer, in whole characters; never empty.
    Text(&'a str),
    /// The embedding of a text.
    Embedded {
        /// Which of the texts, counted from 0. They come in any order.
        text: usize,
        /// Its vector, of length 1 and of [as many numbers](crate::model::Config::width) as the model's.
        vector: &'a [f32],
    },
    /// The end: nothing more comes.
    Finished {
        /// Why.
        reason: FinishReason,
        /// Tokens that it took.
        usage: Usage,
        /// How fast it was.
        timings: Timings,
    },
    /// The end before the beginning: the grammar is not usable.
    Refused {
        /// What is wrong with it.
        error: &'a GrammarError,
    },
    /// The end, because something broke.
    Failed {
        /// What.
        fault: SequenceFault,
    },
}

/// Why a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended its turn, a stop string came, or the grammar is complete.
    Stop,
    /// `max_tokens`, or the context is full.
    Length,
    /// It was cancelled.
    Stopped,
}

/// What can break in a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceFault {
    /// The model gives no number for any token: its file is damaged.
    NotFinite,
    /// The grammar cannot be followed any further.
    Grammar(GrammarFault),
}

impl fmt::Display for SequenceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite => f.write_str("the model's numbers are not finite; its file is damaged, fetch it again"),
            Self::Grammar(fault) => fault.fmt(f),
        }
    }
}

/// Tokens that a sequence took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: usize,
    /// Of those, found in the cache and left there by the same session. What others left is used as well, and not told.
    pub cached_tokens: usize,
    /// Generated, the one that ended the turn included.
    pub completion_tokens: usize,
}

/// How fast a sequence was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// From the submission to the first token, waiting included; zero if there was none.
    pub first_token: Duration,
    /// From the first token to the last.
    pub generation: Duration,
    /// Tokens a second after the first; zero if there were none.
    pub tokens_per_second: f32,
}
