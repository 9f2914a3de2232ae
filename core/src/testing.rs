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
//! It does not check what only time or the server's inside shows: rates, deadlines, memory. Frames of types that it does not know
//! pass, as they pass a client.

mod client;
mod facts;
mod frame;
mod history;
mod model;
mod place;
mod question;
mod rule;
mod view;

pub use model::Model;
pub use place::Place;
pub use rule::{Rule, Violation};

/// A connection, as a [`Model`] names it; none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub(crate) u32);
