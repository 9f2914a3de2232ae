//! Writing a cache to a file, a piece at a time, so that nobody who asks meanwhile waits for all of it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::file::{Index, SAVED_PAGES, SavedNode, SavedSession, sum};
use super::pool::PageId;
use super::saved::SAVED_BYTES;
use super::tree::{Entry, NodeId};
use super::{Cache, PageShape};

/// Bytes of pages that one piece of saving writes, at least: some milliseconds, which a request that comes may wait.
const PIECE_BYTES: usize = 4 << 20;

/// Pages that are new when saving is due: 1,024 tokens, which take longer to compute than to write.
pub(crate) const PAGES_DUE: usize = 16;

/// Where the bytes of a page that is to be saved are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Memory(PageId),
    File(u32),
}

/// What has changed since the cache was saved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changes {
    /// Pages that were published.
    pub(super) pages: usize,
    /// Something was forgotten that the file may have.
    pub(super) forgotten: bool,
}

impl Changes {
    fn are_due(self) -> bool {
        self.forgotten || self.pages >= PAGES_DUE
    }
}

/// A file that is being written. If it does not come to its end, it is removed.
pub(super) struct Saving {
    file: BufWriter<File>,
    unfinished: PathBuf,
    index: Index,
    /// The pages, each with a node that has it.
    sources: Vec<(Source, NodeId)>,
    changes: Changes,
}

/// What a piece of saving came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// More is to be written.
    More,
    /// The file is there, with so many pages.
    Done(usize),
    /// A page that was to be saved is gone from memory. Nothing is saved.
    Outrun,
}

impl Saving {
    /// Begins to write what a cache has now, the last used pages first, up to [`SAVED_BYTES`].
    pub(super) fn begin(cache: &Cache, path: &Path) -> io::Result<Self> {
        let most = (SAVED_BYTES / cache.shape.page_bytes().max(1)).min(SAVED_PAGES);
        let (index, sources) = cache.listing(most);
        let unfinished = path.with_extension("unfinished");
        // A file of its own, whoever else is writing one.
        let _ = std::fs::remove_file(&unfinished);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = BufWriter::new(options.open(&unfinished)?);
        file.seek(SeekFrom::Start(index.bytes_with(sources.len()) as u64))?;
        Ok(Self { file, unfinished, index, sources, changes: cache.changes })
    }

    /// Writes at least so many bytes of pages, or all that is left.
    pub(super) fn go_on(&mut self, cache: &Cache, bytes: usize, path: &Path, key: u128) -> io::Result<Piece> {
        let mut buffer = Vec::new();
        let mut written = 0;
        while let Some(&(source, node)) = self.sources.get(self.index.sums.len()) {
            if written >= bytes {
                return Ok(Piece::More);
            }
            let Some((page, sum)) = cache.bytes_of(source, node, &mut buffer) else { return Ok(Piece::Outrun) };
            self.file.write_all(page)?;
            self.index.sums.push(sum);
            written += page.len();
        }
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&self.index.encode(cache.shape, key))?;
        // Not synced to the disk, which may take seconds: whatever a power cut leaves of it, the checksums tell.
        self.file.flush()?;
        std::fs::rename(&self.unfinished, path)?;
        Ok(Piece::Done(self.sources.len()))
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        // After the renaming there is none.
        let _ = std::fs::remove_file(&self.unfinished);
    }
}

impl Cache {
    /// Writes the cache to a file, the last used pages first, up to [`SAVED_BYTES`]; gives the number of pages. The file
    /// appears whole or not at all, but for a power cut, after which it is refused. On Unix only its owner can read it: it
    /// tells of conversations.
    ///
    /// # Errors
    /// If the file cannot be written; what was there before is there still.
    pub fn save(&self, path: &Path, key: u128) -> io::Result<usize> {
        match Saving::begin(self, path)?.go_on(self, usize::MAX, path, key)? {
            Piece::Done(pages) => Ok(pages),
            Piece::More | Piece::Outrun => Err(io::Error::other("the cache has changed while it was saved")),
        }
    }

    /// Whether so much has changed since the last saving that it is time for another, or one has begun.
    pub(crate) fn saving_is_due(&self) -> bool {
        self.saving.is_some() || self.changes.are_due()
    }

    /// Whether saving has begun, by [`Cache::save_some`].
    pub(crate) fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// Saves a piece, as [`Cache::save`] does it; when the file is there, tells the number of pages. In between the cache may
    /// be used as always. If a page gives way that was to be saved, or something is forgotten, the next piece is the first.
    ///
    /// # Errors
    /// If the file cannot be written. What was there before is there still, unless something in it was forgotten: then it is
    /// removed. The next saving is due when as much has changed again.
    pub(crate) fn save_some(&mut self, path: &Path, key: u128) -> io::Result<Option<usize>> {
        self.save_piece(PIECE_BYTES, path, key).inspect_err(|_| {
            if std::mem::take(&mut self.changes).forgotten {
                let _ = std::fs::remove_file(path);
            }
        })
    }

    pub(super) fn save_piece(&mut self, bytes: usize, path: &Path, key: u128) -> io::Result<Option<usize>> {
        let mut saving = match self.saving.take() {
            Some(saving) => saving,
            None => Saving::begin(self, path)?,
        };
        match saving.go_on(self, bytes, path, key)? {
            Piece::More => self.saving = Some(saving),
            Piece::Outrun => {}
            Piece::Done(pages) => {
                let Changes { pages: new, forgotten } = &mut self.changes;
                (*new, *forgotten) = (*new - saving.changes.pages, false);
                return Ok(Some(pages));
            }
        }
        Ok(None)
    }

    /// The bytes of a page of a node, with their checksum, if it is the node's page still.
    fn bytes_of<'a>(&'a self, source: Source, node: NodeId, buffer: &'a mut Vec<u8>) -> Option<(&'a [u8], u64)> {
        match source {
            Source::Memory(page) => {
                self.tree.page(node).filter(|&there| there == page)?;
                buffer.resize(self.shape.page_bytes(), 0);
                PageShape::encode(&self.pool[page], buffer);
                Some((buffer, sum(buffer)))
            }
            // As it is: a damaged one is found out when it is used.
            Source::File(page) => self.file.as_ref().map(|file| file.as_saved(page, self.shape)),
        }
    }

    /// What is to be saved: so many pages at most. The checksums are not known yet.
    pub(super) fn listing(&self, most: usize) -> (Index, Vec<(Source, NodeId)>) {
        let (mut index, mut sources) = (Index::default(), Vec::new());
        let mut pages: HashMap<Source, u32> = HashMap::new();
        let mut places: HashMap<NodeId, u32> = HashMap::new();
        for node in self.tree.by_use() {
            let (Some(entry), Some(parent)) = (self.tree.entry(node), self.tree.parent(node)) else { continue };
            let parent = match places.get(&parent) {
                Some(&place) => Some(place),
                None if parent == NodeId::default() => None,
                None => continue, // what it stands behind is not saved
            };
            let source = match (self.tree.page(node), self.tree.saved(node)) {
                (Some(page), _) if self.tree.is_finite(node) || self.shape.is_finite(&self.pool[page]) => {
                    Source::Memory(page)
                }
                (None, Some(saved)) => Source::File(saved),
                _ => continue,
            };
            let page = match pages.get(&source) {
                Some(&page) => page,
                None if sources.len() == most => break,
                None => {
                    sources.push((source, node));
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
