//! Many texts in one piece of memory: a vocabulary has hundreds of thousands.

use std::fmt;
use std::ops::Index;

/// An array of text, one after the other: 4 bytes each beside their own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Texts {
    text: String,
    /// Where each ends in `text`.
    ends: Vec<u32>,
}

impl Texts {
    /// Texts as they stand in a file. Bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Panics
    /// If the last text does not end with the bytes, or one ends before it begins.
    pub(super) fn from_bytes(bytes: Vec<u8>, ends: Vec<u32>) -> Self {
        assert_eq!(ends.last().map_or(0, |&end| end as usize), bytes.len(), "texts end with their bytes");
        match String::from_utf8(bytes) {
            // Each is UTF-8 by itself if all of it is and no character is cut.
            Ok(text) if ends.iter().all(|&end| text.is_char_boundary(end as usize)) => Self { text, ends },
            Ok(text) => Self::lossy(text.as_bytes(), &ends),
            Err(error) => Self::lossy(error.as_bytes(), &ends),
        }
    }

    fn lossy(bytes: &[u8], ends: &[u32]) -> Self {
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let parts = starts.zip(ends).map(|(start, &end)| &bytes[start as usize..end as usize]);
        parts.map(String::from_utf8_lossy).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all together.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// All, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        (0..self.len()).map(|index| &self[index])
    }
}

/// None at all.
impl Default for &Texts {
    fn default() -> Self {
        const NONE: &Texts = &Texts { text: String::new(), ends: Vec::new() };
        NONE
    }
}

impl Index<usize> for Texts {
    type Output = str;

    /// # Panics
    /// If there are fewer.
    fn index(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[index] as usize]
    }
}

impl<S: AsRef<str>> FromIterator<S> for Texts {
    /// # Panics
    /// If they come to more than 4 GiB.
    fn from_iter<I: IntoIterator<Item = S>>(texts: I) -> Self {
        let mut all = Self::default();
        for text in texts {
            all.text.push_str(text.as_ref());
            all.ends.push(u32::try_from(all.text.len()).expect("at most 4 GiB of text"));
        }
        all
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(parts: &[&[u8]], expected: &[&str]) {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for part in parts {
            bytes.extend_from_slice(part);
            ends.push(bytes.len() as u32);
        }
        let texts = Texts::from_bytes(bytes, ends);
        assert_eq!(texts.iter().collect::<Vec<_>>(), expected);
        assert_eq!(texts, expected.iter().collect());
        assert_eq!((texts.len(), texts.is_empty()), (expected.len(), expected.is_empty()));
    }

    #[test]
    fn texts_come_out_as_they_went_in() {
        check(&[], &[]);
        check(&[b""], &[""]);
        check(&[b"a", b"", "ß▁".as_bytes(), b"b"], &["a", "", "ß▁", "b"]);
    }

    #[test]
    fn each_is_text_by_itself() {
        check(&[b"a\xff", b"b"], &["a\u{fffd}", "b"]);
        check(&[b"a\xc3", b"\x9f"], &["a\u{fffd}", "\u{fffd}"]); // together an ß
        check(&["▁".as_bytes(), b"\xe2\x96"], &["▁", "\u{fffd}"]);
    }
}
