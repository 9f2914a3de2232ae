//! The model's answers: one at a time in a session, in the order of the messages they answer.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use super::{Action, Backend, Hub};
use crate::action::GenerationId;
use crate::code::NoticeCode;
use crate::error::Misuse;
use crate::event::{FinishReason, GenerationFailure, GenerationNotice, Timings, Usage};
use crate::generation::Generation;
use crate::id::MessageId;
use crate::limits;
use crate::log::Mark;
use crate::record::MessageRecord;
use crate::refusal::{Code, Refusal};
use crate::session::{Asker, Ending, Work};
use crate::slab::Key;
use crate::transition::{self, GenerationEvent, GenerationState, SessionState};
use crate::wire::frames::{self, Context};

/// The base protocol's text, whatever the reason; the code tells more.
pub(super) const FAILED: &str = "Failed to generate AI response";

impl Hub {
    /// Begins the next answer of a session that has none under way.
    pub(super) fn next_generation(&mut self, key: Key) {
        loop {
            let session = &mut self.sessions[key];
            if session.generation.is_some() || session.state != SessionState::Live {
                return;
            }
            let Some(prompt) = session.prompts.pop_front() else { return };
            let id = self.generation(key);
            let message = self.new_message_id();
            let session = &mut self.sessions[key];
            session.generation = Some(Box::new(Generation::new(id, session.record.id, message, prompt)));
            self.assistant_types(key, message, true);
            if let Backend::Up { .. } = self.backend
                && self.draining.is_none()
            {
                self.actions.push_back(Action::Generate { session: key, generation: id });
                return;
            }
            // The model never hears of it.
            self.generations.remove(&id);
            let (code, detail) = match &self.backend {
                Backend::Down { reason } => (Code::AiUnavailable, reason.clone()),
                Backend::Up { .. } => (Code::ServerDraining, String::from("the server is about to stop")),
            };
            self.give_up(key, code, Some(&detail));
        }
    }

    fn assistant_types(&mut self, key: Key, message: MessageId, is_typing: bool) {
        let now = self.wall();
        let mark = if is_typing { Mark::Begin(message) } else { Mark::Finish };
        let typist = self.sessions[key].typist(message);
        self.append(key, None, None, mark, |out, session| frames::typing(out, session, now, &typist, is_typing));
    }

    /// There is no answer: `error` in its place, and `typing` ends. Nothing is stored.
    fn give_up(&mut self, key: Key, code: Code, detail: Option<&str>) {
        let now = self.wall();
        let session = &mut self.sessions[key];
        let generation = session.generation.take().expect("only an answer under way is given up");
        // Whoever has got a part of it is told to drop it.
        let message = (!generation.text.is_empty()).then_some(generation.message);
        let mut refusal = Refusal::new(code, FAILED);
        if code.retryable() {
            refusal = refusal.after(1_000);
        }
        self.append(key, None, None, Mark::Failure, |out, session| {
            let context = Context { reference: None, session: Some(session) };
            frames::error(out, context, now, &refusal, message, detail);
        });
        self.assistant_types(key, generation.message, false);
        self.prompt_done(&generation.prompt.asker);
    }

    /// What follows when a session's answer is over.
    fn after_generation(&mut self, key: Key) {
        self.next_generation(key);
        self.pump(key);
        self.drop_if_unused(key);
    }

    fn running(&mut self, id: GenerationId) -> Result<(Key, &mut Generation), Misuse> {
        // One that was not put out yet is known to nobody else.
        let key = self.generations.get(&id).filter(|_| id <= self.begun).ok_or(Misuse::UnknownGeneration(id))?;
        let generation = self.sessions[*key].generation.as_deref_mut().expect("it runs in its session");
        Ok((*key, generation))
    }

    pub(super) fn token(&mut self, id: GenerationId, text: &str) -> Result<(), Misuse> {
        let (key, generation) = self.running(id)?;
        let room = limits::ANSWER_BYTES - generation.text.len();
        let kept = text.floor_char_boundary(room.min(text.len()));
        generation.text.push_str(&text[..kept]);
        let overflown = kept < text.len();
        if overflown && transition::go(transition::GENERATION, &mut generation.state, GenerationEvent::Stop) {
            generation.too_long = true;
            self.actions.push_back(Action::Cancel { generation: id });
        }
        self.session_ready(key);
        Ok(())
    }

    pub(super) fn generation_notice(&mut self, id: GenerationId, notice: GenerationNotice) -> Result<(), Misuse> {
        let (key, _) = self.running(id)?;
        let now = self.wall();
        match notice {
            GenerationNotice::ContextTrimmed { messages } => {
                let text = format!("The {messages} oldest messages no longer fit into the model's context");
                self.announce(key, None, |out, session| {
                    let context = Context { reference: None, session: Some(session) };
                    frames::notice(out, context, now, NoticeCode::ContextTrimmed, &text);
                });
            }
        }
        Ok(())
    }

    pub(super) fn generated(
        &mut self,
        id: GenerationId,
        reason: FinishReason,
        usage: Usage,
        timings: Timings,
    ) -> Result<(), Misuse> {
        if reason == FinishReason::Error {
            return self.generation_failed(id, GenerationFailure::Internal);
        }
        let (key, generation) = self.running(id)?;
        let reason = if generation.too_long { FinishReason::Length } else { reason };
        generation.ending = Some(Ending { reason, usage, timings });
        transition::go(transition::GENERATION, &mut generation.state, GenerationEvent::Finish);
        self.generations.remove(&id);
        self.statistics.generations += 1;
        self.statistics.prompt_tokens += u64::from(usage.prompt_tokens);
        self.statistics.completion_tokens += u64::from(usage.completion_tokens);
        self.statistics.tokens_per_second = timings.tokens_per_second;
        self.sessions[key].work.push_front(Work::Answer);
        self.pump(key);
        Ok(())
    }

    /// The answer is committed: told to everybody, after its last delta.
    pub(super) fn answer_stored(&mut self, key: Key, record: &MessageRecord) {
        let session = &mut self.sessions[key];
        let mut generation = session.generation.take().expect("an answer is under way until it is stored");
        transition::go(transition::GENERATION, &mut generation.state, GenerationEvent::Stored);
        let timings = generation.ending.map(|e| e.timings);
        self.log_message(key, record, Mark::Answer(generation.message, generation.text), timings);
        self.assistant_types(key, generation.message, false);
        self.prompt_done(&generation.prompt.asker);
        self.after_generation(key);
    }

    /// The answer could not be stored, so nobody may believe that it was.
    pub(super) fn answer_lost(&mut self, key: Key) {
        let generation = self.sessions[key].generation.as_mut().expect("an answer is under way until it is stored");
        transition::go(transition::GENERATION, &mut generation.state, GenerationEvent::StoreFailed);
        self.give_up(key, Code::StorageFailed, Some("the answer could not be stored"));
        self.after_generation(key);
    }

    pub(super) fn generation_failed(&mut self, id: GenerationId, failure: GenerationFailure) -> Result<(), Misuse> {
        let (key, generation) = self.running(id)?;
        transition::go(transition::GENERATION, &mut generation.state, GenerationEvent::Fail);
        self.generations.remove(&id);
        let (code, detail) = match failure {
            GenerationFailure::Unavailable => (Code::AiUnavailable, Some(String::from("no model is loaded"))),
            GenerationFailure::Overloaded => (Code::Overloaded, Some(String::from("too many answers are under way"))),
            GenerationFailure::TooLong { prompt_tokens, context } => {
                let detail = format!("the message has {prompt_tokens} tokens, the model's context {context}");
                (Code::ContextExceeded, Some(detail))
            }
            GenerationFailure::Quota { tokens_a_day } => {
                let detail =
                    format!("the {tokens_a_day} tokens of this day are used; the next begins at midnight, UTC");
                (Code::QuotaExceeded, Some(detail))
            }
            GenerationFailure::Internal => (Code::GenerationFailed, None),
        };
        self.give_up(key, code, detail.as_deref());
        self.after_generation(key);
        Ok(())
    }

    pub(super) fn stop(&mut self, asker: &Asker, message: Option<MessageId>) {
        let Some(key) = self.session_of(asker.connection) else { return self.not_in_session(asker) };
        let generation = self.sessions.get(key).and_then(|s| s.generation.as_ref());
        if generation.is_none_or(|g| message.is_some_and(|m| m != g.message)) {
            self.refuse_with(asker, Code::NothingToStop, "No such answer is being generated");
            return;
        }
        self.stop_running(key);
    }

    /// Cancels a session's answer, if the model works on one. One that is stopping or being stored ends anyway.
    pub(super) fn stop_running(&mut self, key: Key) {
        let Some(generation) = self.sessions.get_mut(key).and_then(|s| s.generation.as_mut()) else { return };
        if generation.state == GenerationState::Running
            && transition::go(transition::GENERATION, &mut generation.state, GenerationEvent::Stop)
        {
            self.actions.push_back(Action::Cancel { generation: generation.id });
        }
    }
}
