//! For testers: what every server of this protocol must show its clients, as a model to check any of them against.
//!
//! [`Model`] is told what clients send and get, as JSON text, and says which [`Rule`] a frame breaks, what was expected
//! and what came. It knows the protocol and nothing of the [`Hub`](crate::Hub), so it checks a runtime of your own around
//! the hub, a proxy in front of it, a client library's idea of the frames, or another server altogether. It reads no
//! clock and opens no socket: you bring the clients, and tell it.
//!
//! The feature `testing` is enough for the model.
//!
//! ```
//! use causerie_core::testing::{Model, Rule};
//!
//! let mut model = Model::new();
//! let ann = model.connect();
//! let at = "2026-01-01T00:00:00Z";
//! model.received(ann, &format!(
//!     r#"{{"type":"connection_established","message":"Connected as Ann","user_id":"u-1","username":"Ann","timestamp":"{at}"}}"#,
//! ))?;
//! model.sent(ann, r#"{"type":"ping","id":1}"#);
//! model.received(ann, &format!(r#"{{"type":"pong","ref":1,"timestamp":"{at}"}}"#))?;
//! model.settled()?;
//!
//! // A server that answers twice:
//! let violation = model.received(ann, &format!(r#"{{"type":"pong","ref":1,"timestamp":"{at}"}}"#)).unwrap_err();
//! assert_eq!(violation.rule, Rule::Answer);
//! # Ok::<(), causerie_core::testing::Violation>(())
//! ```
//!
//! # What it checks
//!
//! Frame by frame, for each client: the shape of frames and their limits; that each `id` is answered once and by the
//! right kind of frame; that messages come once, in order, without a gap; that deltas fit each other and are the message;
//! that `typing` begins and ends by turns; that coming back brings exactly what was missed. Between clients: that all see
//! the same messages and the same bytes. With storage ([`Model::with_storage`]): that nothing is acknowledged or shown
//! that is not committed. When all has come to rest ([`Model::settled`]): that nothing is missing. [`Rule::ALL`] has all of it.
//!
//! # Inputs
//!
//! The features `proptest` and `arbitrary` make what the model is to be told of: texts, token texts cut anywhere, credits,
//! times, identities, frames ([`Request`]), frames with something wrong ([`ClientFrame`], [`Damage`]), and whole scripts of
//! [`Step`]s, as strategies that shrink (`testing::strategy`) and as `Arbitrary` for fuzzers (`testing::unstructured`).
//! Scripts name sessions, messages and clients by numbers, so that they make sense in any runtime, and with any of their
//! steps left out.
//!
//! The example [`reference_model`] tests a runtime that is not ours in a hundred lines, of which it knows nothing but how to
//! connect, send, lose and receive. It finds the fault that was put into it:
//!
//! ```text
//! offset: A delta begins at the byte at which those before it ended, and comes while the assistant types.
//!   expected: `offset` 4 of ab855d60-925a-4976-83d7-8a3f20d154ab
//!   got: 8
//!   at client 1
//!   in {"type":"message_delta","session_id":"14f561ba-…","message_id":"ab855d60-…","offset":8,"content":"three"}
//! ```
//!
//! [`reference_model`]: https://docs.rs/crate/causerie-core/latest/source/examples/reference_model.rs
//!
//! # What it leaves out
//!
//! It does not check what only time or the server's inside shows: rates, deadlines, memory. Frames of types that it does not know
//! pass, as they pass a client.

mod client;
mod facts;
mod frame;
mod history;
mod model;
mod place;
mod question;
mod request;
mod rule;
mod step;
#[cfg(feature = "proptest")]
pub mod strategy;
#[cfg(feature = "arbitrary")]
pub mod unstructured;
mod view;

#[cfg(any(feature = "proptest", feature = "arbitrary"))]
use crate::event::{FinishReason, GenerationFailure};

pub use model::Model;
pub use place::Place;
pub use request::{ClientFrame, Damage, Known, Request};
pub use rule::{Rule, Violation};
pub use step::Step;

/// A connection, as a [`Model`] names it; none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub(crate) u32);

/// Texts as people write them, and as they should not.
#[cfg(any(feature = "proptest", feature = "arbitrary"))]
const TEXTS: &[&str] = &[
    "Hello",
    "How are you today?",
    "ä",
    "Grüße",
    "語",
    "😀",
    "👩\u{200d}👩\u{200d}👧",
    "e\u{301}",
    "\"\\\n\t\u{0}\u{7f}",
    "\u{2028}\u{202e}\u{feff}",
    " ",
    "",
    "{\"type\":\"ping\"}",
    "</script>",
    ".",
];

/// Chat messages that are commands, and one that is none of them.
#[cfg(any(feature = "proptest", feature = "arbitrary"))]
const COMMANDS: &[&str] = &["/help", "/stat", "/STATUS", "/sessions now", "/clear", "/reload", "/nothing", "/"];

/// Values that a field should not have: of other types, at the limits of numbers, and no JSON at all.
#[cfg(any(feature = "proptest", feature = "arbitrary"))]
const VALUES: &[&str] = &[
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    "1e999",
    "-0",
    "9007199254740991",
    "9007199254740992",
    "18446744073709551616",
    "\"\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "[]",
    "[1,\"a\",null]",
    "{}",
    "{\"epoch\":\"\",\"seq\":9007199254740991}",
    "{\"temperature\":-1,\"stop\":[]}",
    "NaN",
    "",
    "'a'",
    "01",
];

#[cfg(any(feature = "proptest", feature = "arbitrary"))]
const FINISH_REASONS: &[FinishReason] =
    &[FinishReason::Stop, FinishReason::Length, FinishReason::Stopped, FinishReason::Error];

#[cfg(any(feature = "proptest", feature = "arbitrary"))]
const FAILURES: &[GenerationFailure] =
    &[GenerationFailure::Internal, GenerationFailure::Unavailable, GenerationFailure::Overloaded];

#[cfg(any(feature = "proptest", feature = "arbitrary"))]
const VIOLATIONS: &[crate::Violation] =
    &[crate::Violation::Binary, crate::Violation::NotUtf8, crate::Violation::Framing];
