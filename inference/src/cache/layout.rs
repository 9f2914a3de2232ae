//! How keys and values lie in a page, and nothing else: what writes them and what the kernels read.
//!
//! A page is `[layer][kv head]` of keys `[dimension / 2][token][2]`, then values `[token / 2][dimension][2]`, dimensions filled
//! up to a multiple of 32, all as bf16: what the matrix unit multiplies, two at a time.

use std::ops::Range;

use crate::kernel::{PAGE, Pairs, Span, ask_to_write, key_pairs, stored_dimensions, value_pairs};
use crate::pack::GROUP;

/// The numbers that a page's layout depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageShape {
    /// Layers.
    pub layers: usize,
    /// Key-value heads of a layer.
    pub kv_heads: usize,
    /// Dimensions of a head.
    pub head_dim: usize,
}

impl PageShape {
    /// Names this layout, in files: to be raised with whatever changes it, or the arithmetic that the numbers come from.
    pub(super) const LAYOUT: u32 = 2;

    /// [`Pairs`] of the keys and values of one layer and head.
    fn span_pairs(self) -> usize {
        key_pairs(self.head_dim) + value_pairs(self.head_dim)
    }

    /// [`Pairs`] of a page.
    pub(super) fn page_pairs(self) -> usize {
        self.layers * self.kv_heads * self.span_pairs()
    }

    /// Bytes of a page.
    pub fn page_bytes(self) -> usize {
        self.page_pairs() * size_of::<Pairs>()
    }

    /// Where the keys of a layer and head begin in a page.
    fn place(self, layer: usize, kv_head: usize) -> usize {
        (layer * self.kv_heads + kv_head) * self.span_pairs()
    }

    /// Asks for the lines that [`PageShape::store`] writes. A key goes to as many lines as it has pairs of dimensions, none of which has been
    /// near since the last step, and a processor that comes upon them one by one waits for nearly each.
    pub(super) fn ask_for(self, page: &[Pairs], token: usize, layer: usize, kv_head: usize) {
        let span = &page[self.place(layer, kv_head)..][..self.span_pairs()];
        let (keys, values) = span.split_at(key_pairs(self.head_dim));
        keys[token / GROUP..].iter().step_by(PAGE / GROUP).for_each(ask_to_write);
        let lines = stored_dimensions(self.head_dim) / GROUP;
        values[token / 2 * lines..][..lines].iter().for_each(ask_to_write);
    }

    /// Stores the key and value of one layer, head and one of the page's tokens.
    pub(super) fn store(
        self,
        page: &mut [Pairs],
        token: usize,
        layer: usize,
        kv_head: usize,
        [key, value]: [&[f32]; 2],
    ) {
        let span = &mut page[self.place(layer, kv_head)..][..self.span_pairs()];
        let (keys, values) = span.split_at_mut(key_pairs(self.head_dim));
        for (key, tokens) in key.chunks(GROUP).zip(keys.chunks_mut(GROUP / 2 * (PAGE / GROUP))) {
            let bits = to_bf16(key);
            for (pair, tokens) in bits.as_chunks::<2>().0.iter().zip(tokens.chunks_exact_mut(PAGE / GROUP)) {
                tokens[token / GROUP].0[token % GROUP] = *pair;
            }
        }
        let lines = stored_dimensions(self.head_dim) / GROUP;
        for (value, line) in value.chunks(GROUP).zip(&mut values[token / 2 * lines..]) {
            for (pair, bits) in line.0.iter_mut().zip(to_bf16(value)) {
                pair[token % 2] = bits;
            }
        }
    }

    /// A page as bytes, the same on every machine.
    pub(super) fn encode(page: &[Pairs], out: &mut [u8]) {
        for (line, out) in page.iter().zip(out.chunks_exact_mut(size_of::<Pairs>())) {
            for (number, out) in line.0.as_flattened().iter().zip(out.chunks_exact_mut(2)) {
                out.copy_from_slice(&number.to_le_bytes());
            }
        }
    }

    /// A page of the bytes that [`PageShape::encode`] made.
    pub(super) fn decode(bytes: &[u8], page: &mut [Pairs]) {
        for (line, bytes) in page.iter_mut().zip(bytes.chunks_exact(size_of::<Pairs>())) {
            for (number, bytes) in line.0.as_flattened_mut().iter_mut().zip(bytes.chunks_exact(2)) {
                *number = u16::from_le_bytes([bytes[0], bytes[1]]);
            }
        }
    }

    /// Whether all numbers of a page are finite.
    pub(super) fn is_finite(page: &[Pairs]) -> bool {
        const EXPONENT: u16 = 0x7f80; // all ones: infinite, or not a number
        let finite = |line: &Pairs| line.0.as_flattened().iter().fold(true, |all, x| all & (x & EXPONENT != EXPONENT));
        page.iter().all(finite)
    }

    /// Some tokens of a page, for one layer and head.
    pub(super) fn span(self, page: &[Pairs], seen: Range<usize>, layer: usize, kv_head: usize) -> Span<'_> {
        let (keys, values) = page[self.place(layer, kv_head)..][..self.span_pairs()].split_at(key_pairs(self.head_dim));
        Span { keys, values, first: seen.start, tokens: seen.end }
    }
}

/// Up to 16 numbers as bf16, filled up with zeros.
fn to_bf16(numbers: &[f32]) -> [u16; GROUP] {
    let mut padded = [0.0f32; GROUP];
    padded[..numbers.len()].copy_from_slice(numbers);
    let mut rounded = [0; GROUP];
    // As `half` has it, in a form that compilers turn into vector code.
    for (rounded, x) in rounded.iter_mut().zip(padded) {
        let bits = x.to_bits();
        let nearest = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        let quiet = (bits >> 16) | 0x40;
        *rounded = if x.is_nan() { quiet } else { nearest } as u16;
    }
    rounded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_as_half_does_it() {
        let special = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, 1e-45];
        let ties = (0..64u32).map(|i| f32::from_bits(0x3f80_0000 + i * 0x4000));
        let spread = (0..2_000u32).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9)));
        for x in special.into_iter().chain(ties).chain(spread) {
            let (ours, theirs) = (to_bf16(&[x; 3]), half::bf16::from_f32(x));
            assert_eq!(ours[..3], [theirs.to_bits(); 3], "{x} {:#x}", x.to_bits());
            assert_eq!(ours[3..], [0; GROUP - 3]);
        }
    }
}
