//! Reads a header's bytes in order, and never beyond their end.

use super::{Texts, Value, limits};
use crate::error::{LoadError, shown};

const TEXT: u32 = 8;
/// The type id of arrays.
pub(super) const ARRAY: u32 = 9;

/// A place in a file.
pub(super) struct Reader<'a> {
    file: &'a [u8],
    at: usize,
    /// Elements of all arrays so far.
    elements: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a [u8]) -> Self {
        Self { file, at: 0, elements: 0 }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What was read since `start`.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        &self.file[start..self.at]
    }

    pub(super) fn take(&mut self, bytes: u64, what: &'static str) -> Result<&'a [u8], LoadError> {
        let left = &self.file[self.at..];
        let taken = usize::try_from(bytes).ok().and_then(|bytes| left.get(..bytes));
        let Some(taken) = taken else {
            return Err(LoadError::CutOff { what, offset: self.at as u64, needed: bytes, left: left.len() as u64 });
        };
        within("the header's length in bytes", limits::HEADER_BYTES, self.at as u64 + bytes, 0)?;
        self.at += taken.len();
        Ok(taken)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, LoadError> {
        let bytes = self.take(4, what)?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("take gives as many bytes as asked for")))
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, LoadError> {
        let bytes = self.take(8, what)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("take gives as many bytes as asked for")))
    }

    /// Text that must be UTF-8.
    pub(super) fn text(&mut self, what: &'static str, limit: u64) -> Result<&'a str, LoadError> {
        let offset = self.at as u64;
        std::str::from_utf8(self.bytes(what, limit)?).map_err(|_| LoadError::NotText { what, offset })
    }

    /// Walks over a metadata value that is no array.
    pub(super) fn skip_plain(&mut self, key: &str, value_type: u32, offset: u64) -> Result<(), LoadError> {
        if value_type == TEXT {
            return self.bytes("a text's length in bytes", limits::TEXT_BYTES).map(|_| ());
        }
        let bytes = fixed_bytes(value_type).ok_or_else(|| LoadError::ValueType {
            key: shown(key),
            seen: value_type,
            offset,
        })?;
        self.take(bytes, "a metadata value").map(|_| ())
    }

    /// Reads an array. What nothing here needs is walked over, and becomes [`Value::Other`].
    pub(super) fn array(&mut self, key: &str) -> Result<Value, LoadError> {
        let type_at = self.at as u64;
        let element_type = self.u32("an array's element type")?;
        let count_at = self.at as u64;
        let count = self.u64("an array's length")?;
        self.elements = self.elements.saturating_add(count);
        within("the count of array elements", limits::ARRAY_ELEMENTS, self.elements, count_at)?;
        let needed = key.starts_with("tokenizer.") || count <= limits::OTHER_ARRAY_ELEMENTS;
        if element_type == TEXT {
            return self.texts(count, needed);
        }
        let each = fixed_bytes(element_type).ok_or_else(|| LoadError::ValueType {
            key: shown(key),
            seen: element_type,
            offset: type_at,
        })?;
        let bytes = self.take(count * each, "an array")?;
        Ok(if needed { numbers(element_type, bytes) } else { Value::Other })
    }

    fn texts(&mut self, count: u64, needed: bool) -> Result<Value, LoadError> {
        const LENGTH_BYTES: usize = 8; // before each, so that a count beyond the file reserves nothing
        let room = (count as usize).min((self.file.len() - self.at) / LENGTH_BYTES);
        let mut ends = Vec::with_capacity(if needed { room } else { 0 });
        let mut bytes = Vec::new();
        for _ in 0..count {
            let text = self.bytes("a text's length in bytes", limits::TEXT_BYTES)?;
            if needed {
                bytes.extend_from_slice(text);
                ends.push(bytes.len() as u32); // a header has at most `limits::HEADER_BYTES`
            }
        }
        Ok(if needed { Value::Texts(Texts::from_bytes(bytes, ends)) } else { Value::Other })
    }

    /// Bytes that follow their count.
    fn bytes(&mut self, what: &'static str, limit: u64) -> Result<&'a [u8], LoadError> {
        let offset = self.at as u64;
        let bytes = self.u64(what)?;
        within(what, limit, bytes, offset)?;
        self.take(bytes, what)
    }
}

pub(super) fn within(what: &'static str, limit: u64, seen: u64, offset: u64) -> Result<(), LoadError> {
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

/// An array of a type that has [`fixed_bytes`].
fn numbers(element_type: u32, bytes: &[u8]) -> Value {
    match element_type {
        0 | 7 => integers(bytes, u8::from_le_bytes), // truth values are bytes, 0 or 1
        1 => integers(bytes, i8::from_le_bytes),
        2 => integers(bytes, u16::from_le_bytes),
        3 => integers(bytes, i16::from_le_bytes),
        4 => integers(bytes, u32::from_le_bytes),
        5 => integers(bytes, i32::from_le_bytes),
        6 => Value::Floats(elements(bytes).map(f32::from_le_bytes).collect()),
        10 => integers(bytes, u64::from_le_bytes),
        11 => integers(bytes, i64::from_le_bytes),
        12 => Value::Floats(elements(bytes).map(|bytes| f64::from_le_bytes(bytes) as f32).collect()),
        _ => Value::Other,
    }
}

fn integers<const N: usize, T: TryInto<i32>>(bytes: &[u8], read: fn([u8; N]) -> T) -> Value {
    let mut values = Vec::with_capacity(bytes.len() / N);
    for bytes in elements(bytes) {
        match read(bytes).try_into() {
            Ok(value) => values.push(value),
            Err(_) => return Value::Other,
        }
    }
    Value::Integers(values)
}

fn elements<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}
