//! Kernels for processors with AMX: products of bf16 tiles, summed in f32.
//!
//! A tile register holds 16 rows of 64 bytes. `tdpbf16ps` multiplies 16 × 32 activations with 32 × 16 weights, the latter
//! as 16 pairs of columns for each of 16 outputs, and adds to 16 × 16 sums (Intel's instruction set extensions reference,
//! chapter "AMX"). Each sum adds its products in the order of the columns, whatever stands in other rows.
//!
//! Tiles are reached by `asm!`, as their intrinsics are not stable. A processor may hold them back until the process asks
//! ([`permitted`]), and they must be configured on the thread that uses them ([`Configured`]).

mod finish;
mod weights;

pub(super) use finish::{Place, add, gate, round_row, store};
pub(super) use weights::unpack;

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

use super::activations::{TILE_ROWS, Tile};

/// Sums of two row blocks and two groups of outputs: `[row][output]`.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Sums(pub(crate) [[f32; 32]; 32]);

impl Sums {
    pub(crate) const ZERO: Sums = Sums([[0.0; 32]; 32]);
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
/// switching between threads takes longer while they are in use.
pub(crate) struct Configured(());

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
    pub(crate) fn new() -> Self {
        assert!(permitted(), "tiles are used where they are there");
        let mut all = Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        all.row_bytes[..8].fill(64);
        all.rows[..8].fill(TILE_ROWS as u8);
        // SAFETY: the processor has the instruction, which reads 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const all, options(nostack, readonly, preserves_flags)) };
        Self(())
    }

    /// `sums = x · w`, over `blocks` tiles each: `x` has one or two rows of tiles, `blocks` apart, `w` two columns of them.
    /// With `x` of one row, only the first 16 rows of `sums` are written.
    ///
    /// # Panics
    /// If `x` is neither one nor two times as long as a column of `w`, or the columns differ.
    pub(crate) fn multiply(&self, x: &[Tile], w: [&[Tile]; 2], sums: &mut Sums) {
        let blocks = w[0].len();
        assert!(w[1].len() == blocks && blocks > 0, "{blocks} and {} tiles", w[1].len());
        let sums = sums.0.as_mut_ptr().cast::<u8>();
        if x.len() == 2 * blocks {
            // SAFETY: `Configured` says that there are tiles; the loop reads `blocks` tiles of 1,024 bytes from each of the
            // four places, all inside the slices, and writes four times 16 rows of 64 bytes, 128 apart, which make `sums`.
            unsafe {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "2:",
                    "tileloadd tmm4, [{x0} + {line}]",
                    "tileloadd tmm6, [{w0} + {line}]",
                    "tileloadd tmm7, [{w1} + {line}]",
                    "tileloadd tmm5, [{x1} + {line}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "add {x0}, 1024",
                    "add {x1}, 1024",
                    "add {w0}, 1024",
                    "add {w1}, 1024",
                    "dec {left}",
                    "jnz 2b",
                    "tilestored [{out} + {row}], tmm0",
                    "tilestored [{out} + {row} + 64], tmm1",
                    "tilestored [{lower} + {row}], tmm2",
                    "tilestored [{lower} + {row} + 64], tmm3",
                    x0 = inout(reg) x.as_ptr() => _,
                    x1 = inout(reg) x[blocks..].as_ptr() => _,
                    w0 = inout(reg) w[0].as_ptr() => _,
                    w1 = inout(reg) w[1].as_ptr() => _,
                    left = inout(reg) blocks => _,
                    out = in(reg) sums,
                    lower = in(reg) sums.add(2048),
                    line = in(reg) 64usize,
                    row = in(reg) 128usize,
                    options(nostack),
                );
            }
        } else {
            assert_eq!(x.len(), blocks, "one or two rows of tiles");
            // SAFETY: as above, with one row of tiles and half of `sums`.
            unsafe {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "2:",
                    "tileloadd tmm4, [{x0} + {line}]",
                    "tileloadd tmm6, [{w0} + {line}]",
                    "tileloadd tmm7, [{w1} + {line}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "add {x0}, 1024",
                    "add {w0}, 1024",
                    "add {w1}, 1024",
                    "dec {left}",
                    "jnz 2b",
                    "tilestored [{out} + {row}], tmm0",
                    "tilestored [{out} + {row} + 64], tmm1",
                    x0 = inout(reg) x.as_ptr() => _,
                    w0 = inout(reg) w[0].as_ptr() => _,
                    w1 = inout(reg) w[1].as_ptr() => _,
                    left = inout(reg) blocks => _,
                    out = in(reg) sums,
                    line = in(reg) 64usize,
                    row = in(reg) 128usize,
                    options(nostack),
                );
            }
        }
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: the processor has the instruction.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}
