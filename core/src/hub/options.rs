//! What a hub is built from, and what it tells of itself.

use alloc::string::String;
use core::fmt;

use crate::limits::Limits;
use crate::time::UnixMicros;

/// How a hub is built.
///
/// ```
/// use causerie_core::{Options, UnixMicros, limits::Limits};
///
/// let options = Options {
///     seed: [7; 32],                                 // in earnest: 32 bytes from the operating system
///     wall_clock: UnixMicros(1_767_225_600_000_000), // what the clock on the wall says at `Instant::ZERO`
///     server: "example 1.0".into(),
///     limits: Limits::default(),
/// };
/// assert!(!format!("{options:?}").contains("seed"), "it would tell all ids to come");
/// ```
#[derive(Clone)]
pub struct Options {
    /// Randomness, from the operating system: ids are made from it.
    pub seed: [u8; 32],
    /// The wall clock's time at [`Instant::ZERO`](crate::Instant::ZERO) of the caller's monotonic clock: timestamps are
    /// made from both.
    pub wall_clock: UnixMicros,
    /// Name and version of the server, shown by `/stat`.
    pub server: String,
    /// Bounds.
    pub limits: Limits,
}

/// Without the seed, which would tell all ids to come.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { seed: _, wall_clock, server, limits } = self;
        let mut out = f.debug_struct("Options");
        out.field("wall_clock", wall_clock).field("server", server).field("limits", limits).finish_non_exhaustive()
    }
}

/// How much a hub holds; for metrics, and to see when a drained hub has nothing left to do. Takes constant time.
///
/// ```
/// use causerie_core::{Hub, Input, Instant, Options, UnixMicros, limits::Limits};
/// # let options = Options { seed: [7; 32], wall_clock: UnixMicros(0), server: String::new(), limits: Limits::default() };
/// # let mut hub = Hub::new(options);
///
/// hub.handle(Instant::ZERO, Input::Drain { until: Instant::from_micros(5_000_000) })?;
/// let left = hub.counts();
/// let is_done = left.connections + left.generations + left.requests == 0;
/// assert!(is_done);
/// # Ok::<(), causerie_core::Misuse>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections that are open, closing ones included.
    pub connections: usize,
    /// Users with at least one of them.
    pub users: usize,
    /// Sessions in memory.
    pub sessions: usize,
    /// Generations that have begun and not ended.
    pub generations: usize,
    /// Requests to storage without an answer yet.
    pub requests: usize,
    /// Messages of people that wait to be stored or for their answer to end.
    pub waiting_messages: usize,
}
