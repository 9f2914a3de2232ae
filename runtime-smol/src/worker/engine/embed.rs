//! Texts to embed, made into tokens piece by piece between the steps, so that many of them keep no answer waiting.

use std::collections::VecDeque;

use causerie_inference::SequenceId;

use super::super::task::{Asked, Embedded, TaskEvent, TaskFailure};
use super::Engine;
use super::task::unsubmittable;

/// Bytes of text that are made into tokens before a step, about: a millisecond or two. One text may be longer.
const BEFORE_STEP: usize = 16 * 1024;

/// A task whose texts are being made into tokens.
pub(super) struct Tokenizing {
    asked: Asked,
    texts: VecDeque<Embedded>,
    tokens: Vec<Vec<u32>>,
}

impl Engine {
    /// Takes texts on.
    pub(super) fn embed(&mut self, texts: Vec<Embedded>, asked: Asked) {
        let tokens = Vec::with_capacity(texts.len());
        self.tokenizing.push_back(Tokenizing { asked, texts: texts.into(), tokens });
    }

    /// Makes a piece of what waits into tokens, and gives those tasks to the scheduler whose texts all are.
    pub(super) fn tokenize_some(&mut self) {
        let mut left = BEFORE_STEP;
        while left > 0
            && let Some(front) = self.tokenizing.front_mut()
        {
            if front.asked.is_over() {
                self.tokenizing.pop_front();
                continue;
            }
            if let Some(text) = front.texts.pop_front() {
                front.tokens.push(match text {
                    Embedded::Text(text) => {
                        left = left.saturating_sub(text.len());
                        self.model.embedding_tokens(&text)
                    }
                    Embedded::Tokens(tokens) => tokens,
                });
            } else if let Some(Tokenizing { asked, tokens, .. }) = self.tokenizing.pop_front() {
                match self.submit_texts(tokens) {
                    Ok(sequence) => drop(self.tasks.insert(sequence, asked)),
                    Err(failure) => asked.tell(TaskEvent::Failed(failure)),
                }
            }
        }
    }

    fn submit_texts(&mut self, texts: Vec<Vec<u32>>) -> Result<SequenceId, TaskFailure> {
        self.scheduler.embed(texts).map_err(|error| unsubmittable(&error))
    }
}
