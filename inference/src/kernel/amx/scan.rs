//! What products of codes cannot exceed, for many rows: integers summed by the matrix unit, with one scale for each row
//! of weights.
//!
//! Products of codes are scaled and summed as floats block by block, and that takes most of their time
//! ([`super::batch`]). Here codes are first multiplied with what their block's scale is of the greatest of their row,
//! and cut to bytes again, so that the matrix unit sums all columns. What that leaves out is known: a byte stands for
//! `unit × (byte + 1/2)` and is off by at most 3/4 of a unit, half of it from cutting, a quarter from ratios of 8 bits.
//! Activations are two bytes each, with one scale for a row.

use std::arch::asm;
use std::arch::x86_64::*;
use std::cell::RefCell;
use std::ops::Range;

use super::Configured;
use crate::kernel::activations::{TILE_ROWS, View};
use crate::kernel::avx512::load_f16;
use crate::kernel::product::spans;
use crate::kernel::team::{Crew, Shared};
use crate::pack::{BLOCK, GROUP, Line, LowPlane, Quantized, Width};

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
#[derive(Default)]
struct Room {
    /// Weights of two groups as bytes, and those of the next two: `[groups][group][tile of columns][line]`.
    panels: [Vec<Line>; 2],
    sums: Vec<Sums>,
}

/// Sums of a row block: `[group][plane][row][output]`.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Sums([[[[i32; GROUP]; TILE_ROWS]; PLANES]; GROUPS]);

impl Sums {
    const ZERO: Sums = Sums([[[[0; GROUP]; TILE_ROWS]; PLANES]; GROUPS]);
}

thread_local! {
    /// Kept for its memory.
    static ROOM: RefCell<Room> = RefCell::default();
}

/// Bounds all products of a split matrix with the rows of `x`, spread over the threads: `uppers[row × stride + group]`
/// becomes what no product of a group's outputs exceeds, infinite where something is no number.
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
    assert!(q.scales.len() == groups * blocks && bounds(x.columns) && blocks > 0, "{} columns", x.columns);
    assert!(x.rows == 0 || (x.rows - 1) * stride + groups <= uppers.len(), "{} rows of bounds", x.rows);
    rows.set(crew, x);
    let tiles = blocks.div_ceil(BLOCKS);
    let scan = Scan { q, low, blocks, tiles, rows, count: x.rows, uppers: Shared(uppers.as_mut_ptr()), stride };
    spans(crew, groups, GROUPS, &|groups| {
        let configured = Configured::with_bytes(if x.rows <= FEW { FEW } else { TILE_ROWS });
        ROOM.with_borrow_mut(|Room { panels, sums }| {
            for panel in &mut *panels {
                panel.resize(panel.len().max(GROUPS * tiles * TILE_ROWS), Line([0; 64]));
            }
            sums.resize(1, Sums::ZERO);
            // SAFETY: the matrix unit is there, and all processors with it have these features. Each group is in one span.
            unsafe { scan.groups(&configured, groups, panels, &mut sums[0]) };
        });
    });
}

/// What is scanned, and where the bounds go.
struct Scan<'a> {
    q: &'a Quantized,
    low: &'a LowPlane,
    blocks: usize,
    /// Of columns.
    tiles: usize,
    rows: &'a Rows,
    count: usize,
    uppers: Shared<f32>,
    stride: usize,
}

/// A group that is being unpacked.
#[derive(Clone, Copy)]
struct Unpacking {
    group: usize,
    /// For each output what a byte stands for, and what its scales are multiplied with to become ratios.
    unit: __m512,
    ratio: __m512,
}

impl Scan<'_> {
    /// Bounds some groups, two at a time. While these are multiplied, the next two are unpacked: the matrix unit works beside the
    /// others if it is given its work in small parts.
    ///
    /// # Safety
    /// The groups are there, and nobody else writes their bounds.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
    unsafe fn groups(
        &self,
        configured: &Configured,
        groups: Range<usize>,
        panels: &mut [Vec<Line>; 2],
        sums: &mut Sums,
    ) {
        let [panel, next_panel] = panels;
        let (mut panel, mut next_panel) = (&mut panel[..], &mut next_panel[..]);
        let begin = |first: usize| [first, (first + 1).min(groups.end - 1)].map(|group| self.begin(group));
        let mut current = begin(groups.start);
        (0..GROUPS * self.tiles).for_each(|part| self.unpack(&current, part, panel));
        let row_blocks = self.count.div_ceil(TILE_ROWS);
        let parts = (GROUPS * self.tiles).div_ceil(row_blocks * self.tiles);
        for first in groups.clone().step_by(GROUPS) {
            let next = (first + GROUPS < groups.end).then(|| begin(first + GROUPS));
            let mut left = 0..if next.is_some() { GROUPS * self.tiles } else { 0 };
            for row_block in 0..row_blocks {
                for tile in 0..self.tiles {
                    let x = &self.rows.tiles[(row_block * self.tiles + tile) * PLANES..][..PLANES];
                    configured.multiply_bytes(
                        tile == 0,
                        x,
                        [panel, &panel[self.tiles * TILE_ROWS..]].map(|of| &of[tile * TILE_ROWS..]),
                    );
                    for part in left.by_ref().take(parts) {
                        if let Some(next) = &next {
                            self.unpack(next, part, next_panel);
                        }
                    }
                }
                configured.store_bytes(sums);
                // SAFETY: passed on to the caller.
                unsafe { self.put(row_block, first..groups.end.min(first + GROUPS), &current, sums) };
            }
            if let Some(next) = next {
                current = next;
                std::mem::swap(&mut panel, &mut next_panel);
            }
        }
    }

    /// What it takes to unpack a group.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
    fn begin(&self, group: usize) -> Unpacking {
        let scales = &self.q.scales[group * self.blocks..][..self.blocks];
        let (magnitude, mut greatest) = (_mm256_set1_epi16(0x7FFF), _mm256_setzero_si256());
        for scales in scales {
            _mm_prefetch::<_MM_HINT_T0>((&raw const *scales).wrapping_add(GROUPS * self.blocks).cast());
            // SAFETY: `Halves` is 32 bytes, aligned to them.
            let scales = unsafe { _mm256_load_si256(scales.0.as_ptr().cast()) };
            // Bits count as the numbers do, and what is no number is the greatest.
            greatest = _mm256_max_epu16(greatest, _mm256_and_si256(scales, magnitude));
        }
        let greatest = _mm512_cvtph_ps(greatest);
        let some = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(greatest, _mm512_setzero_ps());
        Unpacking {
            group,
            unit: _mm512_mul_ps(greatest, _mm512_set1_ps(256.0 / RATIO)),
            ratio: _mm512_maskz_div_ps(some, _mm512_set1_ps(RATIO), greatest),
        }
    }

    /// Unpacks a tile of one of two groups to bytes with one unit for each output.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
    fn unpack(&self, groups: &[Unpacking; GROUPS], part: usize, panel: &mut [Line]) {
        /// Blocks that are asked for before they are read; into the second cache, which takes more at once than the first.
        const AHEAD: usize = 64;
        let (of, tile) = (&groups[part / self.tiles], part % self.tiles);
        let first = of.group * self.blocks + tile * BLOCKS;
        let blocks = first..(of.group + 1) * self.blocks;
        let panel = panel[part * TILE_ROWS..][..TILE_ROWS].as_chunks_mut::<{ 2 * LINES }>().0;
        for (block, panel) in blocks.zip(panel) {
            let [high, low] = [&self.q.codes, &self.low.codes]
                .map(|plane| plane[block * LINES..].first_chunk::<LINES>().expect("a plane has whole blocks"));
            for v in 0..LINES {
                _mm_prefetch::<_MM_HINT_T1>((&raw const high[v]).wrapping_add(AHEAD * LINES).cast());
                _mm_prefetch::<_MM_HINT_T1>((&raw const low[v]).wrapping_add(AHEAD * LINES).cast());
            }
            let ratios = _mm512_cvtps_epi32(_mm512_mul_ps(load_f16(&self.q.scales[block]), of.ratio));
            unpack_block(high, low, ratios, panel);
        }
    }

    /// Bounds the products of a row block and one or two groups.
    ///
    /// # Safety
    /// As [`Scan::groups`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
    unsafe fn put(&self, row_block: usize, groups: Range<usize>, of: &[Unpacking; GROUPS], sums: &Sums) {
        let rows = row_block * TILE_ROWS..self.count.min((row_block + 1) * TILE_ROWS);
        for (n, row) in rows.enumerate() {
            let factors = self.rows.factors[row];
            let uppers =
                [0, 1].map(|group| bounds_of(sums.0[group].each_ref().map(|plane| &plane[n]), factors, of[group].unit));
            let [first, second] = greatest(uppers);
            // SAFETY: passed on to the caller.
            unsafe {
                let to = self.uppers.get().add(row * self.stride + groups.start);
                *to = first;
                if groups.len() == GROUPS {
                    *to.add(1) = second;
                }
            }
        }
    }
}

/// Codes of a block times the ratio of their output, in 256ths, rounded down.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn unpack_block(high: &[Line; LINES], low: &[Line; LINES], ratios: __m512i, panel: &mut [Line; 2 * LINES]) {
    // In both words of an output, and then in each that its four bytes become: for two outputs of four, and the other two.
    let ratios = _mm512_mask_blend_epi16(0xAAAA_AAAA, ratios, _mm512_slli_epi32::<16>(ratios));
    let ratios = [_mm512_shuffle_epi32::<0b01_01_00_00>(ratios), _mm512_shuffle_epi32::<0b11_11_10_10>(ratios)];
    let (zero, signs, lower) = (_mm512_setzero_si512(), _mm512_set1_epi8(-0x78), _mm512_set1_epi8(15));
    for v in 0..LINES {
        // SAFETY: a line is 64 bytes, aligned.
        let [high, low] = unsafe { [&high[v], &low[v]].map(|line| _mm512_load_si512(line.0.as_ptr().cast())) };
        let high = _mm512_xor_si512(high, signs); // codes without the 128 that was added to them
        // Where `lower` has bits those of the low plane, else those of the high one.
        let columns = [
            _mm512_ternarylogic_epi32::<0b1100_1010>(lower, low, _mm512_slli_epi16::<4>(high)),
            _mm512_ternarylogic_epi32::<0b1100_1010>(lower, _mm512_srli_epi16::<4>(low), high),
        ];
        for half in 0..2 {
            let first = _mm512_mulhi_epi16(_mm512_unpacklo_epi8(zero, columns[half]), ratios[0]);
            let second = _mm512_mulhi_epi16(_mm512_unpackhi_epi8(zero, columns[half]), ratios[1]);
            // SAFETY: as above.
            unsafe {
                let to = panel[half * LINES + v].0.as_mut_ptr().cast();
                _mm512_store_si512(to, _mm512_packs_epi16(first, second));
            }
        }
    }
}

/// Of the sums of a row and a group.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn bounds_of(planes: [&[i32; GROUP]; PLANES], factors: Factors, unit: __m512) -> __m512 {
    // SAFETY: each has 16 places.
    let [upper, lower] = planes.map(|sums| _mm512_cvtepi32_ps(unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) }));
    let sums = _mm512_fmadd_ps(upper, _mm512_set1_ps(256.0), lower);
    let bounds =
        _mm512_mul_ps(_mm512_fmadd_ps(sums, _mm512_set1_ps(factors.scale), _mm512_set1_ps(factors.more)), unit);
    // Neither for what is no number.
    let bounded = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(bounds, _mm512_set1_ps(LARGEST));
    _mm512_mask_blend_ps(bounded, _mm512_set1_ps(f32::INFINITY), bounds)
}

/// The greatest lane of each.
#[inline]
#[target_feature(enable = "avx512f")]
fn greatest([a, b]: [__m512; 2]) -> [f32; 2] {
    // Eight lanes of either, then four, two and one, all in the first half for `a`.
    let eights =
        _mm512_max_ps(_mm512_shuffle_f32x4::<0b01_00_01_00>(a, b), _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b));
    let fours = _mm512_max_ps(eights, _mm512_shuffle_f32x4::<0b10_11_00_01>(eights, eights));
    let twos = _mm512_max_ps(fours, _mm512_permute_ps::<0b01_00_11_10>(fours));
    let ones = _mm512_max_ps(twos, _mm512_permute_ps::<0b10_11_00_01>(twos));
    [_mm512_cvtss_f32(ones), _mm256_cvtss_f32(upper_half(ones))]
}

/// The upper half of a register.
#[inline]
#[target_feature(enable = "avx512f")]
fn upper_half(x: __m512) -> __m256 {
    _mm512_castps512_ps256(_mm512_shuffle_f32x4::<0b11_10_11_10>(x, x))
}

impl Configured {
    /// Sets the registers up for products of bytes of so many rows.
    fn with_bytes(rows: usize) -> Self {
        let (rows, full) = (rows as u8, TILE_ROWS as u8);
        Self::set([64; 8], [rows, rows, rows, rows, rows, rows, full, full])
    }

    /// Multiplies a tile of either plane with one of each of two groups, and adds that to the sums, which stay in registers, or
    /// begins them anew.
    #[inline]
    fn multiply_bytes(&self, anew: bool, x: &[Tile], weights: [&[Line]; GROUPS]) {
        assert!(x.len() == PLANES && weights.iter().all(|tile| tile.len() >= TILE_ROWS), "whole tiles");
        // SAFETY: `Configured` says that there are tiles; what is read lies in the slices.
        unsafe {
            if anew {
                asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
            }
            asm!(
                "tileloadd tmm6, [{w} + {line}]",
                "tileloadd tmm4, [{x} + {line}]",
                "tdpbssd tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{v} + {line}]",
                "tdpbssd tmm2, tmm4, tmm7",
                "tileloadd tmm5, [{x} + {line} + 1024]",
                "tdpbssd tmm1, tmm5, tmm6",
                "tdpbssd tmm3, tmm5, tmm7",
                x = in(reg) x.as_ptr(),
                w = in(reg) weights[0].as_ptr(),
                v = in(reg) weights[1].as_ptr(),
                line = in(reg) 64usize,
                options(nostack, readonly),
            );
        }
    }

    /// Stores the sums of [`Configured::multiply_bytes`].
    #[inline]
    fn store_bytes(&self, sums: &mut Sums) {
        // SAFETY: as above; `sums` has four tiles.
        unsafe {
            asm!(
                "tilestored [{sums} + {line}], tmm0",
                "tilestored [{sums} + {line} + 1024], tmm1",
                "tilestored [{sums} + {line} + 2048], tmm2",
                "tilestored [{sums} + {line} + 3072], tmm3",
                sums = in(reg) sums,
                line = in(reg) 64usize,
                options(nostack),
            );
        }
    }
}
