//! Storage with small keys that are never mistaken: an index that is used again, with a generation that is not.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use crate::chunks::Chunks;

/// A key into a [`Slab`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// A map from keys that it makes itself; the key of a removed value finds nothing, even when its place is used again.
pub(crate) struct Slab<T> {
    slots: Chunks<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Slab<T> {
        Slab { slots: Chunks::new(), free: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index];
            slot.value = Some(value);
            return Key { index, generation: slot.generation };
        }
        let index = u32::try_from(self.slots.len()).expect("limits keep the number of values far below 2^32");
        self.slots.push(Slot { generation: 0, value: Some(value) });
        Key { index, generation: 0 }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.slots.get(key.index).filter(|s| s.generation == key.generation)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slots.get_mut(key.index).filter(|s| s.generation == key.generation)?.value.as_mut()
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index).filter(|s| s.generation == key.generation)?;
        let value = slot.value.take()?;
        // A place whose generations are used up is never used again, so no key is ever repeated.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(key.index);
        }
        Some(value)
    }

    /// How many places there are, used or not: who looks at each [in turn](Slab::key_at) has seen all values.
    pub(crate) fn places(&self) -> u32 {
        // `insert` saw to it that they fit.
        self.slots.len() as u32
    }

    /// The key of the value at a place, if there is one.
    pub(crate) fn key_at(&self, index: u32) -> Option<Key> {
        let slot = self.slots.get(index)?;
        slot.value.as_ref().map(|_| Key { index, generation: slot.generation })
    }
}

/// Of a value that is there: where a key may be stale, it is [`get`](Slab::get).
impl<T> Index<Key> for Slab<T> {
    type Output = T;

    fn index(&self, key: Key) -> &T {
        self.get(key).expect("who uses this key keeps its value alive")
    }
}

impl<T> IndexMut<Key> for Slab<T> {
    fn index_mut(&mut self, key: Key) -> &mut T {
        self.get_mut(key).expect("who uses this key keeps its value alive")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut slab = Slab::new();
        let first = slab.insert("a");
        assert_eq!(slab.remove(first), Some("a"));
        let second = slab.insert("b");
        assert_eq!(first.index, second.index);
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&"b")));
        assert_eq!((slab.remove(first), slab.len()), (None, 1));
    }

    #[test]
    fn every_value_has_its_place() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..3).map(|value| slab.insert(value)).collect();
        slab.remove(keys[1]);
        let found: Vec<_> = (0..slab.places()).map(|place| slab.key_at(place)).collect();
        assert_eq!(found, [Some(keys[0]), None, Some(keys[2])]);
        assert_eq!(slab.key_at(3), None);
    }

    #[test]
    fn a_place_at_its_last_generation_is_left() {
        let mut slab = Slab::new();
        let key = slab.insert(1);
        slab.slots[0].generation = u32::MAX;
        let last = Key { generation: u32::MAX, ..key };
        assert_eq!(slab.remove(last), Some(1));
        assert_eq!(slab.insert(2).index, 1);
        assert_eq!(slab.get(last), None);
    }
}
