//! Text that must follow a grammar: a JSON schema, a regular expression, or a grammar in the Lark language.
//!
//! The parsing is the `llguidance` crate's (Earley's algorithm over a lexer of regular-expression derivatives); here are its
//! limits, the model's tokens in the form that it wants, the search for those that may come next, and the state of one
//! sequence. For each token of an answer a [`Matcher`] says which tokens may come next, the sampler draws among those,
//! and the matcher is told what was drawn.
//!
//! What holds of an answer: at every moment it is the beginning of a text of the language, and if it ended by itself (not by
//! a limit of tokens) it is one. Control tokens never stand in it. The model may end its turn only where the language
//! allows the text to end, and is ended where nothing may follow.
//!
//! A schema's objects are written on one line with a blank after each comma and colon, as models are used to; a schema
//! says otherwise by an [`x-guidance`](https://github.com/guidance-ai/llguidance/blob/main/docs/json_schema.md) object.
//! Free white space, llguidance's own default, lets small models write line ends for ever.

mod compile;
mod error;
mod mask;
mod matcher;
mod rehearsal;
mod schema;
mod shapes;
#[cfg(test)]
mod tests;
mod tree;
mod turn;
mod words;

pub use compile::{Compiled, Grammars, MAX_COMPILED};
pub use error::{GrammarError, GrammarFault};
pub use matcher::{Matcher, Next};

/// The most bytes of a grammar, which bounds the time and memory of compiling it: the worst found by trying take a second.
/// Those that a chat asks for have hundreds of bytes.
pub const MAX_GRAMMAR_BYTES: usize = 32 << 10;

/// What an answer must look like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Grammar {
    /// A JSON text that is valid under this JSON schema (draft 2020-12; what is not supported is refused by its name).
    JsonSchema(String),
    /// A text that this regular expression matches as a whole. The syntax is that of the `regex` crate.
    Regex(String),
    /// A text of the language of this grammar, in llguidance's dialect of
    /// [Lark](https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md).
    Lark(String),
    /// A text of the language of a Lark grammar in which JSON texts stand: `@schema0` in its rules is a JSON text that is
    /// valid under the first of the schemas, and so on.
    LarkWithSchemas {
        /// The grammar.
        rules: String,
        /// The schemas, in the order of their numbers.
        schemas: Vec<String>,
    },
}

impl Grammar {
    /// Its length.
    fn bytes(&self) -> usize {
        match self {
            Self::JsonSchema(text) | Self::Regex(text) | Self::Lark(text) => text.len(),
            Self::LarkWithSchemas { rules, schemas } => rules.len() + schemas.iter().map(String::len).sum::<usize>(),
        }
    }
}
