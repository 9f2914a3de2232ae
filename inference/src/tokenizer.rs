//! Text to token ids and back: byte-level BPE as GPT-2 introduced it (Radford et al. 2019), from a GGUF file's
//! `tokenizer.ggml.*` metadata.
//!
//! Text is cut at special tokens, then into pieces by the file's [`PreTokenizer`], and the bytes of each piece are
//! joined pair by pair in the order of the file's merges. The ids are those of llama.cpp, to the letter.

mod bytes;
mod error;
mod merge;
mod special;
mod split;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use error::TokenizerError;
use merge::{Merge, Merger, Merges};
pub use special::MAX_SPECIAL_TOKENS;
pub(crate) use special::Part;
use special::SpecialTokens;
pub use split::PreTokenizer;
use split::Splitter;
use std::collections::HashMap;
use vocabulary::Vocabulary;
pub use vocabulary::{MAX_TOKEN_BYTES, MAX_VOCABULARY, TokenKind};

use crate::gguf::Metadata;

/// The most merges of a vocabulary: four times the most that are known (514,906).
pub const MAX_MERGES: usize = 1 << 21;

/// The most bytes between which merges are made: it bounds the encoder's memory to some hundred times as much. A longer
/// word is cut.
const MAX_PIECE_BYTES: usize = 1 << 22;

/// Whether control tokens are recognized in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// Control tokens written in the text become those tokens: for prompts that a program wrote.
    Parse,
    /// They are text like any other: for what people write. (User-defined tokens, which are text, are still whole.)
    Plain,
}

/// What a tokenizer is made of: the `tokenizer.ggml.*` metadata of a GGUF file under their names there.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenizerConfig<'a> {
    /// `model`: only `gpt2` is supported.
    pub model: &'a str,
    /// `pre`: the pre-tokenizer's name.
    pub pre: &'a str,
    /// `tokens`: every token's text, in GPT-2's alphabet of bytes.
    pub tokens: &'a [String],
    /// `token_type`: every token's kind; without it all are normal.
    pub token_type: Option<&'a [i32]>,
    /// `merges`: pairs of tokens with a space between, the first to be joined first.
    pub merges: &'a [String],
    /// `add_bos_token`: whether a text begins with the beginning token; by default as the pre-tokenizer has it.
    pub add_bos_token: Option<bool>,
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
            merges: metadata.strs("tokenizer.ggml.merges").unwrap_or_default(),
            add_bos_token: metadata.bool("tokenizer.ggml.add_bos_token"),
            ignore_merges: metadata.bool("tokenizer.ggml.ignore_merges"),
            bos_token_id: metadata.u32("tokenizer.ggml.bos_token_id"),
            eos_token_id: metadata.u32("tokenizer.ggml.eos_token_id"),
            eot_token_id: metadata.u32("tokenizer.ggml.eot_token_id"),
            eom_token_id: metadata.u32("tokenizer.ggml.eom_token_id"),
        })
    }
}

/// A vocabulary that encodes and decodes. It never changes, and can be shared between threads.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    byte_tokens: Box<[Option<u32>; 256]>,
    merges: Merges,
    splitter: Splitter,
    /// Pieces that are tokens by themselves; empty unless merges are ignored for these.
    whole: HashMap<Box<[u8]>, u32>,
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
        if config.model != "gpt2" {
            return Err(TokenizerError::Kind { seen: config.model.to_string() });
        }
        let pre = match config.pre {
            "" => return Err(TokenizerError::Missing { key: "tokenizer.ggml.pre" }),
            name => PreTokenizer::from_name(name),
        };
        let pre = pre.ok_or_else(|| TokenizerError::PreTokenizer { seen: config.pre.to_string() })?;
        let (vocabulary, ids) = Vocabulary::new(config.tokens, config.token_type)?;
        let merges = read_merges(config.merges, &ids)?;
        check_ids(config, vocabulary.len())?;

        let special = |kinds: &[TokenKind]| {
            let found = vocabulary.of_kinds(kinds);
            if found.len() > MAX_SPECIAL_TOKENS {
                let what = "the number of special tokens";
                return Err(TokenizerError::TooMany { what, limit: MAX_SPECIAL_TOKENS, got: found.len() });
            }
            SpecialTokens::new(found).map_err(|error| TokenizerError::Special { reason: error.to_string() })
        };
        let mut ends = vocabulary.ends_by_text();
        ends.extend([config.eos_token_id, config.eot_token_id, config.eom_token_id].into_iter().flatten());
        ends.sort_unstable();
        ends.dedup();
        Ok(Self {
            byte_tokens: Box::new(std::array::from_fn(|byte| {
                ids.get(bytes::char_of(byte as u8).encode_utf8(&mut [0; 4]) as &str).copied()
            })),
            whole: if config.ignore_merges.unwrap_or(pre.ignores_merges()) {
                whole_pieces(&vocabulary)
            } else {
                HashMap::new()
            },
            parsed: special(&[TokenKind::Control, TokenKind::UserDefined, TokenKind::Unknown])?,
            plain: special(&[TokenKind::UserDefined])?,
            control: special(&[TokenKind::Control, TokenKind::Unknown])?,
            splitter: Splitter::new(pre),
            begin: config.bos_token_id,
            adds_begin: config.add_bos_token.unwrap_or(pre.adds_begin() && config.bos_token_id.is_some()),
            end: config.eos_token_id,
            merges,
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
            Part::Text(text) => self.splitter.split(text, |piece| self.encode_piece(piece, &mut merger, out)),
        });
    }

    fn encode_piece(&self, piece: &str, merger: &mut Merger, out: &mut Vec<u32>) {
        match self.whole.get(piece.as_bytes()) {
            Some(&id) => out.push(id),
            None => {
                for bytes in piece.as_bytes().chunks(MAX_PIECE_BYTES) {
                    merger.encode(bytes, &self.byte_tokens, &self.merges, out);
                }
            }
        }
    }

    /// The text of `tokens`, control tokens included, with U+FFFD for what is not UTF-8.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens.iter().flat_map(|&id| self.token_bytes(id)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
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

fn read_merges(texts: &[String], ids: &HashMap<&str, u32>) -> Result<Merges, TokenizerError> {
    if texts.len() > MAX_MERGES {
        let what = "the number of merges";
        return Err(TokenizerError::TooMany { what, limit: MAX_MERGES, got: texts.len() });
    }
    let mut merges = Merges::with_capacity(texts.len());
    let mut joined = String::new();
    for (index, text) in texts.iter().enumerate() {
        let form = || TokenizerError::MergeForm { index, text: text.clone() };
        let (left, right) = text.split_once(' ').ok_or_else(form)?;
        if left.is_empty() || right.is_empty() || right.contains(' ') {
            return Err(form());
        }
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        let id = |token: &str| {
            ids.get(token).copied().ok_or_else(|| TokenizerError::MergeUnknown { index, token: token.to_string() })
        };
        let merge = Merge { rank: index as u32, joined: id(&joined)? };
        // A pair that stands twice keeps its first place.
        merges.entry((id(left)?, id(right)?)).or_insert(merge);
    }
    Ok(merges)
}

fn check_ids(config: &TokenizerConfig<'_>, vocabulary: usize) -> Result<(), TokenizerError> {
    for (key, id) in [
        ("tokenizer.ggml.bos_token_id", config.bos_token_id),
        ("tokenizer.ggml.eos_token_id", config.eos_token_id),
        ("tokenizer.ggml.eot_token_id", config.eot_token_id),
        ("tokenizer.ggml.eom_token_id", config.eom_token_id),
    ] {
        if let Some(got) = id.filter(|&id| id as usize >= vocabulary) {
            return Err(TokenizerError::TokenId { key, got, vocabulary });
        }
    }
    if config.add_bos_token == Some(true) && config.bos_token_id.is_none() {
        return Err(TokenizerError::Missing { key: "tokenizer.ggml.bos_token_id" });
    }
    Ok(())
}

fn whole_pieces(vocabulary: &Vocabulary) -> HashMap<Box<[u8]>, u32> {
    let normal = (0..vocabulary.len() as u32).filter(|&id| vocabulary.kind(id) == Some(TokenKind::Normal));
    normal.map(|id| (vocabulary.bytes(id).into(), id)).collect()
}
