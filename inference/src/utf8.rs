//! Bytes in, whole characters out.
//!
//! A token of a byte-level vocabulary may end in the middle of a character. [`Utf8Decoder`] keeps such a tail back
//! until the bytes that complete it arrive, so that a reader never sees half a character. Bytes that can never become
//! UTF-8 turn into U+FFFD, one for each "maximal subpart" (Unicode 16, section 3.9), exactly as
//! [`String::from_utf8_lossy`] does over the whole text.

/// An incremental UTF-8 decoder. However the bytes are cut into pieces, the text that comes out is the same.
///
/// ```
/// use causerie_inference::utf8::Utf8Decoder;
///
/// let (mut decoder, mut text) = (Utf8Decoder::default(), String::new());
/// decoder.push(b"caf\xc3", &mut text);
/// assert_eq!(text, "caf");
/// decoder.push(b"\xa9", &mut text);
/// assert_eq!(text, "café");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Utf8Decoder {
    /// The beginning of a character whose rest has not come: at most three bytes between calls.
    tail: [u8; 4],
    tail_len: usize,
}

impl Utf8Decoder {
    /// Appends to `out` every character that `bytes` completes.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut String) {
        while self.tail_len > 0 {
            let Some((&first, rest)) = bytes.split_first() else { return };
            bytes = rest;
            self.complete_tail(first, out);
        }
        while !bytes.is_empty() {
            match std::str::from_utf8(bytes) {
                Ok(text) => {
                    out.push_str(text);
                    return;
                }
                Err(error) => {
                    let (valid, rest) = bytes.split_at(error.valid_up_to());
                    out.push_str(std::str::from_utf8(valid).expect("from_utf8 said that this much is valid"));
                    let Some(bad) = error.error_len() else {
                        self.tail[..rest.len()].copy_from_slice(rest);
                        self.tail_len = rest.len();
                        return;
                    };
                    out.push(char::REPLACEMENT_CHARACTER);
                    bytes = &rest[bad..];
                }
            }
        }
    }

    /// Ends the text: an unfinished character becomes one U+FFFD. The decoder is as new afterwards.
    pub fn finish(&mut self, out: &mut String) {
        if std::mem::take(&mut self.tail_len) > 0 {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }

    /// Adds one byte to a tail that is not empty and emits what this decides.
    fn complete_tail(&mut self, byte: u8, out: &mut String) {
        self.tail[self.tail_len] = byte;
        self.tail_len += 1;
        while self.tail_len > 0 {
            match std::str::from_utf8(&self.tail[..self.tail_len]) {
                Ok(text) => {
                    out.push_str(text);
                    self.tail_len = 0;
                }
                Err(error) => {
                    // The tail was an incomplete character, so nothing before the new byte is valid by itself.
                    let Some(bad) = error.error_len() else { return };
                    out.push(char::REPLACEMENT_CHARACTER);
                    self.tail.copy_within(bad..self.tail_len, 0);
                    self.tail_len -= bad;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Utf8Decoder;
    use proptest::prelude::*;

    fn decode(pieces: &[&[u8]]) -> String {
        let (mut decoder, mut out) = (Utf8Decoder::default(), String::new());
        for piece in pieces {
            decoder.push(piece, &mut out);
        }
        decoder.finish(&mut out);
        out
    }

    #[test]
    fn a_character_appears_when_its_last_byte_does() {
        let (mut decoder, mut out) = (Utf8Decoder::default(), String::new());
        for (byte, expected) in "a😀".bytes().zip(["a", "a", "a", "a", "a😀"]) {
            decoder.push(&[byte], &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn invalid_bytes_are_replaced_one_for_each_maximal_subpart() {
        assert_eq!(decode(&[b"\xe2\x82", b"A"]), "\u{fffd}A");
        assert_eq!(decode(&[b"\xf0\x9f", b"\xf0\x9f\x98\x80"]), "\u{fffd}😀");
        assert_eq!(decode(&[b"\xff\x80", b"\xc0"]), "\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(decode(&[b"\xed", b"\xa0\x80"]), "\u{fffd}\u{fffd}\u{fffd}"); // a surrogate
    }

    #[test]
    fn an_unfinished_character_is_replaced_at_the_end_and_the_decoder_is_new_again() {
        let (mut decoder, mut out) = (Utf8Decoder::default(), String::new());
        decoder.push(b"x\xf0\x9f\x98", &mut out);
        decoder.finish(&mut out);
        decoder.push(b"y", &mut out);
        decoder.finish(&mut out);
        assert_eq!(out, "x\u{fffd}y");
    }

    /// Bytes of the shapes that matter: whole characters, halves of characters, and noise.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let interesting = prop::sample::select(vec![0x41, 0x80, 0xa0, 0xbf, 0xc2, 0xe0, 0xe2, 0xed, 0xf0, 0xf4, 0xff]);
        let piece = prop_oneof![
            any::<char>().prop_map(|c| c.to_string().into_bytes()),
            any::<char>().prop_map(|c| c.to_string().into_bytes()[..c.len_utf8().div_ceil(2)].to_vec()),
            interesting.prop_map(|b| vec![b]),
            any::<u8>().prop_map(|b| vec![b]),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_cut_gives_what_the_whole_gives(bytes in bytes(), sizes in prop::collection::vec(0usize..6, 1..16)) {
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            for size in sizes.iter().cycle().take(200) {
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(decode(&pieces), String::from_utf8_lossy(&bytes));
        }
    }
}
