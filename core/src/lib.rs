//! The protocol of a real-time AI chat as one sans-IO state machine.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod limits;

mod action;
mod bucket;
mod connection;
mod error;
mod event;
mod generation;
mod hub;
mod id;
mod log;
mod record;
mod refusal;
mod rng;
mod session;
mod slab;
mod time;
mod timer;
mod transition;
mod wire;

pub use action::{GenerationId, Output, Query, RequestId, Write};
pub use error::{Full, Misuse};
pub use event::{
    FinishReason, GenerationFailure, GenerationNotice, Identity, Input, Loaded, Role, Timings, Usage, Violation,
};
pub use hub::{Counts, Hub, Options};
pub use id::{ConnectionId, MessageId, SessionId, Uuid};
pub use record::{Member, MessageRecord, MessageRole, SessionRecord, SessionSummary};
pub use time::{Instant, UnixMicros};
pub use timer::Reason;
pub use wire::Sampling;
