//! The likeliest outputs of a split matrix, without all of its products: an exact search.
//!
//! A code is `16 h + l − 128` with `h` and `l` of four bits each ([`crate::pack`]). With every `l` taken for 7.5 a product is off
//! by the low plane's part, which by Cauchy and Schwarz is at most `Σ over blocks |scale| × ‖l − 7.5‖ × ‖x‖`: the norms of `l`
//! are stored, those of `x` are computed once. So half of the bytes give each row of weights a product that it cannot exceed. What
//! cannot come up to the best rows that are known is left there; the others are looked at in the low plane, block by block until
//! they are out too, and the few that are not are multiplied as always. What is found, and every product of it, is therefore what
//! all products would give, to the bit.
//!
//! 1. *Scan*: for each group of 16 rows the products that its rows cannot exceed, and about the greatest that one has.
//! 2. *Threshold*: the groups that seem greatest are multiplied; as many rows as are wanted reach some product.
//! 3. *Refine*: every group that may have a row which comes up to that.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use super::activations::View;
use super::product::multiply_group;
use super::team::{Crew, Shared};
use super::{Activations, Form, Isa, Lanes};
use crate::pack::{BLOCK, GROUP, Norms, Packed, Quantized, Storage};
use crate::sampler::Candidates;

/// Which outputs are wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wanted {
    /// So many of the greatest; at least 1.
    Greatest(usize),
    /// Those that are at most this below the greatest; not negative.
    Near(f32),
}

/// Tasks for each thread.
const TASKS_PER_THREAD: usize = 6;

/// Groups that one task refines.
const REFINED: usize = 16;

/// Products beyond this are not bounded, but computed: far from where sums of them would overflow.
const LARGEST: f32 = 1e30;

/// What products near the smallest numbers may be off by.
const SMALLEST: f32 = 1e-30;

/// What a search works in; kept for its memory.
#[derive(Default)]
pub(crate) struct Search {
    factors: Row,
    found: Found,
    pays: Pays,
}

/// What is known of the groups, and what is found.
#[derive(Default)]
struct Found {
    /// `[group]`
    scanned: Vec<Scanned>,
    /// What no row's product exceeds: `[group]`.
    uppers: Vec<Lanes>,
    /// Groups that are looked at.
    groups: Vec<u32>,
    /// Their products; −∞ for those that turned out not to matter.
    products: Vec<Lanes>,
    ids: Vec<u32>,
    logits: Vec<f32>,
}

/// A row of activations, as the planes meet it: one of each for every block.
#[derive(Default)]
struct Row {
    blocks: Vec<Factors>,
    /// Blocks, those first that may matter most.
    order: Vec<u32>,
}

/// What a block's sums over codes are multiplied with, before the scale of the weights.
#[derive(Clone, Copy, Default)]
struct Factors {
    /// With `Σ h x`.
    high: f32,
    /// Added to that: what stands for zero.
    base: f32,
    /// With a stored norm.
    norm: f32,
    /// Added to that: what rounding may be off by.
    slack: f32,
    /// With `Σ l x`.
    low: f32,
    /// Added to that: what was taken for `l`.
    middle: f32,
}

impl Row {
    /// Of one row.
    ///
    /// Rounding, with `u` = 2⁻²⁴ and `M` the sum over blocks of `|scale| × x's scale × 361 ‖x‖₁`, which is more than the terms of
    /// any of the sums here come to (`|16 h x| + |120.5 Σ x|`; a code is at most 128, a norm at most 43): a product as kernels
    /// compute it, the one from the high plane and the bound each are off by at most `(blocks + 6) u M`, a refined one by `5 blocks
    /// u M` more. `slack` comes to `8 (blocks + 8) u M`.
    fn set(&mut self, x: View<'_>) {
        let blocks = x.columns / BLOCK;
        self.blocks.clear();
        let rounding = 8.0 * (blocks + 8) as f64 * 361.0 * f64::from(f32::EPSILON) / 2.0;
        for (codes, &scale) in x.codes.chunks_exact(BLOCK).zip(x.scales) {
            let (mut squares, mut sum, mut absolute) = (0, 0, 0);
            for &code in codes {
                let code = i32::from(code);
                (squares, sum, absolute) = (squares + code * code, sum + code, absolute + code.abs());
            }
            let scale = f64::from(scale);
            let up = 1.0 + 4.0 * f64::from(f32::EPSILON); // for rounding to f32
            self.blocks.push(Factors {
                high: (16.0 * scale) as f32,
                base: (-120.5 * scale * f64::from(sum)) as f32,
                norm: (scale * f64::from(squares).sqrt() / f64::from(Norms::PER_UNIT) * up) as f32,
                slack: (scale * f64::from(absolute) * rounding * up) as f32,
                low: scale as f32,
                middle: (-7.5 * scale * f64::from(sum)) as f32,
            });
        }
        self.order.clear();
        self.order.extend(0..blocks as u32);
        let norm = |&block: &u32| self.blocks[block as usize].norm;
        self.order.sort_unstable_by(|a, b| norm(b).total_cmp(&norm(a)));
    }
}

/// A split matrix and a row of activations that fits it.
#[derive(Clone, Copy)]
struct Planes<'a> {
    q: &'a Quantized,
    blocks: usize,
    codes: &'a [i8],
    row: &'a Row,
}

/// What the high plane says of a group.
#[derive(Clone, Copy, Default)]
struct Scanned {
    /// What no product of the group exceeds; infinite where something is no number.
    greatest: f32,
    /// About its greatest product.
    nearly: f32,
}

impl Planes<'_> {
    /// `uppers` become what the rows' products do not exceed.
    fn scan(&self, isa: Isa, group: usize, uppers: &mut Lanes) -> Scanned {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => avx512::scan(self, group, uppers),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::scan(self, group, uppers),
            _ => portable::scan(self, group, uppers),
        }
    }

    /// Whether a row of the group may come up to `least`, from both planes.
    fn reaches(&self, isa: Isa, group: usize, uppers: Lanes, least: f32) -> bool {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => avx512::reaches(self, group, &uppers, least),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::reaches(self, group, &uppers, least),
            _ => portable::reaches(self, group, uppers, least),
        }
    }
}

/// Finds the outputs of one row of `x` that are wanted: all whose products come up to some least one, and at least those that
/// are wanted when each product is replaced by `lowered(output, product)`, which is never greater. `None` if finding
/// them would take as long as computing all, by what was seen lately, or if some are no numbers.
///
/// # Panics
/// If the matrix is not split or has other columns than `x`, if `x` has no such row, or has another form than [`Form::Codes`].
pub(crate) fn search<'s>(
    crew: &Crew,
    isa: Isa,
    weights: &Packed,
    (x, row): (&Activations, usize),
    wanted: Wanted,
    lowered: &dyn Fn(u32, f32) -> f32,
    room: &'s mut Search,
) -> Option<Candidates<'s>> {
    assert!(x.form() == Form::Codes && row < x.rows() && x.columns() == weights.columns, "a row of codes that fits");
    let Storage::Quantized(q @ Quantized { low: Some(_), .. }) = &weights.storage else {
        panic!("only what is split is searched")
    };
    if !room.pays.tries() {
        return None;
    }
    let Search { factors, found, pays } = room;
    let x = x.view().of_row(row);
    factors.set(x);
    let planes = Planes { q, blocks: weights.columns / BLOCK, codes: x.codes, row: factors };
    let searched = Searched { crew, isa, weights, x, planes };
    searched.scan(found);
    let least = searched.least(wanted, lowered, found)?;
    searched.refine(least, found);
    pays.observe(found.groups.len() as f32 / weights.groups() as f32);
    searched.collect(least, found)
}

/// What is searched, by whom.
struct Searched<'a> {
    crew: &'a Crew,
    isa: Isa,
    weights: &'a Packed,
    /// One row.
    x: View<'a>,
    planes: Planes<'a>,
}

impl Searched<'_> {
    /// Bounds the products of all groups.
    fn scan(&self, found: &mut Found) {
        let groups = self.weights.groups();
        found.scanned.resize(groups, Scanned::default());
        found.uppers.resize(groups, [0.0; GROUP]);
        let (to_scanned, to_uppers) = (Shared(found.scanned.as_mut_ptr()), Shared(found.uppers.as_mut_ptr()));
        let span = groups.div_ceil(self.crew.threads() * TASKS_PER_THREAD).max(1);
        self.crew.run(groups.div_ceil(span), &|task| {
            for group in task * span..groups.min((task + 1) * span) {
                // SAFETY: both have a place for each group, and only this task has this one.
                unsafe {
                    let uppers = &mut *to_uppers.get().add(group);
                    *to_scanned.get().add(group) = self.planes.scan(self.isa, group, uppers);
                }
            }
        });
    }

    /// What products must come up to: the wanted ones do that, as some do. `None` if too few are known.
    fn least(&self, wanted: Wanted, lowered: &dyn Fn(u32, f32) -> f32, found: &mut Found) -> Option<f32> {
        let Found { scanned, groups, products, logits, .. } = found;
        pick(groups, scanned, wanted);
        products.resize(scanned.len(), [0.0; GROUP]);
        let count = groups.len();
        self.crew.chunks(&mut products[..count], 1, |at, products| self.multiply(groups[at], &mut products[0]));
        logits.clear();
        for (&group, products) in groups.iter().zip(&*products) {
            let outputs = self.outputs(group, products).map(|(output, product)| lowered(output, product));
            logits.extend(outputs.filter(|product| product.is_finite()));
        }
        let least = match wanted {
            Wanted::Greatest(count) => {
                let at = count.checked_sub(1).filter(|&at| at < logits.len())?;
                *logits.select_nth_unstable_by(at, |a, b| b.total_cmp(a)).1
            }
            Wanted::Near(distance) => {
                let greatest = logits.iter().copied().max_by(f32::total_cmp)?;
                // A little further, for whoever rounds otherwise.
                greatest - distance - 4.0 * f32::EPSILON * (greatest.abs() + distance)
            }
        };
        Some(least).filter(|least| least.is_finite())
    }

    /// Multiplies the groups that may have a row which comes up to `least`.
    fn refine(&self, least: f32, found: &mut Found) {
        let Found { scanned, uppers, groups, products, .. } = found;
        groups.clear();
        let reaching = scanned.iter().zip(0..).filter(|(scanned, _)| scanned.greatest >= least);
        groups.extend(reaching.map(|(_, group)| group));
        let to_products = Shared(products.as_mut_ptr());
        self.crew.run(groups.len().div_ceil(REFINED), &|task| {
            for (at, &group) in groups.iter().enumerate().skip(task * REFINED).take(REFINED) {
                // SAFETY: there is a place for each group, and only this task has this one.
                let products = unsafe { &mut *to_products.get().add(at) };
                if self.planes.reaches(self.isa, group as usize, uppers[group as usize], least) {
                    self.multiply(group, products);
                } else {
                    *products = [f32::NEG_INFINITY; GROUP];
                }
            }
        });
    }

    /// The outputs that come up to `least`. `None` if one is infinite.
    fn collect<'s>(&self, least: f32, found: &'s mut Found) -> Option<Candidates<'s>> {
        let Found { groups, products, ids, logits, .. } = found;
        ids.clear();
        logits.clear();
        for (&group, products) in groups.iter().zip(&*products) {
            for (output, product) in self.outputs(group, products).filter(|&(_, product)| product >= least) {
                ids.push(output);
                logits.push(product);
            }
        }
        let finite = logits.iter().all(|product| product.is_finite());
        finite.then_some(Candidates { ids, logits, bound: least.next_down() })
    }

    fn multiply(&self, group: u32, products: &mut Lanes) {
        multiply_group(self.isa, self.weights, group as usize, self.x, |_, lanes| *products = *lanes);
    }

    /// The outputs of a group with their products. Rows that fill up the last group are none.
    fn outputs(&self, group: u32, products: &Lanes) -> impl Iterator<Item = (u32, f32)> {
        let first = group * GROUP as u32;
        (first..self.weights.rows as u32).zip(*products)
    }
}

/// Picks groups among whose rows those that are wanted probably are.
fn pick(picked: &mut Vec<u32>, scanned: &[Scanned], wanted: Wanted) {
    let count = if let Wanted::Greatest(count) = wanted { count } else { 1 };
    let groups = 0..scanned.len() as u32;
    let order = |&a: &u32, &b: &u32| scanned[b as usize].nearly.total_cmp(&scanned[a as usize].nearly);
    picked.clear();
    if count == 1 {
        return picked.extend(groups.min_by(order));
    }
    picked.extend(groups);
    if (1..picked.len()).contains(&count) {
        picked.select_nth_unstable_by(count - 1, order);
    }
    picked.truncate(count);
}

/// Whether searching is faster than computing all, by how many groups were left after the scans before. It changes no result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Pays {
    /// The part of the groups that was left lately.
    surviving: f32,
    /// Searches that are still left out.
    resting: u32,
}

impl Pays {
    /// With more than so many it takes as long as computing all: of what survives, most is out after some blocks of the low plane.
    const MOST: f32 = 0.9;
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
