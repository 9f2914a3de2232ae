//! Rows of activations, as floats and as 8-bit codes.

use super::Isa;
use super::team::{Crew, Shared};
use crate::pack::BLOCK;

/// The inputs of a matrix product, for up to `capacity` rows: quantized once, and shared by all matrices that they are
/// multiplied with.
///
/// Codes are those of ggml's `Q8_1`, block by block of 32: `value ≈ scale × code`, with `scale = max |value| / 127`.
pub(crate) struct Activations {
    columns: usize,
    rows: usize,
    values: Vec<f32>,
    codes: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    scaled_sums: Vec<f32>,
}

/// What kernels read. Dimensions: `columns` floats and codes a row, `columns / 32` scales.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// `[row][column]`
    pub(super) values: &'a [f32],
    /// `[row][column]`
    pub(super) codes: &'a [i8],
    /// `[row][block]`
    pub(super) scales: &'a [f32],
    /// Sums of codes: `[row][block][half]`
    pub(super) sums: &'a [i32],
    /// Scale times sum of codes: `[row][block]`
    pub(super) scaled_sums: &'a [f32],
}

/// The codes of one row.
pub(super) struct CodesMut<'a> {
    pub(super) codes: &'a mut [i8],
    pub(super) scales: &'a mut [f32],
    pub(super) sums: &'a mut [i32],
    pub(super) scaled_sums: &'a mut [f32],
}

impl Activations {
    /// Room for `capacity` rows of `columns`. Columns beyond a multiple of 32 have no codes: only dense matrices have such
    /// a count of columns.
    pub(crate) fn new(capacity: usize, columns: usize) -> Self {
        let blocks = columns / BLOCK;
        Self {
            columns,
            rows: 0,
            values: vec![0.0; capacity * columns],
            codes: vec![0; capacity * blocks * BLOCK],
            scales: vec![0.0; capacity * blocks],
            sums: vec![0; capacity * blocks * 2],
            scaled_sums: vec![0.0; capacity * blocks],
        }
    }

    /// Rows in use.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of a row.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Takes `rows` rows into use, for the caller to fill; [`Activations::quantize`] comes next.
    ///
    /// # Panics
    /// If `rows` is over the capacity.
    pub(crate) fn start(&mut self, rows: usize) -> &mut [f32] {
        let room = self.values.len();
        let values = rows.checked_mul(self.columns).and_then(|len| self.values.get_mut(..len));
        let values = values.unwrap_or_else(|| panic!("{rows} rows of {} do not fit {room} numbers", self.columns));
        self.rows = rows; // only now: all that is unsafe here relies on the rows in use lying in the arrays
        values
    }

    /// Fills `rows` rows by `fill(row, values)` and quantizes them.
    ///
    /// # Panics
    /// If `rows` is over the capacity.
    pub(crate) fn fill(&mut self, crew: &Crew, isa: Isa, rows: usize, fill: impl Fn(usize, &mut [f32]) + Sync) {
        let columns = self.columns;
        self.start(rows);
        let quantizer = Quantizer::new(self);
        let values = Shared(self.values.as_mut_ptr());
        for_rows(crew, rows, &|row| {
            // SAFETY: `start` has checked that the row lies in `values`, and no other task has the same row.
            let values = unsafe { std::slice::from_raw_parts_mut(values.get().add(row * columns), columns) };
            fill(row, values);
            quantizer.row(isa, row, values);
        });
    }

    /// Makes the codes of the rows in use.
    pub(crate) fn quantize(&mut self, crew: &Crew, isa: Isa) {
        let (columns, rows) = (self.columns, self.rows);
        let quantizer = Quantizer::new(self);
        let values = &self.values;
        for_rows(crew, rows, &|row| quantizer.row(isa, row, &values[row * columns..][..columns]));
    }

    pub(super) fn view(&self) -> View<'_> {
        View {
            rows: self.rows,
            columns: self.columns,
            values: &self.values,
            codes: &self.codes,
            scales: &self.scales,
            sums: &self.sums,
            scaled_sums: &self.scaled_sums,
        }
    }
}

/// Rows that the leader does alone, at most, where little is done to each: waking the others takes longer.
pub(crate) const ALONE: usize = 2;

fn for_rows(crew: &Crew, rows: usize, task: &(dyn Fn(usize) + Sync)) {
    if rows <= ALONE { (0..rows).for_each(task) } else { crew.run(rows, task) }
}

/// Writes the codes of rows, from several threads.
struct Quantizer {
    blocks: usize,
    codes: Shared<i8>,
    scales: Shared<f32>,
    sums: Shared<i32>,
    scaled_sums: Shared<f32>,
}

impl Quantizer {
    fn new(x: &mut Activations) -> Self {
        Self {
            blocks: x.columns / BLOCK,
            codes: Shared(x.codes.as_mut_ptr()),
            scales: Shared(x.scales.as_mut_ptr()),
            sums: Shared(x.sums.as_mut_ptr()),
            scaled_sums: Shared(x.scaled_sums.as_mut_ptr()),
        }
    }

    /// Both callers give every row that is in use once, while they hold the activations borrowed.
    fn row(&self, isa: Isa, row: usize, values: &[f32]) {
        /// # Safety
        /// The `len` elements from `row × len` must lie in the array, and nobody else may use them.
        unsafe fn part<'a, T>(array: &Shared<T>, row: usize, len: usize) -> &'a mut [T] {
            // SAFETY: passed on to the caller.
            unsafe { std::slice::from_raw_parts_mut(array.get().add(row * len), len) }
        }
        let blocks = self.blocks;
        // SAFETY: rows in use lie in the arrays, which were made for the capacity, and each row has one task.
        let mut codes = unsafe {
            CodesMut {
                codes: part(&self.codes, row, blocks * BLOCK),
                scales: part(&self.scales, row, blocks),
                sums: part(&self.sums, row, blocks * 2),
                scaled_sums: part(&self.scaled_sums, row, blocks),
            }
        };
        isa.quantize(&values[..blocks * BLOCK], &mut codes);
    }
}
