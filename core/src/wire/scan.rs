//! Finding what ends or interrupts a JSON string, eight bytes at a time.

const ONES: u64 = u64::MAX / 0xff;
const HIGH: u64 = ONES << 7;

/// How many bytes at the beginning are neither a quote nor a backslash nor a control character: what a JSON string
/// (RFC 8259, section 7) holds as it is.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let found = special(u64::from_le_bytes(*word));
        if found != 0 {
            return i * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let plain = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
    words.len() * 8 + plain
}

/// The high bit of each byte that is special; the lowest one set is right, those above may be set by its borrow
/// ("Bit Twiddling Hacks", S. E. Anderson: a byte less than n, a byte that is zero).
fn special(word: u64) -> u64 {
    let (quote, backslash) = (word ^ (ONES * 0x22), word ^ (ONES * 0x5c));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn slowly(bytes: &[u8]) -> usize {
        bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(bytes.len())
    }

    #[test]
    fn every_byte_at_every_place_beside_every_other() {
        for byte in 0..=255 {
            for beside in [b' ', b'!', b'#', b'[', b']', 0x1f, 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                for at in 0..20 {
                    let mut bytes = vec![beside; 20];
                    bytes[at] = byte;
                    assert_eq!(plain_run(&bytes), slowly(&bytes), "{bytes:?}");
                    assert_eq!(plain_run(&bytes[at..]), slowly(&bytes[at..]), "{bytes:?} from {at}");
                }
            }
        }
        assert_eq!(plain_run(b""), 0);
    }
}
