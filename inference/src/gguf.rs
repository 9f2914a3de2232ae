//! A GGUF file: metadata and the directory of tensors, over a read-only memory map.
//!
//! The format is described in the ggml project's `docs/gguf.md`. Two passes read it:
//!
//! 1. a survey walks over the header and refuses whatever is cut off, over a limit, of an unknown type, named twice or
//!    geometrically impossible; arrays and the directory of tensors it reads itself, in memory of the order of what they
//!    take in the file;
//! 2. the `gguf-rs` crate then decodes the keys that are left, from a header that holds nothing else.
//!
//! The survey is there because of faults of gguf-rs 0.1.8: it panics on tensor type 40 (`NVFP4`), computes wrong sizes for
//! BF16 and several other types, checks no offset, alignment, block divisibility or duplicate, and spends some 100 bytes on
//! every element of an array, of whatever the file announces.
//!
//! # Changing a file that is in use
//! The file is mapped, not copied. Whoever truncates a mapped file makes its readers die of SIGBUS, and whoever writes
//! into it changes what they read. Replace model files by renaming a new one over them, as `causerie pull` does: the
//! mapping then keeps the old file. The map is dropped as soon as the weights are packed.

mod fingerprint;
mod metadata;
mod reader;
mod survey;
mod texts;
#[cfg(test)]
pub(crate) mod writer;

pub use metadata::{Metadata, Value};
pub use texts::Texts;

use std::collections::HashMap;
use std::fs::File;
use std::io::Cursor;
use std::path::Path;

use crate::block::BlockType;
use crate::error::LoadError;
use crate::mapping::Bytes;
use survey::Survey;

/// Limits on what a header may announce, so that a hostile file costs little memory and time.
pub mod limits {
    /// Metadata keys in a file. Real files have 20 to 60.
    pub const KEYS: u64 = 16_384;
    /// Tensors in a file. The largest dense models have some 2,000.
    pub const TENSORS: u64 = 65_536;
    /// Bytes of a metadata key, as the format says.
    pub const KEY_BYTES: u64 = 65_535;
    /// Bytes of a tensor's name. The format says 64; some writers go beyond it.
    pub const NAME_BYTES: u64 = 256;
    /// Bytes of a text. Chat templates take some 10 kB, licences up to 100.
    pub const TEXT_BYTES: u64 = 1 << 20;
    /// Elements of all arrays together. Gemma's vocabulary, scores and merges come to 1.3 million; each costs 4
    /// bytes, and a text its own beside.
    pub const ARRAY_ELEMENTS: u64 = 1 << 21;
    /// Elements of an array that does not belong to the tokenizer. Arrays of this length hold something for each layer;
    /// longer ones are not read.
    pub const OTHER_ARRAY_ELEMENTS: u64 = 1 << 16;
    /// Bytes of the header. Gemma's takes 16 MB.
    pub const HEADER_BYTES: u64 = 1 << 26;
    /// Dimensions of a tensor, as in ggml.
    pub const DIMENSIONS: u32 = 4;
    /// Bytes to which tensors may be aligned.
    pub const ALIGNMENT: u64 = 1 << 20;
}

/// An opened GGUF file whose header has been checked.
pub struct Gguf {
    bytes: Bytes,
    metadata: Metadata,
    tensors: HashMap<String, TensorInfo>,
}

/// Where and how a tensor is stored. Its bytes are known to lie within the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// How the values are stored.
    pub block_type: BlockType,
    /// Dimensions, the fastest first: `[columns, rows]` of a matrix. One to four, none of them zero; the first is a
    /// multiple of the type's block length.
    pub dimensions: Vec<u64>,
    /// Where the data begin, in bytes from the start of the file.
    pub offset: usize,
    /// How many bytes the data take.
    pub bytes: usize,
}

impl TensorInfo {
    /// Values in the tensor.
    pub fn elements(&self) -> u64 {
        self.dimensions.iter().product()
    }
}

impl Gguf {
    /// Maps the file and reads its header.
    ///
    /// # Errors
    /// [`LoadError`] when the file cannot be opened or its header or geometry is unsound.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            return Err(LoadError::NotAFile { path: path.to_owned() });
        }
        Self::new(Bytes::map(&file).map_err(failed)?)
    }

    /// Reads the header of a file that is already in memory.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, LoadError> {
        Self::new(Bytes::Owned(bytes))
    }

    fn new(bytes: Bytes) -> Result<Self, LoadError> {
        let Survey { plain, arrays, tensors } = Survey::of(bytes.as_ref())?;
        let metadata = Metadata::new(decode(plain)?.metadata(), arrays);
        let tensors = tensors.into_iter().map(|(name, info)| (name.to_owned(), info)).collect();
        Ok(Self { bytes, metadata, tensors })
    }

    /// The file's keys and values.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Where a tensor is stored, if the file has it.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// As [`Gguf::tensor`], with the name as the file has it.
    pub(crate) fn tensor_entry(&self, name: &str) -> Option<(&str, &TensorInfo)> {
        self.tensors.get_key_value(name).map(|(name, info)| (name.as_str(), info))
    }

    /// All tensors, in no particular order.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.tensors.iter().map(|(name, info)| (name.as_str(), info))
    }

    /// The stored bytes of a tensor.
    ///
    /// # Panics
    /// If `info` comes from another file and does not fit into this one.
    pub fn data(&self, info: &TensorInfo) -> &[u8] {
        let file: &[u8] = self.bytes.as_ref();
        &file[info.offset..info.offset + info.bytes]
    }

    /// Length of the file in bytes.
    pub fn file_bytes(&self) -> u64 {
        let file: &[u8] = self.bytes.as_ref();
        file.len() as u64
    }
}

/// Lets gguf-rs decode a header that begins behind the magic.
fn decode(header: Vec<u8>) -> Result<gguf_rs::GGUFModel, LoadError> {
    gguf_rs::GGUFContainer::new(gguf_rs::ByteOrder::LE, Box::new(Cursor::new(header)), u64::MAX)
        .decode()
        .map_err(|error| LoadError::Container { reason: error.to_string() })
}

#[cfg(test)]
#[path = "gguf/tests.rs"]
mod tests;
