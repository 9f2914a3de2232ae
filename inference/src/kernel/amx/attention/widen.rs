//! Codes as bf16, which holds all of them exactly, in the order in which the products of bf16 want them.

use std::arch::x86_64::*;

use super::{CHUNK, Scores};
use crate::kernel::attention::{KvType, PAGE, PageView, Pairs, lines_of};
use crate::pack::GROUP;

/// A chunk of keys and values that were codes. It is made once for all heads that share them.
pub(super) struct Widened {
    dimensions: usize,
    /// `[page]`, each as one of bf16
    pages: Vec<Pairs>,
    /// The scales of the keys, and of the values; zero where there are none.
    pub(super) scales: [Scores; 2],
}

impl Widened {
    /// Room for heads of so many dimensions.
    pub(super) fn new(dimensions: usize) -> Self {
        let pages = vec![Pairs::ZERO; CHUNK / PAGE * KvType::Bf16.lines(dimensions)];
        Self { dimensions, pages, scales: [Scores([0.0; CHUNK]); 2] }
    }

    /// Takes the pages of a chunk that there are.
    ///
    /// # Panics
    /// If these are no codes, or a page is shorter than its layout says.
    pub(super) fn take<'a>(&mut self, pages: impl Iterator<Item = PageView<'a>>) {
        let of_page = KvType::Bf16.lines(self.dimensions);
        self.scales = [Scores([0.0; CHUNK]); 2];
        for (at, (page, room)) in pages.zip(self.pages.chunks_exact_mut(of_page)).enumerate() {
            assert!(page.is_whole(self.dimensions), "a page has all dimensions");
            let (keys, values) = room.split_at_mut(KvType::Bf16.key_lines(self.dimensions));
            // SAFETY: tiles are used only where `permitted` was true, on processors which all have these features.
            unsafe {
                widen(page.keys, PAGE / GROUP, keys);
                widen(page.values, lines_of(self.dimensions), values);
            }
            let of_page = page.token_scales().expect("codes have scales");
            for (scales, of_page) in self.scales.iter_mut().zip(of_page) {
                scales.0[at * PAGE..][..PAGE].copy_from_slice(&of_page);
            }
        }
    }

    /// One of the pages.
    pub(super) fn page(&self, at: usize) -> PageView<'_> {
        let of_page = KvType::Bf16.lines(self.dimensions);
        PageView::new(KvType::Bf16, self.dimensions, &self.pages[at * of_page..][..of_page])
    }
}

/// Lanes of four codes, of which `stride` lines lie side by side, become two times as many lanes of two numbers.
#[target_feature(enable = "avx512f")]
fn widen(codes: &[Pairs], stride: usize, out: &mut [Pairs]) {
    for (codes, out) in codes.chunks_exact(stride).zip(out.chunks_exact_mut(2 * stride)) {
        let (first, second) = out.split_at_mut(stride);
        for (codes, out) in codes.iter().zip(first.iter_mut().zip(second)) {
            // SAFETY: `Pairs` are 64 bytes, aligned to them, here and below.
            let codes = unsafe { _mm512_load_si512((&raw const *codes).cast()) };
            let numbers =
                [_mm512_slli_epi32::<24>(codes), _mm512_slli_epi32::<16>(codes), _mm512_slli_epi32::<8>(codes), codes]
                    .map(|highest| _mm512_castps_si512(_mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(highest))));
            // The lower halves of such floats are zeros.
            let pair = |a, b| _mm512_or_si512(_mm512_srli_epi32::<16>(a), b);
            let [a, b, c, d] = numbers;
            // SAFETY: as above.
            unsafe {
                _mm512_store_si512((&raw mut *out.0).cast(), pair(a, b));
                _mm512_store_si512((&raw mut *out.1).cast(), pair(c, d));
            }
        }
    }
}
