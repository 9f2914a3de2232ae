//! Attention by tiles: of many rows of one sequence; or of the heads of one row that share keys and values ([`heads`]), where these
//! are codes by products of bytes ([`codes`]).
//!
//! Up to 32 rows go over the keys in chunks of [`CHUNK`] that begin at fixed positions, with the softmax computed on line
//! (Milakov and Gimelshein, 2018). A chunk in which a row sees nothing changes nothing of it, so what a row gets does not
//! depend on the rows beside it.

mod codes;
mod heads;
mod widen;

pub(in crate::kernel) use codes::{CodeBench, attend_codes};
pub(in crate::kernel) use heads::{Share, attend_heads};

use std::arch::x86_64::*;
use std::ops::Range;

use super::finish::{exp2, round, round_row};
use super::{Configured, Side, Sums};
use crate::kernel::activations::{TILE_COLUMNS, TILE_ROWS, Tile};
use crate::kernel::attention::{KvType, PAGE, PageView, Pairs, STRETCH, Stretch, stored_dimensions};
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
    /// As bf16; behind those of one row block, what rounding takes from them, if they are fine.
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

/// Attention of a stretch for the query heads that share keys and values, for which the bench has room: `query(row, head, room)` gives
/// a query of the stretch's `row`-th row, scaled; `page` the keys and values of 64 positions; and `put(row, head, result)` takes what
/// the row gets.
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
    let Stretch { rows, .. } = stretch;
    for head in 0..heads {
        bench.start(head, rows, false, &mut |row, room: &mut [f32]| query(row, head, room));
    }
    let mut widened = match kv {
        KvType::Bf16 => None,
        KvType::Q8 => Some(bench.widened.take().unwrap_or_else(|| Widened::new(bench.dimensions))),
    };
    let configured = Configured::new();
    let seen = |row: usize| stretch.seen(row, window);
    let end = stretch.seen(rows - 1, window).end;
    for first in (stretch.seen(0, window).start / CHUNK * CHUNK..end).step_by(CHUNK) {
        let pages = (first..end.min(first + CHUNK)).step_by(PAGE).map(|at| page(at / PAGE)).enumerate();
        if let Some(widened) = &mut widened {
            widened.take(pages.clone().map(|(_, page)| page));
        }
        let widened = widened.as_ref();
        let pages = pages.map(|(at, page)| (at, widened.map_or(page, |widened| widened.page(at))));
        for head in 0..heads {
            for (at, page) in pages.clone() {
                configured.score(&bench.heads[head].queries, page.keys, at * PAGE, &mut bench.scores);
            }
            // SAFETY: tiles are used only where `permitted` was true, on processors which all have these features.
            unsafe { bench.weigh::<false>(head, rows, seen, first, widened.map(|widened| &widened.scales)) };
            bench.decay(head, rows);
            for (at, page) in pages.clone() {
                configured.add_values(&bench.weights, at * PAGE, page.values, &mut bench.heads[head].sums);
            }
        }
    }
    bench.widened = widened.or(bench.widened.take());
    let Bench { dimensions, row: room, heads: of_heads, .. } = bench;
    for (head, Head { sums, totals, .. }) in of_heads.iter().enumerate().take(heads) {
        for (row, total) in totals.iter().enumerate().take(rows) {
            let scale = 1.0 / total.0.iter().sum::<f32>();
            for (out, sums) in room.chunks_mut(TILE_COLUMNS).zip(sums) {
                out.iter_mut().zip(&sums.0[row]).for_each(|(out, sum)| *out = sum * scale);
            }
            put(row, head, &room[..*dimensions]);
        }
    }
}

impl Configured {
    /// Scores of a page's keys, into the columns from `at`.
    fn score(&self, queries: &[Tile], keys: &[Pairs], at: usize, scores: &mut [Scores]) {
        let blocks = queries.len() / 2;
        assert!(
            keys.len() >= KvType::Bf16.key_lines(blocks * TILE_COLUMNS) && scores.len() == ROWS && at + PAGE <= CHUNK
        );
        let x = Side { starts: [queries.as_ptr().cast(), queries[blocks..].as_ptr().cast()], row: 64, step: 1024 };
        for part in (0..PAGE).step_by(2 * GROUP) {
            let starts = [(&raw const keys[part / GROUP]).cast(), (&raw const keys[part / GROUP + 1]).cast()];
            const ROW: usize = PAGE / GROUP * size_of::<Pairs>();
            let w = Side { starts, row: ROW, step: TILE_ROWS * ROW };
            let out = &raw mut scores[0].0[at + part];
            // SAFETY: queries are two rows of tiles. A tile of keys has 16 pairs of dimensions, each of which takes 4 `Pairs`, so
            // `blocks` of them are what `KvType::key_lines` says; 32 columns of 32 rows of scores are there.
            unsafe { self.set_product(x, w, blocks, out, size_of::<Scores>()) };
        }
    }

    /// Adds the values of a page, each times its weight, which stand in the columns from `at`.
    fn add_values(&self, weights: &[Weights], at: usize, values: &[Pairs], sums: &mut [Sums]) {
        let lines = 2 * sums.len();
        assert!(
            values.len() >= KvType::Bf16.value_lines(sums.len() * TILE_COLUMNS)
                && weights.len() == ROWS
                && at + PAGE <= CHUNK
        );
        let starts = [(&raw const weights[0].0[at]).cast(), (&raw const weights[TILE_ROWS].0[at]).cast()];
        let x = Side { starts, row: size_of::<Weights>(), step: 64 };
        for (block, sums) in sums.iter_mut().enumerate() {
            let starts = [(&raw const values[2 * block]).cast(), (&raw const values[2 * block + 1]).cast()];
            let row = lines * size_of::<Pairs>();
            let w = Side { starts, row, step: TILE_ROWS * row };
            // SAFETY: a tile of weights has 32 columns of 16 rows, of which a page has two; a tile of values has 16 pairs of
            // tokens, each of which takes `lines`; `Sums` are 32 rows of 128 bytes.
            unsafe { self.add_product(x, w, PAGE / TILE_COLUMNS, sums.0.as_mut_ptr().cast(), 128) };
        }
    }
}

impl Bench {
    /// Takes the queries of `rows` rows; those of others become zeros. With `fine`, there is one row block, of which no other rows are
    /// used, and in the place of the second stands what rounding takes from the first.
    fn start(&mut self, head: usize, rows: usize, fine: bool, query: &mut impl FnMut(usize, &mut [f32])) {
        let Self { dimensions, row: room, heads, .. } = self;
        let Head { queries, sums, peaks, totals } = &mut heads[head];
        let used = if fine { rows } else { ROWS };
        room[*dimensions..].fill(0.0);
        for row in 0..used {
            if row < rows {
                query(row, &mut room[..*dimensions]);
                room.iter_mut().for_each(|x| *x *= std::f32::consts::LOG2_E);
            } else {
                room.fill(0.0);
            }
            for (block, numbers) in room.chunks_mut(TILE_COLUMNS).enumerate() {
                let line = &mut queries[row / TILE_ROWS * sums.len() + block].0[row % TILE_ROWS];
                round_row(numbers, line);
                if fine {
                    numbers.iter_mut().zip(&*line).for_each(|(x, &bits)| *x -= f32::from_bits(u32::from(bits) << 16));
                    round_row(numbers, &mut queries[sums.len() + block].0[row]);
                }
            }
        }
        sums.iter_mut().for_each(|sums| sums.0[..used].as_flattened_mut().fill(0.0));
        peaks[..used].fill(f32::NEG_INFINITY);
        totals[..used].fill(Lanes([0.0; GROUP]));
    }

    /// Brings earlier sums of some rows down to the new peaks.
    fn decay(&mut self, head: usize, rows: usize) {
        for (row, decay) in self.decays.into_iter().enumerate().take(rows).filter(|(_, decay)| *decay != 1.0) {
            for sums in &mut self.heads[head].sums {
                sums.0[row].iter_mut().for_each(|sum| *sum *= decay);
            }
        }
    }

    /// Turns the scores of the chunk that begins at position `first` into weights, and finds by how much earlier sums decay. Scores are
    /// brought to the scales of keys, and weights to those of values, if there are any.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
    fn weigh<const FINE: bool>(
        &mut self,
        head: usize,
        rows: usize,
        seen: impl Fn(usize) -> Range<usize>,
        first: usize,
        scales: Option<&[Scores; 2]>,
    ) {
        let Self { scores, heads, weights, decays, .. } = self;
        let Head { peaks, totals, .. } = &mut heads[head];
        decays[..rows].fill(1.0);
        for row in 0..rows {
            let seen = seen(row);
            let seen = bits(seen.end.saturating_sub(first)) & !bits(seen.start.saturating_sub(first));
            let (weights, rests) = weights.split_at_mut(TILE_ROWS);
            let (weights, mut rest) = match row.checked_sub(TILE_ROWS) {
                Some(row) => (&mut rests[row].0, None),
                None => (&mut weights[row].0, if FINE { Some(&mut rests[row].0) } else { None }),
            };
            let (scores, total) = (&mut scores[row].0, &mut totals[row].0);
            if let Some([of_keys, _]) = scales {
                scores.iter_mut().zip(&of_keys.0).for_each(|(score, scale)| *score *= scale);
            }
            let largest = match seen {
                0 => {
                    *weights = [0; CHUNK];
                    rest.into_iter().for_each(|rest| *rest = [0; CHUNK]);
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
                let (low, high) = match scales {
                    None => (low, high),
                    Some([_, of_values]) => {
                        // SAFETY: two times 16 scales, aligned as they are.
                        let scales = unsafe {
                            let scales = of_values.0.as_ptr().add(pair * 2 * GROUP);
                            [_mm512_load_ps(scales), _mm512_load_ps(scales.add(GROUP))]
                        };
                        (_mm512_mul_ps(low, scales[0]), _mm512_mul_ps(high, scales[1]))
                    }
                };
                // SAFETY: there are 32 places.
                unsafe {
                    let weights = weights.as_mut_ptr().add(pair * 2 * GROUP).cast::<__m512bh>();
                    weights.write(_mm512_cvtne2ps_pbh(high, low));
                }
                if let Some(rest) = &mut rest {
                    let (low, high) = (_mm512_sub_ps(low, rounded(low)), _mm512_sub_ps(high, rounded(high)));
                    // SAFETY: as above.
                    unsafe {
                        let rest = rest.as_mut_ptr().add(pair * 2 * GROUP).cast::<__m512bh>();
                        rest.write(_mm512_cvtne2ps_pbh(high, low));
                    }
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
