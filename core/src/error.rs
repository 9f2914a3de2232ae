//! What a caller can do wrong: [`Misuse`], and why [`Hub::connect`](crate::Hub::connect) may refuse: [`ConnectError`].
//!
//! Four kinds of trouble have four types: *misuse* by the caller ([`Misuse`]), *violation* by the peer (a close code),
//! *refusal* (an `error` frame, everything lives on) and *overload* (an `error` frame with `retry_after_ms`). The last
//! three never reach the caller as errors: they are frames.

use core::fmt;

use crate::action::{GenerationId, RequestId};
use crate::id::ConnectionId;

/// Why [`Hub::connect`](crate::Hub::connect) took no connection in: refuse the handshake, or close with
/// [`CloseCode::TryAgainLater`](crate::CloseCode::TryAgainLater).
///
/// ```
/// use causerie_core::ConnectError;
///
/// let full = ConnectError::Full { limit: 20_000 };
/// assert_eq!(full.to_string(), "20000 connections are open, which is the limit: refuse this one and try again later");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// [`Limits::connections`](crate::limits::Limits::connections) are open.
    Full {
        /// The limit.
        limit: usize,
    },
    /// The server is about to stop: [`Input::Drain`](crate::Input::Drain) was given.
    Draining,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Full { limit } => {
                write!(f, "{limit} connections are open, which is the limit: refuse this one and try again later")
            }
            ConnectError::Draining => f.write_str("the server is about to stop: refuse this connection"),
        }
    }
}

impl core::error::Error for ConnectError {}

/// The caller did what the contract of [`Hub::handle`](crate::Hub::handle) excludes. Nothing has changed.
///
/// Usually a mistake to be logged. Two kinds come of races that a runtime cannot avoid, and may be passed over: a verdict
/// on a token whose connection has closed meanwhile (`UnknownConnection`), and frames that were read before
/// [`Output::PauseReading`](crate::Output::PauseReading) took effect (`Paused`: keep them).
///
/// ```
/// use causerie_core::{Hub, Input, Instant, Misuse, Options, RequestId, UnixMicros, limits::Limits};
/// # let options = Options { seed: [7; 32], wall_clock: UnixMicros(0), server: String::new(), limits: Limits::default() };
/// # let mut hub = Hub::new(options);
///
/// let misuse = hub.handle(Instant::ZERO, Input::Stored { request: RequestId(9) }).unwrap_err();
/// assert_eq!(misuse, Misuse::UnknownRequest(RequestId(9)));
/// assert_eq!(misuse.to_string(), "RequestId(9) is not open: it was never put out or is answered");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// The connection was never opened, or its [`Input::Closed`](crate::Input::Closed) was given already.
    UnknownConnection(ConnectionId),
    /// The request was never put out, or was answered already.
    UnknownRequest(RequestId),
    /// The answer is not of the kind that the request asked for.
    WrongAnswer(RequestId),
    /// The generation was never put out, or has ended already.
    UnknownGeneration(GenerationId),
    /// The token is not awaited: the connection is authenticated and no `authenticate` frame is open.
    NotAuthenticating(ConnectionId),
    /// A frame came although [`Output::PauseReading`](crate::Output::PauseReading) was put out, and there is no room
    /// left for it. Keep it and give it again after [`Output::ResumeReading`](crate::Output::ResumeReading).
    Paused(ConnectionId),
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misuse::UnknownConnection(id) => write!(f, "{id:?} is not open: it was never connected or is closed"),
            Misuse::UnknownRequest(id) => write!(f, "{id:?} is not open: it was never put out or is answered"),
            Misuse::WrongAnswer(id) => write!(f, "{id:?} asked for another kind of answer"),
            Misuse::UnknownGeneration(id) => write!(f, "{id:?} is not running: it was never put out or has ended"),
            Misuse::NotAuthenticating(id) => write!(f, "{id:?} awaits no verdict on a token"),
            Misuse::Paused(id) => write!(f, "{id:?} is paused and full: keep the frame until ResumeReading"),
        }
    }
}

impl core::error::Error for Misuse {}
