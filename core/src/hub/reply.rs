//! What one connection is told, and what it did against the protocol below.

use alloc::format;
use alloc::string::String;

use super::{Action, Hub};
use crate::code::CloseCode;
use crate::error::Misuse;
use crate::event::Violation;
use crate::id::ConnectionId;
use crate::refusal::{Code, Refusal};
use crate::session::Asker;
use crate::wire::frames;

impl Hub {
    /// Queues a frame for one connection; one that is closing or gone gets no more.
    pub(super) fn reply(&mut self, id: ConnectionId, write: impl FnOnce(&mut String)) {
        let Some(connection) = self.connections.get_mut(id.0).filter(|c| c.is_open()) else { return };
        write(&mut self.frame);
        connection.replies.push(&self.frame);
        self.pause_if_full(id);
        self.connection_ready(id);
    }

    /// Answers with an `error` frame; the connection lives on.
    pub(super) fn refuse(&mut self, asker: &Asker, refusal: &Refusal) {
        let now = self.wall();
        self.reply(asker.connection, |out| {
            let context = frames::Context { reference: asker.reference.as_deref(), session: None };
            frames::error(out, context, now, refusal, None, None);
        });
    }

    pub(super) fn refuse_with(&mut self, asker: &Asker, code: Code, message: &str) {
        self.refuse(asker, &Refusal::new(code, message));
    }

    pub(super) fn pause_if_full(&mut self, id: ConnectionId) {
        let frame_bytes = self.limits.frame_bytes;
        if let Some(connection) = self.connections.get_mut(id.0)
            && !connection.paused
            && connection.is_full(frame_bytes, 1)
        {
            connection.paused = true;
            self.actions.push_back(Action::PauseReading { connection: id });
        }
    }

    /// What the transport saw a peer do.
    pub(super) fn violated(&mut self, id: ConnectionId, violation: Violation) -> Result<(), Misuse> {
        self.connection(id)?;
        match violation {
            Violation::TooBig { limit } => {
                self.frame_too_large(id, format!("A frame has more than {limit} bytes"));
            }
            Violation::Binary => {
                let asker = Asker { connection: id, reference: None };
                self.refuse_with(
                    &asker,
                    Code::BinaryFrame,
                    "Binary frames are not part of this protocol: send JSON as text",
                );
            }
            Violation::NotUtf8 => self.close(id, CloseCode::InvalidUtf8, "Text that is not UTF-8".into()),
            Violation::Framing => self.close(id, CloseCode::ProtocolError, "WebSocket protocol error".into()),
        }
        Ok(())
    }

    /// Told with its code, since not every client gets to see a close code, and then closed.
    pub(super) fn frame_too_large(&mut self, id: ConnectionId, reason: String) {
        let asker = Asker { connection: id, reference: None };
        self.refuse_with(&asker, Code::FrameTooLarge, &reason);
        self.close(id, CloseCode::TooBig, reason.into());
    }
}
