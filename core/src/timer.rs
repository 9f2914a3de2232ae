//! Deadlines, each with its reason, in a hierarchical timing wheel.
//!
//! Setting, moving and taking back a deadline cost the same with one connection and with a million, and so does asking
//! for the nearest one: "Hashed and hierarchical timing wheels" (G. Varghese, T. Lauck, 1987), scheme 7. A wheel has 16
//! slots, and a slot of one wheel is a whole turn of the wheel below, so 16 wheels of microseconds hold all of time.
//!
//! A deadline is kept in the wheel of the highest digit (to the base of 16) in which it differs from the wheels' own time.
//! So everything in a lower wheel comes before everything in a higher one, and the nearest deadlines stand in the first
//! used slot of the lowest used wheel. When that slot's turn comes, what is in it moves to lower wheels, at most 16 times
//! in all; where so many stand in it that this would take long, in parts. Each slot knows its first deadline, so nobody is
//! woken for the moving alone.

mod wheel;

use crate::id::ConnectionId;
use crate::slab::Key;

pub(crate) use wheel::{Armed, Timers};

/// What a deadline of [`Hub::next_deadline`](crate::Hub::next_deadline) is for: good to know in a log and in tests.
///
/// ```
/// use causerie_core::{Hub, Instant, Options, Reason, UnixMicros, limits::Limits};
///
/// let limits = Limits::default();
/// let handshake = limits.handshake;
/// let mut hub = Hub::new(Options { seed: [7; 32], wall_clock: UnixMicros(0), server: String::new(), limits });
/// assert_eq!(hub.next_deadline(), None);
/// hub.connect(Instant::ZERO)?;
/// assert_eq!(hub.next_deadline(), Some((Instant::ZERO + handshake, Reason::Handshake)));
/// # Ok::<(), causerie_core::ConnectError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Output waits: call [`Hub::poll`](crate::Hub::poll) now.
    Output,
    /// A connection still without a verdict on its token is closed.
    Handshake,
    /// A connection is told that its token is about to expire.
    TokenExpiring,
    /// A connection whose token has expired is closed.
    TokenExpired,
    /// A person's `typing` ends.
    Typing,
    /// A connection that has sent nothing for long is looked at, and closed if it is still silent.
    Idle,
    /// A session in which nothing was said for long forgets its recent frames: its messages are in storage.
    LogForgotten,
    /// The rate limits of a user who is gone have recovered, so the user is forgotten.
    UserForgotten,
    /// Running generations are cut short before the server stops.
    DrainGenerations,
    /// The server stops: connections still open are closed.
    Drain,
}

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Hub,
    Connection(ConnectionId),
    User(Key),
    Session(Key),
}
