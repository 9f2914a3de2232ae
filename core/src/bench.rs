//! Feature `bench`: parts of the machine that benchmarks measure apart. No part of the interface: it changes when they do.

use alloc::string::String;

use crate::generation::Generation;
use crate::wire::{decode, frames};
use crate::{GenerationId, MessageId, Sampling, SessionId};

/// An answer under way, of which deltas are written.
#[derive(Debug)]
pub struct Deltas(Generation);

impl Deltas {
    /// Of an answer in this session.
    #[must_use]
    pub fn new(session: SessionId, message: MessageId) -> Deltas {
        let prompt = crate::session::Prompt { message, asker: String::new(), sampling: Sampling::default() };
        Deltas(Generation::new(GenerationId(1), session, message, prompt))
    }

    /// Writes one of them into `out`, in the place of what that holds.
    pub fn encode(&self, out: &mut String, offset: usize, text: &str) {
        frames::next_delta(out, &self.0.beginning, offset, text);
    }
}

/// Reads a client's frame; whether it is one of the protocol.
#[must_use]
pub fn decodes(text: &str, message_bytes: usize) -> bool {
    let (reference, frame) = core::hint::black_box(decode::decode(text, message_bytes));
    drop(reference);
    frame.is_ok()
}
