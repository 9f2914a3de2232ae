//! What may happen to a server: [`Step`].

use alloc::string::String;
use core::time::Duration;

use super::request::ClientFrame;
use crate::event::{FinishReason, GenerationFailure, GenerationNotice, Violation};

/// One thing that happens to a server, by a client, by storage, by the model or by time.
///
/// Clients, generations and users are named by numbers, which are meant to count around what there is at that time: so
/// every sequence of steps is a script, also one from which some were taken out. Who plays a script decides what a step
/// means where there is nothing to do it to, and best does nothing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// A user opens a connection.
    Connect {
        /// Which of the users.
        user: u8,
        /// Bytes that its transport can take at once, if not all.
        credit: Option<u16>,
        /// The verdict on its token, unless that comes later.
        verdict: Option<bool>,
    },
    /// The verdict on a token, of the handshake or of an `authenticate` frame.
    Verdict {
        /// Which of the connections.
        client: u8,
        /// Whether it is good.
        good: bool,
    },
    /// A connection is lost. Its user may come back with [`Step::ComeBack`].
    Lose {
        /// Which of the connections.
        client: u8,
    },
    /// A connection is lost, and its user is at once back on another, going on from where it was.
    ComeBack {
        /// Which of the connections.
        client: u8,
        /// As in [`Step::Connect`].
        credit: Option<u16>,
    },
    /// A client sends something.
    Send {
        /// Which of the connections.
        client: u8,
        /// What.
        frame: ClientFrame,
    },
    /// A peer does what its transport must report.
    Violate {
        /// Which of the connections.
        client: u8,
        /// What.
        violation: Violation,
    },
    /// A transport can take more.
    Credit {
        /// Which of the connections.
        client: u8,
        /// Bytes.
        bytes: u16,
    },
    /// The model says something.
    Token {
        /// Which of the answers under way.
        generation: u8,
        /// Whole characters, or nothing.
        text: String,
    },
    /// The model has something to say about an answer.
    Notice {
        /// Which of the answers under way.
        generation: u8,
        /// What.
        notice: GenerationNotice,
    },
    /// An answer ends.
    Finish {
        /// Which of the answers under way.
        generation: u8,
        /// Why.
        reason: FinishReason,
    },
    /// An answer fails.
    Fail {
        /// Which of the answers under way.
        generation: u8,
        /// Why.
        failure: GenerationFailure,
    },
    /// The model is there, or no longer.
    Backend {
        /// Whether it is.
        up: bool,
    },
    /// Storage answers some of what it was asked.
    Answer {
        /// How many requests.
        requests: u8,
    },
    /// The next so many writes and reads fail.
    FailStorage {
        /// Writes.
        writes: u8,
        /// Reads.
        reads: u8,
    },
    /// Time passes.
    Pass {
        /// How much.
        time: Duration,
    },
    /// The server is to stop.
    Drain {
        /// In what time.
        within: Duration,
    },
}
