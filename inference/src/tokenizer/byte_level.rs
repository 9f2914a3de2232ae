//! Byte-level BPE (Radford et al., 2019): text is cut into pieces by a pattern, and the bytes of each piece are joined in
//! the order of the file's merges.

use super::bytes;
use super::config::TokenizerConfig;
use super::error::TokenizerError;
use super::index::Index;
use super::merge::{Merge, Merger, Merges};
use super::split::{PreTokenizer, Splitter};
use super::vocabulary::{TokenKind, Vocabulary};
use crate::gguf::Texts;

/// The most merges of a vocabulary: four times the most that are known (514,906).
pub const MAX_MERGES: usize = 1 << 21;

/// The most bytes between which merges are made: it bounds the encoder's memory to some hundred times as much. A longer
/// word is cut.
const MAX_PIECE_BYTES: usize = 1 << 22;

/// What joins bytes to tokens.
#[derive(Debug, Clone)]
pub(super) struct ByteLevel {
    byte_tokens: Box<[Option<u32>; 256]>,
    merges: Merges,
    splitter: Splitter,
    /// Pieces that are tokens by themselves; empty unless merges are ignored for these.
    whole: Index,
}

impl ByteLevel {
    /// Builds the tables.
    pub(super) fn new(
        config: &TokenizerConfig<'_>,
        pre: PreTokenizer,
        vocabulary: &Vocabulary,
    ) -> Result<Self, TokenizerError> {
        let ids = Ids::of(config.tokens)?;
        let ignores_merges = config.ignore_merges.unwrap_or(pre.ignores_merges());
        Ok(Self {
            byte_tokens: Box::new(std::array::from_fn(|byte| {
                ids.get(bytes::char_of(byte as u8).encode_utf8(&mut [0; 4]).as_bytes())
            })),
            merges: read_merges(config.merges, &ids)?,
            splitter: Splitter::new(pre),
            whole: if ignores_merges { whole_pieces(vocabulary) } else { Index::with_capacity(0) },
        })
    }

    /// Appends the tokens of a text without special tokens.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, merger: &mut Merger, out: &mut Vec<u32>) {
        self.splitter.split(text, |piece| match self.whole.get(piece.as_bytes(), |id| vocabulary.bytes(id)) {
            Some(id) => out.push(id),
            None => {
                for bytes in piece.as_bytes().chunks(MAX_PIECE_BYTES) {
                    merger.encode(bytes, &self.byte_tokens, &self.merges, out);
                }
            }
        });
    }
}

/// The ids of the tokens by their texts, as the file writes them.
struct Ids<'a> {
    texts: &'a Texts,
    index: Index,
}

impl<'a> Ids<'a> {
    fn of(texts: &'a Texts) -> Result<Self, TokenizerError> {
        let mut index = Index::with_capacity(texts.len());
        for id in 0..texts.len() {
            if let Some(first) = index.insert(id as u32, |id| texts[id as usize].as_bytes()) {
                return Err(TokenizerError::Duplicate { first, second: id, text: texts[id].to_owned() });
            }
        }
        Ok(Self { texts, index })
    }

    fn get(&self, text: &[u8]) -> Option<u32> {
        self.index.get(text, |id| self.texts[id as usize].as_bytes())
    }
}

fn read_merges(texts: &Texts, ids: &Ids<'_>) -> Result<Merges, TokenizerError> {
    if texts.len() > MAX_MERGES {
        let what = "the number of merges";
        return Err(TokenizerError::TooMany { what, limit: MAX_MERGES, got: texts.len() });
    }
    let mut merges = Merges::with_capacity(texts.len());
    let mut joined = String::new();
    for (index, text) in texts.iter().enumerate() {
        let form = || TokenizerError::MergeForm { index, text: text.to_owned() };
        let (left, right) = text.split_once(' ').ok_or_else(form)?;
        if left.is_empty() || right.is_empty() || right.contains(' ') {
            return Err(form());
        }
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        let id = |token: &str| {
            ids.get(token.as_bytes()).ok_or_else(|| TokenizerError::MergeUnknown { index, token: token.to_string() })
        };
        let merge = Merge { rank: index as u32, joined: id(&joined)? };
        // A pair that stands twice keeps its first place.
        merges.entry((id(left)?, id(right)?)).or_insert(merge);
    }
    Ok(merges)
}

fn whole_pieces(vocabulary: &Vocabulary) -> Index {
    let mut index = Index::with_capacity(vocabulary.len());
    for id in vocabulary.ids().filter(|&id| vocabulary.kind(id) == Some(TokenKind::Normal)) {
        index.insert(id, |id| vocabulary.bytes(id));
    }
    index
}
