//! Products of codes for several rows: weights are unpacked to bytes, part by part, where they are not bytes.

use std::arch::x86_64::*;
use std::ops::Range;

use super::batch::{self, At, DEPTH, Dots, FEW, Lie, Totals};
use super::{Configured, Shape};
use crate::kernel::Lanes;
use crate::kernel::activations::{Scales, TILE_ROWS, View};
use crate::kernel::avx512::{begin_with_mins, columns_of, joined, load_f16};
use crate::pack::{BLOCK, GROUP, Halves, Line, Packed, Quantized, Shift, Storage, Width};

/// Rows of codes up to which dot products are as fast: fewer with bytes, which need not be unpacked.
const fn dot_rows(width: Width) -> usize {
    match width {
        Width::Nibble | Width::Five | Width::Split => 8,
        Width::Byte => 4,
    }
}

/// Blocks that are unpacked together: they stay in the nearest cache while all rows pass by.
const PART: usize = 20;

/// Whether the matrix unit multiplies so many rows of codes with these weights.
pub(in crate::kernel) fn takes_codes(weights: &Packed, rows: usize) -> bool {
    let Storage::Quantized(q) = &weights.storage else { return false };
    rows > dot_rows(q.width) && (q.scales_per_block == 1 || matches!(q.shift, Shift::Offset { .. }))
}

/// What a thread works in. The matrix unit is set up from the first product that wants it until [`Batch::release`].
pub(in crate::kernel) struct Batch {
    configured: Option<(Shape, Configured)>,
    /// Weights of a group as bytes: `[block][line]`.
    panel: Vec<Line>,
    /// Their scales: `[block]`.
    scales: Vec<Scales>,
    dots: Vec<Dots>,
    /// `[row block]`
    totals: Vec<Totals>,
}

/// Row blocks that there is room for from the start.
const ROW_BLOCKS: usize = 36;

impl Default for Batch {
    /// With room for what comes, as a step should not have to ask for memory.
    fn default() -> Self {
        Self {
            configured: None,
            panel: vec![Line([0; 64]); PART * 8],
            scales: vec![Scales([0.0; GROUP]); PART],
            dots: vec![Dots::ZERO],
            totals: vec![Totals::ZERO; ROW_BLOCKS],
        }
    }
}

impl Batch {
    /// Gives the matrix unit back.
    pub(in crate::kernel) fn release(&mut self) {
        self.configured = None;
    }

    /// All rows of codes times one group of weights, each plane of a row by itself.
    ///
    /// # Panics
    /// If weights and activations do not fit each other.
    pub(in crate::kernel) fn multiply(
        &mut self,
        weights: &Packed,
        group: usize,
        x: View<'_>,
    ) -> impl Iterator<Item = &Lanes> {
        let Storage::Quantized(q) = &weights.storage else { unreachable!("codes meet codes") };
        assert!(takes_codes(weights, x.rows) && group < weights.groups() && weights.columns == x.columns);
        assert!(
            x.turned.iter().all(|turned| turned.len() >= x.rows.div_ceil(TILE_ROWS) * (x.columns / BLOCK)),
            "scales are turned"
        );
        assert!(x.codes.len() >= x.rows.next_multiple_of(TILE_ROWS) * x.columns, "whole row blocks");
        let row_blocks = x.rows.div_ceil(TILE_ROWS);
        self.totals.resize(self.totals.len().max(row_blocks), Totals::ZERO);
        // SAFETY: the matrix unit is used only where `permitted` was
        // true, on processors which all have these features.
        unsafe {
            self.begin(q, group, x);
            match q.width {
                Width::Byte => self.bytes(q, group, x),
                Width::Nibble => self.unpacked::<4, 1>(q, group, x),
                Width::Five => self.unpacked::<5, 1>(q, group, x),
                Width::Split => self.unpacked::<4, 2>(q, group, x),
            }
        }
        Totals::rows(&self.totals, x.rows)
    }

    /// Totals begin with the mins, where weights have such.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
    fn begin(&mut self, q: &Quantized, group: usize, x: View<'_>) {
        let blocks = x.columns / BLOCK;
        let totals = &mut self.totals[..x.rows.div_ceil(TILE_ROWS)];
        let Shift::Min(mins) = &q.shift else { return totals.fill(Totals::ZERO) };
        ask_for_next(mins, group, blocks);
        let mins = &mins[group * blocks..][..blocks];
        for (totals, sums) in totals.iter_mut().zip(x.turned[1].chunks_exact(blocks)) {
            if x.rows <= FEW {
                begin_with_mins::<FEW>(mins, sums, &mut totals.0);
            } else {
                begin_with_mins::<TILE_ROWS>(mins, sums, &mut totals.0);
            }
        }
    }

    /// Weights that are bytes are read where they are.
    fn bytes(&mut self, q: &Quantized, group: usize, x: View<'_>) {
        let blocks = x.columns / BLOCK;
        let units = blocks * q.scales_per_block;
        let (lie, unit_columns) = if q.scales_per_block == 1 { (Lie::Wide, BLOCK) } else { (Lie::Narrow, BLOCK / 2) };
        let configured = set_up(&mut self.configured, Shape { rows: x.rows, unit_columns });
        for (row_block, totals) in self.totals[..x.rows.div_ceil(TILE_ROWS)].iter_mut().enumerate() {
            let at = At {
                x: x.codes[row_block * TILE_ROWS * x.columns..].as_ptr(),
                x_row: x.columns,
                x_scales: x.turned[0][row_block * blocks..][..blocks].as_ptr().cast(),
                w: q.codes[group * blocks * 8..][..blocks * 8].as_ptr().cast(),
                ahead: ahead(&q.codes, group * blocks * 8 + AHEAD),
                w_scales: q.scales[group * units..][..units].as_ptr().cast(),
                units,
                dots: self.dots.as_mut_ptr(),
                out: totals,
            };
            // SAFETY: the slices are as long as the units; of codes there are 16 rows from each row block on, as was asserted.
            unsafe { batch::multiply(configured, lie, x.rows, at) };
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
    fn unpacked<const LINES: usize, const PLANES: usize>(&mut self, q: &Quantized, group: usize, x: View<'_>) {
        let blocks = x.columns / BLOCK;
        let Self { configured, panel, scales, dots, totals } = self;
        let configured = set_up(configured, Shape { rows: x.rows, unit_columns: BLOCK });
        ask_for_next(&q.scales, group, blocks);
        let lie = if LINES == 4 { Lie::Four } else { Lie::Five };
        for first in (0..blocks).step_by(PART) {
            let part = first..blocks.min(first + PART);
            let of_group = group * blocks + part.start..group * blocks + part.end;
            unpack::<LINES, PLANES>(q, of_group.clone(), panel);
            for (scales, halves) in scales.iter_mut().zip(&q.scales[of_group]) {
                // SAFETY: there are 16 places, aligned.
                unsafe { _mm512_store_ps(scales.0.as_mut_ptr(), load_f16(halves)) };
            }
            for (row_block, totals) in totals[..x.rows.div_ceil(TILE_ROWS)].iter_mut().enumerate() {
                let at = At {
                    x: x.codes[row_block * TILE_ROWS * x.columns + part.start * BLOCK..].as_ptr(),
                    x_row: x.columns,
                    x_scales: x.turned[0][row_block * blocks..][part.clone()].as_ptr().cast(),
                    w: panel.as_ptr().cast(),
                    ahead: ahead(&q.codes, (group + 1) * blocks * LINES + part.start * LINES),
                    w_scales: scales.as_ptr().cast(),
                    units: part.len(),
                    dots: dots.as_mut_ptr(),
                    out: totals,
                };
                // SAFETY: the panel and its scales have room for a part; the rest is as in `bytes`.
                unsafe { batch::multiply(configured, lie, x.rows, at) };
            }
        }
    }
}

const _: () = assert!(PART.is_multiple_of(DEPTH), "only the last part leaves units over");

fn set_up(configured: &mut Option<(Shape, Configured)>, shape: Shape) -> &Configured {
    let shape = Shape { rows: if shape.rows <= FEW { FEW } else { TILE_ROWS }, ..shape };
    if configured.as_ref().is_none_or(|(seen, _)| *seen != shape) {
        *configured = None;
        *configured = Some((shape, Configured::with(shape)));
    }
    &configured.as_ref().expect("it was set up").1
}

/// Lines that bytes are asked for ahead.
const AHEAD: usize = 128;

/// A place in or beyond some weights.
fn ahead(lines: &[Line], at: usize) -> *const u8 {
    lines.as_ptr().wrapping_add(at).cast()
}

/// Asks for the next group's halves.
fn ask_for_next(halves: &[Halves], group: usize, blocks: usize) {
    let next = halves.as_ptr().wrapping_add((group + 1) * blocks);
    for line in (0..blocks).step_by(2) {
        // SAFETY: all processors with tiles have the instruction, which reads nothing that a program could notice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(line).cast()) };
    }
}

/// Codes of some blocks as signed bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
fn unpack<const LINES: usize, const PLANES: usize>(q: &Quantized, blocks: Range<usize>, panel: &mut [Line]) {
    let zero = _mm512_set1_epi8(if PLANES == 2 { -128 } else { q.zero() as i8 });
    let low = q.low.as_ref().filter(|_| PLANES == 2);
    for (block, panel) in blocks.zip(panel.chunks_exact_mut(8)) {
        let lines: *const Line = q.codes[block * LINES..][..LINES].as_ptr();
        for v in 0..4 {
            let columns = match low {
                Some(low) => {
                    let low = &raw const low.codes[block * LINES + v];
                    // The other plane is asked for ahead by the products.
                    _mm_prefetch::<_MM_HINT_T1>(low.wrapping_add(AHEAD).cast());
                    // SAFETY: a block has so many lines in each plane, and `v` is below 4.
                    unsafe { joined(lines.add(v), low) }
                }
                // SAFETY: a block has so many lines, and `v` is below 4.
                None => unsafe { columns_of::<LINES>(lines, v) },
            };
            for (half, codes) in columns.into_iter().enumerate() {
                // SAFETY: a line is 64 bytes, aligned.
                unsafe {
                    _mm512_store_si512(panel[4 * half + v].0.as_mut_ptr().cast(), _mm512_sub_epi8(codes, zero));
                }
            }
        }
    }
}
