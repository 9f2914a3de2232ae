//! The protocol of a real-time AI chat as one sans-IO state machine.
//!
//! Several people share a session over any number of connections; a language model answers; text streams to everybody,
//! also to slow readers and to those who come back. [`Hub`] is all of that, and nothing else: frames and events go in,
//! things to do come out.
//!
//! # Scope
//!
//! In scope: the frames and their order, who may do what, sessions and who is in them, queues and their bounds, what is
//! acknowledged when, streaming and resuming, time limits and rate limits.
//!
//! Out of scope, and the caller's: sockets and WebSocket framing, clocks, threads, randomness, tokens (the caller says
//! who somebody is), storage, and the model. `no_std` with `alloc`; no `unsafe`; no dependencies.
//!
//! # The loop
//!
//! ```text
//!   frame, token verdict, credit, closed ─┐                     ┌─▶ send, close, pause, resume ─▶ sockets
//!   stored, loaded, failed ───────────────┼─▶ handle ─▶ poll ───┼─▶ store, load ──────────────▶ storage
//!   text, generated, failed, backend ─────┤                     ├─▶ generate, cancel, reload ─▶ model
//!   time passes ──────────────────────────┘                     └─▶ authenticate ─────────────▶ tokens
//! ```
//!
//! 1. Give what happened to [`Hub::handle`], with the time on your monotonic clock.
//! 2. Call [`Hub::poll`] until it returns `false`, and do what it says. Outputs borrow from the hub: copy what you keep.
//! 3. Sleep until something happens or [`Hub::next_deadline`] comes; then give that, or [`Input::Timer`].
//!
//! The order matters within one connection, one storage request and one generation, and nowhere else. Nothing is lost by
//! handling several inputs before polling.
//!
//! ```
//! use causerie_core::{Hub, Identity, Input, Instant, Options, Output, Role, UnixMicros, limits::Limits};
//!
//! let mut hub = Hub::new(Options {
//!     seed: [7; 32],                                  // from the operating system
//!     wall_clock: UnixMicros(1_767_225_600_000_000),  // what the clock on the wall says at `Instant::ZERO`
//!     server: "example 1.0".into(),
//!     limits: Limits::default(),
//! });
//! let now = Instant::from_micros(1_000_000);
//!
//! // A WebSocket opens; its transport can take some kilobytes; its token is good.
//! let connection = hub.connect(now)?;
//! hub.handle(now, Input::Writable { connection, credit: 65_536 })?;
//! let identity = Identity {
//!     user_id: "u-1".into(),
//!     username: "Ann".into(),
//!     role: Role::User,
//!     expires: Instant::from_micros(1_800_000_000),
//! };
//! hub.handle(now, Input::Authenticated { connection, identity })?;
//! hub.handle(now, Input::Frame { connection, text: r#"{"type":"create_session","title":"Tea"}"# })?;
//!
//! let mut frames = Vec::new();
//! let mut stored = Vec::new();
//! let mut sink = |output: Output<'_>| match output {
//!     Output::Send { to, frame } => frames.push((to.to_vec(), frame.to_string())),
//!     Output::Store { request, .. } => stored.push(request), // your database commits it
//!     other => println!("not in this example: {other:?}"),
//! };
//! while hub.poll(&mut sink) {}
//! assert_eq!(frames.len(), 1);
//! assert!(frames[0].1.starts_with(r#"{"type":"connection_established","message":"Connected as Ann""#));
//!
//! // Only when storage has committed the session is Ann in it.
//! hub.handle(now, Input::Stored { request: stored[0] })?;
//! let mut joined = String::new();
//! while hub.poll(&mut |output| {
//!     if let Output::Send { frame, .. } = output {
//!         joined = frame.to_string();
//!     }
//! }) {}
//! assert!(joined.starts_with(r#"{"type":"session_joined""#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Trouble
//!
//! Four kinds, four types. [`Misuse`] is the caller's fault: an error of [`Hub::handle`], and nothing has changed. A
//! *violation* by the peer ends its connection with a close code ([`Violation`]). A *refusal* is an `error` frame with a
//! stable `code`, and everything lives on. *Overload* is a refusal that says when to try again (`retry_after_ms`).
//! Nothing panics on any input.
//!
//! # States
//!
//! ```text
//! Connecting --Authenticated--> Ready         its token is good
//! Ready --Join--> Joining                     the session is looked up, created or joined
//! Joined --Join--> Joining                    another session; it stays in the first until it has the second
//! Joining --Attached--> Joined
//! Joining --JoinFailed--> Ready
//! Joining --JoinFailedInSession--> Joined     still in the first
//! Joining --Detached--> Joining               out of the first
//! Joined --Detached--> Ready                  left, or the session ended
//! Connecting --Close--> Closing               its last frames go out
//! Ready --Close--> Closing
//! Joining --Close--> Closing
//! Joined --Close--> Closing
//! Closing --CloseSent--> Closed               until the transport is gone
//! ```
//!
//! A session, while anybody uses it; otherwise it is in storage alone:
//!
//! ```text
//! Loading --Loaded--> Live
//! Creating --Created--> Live
//! Live --End--> Ending                        no new messages; the answer under way is cut short
//! Ending --EndFailed--> Live                  storage could not
//! Ending --EndStored--> Ended
//! ```
//!
//! An answer, of which a session has one at a time:
//!
//! ```text
//! Running --Stop--> Stopping                  asked to end early
//! Running --Finish--> Storing                 all text is there
//! Stopping --Finish--> Storing
//! Running --Fail--> Done                      an error in the place of the message
//! Stopping --Fail--> Done
//! Storing --Stored--> Done                    the message
//! Storing --StoreFailed--> Done               an error: nobody may believe that it is kept
//! ```
//!
//! # Conversation
//!
//! A message is acknowledged and told to everybody when storage has committed it; its `seq` is known then, so that one
//! that fails leaves no gap. An answer's `parent` is the message that it answers; a user's message follows the one before
//! it, or the answer to that one if it is stored by then. Messages that come during an answer are told at once and
//! answered in their order, and the model is shown each with its answer.
//!
//! Messages are a tree by `parent` and a log by `seq`. No message is ever changed: what is said or answered anew stands
//! beside the old, with the same parent. Three frames make branches, and all three go through the same queue, limits and
//! checks as any message:
//!
//! - `chat_message` with a `parent` follows that message. One that names the answer under way follows the message that
//!   this answers, as any that comes during an answer.
//! - `edit_message` is a new version of one's own message: a message beside it. It is acknowledged and answered.
//! - `regenerate` is a step back: the conversation goes on from the message to be answered, which is the one named, or
//!   the one that the named answer answers, or without `message_id` the conversation's last. That step is stored. The
//!   `ack` then names the message to be answered, with its `seq`, and what follows is what follows any message: `typing`,
//!   which names it as `parent`, the deltas, and the new answer.
//!
//! A message is found by asking storage for it ([`Query::Message`]) when its turn has come, so that order is kept.
//! Afterwards the conversation goes on from the new message or answer ([`SessionRecord::last_message`], told in
//! `session_joined`), for all members: a message without `parent` follows it. Only an answer to something that is not the
//! last message any more, because somebody has said more or stepped back meanwhile, leaves the conversation where it is.
//!
//! # Modules
//!
//! In the order of the data: `wire` (frames to values and back, no state) · `hub` (the one machine, with a file for each
//! part of its work) · `connection`, `session`, `generation` (what it knows) · `log` (what a session has said, and how far
//! each reader is) · `transition` (the tables behind the graphs above) · `timer`, `bucket` (deadlines, rates) ·
//! [`limits`] (every bound).

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod limits;
#[cfg(feature = "testing")]
pub mod testing;

mod action;
mod bucket;
mod chunks;
mod code;
mod connection;
mod error;
mod event;
mod generation;
mod hub;
mod id;
mod log;
mod queue;
mod record;
mod refusal;
mod rng;
#[cfg(feature = "schema")]
pub mod schema;
mod session;
mod slab;
mod time;
mod timer;
mod transition;
mod wire;

pub use action::{GenerationId, Output, Query, RequestId, Write};
pub use code::{CloseCode, ErrorCode, NoticeCode, UnknownCode};
pub use error::{ConnectError, Misuse};
pub use event::{
    FinishReason, GenerationFailure, GenerationNotice, Identity, Input, Loaded, Role, Timings, Usage, Violation,
};
pub use hub::{Counts, Hub, Options};
pub use id::{ConnectionId, MessageId, ParseUuidError, SessionId, Uuid};
pub use record::{Member, MessageRecord, MessageRole, SessionRecord, SessionSummary};
pub use time::{Instant, UnixMicros};
pub use timer::Reason;
pub use wire::Sampling;
