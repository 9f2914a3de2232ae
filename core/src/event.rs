//! Everything that can happen to the hub: [`Input`].

use alloc::string::String;
use alloc::vec::Vec;

use crate::action::{GenerationId, RequestId};
use crate::id::{ConnectionId, MessageId};
use crate::record::{MessageRecord, SessionRecord, SessionSummary};
use crate::time::Instant;

/// One thing that happened outside, told to [`Hub::handle`](crate::Hub::handle).
#[derive(Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// A whole text message of a peer, fragmentation undone, UTF-8 checked.
    Frame {
        /// Whose frame.
        connection: ConnectionId,
        /// Its text, of any content and length: the core checks both.
        text: &'a str,
    },
    /// The transport below saw the peer do what the protocol forbids.
    Violated {
        /// Who did it.
        connection: ConnectionId,
        /// What it was.
        violation: Violation,
    },
    /// The runtime has checked a token, that of the handshake or that of an `authenticate` frame.
    Authenticated {
        /// Whose token.
        connection: ConnectionId,
        /// Who it says the peer is.
        identity: Identity,
    },
    /// The runtime has refused a token. The peer is told `reason` and, unless it was authenticated before, closed with 1008.
    Refused {
        /// Whose token.
        connection: ConnectionId,
        /// What is wrong and what to do, for the peer's eyes.
        reason: &'a str,
    },
    /// The transport can take `credit` more bytes of text for this connection, beyond what it was granted before.
    Writable {
        /// Whose transport.
        connection: ConnectionId,
        /// Further bytes of frame text.
        credit: u32,
    },
    /// The transport is gone. No output will name this connection again.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
    /// A write asked for by [`Output::Store`](crate::Output::Store) is committed: it survives a crash.
    Stored {
        /// Which.
        request: RequestId,
    },
    /// A write failed and left nothing behind.
    StoreFailed {
        /// Which.
        request: RequestId,
    },
    /// What [`Output::Load`](crate::Output::Load) asked for.
    Loaded {
        /// Which.
        request: RequestId,
        /// The answer.
        data: Loaded,
    },
    /// Storage could not answer.
    LoadFailed {
        /// Which.
        request: RequestId,
    },
    /// Text that a generation has produced: any number of whole characters, after what came before.
    Token {
        /// Which.
        generation: GenerationId,
        /// The new text.
        text: &'a str,
    },
    /// Something about a running generation that the session's people should know.
    GenerationNotice {
        /// Which.
        generation: GenerationId,
        /// What.
        notice: GenerationNotice,
    },
    /// A generation ended as it should.
    Generated {
        /// Which.
        generation: GenerationId,
        /// Why it ended.
        reason: FinishReason,
        /// What it cost in tokens.
        usage: Usage,
        /// How fast it was.
        timings: Timings,
    },
    /// A generation ended because something broke, or never began.
    GenerationFailed {
        /// Which.
        generation: GenerationId,
        /// What kind of failure.
        failure: GenerationFailure,
    },
    /// A model answers, or another one than before does. One that is being loaded may count as well, if what it is
    /// given waits until it can answer.
    BackendUp {
        /// Its name, for `/stat`.
        model: &'a str,
    },
    /// No model answers; generations fail with `ai_unavailable` until one is.
    BackendDown {
        /// Why, for people.
        reason: &'a str,
    },
    /// Nothing but time has passed.
    Timer,
    /// The server is about to stop: no new work, running streams end, everybody is told.
    Drain {
        /// When connections still open are closed with 1001.
        until: Instant,
    },
}

/// What a transport can report against its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A message longer than the transport accepts: close code 1009.
    TooBig {
        /// What the transport accepts, in bytes.
        limit: u32,
    },
    /// A binary message, which this protocol does not have: an `error`, and the connection lives on.
    Binary,
    /// Text that is not UTF-8: close code 1007.
    NotUtf8,
    /// Anything else against RFC 6455: close code 1002.
    Framing,
}

/// Who a verified token says somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub`.
    pub user_id: String,
    /// The name that others see.
    pub username: String,
    /// What they may do.
    pub role: Role,
    /// When the token expires, on the caller's monotonic clock.
    pub expires: Instant,
}

/// What a user may do beyond their own sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Nothing.
    User,
    /// Administer the server.
    Admin,
}

/// An answer of storage, of the kind that its query asked for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Loaded {
    /// To [`Query::Session`](crate::Query::Session): `None` when there is no such session.
    Session(Option<SessionRecord>),
    /// To [`Query::Sessions`](crate::Query::Sessions): the most recently active first.
    Sessions(Vec<SessionSummary>),
    /// To [`Query::Messages`](crate::Query::Messages): by rising `seq`.
    Messages {
        /// The page.
        messages: Vec<MessageRecord>,
        /// Whether there are older ones.
        more: bool,
    },
    /// To [`Query::Message`](crate::Query::Message): `None` when the session has no such message.
    Message(Option<MessageRecord>),
    /// To [`Query::ClientMessage`](crate::Query::ClientMessage): the message stored under that `client_id`, if any.
    ClientMessage(Option<(MessageId, u64)>),
    /// To [`Query::Totals`](crate::Query::Totals).
    Totals {
        /// Sessions stored.
        sessions: u64,
        /// Messages stored.
        messages: u64,
    },
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// The model said so, or a stop string came.
    Stop,
    /// `max_tokens`, or the context is full.
    Length,
    /// Somebody stopped it; the text so far is kept.
    Stopped,
    /// It broke after it had said something.
    Error,
}

/// Tokens that a generation took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the whole prompt.
    pub prompt_tokens: u32,
    /// Of those, found in the cache.
    pub cached_tokens: u32,
    /// Produced.
    pub completion_tokens: u32,
}

/// How fast a generation was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// From the request to its first token, in milliseconds.
    pub first_token_ms: f32,
    /// After the first one.
    pub tokens_per_second: f32,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GenerationFailure {
    /// No model is loaded: `ai_unavailable`, may be tried again.
    Unavailable,
    /// Too many are waiting already: `overloaded`, may be tried again.
    Overloaded,
    /// The last message alone does not fit into the model's context: `context_exceeded`.
    TooLong {
        /// Tokens of what was asked.
        prompt_tokens: u32,
        /// Tokens that the context has.
        context: u32,
    },
    /// Anything else: `generation_failed`.
    Internal,
}

/// What the people of a session are told about a running generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GenerationNotice {
    /// The oldest messages no longer fit and were left out: `context_trimmed`.
    ContextTrimmed {
        /// How many messages.
        messages: u32,
    },
}
