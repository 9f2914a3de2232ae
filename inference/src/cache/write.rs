//! How a step writes what it computed: page by page, on all threads.

use super::{Cache, PAGE, PageTable};
use crate::kernel::{Crew, PageView};

/// The rows of a step that go to one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Write {
    /// The place of the page in the pool.
    page: usize,
    /// The first row.
    row: usize,
    /// Rows.
    rows: usize,
    /// The first row's token of the page.
    token: usize,
}

/// Which rows of a step go to which pages: planned once a step, for all layers. Kept for its memory.
#[derive(Default)]
pub(crate) struct Writes {
    /// In the order of pages, each of them once.
    writes: Vec<Write>,
    pages: Vec<usize>,
}

impl Cache {
    /// Plans where rows go, each to a position of one of the tables. Rows of a sequence come one after the other.
    ///
    /// # Panics
    /// If a position has no page ([`Cache::reserve`]), or its page is shared.
    pub(crate) fn plan(&self, tables: &[&PageTable], rows: impl Iterator<Item = (usize, usize)>, writes: &mut Writes) {
        writes.writes.clear();
        for (row, (table, position)) in rows.enumerate() {
            let (id, token) = (tables[table].pages[position / PAGE], position % PAGE);
            let page = self.pool.place(id);
            match writes.writes.last_mut() {
                Some(last) if last.page == page && last.token + last.rows == token => last.rows += 1,
                _ => {
                    assert_eq!(self.pool.users(id), 1, "a shared page is never written");
                    writes.writes.push(Write { page, row, rows: 1, token });
                }
            }
        }
        writes.writes.sort_unstable_by_key(|write| write.page);
        writes.pages.clear();
        writes.pages.extend(writes.writes.iter().map(|write| write.page));
    }

    /// Writes the keys and values of a layer, as planned: `row(row, kv_head)` gives both.
    pub(crate) fn store_step<'a>(
        &mut self,
        crew: &Crew,
        writes: &Writes,
        layer: usize,
        row: impl Fn(usize, usize) -> [&'a [f32]; 2] + Sync,
    ) {
        let shape = self.shape;
        crew.scattered(self.pool.pages_mut(), &writes.pages, |n, page| {
            let write = writes.writes[n];
            for kv_head in 0..shape.kv_heads {
                shape.ask_for(&page.pairs, write.token, layer, kv_head);
            }
            for at in 0..write.rows {
                for kv_head in 0..shape.kv_heads {
                    shape.store(&mut page.pairs, write.token + at, layer, kv_head, row(write.row + at, kv_head));
                }
            }
        });
    }

    /// The keys and values of a sequence's page, for one layer and head.
    pub(crate) fn page(&self, table: &PageTable, number: usize, layer: usize, kv_head: usize) -> PageView<'_> {
        self.shape.view(&self.pool[table.pages[number]], layer, kv_head)
    }
}
