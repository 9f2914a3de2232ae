//! An array that grows piece by piece.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// Elements of one piece: enough that the pieces' own cost is nothing beside theirs, and few enough that a small hub
/// stays small.
const CHUNK: usize = 32;

/// An array that never moves what it holds: growing costs the same however long it is, and never doubles its memory.
pub(crate) struct Chunks<T> {
    chunks: Vec<Vec<T>>,
}

impl<T> Chunks<T> {
    pub(crate) fn new() -> Chunks<T> {
        Chunks { chunks: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        match self.chunks.as_slice() {
            [] => 0,
            [full @ .., last] => full.len() * CHUNK + last.len(),
        }
    }

    /// Adds an element at the end; its index is the length before.
    pub(crate) fn push(&mut self, value: T) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(value),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(value);
                self.chunks.push(chunk);
            }
        }
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.chunks.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }
}

impl<T> Index<u32> for Chunks<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        &self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }
}

impl<T> IndexMut<u32> for Chunks<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_an_array() {
        let mut chunks = Chunks::new();
        for i in 0..100_u32 {
            assert_eq!((chunks.len(), chunks.get(i)), (i as usize, None));
            chunks.push(i);
        }
        chunks[31] += 1_000;
        assert!(chunks.iter().copied().eq((0..100).map(|i| if i == 31 { 1_031 } else { i })));
        assert_eq!((chunks[99], chunks.get_mut(100)), (99, None));
    }

    #[test]
    fn nothing_moves() {
        let mut chunks = Chunks::new();
        chunks.push(0);
        let first: *const i32 = &raw const chunks[0];
        for i in 1..10_000 {
            chunks.push(i);
        }
        assert_eq!(first, &raw const chunks[0]);
    }
}
