//! The scan with AVX-512 and VNNI: a register holds one number of each of the 16 outputs of a group.

use std::arch::x86_64::*;

use super::bound::{BOUNDED_ROWS, LARGEST, Planes, Rows, SMALLEST};
use crate::kernel::avx512::{columns_of, four, load_f16};
use crate::pack::{Norms, Width};

/// Lines of a block in each plane.
const LINES: usize = Width::Split.lines();

/// Blocks that are asked for before they are read; into the second cache, which takes more at once than the first.
const AHEAD: usize = 32;

pub(super) fn scan(planes: &Planes<'_>, group: usize, rows: &Rows, uppers: &mut [f32; BOUNDED_ROWS]) {
    // SAFETY: see the module `kernel` for the features.
    unsafe {
        match rows.count {
            0 => {}
            1 => of_rows::<1>(planes, group, rows, uppers),
            2 => of_rows::<2>(planes, group, rows, uppers),
            3 => of_rows::<3>(planes, group, rows, uppers),
            4 => of_rows::<4>(planes, group, rows, uppers),
            5 => of_rows::<5>(planes, group, rows, uppers),
            6 => of_rows::<6>(planes, group, rows, uppers),
            7 => of_rows::<7>(planes, group, rows, uppers),
            BOUNDED_ROWS => of_rows::<BOUNDED_ROWS>(planes, group, rows, uppers),
            other => unreachable!("at most {BOUNDED_ROWS} rows go together, not {other}"),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn of_rows<const N: usize>(planes: &Planes<'_>, group: usize, rows: &Rows, uppers: &mut [f32; BOUNDED_ROWS]) {
    let blocks = group * planes.blocks..(group + 1) * planes.blocks;
    let lines = &planes.q.codes[blocks.start * LINES..blocks.end * LINES];
    let scales = &planes.q.scales[blocks.clone()];
    let norms = &planes.norms[blocks];
    let mut upper = [_mm512_setzero_ps(); N];
    let planes_of = lines.as_chunks::<LINES>().0.iter().zip(scales).zip(norms);
    let of_rows = rows.codes.as_chunks::<N>().0.iter().zip(rows.factors.as_chunks::<N>().0);
    for (((lines, scales), norms), (codes, factors)) in planes_of.zip(of_rows) {
        for line in lines {
            _mm_prefetch::<_MM_HINT_T1>((&raw const *line).wrapping_add(AHEAD * LINES).cast());
        }
        _mm_prefetch::<_MM_HINT_T1>((&raw const *scales).wrapping_add(AHEAD).cast());
        _mm_prefetch::<_MM_HINT_T1>((&raw const *norms).wrapping_add(AHEAD).cast());
        let mut dots = [_mm512_setzero_si512(); N];
        for v in 0..LINES {
            // SAFETY: there are so many lines.
            let [low, high] = unsafe { columns_of::<LINES>(lines.as_ptr(), v) };
            for (dots, codes) in dots.iter_mut().zip(codes) {
                // SAFETY: a block has 8 times 4 codes.
                let [of_low, of_high] =
                    unsafe { [four(codes.as_ptr().add(4 * v)), four(codes.as_ptr().add(16 + 4 * v))] };
                *dots = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(*dots, low, of_low), high, of_high);
            }
        }
        let scale = load_f16(scales);
        let size = _mm512_abs_ps(scale);
        let norm = _mm512_mul_ps(load_norms(norms), size);
        for ((upper, dots), factors) in upper.iter_mut().zip(dots).zip(factors) {
            let of_high =
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_set1_ps(factors.high), _mm512_set1_ps(factors.base));
            *upper = _mm512_fmadd_ps(of_high, scale, *upper);
            *upper = _mm512_fmadd_ps(norm, _mm512_set1_ps(factors.norm), *upper);
            *upper = _mm512_fmadd_ps(size, _mm512_set1_ps(factors.slack), *upper);
        }
    }
    for (out, upper) in uppers.iter_mut().zip(upper) {
        // Neither for what is no number.
        let bounded = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(upper), _mm512_set1_ps(LARGEST));
        let upper = _mm512_add_ps(upper, _mm512_set1_ps(SMALLEST));
        *out = _mm512_reduce_max_ps(_mm512_mask_blend_ps(bounded, _mm512_set1_ps(f32::INFINITY), upper));
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_norms(norms: &Norms) -> __m512 {
    // SAFETY: `Norms` is 16 bytes, aligned to them.
    _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(unsafe { _mm_load_si128(norms.0.as_ptr().cast()) }))
}
