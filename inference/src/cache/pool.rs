//! The pages themselves: how many there may be, which are free, and how many have each.

use std::ops::{Index, IndexMut};

use super::PageShape;
use crate::kernel::{Arena, Pairs, Slab};

/// Bytes of address space that pages take at a time: memory in large pages is read up to twice as fast, where there is
/// much of it.
const CHUNK_BYTES: usize = 64 << 20;

/// Pages that have memory of their own: the first write to a large page may take milliseconds, which the first prompts
/// do not wait for.
const ALONE: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PageId(u32);

pub(super) struct Pool {
    shape: PageShape,
    /// For the first pages, and for the others.
    arenas: [Arena; 2],
    pages: Vec<Page>,
    free: Vec<PageId>,
    limit: usize,
}

pub(super) struct Page {
    pub(super) pairs: Slab<Pairs>,
    users: u32,
}

impl Pool {
    /// Of at most so many bytes, and at least one page. Memory is taken as it is used.
    pub(super) fn new(shape: PageShape, limit_bytes: usize) -> Self {
        let limit = (limit_bytes / shape.page_bytes().max(1)).clamp(1, u32::MAX as usize);
        let chunk_bytes = CHUNK_BYTES.min(limit.saturating_mul(shape.page_bytes()));
        Self { shape, arenas: [Arena::new(0), Arena::new(chunk_bytes)], pages: Vec::new(), free: Vec::new(), limit }
    }

    /// Pages that may exist at once.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Pages that somebody has.
    pub(super) fn used(&self) -> usize {
        self.pages.len() - self.free.len()
    }

    /// Bytes that all pages take, free ones included.
    pub(super) fn bytes(&self) -> usize {
        self.pages.len() * self.shape.page_bytes()
    }

    /// A page with one user, if there may be another.
    pub(super) fn allocate(&mut self) -> Option<PageId> {
        if let Some(page) = self.free.pop() {
            self.pages[page.0 as usize].users = 1;
            return Some(page);
        }
        if self.pages.len() == self.limit {
            return None;
        }
        let arena = &self.arenas[usize::from(self.pages.len() >= ALONE)];
        let pairs = arena.zeros(self.shape.page_pairs());
        self.pages.push(Page { pairs, users: 1 });
        Some(PageId(self.pages.len() as u32 - 1))
    }

    /// All pages, and where among them one is.
    pub(super) fn pages_mut(&mut self) -> &mut [Page] {
        &mut self.pages
    }

    /// Where a page is among all.
    pub(super) fn place(&self, page: PageId) -> usize {
        page.0 as usize
    }

    /// How many have a page.
    pub(super) fn users(&self, page: PageId) -> u32 {
        self.pages[page.0 as usize].users
    }

    /// One more has a page.
    pub(super) fn share(&mut self, page: PageId) {
        self.pages[page.0 as usize].users += 1;
    }

    /// One fewer has a page; it is free when nobody has it. Free pages hold finite numbers, whatever was computed in them:
    /// a kernel may multiply what stands behind a sequence's last token by zero.
    pub(super) fn give_back(&mut self, page: PageId) {
        let Page { pairs, users } = &mut self.pages[page.0 as usize];
        *users -= 1;
        if *users == 0 {
            if !self.shape.is_finite(pairs) {
                pairs.fill(Pairs::ZERO);
            }
            self.free.push(page);
        }
    }

    /// Copies all of a page to another one.
    pub(super) fn copy(&mut self, from: PageId, to: PageId) {
        let [from, to] = self
            .pages
            .get_disjoint_mut([from.0 as usize, to.0 as usize])
            .expect("a page is copied to one that was just allocated");
        to.pairs.copy_from_slice(&from.pairs);
    }
}

impl Index<PageId> for Pool {
    type Output = [Pairs];

    fn index(&self, page: PageId) -> &[Pairs] {
        &self.pages[page.0 as usize].pairs
    }
}

impl IndexMut<PageId> for Pool {
    fn index_mut(&mut self, page: PageId) -> &mut [Pairs] {
        &mut self.pages[page.0 as usize].pairs
    }
}

#[cfg(test)]
impl Pool {
    /// Checks that pages are in use as often as somebody has one, and else free, once, and finite.
    #[track_caller]
    pub(super) fn check(&self, had: &[PageId]) {
        assert!(self.pages.len() <= self.limit);
        for (at, page) in self.pages.iter().enumerate() {
            let count = |list: &[PageId]| list.iter().filter(|page| page.0 as usize == at).count();
            assert_eq!(page.users as usize, count(had), "users of {at}");
            assert_eq!(count(&self.free), usize::from(page.users == 0), "free places of {at}");
            assert!(page.users > 0 || self.shape.is_finite(&page.pairs));
        }
    }
}
