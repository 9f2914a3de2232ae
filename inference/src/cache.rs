//! Keys and values of tokens that were computed, in pages of [`PAGE`] tokens.
//!
//! A page holds all layers of 64 consecutive positions of one sequence, as halves. Pages are counted, so that sequences
//! with a common beginning share its full pages; a page is written only while one sequence has it. What a finished
//! sequence leaves is *kept* with its tokens, for the next turn of the same conversation or any prompt that begins alike,
//! until memory is wanted: then the longest unused goes first.

mod layout;
mod pool;

use std::collections::VecDeque;
use std::ops::Range;

pub use crate::kernel::{PAGE, Span};
pub use layout::PageShape;

use pool::{PageId, Pool};

/// Finished sequences that are kept, at most. Each costs its tokens (4 bytes) beside its pages, and is looked through for
/// every new prompt.
pub const KEPT_SEQUENCES: usize = 256;

/// Pages, and who has them.
pub struct Cache {
    shape: PageShape,
    pool: Pool,
    kept: VecDeque<Kept>, // the longest unused first; of a session one at most
}

/// The pages of one sequence, in the order of positions. It must go back by [`Cache::release`] or [`Cache::keep`].
#[derive(Debug, Default)]
pub struct PageTable {
    pages: Vec<PageId>,
}

/// What a finished sequence left.
struct Kept {
    session: Option<u128>,
    tokens: Vec<u32>,
    table: PageTable,
}

/// No page is free, and nothing kept could give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

impl Cache {
    /// A cache of at most `limit_bytes`, and at least one page. Memory is taken as it is used.
    pub fn new(shape: PageShape, limit_bytes: usize) -> Self {
        Self { shape, pool: Pool::new(shape, limit_bytes), kept: VecDeque::new() }
    }

    /// Pages that may exist at once.
    pub fn limit_pages(&self) -> usize {
        self.pool.limit()
    }

    /// Pages that hold something, kept ones included.
    pub fn used_pages(&self) -> usize {
        self.pool.used()
    }

    /// Bytes that all pages take, free ones included.
    pub fn bytes(&self) -> usize {
        self.pool.bytes()
    }

    /// Finds what is known of a prompt: pages for its first `n` tokens, and `n`. At least the last token is left to
    /// compute, as its logits are wanted. What the same session left is taken over, or let go if another knows more; of
    /// others full pages are shared.
    pub fn resume(&mut self, session: Option<u128>, prompt: &[u32]) -> (PageTable, usize) {
        let known = |kept: &Kept| common_prefix(&kept.tokens, &prompt[..prompt.len().saturating_sub(1)]);
        let own = self.take_own(session);
        let of_own = own.as_ref().map_or(0, known);
        let other = (0..self.kept.len()).max_by_key(|&at| known(&self.kept[at]) / PAGE);
        let of_other = other.map_or(0, |at| known(&self.kept[at]) / PAGE * PAGE);
        if of_other > of_own {
            own.into_iter().for_each(|own| self.release(own.table));
            let at = other.expect("it has known tokens");
            let kept = self.kept.remove(at).expect("the place was found in the same list");
            let pages = kept.table.pages[..of_other / PAGE].to_vec();
            pages.iter().for_each(|&page| self.pool.share(page));
            self.kept.push_back(kept); // now the last used
            return (PageTable { pages }, of_other);
        }
        let Some(Kept { mut table, .. }) = own else { return (PageTable::default(), 0) };
        // A page that others have must not be written: begin it anew.
        let mut known = of_own;
        let tail = known / PAGE;
        if !known.is_multiple_of(PAGE) && self.pool.users(table.pages[tail]) > 1 {
            known = tail * PAGE;
        }
        self.truncate(&mut table, known.div_ceil(PAGE));
        (table, known)
    }

    /// Makes room for positions up to `len` (exclusive), letting go of what is kept if need be.
    ///
    /// # Errors
    /// [`Exhausted`] if the limit does not allow it; the table is then as long as it could be made.
    pub fn reserve(&mut self, table: &mut PageTable, len: usize) -> Result<(), Exhausted> {
        while table.pages.len() < len.div_ceil(PAGE) {
            let page = self.allocate().ok_or(Exhausted)?;
            table.pages.push(page);
        }
        Ok(())
    }

    /// Gives a sequence's pages back.
    pub fn release(&mut self, mut table: PageTable) {
        self.truncate(&mut table, 0);
    }

    /// Takes out what a session left.
    fn take_own(&mut self, session: Option<u128>) -> Option<Kept> {
        let at = self.kept.iter().position(|kept| session.is_some() && kept.session == session)?;
        self.kept.remove(at)
    }

    /// Gives a sequence's pages back, to be found again by its `tokens`: those whose keys and values were computed. They
    /// take the place of what an earlier sequence of the same session left.
    pub fn keep(&mut self, session: Option<u128>, mut tokens: Vec<u32>, mut table: PageTable) {
        tokens.truncate(table.pages.len() * PAGE);
        self.truncate(&mut table, tokens.len().div_ceil(PAGE));
        if tokens.is_empty() {
            return;
        }
        if let Some(earlier) = self.take_own(session) {
            self.release(earlier.table);
        }
        if self.kept.len() == KEPT_SEQUENCES {
            self.evict();
        }
        self.kept.push_back(Kept { session, tokens, table });
    }

    /// Forgets the longest unused of what is kept. False: nothing is kept.
    fn evict(&mut self) -> bool {
        self.kept.pop_front().map(|kept| self.release(kept.table)).is_some()
    }

    fn allocate(&mut self) -> Option<PageId> {
        loop {
            let page = self.pool.allocate();
            if page.is_some() || !self.evict() {
                return page;
            }
        }
    }

    fn truncate(&mut self, table: &mut PageTable, pages: usize) {
        table.pages.drain(pages.min(table.pages.len())..).for_each(|page| self.pool.give_back(page));
    }

    /// Stores the key and value of one position and layer: `[kv head][dimension]`.
    ///
    /// # Panics
    /// If the position has no page ([`Cache::reserve`]), or its page is shared.
    pub fn store(&mut self, table: &PageTable, position: usize, layer: usize, key: &[f32], value: &[f32]) {
        let page = table.pages[position / PAGE];
        assert_eq!(self.pool.users(page), 1, "a shared page is never written");
        self.shape.store(&mut self.pool[page], position % PAGE, layer, key, value);
    }

    /// Some positions of a sequence, for one layer and head.
    ///
    /// # Panics
    /// When the iterator is run, if the table is shorter.
    pub fn spans<'a>(
        &'a self,
        table: &'a PageTable,
        positions: Range<usize>,
        layer: usize,
        kv_head: usize,
    ) -> impl Iterator<Item = Span<'a>> + Clone {
        (positions.start / PAGE..positions.end.div_ceil(PAGE)).map(move |page| {
            let seen = positions.start.saturating_sub(page * PAGE)..PAGE.min(positions.end - page * PAGE);
            self.shape.span(&self.pool[table.pages[page]], seen, layer, kv_head)
        })
    }
}

fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
#[path = "cache/tests.rs"]
mod tests;
