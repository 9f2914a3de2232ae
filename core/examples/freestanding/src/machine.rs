//! All that the program has of its machine: where it begins, how it writes and how it ends.
//!
//! On a microcontroller the last two would be a serial port and a reset. Here they are two calls of the Linux kernel, made
//! by hand, so that the program runs (also under qemu's user mode) without a library between.

use core::fmt;

/// A stream that the kernel has opened for the program.
pub struct Stream(usize);

/// Standard output.
pub const OUT: Stream = Stream(1);
/// Standard error.
pub const ERROR: Stream = Stream(2);

impl fmt::Write for &Stream {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            // SAFETY: `write` reads `rest.len()` bytes at `rest`, which lives longer than the call.
            let written = unsafe { system_call(number::WRITE, self.0, rest.as_ptr() as usize, rest.len()) };
            let Some(after) = usize::try_from(written).ok().filter(|n| *n > 0).and_then(|n| rest.get(n..)) else {
                return Err(fmt::Error);
            };
            rest = after;
        }
        Ok(())
    }
}

/// Ends the program.
pub fn exit(code: u8) -> ! {
    // SAFETY: `exit` touches no memory of the program and does not return.
    unsafe { system_call(number::EXIT, usize::from(code), 0, 0) };
    loop {
        core::hint::spin_loop();
    }
}

/// The kernel jumps here, with the stack pointer set and nothing else.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    #[cfg(target_arch = "x86_64")]
    core::arch::naked_asm!("xor ebp, ebp", "and rsp, -16", "call {main}", "ud2", main = sym crate::begin);
    #[cfg(target_arch = "aarch64")]
    core::arch::naked_asm!("mov x29, xzr", "bl {main}", "brk #0", main = sym crate::begin);
    #[cfg(target_arch = "riscv64")]
    core::arch::naked_asm!("call {main}", "ebreak", main = sym crate::begin);
    #[cfg(target_arch = "arm")]
    core::arch::naked_asm!("bl {main}", "udf #0", main = sym crate::begin);
}

#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const WRITE: usize = 1;
    pub(super) const EXIT: usize = 231;
}

#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
mod number {
    pub(super) const WRITE: usize = 64;
    pub(super) const EXIT: usize = 94;
}

#[cfg(target_arch = "arm")]
mod number {
    pub(super) const WRITE: usize = 4;
    pub(super) const EXIT: usize = 248;
}

/// # Safety
/// What the system call does with its arguments must be sound.
#[cfg(target_arch = "x86_64")]
unsafe fn system_call(number: usize, a: usize, b: usize, c: usize) -> isize {
    let result;
    // SAFETY: the kernel keeps all registers but rax, rcx and r11; the rest is the caller's promise.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// # Safety
/// What the system call does with its arguments must be sound.
#[cfg(target_arch = "aarch64")]
unsafe fn system_call(number: usize, a: usize, b: usize, c: usize) -> isize {
    let result;
    // SAFETY: the kernel keeps all registers but x0; the rest is the caller's promise.
    unsafe {
        core::arch::asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b, in("x2") c,
            options(nostack),
        );
    }
    result
}

/// # Safety
/// What the system call does with its arguments must be sound.
#[cfg(target_arch = "riscv64")]
unsafe fn system_call(number: usize, a: usize, b: usize, c: usize) -> isize {
    let result;
    // SAFETY: the kernel keeps all registers but a0; the rest is the caller's promise.
    unsafe {
        core::arch::asm!(
            "ecall",
            in("a7") number,
            inlateout("a0") a => result,
            in("a1") b, in("a2") c,
            options(nostack),
        );
    }
    result
}

/// # Safety
/// What the system call does with its arguments must be sound.
#[cfg(target_arch = "arm")]
unsafe fn system_call(number: usize, a: usize, b: usize, c: usize) -> isize {
    let result;
    // SAFETY: the kernel keeps all registers but r0. r7 is the frame pointer of Thumb code, so it is kept by hand. The rest
    // is the caller's promise.
    unsafe {
        core::arch::asm!(
            "mov {kept}, r7",
            "mov r7, {number}",
            "svc #0",
            "mov r7, {kept}",
            kept = out(reg) _,
            number = in(reg) number,
            inlateout("r0") a => result,
            in("r1") b, in("r2") c,
            options(nostack),
        );
    }
    result
}

/// The `alloc` of targets with an operating system was compiled for programs that unwind, and names two functions for it.
/// This program aborts where it panics, so neither is ever called; a bare target does not name them.
#[cfg(target_os = "linux")]
mod unwinding {
    #[unsafe(no_mangle)]
    extern "C" fn rust_eh_personality() {}

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Resume() -> ! {
        super::exit(101)
    }
}
