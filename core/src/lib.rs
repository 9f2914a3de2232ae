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
//! # Why without IO
//!
//! What is hard about a chat is not the socket. It is that somebody leaves in the middle of an answer while storage fails,
//! the token expires and a slow phone is forty frames behind. A machine that touches nothing outside can be put into that
//! moment by a test, a million times and every time alike; it runs on any executor, on none, in a simulation of thousands
//! of users, or on a microcontroller; and it cannot block. The price is the loop below, which is the same short one
//! everywhere. The package's `examples` have it on tokio, on blocking threads, and in a program without std.
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
//! handling several inputs before polling, and it is faster: what they lead to goes out together.
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
//! # What a runtime owes the hub
//!
//! The hub checks what it can ([`Misuse`]); the rest of this table it must believe.
//!
//! | of | contract |
//! |---|---|
//! | time | [`Instant`]s come from one monotonic clock, whose zero is where [`Options::wall_clock`] was read; [`Input::Timer`] comes by [`Hub::next_deadline`], or a little later. |
//! | a connection | [`Hub::connect`], then one verdict on its token, any number of frames in the order in which they were sent, and [`Input::Closed`] once, last, and soon after [`Output::Close`] whatever the peer does. |
//! | frames | Whole text messages, in UTF-8, of any length. Anything else is a [`Violation`] to be told. |
//! | credit | [`Input::Writable`] grants bytes that the transport can take; what was written is granted again. Frames that were [sent](Output::Send) to one connection keep their order. |
//! | pauses | After [`Output::PauseReading`] few more frames come from that connection. |
//! | tokens | Each [`Output::Authenticate`] gets one verdict, unless the connection has closed. User ids are stable, and no two users have one name. |
//! | writes | Each [`Output::Store`] gets one [`Input::Stored`], when it would survive a crash, or one [`Input::StoreFailed`], when nothing of it is left. They take effect in the order in which they were put out, and may share a commit. |
//! | reads | Each [`Output::Load`] gets one [`Input::Loaded`] or [`Input::LoadFailed`], and sees the writes that were put out before it. |
//! | records | Come back as they were written. A session's [`last_seq`](SessionRecord::last_seq) and [`last_message`](SessionRecord::last_message) follow its messages as in [`SessionRecord::append`]. |
//! | the model | Each [`Output::Generate`] gets any number of [`Input::Token`]s and then one [`Input::Generated`] or [`Input::GenerationFailed`], cancelled or not. If its own queue is full it says [`GenerationFailure::Overloaded`]. |
//! | randomness | [`Options::seed`] is secret and never used twice: session ids are made from it. |
//! | outputs it does not know | Come with a later version of this crate. What asks for an answer gets a failure. |
//!
//! In return: no output names a connection after its [`Input::Closed`]; nothing is told as stored that is not; every
//! request, token and generation is asked for once; every queue is bounded by [`limits`]; and no input panics.
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
//! # Cost
//!
//! A broadcast is encoded once and put out with all its recipients. A streamed piece of text allocates nothing in the
//! steady state. A slow reader costs a cursor into the session's log and no copies, and what it has not taken comes
//! together when it can. Without work, [`Hub::poll`] and [`Hub::next_deadline`] take some nanoseconds with one connection
//! or a hundred thousand; deadlines stand in a timing wheel. [`Hub::poll`] returns after [`limits::POLL_PIECES`] pieces
//! and goes on when called again, so a runtime can look at its sockets between.
//!
//! One hub serves one process: it is one `&mut` away from whoever owns it, and at a microsecond a command that is not what
//! is scarce beside a language model.
//!
//! # Features
//!
//! None is on by default, and without them the crate has no dependencies.
//!
//! | feature | what it adds |
//! |---|---|
//! | `schema` | `schema`: every frame as a type for serde, and its JSON Schema, for clients and for those who check frames |
//! | `testing` | `testing`: a reference model of what clients must see, against which any runtime can be checked |
//! | `proptest`, `arbitrary` | strategies and `Arbitrary` for its inputs, for property tests and fuzzers |
//!
//! # Stability
//!
//! Enums that may grow ([`Input`], [`Output`], [`Write`], [`Query`], [`Loaded`], codes, reasons) are `non_exhaustive`;
//! a new kind of them is a minor version. Records that storage keeps are not: a new field breaks every storage, and
//! should. The structs that a runtime makes ([`Options`], [`Identity`], [`Usage`], [`Timings`]) are plain, too. Frames have a version of their own, which changes only where an existing client would have to; text for people
//! may change at any time, `type`, `code` and fields' names do not.
//!
//! # Modules
//!
//! In the order of the data: `wire` (frames to values and back, no state) · `hub` (the one machine, with a file for each
//! part of its work) · `connection`, `session`, `generation` (what it knows) · `log` (what a session has said, and how far
//! each reader is) · `transition` (the tables behind the graphs above) · `timer`, `bucket` (deadlines, rates) ·
//! [`limits`] (every bound).

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]
#![warn(clippy::missing_errors_doc, clippy::missing_panics_doc)]

extern crate alloc;

pub mod limits;
#[cfg(feature = "testing")]
pub mod testing;

mod action;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
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

/// The package's page: its example runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
