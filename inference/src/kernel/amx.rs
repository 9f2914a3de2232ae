//! Kernels for processors with AMX: products of bf16 tiles, summed in f32.
//!
//! A tile register holds 16 rows of 64 bytes. `tdpbf16ps` multiplies 16 × 32 activations with 32 × 16 weights, the latter
//! as 16 pairs of columns for each of 16 outputs, and adds to 16 × 16 sums (Intel's instruction set extensions reference,
//! chapter "AMX"). Each sum adds its products in the order of the columns, whatever stands in other rows.
//!
//! Tiles are reached by `asm!`, as their intrinsics are not stable. A processor may hold them back until the process asks
//! ([`permitted`]), and they must be configured on the thread that uses them ([`Configured`]).

mod attention;
mod batch;
mod codes;
mod finish;
mod scan;
mod weights;

pub(super) use attention::{Bench, CodeBench, Share, attend, attend_codes, attend_heads};
pub(super) use codes::{Batch, takes_codes};
pub(super) use finish::{Place, add, gate, norm_lines, round_lines, store};
pub(super) use scan::{Rows, bounds, scan};
pub(super) use weights::unpack;

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::activations::{TILE_ROWS, Tile};

/// Sums of two row blocks and two groups of outputs: `[row][output]`.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Sums(pub(crate) [[f32; 32]; 32]);

impl Sums {
    pub(crate) const ZERO: Sums = Sums([[0.0; 32]; 32]);
}

/// Adds products to two times two tiles of sums, one block of columns after the other. `x` is loaded by `$load`: with
/// `tileloaddt1`, it passes through the nearest cache without driving `w` out of it.
macro_rules! add_products {
    ($load:literal, $x:ident, $w:ident, $blocks:ident) => {
        asm!(
            "2:",
            concat!($load, " tmm4, [{x0} + {x_row}]"),
            concat!($load, " tmm5, [{x1} + {x_row}]"),
            "tileloadd tmm6, [{w0} + {w_row}]",
            "tileloadd tmm7, [{w1} + {w_row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {x0}, {x_step}",
            "add {x1}, {x_step}",
            "add {w0}, {w_step}",
            "add {w1}, {w_step}",
            "dec {left}",
            "jnz 2b",
            x0 = inout(reg) $x.starts[0] => _,
            x1 = inout(reg) $x.starts[1] => _,
            w0 = inout(reg) $w.starts[0] => _,
            w1 = inout(reg) $w.starts[1] => _,
            x_row = in(reg) $x.row,
            w_row = in(reg) $w.row,
            x_step = in(reg) $x.step,
            w_step = in(reg) $w.step,
            left = inout(reg) $blocks => _,
            options(nostack),
        )
    };
}

/// Whether the processor has AMX for bf16 and bytes, and AVX-512 for bf16 beside it, and the system lets this process use
/// them.
pub(super) fn permitted() -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| {
        const BF16: u32 = 1 << 22;
        const TILE: u32 = 1 << 24;
        const INT8: u32 = 1 << 25;
        let has_all = |bits: u32| bits & (BF16 | TILE | INT8) == BF16 | TILE | INT8;
        has_all(__cpuid_count(7, 0).edx) && is_x86_feature_detected!("avx512bf16") && ask()
    })
}

/// Asks the system for the tile registers of this process.
#[cfg(target_os = "linux")]
fn ask() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XFEATURE_XTILEDATA: i64 = 18;
    let mut outcome = ARCH_PRCTL;
    // SAFETY: a system call that takes two numbers and touches no memory of this process; it destroys `rcx` and `r11`.
    unsafe {
        asm!(
            "syscall",
            inout("rax") outcome,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    outcome == 0
}

/// Other systems are not known to give tiles to a process.
#[cfg(not(target_os = "linux"))]
fn ask() -> bool {
    false
}

/// Tile registers of this thread that are set up: eight of 16 rows of 64 bytes. They are given back at the end, since
/// switching between threads takes longer while they are in use. It stays on its thread.
pub(super) struct Configured(PhantomData<*const ()>);

/// What tiles are set up for, beside full ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    /// Rows of activations, up to 16.
    rows: usize,
    /// Columns that share a scale of the weights: 32 or 16.
    unit_columns: usize,
}

/// The operand of `ldtilecfg`: palette, then bytes of a row and rows of each register.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Configured {
    /// Sets the registers up.
    ///
    /// # Panics
    /// On a processor without AMX.
    pub(super) fn new() -> Self {
        Self::set([64; 8], [TILE_ROWS as u8; 8])
    }

    /// Sets them up for products of codes: sums and activations of `rows` rows, the activations in `tmm5` and the
    /// weights in `tmm7` for units of so many columns.
    ///
    /// # Panics
    /// As [`Configured::new`].
    fn with(Shape { rows, unit_columns }: Shape) -> Self {
        let (rows, full) = (rows as u8, TILE_ROWS as u8);
        let row_bytes = [64, 64, 64, 64, 64, unit_columns as u16, 64, 64];
        Self::set(row_bytes, [rows, rows, rows, rows, rows, rows, full, (unit_columns / 4) as u8])
    }

    fn set(row_bytes: [u16; 8], rows: [u8; 8]) -> Self {
        assert!(permitted(), "tiles are used where they are there");
        let mut all = Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        all.row_bytes[..8].copy_from_slice(&row_bytes);
        all.rows[..8].copy_from_slice(&rows);
        // SAFETY: the processor has the instruction, which reads 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const all, options(nostack, readonly, preserves_flags)) };
        Self(PhantomData)
    }

    /// `sums = x · w`, or `sums += x · w` where `add` says so. `x` is one or two row blocks of as many tiles as each of the two
    /// columns of `w`. If it is one, only the first 16 rows of `sums` are written.
    ///
    /// # Panics
    /// If they are not equally long.
    pub(super) fn multiply(&self, x: [Option<&[Tile]>; 2], w: [&[Tile]; 2], add: bool, sums: &mut Sums) {
        let blocks = w[0].len();
        assert!(blocks > 0 && w[1].len() == blocks && x.iter().flatten().all(|x| x.len() == blocks), "{blocks} tiles");
        let tiles = |[a, b]: [*const Tile; 2]| Side { starts: [a.cast(), b.cast()], row: 64, step: 1024 };
        let w = tiles([w[0].as_ptr(), w[1].as_ptr()]);
        let out = sums.0.as_mut_ptr().cast::<f32>();
        let out_row = 128;
        // SAFETY: `Configured` says that there are tiles. They lie one after the other, so that `blocks` steps stay inside the
        // slices; what is written are 32 rows of 128 bytes, or the first 16 of them, which make `sums`.
        unsafe {
            match x {
                [Some(upper), Some(lower)] => {
                    let x = tiles([upper.as_ptr(), lower.as_ptr()]);
                    self.start_sums(add.then_some(out.cast_const()), out_row);
                    add_products!("tileloaddt1", x, w, blocks);
                    self.put_sums(out, out_row);
                }
                [Some(x), None] | [None, Some(x)] => {
                    if !add {
                        sums.0[..TILE_ROWS].as_flattened_mut().fill(0.0);
                    }
                    self.add_upper(tiles([x.as_ptr(); 2]), w, blocks, out, out_row);
                }
                [None, None] => {}
            }
        }
    }

    /// Two times two tiles of sums: `out = x · w`.
    ///
    /// # Safety
    /// From each start, `blocks` tiles can be read that begin `step` bytes after each other; a tile is 64 bytes of each of 16
    /// places, `row` bytes apart. `out` has 32 places of 128 bytes, `out_row` bytes apart, and nobody else uses them.
    unsafe fn set_product(&self, x: Side, w: Side, blocks: usize, out: *mut f32, out_row: usize) {
        // SAFETY: `Configured` says that there are tiles; what is read and written is passed on to the caller.
        unsafe {
            self.start_sums(None, 128);
            add_products!("tileloadd", x, w, blocks);
            self.put_sums(out, out_row);
        }
    }

    /// Begins two times two tiles of sums: of nothing, or of what is there. They stay in the registers, which compilers
    /// do not use, until [`Configured::put_sums`].
    ///
    /// # Safety
    /// `from` has 32 places of 128 bytes, `row` bytes apart.
    unsafe fn start_sums(&self, from: Option<*const f32>, row: usize) {
        // SAFETY: `Configured` says that there are tiles; what is read is passed on to the caller.
        unsafe {
            match from {
                None => asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack)),
                Some(from) => asm!(
                    "tileloadd tmm0, [{upper} + {row}]",
                    "tileloadd tmm1, [{upper} + {row} + 64]",
                    "tileloadd tmm2, [{lower} + {row}]",
                    "tileloadd tmm3, [{lower} + {row} + 64]",
                    upper = in(reg) from,
                    lower = in(reg) from.byte_add(TILE_ROWS * row),
                    row = in(reg) row,
                    options(nostack),
                ),
            }
        }
    }

    /// Adds to the sums what one block of columns gives.
    ///
    /// # Safety
    /// From each start, a tile can be read.
    unsafe fn add_to_sums(&self, x: Side, w: Side) {
        let blocks = 1usize;
        // SAFETY: as in `start_sums`.
        unsafe { add_products!("tileloadd", x, w, blocks) };
    }

    /// Stores the sums.
    ///
    /// # Safety
    /// `out` has 32 places of 128 bytes, `row` bytes apart, and nobody else uses them.
    unsafe fn put_sums(&self, out: *mut f32, row: usize) {
        // SAFETY: as in `start_sums`.
        unsafe {
            asm!(
                "tilestored [{upper} + {row}], tmm0",
                "tilestored [{upper} + {row} + 64], tmm1",
                "tilestored [{lower} + {row}], tmm2",
                "tilestored [{lower} + {row} + 64], tmm3",
                upper = in(reg) out,
                lower = in(reg) out.byte_add(TILE_ROWS * row),
                row = in(reg) row,
                options(nostack),
            );
        }
    }

    /// One times two tiles of sums: `out += x · w`, with the first start of `x` alone.
    ///
    /// # Safety
    /// As [`Configured::set_product`], with 16 places in `out`.
    unsafe fn add_upper(&self, x: Side, w: Side, blocks: usize, out: *mut f32, out_row: usize) {
        // SAFETY: as in `set_product`.
        unsafe {
            asm!(
                "tileloadd tmm0, [{out} + {out_row}]",
                "tileloadd tmm1, [{out} + {out_row} + 64]",
                "2:",
                "tileloadd tmm4, [{x0} + {x_row}]",
                "tileloadd tmm6, [{w0} + {w_row}]",
                "tileloadd tmm7, [{w1} + {w_row}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "add {x0}, {x_step}",
                "add {w0}, {w_step}",
                "add {w1}, {w_step}",
                "dec {left}",
                "jnz 2b",
                "tilestored [{out} + {out_row}], tmm0",
                "tilestored [{out} + {out_row} + 64], tmm1",
                x0 = inout(reg) x.starts[0] => _,
                w0 = inout(reg) w.starts[0] => _,
                w1 = inout(reg) w.starts[1] => _,
                x_row = in(reg) x.row,
                w_row = in(reg) w.row,
                x_step = in(reg) x.step,
                w_step = in(reg) w.step,
                left = inout(reg) blocks => _,
                out = in(reg) out,
                out_row = in(reg) out_row,
                options(nostack),
            );
        }
    }
}

/// Where the tiles of one side of a product lie.
#[derive(Clone, Copy)]
struct Side {
    /// The first tile of each of two rows, or columns, of tiles.
    starts: [*const u8; 2],
    /// Bytes from a row of a tile to the next.
    row: usize,
    /// Bytes from a tile to the next that it is summed with.
    step: usize,
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: the processor has the instruction.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}
