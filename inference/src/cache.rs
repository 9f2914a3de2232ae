//! Keys and values of tokens that were computed, in pages of [`PAGE`] tokens.
//!
//! A page holds all layers of 64 consecutive positions of one sequence, as halves. Pages are counted, so that sequences
//! with a common beginning share its full pages; a page is written only while one sequence has it. What a finished
//! sequence leaves is *kept* with its tokens, for the next turn of the same conversation or any prompt that begins alike,
//! until memory is wanted: then the longest unused goes first.

use std::collections::VecDeque;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::pack::{GROUP, Halves};

pub use crate::kernel::{PAGE, Span};

/// Finished sequences that are kept, at most. Each costs its tokens (4 bytes) beside its pages, and is looked through for
/// every new prompt.
pub const KEPT_SEQUENCES: usize = 256;

/// The numbers that a page's layout depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageShape {
    /// Layers.
    pub layers: usize,
    /// Key-value heads of a layer.
    pub kv_heads: usize,
    /// Dimensions of a head.
    pub head_dim: usize,
}

impl PageShape {
    /// Registers' worth of halves in a value.
    fn value_lines(self) -> usize {
        self.head_dim.div_ceil(GROUP)
    }

    /// Halves of the keys of one head in a page, in units of 16.
    fn key_span(self) -> usize {
        self.head_dim * (PAGE / GROUP)
    }

    fn value_span(self) -> usize {
        PAGE * self.value_lines()
    }

    /// Bytes of a page.
    pub fn page_bytes(self) -> usize {
        self.layers * self.kv_heads * (self.key_span() + self.value_span()) * size_of::<Halves>()
    }
}

/// Pages, and who has them.
pub struct Cache {
    shape: PageShape,
    pages: Vec<Page>,
    free: Vec<PageId>,
    limit_pages: usize,
    kept: VecDeque<Kept>, // the longest unused first; of a session one at most
}

/// `[layer][kv head]` of keys `[dimension][token]`, then values `[token][dimension]`.
struct Page {
    halves: Vec<Halves>,
    users: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PageId(u32);

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
        let limit_pages = (limit_bytes / shape.page_bytes().max(1)).clamp(1, u32::MAX as usize);
        Self { shape, pages: Vec::new(), free: Vec::new(), limit_pages, kept: VecDeque::new() }
    }

    /// Pages that may exist at once.
    pub fn limit_pages(&self) -> usize {
        self.limit_pages
    }

    /// Pages that hold something, kept ones included.
    pub fn used_pages(&self) -> usize {
        self.pages.len() - self.free.len()
    }

    /// Bytes that all pages take, free ones included.
    pub fn bytes(&self) -> usize {
        self.pages.len() * self.shape.page_bytes()
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
            pages.iter().for_each(|page| self.pages[page.0 as usize].users += 1);
            self.kept.push_back(kept); // now the last used
            return (PageTable { pages }, of_other);
        }
        let Some(Kept { mut table, .. }) = own else { return (PageTable::default(), 0) };
        // A page that others have must not be written: begin it anew.
        let mut known = of_own;
        let tail = known / PAGE;
        if !known.is_multiple_of(PAGE) && self.pages[table.pages[tail].0 as usize].users > 1 {
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
            if let Some(page) = self.free.pop() {
                self.pages[page.0 as usize].users = 1;
                return Some(page);
            }
            if self.pages.len() < self.limit_pages {
                let halves = vec![Halves([0; GROUP]); self.shape.page_bytes() / size_of::<Halves>()];
                self.pages.push(Page { halves, users: 1 });
                return Some(PageId(self.pages.len() as u32 - 1));
            }
            if !self.evict() {
                return None;
            }
        }
    }

    fn truncate(&mut self, table: &mut PageTable, pages: usize) {
        for page in table.pages.drain(pages.min(table.pages.len())..) {
            let users = &mut self.pages[page.0 as usize].users;
            *users -= 1;
            if *users == 0 {
                self.free.push(page);
            }
        }
    }

    /// Where the keys of a layer and head begin in a page.
    fn place(&self, layer: usize, kv_head: usize) -> usize {
        (layer * self.shape.kv_heads + kv_head) * (self.shape.key_span() + self.shape.value_span())
    }

    /// Stores the key and value of one position and layer: `[kv head][dimension]`.
    ///
    /// # Panics
    /// If the position has no page ([`Cache::reserve`]), or its page is shared.
    pub fn store(&mut self, table: &PageTable, position: usize, layer: usize, key: &[f32], value: &[f32]) {
        let (shape, token) = (self.shape, position % PAGE);
        let page = table.pages[position / PAGE];
        assert_eq!(self.pages[page.0 as usize].users, 1, "a shared page is never written");
        let mut halves = [f16::ZERO; GROUP];
        for (head, (key, value)) in key.chunks_exact(shape.head_dim).zip(value.chunks_exact(shape.head_dim)).enumerate()
        {
            let at = self.place(layer, head);
            let span = &mut self.pages[page.0 as usize].halves[at..][..shape.key_span() + shape.value_span()];
            let (keys, values) = span.split_at_mut(shape.key_span());
            for (part, key) in key.chunks(GROUP).enumerate() {
                halves[..key.len()].convert_from_f32_slice(key);
                for (d, half) in halves[..key.len()].iter().enumerate() {
                    keys[(part * GROUP + d) * (PAGE / GROUP) + token / GROUP].0[token % GROUP] = half.to_bits();
                }
            }
            for (part, value) in value.chunks(GROUP).enumerate() {
                halves[..value.len()].convert_from_f32_slice(value);
                let line = &mut values[token * shape.value_lines() + part];
                for (to, half) in line.0.iter_mut().zip(&halves[..value.len()]) {
                    *to = half.to_bits();
                }
            }
        }
    }

    /// The first `tokens` positions of a sequence, for one layer and head.
    ///
    /// # Panics
    /// When the iterator is run, if the table is shorter.
    pub fn spans<'a>(
        &'a self,
        table: &'a PageTable,
        tokens: usize,
        layer: usize,
        kv_head: usize,
    ) -> impl Iterator<Item = Span<'a>> + Clone {
        let at = self.place(layer, kv_head);
        (0..tokens.div_ceil(PAGE)).map(move |page| {
            let halves = &self.pages[table.pages[page].0 as usize].halves[at..];
            let (keys, values) = halves.split_at(self.shape.key_span());
            Span { keys, values: &values[..self.shape.value_span()], tokens: PAGE.min(tokens - page * PAGE) }
        })
    }
}

fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
#[path = "cache/tests.rs"]
mod tests;
