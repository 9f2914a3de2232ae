//! A language model that talks nonsense at its own speed, is stopped, fails, and is sometimes not there.

use std::collections::{BTreeMap, HashMap, VecDeque};

use causerie_core::{FinishReason, GenerationFailure, GenerationId, MessageId, SessionId};

use crate::check;
use crate::rng::Rng;

const PIECES: [&str; 12] = [" the", "ä", " 語", "ing", "\n", "\"", " a", "😀", ".", "\\", " of", "\u{1}"];

/// An answer under way.
#[derive(Debug)]
pub struct Running {
    pub session: SessionId,
    pub prompt: MessageId,
    pub text: String,
    pub cancelled: bool,
    /// Pieces to come.
    left: u64,
    /// It fails when so many are left.
    fails_at: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Model {
    pub up: bool,
    pub running: BTreeMap<GenerationId, Running>,
    pub waiting: VecDeque<GenerationId>,
    /// Answers that are done and not stored yet.
    finished: HashMap<SessionId, (MessageId, String)>,
}

/// What an answer does next.
#[derive(Debug)]
pub enum Said {
    Text(String),
    End(FinishReason),
    Failed(GenerationFailure),
}

impl Model {
    pub fn begin(&mut self, id: GenerationId, session: SessionId, prompt: MessageId, fails: u64, rng: &mut Rng) {
        check!(self.running.values().all(|r| r.session != session), "{session:?} has one answer at a time");
        let left = match rng.below(20) {
            0 => 0,
            1 => rng.between(200, 400),
            _ => rng.between(1, 40),
        };
        let fails_at = if !self.up {
            Some(left)
        } else if fails > 0 && rng.one_in(fails) {
            Some(rng.below(left + 1))
        } else {
            None
        };
        self.finished.remove(&session);
        self.running.insert(id, Running { session, prompt, text: String::new(), cancelled: false, left, fails_at });
    }

    /// The next step of an answer; `None` when there is no such any more. An ended one is no more afterwards.
    pub fn step(&mut self, id: GenerationId, rng: &mut Rng) -> Option<Said> {
        let running = self.running.get_mut(&id)?;
        let said = if running.fails_at == Some(running.left) {
            let all = [
                GenerationFailure::Internal,
                GenerationFailure::Unavailable,
                GenerationFailure::Overloaded,
                GenerationFailure::TooLong { prompt_tokens: 9_000, context: 8_192 },
            ];
            Said::Failed(all[rng.index(all.len())])
        } else if running.cancelled {
            Said::End(FinishReason::Stopped)
        } else if running.left == 0 {
            Said::End(if rng.one_in(8) { FinishReason::Length } else { FinishReason::Stop })
        } else {
            running.left -= 1;
            let times = match rng.below(1_000) {
                // Rare, since nearly all bytes are in these.
                0 => rng.between(1, 20_000) as usize,
                1..50 => 0,
                n => n as usize % 4 + 1,
            };
            let text: String = (0..times).map(|_| PIECES[rng.index(PIECES.len())]).collect();
            running.text.push_str(&text);
            Said::Text(text)
        };
        if !matches!(said, Said::Text(_))
            && let Some(running) = self.running.remove(&id)
            && matches!(said, Said::End(_))
        {
            self.finished.insert(running.session, (running.prompt, running.text));
        }
        Some(said)
    }

    pub fn cancel(&mut self, id: GenerationId) {
        let running = self.running.get_mut(&id);
        check!(running.as_ref().is_some_and(|r| !r.cancelled), "{id:?} is cancelled once, while it runs");
        if let Some(running) = running {
            running.cancelled = true;
        }
    }

    /// An answer is stored: it must be one that was given, whole, and once.
    pub fn stored(&mut self, session: SessionId, prompt: Option<MessageId>, content: &str) {
        let finished = self.finished.remove(&session);
        let same = finished.as_ref().is_some_and(|(to, text)| {
            let room = causerie_core::limits::ANSWER_BYTES;
            Some(*to) == prompt && (text == content || (text.len() > room && text.starts_with(content)))
        });
        check!(same, "what is stored is what the model said: {content:?}, {finished:?}");
    }

    /// Everything under way is gone with the server.
    pub fn crash(&mut self) {
        self.running.clear();
        self.waiting.clear();
    }
}
