//! Ids by what they stand for: one flat table, beside texts that are kept elsewhere.

use std::hash::{BuildHasher, RandomState};

use super::vocabulary::MAX_VOCABULARY;

/// Bits of a slot that are an id. The others are some of the text's hash, so that few texts are looked at in vain.
const ID_BITS: u32 = MAX_VOCABULARY.ilog2();
const ID: u32 = (1 << ID_BITS) - 1;

/// An empty slot; no hash has all of its bits set there.
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

/// Where a text is, or would be.
struct Place {
    slot: usize,
    /// What is in the slot beside the id.
    tag: u32,
}

impl Index {
    /// A table for at most `most` ids, which are below [`MAX_VOCABULARY`].
    pub(super) fn with_capacity(most: usize) -> Self {
        Self { keys: RandomState::new(), slots: vec![NONE; (2 * most).next_power_of_two()], longest: 0 }
    }

    /// Enters an id. Of two with one text the first stays, and is given.
    pub(super) fn insert<'t>(&mut self, id: u32, text_of: impl Fn(u32) -> &'t [u8]) -> Option<u32> {
        let text = text_of(id);
        let Place { slot, tag } = self.place(text, text_of);
        if self.slots[slot] != NONE {
            return Some(self.slots[slot] & ID);
        }
        self.slots[slot] = tag | id;
        self.longest = self.longest.max(text.len());
        None
    }

    /// The id of a text.
    pub(super) fn get<'t>(&self, text: &[u8], text_of: impl Fn(u32) -> &'t [u8]) -> Option<u32> {
        if text.len() > self.longest {
            return None;
        }
        let found = self.slots[self.place(text, text_of).slot];
        (found != NONE).then_some(found & ID)
    }

    /// There is a place, as half of them are empty.
    fn place<'t>(&self, text: &[u8], text_of: impl Fn(u32) -> &'t [u8]) -> Place {
        let hash = self.keys.hash_one(text);
        let tag = ((hash >> 32) as u32 % (NONE >> ID_BITS)) << ID_BITS;
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let found = self.slots[slot];
            if found == NONE || found & !ID == tag && text_of(found & ID) == text {
                return Place { slot, tag };
            }
            slot = (slot + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_under_their_first_id() {
        // So many that slots, and tags of neighbours, collide.
        let texts: Vec<String> = (0..50_000).map(|i| (i / 2 * 7919).to_string()).collect();
        let text_of = |id: u32| texts[id as usize].as_bytes();
        let mut index = Index::with_capacity(texts.len());
        assert_eq!(index.get(b"0", text_of), None);
        for id in 0..texts.len() as u32 {
            assert_eq!(index.insert(id, text_of), (id % 2 == 1).then(|| id - 1));
        }
        for id in 0..texts.len() as u32 {
            assert_eq!(index.get(text_of(id), text_of), Some(id / 2 * 2));
        }
        for other in ["", "x", "00", "12345678901234567890"] {
            assert_eq!(index.get(other.as_bytes(), text_of), None);
        }
    }

    #[test]
    fn the_greatest_id_has_a_slot_of_its_own() {
        let mut index = Index::with_capacity(1);
        assert_eq!(index.insert(ID, |_| b"a"), None);
        assert_eq!(index.get(b"a", |_| b"a"), Some(ID));
    }
}
