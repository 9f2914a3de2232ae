//! Ctrl-C: stops the answer that is being given; without one, or the second time, it ends the program.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;

use async_signal::{Signal, Signals};
use smol::stream::StreamExt;

/// Nothing is being answered.
const IDLE: u8 = 0;
/// An answer is being given.
const ANSWERING: u8 = 1;
/// And shall end.
const STOPPING: u8 = 2;

/// What Ctrl-C does now.
pub(crate) struct Interrupt {
    state: Arc<AtomicU8>,
    stop: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes Ctrl-C over from the system. When nothing is being answered it ends the process with `idle_code`, after a
    /// line end that leaves the shell's prompt on a line of its own.
    pub(crate) fn watch(idle_code: i32) -> io::Result<Interrupt> {
        let mut signals = Signals::new([Signal::Int])?;
        let interrupt = Interrupt { state: Arc::new(AtomicU8::new(IDLE)), stop: Arc::new(AtomicBool::new(false)) };
        let (state, stop) = (Arc::clone(&interrupt.state), Arc::clone(&interrupt.stop));
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            while smol::block_on(signals.next()).is_some() {
                match state.compare_exchange(ANSWERING, STOPPING, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => stop.store(true, Ordering::Relaxed),
                    Err(IDLE) => leave(idle_code),
                    Err(_) => leave(super::failure::INTERRUPTED.into()),
                }
            }
        })?;
        Ok(interrupt)
    }

    /// Lets Ctrl-C stop what `work` does, which looks at the flag it is given. Gives whether that happened, too.
    pub(crate) fn guard<T>(&self, work: impl FnOnce(&AtomicBool) -> T) -> (T, bool) {
        self.stop.store(false, Ordering::Relaxed);
        self.state.store(ANSWERING, Ordering::Relaxed);
        let result = work(&self.stop);
        let stopped = self.state.swap(IDLE, Ordering::Relaxed) == STOPPING;
        (result, stopped)
    }
}

fn leave(code: i32) {
    use std::io::Write;
    let _ = writeln!(io::stderr());
    std::process::exit(code);
}
