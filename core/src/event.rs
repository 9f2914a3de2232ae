//! Everything that can happen to the hub: [`Input`].

use alloc::string::String;
use alloc::vec::Vec;

use crate::action::{GenerationId, RequestId};
use crate::id::{ConnectionId, MessageId};
use crate::record::{MessageRecord, SessionRecord, SessionSummary};
use crate::time::Instant;

/// One thing that happened outside, told to [`Hub::handle`](crate::Hub::handle).
///
/// Each names what it is about by a handle that the hub gave out before; one that is no longer known is
/// [`Misuse`](crate::Misuse), and changes nothing. Texts are borrowed for the call alone.
///
/// ```
/// use causerie_core::{Hub, Input, Instant, Misuse, Options, UnixMicros, limits::Limits};
/// # let options = Options { seed: [7; 32], wall_clock: UnixMicros(0), server: String::new(), limits: Limits::default() };
/// # let mut hub = Hub::new(options);
///
/// let now = Instant::from_micros(5);
/// let connection = hub.connect(now)?;
/// // What comes before the verdict on the token is held; with the connection it is gone.
/// hub.handle(now, Input::Frame { connection, text: r#"{"type":"ping"}"# })?;
/// hub.handle(now, Input::Closed { connection })?;
/// assert_eq!(hub.handle(now, Input::Closed { connection }), Err(Misuse::UnknownConnection(connection)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// The runtime has checked a token, that of the handshake or that of an `authenticate` frame: one verdict for each.
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
    ///
    /// A new connection has none. A frame goes out whole while any credit is left, so the balance may fall below zero by
    /// one frame; only the last frames before a close need none. Grant what was written, when it was written, and the
    /// transport's queue never holds more than the first grant and a frame.
    Writable {
        /// Whose transport.
        connection: ConnectionId,
        /// Further bytes of frame text.
        credit: u32,
    },
    /// The transport is gone: the last input of every connection, also after [`Output::Close`](crate::Output::Close). No
    /// output will name this connection again.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
    /// A write asked for by [`Output::Store`](crate::Output::Store) is committed: it survives a crash. People are told
    /// so at once.
    Stored {
        /// Which.
        request: RequestId,
    },
    /// A write failed and left nothing behind. One whose fate is unknown is neither stored nor failed: find out, or end
    /// the process and let people come back to what is there.
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
    /// Text that a generation has produced: any number of whole characters, after what came before. Beyond
    /// [`limits::ANSWER_BYTES`](crate::limits::ANSWER_BYTES) the rest is dropped and the generation cancelled.
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
    /// Nothing but time has passed. Every other input lets time pass as well.
    Timer,
    /// The server is about to stop: no new work, running streams end, everybody is told. It is over when
    /// [`Hub::counts`](crate::Hub::counts) has no connections, generations and requests. A second one changes nothing.
    Drain {
        /// When connections still open are closed with 1001.
        until: Instant,
    },
}

/// What a transport can report against its peer.
///
/// ```
/// use causerie_core::{CloseCode, Hub, Input, Instant, Options, Output, UnixMicros, Violation, limits::Limits};
/// # let options = Options { seed: [7; 32], wall_clock: UnixMicros(0), server: String::new(), limits: Limits::default() };
/// # let mut hub = Hub::new(options);
/// # let now = Instant::ZERO;
/// # let connection = hub.connect(now)?;
///
/// hub.handle(now, Input::Violated { connection, violation: Violation::NotUtf8 })?;
/// let mut closed = None;
/// while hub.poll(&mut |output| {
///     if let Output::Close { code, .. } = output {
///         closed = Some(code);
///     }
/// }) {}
/// assert_eq!(closed, Some(CloseCode::InvalidUtf8.as_u16()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
///
/// The user id is what counts: two connections with the same one are the same user, and a session's members are known by
/// it. The name is shown, and is what invitations are made out to, so a runtime sees to it that no two users share one.
///
/// ```
/// use core::time::Duration;
/// use causerie_core::{Identity, Instant, Role, UnixMicros};
///
/// // A token's `exp` is wall-clock time in seconds; the hub waits on the monotonic clock.
/// let (now, wall_now) = (Instant::from_micros(60_000_000), UnixMicros(1_767_225_660_000_000));
/// let exp: u64 = 1_767_229_260;
/// let left = Duration::from_micros((exp * 1_000_000).saturating_sub(wall_now.0));
/// let identity =
///     Identity { user_id: "u-1".into(), username: "Ann".into(), role: Role::User, expires: now + left };
/// assert_eq!(identity.expires.saturating_since(now), Duration::from_secs(3_600));
/// ```
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
///
/// ```
/// assert!(causerie_core::Role::Admin > causerie_core::Role::User);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Nothing.
    User,
    /// Administer the server: the command `/reload`.
    Admin,
}

/// An answer of storage, of the kind that its query asked for; one of another kind is
/// [`Misuse::WrongAnswer`](crate::Misuse::WrongAnswer).
///
/// ```
/// use causerie_core::{Loaded, Query};
///
/// // Storage without anything in it.
/// fn read(query: Query<'_>) -> Option<Loaded> {
///     Some(match query {
///         Query::Session(_) => Loaded::Session(None),
///         Query::Sessions { .. } => Loaded::Sessions(Vec::new()),
///         Query::Messages { .. } => Loaded::Messages { messages: Vec::new(), more: false },
///         Query::Message { .. } => Loaded::Message(None),
///         Query::ClientMessage { .. } => Loaded::ClientMessage(None),
///         Query::Totals => Loaded::Totals { sessions: 0, messages: 0 },
///         _ => return None, // a later core's: give `Input::LoadFailed`
///     })
/// }
/// assert_eq!(read(Query::Totals), Some(Loaded::Totals { sessions: 0, messages: 0 }));
/// ```
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

/// Why a generation ended: `finish_reason` on the wire.
///
/// ```
/// use causerie_core::FinishReason;
///
/// let (most, said, cancelled) = (100, 100, false);
/// let reason = match (cancelled, said < most) {
///     (true, _) => FinishReason::Stopped,
///     (false, true) => FinishReason::Stop,
///     (false, false) => FinishReason::Length,
/// };
/// assert_eq!(reason, FinishReason::Length);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// The model said so, or a stop string came.
    Stop,
    /// `max_tokens`, or the context is full.
    Length,
    /// Somebody stopped it; the text so far is kept.
    Stopped,
    /// It broke after it had said something. As the reason of [`Input::Generated`] the same as
    /// [`Input::GenerationFailed`]: nothing is stored.
    Error,
}

/// Tokens that a generation took: `usage` on the wire, and kept with the message.
///
/// ```
/// let usage = causerie_core::Usage { prompt_tokens: 120, cached_tokens: 100, completion_tokens: 7 };
/// assert!(usage.cached_tokens <= usage.prompt_tokens);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the whole prompt.
    pub prompt_tokens: u32,
    /// Of those, found in the cache.
    pub cached_tokens: u32,
    /// Produced.
    pub completion_tokens: u32,
}

/// How fast a generation was: `timings` on the wire, told once and not kept. Both should be finite; what
/// is not is left out or told as 0.
///
/// ```
/// let timings = causerie_core::Timings { first_token_ms: 12.5, tokens_per_second: 300.0 };
/// assert_ne!(timings, causerie_core::Timings::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// From the request to its first token, in milliseconds.
    pub first_token_ms: f32,
    /// After the first one.
    pub tokens_per_second: f32,
}

/// Why there is no answer: the `code` of the `error` in its place. The base protocol's text is the same for all.
///
/// ```
/// use causerie_core::GenerationFailure;
///
/// // What a model with a context of 2,048 tokens says to a prompt that does not fit.
/// let failure = GenerationFailure::TooLong { prompt_tokens: 9_000, context: 2_048 };
/// assert_ne!(failure, GenerationFailure::Internal);
/// ```
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
    /// Whoever asked has used what they may use in a day: `quota_exceeded`. That they have too many answers under way at
    /// once is [`GenerationFailure::Overloaded`].
    Quota {
        /// Tokens that they may use in a day.
        tokens_a_day: u64,
    },
    /// Anything else: `generation_failed`.
    Internal,
}

/// What the people of a session are told about a running generation, as a `notice`.
///
/// ```
/// use causerie_core::{GenerationNotice, Input, GenerationId};
///
/// let notice = GenerationNotice::ContextTrimmed { messages: 3 };
/// let input = Input::GenerationNotice { generation: GenerationId(1), notice };
/// assert!(format!("{input:?}").contains("messages: 3"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GenerationNotice {
    /// The oldest messages no longer fit and were left out: `context_trimmed`.
    ContextTrimmed {
        /// How many messages.
        messages: u32,
    },
}
