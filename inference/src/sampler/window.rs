//! The tokens that penalties look back on.

use std::collections::VecDeque;

/// The last tokens of the text, and how often each stands there.
#[derive(Debug, Clone)]
pub(super) struct Window {
    length: usize,
    tokens: VecDeque<u32>,
    /// Sorted by token. Short, so moving its end costs less than a map's hashing, and its order is certain.
    counts: Vec<(u32, u32)>,
}

impl Window {
    pub(super) fn new(length: usize) -> Self {
        Self { length, tokens: VecDeque::with_capacity(length), counts: Vec::with_capacity(length) }
    }

    /// The tokens, each once, with how often they stand there; sorted by token.
    pub(super) fn counts(&self) -> &[(u32, u32)] {
        &self.counts
    }

    /// How often a token stands there.
    pub(super) fn count(&self, token: u32) -> u32 {
        self.counts.binary_search_by_key(&token, |&(id, _)| id).map_or(0, |place| self.counts[place].1)
    }

    /// Whether it looks back at all.
    pub(super) fn is_used(&self) -> bool {
        self.length > 0
    }

    pub(super) fn push(&mut self, token: u32) {
        if self.length == 0 {
            return;
        }
        if self.tokens.len() == self.length {
            self.forget_oldest();
        }
        self.tokens.push_back(token);
        match self.counts.binary_search_by_key(&token, |&(id, _)| id) {
            Ok(place) => self.counts[place].1 += 1,
            Err(place) => self.counts.insert(place, (token, 1)),
        }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.tokens.pop_front() else { return };
        let place = self.counts.binary_search_by_key(&oldest, |&(id, _)| id);
        let place = place.expect("every token of the window is counted");
        self.counts[place].1 -= 1;
        if self.counts[place].1 == 0 {
            self.counts.remove(place);
        }
    }
}
