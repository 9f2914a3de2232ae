//! The scan with AVX-512 and VNNI: a register holds one number of each of the 16 outputs of a group.

use std::arch::x86_64::*;

use super::bound::{LARGEST, Planes, SMALLEST};
use crate::kernel::avx512::{columns_of, four, load_f16};
use crate::pack::{BLOCK, Line, Norms, Width};

/// Lines of a block in each plane.
const LINES: usize = Width::Split.lines();

/// Blocks that are asked for before they are read; into the second cache, which takes more at once than the first.
const AHEAD: usize = 32;

pub(super) fn scan(planes: &Planes<'_>, group: usize) -> f32 {
    // SAFETY: see the module `kernel` for the features.
    unsafe { scan_group(planes, group) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn scan_group(planes: &Planes<'_>, group: usize) -> f32 {
    let blocks = group * planes.factors.len()..(group + 1) * planes.factors.len();
    let lines = &planes.q.codes[blocks.start * LINES..blocks.end * LINES];
    let scales = &planes.q.scales[blocks.clone()];
    let norms = &planes.norms[blocks];
    let (mut nearly, mut bounds) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    let planes_of = lines.as_chunks::<LINES>().0.iter().zip(scales).zip(norms);
    let of_x = planes.codes.iter().zip(planes.factors);
    for (((lines, scales), norms), (codes, factors)) in planes_of.zip(of_x) {
        for line in lines {
            _mm_prefetch::<_MM_HINT_T1>((&raw const *line).wrapping_add(AHEAD * LINES).cast());
        }
        _mm_prefetch::<_MM_HINT_T1>((&raw const *scales).wrapping_add(AHEAD).cast());
        _mm_prefetch::<_MM_HINT_T1>((&raw const *norms).wrapping_add(AHEAD).cast());
        let dot = _mm512_cvtepi32_ps(dot(lines.as_ptr(), codes));
        let scale = load_f16(scales);
        let of_high = _mm512_fmadd_ps(dot, _mm512_set1_ps(factors.high), _mm512_set1_ps(factors.base));
        nearly = _mm512_fmadd_ps(of_high, scale, nearly);
        let bound = _mm512_fmadd_ps(load_norms(norms), _mm512_set1_ps(factors.norm), _mm512_set1_ps(factors.slack));
        bounds = _mm512_fmadd_ps(bound, _mm512_abs_ps(scale), bounds);
    }
    let upper = _mm512_add_ps(_mm512_add_ps(nearly, bounds), _mm512_set1_ps(SMALLEST));
    // Neither for what is no number.
    let bounded = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(bounds, _mm512_set1_ps(LARGEST));
    let upper = _mm512_mask_blend_ps(bounded, _mm512_set1_ps(f32::INFINITY), upper);
    _mm512_reduce_max_ps(upper)
}

/// Four lines of nibbles times the codes of a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn dot(lines: *const Line, codes: &[i8; BLOCK]) -> __m512i {
    let mut dots = [_mm512_setzero_si512(); 2];
    for v in 0..LINES {
        // SAFETY: the caller has so many lines, and a block has 8 times 4 codes.
        unsafe {
            let [low, high] = columns_of::<LINES>(lines, v);
            dots[0] = _mm512_dpbusd_epi32(dots[0], low, four(codes.as_ptr().add(4 * v)));
            dots[1] = _mm512_dpbusd_epi32(dots[1], high, four(codes.as_ptr().add(16 + 4 * v)));
        }
    }
    _mm512_add_epi32(dots[0], dots[1])
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_norms(norms: &Norms) -> __m512 {
    // SAFETY: `Norms` is 16 bytes, aligned to them.
    _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(unsafe { _mm_load_si128(norms.0.as_ptr().cast()) }))
}
