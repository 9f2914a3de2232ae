//! Attention of rows one by one with the matrix unit: a long context is cut into segments, as work for several threads.

#[cfg(target_arch = "x86_64")]
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::{Attention, BENCH, Bench, Heads, KvType, PageView};
#[cfg(target_arch = "x86_64")]
use crate::kernel::{Activations, Crew, activations::Writer, amx, team::Shared};
#[cfg(target_arch = "x86_64")]
use crate::pack::BLOCK;

/// Positions that one task looks at. A segment begins at a multiple of this, and what a row gets of its segments is summed in
/// order, whoever computed them: so the result does not depend on the number of threads. A multiple of what the matrix unit looks
/// at together.
#[cfg(target_arch = "x86_64")]
const SEGMENT: usize = 512;

/// What rows get of single segments, before it is summed; kept for its memory.
#[derive(Default)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only the matrix unit has segments"))]
pub(crate) struct Shares {
    /// `[row][head][segment][dimension]`
    values: Vec<f32>,
    /// Peak and total of each: `[row][head][segment]`.
    weights: Vec<[f32; 2]>,
}

/// Of a row: which table is its sequence's, the positions that it sees, and how many segments these are in.
#[cfg(target_arch = "x86_64")]
struct View {
    table: usize,
    seen: Range<usize>,
    segments: usize,
}

#[cfg(target_arch = "x86_64")]
impl View {
    /// The positions in one of the segments.
    fn of_segment(&self, segment: usize) -> Range<usize> {
        let first = (self.seen.start / SEGMENT + segment) * SEGMENT;
        self.seen.start.max(first)..self.seen.end.min(first + SEGMENT)
    }
}

#[cfg(target_arch = "x86_64")]
impl<'p, Q, P> Attention<'_, Q, P>
where
    Q: Fn(usize, usize, &mut [f32]) + Sync,
    P: Fn(usize, usize, usize) -> PageView<'p> + Sync,
{
    fn view(&self, row: usize) -> View {
        let stretch = self.stretches[self.stretches.partition_point(|stretch| stretch.row <= row) - 1];
        let seen = stretch.seen(row - stretch.row, self.heads.window);
        let segments = seen.end.div_ceil(SEGMENT) - seen.start / SEGMENT;
        View { table: stretch.table, seen, segments }
    }

    /// What a row gets of one segment needs no sum. A head that is not whole blocks shares one with its neighbour,
    /// whose task may be another.
    fn is_single(&self, segments: usize) -> bool {
        segments == 1 && self.heads.dimensions.is_multiple_of(BLOCK)
    }

    /// As [`Attention::compute`]: the heads of a row that share keys and values go together.
    pub(super) fn row_by_row(&self, crew: &Crew, shares: &mut Shares, out: &mut Activations) {
        let Heads { dimensions, kv_heads, group, kv, .. } = self.heads;
        let (rows, all_heads) = (out.rows(), kv_heads * group);
        let most = (0..rows).map(|row| self.view(row).segments).max().unwrap_or(0);
        let (values, weights) = (rows * all_heads * most * dimensions, rows * all_heads * most);
        let (values, weights) = if self.is_single(most) { (0, 0) } else { (values, weights) };
        shares.values.resize(shares.values.len().max(values), 0.0);
        shares.weights.resize(shares.weights.len().max(weights), [0.0; 2]);
        let (values, weights) = (Shared(shares.values.as_mut_ptr()), Shared(shares.weights.as_mut_ptr()));
        let writer = out.writer(self.isa);
        crew.run(rows * kv_heads * most, &|task| {
            let (row, kv_head, segment) = (task / (kv_heads * most), task / most % kv_heads, task % most);
            let view = self.view(row);
            if segment >= view.segments {
                return;
            }
            let put = |head: usize, share: amx::Share<'_>| {
                let head = kv_head * group + head;
                if self.is_single(view.segments) {
                    let columns = head * dimensions..(head + 1) * dimensions;
                    // SAFETY: the row is in use and has this head's columns, which have one task.
                    return unsafe { writer.columns(row, columns, share.normed()) };
                }
                let at = (row * all_heads + head) * most + segment;
                // SAFETY: there is room for each row, head and segment, which has one task.
                unsafe {
                    let values = values.get().add(at * dimensions);
                    std::ptr::copy_nonoverlapping(share.values.as_ptr(), values, dimensions);
                    weights.get().add(at).write([share.peak, share.total]);
                }
            };
            BENCH.with_borrow_mut(|bench| {
                let seen = view.of_segment(segment);
                let query = |head: usize, room: &mut [f32]| (self.query)(row, kv_head * group + head, room);
                let page = |number: usize| (self.page)(view.table, number, kv_head);
                match kv {
                    KvType::Bf16 => {
                        let tiles = amx::Bench::of(&mut bench.tiles, dimensions, 1);
                        amx::attend_heads(tiles, group, seen, query, page, put);
                    }
                    KvType::Q8 => {
                        let codes = amx::CodeBench::of(&mut bench.codes, dimensions);
                        amx::attend_codes(codes, group, seen, query, page, put);
                    }
                }
            });
        });
        if !self.is_single(most) {
            let shares = &*shares;
            crew.run(rows, &|row| self.sum_segments(row, most, shares, &writer));
        }
    }

    /// Sums what a row gets of its segments, if they are several; there is room for `most` of them.
    fn sum_segments(&self, row: usize, most: usize, shares: &Shares, writer: &Writer) {
        let (all_heads, dimensions) = (self.heads.kv_heads * self.heads.group, self.heads.dimensions);
        let segments = self.view(row).segments;
        if self.is_single(segments) {
            return;
        }
        BENCH.with_borrow_mut(|Bench { out, .. }| {
            out.resize(all_heads * dimensions, 0.0);
            for (head, out) in out.chunks_exact_mut(dimensions).enumerate() {
                let at = (row * all_heads + head) * most;
                let weights = &shares.weights[at..at + segments];
                let peak = weights.iter().fold(f32::NEG_INFINITY, |peak, weights| peak.max(weights[0]));
                let total: f32 = weights.iter().map(|[of, total]| total * (of - peak).exp2()).sum();
                out.fill(0.0);
                let values = shares.values[at * dimensions..].chunks_exact(dimensions);
                for ([of, _], values) in weights.iter().zip(values) {
                    let scale = (of - peak).exp2() / total;
                    out.iter_mut().zip(values).for_each(|(out, value)| *out += scale * value);
                }
            }
            // SAFETY: the row is in use and has all of these columns, and one task.
            unsafe { writer.columns(row, 0..out.len(), out) };
        });
    }
}
