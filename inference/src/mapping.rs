//! Files as bytes, mapped read-only: the only unsafe code outside the kernels.
//!
//! A file is mapped, not copied. Whoever truncates a mapped file makes its readers die of SIGBUS, and whoever writes into
//! it changes what they read. What this crate maps is therefore only ever replaced by renaming a new file over it.

use std::fs::File;
use std::io;

/// The bytes of a file, or such as came from elsewhere.
pub(crate) enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps a regular file. An empty one cannot be mapped, and needs not.
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        if file.metadata()?.len() == 0 {
            return Ok(Self::Owned(Vec::new()));
        }
        // SAFETY: the map is read-only and private to this value. Every bit pattern of its bytes is valid, and lengths
        // and offsets are read from it once, checked, and kept outside it. What remains is that nobody changes the file
        // while it is mapped: the documentation tells operators so, and what we write ourselves is renamed into place.
        unsafe { memmap2::Mmap::map(file) }.map(Self::Mapped)
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}
