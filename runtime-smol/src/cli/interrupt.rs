//! Ctrl-C: stops the answer that is being given; without one, or the second time, it ends the program. SIGTERM, and the
//! SIGHUP of a terminal that is gone, end it always; whatever ends it, the terminal is left as it was.

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

/// What is taken over from the system, with the exit code of what ends the program always: 128 and the signal's number, as
/// shells have it.
#[cfg(unix)]
const WATCHED: [(Signal, Option<i32>); 3] =
    [(Signal::Int, None), (Signal::Term, Some(128 + 15)), (Signal::Hup, Some(128 + 1))];
#[cfg(not(unix))]
const WATCHED: [(Signal, Option<i32>); 1] = [(Signal::Int, None)];

fn ends_with(signal: Signal) -> Option<i32> {
    WATCHED.iter().find(|(watched, _)| *watched == signal).and_then(|(_, code)| *code)
}

/// What Ctrl-C does now.
#[derive(Clone)]
pub(crate) struct Interrupt {
    state: Arc<AtomicU8>,
    stop: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes Ctrl-C over from the system. When nothing is being answered it ends the process with `idle_code`, after a
    /// line end that leaves the shell's prompt on a line of its own. `told` is called when an answer shall end, on a
    /// thread of its own: for those who wait for something else than the flag. `leaving` is called before the process ends,
    /// on the same thread: for a terminal that is to be as it was.
    pub(crate) fn watch(
        idle_code: i32,
        told: impl Fn() + Send + 'static,
        leaving: impl Fn() + Send + 'static,
    ) -> io::Result<Interrupt> {
        let mut signals = Signals::new(WATCHED.iter().map(|(signal, _)| *signal))?;
        let interrupt = Interrupt { state: Arc::new(AtomicU8::new(IDLE)), stop: Arc::new(AtomicBool::new(false)) };
        let (state, stop) = (Arc::clone(&interrupt.state), Arc::clone(&interrupt.stop));
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            while let Some(signal) = smol::block_on(signals.next()) {
                if let Some(code) = signal.ok().and_then(ends_with) {
                    leaving();
                    leave(code);
                }
                match state.compare_exchange(ANSWERING, STOPPING, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => {
                        stop.store(true, Ordering::Relaxed);
                        told();
                    }
                    Err(before) => {
                        leaving();
                        leave(if before == IDLE { idle_code } else { super::failure::INTERRUPTED.into() });
                    }
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
