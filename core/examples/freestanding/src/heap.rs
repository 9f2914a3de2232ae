//! An allocator over one static array: blocks whose size is a power of two, and a list of free ones for each size.
//!
//! A block goes back into its list and serves the next request of its size. Nothing is split or joined, so allocating and
//! freeing take constant time, and a program with bounded state has a bounded heap.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use core::ptr::null_mut;

/// Bytes of the array: what this program needs and some more. Its end says how much it took.
pub const BYTES: usize = 128 * 1024;

/// The smallest block, and how blocks are aligned. Nothing in the core asks for more.
const UNIT: usize = 16;

/// Sizes of blocks: powers of two, of which the largest is half of the address space.
const CLASSES: usize = usize::BITS as usize;

#[repr(align(16))]
struct Arena(UnsafeCell<[u8; BYTES]>);

/// The allocator.
pub struct Heap {
    arena: Arena,
    /// Bytes that blocks have taken of the array, from its start.
    taken: Cell<usize>,
    /// The first free block of each size; a free block's first bytes point to the next.
    free: [Cell<*mut u8>; CLASSES],
    used: Cell<usize>,
    peak: Cell<usize>,
}

// SAFETY: the program has one thread and no interrupts.
unsafe impl Sync for Heap {}

impl Heap {
    pub const fn new() -> Heap {
        Heap {
            arena: Arena(UnsafeCell::new([0; BYTES])),
            taken: Cell::new(0),
            free: [const { Cell::new(null_mut()) }; CLASSES],
            used: Cell::new(0),
            peak: Cell::new(0),
        }
    }

    /// The most bytes that were in use at once, as blocks.
    pub fn peak(&self) -> usize {
        self.peak.get()
    }

    /// Bytes that are in use, as blocks.
    pub fn used(&self) -> usize {
        self.used.get()
    }

    /// A block that no one has had yet, or null.
    fn fresh(&self, size: usize) -> *mut u8 {
        let start = self.taken.get();
        let Some(end) = start.checked_add(size).filter(|end| *end <= BYTES) else { return null_mut() };
        self.taken.set(end);
        // SAFETY: `start` lies within the array, of which the bytes from there to `end` belong to this block alone.
        unsafe { self.arena.0.get().cast::<u8>().add(start) }
    }
}

/// The size of the block for a layout, if there can be one.
fn block_size(layout: Layout) -> Option<usize> {
    let size = layout.size().max(UNIT).checked_next_power_of_two()?;
    (layout.align() <= UNIT).then_some(size)
}

// SAFETY: blocks do not overlap, are as large as asked and aligned to `UNIT`, and stay until they are given back.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(size) = block_size(layout) else { return null_mut() };
        let free = &self.free[size.trailing_zeros() as usize];
        let block = if free.get().is_null() {
            self.fresh(size)
        } else {
            let block = free.get();
            // SAFETY: a free block has at least `UNIT` bytes, of which `dealloc` wrote the first.
            free.set(unsafe { block.cast::<*mut u8>().read() });
            block
        };
        if !block.is_null() {
            self.used.set(self.used.get() + size);
            self.peak.set(self.peak.get().max(self.used.get()));
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(size) = block_size(layout) else { return };
        let free = &self.free[size.trailing_zeros() as usize];
        // SAFETY: the block is the caller's to give, has at least `UNIT` bytes and is aligned for a pointer.
        unsafe { block.cast::<*mut u8>().write(free.get()) };
        free.set(block);
        self.used.set(self.used.get() - size);
    }
}
