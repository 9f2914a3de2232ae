//! GPT-2's map from bytes to printable characters, in which byte-level vocabularies are written.
//!
//! Source: `bytes_to_unicode` of OpenAI's GPT-2 encoder (2019). Printable bytes of Latin-1 stand for themselves; the
//! 68 others, in rising order, are U+0100 and up. A space is `Ġ`, a newline `Ċ`.

/// One past the greatest character of the map, U+0143.
const END: usize = 0x144;

/// The character of each byte.
const CHARS: [char; 256] = {
    let mut chars = ['\0'; 256];
    let mut next = 0x100u32;
    let mut byte = 0usize;
    while byte < 256 {
        chars[byte] = if is_printable(byte as u8) {
            byte as u8 as char
        } else {
            let c = char::from_u32(next).expect("U+0100 to U+0143 are characters");
            next += 1;
            c
        };
        byte += 1;
    }
    chars
};

/// The byte of each character below [`END`]; 256 for characters that are not of the map.
const BYTES: [u16; END] = {
    let mut bytes = [256u16; END];
    let mut byte = 0usize;
    while byte < 256 {
        bytes[CHARS[byte] as usize] = byte as u16;
        byte += 1;
    }
    bytes
};

const fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The character that stands for a byte.
pub(super) fn char_of(byte: u8) -> char {
    CHARS[byte as usize]
}

/// The byte that a character stands for, if it is one of the map's 256.
pub(super) fn byte_of(c: char) -> Option<u8> {
    u8::try_from(*BYTES.get(c as usize)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_characters() {
        for (byte, c) in [(b' ', 'Ġ'), (b'\n', 'Ċ'), (b'\t', 'ĉ'), (b'a', 'a'), (0x7f, 'ġ'), (0xad, 'Ń'), (0xff, 'ÿ')]
        {
            assert_eq!(char_of(byte), c);
        }
    }

    #[test]
    fn the_map_is_one_to_one_and_says_what_is_not_in_it() {
        for byte in 0..=255 {
            assert_eq!(byte_of(char_of(byte)), Some(byte));
        }
        for c in [' ', '\u{ad}', '\u{144}', '▁', '😀'] {
            assert_eq!(byte_of(c), None, "{c:?}");
        }
    }
}
