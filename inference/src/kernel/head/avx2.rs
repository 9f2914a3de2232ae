//! The scan with AVX2: two registers hold one number of each of the 16 outputs of a group.

use std::arch::x86_64::*;

use super::bound::{LARGEST, Planes, Rows, SMALLEST};
use crate::kernel::avx2::load_f16;
use crate::pack::{BLOCK, Line, Norms, Width};

/// Lines of a block in each plane.
const LINES: usize = Width::Split.lines();
/// Lanes of a register of f32.
const LANES: usize = 8;

pub(super) fn scan(planes: &Planes<'_>, group: usize, rows: &Rows, row: usize) -> f32 {
    // SAFETY: see the module `kernel` for the features.
    unsafe { scan_group(planes, group, rows, row) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn scan_group(planes: &Planes<'_>, group: usize, rows: &Rows, row: usize) -> f32 {
    let (mut nearly, mut bounds) = ([_mm256_setzero_ps(); 2], [_mm256_setzero_ps(); 2]);
    for (b, (codes, factors)) in rows.row(row).enumerate() {
        let at = group * planes.blocks + b;
        let lines = planes.q.codes[at * LINES..].first_chunk().expect("whole blocks");
        for half in 0..2 {
            let scale = load_f16(&planes.q.scales[at], half);
            let dot = _mm256_cvtepi32_ps(dot(lines, half, codes));
            let of_high = _mm256_fmadd_ps(dot, _mm256_set1_ps(factors.high), _mm256_set1_ps(factors.base));
            nearly[half] = _mm256_fmadd_ps(of_high, scale, nearly[half]);
            let norms = load_norms(&planes.norms[at], half);
            let bound = _mm256_fmadd_ps(norms, _mm256_set1_ps(factors.norm), _mm256_set1_ps(factors.slack));
            bounds[half] = _mm256_fmadd_ps(bound, _mm256_andnot_ps(_mm256_set1_ps(-0.0), scale), bounds[half]);
        }
    }
    let mut uppers = [0.0f32; 2 * LANES];
    for half in 0..2 {
        let upper = _mm256_add_ps(_mm256_add_ps(nearly[half], bounds[half]), _mm256_set1_ps(SMALLEST));
        // Neither for what is no number.
        let bounded = _mm256_cmp_ps::<_CMP_LT_OQ>(bounds[half], _mm256_set1_ps(LARGEST));
        let upper = _mm256_blendv_ps(_mm256_set1_ps(f32::INFINITY), upper, bounded);
        // SAFETY: there are two times 8 places.
        unsafe { _mm256_storeu_ps(uppers.as_mut_ptr().add(half * LANES), upper) };
    }
    uppers.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// Half of the outputs of four lines of nibbles times the codes of a block: 8 × 2 × 15 × 127 fits 16 bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot(lines: &[Line; LINES], half: usize, codes: &[i8; BLOCK]) -> __m256i {
    let (low, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    let mut dots = _mm256_setzero_si256();
    for (v, line) in lines.iter().enumerate() {
        // SAFETY: a line is two times 32 bytes, and a block has 8 times 4 codes.
        let (line, x) = unsafe {
            let x = codes.as_ptr().cast::<i32>();
            let line = _mm256_load_si256(line.0.as_ptr().cast::<__m256i>().add(half));
            (line, [x.add(v).read_unaligned(), x.add(v + 4).read_unaligned()])
        };
        let nibbles = [_mm256_and_si256(line, low), _mm256_and_si256(_mm256_srli_epi16::<4>(line), low)];
        for (nibbles, x) in nibbles.into_iter().zip(x) {
            dots = _mm256_add_epi16(dots, _mm256_maddubs_epi16(nibbles, _mm256_set1_epi32(x)));
        }
    }
    _mm256_madd_epi16(dots, ones)
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_norms(norms: &Norms, half: usize) -> __m256 {
    let norms = &norms.0[half * LANES..][..LANES];
    // SAFETY: there are 8 bytes.
    _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(norms.as_ptr().cast()) }))
}
