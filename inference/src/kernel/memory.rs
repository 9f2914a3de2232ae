//! Memory for weights: large pages, where the system has them.
//!
//! A step reads all weights once, some hundred megabytes. With pages of 4 KiB the processor looks up an address every
//! 64 lines and its prefetchers stop there; with pages of 2 MiB reading is up to half as fast again. Single matrices
//! are smaller than such a page, so they share an [`Arena`]. How large pages are come by says [`large`].

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::MmapMut;

use super::large::{self, LARGE_PAGE, Settling, Small};

/// Where slabs begin: at a cache line.
const ALIGNMENT: usize = 64;

/// Types for which memory of zeros is a value, and which need nobody to drop them.
///
/// # Safety
/// All of this must be true of the type, and its alignment at most 64.
pub unsafe trait Plain: Copy + Send + Sync {}

// SAFETY: an array of bytes, aligned to 64.
unsafe impl Plain for crate::pack::Line {}
// SAFETY: an array of integers, aligned to 32.
unsafe impl Plain for crate::pack::Halves {}
// SAFETY: an array of bytes, aligned to 16.
unsafe impl Plain for crate::pack::Norms {}
// SAFETY: an array of integers, aligned to 64.
unsafe impl Plain for super::Pairs {}
// SAFETY: an array of integers, aligned to 64.
unsafe impl Plain for super::activations::Tile {}
// SAFETY: an integer.
unsafe impl Plain for i8 {}
// SAFETY: a float, which is zero if all of its bits are.
unsafe impl Plain for f32 {}

/// Where slabs are cut from, chunk by chunk. Memory is taken from the system as it is written.
pub struct Arena {
    chunk_bytes: usize,
    current: Mutex<Option<Chunk>>,
    /// Pages of the first chunk that have been left small.
    small: Option<Small>,
}

struct Chunk {
    map: Arc<MmapMut>,
    start: NonNull<u8>,
    /// Bytes in use, and bytes there are, from `start`.
    used: usize,
    len: usize,
}

// SAFETY: the pointer is to the mapping, which the chunk owns.
unsafe impl Send for Chunk {}

impl Arena {
    /// One that takes at least so many bytes of address space at a time.
    pub fn new(chunk_bytes: usize) -> Self {
        Self { chunk_bytes, current: Mutex::new(None), small: None }
    }

    /// One that has `room` bytes to begin with, written to by all threads of the current rayon pool: threads that write to one
    /// large page for the first time would each clear one, and all but one of these in vain.
    pub fn with_room(room: usize, chunk_bytes: usize) -> Self {
        let chunk = Chunk::new(room, Pages::WhenWritten);
        Self {
            chunk_bytes,
            small: (chunk.len >= LARGE_PAGE).then(|| {
                let start = chunk.start.addr().get() - chunk.map.as_ptr().addr();
                // SAFETY: nothing has been cut from this chunk.
                unsafe { large::fault_in(&chunk.map, start..start + chunk.len.next_multiple_of(LARGE_PAGE)) }
            }),
            current: Mutex::new(Some(chunk)),
        }
    }

    /// Starts what makes large pages of those that were not to be had in time.
    pub fn settle(self) -> Option<Settling> {
        Settling::start(self.small?, large::REST)
    }

    /// A slab of zeros.
    ///
    /// # Panics
    /// If the system has no memory left, as an allocation of any other kind does.
    pub fn zeros<T: Plain>(&self, len: usize) -> Slab<T> {
        const { assert!(align_of::<T>() <= ALIGNMENT) };
        let bytes = len.checked_mul(size_of::<T>()).expect("a matrix fits into the address space");
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let mut whole;
        let chunk = match &mut *current {
            Some(chunk) if chunk.len - chunk.used >= bytes => chunk,
            // Leaves the current one to those that come after.
            _ if bytes >= self.chunk_bytes => {
                whole = Chunk::new(bytes, Pages::Large);
                &mut whole
            }
            other => other.insert(Chunk::new(self.chunk_bytes, Pages::Large)),
        };
        // SAFETY: the chunk has so many bytes left, and `used` never goes back, so nobody else gets these.
        let start = unsafe { chunk.start.add(chunk.used) }.cast();
        chunk.used = (chunk.used + bytes).next_multiple_of(ALIGNMENT).min(chunk.len);
        Slab { start, len, _map: chunk.map.clone(), _elements: PhantomData }
    }
}

/// Which pages a chunk gets from the start, if it is as long as a large one.
#[derive(Clone, Copy, PartialEq)]
enum Pages {
    Large,
    /// As is said before each is written to.
    WhenWritten,
}

impl Chunk {
    fn new(bytes: usize, pages: Pages) -> Self {
        let len = bytes.next_multiple_of(ALIGNMENT).max(ALIGNMENT);
        let large = len >= LARGE_PAGE;
        let room = if large { len.next_multiple_of(LARGE_PAGE) + LARGE_PAGE } else { len };
        let mut map = MmapMut::map_anon(room).unwrap_or_else(|error| panic!("{room} bytes cannot be had: {error}"));
        // A system that has none gives small pages, which are as good but slower.
        if large && pages == Pages::Large {
            let _ = large::advise(&map, 0, map.len());
        }
        let start = NonNull::new(map.as_mut_ptr()).expect("a mapping has an address");
        let skipped = if large { start.align_offset(LARGE_PAGE).min(LARGE_PAGE) } else { 0 };
        // SAFETY: at most a large page is skipped, which `room` has beside `len`.
        let start = unsafe { start.add(skipped) };
        Self { map: Arc::new(map), start, used: 0, len }
    }
}

/// Elements in an arena.
pub struct Slab<T> {
    start: NonNull<T>,
    len: usize,
    /// Keeps the memory.
    _map: Arc<MmapMut>,
    _elements: PhantomData<T>,
}

// SAFETY: a slab owns its elements as a vector does; the mapping is only kept, never used.
unsafe impl<T: Plain> Send for Slab<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Sync for Slab<T> {}

impl<T: Plain> Deref for Slab<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `Arena::zeros` gave this slab, and nobody else, `len` elements of zeros, aligned to 64, which is a value of a
        // plain type.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Slab<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::{Halves, Line};

    #[test]
    fn what_there_is_room_for_lies_in_it() {
        let arena = Arena::with_room(3 * LARGE_PAGE, 0);
        let lens = [1 << 20, 64, 4 << 20];
        let starts = lens.map(|bytes| arena.zeros::<Line>(bytes / 64).as_ptr().addr());
        assert!(starts[0].is_multiple_of(LARGE_PAGE));
        assert_eq!([starts[1] - starts[0], starts[2] - starts[1]], [lens[0], lens[1]]);
        drop(arena.settle());
    }

    #[test]
    fn slabs_are_zeros_of_their_own_that_outlive_the_arena() {
        let with_room = [0, 1_000, LARGE_PAGE, 5 << 20].map(|room| Arena::with_room(room, 1_000));
        for arena in [0, 1_000, 5 << 20].map(Arena::new).into_iter().chain(with_room) {
            let lens = [1, 0, 7, 100, 40_000, 3];
            let mut slabs: Vec<Slab<Line>> = lens.iter().map(|&len| arena.zeros(len)).collect();
            let halves: Slab<Halves> = arena.zeros(3);
            drop(arena);
            for (n, (slab, len)) in slabs.iter_mut().zip(lens).enumerate() {
                assert_eq!(slab.len(), len);
                assert!(slab.iter().all(|line| line.0 == [0; 64]) && slab.as_ptr().addr().is_multiple_of(64));
                slab.fill(Line([n as u8 + 1; 64]));
            }
            for (n, slab) in slabs.iter().enumerate() {
                assert!(slab.iter().all(|line| line.0 == [n as u8 + 1; 64]));
            }
            assert!(halves.iter().all(|halves| halves.0 == [0; 16]));
        }
    }
}
