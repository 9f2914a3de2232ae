//! The dot products that `std::arch` does not offer yet: its functions for `dotprod` and `i8mm` are unstable.

use std::arch::aarch64::{int8x16_t, int32x4_t};
use std::arch::asm;

/// Adds to each of four sums the products of its four numbers in `a` and the `LANE`-th four of `b` (`sdot`).
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(in crate::kernel) fn dot<const LANE: u32>(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    const { assert!(LANE < 4) };
    // SAFETY: the instruction belongs to `dotprod`, and has to do with these registers alone.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {a:v}.16b, {b:v}.4b[{lane}]",
            sums = inout(vreg) sums,
            a = in(vreg) a,
            b = in(vreg) b,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Adds to `[a₀·b₀, a₀·b₁, a₁·b₀, a₁·b₁]` the products of the two rows of eight numbers in each of `a` and `b` (`smmla`).
#[inline]
#[target_feature(enable = "neon,i8mm")]
pub(in crate::kernel) fn matrix(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction belongs to `i8mm`, and has to do with these registers alone.
    unsafe {
        asm!(
            "smmla {sums:v}.4s, {a:v}.16b, {b:v}.16b",
            sums = inout(vreg) sums,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
