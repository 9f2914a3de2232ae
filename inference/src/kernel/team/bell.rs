//! How threads wait for each other.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Turns of the spin loop before a thread begins to let others have its core: some 20 µs, longer than what the leader does
/// alone between two jobs.
const SPINS: u32 = 2_000;

/// Times that it lets them, before it goes to sleep: some 100 µs more where nobody wants the core. Waking up takes as long.
const YIELDS: u32 = 200;

/// Where threads wait until something has happened: spinning first, then asleep. Whoever makes it happen rings.
pub(super) struct Bell {
    sleepers: AtomicU32,
    lock: Mutex<()>,
    rung: Condvar,
}

impl Bell {
    pub(super) fn new() -> Self {
        Self { sleepers: AtomicU32::new(0), lock: Mutex::new(()), rung: Condvar::new() }
    }

    /// Wakes who sleeps, to look again. What they wait for has been written before, sequentially consistent: so either a
    /// sleeper sees it, or this sees the sleeper.
    pub(super) fn ring(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.rung.notify_all();
        }
    }

    /// Waits until `ready`, which reads sequentially consistent, gives something.
    pub(super) fn wait<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        for turn in 0..SPINS + YIELDS {
            if let Some(value) = ready() {
                return value;
            }
            if turn < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let value = loop {
            if let Some(value) = ready() {
                break value;
            }
            guard = self.rung.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        value
    }
}
