//! Attention of many rows of one sequence.
//!
//! Up to 32 rows go over the keys in chunks of [`CHUNK`] that begin at fixed positions, with the softmax computed on line
//! (Milakov and Gimelshein, 2018). A chunk in which a row sees nothing changes nothing of it, so what a row gets does not
//! depend on the rows beside it. Of the last chunk, only as many [`PART`]s are looked at as somebody sees.

use std::arch::x86_64::*;
use std::ops::Range;

use super::products::{PART, SHORT};
use super::widen::Widened;
use super::{Bench, CHUNK, Head, LEAST, Lanes, ROWS, Scores, bits};
use crate::kernel::activations::{TILE_COLUMNS, TILE_ROWS};
use crate::kernel::amx::Configured;
use crate::kernel::amx::finish::exp2;
use crate::kernel::attention::{KvType, PAGE, PageView, Stretch};
use crate::pack::GROUP;

/// Attention of a stretch for the query heads that share keys and values, for which the bench has room: `query(row,
/// head, room)` gives a query of the stretch's `row`-th row, scaled; `page` the keys and values of 64 positions; and
/// `put(row, head, result)` takes what the row gets.
///
/// # Panics
/// If a page is shorter than its layout says.
pub(in crate::kernel) fn attend<'a>(
    bench: &mut Bench,
    stretch: Stretch,
    (heads, kv, window): (usize, KvType, usize),
    mut query: impl FnMut(usize, usize, &mut [f32]),
    page: impl Fn(usize) -> PageView<'a>,
    mut put: impl FnMut(usize, usize, &[f32]),
) {
    let rows = stretch.rows;
    let seen = |row: usize| stretch.seen(row.min(rows - 1), window);
    let (start, end) = (seen(0).start / CHUNK * CHUNK, seen(rows - 1).end);
    let mut widened = match kv {
        KvType::Bf16 => None,
        KvType::Q8 => Some(bench.widened.take().unwrap_or_else(|| Widened::new(bench.dimensions))),
    };
    let configured = Configured::new();
    // SAFETY: `Configured` says that there are tiles, which are used only where `permitted` was true, on processors which all
    // have these features.
    unsafe {
        for head in 0..heads {
            bench.take_queries(head, rows, |row, room| query(row, head, room));
        }
        for first in (start..end).step_by(CHUNK) {
            let parts = (end - first).min(CHUNK).div_ceil(PART);
            if let Some(widened) = &mut widened {
                widened.take((first..end.min(first + CHUNK)).step_by(PAGE).map(|at| page(at / PAGE)));
            }
            let page = |part: usize| match &widened {
                None => page((first + part * PART) / PAGE),
                Some(widened) => widened.page(part * PART / PAGE),
            };
            for head in 0..heads {
                let queries = &bench.heads[head].queries;
                if queries.len() == 2 * SHORT {
                    configured.score_short(queries, |part| page(part).keys, parts, &mut bench.scores);
                } else {
                    (0..parts).for_each(|part| configured.score(queries, page(part).keys, part, &mut bench.scores));
                }
                bench.weigh_rows(head, rows, seen, first, parts, widened.as_ref().map(|widened| &widened.scales));
                if first > start {
                    bench.decay_rows(head);
                }
                let sums = &mut bench.heads[head].sums;
                for block in 0..sums.len() {
                    let values = |part: usize| page(part).values;
                    configured.add_values(&bench.weights, parts, values, block, first > start, sums);
                }
            }
        }
        for head in 0..heads {
            bench.give(head, rows, |row, values| put(row, head, values));
        }
    }
    bench.widened = widened.or(bench.widened.take());
}

impl Bench {
    /// Takes the queries of `rows` rows of a head; those of others become zeros.
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn take_queries(&mut self, head: usize, rows: usize, mut query: impl FnMut(usize, &mut [f32])) {
        let Self { dimensions, row: room, heads, .. } = self;
        let Head { queries, peaks, totals, .. } = &mut heads[head];
        let blocks = queries.len() / 2;
        room.fill(0.0);
        for row in 0..ROWS {
            if row < rows {
                query(row, &mut room[..*dimensions]);
            } else if row == rows {
                room.fill(0.0);
            }
            let tiles = &mut queries[row / TILE_ROWS * blocks..];
            for (tile, numbers) in tiles.iter_mut().zip(room.chunks_exact(TILE_COLUMNS)) {
                let scale = _mm512_set1_ps(std::f32::consts::LOG2_E);
                // SAFETY: there are two times 16 numbers, and as many places in the line.
                unsafe {
                    let low = _mm512_mul_ps(_mm512_loadu_ps(numbers.as_ptr()), scale);
                    let high = _mm512_mul_ps(_mm512_loadu_ps(numbers[GROUP..].as_ptr()), scale);
                    let line = tile.0[row % TILE_ROWS].as_mut_ptr().cast::<__m512bh>();
                    line.write(_mm512_cvtne2ps_pbh(high, low));
                }
            }
        }
        peaks.fill(f32::NEG_INFINITY);
        totals.fill(Lanes([0.0; GROUP]));
    }

    /// Turns the scores of some parts of the chunk that begins at position `first` into weights, and finds by how much earlier
    /// sums decay. Scores are brought to the scales of keys, and weights to those of values, if there are any.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
    fn weigh_rows(
        &mut self,
        head: usize,
        rows: usize,
        seen: impl Fn(usize) -> Range<usize>,
        first: usize,
        parts: usize,
        scales: Option<&[Scores; 2]>,
    ) {
        let Self { scores, heads, weights, decays, .. } = self;
        let Head { peaks, totals, .. } = &mut heads[head];
        let all = bits(parts * PART);
        let mut masks = [all; TILE_ROWS];
        for block in 0..rows.div_ceil(TILE_ROWS) {
            let scores = &mut scores[block * TILE_ROWS..][..TILE_ROWS];
            if let Some([of_keys, _]) = scales {
                for scores in scores.iter_mut() {
                    let scores = scores.0[..parts * PART].iter_mut();
                    scores.zip(&of_keys.0).for_each(|(score, scale)| *score *= scale);
                }
            }
            let mut largest = [_mm512_setzero_ps(); TILE_ROWS];
            for row in 0..TILE_ROWS {
                let seen = seen(block * TILE_ROWS + row);
                let seen = bits(seen.end.saturating_sub(first)) & !bits(seen.start.saturating_sub(first)) & all;
                masks[row] = seen;
                largest[row] = if seen == all {
                    largest_of(&scores[row].0, parts)
                } else {
                    largest_seen(&scores[row].0, parts, seen)
                };
            }
            let (peaks, decays) = (&mut peaks[block * TILE_ROWS..], &mut decays[block * TILE_ROWS..]);
            assert!(peaks.len() >= TILE_ROWS && decays.len() >= TILE_ROWS);
            // SAFETY: there are 16 numbers in each.
            unsafe {
                let then = _mm512_loadu_ps(peaks.as_ptr());
                let now = _mm512_max_ps(across(largest, |a, b| _mm512_max_ps(a, b)), then);
                let decay = exp2(_mm512_max_ps(_mm512_sub_ps(then, now), _mm512_set1_ps(LEAST)));
                _mm512_storeu_ps(peaks.as_mut_ptr(), now);
                _mm512_storeu_ps(decays.as_mut_ptr(), decay);
            }
            for row in 0..TILE_ROWS {
                let (total, weights) = (&mut totals[block * TILE_ROWS + row], &mut weights[block * TILE_ROWS + row].0);
                let (scores, peak) = (&scores[row].0, _mm512_set1_ps(peaks[row]));
                let scales = scales.map(|[_, of_values]| &of_values.0);
                // SAFETY: there are 16 numbers, aligned.
                let before = unsafe { _mm512_load_ps(total.0.as_ptr()) };
                let before = _mm512_mul_ps(before, _mm512_set1_ps(decays[row]));
                let sum = if masks[row] == all {
                    weigh::<true>(scores, parts, peak, all, scales, before, weights)
                } else {
                    weigh::<false>(scores, parts, peak, masks[row], scales, before, weights)
                };
                // SAFETY: as above.
                unsafe { _mm512_store_ps(total.0.as_mut_ptr(), sum) };
            }
        }
    }

    /// Brings earlier sums down to the new peaks.
    #[target_feature(enable = "avx512f")]
    fn decay_rows(&mut self, head: usize) {
        for (row, decay) in self.decays.into_iter().enumerate().filter(|(_, decay)| *decay != 1.0) {
            for sums in &mut self.heads[head].sums {
                sums.0[row].iter_mut().for_each(|sum| *sum *= decay);
            }
        }
    }

    /// Gives what each row gets: the sum of values over the sum of weights.
    #[target_feature(enable = "avx512f")]
    fn give(&mut self, head: usize, rows: usize, mut put: impl FnMut(usize, &[f32])) {
        let Self { dimensions, row: room, heads, .. } = self;
        let Head { sums, totals, .. } = &heads[head];
        for block in 0..rows.div_ceil(TILE_ROWS) {
            let mut lanes = [_mm512_setzero_ps(); TILE_ROWS];
            for (lanes, totals) in lanes.iter_mut().zip(&totals[block * TILE_ROWS..]) {
                // SAFETY: there are 16 numbers, aligned.
                *lanes = unsafe { _mm512_load_ps(totals.0.as_ptr()) };
            }
            let mut scales = Lanes([0.0; GROUP]);
            let totals = across(lanes, |a, b| _mm512_add_ps(a, b));
            // SAFETY: there are 16 places, aligned.
            unsafe { _mm512_store_ps(scales.0.as_mut_ptr(), _mm512_div_ps(_mm512_set1_ps(1.0), totals)) };
            for (row, scale) in (block * TILE_ROWS..rows).zip(scales.0) {
                for (out, sums) in room.chunks_exact_mut(TILE_COLUMNS).zip(sums) {
                    out.iter_mut().zip(&sums.0[row]).for_each(|(out, sum)| *out = sum * scale);
                }
                put(row, &room[..*dimensions]);
            }
        }
    }
}

/// The largest of 16 scores each, of all of some parts.
#[inline]
#[target_feature(enable = "avx512f")]
fn largest_of(scores: &[f32; CHUNK], parts: usize) -> __m512 {
    let (scores, _) = scores[..parts * PART].as_chunks::<PART>();
    let mut largest = [_mm512_set1_ps(f32::NEG_INFINITY); 2];
    for scores in scores {
        // SAFETY: scores of a row are aligned as it is, in lines of 16.
        let [low, high] = unsafe { [_mm512_load_ps(scores.as_ptr()), _mm512_load_ps(scores[GROUP..].as_ptr())] };
        largest = [_mm512_max_ps(largest[0], low), _mm512_max_ps(largest[1], high)];
    }
    _mm512_max_ps(largest[0], largest[1])
}

/// As [`largest_of`], of those that are seen.
#[inline]
#[target_feature(enable = "avx512f")]
fn largest_seen(scores: &[f32; CHUNK], parts: usize, seen: u128) -> __m512 {
    let (scores, _) = scores[..parts * PART].as_chunks::<GROUP>();
    let mut largest = _mm512_set1_ps(f32::NEG_INFINITY);
    for (line, scores) in scores.iter().enumerate() {
        // SAFETY: as in `largest_of`.
        let scores = unsafe { _mm512_load_ps(scores.as_ptr()) };
        largest = _mm512_mask_max_ps(largest, (seen >> (line * GROUP)) as u16, largest, scores);
    }
    largest
}

/// The weights of a row, which are nothing where it does not see; gives their sums in 16 parts, added to `sum`, before
/// they are brought to the scales of values. With `ALL`, it sees all of the parts.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn weigh<const ALL: bool>(
    scores: &[f32; CHUNK],
    parts: usize,
    peak: __m512,
    seen: u128,
    scales: Option<&[f32; CHUNK]>,
    mut sum: __m512,
    weights: &mut [u16; CHUNK],
) -> __m512 {
    let (scores, _) = scores[..parts * PART].as_chunks::<PART>();
    let (weights, _) = weights.as_chunks_mut::<PART>();
    for (part, (scores, weights)) in scores.iter().zip(weights).enumerate() {
        // SAFETY: two times 16 scores of a row, aligned as it is.
        let (low, high) = unsafe { (_mm512_load_ps(scores.as_ptr()), _mm512_load_ps(scores[GROUP..].as_ptr())) };
        let least = _mm512_set1_ps(LEAST);
        let mut low = exp2(_mm512_max_ps(_mm512_sub_ps(low, peak), least));
        let mut high = exp2(_mm512_max_ps(_mm512_sub_ps(high, peak), least));
        if !ALL {
            let seen = (seen >> (part * PART)) as u32;
            low = _mm512_maskz_mov_ps(seen as u16, low);
            high = _mm512_maskz_mov_ps((seen >> GROUP) as u16, high);
        }
        sum = _mm512_add_ps(sum, _mm512_add_ps(low, high));
        if let Some(scales) = scales {
            // SAFETY: two times 16 scales of a chunk, aligned as it is.
            let scales = unsafe {
                let scales = scales.as_ptr().add(part * PART);
                [_mm512_load_ps(scales), _mm512_load_ps(scales.add(GROUP))]
            };
            (low, high) = (_mm512_mul_ps(low, scales[0]), _mm512_mul_ps(high, scales[1]));
        }
        // SAFETY: there are 32 places, aligned as a row is.
        unsafe { weights.as_mut_ptr().cast::<__m512bh>().write(_mm512_cvtne2ps_pbh(high, low)) };
    }
    sum
}

/// Joins the 16 numbers of each of 16 registers to one: the n-th number of the result is of the n-th register.
#[inline]
#[target_feature(enable = "avx512f")]
fn across(rows: [__m512; 16], join: impl Fn(__m512, __m512) -> __m512) -> __m512 {
    let mut pairs = [_mm512_setzero_ps(); 8];
    for (n, pair) in pairs.iter_mut().enumerate() {
        let (a, b) = (rows[2 * n], rows[2 * n + 1]);
        *pair = join(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    }
    let mut fours = [_mm512_setzero_ps(); 4];
    for (n, four) in fours.iter_mut().enumerate() {
        let (a, b) = (_mm512_castps_pd(pairs[2 * n]), _mm512_castps_pd(pairs[2 * n + 1]));
        let (low, high) = (_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
        *four = join(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
    }
    let halves = |a, b| join(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
    halves(halves(fours[0], fours[1]), halves(fours[2], fours[3]))
}
