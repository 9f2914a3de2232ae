//! Attention over keys and values of codes: products of bytes, whose sums are exact.
//!
//! A query, and the weights of a chunk of positions, become numbers of 16 bits with one scale, in two planes of bytes,
//! which are two rows of a tile: `number = 256 × high + low`. So they are finer than what they meet, and each product
//! is one of the matrix unit's. Keys bring their scales to the scores, values theirs to the weights.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

use super::heads::{Share, ask_for};
use super::{CHUNK, LEAST, Scores, bits, weight};
use crate::kernel::activations::TILE_ROWS;
use crate::kernel::amx::finish::exp2;
use crate::kernel::amx::{Configured, Shape};
use crate::kernel::attention::{CODES, KvType, PAGE, PageView, Pairs, lines_of, stored_dimensions};
use crate::pack::GROUP;

/// Rows of a tile for a row.
const PLANES: usize = 2;
/// Rows that go together.
const ROWS: usize = TILE_ROWS / PLANES;
/// Bytes of a row of a tile: codes of so many dimensions, or weights of so many tokens.
const ROW_BYTES: usize = 64;
/// Tokens whose values are multiplied at once: of a page of which less is seen, no more is read.
const UNIT: usize = PAGE / 2;
/// The largest number of two planes: its higher byte is 127 when it is rounded.
const MOST: f32 = 32_639.0;

/// Sixteen rows of 64 bytes.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Bytes([[i8; ROW_BYTES]; TILE_ROWS]);

/// Sixteen rows of 16 sums.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Sums([[i32; GROUP]; TILE_ROWS]);

/// Sums for the positions of a chunk.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Products([i32; CHUNK]);

/// The weights of a row, in one plane.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Weights([i8; CHUNK]);

/// Where a thread works: some 30 KB.
pub(in crate::kernel) struct CodeBench {
    dimensions: usize,
    /// One query, filled up with zeros.
    query: Vec<f32>,
    /// `[64 dimensions]`, rows of `[row][plane]`
    queries: Vec<Bytes>,
    /// With what makes weights powers of two.
    query_scales: [f32; ROWS],
    /// `[row][plane]`
    products: Vec<Products>,
    /// The scores of one row, and then its weights.
    scores: Scores,
    /// `[row][plane]`
    weights: Vec<Weights>,
    weight_scales: [f32; ROWS],
    /// Of a chunk: `[16 dimensions]`, rows of `[row][plane]`
    chunk_sums: Vec<Sums>,
    /// The weighted sums of values: `[row][dimension]`, filled up to whole tiles.
    sums: Vec<f32>,
    /// The largest score of each row so far.
    peaks: [f32; ROWS],
    /// The sums of weights so far.
    totals: [f32; ROWS],
    /// By how much earlier sums decay.
    decays: [f32; ROWS],
}

/// As [`super::attend_heads`], over codes.
///
/// # Panics
/// If a page is shorter than its layout says.
pub(in crate::kernel) fn attend_codes<'a>(
    bench: &mut CodeBench,
    heads: usize,
    seen: Range<usize>,
    mut query: impl FnMut(usize, &mut [f32]),
    page: impl Fn(usize) -> PageView<'a>,
    mut put: impl FnMut(usize, Share<'_>),
) {
    let (start, end) = (seen.start / PAGE * PAGE, seen.end);
    for first_head in (0..heads).step_by(ROWS) {
        let count = ROWS.min(heads - first_head);
        // SAFETY: tiles are used only where `permitted` was true, on processors which all have these features.
        unsafe { bench.start(count, |row, room| query(first_head + row, room)) };
        let configured = Configured::with(Shape { rows: PLANES * count, unit_columns: UNIT });
        let ask = |at: usize| {
            if at < end {
                ask_for(page(at / PAGE), end - at);
            }
        };
        ask(start);
        for first in (start / CHUNK * CHUNK..end).step_by(CHUNK) {
            let pages = (first.max(start)..end.min(first + CHUNK)).step_by(PAGE).map(|at| (at, page(at / PAGE)));
            let mut scales = [&[][..]; CHUNK / PAGE];
            for (at, page) in pages.clone() {
                ask(at + PAGE);
                configured.score_codes(&bench.queries, page.keys, end - at, at - first, &mut bench.products);
                scales[(at - first) / PAGE] = page.scales;
            }
            // SAFETY: as above.
            unsafe { bench.weigh(count, seen.clone(), first, scales) };
            bench.chunk_sums.iter_mut().for_each(|sums| sums.0[..PLANES * count].as_flattened_mut().fill(0));
            for (at, page) in pages {
                configured.add_code_values(&bench.weights, page.values, end - at, at - first, &mut bench.chunk_sums);
            }
            // SAFETY: as above.
            unsafe { bench.sum(count) };
        }
        let CodeBench { dimensions, sums, peaks, totals, .. } = &mut *bench;
        for (row, sums) in sums.chunks_exact_mut(stored_dimensions(*dimensions)).enumerate().take(count) {
            put(first_head + row, Share { values: &mut sums[..*dimensions], peak: peaks[row], total: totals[row] });
        }
    }
}

impl CodeBench {
    /// For heads of so many dimensions.
    fn new(dimensions: usize) -> Self {
        let (blocks, stored) = (dimensions.div_ceil(ROW_BYTES), stored_dimensions(dimensions));
        Self {
            dimensions,
            query: vec![0.0; blocks * ROW_BYTES],
            queries: vec![Bytes([[0; ROW_BYTES]; TILE_ROWS]); blocks],
            query_scales: [0.0; ROWS],
            products: vec![Products([0; CHUNK]); TILE_ROWS],
            scores: Scores([0.0; CHUNK]),
            weights: vec![Weights([0; CHUNK]); TILE_ROWS],
            weight_scales: [0.0; ROWS],
            chunk_sums: vec![Sums([[0; GROUP]; TILE_ROWS]); lines_of(dimensions)],
            sums: vec![0.0; ROWS * stored],
            peaks: [0.0; ROWS],
            totals: [0.0; ROWS],
            decays: [1.0; ROWS],
        }
    }

    /// The one that is there, if it is for heads of so many dimensions; otherwise a new one.
    pub(in crate::kernel) fn of(bench: &mut Option<Self>, dimensions: usize) -> &mut Self {
        if bench.as_ref().is_none_or(|bench| bench.dimensions != dimensions) {
            *bench = Some(Self::new(dimensions));
        }
        bench.as_mut().expect("it is there now")
    }

    /// Takes the queries of some rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    fn start(&mut self, rows: usize, mut query: impl FnMut(usize, &mut [f32])) {
        let Self { dimensions, query: room, queries, query_scales, sums, peaks, totals, .. } = self;
        for (row, query_scale) in query_scales.iter_mut().enumerate().take(rows) {
            query(row, &mut room[..*dimensions]);
            let (lines, _) = room.as_chunks::<GROUP>();
            let mut largest = _mm512_setzero_si512();
            for line in lines {
                largest = _mm512_max_epi32(largest, _mm512_castps_si512(_mm512_abs_ps(load(line))));
            }
            // As an integer, so that what is not a number is the largest.
            let largest = f32::from_bits(_mm512_reduce_max_epi32(largest) as u32);
            *query_scale = largest / MOST * std::f32::consts::LOG2_E;
            let inverse = _mm512_set1_ps(inverse_of(largest));
            for (at, line) in lines.iter().enumerate() {
                let at = at * GROUP;
                let planes = planes(_mm512_mul_ps(load(line), inverse));
                for (room, codes) in queries[at / ROW_BYTES].0[PLANES * row..].iter_mut().zip(planes) {
                    store(&mut room.as_chunks_mut().0[at % ROW_BYTES / GROUP], codes);
                }
            }
        }
        sums[..rows * stored_dimensions(*dimensions)].fill(0.0);
        peaks[..rows].fill(f32::NEG_INFINITY);
        totals[..rows].fill(0.0);
    }

    /// Turns the products of the chunk that begins at position `first` into weights, and finds by how much earlier sums decay.
    /// `scales` are those of its pages, as far as these are seen.
    ///
    /// # Panics
    /// If there are none of a page that is seen.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    fn weigh(&mut self, rows: usize, seen: Range<usize>, first: usize, scales: [&[Pairs]; CHUNK / PAGE]) {
        const LINES: usize = PAGE / GROUP;
        let Self { query_scales, products, scores, weights, weight_scales, peaks, totals, decays, .. } = self;
        let (scores, _) = scores.0.as_chunks_mut::<GROUP>();
        let seen = bits(seen.end - first) & !bits(seen.start.saturating_sub(first));
        for row in 0..rows {
            let weights = &mut weights[PLANES * row..][..PLANES];
            let lines = || (0..CHUNK / GROUP).map(|line| (line, (seen >> (line * GROUP)) as u16));
            let scales_of = |line: usize| {
                let scales = &scales[line / LINES][..2 * LINES];
                // SAFETY: 64 bytes of which every pattern is a float, aligned to them.
                [0, LINES].map(|of| unsafe { _mm512_load_ps((&raw const scales[of + line % LINES]).cast()) })
            };
            let mut largest = _mm512_set1_ps(f32::NEG_INFINITY);
            for (line, mask) in lines().filter(|&(_, mask)| mask != 0) {
                let of_line = |plane: usize| products[PLANES * row + plane].0.as_chunks::<GROUP>().0[line];
                let scale = _mm512_mul_ps(_mm512_set1_ps(query_scales[row]), scales_of(line)[0]);
                let score = _mm512_mul_ps(together(&of_line(0), &of_line(1)), scale);
                largest = _mm512_mask_max_ps(largest, mask, largest, score);
                store_floats(&mut scores[line], score);
            }
            let peak = peaks[row].max(_mm512_reduce_max_ps(largest));
            let now = _mm512_set1_ps(peak);
            let decay = exp2(_mm512_max_ps(_mm512_sub_ps(_mm512_set1_ps(peaks[row]), now), _mm512_set1_ps(LEAST)));
            (peaks[row], decays[row]) = (peak, _mm512_cvtss_f32(decay));
            let (mut total, mut most) = (_mm512_setzero_ps(), _mm512_setzero_ps());
            for (line, mask) in lines() {
                if mask == 0 {
                    scores[line] = [0.0; GROUP];
                    continue;
                }
                let weight = weight(load(&scores[line]), now, mask);
                total = _mm512_add_ps(total, weight);
                let scaled = _mm512_maskz_mul_ps(mask, weight, scales_of(line)[1]);
                most = _mm512_max_ps(most, scaled);
                store_floats(&mut scores[line], scaled);
            }
            totals[row] = totals[row] * decays[row] + _mm512_reduce_add_ps(total);
            let most = _mm512_reduce_max_ps(most);
            weight_scales[row] = most / MOST;
            let inverse = _mm512_set1_ps(inverse_of(most));
            for (line, scaled) in scores.iter().enumerate() {
                for (weights, codes) in weights.iter_mut().zip(planes(_mm512_mul_ps(load(scaled), inverse))) {
                    store(&mut weights.0.as_chunks_mut().0[line], codes);
                }
            }
        }
    }

    /// Adds the sums of a chunk to those before it.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    fn sum(&mut self, rows: usize) {
        let Self { dimensions, chunk_sums, sums, decays, weight_scales, .. } = self;
        for (row, sums) in sums.chunks_exact_mut(stored_dimensions(*dimensions)).enumerate().take(rows) {
            let (decay, scale) = (_mm512_set1_ps(decays[row]), _mm512_set1_ps(weight_scales[row]));
            for (sums, of_chunk) in sums.as_chunks_mut().0.iter_mut().zip(&*chunk_sums) {
                let [high, low] = [0, 1].map(|plane| &of_chunk.0[PLANES * row + plane]);
                let added = _mm512_mul_ps(together(high, low), scale);
                let sum = _mm512_fmadd_ps(load(sums), decay, added);
                store_floats(sums, sum);
            }
        }
    }
}

/// Numbers a unit of which is the largest / [`MOST`] are these times what they were; zero where that is no number.
fn inverse_of(largest: f32) -> f32 {
    let inverse = MOST / largest;
    if inverse.is_finite() { inverse } else { 0.0 }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(line: &[f32; GROUP]) -> __m512 {
    // SAFETY: there are 16.
    unsafe { _mm512_loadu_ps(line.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_floats(line: &mut [f32; GROUP], numbers: __m512) {
    // SAFETY: there are 16 places.
    unsafe { _mm512_storeu_ps(line.as_mut_ptr(), numbers) };
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(line: &mut [i8; GROUP], codes: __m128i) {
    // SAFETY: there are 16 places.
    unsafe { _mm_storeu_si128(line.as_mut_ptr().cast(), codes) };
}

/// Numbers of 16 bits, at most [`MOST`], rounded, as the higher and the lower bytes of which `256 × high + low` is made.
#[inline]
#[target_feature(enable = "avx512f")]
fn planes(numbers: __m512) -> [__m128i; PLANES] {
    let numbers = _mm512_cvtps_epi32(numbers);
    let high = _mm512_srai_epi32::<8>(_mm512_add_epi32(numbers, _mm512_set1_epi32(128)));
    let low = _mm512_sub_epi32(numbers, _mm512_slli_epi32::<8>(high));
    [_mm512_cvtepi32_epi8(high), _mm512_cvtepi32_epi8(low)]
}

/// What sums of both planes come to.
#[inline]
#[target_feature(enable = "avx512f")]
fn together(high: &[i32; GROUP], low: &[i32; GROUP]) -> __m512 {
    // SAFETY: there are 16 of each.
    let [high, low] = [high, low].map(|sums| unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) });
    _mm512_fmadd_ps(_mm512_cvtepi32_ps(high), _mm512_set1_ps(256.0), _mm512_cvtepi32_ps(low))
}

impl Configured {
    /// Products with a page's keys, of which `left` are seen, into the columns from `at`.
    fn score_codes(&self, queries: &[Bytes], keys: &[Pairs], left: usize, at: usize, products: &mut [Products]) {
        const ROW: usize = PAGE / GROUP * size_of::<Pairs>();
        let whole = keys.len() >= KvType::Q8.key_lines(queries.len() * ROW_BYTES);
        assert!(whole && products.len() >= TILE_ROWS && at + PAGE <= CHUNK && !queries.is_empty());
        for part in (0..PAGE.min(left)).step_by(2 * GROUP) {
            // SAFETY: tiles are set up. A tile of keys has 16 times 4 dimensions, each of which takes 4 `Pairs`, so
            // `queries.len()` of them are what `KvType::key_lines` says; 32 columns of up to 16 rows of products are
            // there.
            unsafe {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "2:",
                    "tileloadd tmm4, [{x} + {line}]",
                    "tileloadd tmm6, [{w} + {w_row}]",
                    "tdpbssd tmm0, tmm4, tmm6",
                    "tileloadd tmm6, [{w} + {w_row} + 64]",
                    "tdpbssd tmm1, tmm4, tmm6",
                    "add {x}, {step}",
                    "add {w}, {w_step}",
                    "dec {left}",
                    "jnz 2b",
                    "tilestored [{out} + {out_row}], tmm0",
                    "tilestored [{out} + {out_row} + 64], tmm1",
                    x = inout(reg) queries.as_ptr() => _,
                    w = inout(reg) keys.as_ptr().add(part / GROUP) => _,
                    left = inout(reg) queries.len() => _,
                    out = in(reg) &raw mut products[0].0[at + part],
                    line = in(reg) ROW_BYTES,
                    w_row = in(reg) ROW,
                    out_row = in(reg) size_of::<Products>(),
                    step = const size_of::<Bytes>(),
                    w_step = const TILE_ROWS * ROW,
                    options(nostack),
                );
            }
        }
    }

    /// Adds the values of a page, of which `left` are seen, each times its weight, which stand in the columns from `at`.
    fn add_code_values(&self, weights: &[Weights], values: &[Pairs], left: usize, at: usize, sums: &mut [Sums]) {
        let row = sums.len() * size_of::<Pairs>();
        let whole = values.len() >= KvType::Q8.value_lines(sums.len() * GROUP) && sums.len().is_multiple_of(2);
        assert!(whole && weights.len() >= TILE_ROWS && at + PAGE <= CHUNK && !sums.is_empty());
        for part in (0..PAGE.min(left)).step_by(UNIT) {
            // SAFETY: tiles are set up. A tile of weights has 32 columns of up to 16 rows; a tile of values has 8 times 4
            // tokens, each of which takes as many `Pairs` as there are `sums`, which are 16 rows of 64 bytes.
            unsafe {
                asm!(
                    "tileloadd tmm5, [{x} + {x_row}]",
                    "2:",
                    "tileloadd tmm0, [{out} + {line}]",
                    "tileloadd tmm1, [{out} + {line} + 1024]",
                    "tileloadd tmm7, [{w} + {w_row}]",
                    "tdpbssd tmm0, tmm5, tmm7",
                    "tileloadd tmm7, [{w} + {w_row} + 64]",
                    "tdpbssd tmm1, tmm5, tmm7",
                    "tilestored [{out} + {line}], tmm0",
                    "tilestored [{out} + {line} + 1024], tmm1",
                    "add {w}, 128",
                    "add {out}, 2048",
                    "dec {left}",
                    "jnz 2b",
                    x = in(reg) &raw const weights[0].0[at + part],
                    w = inout(reg) values.as_ptr().byte_add(part / CODES * row) => _,
                    left = inout(reg) sums.len() / 2 => _,
                    out = inout(reg) sums.as_mut_ptr() => _,
                    x_row = in(reg) size_of::<Weights>(),
                    w_row = in(reg) row,
                    line = in(reg) 64usize,
                    options(nostack),
                );
            }
        }
    }
}
