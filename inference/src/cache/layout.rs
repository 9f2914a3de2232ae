//! How keys and values lie in a page, and nothing else: what writes them and what the kernels read.
//!
//! A page is `[layer][kv head]` of keys `[dimension][token]`, then values `[token][dimension]`, dimensions of values filled
//! up to a multiple of 16, all as halves.

use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::kernel::{PAGE, Span};
use crate::pack::{GROUP, Halves};

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
    /// Registers' worth of halves in a value.
    pub(super) fn value_lines(self) -> usize {
        self.head_dim.div_ceil(GROUP)
    }

    /// Halves of the keys of one head in a page, in units of 16.
    fn key_span(self) -> usize {
        self.head_dim * (PAGE / GROUP)
    }

    fn value_span(self) -> usize {
        PAGE * self.value_lines()
    }

    /// Halves of a page, in units of 16.
    pub(super) fn page_lines(self) -> usize {
        self.layers * self.kv_heads * (self.key_span() + self.value_span())
    }

    /// Bytes of a page.
    pub fn page_bytes(self) -> usize {
        self.page_lines() * size_of::<Halves>()
    }

    /// Where the keys of a layer and head begin in a page.
    fn place(self, layer: usize, kv_head: usize) -> usize {
        (layer * self.kv_heads + kv_head) * (self.key_span() + self.value_span())
    }

    /// Stores the key and value of one layer and one of the page's tokens: `[kv head][dimension]`.
    pub(super) fn store(self, page: &mut [Halves], token: usize, layer: usize, key: &[f32], value: &[f32]) {
        let mut halves = [f16::ZERO; GROUP];
        for (head, (key, value)) in key.chunks_exact(self.head_dim).zip(value.chunks_exact(self.head_dim)).enumerate() {
            let span = &mut page[self.place(layer, head)..][..self.key_span() + self.value_span()];
            let (keys, values) = span.split_at_mut(self.key_span());
            for (part, key) in key.chunks(GROUP).enumerate() {
                halves[..key.len()].convert_from_f32_slice(key);
                for (d, half) in halves[..key.len()].iter().enumerate() {
                    keys[(part * GROUP + d) * (PAGE / GROUP) + token / GROUP].0[token % GROUP] = half.to_bits();
                }
            }
            for (part, value) in value.chunks(GROUP).enumerate() {
                halves[..value.len()].convert_from_f32_slice(value);
                let line = &mut values[token * self.value_lines() + part];
                for (to, half) in line.0.iter_mut().zip(&halves[..value.len()]) {
                    *to = half.to_bits();
                }
            }
        }
    }

    /// Whether all numbers of a page are finite.
    pub(super) fn is_finite(page: &[Halves]) -> bool {
        const EXPONENT: u16 = 0x7c00; // all ones: infinite, or not a number
        page.iter().all(|line| line.0.iter().fold(true, |finite, half| finite & (half & EXPONENT != EXPONENT)))
    }

    /// Some tokens of a page, for one layer and head.
    pub(super) fn span(self, page: &[Halves], seen: Range<usize>, layer: usize, kv_head: usize) -> Span<'_> {
        let (keys, values) = page[self.place(layer, kv_head)..].split_at(self.key_span());
        Span { keys, values: &values[..self.value_span()], first: seen.start, tokens: seen.end }
    }
}
