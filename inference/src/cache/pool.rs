//! The pages themselves: how many there may be, which are free, and how many have each.

use std::ops::{Index, IndexMut};

use super::PageShape;
use crate::pack::{GROUP, Halves};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageId(u32);

pub(super) struct Pool {
    shape: PageShape,
    pages: Vec<Page>,
    free: Vec<PageId>,
    limit: usize,
}

struct Page {
    halves: Vec<Halves>,
    users: u32,
}

impl Pool {
    /// Of at most so many bytes, and at least one page. Memory is taken as it is used.
    pub(super) fn new(shape: PageShape, limit_bytes: usize) -> Self {
        let limit = (limit_bytes / shape.page_bytes().max(1)).clamp(1, u32::MAX as usize);
        Self { shape, pages: Vec::new(), free: Vec::new(), limit }
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
        let halves = vec![Halves([0; GROUP]); self.shape.page_lines()];
        self.pages.push(Page { halves, users: 1 });
        Some(PageId(self.pages.len() as u32 - 1))
    }

    /// How many have a page.
    pub(super) fn users(&self, page: PageId) -> u32 {
        self.pages[page.0 as usize].users
    }

    /// One more has a page.
    pub(super) fn share(&mut self, page: PageId) {
        self.pages[page.0 as usize].users += 1;
    }

    /// One fewer has a page; it is free when nobody has it.
    pub(super) fn give_back(&mut self, page: PageId) {
        let users = &mut self.pages[page.0 as usize].users;
        *users -= 1;
        if *users == 0 {
            self.free.push(page);
        }
    }
}

impl Index<PageId> for Pool {
    type Output = [Halves];

    fn index(&self, page: PageId) -> &[Halves] {
        &self.pages[page.0 as usize].halves
    }
}

impl IndexMut<PageId> for Pool {
    fn index_mut(&mut self, page: PageId) -> &mut [Halves] {
        &mut self.pages[page.0 as usize].halves
    }
}
