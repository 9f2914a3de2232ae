//! How keys and values lie in a page, and nothing else: what writes them and what the kernels read.
//!
//! A page is `[layer][kv head]` of keys, then values, then scales if there are any, as [`KvType`] has them.

use crate::kernel::{BF16, CODES, KvType, PAGE, PageView, Pairs, ask_to_write, codes, lines_of};
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
    /// What keys and values are kept as.
    pub kv: KvType,
}

impl PageShape {
    /// Names the layout, in files: another one with whatever changes it, or the arithmetic that the numbers come from.
    pub(super) fn layout(self) -> u32 {
        match self.kv {
            KvType::Bf16 => 4,
            KvType::Q8 => 5,
        }
    }

    /// [`Pairs`] of the keys and values of one layer and head.
    fn span_pairs(self) -> usize {
        self.kv.lines(self.head_dim)
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

    /// Asks for the lines that [`PageShape::store`] writes. A key goes to as many lines as it has pairs of dimensions,
    /// none of which has been near since the last step, and a processor that comes upon them one by one waits for
    /// nearly each.
    pub(super) fn ask_for(self, page: &[Pairs], token: usize, layer: usize, kv_head: usize) {
        let PageView { keys, values, scales } = self.view(page, layer, kv_head);
        keys[token / GROUP..].iter().step_by(PAGE / GROUP).for_each(ask_to_write);
        let lines = lines_of(self.head_dim);
        values[token / self.kv.per_lane() * lines..][..lines].iter().for_each(ask_to_write);
        scales.iter().skip(token / GROUP).step_by(PAGE / GROUP).for_each(ask_to_write);
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
        let (keys, rest) = span.split_at_mut(self.kv.key_lines(self.head_dim));
        let (values, scales) = rest.split_at_mut(self.kv.value_lines(self.head_dim));
        let lines = lines_of(self.head_dim);
        if self.kv == KvType::Q8 {
            let of_key = codes(key, |d, code| {
                keys[d / CODES * (PAGE / GROUP) + token / GROUP].set_code(token % GROUP, d % CODES, code);
            });
            let values = &mut values[token / CODES * lines..][..lines];
            let of_value = codes(value, |d, code| values[d / GROUP].set_code(d % GROUP, token % CODES, code));
            scales[token / GROUP].set_float(token % GROUP, of_key);
            return scales[(PAGE + token) / GROUP].set_float(token % GROUP, of_value);
        }
        for (key, tokens) in key.chunks(GROUP).zip(keys.chunks_mut(GROUP / BF16 * (PAGE / GROUP))) {
            let bits = to_bf16(key);
            for (pair, tokens) in bits.as_chunks::<2>().0.iter().zip(tokens.chunks_exact_mut(PAGE / GROUP)) {
                tokens[token / GROUP].0[token % GROUP] = *pair;
            }
        }
        for (value, line) in value.chunks(GROUP).zip(&mut values[token / BF16 * lines..]) {
            for (pair, bits) in line.0.iter_mut().zip(to_bf16(value)) {
                pair[token % BF16] = bits;
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
    pub(super) fn is_finite(self, page: &[Pairs]) -> bool {
        const EXPONENT: u16 = 0x7f80; // all ones: infinite, or not a number
        let finite = |bits: u16| bits & EXPONENT != EXPONENT;
        match self.kv {
            KvType::Bf16 => page.iter().all(|line| line.0.as_flattened().iter().fold(true, |all, &x| all & finite(x))),
            // Codes always are, and the upper half of a scale is a bf16.
            KvType::Q8 => page.chunks_exact(self.span_pairs().max(1)).all(|span| {
                let scales = &span[span.len() - self.kv.scale_lines()..];
                scales.iter().flat_map(|line| line.0).all(|[_, high]| finite(high))
            }),
        }
    }

    /// The keys and values of one layer and head.
    pub(super) fn view(self, page: &[Pairs], layer: usize, kv_head: usize) -> PageView<'_> {
        PageView::new(self.kv, self.head_dim, &page[self.place(layer, kv_head)..][..self.span_pairs()])
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
