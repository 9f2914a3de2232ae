//! Blocks of 32 values with one scale.

use super::{Codes, SUB_BLOCK, half_at, nibbles, word_at};

pub(super) fn q4_0(b: &[u8]) -> Codes {
    Codes::new(nibbles(&b[2..18]).map(|q| q as i8 - 8), [half_at(b, 0); 2])
}

pub(super) fn q4_1(b: &[u8]) -> Codes {
    let codes = Codes::new(nibbles(&b[4..20]).map(|q| q as i8), [half_at(b, 0); 2]);
    codes.with_mins([half_at(b, 2); 2])
}

pub(super) fn q5_0(b: &[u8]) -> Codes {
    Codes::new(five_bits(&b[6..22], word_at(b, 2)).map(|q| q - 16), [half_at(b, 0); 2])
}

pub(super) fn q5_1(b: &[u8]) -> Codes {
    Codes::new(five_bits(&b[8..24], word_at(b, 4)), [half_at(b, 0); 2]).with_mins([half_at(b, 2); 2])
}

pub(super) fn q8_0(b: &[u8]) -> Codes {
    Codes::new(std::array::from_fn(|j| b[2 + j] as i8), [half_at(b, 0); 2])
}

/// Nibbles with a fifth bit from another place.
fn five_bits(low: &[u8], fifth: u32) -> [i8; SUB_BLOCK] {
    let low = nibbles(low);
    std::array::from_fn(|j| (low[j] | (((fifth >> j) & 1) << 4) as u8) as i8)
}
