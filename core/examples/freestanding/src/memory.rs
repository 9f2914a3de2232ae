//! The five functions that compiled Rust expects of its surroundings, where no libc has them.
//!
//! The crate is `no_builtins`, or the compiler would see what these loops do and call the functions themselves.

/// # Safety
/// As C's: `to` and `from` are good for `len` bytes and do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    for at in 0..len {
        // SAFETY: `at` is below `len`, up to which both are good.
        unsafe { *to.add(at) = *from.add(at) };
    }
    to
}

/// # Safety
/// As C's: `to` and `from` are good for `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= len {
        // SAFETY: `to` does not begin within `from`, so what is overwritten was read already.
        return unsafe { memcpy(to, from, len) };
    }
    for at in (0..len).rev() {
        // SAFETY: `at` is below `len`, up to which both are good.
        unsafe { *to.add(at) = *from.add(at) };
    }
    to
}

/// # Safety
/// As C's: `to` is good for `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
    for at in 0..len {
        // SAFETY: `at` is below `len`, up to which it is good. C says that only the low byte counts.
        unsafe { *to.add(at) = byte as u8 };
    }
    to
}

/// # Safety
/// As C's: `a` and `b` are good for `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    for at in 0..len {
        // SAFETY: `at` is below `len`, up to which both are good.
        let (a, b) = unsafe { (*a.add(at), *b.add(at)) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// # Safety
/// As [`memcmp`].
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    // SAFETY: the caller's promise is passed on.
    unsafe { memcmp(a, b, len) }
}
