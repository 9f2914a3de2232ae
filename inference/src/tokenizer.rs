//! Text to token ids and back, from a GGUF file's `tokenizer.ggml.*` metadata.
//!
//! Text is cut at special tokens. What is between them becomes tokens by byte-level BPE, as GPT-2 introduced it (Radford
//! et al., 2019) — cut into pieces by the file's [`PreTokenizer`], whose bytes are joined pair by pair in the order of the
//! file's merges — or by SentencePiece's BPE (Kudo and Richardson, 2018), whose characters are joined by the tokens'
//! scores. The ids are those of llama.cpp, to the letter.

mod byte_level;
mod bytes;
mod config;
mod error;
mod index;
mod merge;
mod sentencepiece;
mod special;
mod split;
#[cfg(test)]
mod tests;
mod vocabulary;

use byte_level::ByteLevel;
pub use byte_level::MAX_MERGES;
pub use config::TokenizerConfig;
pub use error::TokenizerError;
use merge::Merger;
use sentencepiece::SentencePiece;
pub use special::MAX_SPECIAL_TOKENS;
pub(crate) use special::Part;
use special::SpecialTokens;
pub use split::PreTokenizer;
use vocabulary::{Alphabet, Vocabulary};
pub use vocabulary::{MAX_TOKEN_BYTES, MAX_VOCABULARY, TokenKind};

use crate::gguf::Metadata;

/// Whether control tokens are recognized in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// Control tokens written in the text become those tokens: for prompts that a program wrote.
    Parse,
    /// They are text like any other: for what people write. (User-defined tokens, which are text, are still whole.)
    Plain,
}

/// How text between special tokens becomes tokens.
#[derive(Debug, Clone)]
enum Encoding {
    ByteLevel(ByteLevel),
    SentencePiece(SentencePiece),
}

/// A vocabulary that encodes and decodes. It never changes, and can be shared between threads.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    encoding: Encoding,
    parsed: SpecialTokens,
    plain: SpecialTokens,
    control: SpecialTokens,
    begin: Option<u32>,
    adds_begin: bool,
    end: Option<u32>,
    /// Sorted.
    ends: Vec<u32>,
}

impl Tokenizer {
    /// The tokenizer of a model file.
    ///
    /// # Errors
    /// As [`Tokenizer::new`], and when a key that is needed is missing.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, TokenizerError> {
        Self::new(&TokenizerConfig::from_metadata(metadata)?)
    }

    /// Builds the tables.
    ///
    /// # Errors
    /// When the kind of tokenizer is not supported, when the parts contradict each other, or when a limit is passed:
    /// [`MAX_VOCABULARY`], [`MAX_TOKEN_BYTES`], [`MAX_MERGES`], [`MAX_SPECIAL_TOKENS`].
    pub fn new(config: &TokenizerConfig<'_>) -> Result<Self, TokenizerError> {
        let pre = match (config.model, config.pre) {
            ("llama", _) => None,
            ("gpt2", "") => return Err(TokenizerError::Missing { key: "tokenizer.ggml.pre" }),
            ("gpt2", name) => Some(
                PreTokenizer::from_name(name)
                    .ok_or_else(|| TokenizerError::PreTokenizer { seen: config.pre.to_string() })?,
            ),
            (other, _) => return Err(TokenizerError::Kind { seen: other.to_string() }),
        };
        let alphabet = if pre.is_some() { Alphabet::Bytes } else { Alphabet::Spaces };
        let vocabulary = Vocabulary::new(config.tokens, config.token_type, alphabet)?;
        config.check_ids(vocabulary.len())?;
        let encoding = match pre {
            Some(pre) => Encoding::ByteLevel(ByteLevel::new(config, pre, &vocabulary)?),
            None => Encoding::SentencePiece(sentencepiece(config, &vocabulary)?),
        };

        let found = vocabulary.special();
        if found.len() > MAX_SPECIAL_TOKENS {
            let what = "the number of special tokens";
            return Err(TokenizerError::TooMany { what, limit: MAX_SPECIAL_TOKENS, got: found.len() });
        }
        let special = |kinds: &[TokenKind]| {
            let of_kinds = found.iter().filter(|(_, _, kind)| kinds.contains(kind));
            SpecialTokens::new(of_kinds.map(|(text, id, _)| (text.clone(), *id)).collect(), config.strips_after_special)
        };
        let mut ends = vocabulary.ends_by_text();
        ends.extend([config.eos_token_id, config.eot_token_id, config.eom_token_id].into_iter().flatten());
        ends.sort_unstable();
        ends.dedup();
        Ok(Self {
            parsed: special(&[TokenKind::Control, TokenKind::UserDefined, TokenKind::Unknown]),
            plain: special(&[TokenKind::UserDefined]),
            control: special(&[TokenKind::Control, TokenKind::Unknown]),
            begin: config.bos_token_id,
            adds_begin: config
                .add_bos_token
                .unwrap_or(pre.is_none_or(PreTokenizer::adds_begin) && config.bos_token_id.is_some()),
            end: config.eos_token_id,
            encoding,
            vocabulary,
            ends,
        })
    }

    /// Appends the tokens of `text`. With `begin`, the beginning token goes first where the file wants one.
    ///
    /// Bytes for which the vocabulary has no token, and which no special token covers, are left out, as llama.cpp
    /// does it: SmolLM2 lacks six control characters and the bytes that only unassigned characters need.
    pub fn encode(&self, text: &str, special: Special, begin: bool, out: &mut Vec<u32>) {
        if begin && self.adds_begin {
            out.extend(self.begin);
        }
        let tokens = match special {
            Special::Parse => &self.parsed,
            Special::Plain => &self.plain,
        };
        let mut merger = Merger::default();
        tokens.split(text, |part| match part {
            Part::Token(id) => out.push(id),
            Part::Text(text) => match &self.encoding {
                Encoding::ByteLevel(byte_level) => byte_level.encode(&self.vocabulary, text, &mut merger, out),
                Encoding::SentencePiece(pieces) => pieces.encode(&self.vocabulary, text, out),
            },
        });
    }

    /// The text of `tokens`, control tokens included, with U+FFFD for what is not UTF-8.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut bytes = Vec::new();
        let mut before = None;
        for &id in tokens {
            bytes.extend_from_slice(self.bytes_after(before, id));
            before = Some(id);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What a token adds to a text after the token `before`: its [bytes](Tokenizer::token_bytes), but for the space that
    /// encoding puts at the beginning and after special tokens where the file wants one.
    pub fn bytes_after(&self, before: Option<u32>, id: u32) -> &[u8] {
        let bytes = self.token_bytes(id);
        let adds_space = matches!(&self.encoding, Encoding::SentencePiece(pieces) if pieces.adds_space);
        match bytes.strip_prefix(b" ") {
            Some(rest) if adds_space && before.is_none_or(|before| self.is_special(before)) => rest,
            _ => bytes,
        }
    }

    /// Whether a token is one that is looked for in text.
    fn is_special(&self, id: u32) -> bool {
        std::str::from_utf8(self.token_bytes(id)).is_ok_and(|text| self.special(text) == Some(id))
    }

    /// The bytes that a token stands for, which may be part of a character; for a control token its name. Empty for
    /// an id outside the vocabulary.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.vocabulary.bytes(id)
    }

    /// What a token is; `None` for an id outside the vocabulary.
    pub fn kind(&self, id: u32) -> Option<TokenKind> {
        self.vocabulary.kind(id)
    }

    /// Whether a token ends the model's turn: the file's end of text, of turn and of message, and tokens that are
    /// known by their text (`<|im_end|>`, `<|eot_id|>`, …).
    pub fn is_end(&self, id: u32) -> bool {
        self.ends.binary_search(&id).is_ok()
    }

    /// Whether a token steers the model and must not be shown.
    pub fn is_control(&self, id: u32) -> bool {
        matches!(self.kind(id), Some(TokenKind::Control | TokenKind::Unknown))
    }

    /// How many tokens there are; ids are below it.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// The token that begins a text, whether or not it is added by itself.
    pub fn begin(&self) -> Option<u32> {
        self.begin
    }

    /// Whether the file wants texts to begin with [`Tokenizer::begin`].
    pub fn adds_begin(&self) -> bool {
        self.adds_begin
    }

    /// The file's end-of-text token.
    pub fn end(&self) -> Option<u32> {
        self.end
    }

    /// The special token (control, user-defined or unknown) with this text.
    pub fn special(&self, text: &str) -> Option<u32> {
        self.parsed.id(text)
    }

    /// Gives `part` the special tokens of a text and what is between them.
    pub(crate) fn split_special<'t>(&self, text: &'t str, part: impl FnMut(Part<'t>)) {
        self.parsed.split(text, part);
    }

    /// Where the next control token's text stands in `text`, not before byte `from`.
    pub(crate) fn find_control(&self, text: &str, from: usize) -> Option<std::ops::Range<usize>> {
        self.control.find_at(text, from).map(|(range, _)| range)
    }
}

fn sentencepiece(config: &TokenizerConfig<'_>, vocabulary: &Vocabulary) -> Result<SentencePiece, TokenizerError> {
    let scores = config.scores.unwrap_or_default();
    if config.scores.is_some() && scores.len() != vocabulary.len() {
        let (array, got) = ("tokenizer.ggml.scores", scores.len());
        return Err(TokenizerError::Lengths { tokens: vocabulary.len(), array, got });
    }
    Ok(SentencePiece::new(vocabulary, scores, config.unknown_token_id, config.add_space_prefix.unwrap_or(true)))
}
