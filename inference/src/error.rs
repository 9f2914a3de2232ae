//! What can go wrong while a model is loaded. Each message says what failed, what was seen, and what to do next.

use std::fmt;
use std::path::PathBuf;

use crate::block::BlockType;
use crate::model::Architecture;

/// Why a model file could not be used.
///
/// Offsets and sizes are in bytes from the start of the file, unless said otherwise.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be opened or mapped.
    Open {
        /// The path as it was given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is something else than a file.
    NotAFile {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The first four bytes are not `GGUF`.
    NotGguf {
        /// What they are.
        seen: [u8; 4],
    },
    /// A version of the container other than 2 and 3, or big-endian numbers.
    Version {
        /// The version field, read as little-endian.
        seen: u32,
    },
    /// The file ends before something that it announces.
    CutOff {
        /// What was being read.
        what: &'static str,
        /// Where it begins.
        offset: u64,
        /// How many bytes it takes.
        needed: u64,
        /// How many bytes the file holds from there.
        left: u64,
    },
    /// A count or length is over the limit of this reader.
    TooLarge {
        /// What is counted, with its unit.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// What the file says.
        seen: u64,
        /// Where it says so.
        offset: u64,
    },
    /// A metadata value has a type that the format does not know, or an array of arrays.
    ValueType {
        /// The key.
        key: String,
        /// The type id.
        seen: u32,
        /// Where the type id stands.
        offset: u64,
    },
    /// A key or a tensor name is not UTF-8.
    NotText {
        /// What should have been text.
        what: &'static str,
        /// Where it begins.
        offset: u64,
    },
    /// Two keys or two tensors have one name.
    Duplicate {
        /// Which kind of thing.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The container reader refused what our own survey let through.
    Container {
        /// What it said.
        reason: String,
    },
    /// A tensor is stored in a type that this engine does not compute with.
    TensorType {
        /// The tensor.
        tensor: String,
        /// The type id.
        seen: u32,
    },
    /// A tensor's dimensions are impossible.
    Shape {
        /// The tensor.
        tensor: String,
        /// Dimensions, fastest first.
        dimensions: Vec<u64>,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// A tensor begins at an offset that is no multiple of the file's alignment.
    Misaligned {
        /// The tensor.
        tensor: String,
        /// Its offset in the data section.
        offset: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// A tensor's data lies, in whole or in part, behind the end of the file.
    OutsideFile {
        /// The tensor.
        tensor: String,
        /// Where its data begins.
        offset: u64,
        /// How many bytes it takes.
        bytes: u64,
        /// How long the file is.
        file_bytes: u64,
    },
    /// Two tensors share bytes.
    Overlap {
        /// The one that begins first.
        first: String,
        /// The one that begins before the first ends.
        second: String,
    },
    /// A model of a family that this engine does not know.
    Architecture {
        /// `general.architecture` of the file.
        seen: String,
    },
    /// A metadata key that is needed is absent.
    MissingKey {
        /// The key.
        key: String,
    },
    /// A metadata key holds something that cannot be.
    BadKey {
        /// The key.
        key: String,
        /// What was seen, and what is wanted.
        reason: String,
    },
    /// A tensor that is needed is absent.
    MissingTensor {
        /// The tensor.
        tensor: String,
    },
    /// A tensor belongs to a layer that the metadata do not announce.
    LayerBeyond {
        /// The tensor.
        tensor: String,
        /// How many layers the metadata announce.
        layers: usize,
    },
    /// A tensor that models of this family do not have.
    UnknownTensor {
        /// The tensor.
        tensor: String,
        /// The family.
        architecture: &'static str,
    },
    /// A tensor has other dimensions than the metadata call for.
    TensorShape {
        /// The tensor.
        tensor: String,
        /// What the metadata call for, fastest dimension first.
        expected: Vec<u64>,
        /// What the file holds.
        seen: Vec<u64>,
    },
    /// The tokenizer or the chat template cannot be built from the file.
    Vocabulary {
        /// What is wrong.
        reason: String,
    },
    /// The tokenizer knows tokens that the weights do not have.
    VocabularySize {
        /// Tokens of the tokenizer.
        tokenizer: usize,
        /// Rows of the embedding.
        embedding: usize,
    },
    /// An option is out of its range.
    Option {
        /// What it sets, with its unit.
        option: &'static str,
        /// What was asked for.
        seen: usize,
        /// The least that can be.
        least: usize,
        /// The most that can be.
        most: usize,
    },
    /// The kernels asked for cannot run on this processor, or do not exist.
    Isa {
        /// What was asked for.
        seen: String,
        /// What this processor can run.
        available: String,
    },
    /// The threads of the engine could not be started.
    Threads {
        /// How many were wanted.
        wanted: usize,
        /// What went wrong.
        reason: String,
    },
}

/// A name from a file, fit for a message: cut, and escaped, since it may hold what a terminal would obey.
pub(crate) fn shown(name: &str) -> String {
    const CHARACTERS: usize = 128;
    name.chars().take(CHARACTERS).flat_map(char::escape_debug).collect()
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, source } => {
                write!(f, "cannot open the model file {}: {source}; check the path and its permissions", path.display())
            }
            Self::NotAFile { path } => {
                write!(f, "{} is a directory or a device; give the path of a .gguf file", path.display())
            }
            Self::NotGguf { seen } => write!(
                f,
                "not a GGUF file: it begins with {:?} instead of \"GGUF\"; give a file in GGUF format",
                String::from_utf8_lossy(seen)
            ),
            Self::Version { seen } if (1..=3).contains(&seen.swap_bytes()) => {
                write!(f, "this GGUF file is big-endian, which is not supported; convert it to little-endian")
            }
            Self::Version { seen } => {
                write!(f, "GGUF version {seen} is not supported (2 and 3 are); convert the model with a current tool")
            }
            Self::CutOff { what, offset, needed, left } => write!(
                f,
                "the file is cut off: {what} at byte {offset} takes {needed} bytes and {left} are left; fetch the file again"
            ),
            Self::TooLarge { what, limit, seen, offset } => write!(
                f,
                "{what} is {seen} at byte {offset}, over the limit of {limit}; the file is damaged or not meant for this engine"
            ),
            Self::ValueType { key, seen, offset } => write!(
                f,
                "metadata key `{key}` has the unknown value type {seen} at byte {offset}; the file is damaged or newer than this engine"
            ),
            Self::NotText { what, offset } => {
                write!(f, "{what} at byte {offset} is not UTF-8; the file is damaged, fetch it again")
            }
            Self::Duplicate { what, name } => {
                write!(f, "{what} `{name}` stands in the file twice; the file is damaged, fetch it again")
            }
            Self::Container { reason } => write!(f, "the GGUF container cannot be read: {reason}"),
            Self::TensorType { tensor, seen } => write!(
                f,
                "tensor `{tensor}` is stored as {}, which is not supported; supported: {}; take another quantization of the model",
                BlockType::describe(*seen),
                BlockType::names()
            ),
            Self::Shape { tensor, dimensions, reason } => {
                write!(f, "tensor `{tensor}` has the impossible shape {dimensions:?}: {reason}; the file is damaged")
            }
            Self::Misaligned { tensor, offset, alignment } => write!(
                f,
                "tensor `{tensor}` begins at data offset {offset}, which is no multiple of the alignment {alignment}; the file is damaged"
            ),
            Self::OutsideFile { tensor, offset, bytes, file_bytes } => write!(
                f,
                "tensor `{tensor}` lies outside the file: {bytes} bytes from byte {offset}, and the file has {file_bytes}; \
                 the file is cut off or damaged, fetch it again"
            ),
            Self::Overlap { first, second } => {
                write!(f, "tensors `{first}` and `{second}` overlap; the file is damaged, fetch it again")
            }
            Self::Architecture { seen } => {
                // The file's own text: escaped, since it may hold what a terminal would obey.
                write!(
                    f,
                    "architecture `{}` is not supported; supported: {}",
                    seen.escape_debug(),
                    Architecture::names()
                )
            }
            Self::MissingKey { key } => {
                write!(
                    f,
                    "metadata key `{key}` is missing or of another type; the file is incomplete, convert the model again"
                )
            }
            Self::BadKey { key, reason } => write!(f, "metadata key `{key}`: {reason}"),
            Self::MissingTensor { tensor } => {
                write!(f, "tensor `{tensor}` is missing; the file is incomplete or only one part of a split model")
            }
            Self::LayerBeyond { tensor, layers } => write!(
                f,
                "tensor `{tensor}` belongs to no layer, as the metadata announce {layers}; the file is damaged, convert the model again"
            ),
            Self::UnknownTensor { tensor, architecture } => write!(
                f,
                "tensor `{tensor}` is none that a model of the family {architecture} has; this variant of it is not supported"
            ),
            Self::TensorShape { tensor, expected, seen } => write!(
                f,
                "tensor `{tensor}` has the shape {seen:?} where the metadata call for {expected:?}; convert the model again"
            ),
            Self::Vocabulary { reason } => write!(f, "the model's vocabulary cannot be used: {reason}"),
            Self::VocabularySize { tokenizer, embedding } => write!(
                f,
                "the tokenizer has {tokenizer} tokens and the weights {embedding}; the file is inconsistent, convert the model again"
            ),
            Self::Option { option, seen, least, most } if seen < least => {
                write!(f, "{seen} {option} are too few: at least {least} are needed (and at most {most} can be)")
            }
            Self::Option { option, seen, most, .. } => write!(f, "{seen} {option} are too many: at most {most} can be"),
            Self::Isa { seen, available } => write!(
                f,
                "kernels `{seen}` cannot be used here; this processor has: {available}; set CAUSERIE_ISA to one of these or leave it out"
            ),
            Self::Threads { wanted, reason } => {
                write!(f, "could not start {wanted} threads: {reason}; ask for fewer with --threads")
            }
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open { source, .. } => Some(source),
            _ => None,
        }
    }
}
