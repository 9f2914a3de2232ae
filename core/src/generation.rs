//! One answer of the model, from its first token to its place in the log.

use alloc::boxed::Box;
use alloc::string::String;

use crate::action::GenerationId;
use crate::id::{MessageId, SessionId};
use crate::session::{Ending, Prompt};
use crate::transition::GenerationState;
use crate::wire::frames;

/// An answer under way.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) id: GenerationId,
    /// The id that the answer has or will have.
    pub(crate) message: MessageId,
    pub(crate) prompt: Prompt,
    pub(crate) state: GenerationState,
    pub(crate) text: String,
    /// What each of its deltas begins with.
    pub(crate) beginning: Box<str>,
    /// It was cancelled because its text would not fit.
    pub(crate) too_long: bool,
    /// Once it is over.
    pub(crate) ending: Option<Ending>,
}

impl Generation {
    pub(crate) fn new(id: GenerationId, session: SessionId, message: MessageId, prompt: Prompt) -> Generation {
        Generation {
            id,
            message,
            prompt,
            state: GenerationState::Running,
            text: String::new(),
            beginning: frames::delta_beginning(session, message),
            too_long: false,
            ending: None,
        }
    }
}
