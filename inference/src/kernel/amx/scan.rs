//! What products of codes cannot exceed, for many rows: integers summed by the matrix unit, with one scale for each row of weights.
//!
//! Products of codes are scaled and summed as floats block by block, and that takes most of their time ([`super::batch`]). Here codes
//! are first multiplied with what their block's scale is of the greatest of their row, and cut to bytes again, so that the matrix
//! unit sums all columns. What that leaves out is known: a byte stands for `unit × (byte + 1/2)` and is off by at most 3/4 of a unit,
//! half of it from cutting, a quarter from ratios of 8 bits. Activations are two bytes each, with one scale for a row.

use std::arch::asm;
use std::arch::x86_64::*;

use super::Configured;
use crate::kernel::Lanes;
use crate::kernel::activations::{TILE_ROWS, View};
use crate::kernel::avx512::{joined, load_f16};
use crate::kernel::product::spans;
use crate::kernel::team::{Crew, Shared};
use crate::pack::{BLOCK, GROUP, Halves, Line, LowPlane, Quantized, Width};

/// Blocks of columns in a tile of bytes.
const BLOCKS: usize = 2;
/// Columns in a tile of bytes.
const COLUMNS: usize = BLOCKS * BLOCK;
/// Lines of a block in each plane of the weights.
const LINES: usize = Width::Split.lines();
/// Bytes of an activation.
const PLANES: usize = 2;
/// Groups of outputs that are multiplied together.
const GROUPS: usize = 2;
/// Rows that are multiplied together where there are few.
const FEW: usize = 8;

/// The greatest ratio.
const RATIO: f32 = 255.0;
/// The greatest activation in two bytes.
const GREATEST: f32 = 127.0 * 256.0;
/// What a byte of the weights is off by at most, in its units.
const OFF: f64 = 0.75;
/// More than a weight is, in units of its row.
const MOST: f64 = 129.0;
/// Products beyond this are not bounded: far from where sums of them would overflow.
const LARGEST: f32 = 1e30;
/// Columns from which on sums of integers might overflow.
const MOST_COLUMNS: usize = 1 << 16;

/// Sixteen rows of bytes of activations.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Tile([[i8; COLUMNS]; TILE_ROWS]);

/// Rows of activations as the scan takes them.
pub(in crate::kernel) struct Rows {
    columns: usize,
    /// `[row block][tile of columns][plane]`, the upper plane first; zeros where there is no row or column.
    tiles: Vec<Tile>,
    /// `[row]`
    factors: Vec<Factors>,
}

/// What makes a bound of a row's sums: `unit × (scale × sum + more)`.
#[derive(Clone, Copy, Default)]
struct Factors {
    scale: f32,
    more: f32,
}

impl Rows {
    /// Room for so many rows.
    pub(in crate::kernel) fn with_room(rows: usize, columns: usize) -> Self {
        let tiles = rows.div_ceil(TILE_ROWS) * columns.div_ceil(COLUMNS) * PLANES;
        Self { columns, tiles: vec![Tile([[0; COLUMNS]; TILE_ROWS]); tiles], factors: vec![Factors::default(); rows] }
    }

    /// Takes rows of codes.
    fn set(&mut self, crew: &Crew, x: View<'_>) {
        assert!(x.rows <= self.factors.len() && x.columns == self.columns && x.planes == 1, "rows that fit");
        let tiles_of_row = self.columns.div_ceil(COLUMNS) * PLANES;
        let tiles = Shared(self.tiles.as_mut_ptr());
        crew.chunks(&mut self.factors[..x.rows], 1, |row, factors| {
            let of_row = x.of_row(row);
            let first = row / TILE_ROWS * tiles_of_row;
            factors[0] = Factors::of(of_row, |column, bytes| {
                for (plane, byte) in bytes.into_iter().enumerate() {
                    // SAFETY: there are tiles for all rows and columns, and only this task has this row.
                    unsafe {
                        let tile = tiles.get().add(first + column / COLUMNS * PLANES + plane);
                        (*tile).0[row % TILE_ROWS][column % COLUMNS] = byte;
                    }
                }
            });
        });
    }
}

impl Factors {
    /// Of one row, whose bytes are put to their columns.
    fn of(x: View<'_>, put: impl Fn(usize, [i8; PLANES])) -> Self {
        let values = || {
            let of_scales = x.codes.chunks_exact(BLOCK).zip(x.scales);
            of_scales.flat_map(|(codes, &scale)| codes.iter().map(move |&code| scale * f32::from(code)))
        };
        let greatest = values().fold(0.0f32, |greatest, x| greatest.max(x.abs()));
        let scale = greatest / GREATEST;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let (mut sum, mut absolute, mut left) = (0i64, 0.0, 0.0);
        for (column, value) in values().enumerate() {
            let code = (value * inverse).round_ties_even() as i32;
            let upper = (code + 128) >> 8; // so that the rest is a byte
            put(column, [upper as i8, (code - (upper << 8)) as i8]);
            sum += i64::from(code);
            absolute += f64::from(value.abs());
            left += (f64::from(value) - f64::from(scale) * f64::from(code)).abs();
        }
        // As for the other bound: whatever is rounded is less than the sum of all terms, and there are fewer such steps.
        let rounding = 8.0 * (x.columns / BLOCK + 8) as f64 * MOST * f64::from(f32::EPSILON) / 2.0;
        let more = f64::from(scale) * 0.5 * sum as f64 + absolute * (OFF + rounding) + left * MOST;
        Self { scale, more: more as f32 + more.abs() as f32 * f32::EPSILON }
    }
}

/// Whether the products of so many columns can be bounded.
pub(in crate::kernel) fn bounds(columns: usize) -> bool {
    columns < MOST_COLUMNS
}

/// What a thread works in.
struct Room {
    /// Weights of some groups as bytes: `[group][tile of columns][line]`.
    panel: Vec<Line>,
    /// `[group]`
    units: [Lanes; GROUPS],
    sums: Box<Sums>,
}

/// Sums of a row block: `[group][plane][row][output]`.
#[repr(align(64))]
struct Sums([[[[i32; GROUP]; TILE_ROWS]; PLANES]; GROUPS]);

thread_local! {
    /// Kept for its memory.
    static ROOM: std::cell::RefCell<Room> = std::cell::RefCell::new(Room {
        panel: Vec::new(),
        units: [[0.0; GROUP]; GROUPS],
        sums: Box::new(Sums([[[[0; GROUP]; TILE_ROWS]; PLANES]; GROUPS])),
    });
}

/// Bounds all products of a split matrix with the rows of `x`, spread over the threads: `uppers[row × stride + group]` becomes what no
/// product of a group's outputs exceeds, infinite where something is no number.
///
/// # Panics
/// If the matrix is not split, rows do not fit it, or there are not as many bounds.
pub(in crate::kernel) fn scan(
    crew: &Crew,
    q: &Quantized,
    groups: usize,
    x: View<'_>,
    rows: &mut Rows,
    uppers: &mut [f32],
    stride: usize,
) {
    let low = q.low.as_ref().expect("only what is split is bounded");
    let blocks = x.columns / BLOCK;
    assert!(q.codes.len() == groups * blocks * LINES && low.codes.len() == q.codes.len(), "{groups} groups");
    assert!(q.scales.len() == groups * blocks && bounds(x.columns), "{} columns", x.columns);
    assert!(x.rows == 0 || (x.rows - 1) * stride + groups <= uppers.len(), "{} rows of bounds", x.rows);
    rows.set(crew, x);
    let (rows, uppers) = (&*rows, Shared(uppers.as_mut_ptr()));
    let tiles = x.columns.div_ceil(COLUMNS);
    spans(crew, groups, GROUPS, &|groups| {
        let height = if x.rows <= FEW { FEW } else { TILE_ROWS };
        let configured = Configured::with_bytes(height);
        ROOM.with_borrow_mut(|Room { panel, units, sums }| {
            panel.resize(panel.len().max(GROUPS * tiles * TILE_ROWS), Line([0; 64]));
            for first in groups.clone().step_by(GROUPS) {
                let last = (first + GROUPS).min(groups.end);
                for ((group, unit), panel) in
                    (first..last).zip(&mut *units).zip(panel.chunks_exact_mut(tiles * TILE_ROWS))
                {
                    // SAFETY: the matrix unit is there, and all processors with it have these features.
                    unsafe { unpack(q, low, group, blocks, panel, unit) };
                }
                for (row_block, factors) in rows.factors[..x.rows].chunks(TILE_ROWS).enumerate() {
                    let x = &rows.tiles[row_block * tiles * PLANES..][..tiles * PLANES];
                    configured.multiply_bytes(x, panel, tiles, sums);
                    for (n, &factors) in factors.iter().enumerate() {
                        for group in first..last {
                            let at = (row_block * TILE_ROWS + n) * stride + group;
                            let [upper, lower] = sums.0[group - first].each_ref().map(|plane| &plane[n]);
                            // SAFETY: as above; there is a place for each row and group, and only this task has this one.
                            unsafe { *uppers.get().add(at) = greatest(upper, lower, factors, &units[group - first]) };
                        }
                    }
                }
            }
        });
    });
}

impl Configured {
    /// Sets the registers up for products of bytes of so many rows.
    fn with_bytes(rows: usize) -> Self {
        let (rows, full) = (rows as u8, TILE_ROWS as u8);
        Self::set([64; 8], [rows, rows, rows, rows, rows, rows, full, full])
    }

    /// Multiplies both planes of a row block with two groups of outputs.
    fn multiply_bytes(&self, x: &[Tile], panel: &[Line], tiles: usize, sums: &mut Sums) {
        assert!(tiles > 0 && x.len() == tiles * PLANES && panel.len() >= GROUPS * tiles * TILE_ROWS, "{tiles} tiles");
        // SAFETY: `Configured` says that there are tiles; what is read lies in the slices, and `sums` has four tiles.
        unsafe {
            asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                "2:",
                "tileloadd tmm6, [{w} + {line}]",
                "tileloadd tmm4, [{x} + {line}]",
                "tdpbssd tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{v} + {line}]",
                "tdpbssd tmm2, tmm4, tmm7",
                "tileloadd tmm5, [{x} + {line} + 1024]",
                "tdpbssd tmm1, tmm5, tmm6",
                "tdpbssd tmm3, tmm5, tmm7",
                "add {x}, 2048",
                "add {w}, 1024",
                "add {v}, 1024",
                "dec {left}",
                "jnz 2b",
                "tilestored [{sums} + {line}], tmm0",
                "tilestored [{sums} + {line} + 1024], tmm1",
                "tilestored [{sums} + {line} + 2048], tmm2",
                "tilestored [{sums} + {line} + 3072], tmm3",
                x = inout(reg) x.as_ptr() => _,
                w = inout(reg) panel.as_ptr() => _,
                v = inout(reg) panel[tiles * TILE_ROWS..].as_ptr() => _,
                left = inout(reg) tiles => _,
                sums = in(reg) sums,
                line = in(reg) 64usize,
                options(nostack),
            );
        }
    }
}

/// The weights of a group as bytes with one unit for each output.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn unpack(q: &Quantized, low: &LowPlane, group: usize, blocks: usize, panel: &mut [Line], units: &mut Lanes) {
    /// Groups that are asked for before they are read.
    const AHEAD: usize = 2;
    let of_group = group * blocks..(group + 1) * blocks;
    let scales = &q.scales[of_group.clone()];
    let greatest = greatest_scales(scales);
    let unit = _mm512_mul_ps(greatest, _mm512_set1_ps(256.0 / RATIO));
    // SAFETY: there are 16 places.
    unsafe { _mm512_storeu_ps(units.as_mut_ptr(), unit) };
    let some = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(greatest, _mm512_setzero_ps());
    let ratio = _mm512_maskz_div_ps(some, _mm512_set1_ps(RATIO), greatest);
    // A ratio for each word that the bytes of its output become.
    let of_lower = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 4, 5, 4, 5, 4, 5, 4, 5));
    let of_upper = _mm512_broadcast_i32x4(_mm_setr_epi8(8, 9, 8, 9, 8, 9, 8, 9, 12, 13, 12, 13, 12, 13, 12, 13));
    let (zero, sign) = (_mm512_setzero_si512(), _mm512_set1_epi8(-128));
    let lines = of_group.start * LINES..of_group.end * LINES;
    let planes = [&q.codes[lines.clone()], &low.codes[lines]].map(|plane| plane.as_chunks::<LINES>().0);
    for (((high, low), scales), panel) in
        planes[0].iter().zip(planes[1]).zip(scales).zip(panel.as_chunks_mut::<{ 2 * LINES }>().0)
    {
        _mm_prefetch::<_MM_HINT_T0>((&raw const *scales).wrapping_add(AHEAD * blocks).cast());
        let ratios = _mm512_cvtps_epi32(_mm512_mul_ps(load_f16(scales), ratio));
        let ratios = [_mm512_shuffle_epi8(ratios, of_lower), _mm512_shuffle_epi8(ratios, of_upper)];
        for v in 0..LINES {
            _mm_prefetch::<_MM_HINT_T0>((&raw const high[v]).wrapping_add(AHEAD * blocks * LINES).cast());
            _mm_prefetch::<_MM_HINT_T0>((&raw const low[v]).wrapping_add(AHEAD * blocks * LINES).cast());
            // SAFETY: both are lines.
            let columns = unsafe { joined(&high[v], &low[v]) };
            for (half, codes) in columns.into_iter().enumerate() {
                let codes = _mm512_xor_si512(codes, sign);
                let words = [_mm512_unpacklo_epi8(zero, codes), _mm512_unpackhi_epi8(zero, codes)];
                let [lower, upper] = [0, 1].map(|n| _mm512_mulhi_epi16(words[n], ratios[n]));
                // SAFETY: a line is 64 bytes, aligned.
                unsafe {
                    let to = panel[half * LINES + v].0.as_mut_ptr().cast();
                    _mm512_store_si512(to, _mm512_packs_epi16(lower, upper));
                }
            }
        }
    }
}

/// The greatest magnitude of each output's scales; what is no number is the greatest.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn greatest_scales(scales: &[Halves]) -> __m512 {
    let (magnitude, mut greatest) = (_mm256_set1_epi16(0x7FFF), _mm256_setzero_si256());
    for scales in scales {
        // SAFETY: `Halves` is 32 bytes, aligned to them.
        let scales = unsafe { _mm256_load_si256(scales.0.as_ptr().cast()) };
        greatest = _mm256_max_epu16(greatest, _mm256_and_si256(scales, magnitude)); // bits count as the numbers do
    }
    _mm512_cvtph_ps(greatest)
}

/// The greatest bound of a row and a group.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn greatest(upper: &[i32; GROUP], lower: &[i32; GROUP], factors: Factors, units: &Lanes) -> f32 {
    // SAFETY: each has 16 places.
    let (upper, lower, units) = unsafe {
        let of_plane = |sums: &[i32; GROUP]| _mm512_cvtepi32_ps(_mm512_loadu_si512(sums.as_ptr().cast()));
        (of_plane(upper), of_plane(lower), _mm512_loadu_ps(units.as_ptr()))
    };
    let sums = _mm512_fmadd_ps(upper, _mm512_set1_ps(256.0), lower);
    let bounds =
        _mm512_mul_ps(_mm512_fmadd_ps(sums, _mm512_set1_ps(factors.scale), _mm512_set1_ps(factors.more)), units);
    // Neither for what is no number.
    let bounded = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(bounds, _mm512_set1_ps(LARGEST));
    _mm512_reduce_max_ps(_mm512_mask_blend_ps(bounded, _mm512_set1_ps(f32::INFINITY), bounds))
}
