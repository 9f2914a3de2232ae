//! The tokens themselves: what bytes they stand for, and what kind each is of.

use super::bytes::byte_of;
use super::error::TokenizerError;
use super::sentencepiece::SPACE;
use crate::gguf::Texts;

/// The most tokens of a vocabulary: four times the largest that is known (262,144).
pub const MAX_VOCABULARY: usize = 1 << 20;

/// The most bytes of a token's text in the file. The longest known are runs of some hundred spaces.
pub const MAX_TOKEN_BYTES: usize = 1024;

/// What a token is, as `tokenizer.ggml.token_type` says it (llama.cpp's `llama_token_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Text, made by merges.
    Normal,
    /// Stands for what the vocabulary cannot write.
    Unknown,
    /// Steers the model and is never shown: the end of a turn, say.
    Control,
    /// Added whole by the model's makers; text like any other, but never cut.
    UserDefined,
    /// Never used.
    Unused,
    /// A single byte, written `<0xHH>`.
    Byte,
}

impl TokenKind {
    fn from_id(id: usize, kind: i32) -> Result<Self, TokenizerError> {
        Ok(match kind {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            got => return Err(TokenizerError::TokenType { id, got }),
        })
    }
}

/// Texts that end a turn or a text in every model that has them as a token; files often fail to mark them.
const ENDS: [&str; 13] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eom_id|>",
    "<|end_of_turn|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
    "</s>",
    "<EOT>",
];

/// Texts that begin a turn or name who speaks: control tokens even where the file calls them text, because a person's
/// message must not be able to write them.
const BEGINS: [&str; 6] =
    ["<|im_start|>", "<|start_header_id|>", "<|end_header_id|>", "<|begin_of_text|>", "<start_of_turn>", "<|im_sep|>"];

/// The first byte of [`SPACE`].
const SPACE_BEGINS: u8 = 0xe2;

/// How all of [`ENDS`] and [`BEGINS`] begin.
const STEERING: char = '<';

/// How normal tokens are written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// In GPT-2's characters for the 256 bytes.
    Bytes,
    /// As they are, with `▁` for a space.
    Spaces,
}

/// All tokens, their bytes one after the other.
#[derive(Debug, Clone)]
pub(super) struct Vocabulary {
    bytes: Vec<u8>,
    /// Where token `i` ends in `bytes`; at most `MAX_VOCABULARY * MAX_TOKEN_BYTES`, which is 2^30.
    ends: Vec<u32>,
    kinds: Vec<TokenKind>,
}

impl Vocabulary {
    /// Reads the tokens.
    pub(super) fn new(texts: &Texts, types: Option<&[i32]>, alphabet: Alphabet) -> Result<Self, TokenizerError> {
        check_size(texts, types)?;
        let mut vocabulary = Self {
            bytes: Vec::with_capacity(texts.bytes()),
            ends: Vec::with_capacity(texts.len()),
            kinds: Vec::with_capacity(texts.len()),
        };
        for (id, text) in texts.iter().enumerate() {
            let kind = match types {
                Some(types) => TokenKind::from_id(id, types[id])?,
                None => TokenKind::Normal,
            };
            vocabulary.push(id, text, kind, alphabet)?;
        }
        Ok(vocabulary)
    }

    fn push(&mut self, id: usize, text: &str, kind: TokenKind, alphabet: Alphabet) -> Result<(), TokenizerError> {
        // A look at the first character spares all others the comparisons.
        let steers = text.starts_with(STEERING) && (ENDS.contains(&text) || BEGINS.contains(&text));
        let kind = if steers { TokenKind::Control } else { kind };
        let start = self.bytes.len();
        match kind {
            TokenKind::Byte => {
                let byte = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
                let byte = byte.filter(|hex| hex.len() == 2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                self.bytes.push(byte.ok_or_else(|| TokenizerError::ByteToken { id, text: text.to_string() })?);
            }
            TokenKind::Normal | TokenKind::Unused if alphabet == Alphabet::Spaces => {
                let mut rest = text;
                // Most have one at their beginning, and few another.
                while rest.as_bytes().contains(&SPACE_BEGINS)
                    && let Some((before, after)) = rest.split_once(SPACE)
                {
                    self.bytes.extend_from_slice(before.as_bytes());
                    self.bytes.push(b' ');
                    rest = after;
                }
                self.bytes.extend_from_slice(rest.as_bytes());
            }
            TokenKind::Normal | TokenKind::Unused => {
                for c in text.chars() {
                    let Some(byte) = byte_of(c) else {
                        // Not in GPT-2's alphabet: added by hand and wrongly marked, so it stands for its own text.
                        self.bytes.truncate(start);
                        self.bytes.extend_from_slice(text.as_bytes());
                        break;
                    };
                    self.bytes.push(byte);
                }
            }
            TokenKind::Unknown | TokenKind::Control | TokenKind::UserDefined => {
                self.bytes.extend_from_slice(text.as_bytes());
            }
        }
        self.ends.push(u32::try_from(self.bytes.len()).expect("at most 2^20 tokens of at most 2^10 bytes"));
        self.kinds.push(kind);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Every id, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> + use<> {
        0..self.len() as u32
    }

    pub(super) fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    /// A token's bytes; none for an id that is not in the vocabulary.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else { return &[] };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start as usize..end as usize]
    }

    /// The control, user-defined and unknown tokens that can be looked for in text. One of a single character cannot: it would
    /// take that character away from all text.
    pub(super) fn special(&self) -> Vec<(String, u32, TokenKind)> {
        let kinds = self.ids().zip(self.kinds.iter().copied());
        kinds
            .filter(|(_, kind)| matches!(kind, TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown))
            .map(|(id, kind)| (String::from_utf8_lossy(self.bytes(id)).into_owned(), id, kind))
            .filter(|(text, ..)| text.chars().nth(1).is_some())
            .collect()
    }

    /// The tokens that end a turn by their text, sorted.
    pub(super) fn ends_by_text(&self) -> Vec<u32> {
        let control = self.ids().filter(|&id| self.kinds[id as usize] == TokenKind::Control);
        control.filter(|&id| ENDS.iter().any(|end| end.as_bytes() == self.bytes(id))).collect()
    }
}

fn check_size(texts: &Texts, types: Option<&[i32]>) -> Result<(), TokenizerError> {
    if texts.is_empty() {
        return Err(TokenizerError::Missing { key: "tokenizer.ggml.tokens" });
    }
    if texts.len() > MAX_VOCABULARY {
        let what = "the number of tokens";
        return Err(TokenizerError::TooMany { what, limit: MAX_VOCABULARY, got: texts.len() });
    }
    if let Some(text) = texts.iter().find(|text| text.len() > MAX_TOKEN_BYTES) {
        let what = "the length of a token in bytes";
        return Err(TokenizerError::TooMany { what, limit: MAX_TOKEN_BYTES, got: text.len() });
    }
    if let Some(types) = types.filter(|types| types.len() != texts.len()) {
        return Err(TokenizerError::Lengths {
            tokens: texts.len(),
            array: "tokenizer.ggml.token_type",
            got: types.len(),
        });
    }
    Ok(())
}
