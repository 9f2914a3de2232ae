//! Blocks of 256 values that are -1, 0 or 1 times one scale.

use super::{Codes, SUB_BLOCK, half_at, pairs};

/// Five values a byte (four in the last 4 bytes), as a fraction of 256 in base 3: the first is the first digit.
pub(super) fn tq1_0(b: &[u8], part: usize) -> Codes {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    let q = |value: usize| {
        // 32 bytes hold values 0 to 159, 16 hold 160 to 239, 4 hold the last 16: each time a digit of all bytes in turn.
        let (first, bytes, value) = match value {
            0..160 => (0, 32, value),
            160..240 => (32, 16, value - 160),
            _ => (48, 4, value - 240),
        };
        let digits = b[first + value % bytes].wrapping_mul(POWERS[value / bytes]);
        ((u16::from(digits) * 3) >> 8) as i8 - 1
    };
    Codes::new(std::array::from_fn(|j| q(SUB_BLOCK * part + j)), [half_at(b, 52); 2])
}

/// Two bits a value.
pub(super) fn tq2_0(b: &[u8], part: usize) -> Codes {
    Codes::new(pairs(&b[..64], part).map(|q| q as i8 - 1), [half_at(b, 64); 2])
}
