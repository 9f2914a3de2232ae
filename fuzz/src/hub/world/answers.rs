//! The model's answers, as a script has them.

use causerie_core::{FinishReason, GenerationId, Input, Timings, Usage};

use super::World;
use crate::hub::script::Op;

impl World {
    /// What the model does.
    pub(super) fn model(&mut self, op: Op<'_>) {
        match op {
            Op::Text { which, text } => {
                if let Some(generation) = self.running(which) {
                    let text = self.filled_in(text);
                    self.must(Input::Token { generation, text: &text });
                }
            }
            Op::Notice { which, messages } => {
                if let Some(generation) = self.running(which) {
                    let notice = causerie_core::GenerationNotice::ContextTrimmed { messages };
                    self.must(Input::GenerationNotice { generation, notice });
                }
            }
            Op::End { which, reason, measured } => self.end_generation(which, reason, measured),
            Op::Break { which, failure } => {
                if let Some(generation) = self.running(which) {
                    self.d.running.retain(|running| running.id != generation);
                    self.must(Input::GenerationFailed { generation, failure });
                }
            }
            Op::Up { model } => self.must(Input::BackendUp { model }),
            Op::Down { reason } => self.must(Input::BackendDown { reason }),
            _ => {}
        }
    }

    fn running(&self, which: usize) -> Option<GenerationId> {
        Some(self.d.running[which.checked_rem(self.d.running.len())?].id)
    }

    pub(super) fn end_generation(&mut self, which: usize, reason: FinishReason, measured: bool) {
        let Some(generation) = self.running(which) else { return };
        let at = self.d.running.iter().position(|r| r.id == generation).expect("it runs");
        let cancelled = self.d.running.remove(at).cancelled;
        let reason = if cancelled { FinishReason::Stopped } else { reason };
        let speed = if measured { 200.0 } else { f32::NAN };
        let usage = Usage { prompt_tokens: 7, cached_tokens: 3, completion_tokens: 2 };
        let timings = Timings { first_token_ms: speed, tokens_per_second: speed };
        self.must(Input::Generated { generation, reason, usage, timings });
    }
}
