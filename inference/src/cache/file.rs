//! The file in which a cache outlasts its process: what stands where, and whether it can be believed.
//!
//! All numbers are little-endian.
//!
//! ```text
//! header     magic "causeKV\n" · version u32 · 0x01020304 u32 · layout u32 · tokens of a page u32 · layers u32 ·
//!            kv heads u32 · dimensions of a head u32 · bytes of a page u64 · key u128 · pages u32 · nodes u32 · sessions u32
//! checksums  of each page: XXH3 u64
//! nodes      each behind the one before it: parent u32 (0: none, else its place + 1) · page u32 · origin u8 (0: prompt,
//!            1: generated) · tokens of prompts u8 · tokens u8 · 0 u8 · session u128 · tokens [u32; 64], the rest 0
//! sessions   session u128 · its last node u32 · tokens u32
//! checksum   of all of the above: XXH3 u64
//! pages      as they lie in memory
//! ```
//!
//! The file's length follows from its header, so one that is cut off or goes on is refused before anything else of it is
//! read; the checksum covers everything up to the pages, and each page has its own, which is checked when the page is used:
//! a damaged page costs itself and what is behind it.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

use super::tree::Origin;
use super::{PAGE, PageShape, SESSIONS};

/// Pages in a file, at most: 1 M tokens.
pub const SAVED_PAGES: usize = 1 << 14;
/// Nodes in a file, at most: a page that an answer begins in has two.
const SAVED_NODES: usize = 2 * SAVED_PAGES;

const MAGIC: [u8; 8] = *b"causeKV\n";
const VERSION: u32 = 1;
const BYTE_ORDER: u32 = 0x0102_0304;
const HEADER_BYTES: usize = 72;
const NODE_BYTES: usize = 4 + 4 + 4 + 16 + 4 * PAGE;
const SESSION_BYTES: usize = 16 + 4 + 4;
const SUM_BYTES: usize = 8;

/// Why a saved cache is not used. The cache is then empty, and will be saved anew.
#[derive(Debug)]
#[non_exhaustive]
pub enum SavedError {
    /// The file could not be opened or mapped.
    Open(std::io::Error),
    /// It is something else than a saved cache.
    Foreign,
    /// It is of another version of this program.
    Version {
        /// The version that it has.
        seen: u32,
        /// The version that can be read.
        wanted: u32,
    },
    /// It is of another model, was computed with other kernels, or holds keys and values of another type.
    OtherModel,
    /// It says that there is more of something than there may be.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        seen: usize,
        /// How many there may be.
        limit: usize,
    },
    /// It is shorter or longer than it says.
    Length {
        /// Bytes that it has.
        seen: u64,
        /// Bytes that it should have.
        wanted: u64,
    },
    /// Its bytes are not what was written.
    Damaged {
        /// Which part.
        what: &'static str,
    },
}

impl fmt::Display for SavedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(source) => write!(f, "the saved cache cannot be opened: {source}; check its permissions"),
            Self::Foreign => f.write_str("the file is no saved cache; give a directory of its own"),
            Self::Version { seen, wanted } => {
                write!(
                    f,
                    "the saved cache has version {seen}, and this program reads {wanted}; it will be written anew"
                )
            }
            Self::OtherModel => {
                f.write_str("the saved cache is of another model, other kernels or another type of keys and values; it will be written anew")
            }
            Self::TooMany { what, seen, limit } => {
                write!(f, "the saved cache says that it has {seen} {what}, and {limit} are allowed; it is not used")
            }
            Self::Length { seen, wanted } => {
                write!(f, "the saved cache has {seen} bytes instead of {wanted}; it is not used")
            }
            Self::Damaged { what } => write!(f, "the {what} of the saved cache are damaged; it is not used"),
        }
    }
}

impl std::error::Error for SavedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(source) => Some(source),
            _ => None,
        }
    }
}

/// A node as it is saved.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SavedNode {
    /// Its place before this one, if it is not the first of its sequence.
    pub(super) parent: Option<u32>,
    pub(super) page: u32,
    pub(super) origin: Origin,
    pub(super) prompt: usize,
    pub(super) tokens: Vec<u32>,
}

/// What a session left, as it is saved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SavedSession {
    pub(super) session: u128,
    pub(super) node: u32,
    pub(super) tokens: u32,
}

/// All of a file but its pages.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Index {
    /// Checksums of the pages.
    pub(super) sums: Vec<u64>,
    pub(super) nodes: Vec<SavedNode>,
    pub(super) sessions: Vec<SavedSession>,
}

/// The checksum of a page.
pub(super) fn sum(page: &[u8]) -> u64 {
    xxh3_64(page)
}

impl Index {
    fn bytes(pages: usize, nodes: usize, sessions: usize) -> usize {
        HEADER_BYTES + pages * SUM_BYTES + nodes * NODE_BYTES + sessions * SESSION_BYTES + SUM_BYTES
    }

    /// Bytes that stand before so many pages.
    pub(super) fn bytes_with(&self, pages: usize) -> usize {
        Self::bytes(pages, self.nodes.len(), self.sessions.len())
    }

    /// Everything that stands before the pages.
    pub(super) fn encode(&self, shape: PageShape, key: u128) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::bytes(self.sums.len(), self.nodes.len(), self.sessions.len()));
        out.extend(MAGIC);
        for number in [VERSION, BYTE_ORDER].into_iter().chain(numbers(shape)) {
            out.extend(number.to_le_bytes());
        }
        out.extend((shape.page_bytes() as u64).to_le_bytes());
        out.extend(key.to_le_bytes());
        for count in [self.sums.len(), self.nodes.len(), self.sessions.len()] {
            out.extend((count as u32).to_le_bytes());
        }
        out.extend(self.sums.iter().flat_map(|sum| sum.to_le_bytes()));
        for node in &self.nodes {
            let (origin, session) = match node.origin {
                Origin::Prompt => (0, 0),
                Origin::Generated { session } => (1, session),
            };
            out.extend(node.parent.map_or(0, |parent| parent + 1).to_le_bytes());
            out.extend(node.page.to_le_bytes());
            out.extend([origin, node.prompt as u8, node.tokens.len() as u8, 0]);
            out.extend(session.to_le_bytes());
            let tokens = node.tokens.iter().copied().chain(std::iter::repeat(0)).take(PAGE);
            out.extend(tokens.flat_map(u32::to_le_bytes));
        }
        for SavedSession { session, node, tokens } in &self.sessions {
            out.extend(session.to_le_bytes());
            out.extend(node.to_le_bytes());
            out.extend(tokens.to_le_bytes());
        }
        out.extend(xxh3_64(&out).to_le_bytes());
        out
    }

    /// Reads what stands before the pages, and tells where these begin.
    ///
    /// # Errors
    /// If it is not exactly what [`Index::encode`] wrote for this shape and key, with as many pages behind it.
    pub(super) fn decode(file: &[u8], shape: PageShape, key: u128) -> Result<(Self, usize), SavedError> {
        let mut fields = Fields(file);
        let [pages, nodes, sessions] = header(&mut fields, shape, key)?;
        let limits = [("pages", pages, SAVED_PAGES), ("nodes", nodes, SAVED_NODES), ("sessions", sessions, SESSIONS)];
        for (what, seen, limit) in limits {
            if seen > limit {
                return Err(SavedError::TooMany { what, seen, limit });
            }
        }
        let begin = Self::bytes(pages, nodes, sessions);
        let (seen, wanted) = (file.len() as u64, begin as u64 + pages as u64 * shape.page_bytes() as u64);
        if seen != wanted {
            return Err(SavedError::Length { seen, wanted });
        }
        let (checked, stated) = file[..begin].split_at(begin - SUM_BYTES);
        if xxh3_64(checked).to_le_bytes() != stated {
            return Err(SavedError::Damaged { what: "tables" });
        }
        let mut index = Self::default();
        let damaged = |what| move || SavedError::Damaged { what };
        for _ in 0..pages {
            index.sums.push(fields.u64().ok_or_else(damaged("checksums"))?);
        }
        for _ in 0..nodes {
            let node = node(&mut fields, &index.nodes, pages).ok_or_else(damaged("nodes"))?;
            index.nodes.push(node);
        }
        for _ in 0..sessions {
            index.sessions.push(session(&mut fields, nodes).ok_or_else(damaged("sessions"))?);
        }
        Ok((index, begin))
    }
}

/// What a page's bytes mean depends on these.
fn numbers(shape: PageShape) -> [u32; 5] {
    let PageShape { layers, kv_heads, head_dim, .. } = shape;
    [shape.layout(), PAGE as u32, layers as u32, kv_heads as u32, head_dim as u32]
}

/// Pages, nodes and sessions, of a file that is ours.
fn header(fields: &mut Fields<'_>, shape: PageShape, key: u128) -> Result<[usize; 3], SavedError> {
    if fields.take() != Some(MAGIC) {
        return Err(SavedError::Foreign);
    }
    let cut_off = SavedError::Length { seen: fields.0.len() as u64 + 8, wanted: HEADER_BYTES as u64 };
    let mut read = || {
        let (version, order) = (fields.u32()?, fields.u32()?);
        let seen = [fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?];
        let same = seen == numbers(shape) && fields.u64()? == shape.page_bytes() as u64 && fields.u128()? == key;
        Some((version, order, same))
    };
    match read().ok_or(cut_off)? {
        (VERSION, BYTE_ORDER, true) => {}
        (VERSION, BYTE_ORDER, false) => return Err(SavedError::OtherModel),
        (seen, ..) => return Err(SavedError::Version { seen, wanted: VERSION }),
    }
    let mut count = || fields.u32().map(|count| count as usize);
    let counts = [count(), count(), count()];
    match counts {
        [Some(pages), Some(nodes), Some(sessions)] => Ok([pages, nodes, sessions]),
        _ => Err(SavedError::Damaged { what: "tables" }),
    }
}

/// A node that can stand behind those before it.
fn node(fields: &mut Fields<'_>, before: &[SavedNode], pages: usize) -> Option<SavedNode> {
    let parent = fields.u32()?.checked_sub(1);
    let page = fields.u32()?;
    let [origin, prompt, len, zero] = fields.take()?;
    let session = fields.u128()?;
    let all: Vec<u32> = (0..PAGE).map(|_| fields.u32()).collect::<Option<_>>()?;
    let tokens = all.get(..usize::from(len))?.to_vec();
    let origin = match (origin, session) {
        (0, 0) => Origin::Prompt,
        (1, session) => Origin::Generated { session },
        _ => return None,
    };
    let behind = match parent {
        None => Origin::Prompt,
        Some(parent) => before.get(parent as usize).filter(|parent| parent.tokens.len() == PAGE)?.origin,
    };
    let origins = behind == Origin::Prompt || behind == origin;
    let prompts = if origin == Origin::Prompt { prompt == len } else { prompt < len };
    let sound = origins && prompts && zero == 0 && !tokens.is_empty() && (page as usize) < pages;
    sound.then_some(SavedNode { parent, page, origin, prompt: prompt.into(), tokens })
}

fn session(fields: &mut Fields<'_>, nodes: usize) -> Option<SavedSession> {
    let (session, node, tokens) = (fields.u128()?, fields.u32()?, fields.u32()?);
    ((node as usize) < nodes).then_some(SavedSession { session, node, tokens })
}

/// What is still to be read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn u128(&mut self) -> Option<u128> {
        self.take().map(u128::from_le_bytes)
    }
}
