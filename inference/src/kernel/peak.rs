//! Loops that do nothing but multiply and add, to learn how fast a processor could be: the ceiling that benchmarks compare
//! the kernels with.

use super::Isa;

/// Rounds of a loop in one call: some microseconds, so that calling costs nothing.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const ROUNDS: u32 = 1_000;

/// A loop that keeps one core's multipliers busy, without reading memory.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// What is multiplied, and how.
    pub what: &'static str,
    /// Multiplications and additions of one call.
    pub operations: u64,
    call: fn(),
}

impl Peak {
    /// Runs the loop once.
    pub fn run(&self) {
        (self.call)();
    }
}

/// The loops for an instruction set's matrix kernels; none if the processor lacks it, or for the scalar reference.
pub fn peaks(isa: Isa) -> Vec<Peak> {
    match isa {
        _ if !isa.is_available() => Vec::new(),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => vec![x86::AVX2],
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => vec![x86::VNNI],
        #[cfg(target_arch = "x86_64")]
        Isa::Amx => vec![x86::VNNI, x86::AMX_BF16, x86::AMX_INT8],
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => vec![aarch64::SDOT],
        #[cfg(target_arch = "aarch64")]
        Isa::NeonI8mm => vec![aarch64::SDOT, aarch64::SMMLA],
        _ => Vec::new(),
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::{Peak, ROUNDS};
    use crate::kernel::amx::Configured;

    /// Sums that are under way at once: more than an addition's latency times what is begun each cycle.
    const SUMS: usize = 12;

    pub(super) const AVX2: Peak = Peak {
        what: "vpmaddubsw + vpmaddwd, 8-bit integers",
        operations: ROUNDS as u64 * SUMS as u64 * 2 * 32,
        // SAFETY: `peaks` gives this only where AVX2 was found.
        call: || unsafe { avx2() },
    };

    pub(super) const VNNI: Peak = Peak {
        what: "vpdpbusd, 8-bit integers",
        operations: ROUNDS as u64 * SUMS as u64 * 2 * 64,
        // SAFETY: `peaks` gives this only where AVX-512-VNNI was found.
        call: || unsafe { vnni() },
    };

    /// Tiles that sums are under way in: an instruction takes 16 cycles for 16 rows, and four hide what it waits for.
    const TILES: u64 = 4;

    pub(super) const AMX_BF16: Peak =
        Peak { what: "tdpbf16ps, bf16", operations: ROUNDS as u64 * TILES * 2 * 16 * 16 * 32, call: amx_bf16 };

    pub(super) const AMX_INT8: Peak =
        Peak { what: "tdpbssd, 8-bit integers", operations: ROUNDS as u64 * TILES * 2 * 16 * 16 * 64, call: amx_int8 };

    /// Repeats an instruction on tiles, which hold zeros: what they hold takes no other time.
    macro_rules! tiles {
        ($instruction:literal) => {{
            let _tiles = Configured::new();
            // SAFETY: `Configured` has found tiles and set all eight up as 16 rows of 64 bytes, and they are nobody else's on
            // this thread; memory is not touched.
            unsafe {
                asm!(
                    "2:",
                    concat!($instruction, " tmm0, tmm4, tmm6"),
                    concat!($instruction, " tmm1, tmm4, tmm7"),
                    concat!($instruction, " tmm2, tmm5, tmm6"),
                    concat!($instruction, " tmm3, tmm5, tmm7"),
                    "dec {rounds:e}",
                    "jnz 2b",
                    rounds = inout(reg) ROUNDS => _,
                    options(nostack, nomem),
                );
            }
        }};
    }

    fn amx_bf16() {
        tiles!("tdpbf16ps");
    }

    fn amx_int8() {
        tiles!("tdpbssd");
    }

    #[target_feature(enable = "avx2")]
    fn avx2() {
        let (a, one) = (black_box(_mm256_set1_epi8(1)), _mm256_set1_epi16(1));
        let (mut b, mut sums) = (black_box(_mm256_set1_epi8(1)), [_mm256_setzero_si256(); SUMS]);
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                // The compiler must not see that it is the same product each time.
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), one));
            }
            b = _mm256_add_epi8(b, a);
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    fn vnni() {
        let (a, b) = (black_box(_mm512_set1_epi8(1)), black_box(_mm512_set1_epi8(1)));
        let mut sums = [_mm512_setzero_si512(); SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, a, b);
            }
        }
        black_box(sums);
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use std::arch::aarch64::*;
    use std::hint::black_box;

    use super::{Peak, ROUNDS};
    use crate::kernel::neon::{dot, matrix};

    /// Sums that are under way at once: more than an addition's latency times what is begun each cycle.
    const SUMS: usize = 16;

    pub(super) const SDOT: Peak = Peak {
        what: "sdot, 8-bit integers",
        operations: ROUNDS as u64 * SUMS as u64 * 2 * 16,
        // SAFETY: `peaks` gives this only where the dot products were found.
        call: || unsafe { sdot() },
    };

    pub(super) const SMMLA: Peak = Peak {
        what: "smmla, 8-bit integers",
        operations: ROUNDS as u64 * SUMS as u64 * 2 * 32,
        // SAFETY: `peaks` gives this only where the matrix products were found.
        call: || unsafe { smmla() },
    };

    #[target_feature(enable = "neon,dotprod")]
    fn sdot() {
        // The compiler must not see that the sums are all the same.
        let (a, mut sums) = (black_box(vdupq_n_s8(1)), black_box([vdupq_n_s32(0); SUMS]));
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = dot::<0>(*sum, a, a);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "neon,i8mm")]
    fn smmla() {
        let (a, mut sums) = (black_box(vdupq_n_s8(1)), black_box([vdupq_n_s32(0); SUMS]));
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = matrix(*sum, a, a);
            }
        }
        black_box(sums);
    }
}
