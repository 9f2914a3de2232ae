//! Keys and values of tokens that were computed, in pages of [`PAGE`] tokens.
//!
//! A page holds all layers of 64 consecutive positions of one sequence, and is counted: sequences with a common beginning
//! share its full pages. As soon as a page of a sequence is full it is *published* in a radix tree, and others may go on
//! from it while the first is still running; what a sequence leaves of its last page is published at its end. A published
//! page is never written again: who shares only the beginning of a page copies it. When memory is wanted, the page that
//! was longest unused gives way.
//!
//! | room | what it knows |
//! |---|---|
//! | `layout` | how keys and values lie in a page |
//! | `pool` | the pages, and how many have each |
//! | `tree` | which tokens lead to which pages, who may use them, and which was longest unused |
//! | `sessions` | what each session itself left |
//! | `file`, `saved`, `saving` | what stands in a file that outlasts the process; taking pages from it, and writing it |

mod file;
mod forget;
mod layout;
mod pool;
mod saved;
mod saving;
mod sessions;
mod tree;
mod write;

use std::ops::Range;

pub use crate::kernel::{KvType, PAGE, PageView, Pairs, Span};
pub use file::{SAVED_PAGES, SavedError};
pub use layout::PageShape;
pub use saved::SAVED_BYTES;
pub use sessions::SESSIONS;
pub(crate) use write::Writes;

use pool::{PageId, Pool};
use saved::SavedFile;
use saving::{Changes, Saving};
use sessions::Sessions;
use tree::{Entry, Inserted, NodeId, Origin, Tree};

/// Pages, and who has them.
pub struct Cache {
    shape: PageShape,
    pool: Pool,
    tree: Tree,
    sessions: Sessions,
    file: Option<SavedFile>,
    changes: Changes,
    /// The file that is being written.
    saving: Option<Saving>,
}

/// The pages of one sequence, in the order of positions. It must go back by [`Cache::release`] or [`Cache::keep`].
#[derive(Debug, Default)]
pub struct PageTable {
    pages: Vec<PageId>,
    session: Option<u128>,
    /// From this position on, what is computed is the session's own: an answer, or computed on top of one.
    own_from: usize,
    /// Of the pages, those that are published.
    published: usize,
    /// The last of them.
    node: NodeId,
    /// Logits behind all of it were finite.
    sound: bool,
}

impl PageTable {
    /// Has room for the pages of `len` tokens, so that [`Cache::reserve`] need not make any.
    pub fn expect(&mut self, len: usize) {
        self.pages.reserve_exact(len.div_ceil(PAGE).saturating_sub(self.pages.len()));
    }

    /// Says that logits were finite that everything stored so far took part in. Its numbers need not be looked at then
    /// before they are used again: whatever they are, they do no harm.
    pub fn vouch(&mut self) {
        self.sound = true;
    }
}

/// What [`Cache::resume`] found.
#[derive(Debug)]
pub struct Resumed {
    /// Pages that hold what is known.
    pub table: PageTable,
    /// Tokens that are known, from the first on; they need not be computed.
    pub known: usize,
    /// Of those, tokens that are known from what the same session left. This may be told to it; `known` tells about others.
    pub own: usize,
}

/// No page is free, and nothing kept could give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

/// Why a node of the tree cannot be gone on from.
enum Unusable {
    /// Its numbers are no good. It is gone now, and all behind it.
    Damaged,
    /// It is in the saved file, and there is no room for it in memory.
    NoRoom,
}

impl Cache {
    /// A cache of at most `limit_bytes`, and at least one page. Memory is taken as it is used.
    pub fn new(shape: PageShape, limit_bytes: usize) -> Self {
        let (pool, sessions) = (Pool::new(shape, limit_bytes), Sessions::default());
        Self { shape, pool, tree: Tree::new(), sessions, file: None, changes: Changes::default(), saving: None }
    }

    /// Pages that may exist at once.
    pub fn limit_pages(&self) -> usize {
        self.pool.limit()
    }

    /// Pages that hold something, published ones included.
    pub fn used_pages(&self) -> usize {
        self.pool.used()
    }

    /// Bytes that all pages take, free ones included.
    pub fn bytes(&self) -> usize {
        self.pool.bytes()
    }

    /// Finds what is known of a prompt, and begins a sequence with it. At least the last token is left to compute, as its
    /// logits are wanted. What sessions generated is known to themselves alone; what was computed for prompts, to all.
    pub fn resume(&mut self, session: Option<u128>, prompt: &[u32]) -> Resumed {
        let wanted = &prompt[..prompt.len().saturating_sub(1)];
        let own = self.sessions.own(session, &self.tree, wanted);
        let mut table = PageTable { session, own_from: prompt.len(), ..PageTable::default() };
        let mut known = 0;
        while let Some((node, common)) = self.tree.follow(table.node, session, &wanted[known..]) {
            let page = match self.sound_page(node) {
                Ok(page) => page,
                Err(Unusable::Damaged) => continue,
                Err(Unusable::NoRoom) => break,
            };
            let prompt = self.tree.entry(node).map_or(0, |entry| entry.prompt);
            if common < PAGE {
                let Some(copy) = self.copy_of(node, page) else { break };
                table.pages.push(copy);
            } else {
                self.pool.share(page);
                table.pages.push(page);
                self.go_on(&mut table, node);
            }
            if common > prompt {
                table.own_from = table.own_from.min(known + prompt);
            }
            known += common;
            if common < PAGE {
                break;
            }
        }
        Resumed { table, known, own: own.min(known) }
    }

    /// The page of a node, in memory, with numbers that are finite. If no sequence vouched for it, that is checked when a
    /// page is first used again, not when it is published, since most never are.
    fn sound_page(&mut self, node: NodeId) -> Result<PageId, Unusable> {
        let page = self.page_in_memory(node).and_then(|page| {
            let finite = self.tree.is_finite(node) || self.shape.is_finite(&self.pool[page]);
            finite.then_some(page).ok_or(Unusable::Damaged)
        });
        match page {
            Ok(_) => self.tree.set_finite(node),
            Err(Unusable::Damaged) => self.remove(node),
            Err(Unusable::NoRoom) => {}
        }
        page
    }

    fn page_in_memory(&mut self, node: NodeId) -> Result<PageId, Unusable> {
        if let Some(page) = self.tree.page(node) {
            return Ok(page);
        }
        let page = self.load(self.tree.saved(node).ok_or(Unusable::Damaged)?)?;
        self.tree.set_page(node, page);
        Ok(page)
    }

    /// A page with what a node's page holds, to be written by one sequence.
    fn copy_of(&mut self, node: NodeId, page: PageId) -> Option<PageId> {
        self.tree.touch(node);
        self.tree.pin(node);
        let copy = self.allocate();
        self.tree.unpin(node);
        let copy = copy?;
        self.pool.copy(page, copy);
        Some(copy)
    }

    /// Makes room for positions up to `len` (exclusive), letting go of what is published and unused if need be.
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

    fn allocate(&mut self) -> Option<PageId> {
        loop {
            let page = self.pool.allocate();
            if page.is_some() || !self.evict() {
                return page;
            }
        }
    }

    /// Forgets what was longest unused of what nobody uses now. False: there is nothing.
    fn evict(&mut self) -> bool {
        self.tree.evict().map(|page| self.pool.give_back(page)).is_some()
    }

    /// Publishes the pages that have become full: `tokens` are those whose keys and values were computed, from the first
    /// on. Does nothing, and quickly, if no page has.
    pub fn publish(&mut self, table: &mut PageTable, tokens: &[u32]) {
        while let Some(page) = tokens.get(table.published * PAGE..(table.published + 1) * PAGE) {
            let own = table.own_from < (table.published + 1) * PAGE;
            if own && table.session.is_none() {
                return; // nobody could go on from what is behind it
            }
            let Some(node) = self.enter(table, page) else { return };
            self.go_on(table, node);
        }
    }

    /// Ends a sequence and keeps what it computed, to be found again by its `tokens`: those whose keys and values were
    /// computed, from the first on.
    pub fn keep(&mut self, mut table: PageTable, tokens: &[u32]) {
        let tokens = &tokens[..tokens.len().min(table.pages.len() * PAGE)];
        self.publish(&mut table, tokens);
        let rest = &tokens[(table.published * PAGE).min(tokens.len())..];
        let last = if rest.is_empty() { None } else { self.enter(&mut table, &rest[..rest.len().min(PAGE)]) };
        if table.sound {
            self.tree.vouch(last.unwrap_or(table.node));
        }
        if let Some(session) = table.session {
            self.sessions.leave(session, self.path(last.unwrap_or(table.node)), tokens.len());
        }
        self.release(table);
    }

    /// The nodes up to this one.
    fn path(&self, last: NodeId) -> Vec<NodeId> {
        let nodes = std::iter::successors(Some(last), |&node| self.tree.parent(node));
        let mut path: Vec<NodeId> = nodes.filter(|&node| node != NodeId::default()).collect();
        path.reverse();
        path
    }

    /// Ends a sequence and keeps nothing of what is not published.
    pub fn release(&mut self, table: PageTable) {
        self.tree.unpin(table.node);
        table.pages.into_iter().for_each(|page| self.pool.give_back(page));
    }

    /// Puts the first page that is not published into the tree, with its tokens: as part of a prompt as far as it is one,
    /// and as a whole for its session. Gives the node of the whole.
    fn enter(&mut self, table: &mut PageTable, tokens: &[u32]) -> Option<NodeId> {
        let prompt = table.own_from.saturating_sub(table.published * PAGE).min(tokens.len());
        let of_prompt = Entry { origin: Origin::Prompt, prompt, tokens: &tokens[..prompt] };
        let shared = if prompt > 0 { self.insert(table, of_prompt) } else { None };
        if prompt == tokens.len() {
            return shared;
        }
        let origin = Origin::Generated { session: table.session? };
        self.insert(table, Entry { origin, prompt, tokens })
    }

    /// Puts the first page that is not published into the tree. If the tree has another such page, one of them is enough.
    fn insert(&mut self, table: &mut PageTable, entry: Entry<'_>) -> Option<NodeId> {
        let page = table.pages[table.published];
        match self.tree.insert(table.node, entry, page)? {
            Inserted::New(node, useless) => {
                self.changes.pages += 1;
                self.pool.share(page);
                useless.into_iter().for_each(|useless| self.pool.give_back(useless));
                Some(node)
            }
            Inserted::There(node) => {
                match self.tree.page(node).filter(|_| entry.tokens.len() == PAGE) {
                    Some(theirs) => {
                        self.pool.share(theirs);
                        self.pool.give_back(std::mem::replace(&mut table.pages[table.published], theirs));
                        self.tree.touch(node);
                    }
                    // The sequence may hold more of it.
                    None => {
                        self.pool.share(page);
                        let earlier = self.tree.set_page(node, page);
                        earlier.into_iter().for_each(|earlier| self.pool.give_back(earlier));
                    }
                }
                Some(node)
            }
            Inserted::Covered(node) => {
                self.tree.touch(node);
                Some(node)
            }
        }
    }

    /// The sequence's next page is published, as this node.
    fn go_on(&mut self, table: &mut PageTable, node: NodeId) {
        self.tree.pin(node);
        self.tree.unpin(table.node);
        self.tree.touch(node);
        table.node = node;
        table.published += 1;
    }

    /// Stores the key and value of one position and layer: `[kv head][dimension]`.
    ///
    /// # Panics
    /// If the position has no page ([`Cache::reserve`]), or its page is shared.
    pub fn store(&mut self, table: &PageTable, position: usize, layer: usize, key: &[f32], value: &[f32]) {
        let page = table.pages[position / PAGE];
        assert_eq!(self.pool.users(page), 1, "a shared page is never written");
        let heads = key.chunks_exact(self.shape.head_dim).zip(value.chunks_exact(self.shape.head_dim));
        for (kv_head, (key, value)) in heads.enumerate() {
            self.shape.store(&mut self.pool[page], position % PAGE, layer, kv_head, [key, value]);
        }
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
            let first = positions.start.saturating_sub(page * PAGE);
            Span { page: self.page(table, page, layer, kv_head), first, tokens: PAGE.min(positions.end - page * PAGE) }
        })
    }
}

#[cfg(test)]
#[path = "cache/tests.rs"]
mod tests;
