//! The likeliest outputs of a matrix, for several rows at once and without keeping all of their products: an exact search.
//!
//! 1. *Scan*: for each group of 16 outputs and each row, what no product of theirs exceeds. That is the greatest product itself,
//!    or less work gives a bound.
//! 2. *Threshold*: the groups that seem greatest are multiplied; as many outputs as are wanted reach some product.
//! 3. *Refine*: every group that may have an output which comes up to that is multiplied.
//!
//! What is found, and every product of it, is therefore what all products would give, to the bit. A row of products is a megabyte
//! with a large vocabulary, what a scan leaves of it a sixteenth.
//!
//! A split matrix ([`crate::pack`]) is bounded for few rows. A code is `16 h + l − 128` with `h` and `l` of four bits
//! each. With every `l` taken for 7.5 a product is off by the low plane's part, which by Cauchy and Schwarz is at most
//! `Σ over blocks |scale| × ‖l − 7.5‖ × ‖x‖`: the norms of `l` are stored, those of `x` are computed once. So half of
//! the bytes give each output a product that it cannot exceed. Of `x`, the few numbers that stand out are better taken
//! for themselves, as `|l − 7.5|` is at most 7.5. There are kernels for AVX2 and AVX-512; elsewhere nothing is split,
//! and products are what is scanned.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bound;
mod portable;

use super::activations::View;
#[cfg(target_arch = "x86_64")]
use super::amx;
use super::product::{multiply_group, spans};
use super::team::{Crew, Shared};
use super::{Activations, Form, Isa, Lanes};
use crate::pack::{GROUP, Packed, Quantized, Storage};
use crate::sampler::{Candidate, Candidates, Scan};
use bound::{BOUNDED_ROWS, Planes, Rows};

/// Which outputs are wanted of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wanted {
    /// So many of the greatest; at least 1.
    Greatest(usize),
    /// Those that are at most this below the greatest; not negative.
    Near(f32),
}

/// What is computed with each product before it is known whether enough are wanted: `lowered(row, output, product)` is never
/// greater than the product.
pub(crate) type Lowered<'a> = &'a (dyn Fn(usize, u32, f32) -> f32 + Sync);

/// Outputs of a row that a search finds, at most: for more, all products are as fast.
const MOST_WANTED: usize = 256;

/// Outputs that are usually wanted, at most: so many need no further memory.
const USUALLY_WANTED: usize = 64;

/// Groups that are multiplied for a threshold beside those that are wanted: the greatest bound is not that of the
/// greatest product.
const MORE_PICKED: usize = 7;

/// Rows whose products are bounded by themselves where the matrix unit could bound them together.
const FEW_ROWS: usize = 4;

/// Pairs of a row and a group that one task refines.
const REFINED: usize = 16;

/// What a search works in, and what it has found. Made for as many rows and groups as there will be.
pub(crate) struct Search {
    groups: usize,
    /// Groups of a row are so far from those of the next: rows are not in the same place of a cache.
    stride: usize,
    /// `[row][group]`
    uppers: Vec<f32>,
    rows: Vec<OfRow>,
    /// The rows, if they are few.
    few: Rows,
    /// The rows for the matrix unit.
    #[cfg(target_arch = "x86_64")]
    together: Option<amx::Rows>,
    pairs: Vec<Pair>,
    /// Of each pair.
    products: Vec<Lanes>,
    ids: Vec<u32>,
    logits: Vec<f32>,
    /// By the number of rows.
    pays: [Pays; BOUNDED_ROWS],
}

/// What is known of a row.
struct OfRow {
    /// Looks for the greatest bounds.
    scan: Scan,
    /// Groups that are multiplied.
    picked: Vec<Candidate>,
    /// Their products, lowered.
    lowered: Vec<f32>,
    /// What those that are wanted come up to.
    least: Option<f32>,
    /// Where what was found begins and ends in `ids` and `logits`.
    found: std::ops::Range<usize>,
}

/// A group that may have an output which a row wants.
#[derive(Clone, Copy)]
struct Pair {
    row: u32,
    group: u32,
    /// It has one.
    has: bool,
}

impl Search {
    /// For up to `rows` rows and the outputs of a matrix.
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "only one matrix unit bounds products"))]
    pub(crate) fn new(isa: Isa, weights: &Packed, rows: usize) -> Self {
        const LINE: usize = 16; // floats of a cache line
        let groups = weights.groups();
        let stride = groups.next_multiple_of(LINE) + LINE;
        let pairs = (rows.min(BOUNDED_ROWS) * groups / 2).max(groups).max(rows * USUALLY_WANTED);
        let of_row = |_| OfRow {
            scan: Scan::with_room(groups, USUALLY_WANTED + MORE_PICKED),
            picked: Vec::with_capacity(groups),
            lowered: Vec::with_capacity((USUALLY_WANTED + MORE_PICKED) * GROUP),
            least: None,
            found: 0..0,
        };
        Self {
            groups,
            stride,
            uppers: vec![0.0; rows * stride],
            rows: (0..rows).map(of_row).collect(),
            few: Rows::with_room(if weights.is_split() { weights.columns } else { 0 }),
            #[cfg(target_arch = "x86_64")]
            together: (isa.has_tiles() && weights.is_split() && amx::bounds(weights.columns))
                .then(|| amx::Rows::with_room(rows, weights.columns)),
            pairs: Vec::with_capacity(pairs),
            products: Vec::with_capacity(pairs),
            ids: Vec::with_capacity(2 * rows * USUALLY_WANTED),
            logits: Vec::with_capacity(2 * rows * USUALLY_WANTED),
            pays: [Pays::default(); BOUNDED_ROWS],
        }
    }

    /// Whether the matrix unit bounds products.
    fn bounds_together(&self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.together.is_some();
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// What was found for a row: all outputs whose products come up to some least one, and at least those that are wanted when
    /// each product is lowered. `None` if they are too many, or some are no numbers.
    pub(crate) fn found(&self, row: usize) -> Option<Candidates<'_>> {
        let OfRow { least, found, .. } = &self.rows[row];
        let bound = (*least)?.next_down();
        Some(Candidates { ids: &self.ids[found.clone()], logits: &self.logits[found.clone()], bound })
    }
}

/// Finds the outputs that are wanted of each row of `x`; [`Search::found`] gives them.
///
/// # Panics
/// If the matrix has other columns than `x`, there are not as many wishes as rows or more than there is room for, or `x` is
/// tiles.
pub(crate) fn search(
    crew: &Crew,
    isa: Isa,
    weights: &Packed,
    x: &Activations,
    wanted: &[Wanted],
    lowered: Lowered<'_>,
    room: &mut Search,
) {
    assert!(x.form() != Form::Tiles && x.columns() == weights.columns, "codes that fit");
    assert!(x.rows() == wanted.len() && wanted.len() <= room.rows.len(), "{} rows, {}", x.rows(), wanted.len());
    assert_eq!(room.groups, weights.groups(), "the search was made for this matrix");
    let searched = Searched { crew, isa, weights, x: x.view() };
    let rows = wanted.len();
    // What is coded finely is what prompts ask for once: it is not worth bounds of its own.
    let plain = x.form() == Form::Codes;
    let few = if room.bounds_together() { FEW_ROWS } else { BOUNDED_ROWS };
    let bounded = plain && (1..=few).contains(&rows) && weights.is_split() && room.pays[rows - 1].tries();
    if bounded {
        searched.bound(room);
        searched.threshold(room, wanted, MORE_PICKED, lowered);
        let left = searched.left(room, rows);
        room.pays[rows - 1].observe(left as f32 / room.groups as f32);
        if left <= room.pairs.capacity() {
            return searched.refine(room, rows);
        }
    }
    if plain && rows > 0 && room.bounds_together() {
        searched.bound_together(room);
        searched.threshold(room, wanted, MORE_PICKED, lowered);
        if searched.left(room, rows) <= room.pairs.capacity() {
            return searched.refine(room, rows);
        }
    }
    searched.multiply_all(room);
    searched.threshold(room, wanted, 0, lowered);
    searched.left(room, rows);
    searched.refine(room, rows);
}

/// What is searched, by whom.
struct Searched<'a> {
    crew: &'a Crew,
    isa: Isa,
    weights: &'a Packed,
    x: View<'a>,
}

impl Searched<'_> {
    /// Bounds the products of all groups.
    fn bound(&self, room: &mut Search) {
        let Storage::Quantized(q @ Quantized { low: Some(_), .. }) = &self.weights.storage else {
            unreachable!("only what is split is bounded")
        };
        room.few.set(self.x);
        let (planes, few) = (Planes::new(q, self.weights.columns), &room.few);
        let (stride, uppers) = (room.stride, Shared(room.uppers.as_mut_ptr()));
        spans(self.crew, room.groups, 1, &|groups| {
            for group in groups {
                let mut of_rows = [0.0; BOUNDED_ROWS];
                planes.scan(self.isa, group, few, &mut of_rows);
                for (row, upper) in of_rows[..few.count].iter().enumerate() {
                    // SAFETY: there is a place for each row and group, and only this task has this one.
                    unsafe { *uppers.get().add(row * stride + group) = *upper };
                }
            }
        });
    }

    /// Bounds the products of all groups with the matrix unit.
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "only one matrix unit bounds products"))]
    fn bound_together(&self, room: &mut Search) {
        #[cfg(target_arch = "x86_64")]
        if let (Storage::Quantized(q), Some(rows)) = (&self.weights.storage, &mut room.together) {
            amx::scan(self.crew, q, room.groups, self.x, rows, &mut room.uppers, room.stride);
        }
    }

    /// The greatest product of each group.
    fn multiply_all(&self, room: &mut Search) {
        let (stride, uppers) = (room.stride, Shared(room.uppers.as_mut_ptr()));
        spans(self.crew, room.groups, 1, &|groups| {
            for group in groups {
                multiply_group(self.isa, self.weights, group, self.x, |row, lanes| {
                    // SAFETY: there is a place for each row and group, and only this task has this one.
                    unsafe { *uppers.get().add(row * stride + group) = greatest(lanes) };
                });
            }
        });
    }

    /// What products must come up to in each row: the wanted ones do that, as some do. Then the groups that may.
    fn threshold(&self, room: &mut Search, wanted: &[Wanted], more: usize, lowered: Lowered<'_>) {
        let (groups, stride, uppers) = (room.groups, room.stride, &room.uppers);
        self.crew.chunks(&mut room.rows[..wanted.len()], 1, |row, of_row| {
            let OfRow { scan, picked, lowered: seen, least, .. } = &mut of_row[0];
            let uppers = &uppers[row * stride..][..groups];
            let count = if let Wanted::Greatest(count) = wanted[row] { count } else { 1 };
            (*least, _) = (None, picked.clear());
            if count == 0 || count > MOST_WANTED || scan.pass(uppers).is_none() {
                return;
            }
            scan.keep_greatest(picked, uppers, (count + more).min(groups));
            seen.clear();
            for candidate in &*picked {
                let products = self.multiply(row, candidate.id);
                let products = self.outputs(candidate.id, &products);
                seen.extend(
                    products
                        .map(|(output, product)| lowered(row, output, product))
                        .filter(|product| product.is_finite()),
                );
            }
            *least = reached(seen, wanted[row]);
            picked.clear();
            if let Some(least) = *least {
                scan.keep_from(picked, uppers, least);
            }
        });
    }

    /// The pairs that are to be refined; gives how many there would be if there were room for all.
    fn left(&self, room: &mut Search, rows: usize) -> usize {
        let (pairs, of_rows) = (&mut room.pairs, &mut room.rows[..rows]);
        let all = of_rows.iter().map(|of_row| of_row.picked.len()).sum();
        pairs.clear();
        for (row, OfRow { picked, least, .. }) in (0..).zip(of_rows) {
            if pairs.len() + picked.len() > pairs.capacity() {
                *least = None; // too many to be worth it
            } else {
                pairs.extend(picked.iter().map(|candidate| Pair { row, group: candidate.id, has: false }));
            }
        }
        all
    }

    /// Multiplies what is left, and keeps what comes up to the least product that is wanted.
    fn refine(&self, room: &mut Search, rows: usize) {
        let Search { rows: of_rows, pairs, products, ids, logits, .. } = room;
        products.resize(pairs.len(), [0.0; GROUP]);
        let (of_rows, to_products) = (&mut of_rows[..rows], Shared(products.as_mut_ptr()));
        let least = |row: u32| of_rows[row as usize].least.expect("a row with pairs has a threshold");
        let to_pairs = Shared(pairs.as_mut_ptr());
        self.crew.run(pairs.len().div_ceil(REFINED), &|task| {
            for at in task * REFINED..pairs.len().min((task + 1) * REFINED) {
                // SAFETY: both have a place for each pair, and only this task has this one.
                let (pair, products) = unsafe { (&mut *to_pairs.get().add(at), &mut *to_products.get().add(at)) };
                *products = self.multiply(pair.row as usize, pair.group);
                let least = least(pair.row);
                pair.has = products.iter().any(|&product| product >= least);
            }
        });
        ids.clear();
        logits.clear();
        let mut left = pairs.iter().zip(&*products).peekable();
        for (row, of_row) in (0..).zip(of_rows) {
            let first = ids.len();
            while let Some((pair, products)) = left.next_if(|(pair, _)| pair.row == row) {
                let Some(least) = of_row.least.filter(|_| pair.has) else { continue };
                for (output, product) in self.outputs(pair.group, products).filter(|&(_, product)| product >= least) {
                    ids.push(output);
                    logits.push(product);
                }
            }
            of_row.found = first..ids.len();
            if logits[first..].iter().any(|product| product.is_infinite()) {
                of_row.least = None;
            }
        }
    }

    fn multiply(&self, row: usize, group: u32) -> Lanes {
        let mut products = [0.0; GROUP];
        let x = self.x.of_row(row);
        multiply_group(self.isa, self.weights, group as usize, x, |_, lanes| products = *lanes);
        products
    }

    /// The outputs of a group with their products. Rows of the matrix that fill up the last group are none.
    fn outputs(&self, group: u32, products: &Lanes) -> impl Iterator<Item = (u32, f32)> {
        let first = group * GROUP as u32;
        (first..self.weights.rows as u32).zip(*products)
    }
}

/// The greatest of some products, where that is a number.
fn greatest(products: &Lanes) -> f32 {
    let mut lanes = *products;
    let mut width = GROUP;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = lanes[lane].max(lanes[lane + width]);
        }
    }
    lanes[0]
}

/// What those that are wanted come up to, by products of which they are some. `None` if too few are known.
fn reached(products: &mut [f32], wanted: Wanted) -> Option<f32> {
    let least = match wanted {
        Wanted::Greatest(count) => {
            let at = count.checked_sub(1).filter(|&at| at < products.len())?;
            *products.select_nth_unstable_by(at, |a, b| b.total_cmp(a)).1
        }
        Wanted::Near(distance) => {
            let greatest = products.iter().copied().max_by(f32::total_cmp)?;
            // A little further, for whoever rounds otherwise.
            greatest - distance - 4.0 * f32::EPSILON * (greatest.abs() + distance)
        }
    };
    Some(least).filter(|least| least.is_finite())
}

/// Whether bounding products from half of the bytes is faster than from all, by how many groups were left for all rows
/// together after the scans before. It changes no result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Pays {
    /// The part of the groups that was left lately; more than 1 if several rows have many.
    surviving: f32,
    /// Searches that are still left out.
    resting: u32,
}

impl Pays {
    /// With more than so many it takes as long as reading all: half of the bytes are read, and then all of these groups'.
    const MOST: f32 = 0.6;
    /// What one search weighs against those before it.
    const WEIGHT: f32 = 0.25;
    /// Searches that are left out where they do not pay. One in so many costs little.
    const REST: u32 = 32;

    fn tries(&mut self) -> bool {
        let tries = self.resting == 0;
        self.resting = self.resting.saturating_sub(1);
        tries
    }

    fn observe(&mut self, surviving: f32) {
        self.surviving += (surviving - self.surviving) * Self::WEIGHT;
        if self.surviving > Self::MOST {
            // The next one is the first of others, and enough to leave them out again.
            *self = Self { surviving: 1.0 - (1.0 - Self::MOST) / (1.0 - Self::WEIGHT), resting: Self::REST };
        }
    }
}

#[cfg(test)]
mod tests;
