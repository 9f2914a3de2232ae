//! Products of codes for several rows: exact sums of integers by the matrix unit, scaled and summed as floats.
//!
//! A *unit* is what shares a scale of the weights: 32 columns, or 16. For each unit the matrix unit sums 16 rows times
//! 16 outputs in integers, which go through the nearest cache to be turned to floats, scaled, and added to sums that
//! stay in registers. Units form a pipeline of four: while the unit at its head is multiplied, the last is stored and
//! an earlier one scaled, as a tile can be stored some 50 cycles after it was computed. (A tile of 16 × 16 × 32 takes
//! 16 cycles to multiply, 16 to store and 12 to load; the three vector instructions a row and unit take 24, and get
//! along with the others only in part.)
//!
//! What a row gets is, to the bit, what dot products give it.

use std::arch::asm;

use super::super::activations::TILE_ROWS;
use super::Configured;
use crate::pack::GROUP;

/// Units that are in the matrix unit at once.
pub(super) const DEPTH: usize = 4;

/// Rows that are multiplied together where there are few.
pub(super) const FEW: usize = 8;

/// Sums of a unit on their way, `[place in the pipeline][row][output]`.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Dots(
    #[expect(dead_code, reason = "read and written by assembler")] [[[i32; GROUP]; TILE_ROWS]; DEPTH],
);

impl Dots {
    pub(super) const ZERO: Dots = Dots([[[0; GROUP]; TILE_ROWS]; DEPTH]);
}

/// Sums of one row block and one group of outputs: `[row][output]`.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Totals(pub(super) [[f32; GROUP]; TILE_ROWS]);

impl Totals {
    pub(super) const ZERO: Totals = Totals([[0.0; GROUP]; TILE_ROWS]);

    /// The rows of some row blocks.
    pub(super) fn rows(totals: &[Totals], rows: usize) -> impl Iterator<Item = &[f32; GROUP]> {
        totals.iter().flat_map(|totals| &totals.0).take(rows)
    }
}

/// The same for each row, of 8 or 16: `$row!(what is given, row, spare register)`.
#[rustfmt::skip]
macro_rules! rows {
    (8, $row:ident $(, $given:literal)*) => {
        concat!(
            $row!($($given,)* 0, 16), $row!($($given,)* 1, 17), $row!($($given,)* 2, 18), $row!($($given,)* 3, 19),
            $row!($($given,)* 4, 20), $row!($($given,)* 5, 21), $row!($($given,)* 6, 22), $row!($($given,)* 7, 23)
        )
    };
    (16, $row:ident $(, $given:literal)*) => {
        concat!(
            rows!(8, $row $(, $given)*),
            $row!($($given,)* 8, 16), $row!($($given,)* 9, 17), $row!($($given,)* 10, 18), $row!($($given,)* 11, 19),
            $row!($($given,)* 12, 20), $row!($($given,)* 13, 21), $row!($($given,)* 14, 22), $row!($($given,)* 15, 23)
        )
    };
}

/// The sums of a row, from where they are wanted, and back there.
#[rustfmt::skip]
macro_rules! take {
    ($row:literal, $spare:literal) => { concat!("vmovaps zmm", $row, ", zmmword ptr [{out} + ", $row, "*64]\n") };
}

#[rustfmt::skip]
macro_rules! put {
    ($row:literal, $spare:literal) => { concat!("vmovaps zmmword ptr [{out} + ", $row, "*64], zmm", $row, "\n") };
}

/// A row of the unit in some place: to floats, times the scale of its activations, which is that of a block of 32
/// columns, times that of its weights, to the sums.
#[rustfmt::skip]
macro_rules! scale {
    ($place:literal, $block:literal, $row:literal, $spare:literal) => {
        concat!(
            "vcvtdq2ps zmm", $spare, ", zmmword ptr [{dots} + ", $place, "*1024 + ", $row, "*64]\n",
            "vmulps zmm", $spare, ", zmm", $spare, ", dword ptr [{x_scales} + ", $block, "*64 + ", $row, "*4]{{1to16}}\n",
            "vfmadd231ps zmm", $row, ", zmm", $spare, ", zmm30\n"
        )
    };
}

macro_rules! store {
    ($place:literal) => {
        concat!("tilestored [{dots} + {line} + ", $place, "*1024], tmm", $place, "\n")
    };
}

/// Multiplies a unit: of a panel, or of 32 or 16 columns of bytes as they lie in memory; then what is read later is asked for.
#[rustfmt::skip]
macro_rules! multiply {
    (panel, $place:literal, $unit:literal) => {
        concat!(
            "tileloadd tmm5, [{x} + {x_row} + ", $unit, "*32]\n",
            "tileloadd tmm7, [{w} + {line} + ", $unit, "*512]\n",
            "tilezero tmm", $place, "\n",
            "tdpbssd tmm", $place, ", tmm5, tmm7\n"
        )
    };
    (four, $place:literal, $unit:literal) => {
        concat!(
            multiply!(panel, $place, $unit),
            "prefetcht1 [{ahead} + ", $unit, "*256]\n", "prefetcht1 [{ahead} + 64 + ", $unit, "*256]\n",
            "prefetcht1 [{ahead} + 128 + ", $unit, "*256]\n", "prefetcht1 [{ahead} + 192 + ", $unit, "*256]\n"
        )
    };
    (five, $place:literal, $unit:literal) => {
        concat!(
            multiply!(panel, $place, $unit),
            "prefetcht1 [{ahead} + ", $unit, "*320]\n", "prefetcht1 [{ahead} + 64 + ", $unit, "*320]\n",
            "prefetcht1 [{ahead} + 128 + ", $unit, "*320]\n", "prefetcht1 [{ahead} + 192 + ", $unit, "*320]\n",
            "prefetcht1 [{ahead} + 256 + ", $unit, "*320]\n"
        )
    };
    (wide, $place:literal, $unit:literal) => {
        concat!(
            multiply!(panel, $place, $unit),
            "prefetcht1 [{ahead} + ", $unit, "*512]\n", "prefetcht1 [{ahead} + 64 + ", $unit, "*512]\n",
            "prefetcht1 [{ahead} + 128 + ", $unit, "*512]\n", "prefetcht1 [{ahead} + 192 + ", $unit, "*512]\n",
            "prefetcht1 [{ahead} + 256 + ", $unit, "*512]\n", "prefetcht1 [{ahead} + 320 + ", $unit, "*512]\n",
            "prefetcht1 [{ahead} + 384 + ", $unit, "*512]\n", "prefetcht1 [{ahead} + 448 + ", $unit, "*512]\n"
        )
    };
    (narrow, $place:literal, $unit:literal) => {
        concat!(
            "tileloadd tmm5, [{x} + {x_row} + ", $unit, "*16]\n",
            "tileloadd tmm7, [{w} + {line} + ", $unit, "*256]\n",
            "tilezero tmm", $place, "\n",
            "tdpbssd tmm", $place, ", tmm5, tmm7\n",
            "prefetcht1 [{ahead} + ", $unit, "*256]\n", "prefetcht1 [{ahead} + 64 + ", $unit, "*256]\n",
            "prefetcht1 [{ahead} + 128 + ", $unit, "*256]\n", "prefetcht1 [{ahead} + 192 + ", $unit, "*256]\n"
        )
    };
}

/// The scales of the weights of a unit: floats of a panel, halves of bytes.
#[rustfmt::skip]
macro_rules! weight_scale {
    (wide, $place:literal) => { concat!("vcvtph2ps zmm30, ymmword ptr [{w_scales} + ", $place, "*32]\n") };
    (narrow, $place:literal) => { weight_scale!(wide, $place) };
    ($kind:tt, $place:literal) => { concat!("vmovaps zmm30, zmmword ptr [{w_scales} + ", $place, "*64]\n") };
}

/// Scales the unit in some place: with units of 16 columns two have one scale of the activations.
#[rustfmt::skip]
macro_rules! scale_unit {
    (narrow, $rows:tt, 1) => { concat!(weight_scale!(narrow, 1), rows!($rows, scale, 1, 0)) };
    (narrow, $rows:tt, 2) => { concat!(weight_scale!(narrow, 2), rows!($rows, scale, 2, 1)) };
    (narrow, $rows:tt, 3) => { concat!(weight_scale!(narrow, 3), rows!($rows, scale, 3, 1)) };
    ($kind:tt, $rows:tt, $place:literal) => {
        concat!(weight_scale!($kind, $place), rows!($rows, scale, $place, $place))
    };
}

/// What is left of the units when fours are done: one, or two of one block.
macro_rules! left {
    (narrow, $rows:tt) => {
        concat!(
            multiply!(narrow, 0, 0),
            multiply!(narrow, 1, 1),
            store!(0),
            store!(1),
            scale_unit!(narrow, $rows, 0),
            scale_unit!(narrow, $rows, 1)
        )
    };
    ($kind:tt, $rows:tt) => {
        concat!(multiply!($kind, 0, 0), store!(0), scale_unit!($kind, $rows, 0))
    };
}

/// How far four units go.
#[rustfmt::skip]
macro_rules! next_four {
    (four) => { "add {x}, 128\nadd {w}, 2048\nadd {ahead}, 1024\nadd {x_scales}, 256\nadd {w_scales}, 256\n" };
    (five) => { "add {x}, 128\nadd {w}, 2048\nadd {ahead}, 1280\nadd {x_scales}, 256\nadd {w_scales}, 256\n" };
    (wide) => { "add {x}, 128\nadd {w}, 2048\nadd {ahead}, 2048\nadd {x_scales}, 256\nadd {w_scales}, 128\n" };
    (narrow) => { "add {x}, 64\nadd {w}, 1024\nadd {ahead}, 1024\nadd {x_scales}, 128\nadd {w_scales}, 128\n" };
}

/// How far what is left goes.
#[rustfmt::skip]
macro_rules! next_left {
    (four) => { "add {x}, 32\nadd {w}, 512\nadd {ahead}, 256\nadd {x_scales}, 64\nadd {w_scales}, 64\n" };
    (five) => { "add {x}, 32\nadd {w}, 512\nadd {ahead}, 320\nadd {x_scales}, 64\nadd {w_scales}, 64\n" };
    (wide) => { "add {x}, 32\nadd {w}, 512\nadd {ahead}, 512\nadd {x_scales}, 64\nadd {w_scales}, 32\n" };
    (narrow) => { "add {x}, 32\nadd {w}, 512\nadd {ahead}, 512\nadd {x_scales}, 64\nadd {w_scales}, 64\n" };
}

/// Units that are left together.
macro_rules! left_units {
    (narrow) => {
        2
    };
    ($kind:tt) => {
        1
    };
}

macro_rules! product {
    ($kind:tt, $rows:tt, $at:ident) => {
        asm!(
            rows!($rows, take),
            "test {fours}, {fours}",
            "jz 4f",
            multiply!($kind, 0, 0), multiply!($kind, 1, 1), multiply!($kind, 2, 2), multiply!($kind, 3, 3),
            "dec {fours}",
            "jz 3f",
            "2:",
            store!(0), multiply!($kind, 0, 4),
            store!(1), multiply!($kind, 1, 5), scale_unit!($kind, $rows, 0),
            store!(2), multiply!($kind, 2, 6), scale_unit!($kind, $rows, 1),
            store!(3), multiply!($kind, 3, 7), scale_unit!($kind, $rows, 2),
            scale_unit!($kind, $rows, 3),
            next_four!($kind),
            "dec {fours}",
            "jnz 2b",
            "3:",
            store!(0),
            store!(1), scale_unit!($kind, $rows, 0),
            store!(2), scale_unit!($kind, $rows, 1),
            store!(3), scale_unit!($kind, $rows, 2),
            scale_unit!($kind, $rows, 3),
            next_four!($kind),
            "4:",
            "test {left}, {left}",
            "jz 6f",
            "5:",
            left!($kind, $rows),
            next_left!($kind),
            "dec {left}",
            "jnz 5b",
            "6:",
            rows!($rows, put),
            x = inout(reg) $at.x => _,
            w = inout(reg) $at.w => _,
            ahead = inout(reg) $at.ahead => _,
            w_scales = inout(reg) $at.w_scales => _,
            x_scales = inout(reg) $at.x_scales => _,
            fours = inout(reg) $at.units / DEPTH => _,
            left = inout(reg) $at.units % DEPTH / left_units!($kind) => _,
            x_row = in(reg) $at.x_row,
            dots = in(reg) $at.dots,
            out = in(reg) $at.out,
            line = in(reg) 64usize,
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _,
            out("zmm6") _, out("zmm7") _, out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
            out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _, out("zmm16") _, out("zmm17") _,
            out("zmm18") _, out("zmm19") _, out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _,
            out("zmm30") _,
            options(nostack),
        )
    };
}

/// How weights lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// Unpacked from nibbles: units of 32 columns, scales as f32.
    Four,
    /// Unpacked from fives: likewise.
    Five,
    /// As they are packed: units of 32 columns, scales as halves.
    Wide,
    /// As they are packed: units of 16 columns, scales as halves.
    Narrow,
}

/// Where a product lies.
#[derive(Clone, Copy)]
pub(super) struct At {
    /// Codes of the first row of a block of 8 or 16.
    pub(super) x: *const i8,
    /// Bytes from a row to the next.
    pub(super) x_row: usize,
    /// The scales of each block of 32 columns: `[block][16 rows]`.
    pub(super) x_scales: *const f32,
    /// Weights as signed bytes: lines of 64 bytes, 8 or 4 for a unit.
    pub(super) w: *const u8,
    /// What is read some time later, as much as the units took when they were packed; it need not be there.
    pub(super) ahead: *const u8,
    /// Their scales: `[unit][16]`, aligned to as many bytes.
    pub(super) w_scales: *const u8,
    /// Units; an even number of those of 16 columns.
    pub(super) units: usize,
    /// Room for what is on its way.
    pub(super) dots: *mut Dots,
    /// Where the sums go.
    pub(super) out: *mut Totals,
}

/// Adds `out[row][output] += Σ over units (exact sum × x_scale[row][block] × w_scale[output])`, rounded after each
/// step, in order.
///
/// # Safety
/// Everything lies where `at` says, for as many rows as are set up, 8 if `rows` is at most that and otherwise 16;
/// nobody else uses `dots` and `out`.
pub(super) unsafe fn multiply(_: &Configured, lie: Lie, rows: usize, at: At) {
    debug_assert!(lie != Lie::Narrow || at.units.is_multiple_of(2));
    // SAFETY: tiles are set up for units of these columns. Codes, weights and scales are read for as many units as
    // there are; what is asked for beyond them is only asked for. 4 tiles of sums are written to `dots`, and 8 or 16
    // lines of `out`.
    unsafe {
        match (lie, rows <= FEW) {
            (Lie::Four, true) => product!(four, 8, at),
            (Lie::Four, false) => product!(four, 16, at),
            (Lie::Five, true) => product!(five, 8, at),
            (Lie::Five, false) => product!(five, 16, at),
            (Lie::Wide, true) => product!(wide, 8, at),
            (Lie::Wide, false) => product!(wide, 16, at),
            (Lie::Narrow, true) => product!(narrow, 8, at),
            (Lie::Narrow, false) => product!(narrow, 16, at),
        }
    }
}
