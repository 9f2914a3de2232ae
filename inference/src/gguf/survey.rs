//! The first pass over a header: checks everything, allocates nothing but the tensor directory.

use std::collections::HashSet;

use super::{TensorInfo, limits};
use crate::block::BlockType;
use crate::error::LoadError;

/// What the survey found.
pub(super) struct Survey<'a> {
    /// Bytes from the start of the file to the end of the tensor directory.
    pub(super) header_bytes: u64,
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
        let mut reader = Reader { file, at: 0, elements: 0 };
        let (tensor_count, key_count) = preamble(&mut reader)?;
        let alignment = keys(&mut reader, key_count)?;
        let entries = directory(&mut reader, tensor_count)?;
        let header_bytes = reader.at as u64;
        within("the header's length in bytes", limits::HEADER_BYTES, header_bytes, 0)?;
        let data_start = header_bytes.next_multiple_of(alignment);
        let tensors = place(entries, data_start, alignment, file.len() as u64)?;
        Ok(Self { header_bytes, tensors })
    }
}

/// Magic, version and counts: `(tensors, keys)`.
fn preamble(reader: &mut Reader<'_>) -> Result<(u64, u64), LoadError> {
    let magic = reader.take(4, "the magic")?;
    if magic != b"GGUF" {
        return Err(LoadError::NotGguf { seen: [magic[0], magic[1], magic[2], magic[3]] });
    }
    let version = reader.u32("the version")?;
    if !(2..=3).contains(&version) {
        return Err(LoadError::Version { seen: version });
    }
    let at = reader.at as u64;
    let tensors = reader.u64("the count of tensors")?;
    within("the count of tensors", limits::TENSORS, tensors, at)?;
    let at = reader.at as u64;
    let keys = reader.u64("the count of metadata keys")?;
    within("the count of metadata keys", limits::KEYS, keys, at)?;
    Ok((tensors, keys))
}

/// Walks over the metadata; gives the alignment of tensor data.
fn keys(reader: &mut Reader<'_>, count: u64) -> Result<u64, LoadError> {
    const DEFAULT_ALIGNMENT: u64 = 32;
    const UINT32: u32 = 4;
    let mut alignment = DEFAULT_ALIGNMENT;
    let mut seen = HashSet::new();
    for _ in 0..count {
        let key = reader.text("a metadata key", limits::KEY_BYTES)?;
        if !seen.insert(key) {
            return Err(LoadError::Duplicate { what: "metadata key", name: key.to_owned() });
        }
        let at = reader.at as u64;
        let value_type = reader.u32("a metadata value's type")?;
        if key == "general.alignment" {
            if value_type != UINT32 {
                return Err(LoadError::ValueType { key: key.to_owned(), seen: value_type, offset: at });
            }
            alignment = u64::from(reader.u32("the alignment")?);
            if !(8..=limits::ALIGNMENT).contains(&alignment) || !alignment.is_power_of_two() {
                let reason =
                    format!("{alignment} is not a power of two from 8 to {}; the file is damaged", limits::ALIGNMENT);
                return Err(LoadError::BadKey { key: key.to_owned(), reason });
            }
        } else {
            reader.value(key, value_type, at)?;
        }
    }
    Ok(alignment)
}

fn directory<'a>(reader: &mut Reader<'a>, count: u64) -> Result<Vec<Entry<'a>>, LoadError> {
    let mut entries = Vec::new(); // grows with what the file really holds, not with what it announces
    let mut seen = HashSet::new();
    for _ in 0..count {
        let name = reader.text("a tensor's name", limits::NAME_BYTES)?;
        if !seen.insert(name) {
            return Err(LoadError::Duplicate { what: "tensor", name: name.to_owned() });
        }
        let at = reader.at as u64;
        let rank = reader.u32("a tensor's count of dimensions")?;
        within("a tensor's count of dimensions", u64::from(limits::DIMENSIONS), u64::from(rank), at)?;
        let mut dimensions = Vec::with_capacity(rank as usize);
        for _ in 0..rank {
            dimensions.push(reader.u64("a tensor's dimension")?);
        }
        let type_id = reader.u32("a tensor's type")?;
        let block_type = BlockType::from_id(type_id)
            .ok_or_else(|| LoadError::TensorType { tensor: name.to_owned(), seen: type_id })?;
        let offset = reader.u64("a tensor's offset")?;
        let bytes = stored_bytes(&dimensions, block_type).map_err(|reason| LoadError::Shape {
            tensor: name.to_owned(),
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
            return Err(LoadError::Misaligned { tensor: name.to_owned(), offset, alignment });
        }
        let start = data_start.saturating_add(offset);
        if start.saturating_add(bytes) > file_bytes {
            return Err(LoadError::OutsideFile { tensor: name.to_owned(), offset: start, bytes, file_bytes });
        }
        // Both fit `usize`, as the whole file is in the address space.
        tensors.push((name, TensorInfo { block_type, dimensions, offset: start as usize, bytes: bytes as usize }));
    }
    let mut by_place: Vec<_> = tensors.iter().collect();
    by_place.sort_by_key(|(_, info)| info.offset);
    for pair in by_place.windows(2) {
        let ((first, a), (second, b)) = (pair[0], pair[1]);
        if a.offset + a.bytes > b.offset {
            return Err(LoadError::Overlap { first: (*first).to_owned(), second: (*second).to_owned() });
        }
    }
    Ok(tensors)
}

fn within(what: &'static str, limit: u64, seen: u64, offset: u64) -> Result<(), LoadError> {
    if seen > limit { Err(LoadError::TooLarge { what, limit, seen, offset }) } else { Ok(()) }
}

/// Bytes that a metadata value of fixed size takes, by type id; `None` for text, arrays and unknown ids.
fn fixed_bytes(value_type: u32) -> Option<u64> {
    match value_type {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

const TEXT: u32 = 8;
const ARRAY: u32 = 9;

struct Reader<'a> {
    file: &'a [u8],
    at: usize,
    /// Elements of all arrays so far.
    elements: u64,
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: u64, what: &'static str) -> Result<&'a [u8], LoadError> {
        let left = &self.file[self.at..];
        let taken = usize::try_from(bytes).ok().and_then(|bytes| left.get(..bytes)).ok_or(LoadError::CutOff {
            what,
            offset: self.at as u64,
            needed: bytes,
            left: left.len() as u64,
        })?;
        self.at += taken.len();
        Ok(taken)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, LoadError> {
        let bytes = self.take(4, what)?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("take gives as many bytes as asked for")))
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, LoadError> {
        let bytes = self.take(8, what)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("take gives as many bytes as asked for")))
    }

    fn text(&mut self, what: &'static str, limit: u64) -> Result<&'a str, LoadError> {
        let offset = self.at as u64;
        let bytes = self.u64(what)?;
        within(what, limit, bytes, offset)?;
        std::str::from_utf8(self.take(bytes, what)?).map_err(|_| LoadError::NotText { what, offset })
    }

    /// Walks over a metadata value.
    fn value(&mut self, key: &str, value_type: u32, offset: u64) -> Result<(), LoadError> {
        let unknown = |seen, offset| LoadError::ValueType { key: key.to_owned(), seen, offset };
        match value_type {
            TEXT => self.skip_text(),
            ARRAY => {
                let at = self.at as u64;
                let element_type = self.u32("an array's element type")?;
                let count_at = self.at as u64;
                let count = self.u64("an array's length")?;
                self.elements = self.elements.saturating_add(count);
                within("the count of array elements", limits::ARRAY_ELEMENTS, self.elements, count_at)?;
                if element_type == TEXT {
                    return (0..count).try_for_each(|_| self.skip_text());
                }
                let each = fixed_bytes(element_type).ok_or_else(|| unknown(element_type, at))?;
                self.take(count * each, "an array").map(|_| ())
            }
            other => {
                let bytes = fixed_bytes(other).ok_or_else(|| unknown(other, offset))?;
                self.take(bytes, "a metadata value").map(|_| ())
            }
        }
    }

    fn skip_text(&mut self) -> Result<(), LoadError> {
        let bytes = self.u64("a text's length")?;
        within("a text's length in bytes", limits::HEADER_BYTES, bytes, self.at as u64 - 8)?;
        self.take(bytes, "a text").map(|_| ())
    }
}
