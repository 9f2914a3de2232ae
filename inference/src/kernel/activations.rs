//! Rows of activations: as floats, and in the form that they are multiplied in.

mod writer;

use std::cell::RefCell;

use super::Isa;
use super::memory::{Arena, Slab};
use super::team::{Crew, Shared};
use crate::pack::BLOCK;
pub(super) use writer::Writer;

/// What activations are multiplied as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// 8-bit codes, one scale for 32 of them: for few rows, where reading the weights is what takes time.
    Codes,
    /// Codes, and codes of what they leave of a number: as exact as 16 bits, with twice the products. For the inputs of the
    /// small matrices of queries, keys and values, whose errors stay in the cache, and where else exactness costs little.
    FineCodes,
    /// Tiles of bf16, for the many rows of a prompt. Only where [`Isa::has_tiles`].
    Tiles,
}

impl Form {
    /// Rows of codes for a row.
    pub(super) const fn planes(self) -> usize {
        match self {
            Form::Codes => 1,
            Form::FineCodes => PLANES,
            Form::Tiles => 0,
        }
    }
}

/// Rows of codes for a row, at most.
const PLANES: usize = 2;

/// Rows of a tile.
pub(crate) const TILE_ROWS: usize = 16;
/// Columns of a tile.
pub(crate) const TILE_COLUMNS: usize = 32;

/// Sixteen rows of 32 numbers (or, of weights, sixteen pairs of columns for sixteen outputs) as bf16.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Tile(pub(crate) [[u16; TILE_COLUMNS]; TILE_ROWS]);

impl Tile {
    #[cfg(target_arch = "x86_64")]
    pub(crate) const ZERO: Tile = Tile([[0; TILE_COLUMNS]; TILE_ROWS]);
}

/// The inputs of a matrix product, for up to `capacity` rows: quantized once, and shared by all matrices that they are
/// multiplied with.
///
/// Codes are those of ggml's `Q8_1`, block by block of 32: `value ≈ scale × code`, with `scale = max |value| / 127`.
pub(crate) struct Activations {
    columns: usize,
    rows: usize,
    values: Vec<f32>,
    /// Begins at a cache line: the matrix unit is slower with rows that cross one.
    codes: Slab<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    scaled_sums: Vec<f32>,
    form: Form,
    /// `[row block][column block]`, columns filled up with zeros.
    tiles: Slab<Tile>,
    /// Scales and scaled sums once more, as the matrix unit wants them: `[row block][block]`, where a plane is a row.
    turned: [Vec<Scales>; 2],
}

/// Rows from which on the matrix unit may take them.
const LEAST_TURNED: usize = 5;

/// The numbers of 16 rows for one block of columns.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Scales(pub(super) [f32; TILE_ROWS]);

/// What kernels read. Dimensions: `columns` floats and codes a row, `columns / 32` scales.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) rows: usize,
    /// Rows of codes for each row; what is multiplied with them is summed.
    pub(super) planes: usize,
    pub(super) columns: usize,
    /// `[row][column]`
    pub(super) values: &'a [f32],
    /// `[row][plane][column]`
    pub(super) codes: &'a [i8],
    /// `[row][plane][block]`
    pub(super) scales: &'a [f32],
    /// Sums of codes: `[row][plane][block][half]`
    pub(super) sums: &'a [i32],
    /// Scale times sum of codes: `[row][plane][block]`
    pub(super) scaled_sums: &'a [f32],
    /// Scales and scaled sums: `[row block][block]`, where a plane is a row. Only where there is a matrix unit, and for
    /// rows that it takes.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only the matrix unit wants it"))]
    pub(super) turned: [&'a [Scales]; 2],
}

impl View<'_> {
    /// One of the rows, in all its planes.
    pub(super) fn of_row(self, row: usize) -> Self {
        debug_assert!(row < self.rows);
        let blocks = self.columns / BLOCK;
        // Each of a row's planes lies behind the one before.
        let (first, planes) = (row * self.planes * blocks, self.planes * blocks);
        Self {
            rows: 1,
            values: &self.values[row * self.columns..],
            codes: &self.codes[first * BLOCK..][..planes * BLOCK],
            scales: &self.scales[first..][..planes],
            sums: &self.sums[first * 2..][..planes * 2],
            scaled_sums: &self.scaled_sums[first..][..planes],
            turned: [&[]; 2], // the matrix unit takes more rows
            ..self
        }
    }
}

/// The codes of one row.
pub(super) struct CodesMut<'a> {
    pub(super) codes: &'a mut [i8],
    pub(super) scales: &'a mut [f32],
    pub(super) sums: &'a mut [i32],
    pub(super) scaled_sums: &'a mut [f32],
}

impl Activations {
    /// As [`Activations::new_in`], in memory of its own.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn new(isa: Isa, capacity: usize, columns: usize) -> Self {
        Self::new_in(&Arena::new(0), isa, capacity, columns)
    }

    /// Room for `capacity` rows of `columns`, with tiles if `isa` has them. Columns beyond a multiple of 32 have no codes:
    /// only dense matrices have such a count of columns.
    pub(crate) fn new_in(arena: &Arena, isa: Isa, capacity: usize, columns: usize) -> Self {
        let blocks = columns / BLOCK;
        let coded = (PLANES * capacity).next_multiple_of(TILE_ROWS); // the matrix unit reads whole row blocks
        let row_blocks = if isa.has_tiles() { capacity.div_ceil(TILE_ROWS) } else { 0 };
        Self {
            columns,
            rows: 0,
            values: vec![0.0; capacity * columns],
            codes: arena.zeros(coded * blocks * BLOCK),
            scales: vec![0.0; coded * blocks],
            sums: vec![0; coded * blocks * 2],
            scaled_sums: vec![0.0; coded * blocks],
            form: Form::Codes,
            tiles: arena.zeros(row_blocks * columns.div_ceil(TILE_COLUMNS)),
            turned: [(); 2]
                .map(|()| vec![Scales([0.0; TILE_ROWS]); if row_blocks > 0 { coded / TILE_ROWS * blocks } else { 0 }]),
        }
    }

    /// Rows in use.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Rows that there is room for.
    pub(super) fn capacity(&self) -> usize {
        self.values.len() / self.columns.max(1)
    }

    /// Columns of a row.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// What the rows in use are multiplied as.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Takes `rows` rows into use, for the caller to fill; [`Activations::finish`] comes next.
    ///
    /// # Panics
    /// If `rows` is over the capacity, or there is no room for tiles.
    pub(crate) fn start(&mut self, form: Form, rows: usize) -> &mut [f32] {
        let room = self.values.len();
        let values = rows.checked_mul(self.columns).and_then(|len| self.values.get_mut(..len));
        let values = values.unwrap_or_else(|| panic!("{rows} rows of {} do not fit {room} numbers", self.columns));
        assert!(form != Form::Tiles || !self.tiles.is_empty() || self.columns == 0, "no room for tiles");
        (self.rows, self.form) = (rows, form); // only now: all that is unsafe here relies on the rows in use lying in the arrays
        values
    }

    /// Fills `rows` rows by `fill(row, values)` and brings them into their form.
    ///
    /// # Panics
    /// As [`Activations::start`].
    pub(crate) fn fill(
        &mut self,
        crew: &Crew,
        isa: Isa,
        form: Form,
        rows: usize,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let columns = self.columns;
        self.start(form, rows);
        let writer = Writer::new(self, isa);
        if form == Form::Tiles {
            // Nobody reads the numbers themselves: they do not leave the nearest cache.
            return for_rows(crew, rows, &|row| {
                ROW.with_borrow_mut(|room| {
                    room.resize(room.len().max(columns), 0.0);
                    fill(row, &mut room[..columns]);
                    writer.row(row, &room[..columns]);
                });
            });
        }
        let values = Shared(self.values.as_mut_ptr());
        for_rows(crew, rows, &|row| {
            // SAFETY: `start` has checked that the row lies in `values`, and no other task has the same row.
            let values = unsafe { std::slice::from_raw_parts_mut(values.get().add(row * columns), columns) };
            fill(row, values);
            writer.row(row, values);
        });
        self.turn();
    }

    /// Fills `rows` rows with the norms of those of `x`, by [`Isa::rms_norm`], and brings them into their form.
    ///
    /// # Panics
    /// As [`Activations::start`], and if `x` has fewer rows or `weight` not as many numbers as a row.
    #[expect(clippy::too_many_arguments, reason = "each is another thing, and there is one caller")]
    pub(crate) fn norm(
        &mut self,
        crew: &Crew,
        isa: Isa,
        form: Form,
        rows: usize,
        x: &[f32],
        weight: &[f32],
        epsilon: f32,
    ) {
        let columns = self.columns;
        let row_of = |row: usize| &x[row * columns..(row + 1) * columns];
        #[cfg(target_arch = "x86_64")]
        if form == Form::Tiles && isa == Isa::Amx {
            self.start(form, rows);
            let writer = Writer::new(self, isa);
            return for_rows(crew, rows, &|row| {
                // SAFETY: `start` has found tiles for the row, whose lines have one task; the processor has what
                // `Isa::Amx` asks for.
                unsafe { super::amx::norm_lines(row_of(row), weight, epsilon, writer.line(row, 0)) };
            });
        }
        self.fill(crew, isa, form, rows, |row, out| isa.rms_norm(row_of(row), weight, epsilon, out));
    }

    /// Brings the rows in use into their form.
    pub(crate) fn finish(&mut self, crew: &Crew, isa: Isa) {
        let (columns, rows) = (self.columns, self.rows);
        let writer = Writer::new(self, isa);
        let values = &self.values;
        for_rows(crew, rows, &|row| writer.row(row, &values[row * columns..][..columns]));
        self.turn();
    }

    /// Turns scales and sums by block and row, when all codes are there.
    pub(super) fn turn(&mut self) {
        let (blocks, rows) = (self.columns / BLOCK, self.rows * self.form.planes());
        if blocks == 0 || rows < LEAST_TURNED {
            return;
        }
        for (turned, values) in self.turned.iter_mut().zip([&self.scales, &self.scaled_sums]) {
            let row_blocks = turned.chunks_exact_mut(blocks).zip(values.chunks(TILE_ROWS * blocks));
            for (turned, values) in row_blocks.take(rows.div_ceil(TILE_ROWS)) {
                for (row, values) in values.chunks_exact(blocks).enumerate() {
                    turned.iter_mut().zip(values).for_each(|(turned, value)| turned.0[row] = *value);
                }
            }
        }
    }

    pub(super) fn view(&self) -> View<'_> {
        View {
            rows: self.rows,
            planes: self.form.planes(),
            columns: self.columns,
            values: &self.values,
            codes: &self.codes,
            scales: &self.scales,
            sums: &self.sums,
            scaled_sums: &self.scaled_sums,
            turned: self.turned.each_ref().map(|turned| &turned[..]),
        }
    }

    /// The row blocks in use, and how many tiles each has.
    #[cfg(any(test, target_arch = "x86_64"))]
    pub(super) fn tiles(&self) -> (&[Tile], usize) {
        let blocks = self.columns.div_ceil(TILE_COLUMNS);
        (&self.tiles[..self.rows.div_ceil(TILE_ROWS) * blocks], blocks)
    }

    /// What brings rows in use into their form, for several tasks.
    pub(super) fn writer(&mut self, isa: Isa) -> Writer {
        Writer::new(self, isa)
    }

    /// As [`Activations::tiles`], to be written by several tasks.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn tiles_mut(&mut self) -> (Shared<Tile>, usize) {
        (Shared(self.tiles.as_mut_ptr()), self.columns.div_ceil(TILE_COLUMNS))
    }
}

thread_local! {
    /// A row before it is rounded; kept for its memory.
    static ROW: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Rows that the leader does alone, at most, where little is done to each: waking the others takes longer.
pub(crate) const ALONE: usize = 2;

fn for_rows(crew: &Crew, rows: usize, task: &(dyn Fn(usize) + Sync)) {
    if rows <= ALONE { (0..rows).for_each(task) } else { crew.run(rows, task) }
}
