//! The search with AVX-512 and VNNI: a register holds one number of each of the 16 rows of a group.

use std::arch::x86_64::*;

use super::{LARGEST, Planes, SMALLEST, Scanned};
use crate::kernel::Lanes;
use crate::kernel::avx512::{columns_of, four, load_f16};
use crate::pack::{BLOCK, Line, Norms, Width};

/// Lines of a block in each plane.
const LINES: usize = Width::Split.lines();

/// Blocks that are asked for before they are read; into the second cache, which takes more at once than the first.
const AHEAD: usize = 32;

/// Blocks of the low plane that are looked at before it is asked whether they are enough.
const PART: usize = 4;

pub(super) fn scan(planes: &Planes<'_>, group: usize, uppers: &mut Lanes) -> Scanned {
    // SAFETY: see the module `kernel` for the features.
    unsafe { scan_group(planes, group, uppers) }
}

pub(super) fn reaches(planes: &Planes<'_>, group: usize, uppers: &Lanes, least: f32) -> bool {
    // SAFETY: see the module `kernel` for the features.
    unsafe { group_reaches(planes, group, uppers, least) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn scan_group(planes: &Planes<'_>, group: usize, uppers: &mut Lanes) -> Scanned {
    let blocks = group * planes.blocks..(group + 1) * planes.blocks;
    let lines = &planes.q.codes[blocks.start * LINES..blocks.end * LINES];
    let scales = &planes.q.scales[blocks.clone()];
    let norms = &planes.q.low.as_ref().expect("it is split").norms[blocks];
    let (mut nearly, mut bounds) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    let planes_of = lines.as_chunks::<LINES>().0.iter().zip(scales).zip(norms);
    let of_x = planes.codes.as_chunks::<BLOCK>().0.iter().zip(&planes.row.blocks);
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
    // SAFETY: there are 16 places.
    unsafe { _mm512_storeu_ps(uppers.as_mut_ptr(), upper) };
    Scanned { greatest: _mm512_reduce_max_ps(upper), nearly: _mm512_reduce_max_ps(nearly) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn group_reaches(planes: &Planes<'_>, group: usize, uppers: &Lanes, least: f32) -> bool {
    let low = planes.q.low.as_ref().expect("it is split");
    // SAFETY: there are 16 places.
    let mut upper = unsafe { _mm512_loadu_ps(uppers.as_ptr()) };
    let least = _mm512_set1_ps(least);
    let place = |b: u32| group * planes.blocks + b as usize;
    let (order, mut next) = (&planes.row.order[..], planes.row.order.iter().skip(PART));
    for part in order.chunks(PART) {
        for &b in part {
            if let Some(&b) = next.next() {
                for line in &low.codes[place(b) * LINES..][..LINES] {
                    _mm_prefetch::<_MM_HINT_T0>((&raw const *line).cast());
                }
            }
            let (at, factors) = (place(b), &planes.row.blocks[b as usize]);
            let codes = planes.codes[b as usize * BLOCK..].first_chunk().expect("whole blocks");
            let dot = _mm512_cvtepi32_ps(dot(low.codes[at * LINES..][..LINES].as_ptr(), codes));
            let scale = load_f16(&planes.q.scales[at]);
            let of_low = _mm512_fmadd_ps(dot, _mm512_set1_ps(factors.low), _mm512_set1_ps(factors.middle));
            upper = _mm512_fmadd_ps(of_low, scale, upper);
            let bound = _mm512_mul_ps(load_norms(&low.norms[at]), _mm512_set1_ps(factors.norm));
            upper = _mm512_fnmadd_ps(bound, _mm512_abs_ps(scale), upper);
        }
        // Not "reaches": what is no number does.
        if _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(upper, least) == 0 {
            return false;
        }
    }
    true
}

/// Four lines of nibbles times the codes of a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn dot(lines: *const Line, codes: &[i8; BLOCK]) -> __m512i {
    let mut dots = [_mm512_setzero_si512(); 2];
    for v in 0..LINES {
        // SAFETY: both callers have so many lines, and a block has 8 times 4 codes.
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
