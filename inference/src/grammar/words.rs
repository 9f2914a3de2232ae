//! The model's tokens in the form that grammars want: trees of their bytes.

use std::sync::OnceLock;
use std::thread;

use llguidance::toktrie::{INVALID_TOKEN, SimpleVob, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use super::error::GrammarError;
use super::mask::Trees;
use super::tree::MAX_DEPTH;
use crate::tokenizer::{TokenKind, Tokenizer};

/// The most bytes of all tokens together: the tree has at most as many nodes, and room for 2^22. Gemma 3's 262,144
/// tokens have 1.9 million bytes.
pub(super) const MAX_TREE_BYTES: usize = (1 << 22) - 1;

/// The longest token that a grammar may use, in bytes; longer ones are runs of blanks, which shorter ones write too.
const MAX_WORD_BYTES: usize = MAX_DEPTH;

/// The tokens that a grammar's text can be written with.
pub(super) struct Words {
    trie: OnceLock<TokTrie>,
    /// What llguidance sees before.
    empty: TokTrie,
}

/// What is made of a model's tokens.
pub(super) struct Sorted {
    /// llguidance's tree.
    pub(super) trie: TokTrie,
    /// Our own.
    pub(super) trees: Trees,
    /// The tokens that text is made of, and those that end the model's turn.
    pub(super) usable: SimpleVob,
}

impl Words {
    /// Without any token yet: llguidance sorts those that it sees for masks of its own, which nobody asks for.
    pub(super) fn new() -> Self {
        Self { trie: OnceLock::new(), empty: TokTrie::from(&TokRxInfo::new(1, INVALID_TOKEN), &[Vec::new()]) }
    }

    /// From now on there are tokens.
    pub(super) fn show(&self, trie: TokTrie) {
        let _ = self.trie.set(trie); // once
    }
}

impl Sorted {
    /// Builds both trees, each on a thread.
    ///
    /// # Errors
    /// [`GrammarError::Vocabulary`].
    pub(super) fn new(tokenizer: &Tokenizer) -> Result<Self, GrammarError> {
        let ids = 0..tokenizer.vocabulary_size() as u32;
        let words: Vec<Vec<u8>> = ids.clone().map(|id| word(tokenizer, id)).collect();
        let bytes = words.iter().map(Vec::len).sum();
        if bytes > MAX_TREE_BYTES {
            return Err(GrammarError::Vocabulary { got: bytes, limit: MAX_TREE_BYTES });
        }
        let ends: Vec<u32> = ids.clone().filter(|&id| tokenizer.is_end(id)).collect();
        let first_end = ends.first().copied().unwrap_or(INVALID_TOKEN);
        let empty = SimpleVob::alloc_with_capacity(words.len(), words.len() + 1);
        let texts = ids.clone().filter(|&id| is_text(tokenizer, id) && !words[id as usize].is_empty());
        let mut texts: Vec<(&[u8], u32)> = texts.map(|id| (&words[id as usize][..], id)).collect();
        let (trie, trees) = thread::scope(|scope| {
            let trees = scope.spawn(|| {
                texts.sort_unstable();
                Trees::new(&texts, &empty)
            });
            let mut trie = TokTrie::from(&TokRxInfo::new(ids.end, first_end), &words);
            if ends.len() > 1 {
                trie = trie.with_eos_tokens(&ends);
            }
            (trie, trees.join().expect("words are sorted and no longer than a tree is deep"))
        });
        let mut usable = empty.clone();
        ids.filter(|&id| is_text(tokenizer, id) || tokenizer.is_end(id)).for_each(|id| usable.allow_token(id));
        Ok(Self { trie, trees, usable })
    }
}

fn is_text(tokenizer: &Tokenizer, id: u32) -> bool {
    let kind = tokenizer.kind(id);
    matches!(kind, Some(TokenKind::Normal | TokenKind::UserDefined | TokenKind::Byte)) && !tokenizer.is_end(id)
}

/// What a token writes; a control token's name behind llguidance's mark for such; nothing for what no grammar can use:
/// very long tokens, unused ones, and the byte 0xff, which is that mark and never part of UTF-8.
fn word(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    const MARK: u8 = TokTrie::SPECIAL_TOKEN_MARKER;
    let bytes = tokenizer.token_bytes(id);
    if bytes.len() > MAX_WORD_BYTES {
        Vec::new()
    } else if is_text(tokenizer, id) {
        if bytes.first() == Some(&MARK) { Vec::new() } else { bytes.to_vec() }
    } else if tokenizer.kind(id) == Some(TokenKind::Control) {
        [&[MARK], bytes].concat()
    } else {
        Vec::new()
    }
}

impl TokenizerEnv for Words {
    fn tok_trie(&self) -> &TokTrie {
        self.trie.get().unwrap_or(&self.empty)
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.tok_trie().greedy_tokenize(bytes)
    }

    /// So llguidance does not look for text that has only one continuation, to prescribe its tokens: a language may have
    /// such a text of any length (`a{1000000000}`), and the search for its end has no limit. The model chooses the tokens.
    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}
