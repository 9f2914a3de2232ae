//! Byte-pair encoding of one piece (Sennrich et al. 2016): the pair of neighbours that comes first in the file's list
//! of merges is joined, the leftmost of equals, until no pair is in the list.
//!
//! A heap holds the pairs that may be joined and a doubly linked list the symbols, so a piece of n bytes costs
//! O(n log n), whatever it is made of.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Stands for the end of the linked list, and for a byte that the vocabulary does not have.
const NONE: u32 = u32::MAX;

/// What a pair of tokens becomes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merge {
    /// The place in the file's list: the lowest goes first.
    pub(super) rank: u32,
    /// The token that the two become.
    pub(super) joined: u32,
}

/// Merges by pair of token ids. The standard hash is keyed at random, so that no file can make lookups collide.
pub(super) type Merges = HashMap<(u32, u32), Merge>;

#[derive(Debug, Clone, Copy)]
struct Symbol {
    token: u32,
    previous: u32,
    next: u32,
}

/// A pair that could be joined when it was found; sorted by rank, then by place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    rank: u32,
    left: u32,
    left_token: u32,
    right_token: u32,
    joined: u32,
}

/// The buffers for encoding pieces, kept from piece to piece.
#[derive(Debug, Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    pairs: BinaryHeap<Reverse<Pair>>,
}

impl Merger {
    /// Appends the tokens of `piece`, whose bytes begin as `byte_tokens`. A byte without a token is left out, and
    /// keeps its neighbours from being joined, as in llama.cpp.
    ///
    /// # Panics
    /// For a piece of 4 GiB or more: the caller cuts text into far shorter ones.
    pub(super) fn encode(
        &mut self,
        piece: &[u8],
        byte_tokens: &[Option<u32>; 256],
        merges: &Merges,
        out: &mut Vec<u32>,
    ) {
        let length = u32::try_from(piece.len()).expect("the caller cuts pieces at MAX_PIECE_BYTES");
        self.symbols.clear();
        self.pairs.clear();
        self.symbols.extend(piece.iter().zip(0..length).map(|(&byte, place)| Symbol {
            token: byte_tokens[byte as usize].unwrap_or(NONE),
            previous: place.checked_sub(1).unwrap_or(NONE),
            next: if place + 1 < length { place + 1 } else { NONE },
        }));
        for left in 0..length {
            self.consider(left, merges);
        }
        while let Some(Reverse(pair)) = self.pairs.pop() {
            self.join(&pair, merges);
        }
        let mut place = if length > 0 { 0 } else { NONE };
        while place != NONE {
            let symbol = self.symbols[place as usize];
            if symbol.token != NONE {
                out.push(symbol.token);
            }
            place = symbol.next;
        }
    }

    /// Puts the pair that begins at `left` on the heap, if it is one.
    fn consider(&mut self, left: u32, merges: &Merges) {
        let Some(symbol) = self.symbols.get(left as usize) else { return };
        let Some(next) = self.symbols.get(symbol.next as usize) else { return };
        let (left_token, right_token) = (symbol.token, next.token);
        if let Some(&Merge { rank, joined }) = merges.get(&(left_token, right_token)) {
            self.pairs.push(Reverse(Pair { rank, left, left_token, right_token, joined }));
        }
    }

    /// Joins a pair, unless one of its two has been joined with another since.
    fn join(&mut self, pair: &Pair, merges: &Merges) {
        let left = self.symbols[pair.left as usize];
        let Some(&right) = self.symbols.get(left.next as usize) else { return };
        if left.token != pair.left_token || right.token != pair.right_token {
            return;
        }
        // The right symbol's place stays in the buffer as a token that no pair names.
        self.symbols[left.next as usize].token = NONE;
        self.symbols[pair.left as usize] = Symbol { token: pair.joined, previous: left.previous, next: right.next };
        if let Some(after) = self.symbols.get_mut(right.next as usize) {
            after.previous = pair.left;
        }
        if left.previous != NONE {
            self.consider(left.previous, merges);
        }
        self.consider(pair.left, merges);
    }
}
