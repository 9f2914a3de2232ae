//! What a runtime must not do: it is told so, and nothing changes.

use causerie_core::{FinishReason, GenerationId, Input, Loaded, RequestId, Role, Timings, Usage};

use super::World;
use crate::driver::storage::Answer;

/// Requests and generations that are guessed, from the first one.
const GUESSED: u64 = 24;

impl World {
    /// Everything that a runtime must not do.
    pub(super) fn misuse(&mut self) {
        let refuse = |world: &mut World, input: Input<'_>| {
            let misuse = world.give(input).expect_err("this is misuse");
            assert!(!misuse.to_string().is_empty());
        };
        let (request, generation) = (RequestId(u64::MAX), GenerationId(u64::MAX));
        refuse(self, Input::Stored { request });
        refuse(self, Input::StoreFailed { request });
        refuse(self, Input::LoadFailed { request });
        refuse(self, Input::Loaded { request, data: Loaded::Session(None) });
        refuse(self, Input::Token { generation, text: "" });
        let notice = causerie_core::GenerationNotice::ContextTrimmed { messages: 1 };
        refuse(self, Input::GenerationNotice { generation, notice });
        let (usage, timings) = (Usage::default(), Timings::default());
        for reason in [FinishReason::Stop, FinishReason::Error] {
            refuse(self, Input::Generated { generation, reason, usage, timings });
        }
        let waiting = self.d.storage.answers.iter().map(|answer| match answer {
            Answer::Stored(request) | Answer::StoreFailed(request) => (*request, true),
            Answer::Loaded(request, _) | Answer::LoadFailed(request) => (*request, false),
        });
        let waiting: Vec<_> = waiting.collect();
        // Numbers that can be guessed: of what was answered, and of what was not put out yet.
        for number in 1..=GUESSED {
            let (request, generation) = (RequestId(number), GenerationId(number));
            if waiting.iter().all(|(known, _)| *known != request) {
                refuse(self, Input::StoreFailed { request });
                refuse(self, Input::LoadFailed { request });
            }
            if self.d.running.iter().all(|known| known.id != generation) {
                refuse(self, Input::Token { generation, text: "x" });
            }
        }
        for (request, is_write) in waiting {
            if is_write {
                refuse(self, Input::LoadFailed { request });
                refuse(self, Input::Loaded { request, data: Loaded::Session(None) });
            } else {
                refuse(self, Input::Stored { request });
                refuse(self, Input::StoreFailed { request });
            }
        }
        for who in 0..self.opened.len() {
            if self.opened[who].gone {
                self.of(who, |connection| Input::Refused { connection, reason: "" });
                self.accept(who, None, Role::User, 1);
                self.send(who, "{}");
            }
        }
    }
}
