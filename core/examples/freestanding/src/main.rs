//! A whole conversation over `causerie-core` without std, libc or an operating system's allocator.
//!
//! Two people share a session with a model that says back what it hears. One of them loses the connection in the middle of
//! an answer and resumes at the byte where it broke. All frames go to standard output; the program ends with 0 when both
//! have read the same answer, byte for byte, and with 101 otherwise.
//!
//! | file | what a port to another machine changes |
//! |---|---|
//! | `machine.rs` | everything: where the program begins, how it writes, how it ends |
//! | `heap.rs`, `memory.rs` | the size of the heap; nothing else |
//! | `storage.rs` | arrays become flash |
//! | `runtime.rs` | the loop around the hub: frames go to a radio, tokens come from an accelerator |
//! | `conversation.rs` | nothing is left of it: people write their own |

#![no_std]
#![no_main]
#![no_builtins]

extern crate alloc;

mod conversation;
mod heap;
mod machine;
mod memory;
mod runtime;
mod storage;

use core::fmt::Write;
use core::panic::PanicInfo;

#[global_allocator]
static HEAP: heap::Heap = heap::Heap::new();

/// Where the machine's first instructions lead.
extern "C" fn begin() -> ! {
    conversation::run();
    let _ =
        writeln!(&machine::OUT, "# heap: at most {} of {} bytes, {} at the end", HEAP.peak(), heap::BYTES, HEAP.used());
    machine::exit(0)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(&machine::ERROR, "{info}");
    machine::exit(101)
}
