//! The tokens as a tree of their bytes.

use llguidance::toktrie::{Recognizer, SimpleVob};

/// A tree in the order in which it is walked: each node before its children, and siblings by their bytes.
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// In the order of their words, so that those behind a node lie together.
    tokens: Vec<u32>,
}

/// The last byte of some words' common beginning.
#[derive(Clone, Copy)]
struct Node {
    byte: u8,
    /// Bytes up to this one.
    depth: u8,
    /// Nodes of it and all behind it.
    size: u32,
    /// The place of its first token; behind its own are those of its children.
    first: u32,
}

/// The most bytes of a word.
pub(super) const MAX_DEPTH: usize = u8::MAX as usize;

impl Tree {
    /// A tree of words and their tokens. Several tokens may have the same word.
    ///
    /// # Panics
    /// If words are not sorted, are empty or have more than [`MAX_DEPTH`] bytes.
    pub(super) fn new(words: &[(&[u8], u32)]) -> Self {
        let mut nodes: Vec<Node> = Vec::with_capacity(2 * words.len());
        let mut open: Vec<usize> = Vec::new(); // nodes of the word before
        let mut last: &[u8] = &[];
        for (at, &(word, _)) in words.iter().enumerate() {
            assert!(last <= word && (1..=MAX_DEPTH).contains(&word.len()), "words are sorted and of a usual length");
            let common = last.iter().zip(word).take_while(|(a, b)| a == b).count();
            close(&mut nodes, &mut open, common);
            for (depth, &byte) in word.iter().enumerate().skip(common) {
                open.push(nodes.len());
                nodes.push(Node { byte, depth: depth as u8 + 1, size: 0, first: at as u32 });
            }
            last = word;
        }
        close(&mut nodes, &mut open, 0);
        nodes.shrink_to_fit();
        Self { nodes, tokens: words.iter().map(|&(_, token)| token).collect() }
    }

    /// The nodes of first bytes, or those behind one.
    pub(super) fn children(&self, parent: Option<u32>) -> impl Iterator<Item = u32> {
        let (mut at, end) = match parent {
            Some(parent) => (parent + 1, self.end(parent)),
            None => (0, self.nodes.len() as u32),
        };
        std::iter::from_fn(move || {
            let child = (at < end).then_some(at)?;
            at = self.end(child);
            Some(child)
        })
    }

    pub(super) fn byte(&self, node: u32) -> u8 {
        self.nodes[node as usize].byte
    }

    /// The tokens whose words end at a node.
    pub(super) fn tokens(&self, node: u32) -> &[u32] {
        &self.tokens[self.first(node)..self.first(node + 1)]
    }

    /// The tokens whose words go by a node.
    pub(super) fn tokens_behind(&self, node: u32) -> &[u32] {
        &self.tokens[self.first(node)..self.first(self.end(node))]
    }

    fn end(&self, node: u32) -> u32 {
        node + self.nodes[node as usize].size
    }

    fn first(&self, node: u32) -> usize {
        self.nodes.get(node as usize).map_or(self.tokens.len(), |node| node.first as usize)
    }

    /// Allows the tokens of all words that the recognizer takes, byte for byte.
    pub(super) fn walk(&self, recognizer: &mut impl Recognizer, mask: &mut SimpleVob) {
        self.walk_range(0, self.nodes.len() as u32, 0, recognizer, mask);
    }

    /// The same of what stands behind a node, whose byte the recognizer has taken.
    pub(super) fn walk_behind(&self, node: u32, recognizer: &mut impl Recognizer, mask: &mut SimpleVob) {
        self.walk_range(node + 1, self.end(node), self.nodes[node as usize].depth, recognizer, mask);
    }

    fn walk_range(&self, from: u32, end: u32, depth: u8, recognizer: &mut impl Recognizer, mask: &mut SimpleVob) {
        let (mut at, mut pushed) = (from, 0);
        while at < end {
            let node = self.nodes[at as usize];
            let before = usize::from(node.depth - depth - 1);
            recognizer.pop_bytes(pushed - before);
            if recognizer.try_push_byte(node.byte) {
                self.tokens(at).iter().for_each(|&token| mask.allow_token(token));
                pushed = before + 1;
                at += 1;
            } else {
                pushed = before;
                at += node.size;
            }
        }
        recognizer.pop_bytes(pushed);
    }
}

/// Ends the nodes behind so many open ones: their sizes are known.
fn close(nodes: &mut [Node], open: &mut Vec<usize>, keep: usize) {
    let end = nodes.len();
    for node in open.drain(keep..) {
        nodes[node].size = (end - node) as u32;
    }
}
