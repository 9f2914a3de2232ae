//! A cache that outlasts its process: mapped when the next one starts.
//!
//! Nothing is read at the start but the tree. A page is copied into memory when a prompt first needs it, after its
//! checksum; when memory is wanted it can give way again, since the file has it. So the file is a second, slower part of
//! the cache, beside the limit on memory.

use std::fs::File;
use std::path::Path;

use super::file::{Index, SavedError, SavedNode, SavedSession, sum};
use super::pool::PageId;
use super::tree::{Entry, NodeId};
use super::{Cache, PageShape, Unusable};
use crate::mapping::Bytes;

/// Bytes of pages that are saved, at most: what a stop takes to write in a second or less. With the default model they
/// hold 11,000 tokens.
pub const SAVED_BYTES: usize = 256 << 20;

/// Nodes of all sessions of a file together, at most: sessions share them, so they may be more than the file has. 8 bytes
/// each; 64 M tokens.
const SESSION_NODES: usize = 1 << 20;

/// A file that pages can be taken from.
pub(super) struct SavedFile {
    bytes: Bytes,
    /// Where its pages begin.
    begin: usize,
    sums: Vec<u64>,
}

impl SavedFile {
    fn page(&self, page: u32, shape: PageShape) -> &[u8] {
        let at = self.begin + page as usize * shape.page_bytes();
        &self.bytes.as_ref()[at..at + shape.page_bytes()]
    }

    /// The bytes of a page, and the checksum that they should have.
    pub(super) fn as_saved(&self, page: u32, shape: PageShape) -> (&[u8], u64) {
        (self.page(page, shape), self.sums[page as usize])
    }

    /// Whether the bytes of a page are what was written.
    fn is_whole(&self, page: u32, shape: PageShape) -> bool {
        sum(self.page(page, shape)) == self.sums[page as usize]
    }
}

impl Cache {
    /// A cache as [`Cache::new`] makes it, with what [`Cache::save`] wrote. `key` tells for which model, and with which
    /// arithmetic, it was computed.
    ///
    /// # Errors
    /// [`SavedError`] if there is no such file, or it cannot be believed. A page that turns out to be damaged later is
    /// forgotten with what is behind it, and computed anew.
    pub fn open(shape: PageShape, limit_bytes: usize, path: &Path, key: u128) -> Result<Self, SavedError> {
        let bytes = File::open(path).and_then(|file| Bytes::map(&file)).map_err(SavedError::Open)?;
        Self::with_file(shape, limit_bytes, bytes, key)
    }

    pub(super) fn with_file(shape: PageShape, limit_bytes: usize, bytes: Bytes, key: u128) -> Result<Self, SavedError> {
        let (index, begin) = Index::decode(bytes.as_ref(), shape, key)?;
        let mut cache = Self::new(shape, limit_bytes);
        let mut nodes: Vec<NodeId> = Vec::with_capacity(index.nodes.len());
        for SavedNode { parent, page, origin, prompt, tokens } in index.nodes {
            let parent = parent.map_or(NodeId::default(), |parent| nodes[parent as usize]);
            let entry = Entry { origin, prompt, tokens: &tokens };
            let node = cache.tree.insert_saved(parent, entry, page);
            nodes.push(node.ok_or(SavedError::Damaged { what: "nodes" })?);
        }
        let mut left = SESSION_NODES;
        for SavedSession { session, node, tokens } in index.sessions.into_iter().rev() {
            let path = cache.path(nodes[node as usize]);
            left = left.checked_sub(path.len()).ok_or(SavedError::Damaged { what: "sessions" })?;
            cache.sessions.leave(session, path, tokens as usize);
        }
        cache.file = Some(SavedFile { bytes, begin, sums: index.sums });
        Ok(cache)
    }

    /// Pages that the saved file has.
    pub fn saved_pages(&self) -> usize {
        self.file.as_ref().map_or(0, |file| file.sums.len())
    }

    /// Copies a page of the saved file into memory, if it is sound and there is room.
    pub(super) fn load(&mut self, saved: u32) -> Result<PageId, Unusable> {
        // The checksum first: nothing has to give way for a page that is no good.
        if !self.file.as_ref().is_some_and(|file| file.is_whole(saved, self.shape)) {
            return Err(Unusable::Damaged);
        }
        let page = self.allocate().ok_or(Unusable::NoRoom)?;
        if let Some(file) = &self.file {
            PageShape::decode(file.page(saved, self.shape), &mut self.pool[page]);
        }
        Ok(page)
    }
}
