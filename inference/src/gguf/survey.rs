//! The first pass over a header: checks everything, reads arrays and the tensor directory, and leaves the rest.

use std::collections::HashSet;

use super::reader::{ARRAY, Reader, within};
use super::{TensorInfo, Value, limits};
use crate::block::BlockType;
use crate::error::{LoadError, shown};

/// What the survey found.
pub(super) struct Survey<'a> {
    /// The keys that are no arrays, and nothing else, as a header of their own: version, counts, keys and values.
    pub(super) plain: Vec<u8>,
    /// The keys that are arrays.
    pub(super) arrays: Vec<(&'a str, Value)>,
    /// Every tensor with its checked place, in the order of the file.
    pub(super) tensors: Vec<(&'a str, TensorInfo)>,
}

/// A tensor as the directory has it, before its place is checked.
struct Entry<'a> {
    name: &'a str,
    block_type: BlockType,
    dimensions: Vec<u64>,
    offset: u64,
    bytes: u64,
}

impl<'a> Survey<'a> {
    pub(super) fn of(file: &'a [u8]) -> Result<Self, LoadError> {
        let mut reader = Reader::new(file);
        let (version, tensor_count, key_count) = preamble(&mut reader)?;
        let Keys { alignment, plain, arrays } = Keys::read(&mut reader, version, key_count)?;
        let entries = directory(&mut reader, tensor_count)?;
        let data_start = (reader.at() as u64).next_multiple_of(alignment);
        let tensors = place(entries, data_start, alignment, file.len() as u64)?;
        Ok(Self { plain, arrays, tensors })
    }
}

/// Magic, version and counts: `(version, tensors, keys)`.
fn preamble(reader: &mut Reader<'_>) -> Result<(u32, u64, u64), LoadError> {
    let magic = reader.take(4, "the magic")?;
    if magic != b"GGUF" {
        return Err(LoadError::NotGguf { seen: [magic[0], magic[1], magic[2], magic[3]] });
    }
    let version = reader.u32("the version")?;
    if !(2..=3).contains(&version) {
        return Err(LoadError::Version { seen: version });
    }
    let at = reader.at() as u64;
    let tensors = reader.u64("the count of tensors")?;
    within("the count of tensors", limits::TENSORS, tensors, at)?;
    let at = reader.at() as u64;
    let keys = reader.u64("the count of metadata keys")?;
    within("the count of metadata keys", limits::KEYS, keys, at)?;
    Ok((version, tensors, keys))
}

/// The metadata.
struct Keys<'a> {
    /// Of tensor data.
    alignment: u64,
    /// As in [`Survey`].
    plain: Vec<u8>,
    arrays: Vec<(&'a str, Value)>,
}

impl<'a> Keys<'a> {
    fn read(reader: &mut Reader<'a>, version: u32, count: u64) -> Result<Self, LoadError> {
        const DEFAULT_ALIGNMENT: u64 = 32;
        let preamble = |plain_count: u64| [&version.to_le_bytes()[..], &[0; 8], &plain_count.to_le_bytes()].concat();
        let mut keys = Self { alignment: DEFAULT_ALIGNMENT, plain: preamble(0), arrays: Vec::new() };
        let mut plain_count = 0;
        let mut seen = HashSet::new();
        for _ in 0..count {
            let start = reader.at();
            let key = reader.text("a metadata key", limits::KEY_BYTES)?;
            if !seen.insert(key) {
                return Err(LoadError::Duplicate { what: "metadata key", name: shown(key) });
            }
            let at = reader.at() as u64;
            let value_type = reader.u32("a metadata value's type")?;
            match (key, value_type) {
                ("general.alignment", _) => keys.alignment = alignment(reader, value_type, at)?,
                (_, ARRAY) => keys.arrays.push((key, reader.array(key)?)),
                _ => reader.skip_plain(key, value_type, at)?,
            }
            if value_type != ARRAY {
                keys.plain.extend_from_slice(reader.since(start));
                plain_count += 1;
            }
        }
        let preamble = preamble(plain_count);
        keys.plain[..preamble.len()].copy_from_slice(&preamble);
        Ok(keys)
    }
}

fn alignment(reader: &mut Reader<'_>, value_type: u32, offset: u64) -> Result<u64, LoadError> {
    const KEY: &str = "general.alignment";
    const UINT32: u32 = 4;
    if value_type != UINT32 {
        return Err(LoadError::ValueType { key: KEY.to_owned(), seen: value_type, offset });
    }
    let alignment = u64::from(reader.u32("the alignment")?);
    if !(8..=limits::ALIGNMENT).contains(&alignment) || !alignment.is_power_of_two() {
        let reason = format!("{alignment} is not a power of two from 8 to {}; the file is damaged", limits::ALIGNMENT);
        return Err(LoadError::BadKey { key: KEY.to_owned(), reason });
    }
    Ok(alignment)
}

fn directory<'a>(reader: &mut Reader<'a>, count: u64) -> Result<Vec<Entry<'a>>, LoadError> {
    let mut entries = Vec::new(); // grows with what the file really holds, not with what it announces
    let mut seen = HashSet::new();
    for _ in 0..count {
        let name = reader.text("a tensor's name", limits::NAME_BYTES)?;
        if !seen.insert(name) {
            return Err(LoadError::Duplicate { what: "tensor", name: shown(name) });
        }
        let at = reader.at() as u64;
        let rank = reader.u32("a tensor's count of dimensions")?;
        within("a tensor's count of dimensions", u64::from(limits::DIMENSIONS), u64::from(rank), at)?;
        let mut dimensions = Vec::with_capacity(rank as usize);
        for _ in 0..rank {
            dimensions.push(reader.u64("a tensor's dimension")?);
        }
        let type_id = reader.u32("a tensor's type")?;
        let block_type =
            BlockType::from_id(type_id).ok_or_else(|| LoadError::TensorType { tensor: shown(name), seen: type_id })?;
        let offset = reader.u64("a tensor's offset")?;
        let bytes = stored_bytes(&dimensions, block_type).map_err(|reason| LoadError::Shape {
            tensor: shown(name),
            dimensions: dimensions.clone(),
            reason,
        })?;
        entries.push(Entry { name, block_type, dimensions, offset, bytes });
    }
    Ok(entries)
}

/// How many bytes a tensor takes, or what is wrong with its shape.
fn stored_bytes(dimensions: &[u64], block_type: BlockType) -> Result<u64, &'static str> {
    let row = *dimensions.first().ok_or("it has no dimensions")?;
    if dimensions.contains(&0) {
        return Err("a dimension is zero");
    }
    if row % block_type.block_len() as u64 != 0 {
        return Err("its rows are no whole number of blocks");
    }
    let elements = dimensions.iter().try_fold(1u64, |product, &dimension| product.checked_mul(dimension));
    elements
        .and_then(|elements| (elements / block_type.block_len() as u64).checked_mul(block_type.block_bytes() as u64))
        .ok_or("its size overflows 64 bits")
}

/// Checks where the tensors lie: aligned, inside the file, and apart.
fn place<'a>(
    entries: Vec<Entry<'a>>,
    data_start: u64,
    alignment: u64,
    file_bytes: u64,
) -> Result<Vec<(&'a str, TensorInfo)>, LoadError> {
    let mut tensors = Vec::with_capacity(entries.len());
    for entry in entries {
        let Entry { name, block_type, dimensions, offset, bytes } = entry;
        if offset % alignment != 0 {
            return Err(LoadError::Misaligned { tensor: shown(name), offset, alignment });
        }
        let start = data_start.saturating_add(offset);
        if start.saturating_add(bytes) > file_bytes {
            return Err(LoadError::OutsideFile { tensor: shown(name), offset: start, bytes, file_bytes });
        }
        // Both fit `usize`, as the whole file is in the address space.
        tensors.push((name, TensorInfo { block_type, dimensions, offset: start as usize, bytes: bytes as usize }));
    }
    let mut by_place: Vec<_> = tensors.iter().collect();
    by_place.sort_by_key(|(_, info)| info.offset);
    for pair in by_place.windows(2) {
        let ((first, a), (second, b)) = (pair[0], pair[1]);
        if a.offset + a.bytes > b.offset {
            return Err(LoadError::Overlap { first: shown(first), second: shown(second) });
        }
    }
    Ok(tensors)
}
