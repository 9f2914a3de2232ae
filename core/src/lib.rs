//! The protocol of a real-time AI chat as one sans-IO state machine.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod action;
mod event;
mod id;
mod record;
mod time;
mod wire;

pub use action::{GenerationId, Output, Query, RequestId, Write};
pub use event::{
    FinishReason, GenerationFailure, GenerationNotice, Identity, Input, Loaded, Role, Timings, Usage, Violation,
};
pub use id::{ConnectionId, MessageId, SessionId, Uuid};
pub use record::{Member, MessageRecord, MessageRole, SessionRecord, SessionSummary};
pub use time::{Instant, UnixMicros};
pub use wire::Sampling;
