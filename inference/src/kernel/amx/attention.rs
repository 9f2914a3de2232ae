//! Attention by tiles: of many rows of one sequence ([`rows`]); or of the heads of one row that share keys and values
//! ([`heads`]), where these are codes by products of bytes ([`codes`]).
//!
//! Rows go over the keys in chunks of [`CHUNK`] that begin at fixed positions, with the softmax computed on line
//! (Milakov and Gimelshein, 2018). A chunk in which a row sees nothing changes nothing of it, so what a row gets does not
//! depend on the rows beside it.

mod codes;
mod heads;
mod products;
mod rows;
mod widen;

pub(in crate::kernel) use codes::{CodeBench, attend_codes};
pub(in crate::kernel) use heads::{Share, attend_heads};
pub(in crate::kernel) use rows::attend;

use std::arch::x86_64::*;
use std::ops::Range;

use super::Sums;
use super::finish::{exp2, round, round_line};
use crate::kernel::activations::{TILE_COLUMNS, TILE_ROWS, Tile};
use crate::kernel::attention::{PAGE, STRETCH, stored_dimensions};
use crate::pack::GROUP;
use widen::Widened;

/// Rows that go together.
const ROWS: usize = STRETCH;
/// Keys whose scores are looked at together: whole pages.
const CHUNK: usize = 2 * PAGE;

/// Where a thread works on attention: some 25 KB, and 20 for each head of 64 dimensions.
pub(in crate::kernel) struct Bench {
    dimensions: usize,
    /// One query, or what it gets: filled up with zeros to whole tiles.
    row: Vec<f32>,
    /// In units of which a weight is a power of two.
    scores: Vec<Scores>,
    /// As bf16; of the heads of one row, what rounding takes from them stands in the second row block.
    weights: Vec<Weights>,
    /// By how much earlier sums decay.
    decays: [f32; ROWS],
    heads: Vec<Head>,
    /// Where keys and values are codes.
    widened: Option<Widened>,
}

/// What rows have of one head.
struct Head {
    /// `[row block][32 dimensions]`
    queries: Vec<Tile>,
    /// The weighted sums of values: `[32 dimensions]`.
    sums: Vec<Sums>,
    /// The largest score of each row so far.
    peaks: [f32; ROWS],
    /// The sums of weights so far, in 16 parts.
    totals: [Lanes; ROWS],
}

/// The scores of a row.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Scores([f32; CHUNK]);

/// Sixteen parts of a sum. Aligned, as they are read soon after they are written.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Lanes([f32; GROUP]);

/// The weights of a row.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Weights([u16; CHUNK]);

impl Bench {
    /// For heads of so many dimensions.
    fn new(dimensions: usize) -> Self {
        Self {
            dimensions,
            row: vec![0.0; stored_dimensions(dimensions)],
            scores: vec![Scores([0.0; CHUNK]); ROWS],
            weights: vec![Weights([0; CHUNK]); ROWS],
            decays: [1.0; ROWS],
            heads: Vec::new(),
            widened: None,
        }
    }

    /// The one that is there, if it is for heads of so many dimensions, otherwise a new one; with room for so many heads.
    pub(in crate::kernel) fn of(bench: &mut Option<Self>, dimensions: usize, heads: usize) -> &mut Self {
        if bench.as_ref().is_none_or(|bench| bench.dimensions != dimensions) {
            *bench = Some(Self::new(dimensions));
        }
        let bench = bench.as_mut().expect("it is there now");
        let blocks = stored_dimensions(dimensions) / TILE_COLUMNS;
        while bench.heads.len() < heads {
            bench.heads.push(Head {
                queries: vec![Tile::ZERO; 2 * blocks],
                sums: vec![Sums::ZERO; blocks],
                peaks: [0.0; ROWS],
                totals: [Lanes([0.0; GROUP]); ROWS],
            });
        }
        bench
    }
}

impl Bench {
    /// Takes the queries of up to 16 rows of a head in two numbers of bf16 each: in the place of the second row block stands what
    /// rounding takes from the first. No other rows are used.
    fn start(&mut self, head: usize, rows: usize, mut query: impl FnMut(usize, &mut [f32])) {
        let Self { dimensions, row: room, heads, .. } = self;
        let Head { queries, sums, peaks, totals } = &mut heads[head];
        room[*dimensions..].fill(0.0);
        for row in 0..rows {
            query(row, &mut room[..*dimensions]);
            room.iter_mut().for_each(|x| *x *= std::f32::consts::LOG2_E);
            for (block, numbers) in room.chunks_mut(TILE_COLUMNS).enumerate() {
                let line = &mut queries[block].0[row];
                round_line(numbers, line);
                numbers.iter_mut().zip(&*line).for_each(|(x, &bits)| *x -= f32::from_bits(u32::from(bits) << 16));
                round_line(numbers, &mut queries[sums.len() + block].0[row]);
            }
        }
        sums.iter_mut().for_each(|sums| sums.0[..rows].as_flattened_mut().fill(0.0));
        peaks[..rows].fill(f32::NEG_INFINITY);
        totals[..rows].fill(Lanes([0.0; GROUP]));
    }

    /// Brings earlier sums of some rows down to the new peaks.
    fn decay(&mut self, head: usize, rows: usize) {
        for (row, decay) in self.decays.into_iter().enumerate().take(rows).filter(|(_, decay)| *decay != 1.0) {
            for sums in &mut self.heads[head].sums {
                sums.0[row].iter_mut().for_each(|sum| *sum *= decay);
            }
        }
    }

    /// Turns the scores of the chunk that begins at position `first` into weights, in two numbers of bf16 each, and
    /// finds by how much earlier sums decay.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
    fn weigh(&mut self, head: usize, rows: usize, seen: impl Fn(usize) -> Range<usize>, first: usize) {
        let Self { scores, heads, weights, decays, .. } = self;
        let Head { peaks, totals, .. } = &mut heads[head];
        decays[..rows].fill(1.0);
        for row in 0..rows {
            let seen = seen(row);
            let seen = bits(seen.end.saturating_sub(first)) & !bits(seen.start.saturating_sub(first));
            let (weights, rests) = weights.split_at_mut(TILE_ROWS);
            let (weights, rest) = (&mut weights[row].0, &mut rests[row].0);
            let (scores, total) = (&scores[row].0, &mut totals[row].0);
            let largest = match seen {
                0 => {
                    *weights = [0; CHUNK];
                    *rest = [0; CHUNK];
                    continue;
                }
                u128::MAX => largest(scores),
                _ => largest_of(scores, seen),
            };
            let peak = peaks[row].max(largest);
            let now = _mm512_set1_ps(peak);
            let decay = exp2(_mm512_max_ps(_mm512_sub_ps(_mm512_set1_ps(peaks[row]), now), _mm512_set1_ps(LEAST)));
            (peaks[row], decays[row]) = (peak, _mm512_cvtss_f32(decay));
            // SAFETY: there are 16 numbers, aligned.
            let mut sum = _mm512_mul_ps(unsafe { _mm512_load_ps(total.as_ptr()) }, decay);
            for pair in 0..CHUNK / (2 * GROUP) {
                // SAFETY: two times 16 scores of a row, aligned as it is.
                let (low, high) = unsafe {
                    let scores = scores.as_ptr().add(pair * 2 * GROUP);
                    (_mm512_load_ps(scores), _mm512_load_ps(scores.add(GROUP)))
                };
                let seen = (seen >> (pair * 2 * GROUP)) as u32;
                let (low, high) = (weight(low, now, seen as u16), weight(high, now, (seen >> GROUP) as u16));
                sum = _mm512_add_ps(sum, _mm512_add_ps(low, high));
                // SAFETY: there are 32 places.
                unsafe {
                    let weights = weights.as_mut_ptr().add(pair * 2 * GROUP).cast::<__m512bh>();
                    weights.write(_mm512_cvtne2ps_pbh(high, low));
                }
                let (low, high) = (_mm512_sub_ps(low, rounded(low)), _mm512_sub_ps(high, rounded(high)));
                // SAFETY: as above.
                unsafe {
                    let rest = rest.as_mut_ptr().add(pair * 2 * GROUP).cast::<__m512bh>();
                    rest.write(_mm512_cvtne2ps_pbh(high, low));
                }
            }
            // SAFETY: as above.
            unsafe { _mm512_store_ps(total.as_mut_ptr(), sum) };
        }
    }
}

const _: () = assert!(CHUNK == u128::BITS as usize, "a bit for each position of a chunk");

/// To bf16 and back.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn rounded(x: __m512) -> __m512 {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(round(x))))
}

/// The positions of a chunk before one.
fn bits(end: usize) -> u128 {
    if end >= CHUNK { u128::MAX } else { (1 << end) - 1 }
}

/// The largest of all scores.
#[inline]
#[target_feature(enable = "avx512f")]
fn largest(scores: &[f32; CHUNK]) -> f32 {
    // SAFETY: scores of a row are aligned as it is, in lines of 16.
    let line = |n: usize| unsafe { _mm512_load_ps(scores.as_ptr().add(n * GROUP)) };
    let [a, b, c, d] = [
        _mm512_max_ps(line(0), line(1)),
        _mm512_max_ps(line(2), line(3)),
        _mm512_max_ps(line(4), line(5)),
        _mm512_max_ps(line(6), line(7)),
    ];
    _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(a, b), _mm512_max_ps(c, d)))
}

/// The largest of the scores that are seen.
#[inline]
#[target_feature(enable = "avx512f")]
fn largest_of(scores: &[f32; CHUNK], seen: u128) -> f32 {
    let mut largest = _mm512_set1_ps(f32::NEG_INFINITY);
    for line in 0..CHUNK / GROUP {
        // SAFETY: as in `largest`.
        let scores = unsafe { _mm512_load_ps(scores.as_ptr().add(line * GROUP)) };
        largest = _mm512_mask_max_ps(largest, (seen >> (line * GROUP)) as u16, largest, scores);
    }
    _mm512_reduce_max_ps(largest)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn weight(scores: __m512, peak: __m512, seen: u16) -> __m512 {
    _mm512_maskz_mov_ps(seen, exp2(_mm512_max_ps(_mm512_sub_ps(scores, peak), _mm512_set1_ps(LEAST))))
}

/// Powers of two below this are nothing beside the largest weight, which is 1. It is as small as numbers get before they
/// become subnormal, which processors are slow with; and a difference of infinity becomes a number by it.
const LEAST: f32 = -126.0;
