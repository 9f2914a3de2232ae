//! A cache that outlasts its process: written when it stops, mapped when the next one starts.
//!
//! Nothing is read at the start but the tree. A page is copied into memory when a prompt first needs it, after its
//! checksum; when memory is wanted it can give way again, since the file has it. So the file is a second, slower part of
//! the cache, beside the limit on memory.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::file::{Index, SAVED_PAGES, SavedError, SavedNode, SavedSession, sum};
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

    /// Whether the bytes of a page are what was written.
    fn is_whole(&self, page: u32, shape: PageShape) -> bool {
        sum(self.page(page, shape)) == self.sums[page as usize]
    }
}

/// Where the bytes of a page that is to be saved are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Memory(PageId),
    File(u32),
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

    /// Writes the cache to a file, the last used pages first, up to [`SAVED_BYTES`]; gives the number of pages. The file
    /// appears whole or not at all, but for a power cut, after which it is refused. On Unix only its owner can read it: it tells of conversations.
    ///
    /// # Errors
    /// If the file cannot be written; what was there before is there still.
    pub fn save(&self, path: &Path, key: u128) -> io::Result<usize> {
        let most = (SAVED_BYTES / self.shape.page_bytes().max(1)).min(SAVED_PAGES);
        let (index, sources) = self.index(most);
        let unfinished = path.with_extension("unfinished");
        let written = self.write(&unfinished, &index.encode(self.shape, key), &sources);
        let renamed = written.and_then(|()| std::fs::rename(&unfinished, path));
        if renamed.is_err() {
            let _ = std::fs::remove_file(&unfinished);
        }
        renamed.map(|()| sources.len())
    }

    fn write(&self, path: &Path, index: &[u8], sources: &[Source]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = BufWriter::new(options.open(path)?);
        file.write_all(index)?;
        let mut buffer = Vec::new();
        for &source in sources {
            let page = self.bytes_of(source, &mut buffer);
            file.write_all(page.ok_or_else(|| io::Error::other("the saved cache has changed while it was in use"))?)?;
        }
        // Not synced to the disk, which may take seconds: whatever a power cut leaves of it, the checksums tell.
        file.flush()
    }

    fn bytes_of<'a>(&'a self, source: Source, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        match source {
            Source::Memory(page) => {
                buffer.resize(self.shape.page_bytes(), 0);
                PageShape::encode(&self.pool[page], buffer);
                Some(buffer)
            }
            Source::File(page) => {
                let file = self.file.as_ref().filter(|file| file.is_whole(page, self.shape))?;
                Some(file.page(page, self.shape))
            }
        }
    }

    /// What is to be saved: so many pages at most.
    pub(super) fn index(&self, most: usize) -> (Index, Vec<Source>) {
        let (mut index, mut sources) = (Index::default(), Vec::new());
        let mut pages: HashMap<Source, u32> = HashMap::new();
        let mut places: HashMap<NodeId, u32> = HashMap::new();
        let mut buffer = Vec::new();
        for node in self.tree.by_use() {
            let (Some(entry), Some(parent)) = (self.tree.entry(node), self.tree.parent(node)) else { continue };
            let parent = match places.get(&parent) {
                Some(&place) => Some(place),
                None if parent == NodeId::default() => None,
                None => continue, // what it stands behind is not saved
            };
            let source = match (self.tree.page(node), self.tree.saved(node)) {
                (Some(page), _) if self.tree.is_finite(node) || PageShape::is_finite(&self.pool[page]) => {
                    Source::Memory(page)
                }
                (None, Some(saved)) => Source::File(saved),
                _ => continue,
            };
            let page = match pages.get(&source) {
                Some(&page) => page,
                None if sources.len() == most => break,
                None => {
                    let Some(bytes) = self.bytes_of(source, &mut buffer) else { continue };
                    index.sums.push(sum(bytes));
                    sources.push(source);
                    pages.insert(source, sources.len() as u32 - 1);
                    sources.len() as u32 - 1
                }
            };
            places.insert(node, index.nodes.len() as u32);
            let Entry { origin, prompt, tokens } = entry;
            index.nodes.push(SavedNode { parent, page, origin, prompt, tokens: tokens.to_vec() });
        }
        for (session, path, tokens) in self.sessions.by_use() {
            if let Some(&node) = path.iter().rev().find_map(|node| places.get(node)) {
                index.sessions.push(SavedSession { session, node, tokens: tokens as u32 });
            }
        }
        (index, sources)
    }
}
