//! Ids by what they stand for: one flat table, beside texts that are kept elsewhere.

use std::hash::{BuildHasher, RandomState};

/// An empty slot.
const NONE: u32 = u32::MAX;

/// A table with open addressing. Slots hold ids, so that nothing is stored twice; the hash is keyed at random, so that no file
/// can make lookups collide. Whoever asks says what the ids stand for.
#[derive(Debug, Clone)]
pub(super) struct Index {
    keys: RandomState,
    /// As many as a power of two, at most half of them in use.
    slots: Vec<u32>,
    longest: usize,
}

impl Index {
    /// A table for at most `most` texts.
    pub(super) fn with_capacity(most: usize) -> Self {
        Self { keys: RandomState::new(), slots: vec![NONE; (2 * most).next_power_of_two()], longest: 0 }
    }

    /// Enters an id. Of two with one text the first stays, and is given.
    pub(super) fn insert<'t>(&mut self, id: u32, text_of: impl Fn(u32) -> &'t [u8]) -> Option<u32> {
        let text = text_of(id);
        let slot = self.slot(text, text_of);
        if self.slots[slot] != NONE {
            return Some(self.slots[slot]);
        }
        self.slots[slot] = id;
        self.longest = self.longest.max(text.len());
        None
    }

    /// The id of a text.
    pub(super) fn get<'t>(&self, text: &[u8], text_of: impl Fn(u32) -> &'t [u8]) -> Option<u32> {
        if text.len() > self.longest {
            return None;
        }
        Some(self.slots[self.slot(text, text_of)]).filter(|&id| id != NONE)
    }

    /// The slot in which a text is, or would be. There is one, as half of them are empty.
    fn slot<'t>(&self, text: &[u8], text_of: impl Fn(u32) -> &'t [u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = self.keys.hash_one(text) as usize & mask;
        while self.slots[at] != NONE && text_of(self.slots[at]) != text {
            at = (at + 1) & mask;
        }
        at
    }
}
