//! Randomness from the caller's seed: the ChaCha20 key stream (RFC 8439, section 2.3), counter from 0, nonce 0; after 2^32
//! blocks the nonce's first word counts on, so that no id comes twice.
//!
//! Session ids are made from it. Access is checked by user, so guessing one gains nothing, but a generator from which
//! earlier ids cannot be computed costs no more than a weaker one.

use crate::id::Uuid;

/// A stream of random bytes, the same for the same seed.
pub(crate) struct Rng {
    key: [u32; 8],
    counter: u64,
    block: [u8; 64],
    used: usize,
}

impl Rng {
    pub(crate) fn new(seed: [u8; 32]) -> Rng {
        let mut key = [0; 8];
        for (word, bytes) in key.iter_mut().zip(seed.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Rng { key, counter: 0, block: [0; 64], used: 64 }
    }

    /// A random UUID (RFC 9562, version 4).
    pub(crate) fn uuid(&mut self) -> Uuid {
        let mut bytes: [u8; 16] = self.bytes();
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Uuid(bytes)
    }

    /// The next `N` bytes; `N` divides 64.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(64 % N == 0) }
        if self.used == 64 {
            // The low word is the counter, the high one the nonce's first.
            self.block = block(&self.key, self.counter as u32, [(self.counter >> 32) as u32, 0, 0]);
            self.counter = self.counter.wrapping_add(1);
            self.used = 0;
        }
        let mut bytes = [0; N];
        // Mixed sizes could leave less than N bytes; they are skipped with the end of the block.
        let from = self.used.min(64 - N);
        bytes.copy_from_slice(&self.block[from..from + N]);
        self.used = from + N;
        bytes
    }
}

fn block(key: &[u32; 8], counter: u32, nonce: [u32; 3]) -> [u8; 64] {
    let mut start = [0; 16];
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]); // "expand 32-byte k"
    start[4..12].copy_from_slice(key);
    start[12] = counter;
    start[13..].copy_from_slice(&nonce);
    let mut state = start;
    for _ in 0..10 {
        for [a, b, c, d] in [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]] {
            quarter_round(&mut state, a, b, c, d);
        }
        for [a, b, c, d] in [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]] {
            quarter_round(&mut state, a, b, c, d);
        }
    }
    let mut out = [0; 64];
    for (bytes, (word, first)) in out.as_chunks_mut::<4>().0.iter_mut().zip(state.iter().zip(start)) {
        *bytes = word.wrapping_add(first).to_le_bytes();
    }
    out
}

fn quarter_round(s: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    s[a] = s[a].wrapping_add(s[b]);
    s[d] = (s[d] ^ s[a]).rotate_left(16);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_left(12);
    s[a] = s[a].wrapping_add(s[b]);
    s[d] = (s[d] ^ s[a]).rotate_left(8);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_left(7);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::format;

    #[test]
    fn the_block_of_rfc_8439_section_2_3_2() {
        let mut seed = [0; 32];
        for (i, byte) in seed.iter_mut().enumerate() {
            *byte = i as u8;
        }
        let out = block(&Rng::new(seed).key, 1, [0x0900_0000, 0x4a00_0000, 0]);
        #[rustfmt::skip]
        let expected = [
            0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15, 0x50, 0x0f, 0xdd, 0x1f, 0xa3, 0x20, 0x71, 0xc4,
            0xc7, 0xd1, 0xf4, 0xc7, 0x33, 0xc0, 0x68, 0x03, 0x04, 0x22, 0xaa, 0x9a, 0xc3, 0xd4, 0x6c, 0x4e,
            0xd2, 0x82, 0x64, 0x46, 0x07, 0x9f, 0xaa, 0x09, 0x14, 0xc2, 0xd7, 0x05, 0xd9, 0x8b, 0x02, 0xa2,
            0xb5, 0x12, 0x9c, 0xd1, 0xde, 0x16, 0x4e, 0xb9, 0xcb, 0xd0, 0x83, 0xe8, 0xa2, 0x50, 0x3c, 0x4e,
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn uuids_are_of_version_4_and_differ() {
        let mut rng = Rng::new([7; 32]);
        let mut seen = BTreeSet::new();
        for _ in 0..1_000 {
            let text = format!("{}", rng.uuid());
            assert_eq!(&text[14..15], "4", "{text}");
            assert!("89ab".contains(&text[19..20]), "{text}");
            assert!(seen.insert(text));
        }
    }

    #[test]
    fn ids_do_not_begin_anew_when_the_block_counter_does() {
        let mut rng = Rng::new([7; 32]);
        let first = rng.uuid();
        (rng.counter, rng.used) = (u64::from(u32::MAX), 64);
        let before: [u8; 64] = rng.bytes();
        let after = rng.uuid();
        assert_ne!(after, first);
        assert_ne!(before[..16], after.0);
    }

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        assert_eq!(Rng::new([1; 32]).uuid(), Rng::new([1; 32]).uuid());
        assert_ne!(Rng::new([1; 32]).uuid(), Rng::new([2; 32]).uuid());
    }
}
