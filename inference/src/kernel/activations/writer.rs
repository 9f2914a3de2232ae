//! Brings rows of activations into their form, on several threads.

use std::ops::Range;

use super::{Activations, CodesMut, Form, TILE_COLUMNS, TILE_ROWS, Tile};
use crate::kernel::Isa;
use crate::kernel::team::Shared;
use crate::pack::BLOCK;

/// Brings rows into their form, on several threads.
pub(in crate::kernel) struct Writer {
    isa: Isa,
    columns: usize,
    values: Shared<f32>,
    form: Form,
    blocks: usize,
    codes: Shared<i8>,
    scales: Shared<f32>,
    sums: Shared<i32>,
    scaled_sums: Shared<f32>,
    tiles: Shared<Tile>,
}

impl Writer {
    pub(super) fn new(x: &mut Activations, isa: Isa) -> Self {
        Self {
            isa,
            columns: x.columns,
            values: Shared(x.values.as_mut_ptr()),
            form: x.form,
            blocks: x.columns / BLOCK,
            codes: Shared(x.codes.as_mut_ptr()),
            scales: Shared(x.scales.as_mut_ptr()),
            sums: Shared(x.sums.as_mut_ptr()),
            scaled_sums: Shared(x.scaled_sums.as_mut_ptr()),
            tiles: Shared(x.tiles.as_mut_ptr()),
        }
    }

    /// Brings a row into its form. Both callers give every row that is in use once, while they hold the activations
    /// borrowed.
    pub(super) fn row(&self, row: usize, values: &[f32]) {
        match self.form {
            Form::Codes | Form::FineCodes => {
                // SAFETY: the row is in use, so `start` has found its place, and has one task.
                unsafe { self.codes(row, 0, &values[..self.blocks * BLOCK]) }
            }
            // SAFETY: as above.
            Form::Tiles => unsafe { self.lines(row, 0, values) },
        }
    }

    /// Sets a part of a row, in its form.
    ///
    /// # Safety
    /// The row is in use; the columns are there, begin at a block and are as many as `values`; and nobody else uses them.
    pub(in crate::kernel) unsafe fn columns(&self, row: usize, columns: Range<usize>, values: &[f32]) {
        debug_assert!(columns.start.is_multiple_of(BLOCK) && columns.len() == values.len());
        // SAFETY: passed on to the caller.
        unsafe {
            match self.form {
                Form::Codes | Form::FineCodes => {
                    self.values(row, columns.clone(), values);
                    self.codes(row, columns.start / BLOCK, &values[..values.len() / BLOCK * BLOCK]);
                }
                Form::Tiles => self.lines(row, columns.start / TILE_COLUMNS, values),
            }
        }
    }

    /// Sets a part of a row without bringing it into its form.
    ///
    /// # Safety
    /// As [`Writer::columns`], wherever they begin.
    pub(in crate::kernel) unsafe fn values(&self, row: usize, columns: Range<usize>, values: &[f32]) {
        debug_assert_eq!(columns.len(), values.len());
        // SAFETY: passed on to the caller.
        unsafe {
            let to = self.values.get().add(row * self.columns + columns.start);
            std::ptr::copy_nonoverlapping(values.as_ptr(), to, values.len());
        }
    }

    /// # Safety
    /// The row is in use and has blocks for `values` from `block`; nobody else uses them.
    unsafe fn lines(&self, row: usize, block: usize, values: &[f32]) {
        // SAFETY: passed on to the caller; the lines of a tile belong to different rows.
        unsafe { self.isa.round(values, self.line(row, block)) };
    }

    /// A row's line of one of its tiles.
    ///
    /// # Safety
    /// The row is in use, and has this block.
    pub(super) unsafe fn line(&self, row: usize, block: usize) -> *mut u16 {
        let tile = row / TILE_ROWS * self.columns.div_ceil(TILE_COLUMNS) + block;
        // SAFETY: passed on to the caller.
        unsafe { (&raw mut (*self.tiles.get().add(tile)).0[row % TILE_ROWS]).cast() }
    }

    /// # Safety
    /// The row is in use and has whole blocks for `values` from `block`; nobody else uses them.
    unsafe fn codes(&self, row: usize, block: usize, values: &[f32]) {
        /// # Safety
        /// The `len` elements from `at` must lie in the array, and nobody else may use them.
        unsafe fn part<'a, T>(array: &Shared<T>, at: usize, len: usize) -> &'a mut [T] {
            // SAFETY: passed on to the caller.
            unsafe { std::slice::from_raw_parts_mut(array.get().add(at), len) }
        }
        let (planes, blocks) = (self.form.planes(), values.len() / BLOCK);
        let plane = |plane: usize| {
            let at = (row * planes + plane) * self.blocks + block;
            // SAFETY: rows in use lie in the arrays, which were made for all planes of the capacity; the rest is passed on to
            // the caller.
            unsafe {
                CodesMut {
                    codes: part(&self.codes, at * BLOCK, blocks * BLOCK),
                    scales: part(&self.scales, at, blocks),
                    sums: part(&self.sums, at * 2, blocks * 2),
                    scaled_sums: part(&self.scaled_sums, at, blocks),
                }
            }
        };
        let mut codes = plane(0);
        self.isa.quantize(values, &mut codes);
        if self.form == Form::FineCodes {
            self.isa.quantize_rest(values, &codes, &mut plane(1));
        }
    }
}
