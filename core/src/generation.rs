//! One answer of the model, from its first token to its place in the log.

use alloc::string::String;

use crate::action::GenerationId;
use crate::id::MessageId;
use crate::session::{Ending, Prompt};
use crate::transition::GenerationState;

/// An answer under way.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) id: GenerationId,
    /// The id that the answer has or will have.
    pub(crate) message: MessageId,
    pub(crate) prompt: Prompt,
    pub(crate) state: GenerationState,
    pub(crate) text: String,
    /// It was cancelled because its text would not fit.
    pub(crate) too_long: bool,
    /// Once it is over.
    pub(crate) ending: Option<Ending>,
}

impl Generation {
    pub(crate) fn new(id: GenerationId, message: MessageId, prompt: Prompt) -> Generation {
        Generation {
            id,
            message,
            prompt,
            state: GenerationState::Running,
            text: String::new(),
            too_long: false,
            ending: None,
        }
    }
}
