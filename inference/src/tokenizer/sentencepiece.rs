//! SentencePiece's byte-pair encoding (Kudo and Richardson, 2018), as Llama 2, Mistral, Phi-3 and Gemma use it.
//!
//! The text is not cut beforehand. Its characters are joined pair by pair: of all neighbours whose joined text is a token
//! the pair with the highest score, the leftmost of equals, until there is none. A character that is no token in the end
//! becomes its bytes' tokens. Files write a space as `▁`; here both are one space, so that text needs no copy.
//!
//! A heap holds the pairs that may be joined and a doubly linked list the symbols, so a text of n bytes costs O(n log n).

use super::index::Index;
use super::vocabulary::{TokenKind, Vocabulary};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How files write a space in a token.
pub(super) const SPACE: char = '▁';

/// The most bytes between which pairs are joined: it bounds the encoder's memory to some hundred times as much. A longer
/// text is cut.
const MAX_TEXT_BYTES: usize = 1 << 22;

/// Stands for the end of the linked list, and for a text that is no token.
const NONE: u32 = u32::MAX;

/// What joins characters to tokens.
#[derive(Debug, Clone)]
pub(super) struct SentencePiece {
    index: Index,
    /// Of each token; the highest is joined first.
    scores: Vec<f32>,
    byte_tokens: Box<[Option<u32>; 256]>,
    unknown: Option<u32>,
    /// Whether text at the beginning and after a special token is read as if a space stood before it.
    pub(super) adds_space: bool,
}

impl SentencePiece {
    /// Builds the tables; `scores` are as many as tokens, or none, which makes all equal.
    pub(super) fn new(vocabulary: &Vocabulary, scores: &[f32], unknown: Option<u32>, adds_space: bool) -> Self {
        let mut byte_tokens = Box::new([None; 256]);
        for id in vocabulary.ids().filter(|&id| vocabulary.kind(id) == Some(TokenKind::Byte)) {
            if let [byte] = *vocabulary.bytes(id) {
                byte_tokens[usize::from(byte)].get_or_insert(id);
            }
        }
        Self { index: index(vocabulary), scores: scores.to_vec(), byte_tokens, unknown, adds_space }
    }

    /// Appends the tokens of a text that stands at the beginning or after a special token.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, out: &mut Vec<u32>) {
        let mut text = Cow::Borrowed(text);
        if text.contains(SPACE) {
            text = text.replace(SPACE, " ").into();
        }
        if self.adds_space {
            text = format!(" {text}").into();
        }
        let mut rest = &*text;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.floor_char_boundary(MAX_TEXT_BYTES));
            Joining::new(self, vocabulary, part).run(out);
            rest = after;
        }
    }

    fn get(&self, vocabulary: &Vocabulary, text: &[u8]) -> Option<u32> {
        self.index.get(text, |id| vocabulary.bytes(id))
    }

    fn score(&self, token: u32) -> f32 {
        self.scores.get(token as usize).copied().unwrap_or(0.0)
    }
}

/// A stretch of the text, and the token that it is.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: u32,
    end: u32,
    previous: u32,
    next: u32,
    token: u32,
}

/// Two neighbours that could be joined when they were found.
#[derive(Debug)]
struct Pair {
    score: f32,
    left: u32,
    /// Where the right one ends in the text: if either has been joined with another since, the two end elsewhere.
    end: u32,
    joined: u32,
}

impl Pair {
    /// The greatest goes first.
    fn order(&self) -> impl Ord {
        let bits = self.score.to_bits().cast_signed();
        // As `f32::total_cmp`: the bits of negative numbers rise as they fall.
        let score = bits ^ (((bits >> 31).cast_unsigned()) >> 1).cast_signed();
        (score, Reverse(self.left), Reverse(self.end))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pair {}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

/// One text on its way to tokens.
struct Joining<'a> {
    pieces: &'a SentencePiece,
    vocabulary: &'a Vocabulary,
    text: &'a [u8],
    /// A symbol that was joined to the one before it stays, out of the list, with the end 0.
    symbols: Vec<Symbol>,
    pairs: BinaryHeap<Pair>,
}

impl<'a> Joining<'a> {
    fn new(pieces: &'a SentencePiece, vocabulary: &'a Vocabulary, text: &'a str) -> Self {
        let mut symbols: Vec<Symbol> = Vec::with_capacity(text.len());
        for (place, (start, c)) in (0u32..).zip(text.char_indices()) {
            let end = start + c.len_utf8();
            let token = pieces.get(vocabulary, &text.as_bytes()[start..end]).unwrap_or(NONE);
            let previous = place.checked_sub(1).unwrap_or(NONE);
            symbols.push(Symbol { start: start as u32, end: end as u32, previous, next: place + 1, token });
        }
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        Self { pieces, vocabulary, text: text.as_bytes(), symbols, pairs: BinaryHeap::new() }
    }

    fn run(mut self, out: &mut Vec<u32>) {
        (0..self.symbols.len() as u32).for_each(|left| self.consider(left));
        while let Some(pair) = self.pairs.pop() {
            self.join(&pair);
        }
        let mut place = 0;
        while let Some(&Symbol { start, end, next, token, .. }) = self.symbols.get(place as usize) {
            if token == NONE {
                self.spell(&self.text[start as usize..end as usize], out);
            } else {
                out.push(token);
            }
            place = next;
        }
    }

    /// Puts the pair that begins at `left` on the heap, if it is one.
    fn consider(&mut self, left: u32) {
        let Some(&Symbol { start, next, .. }) = self.symbols.get(left as usize) else { return };
        let Some(&Symbol { end, .. }) = self.symbols.get(next as usize) else { return };
        let joined = &self.text[start as usize..end as usize];
        if let Some(joined) = self.pieces.get(self.vocabulary, joined) {
            self.pairs.push(Pair { score: self.pieces.score(joined), left, end, joined });
        }
    }

    /// Joins a pair, unless one of its two has been joined with another since.
    fn join(&mut self, pair: &Pair) {
        let left = self.symbols[pair.left as usize];
        let Some(&right) = self.symbols.get(left.next as usize) else { return };
        if left.end == 0 || right.end != pair.end {
            return;
        }
        self.symbols[left.next as usize].end = 0;
        self.symbols[pair.left as usize] = Symbol { end: right.end, next: right.next, token: pair.joined, ..left };
        if let Some(after) = self.symbols.get_mut(right.next as usize) {
            after.previous = pair.left;
        }
        self.consider(left.previous);
        self.consider(pair.left);
    }

    /// A character that is no token: its bytes, or the unknown token where the vocabulary lacks these.
    fn spell(&self, bytes: &[u8], out: &mut Vec<u32>) {
        let tokens = bytes.iter().map(|&byte| self.pieces.byte_tokens[usize::from(byte)]);
        match tokens.collect::<Option<Vec<u32>>>() {
            Some(tokens) => out.extend(tokens),
            None => out.extend(self.pieces.unknown),
        }
    }
}

/// The tokens that text can become.
fn index(vocabulary: &Vocabulary) -> Index {
    let is_text = |id: &u32| match vocabulary.kind(*id) {
        Some(TokenKind::Normal | TokenKind::Unused) => true,
        // Its space is no `▁`: found in text before, or not at all.
        Some(TokenKind::UserDefined) => !vocabulary.bytes(*id).contains(&b' '),
        _ => false,
    };
    let mut index = Index::with_capacity(vocabulary.len());
    for id in vocabulary.ids().filter(is_text) {
        index.insert(id, |id| vocabulary.bytes(id));
    }
    index
}

#[cfg(test)]
#[path = "sentencepiece/tests.rs"]
mod tests;
