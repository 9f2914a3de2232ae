//! People's messages on their way to storage and to everybody.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};

use super::{Action, Hub, Purpose};
use crate::event::FinishReason;
use crate::id::MessageId;
use crate::log::Mark;
use crate::record::{MessageRecord, MessageRole};
use crate::refusal::{Code, Refusal};
use crate::session::{Asker, InFlight, NewMessage, Prompt, Session, Work};
use crate::slab::Key;
use crate::time::UnixMicros;
use crate::transition::{self, SessionEvent, SessionState};
use crate::wire::decode::ChatMessage;
use crate::wire::frames::{self, Context};

impl Hub {
    pub(super) fn chat(&mut self, asker: Asker, message: ChatMessage<'_>) {
        let text = message.message.trim();
        if text.starts_with('/') {
            return self.command(asker, text);
        }
        let Some(key) = self.session_of(asker.connection) else { return self.not_in_session(&asker) };
        if text.is_empty() {
            return self.refuse_with(&asker, Code::EmptyMessage, "Empty message");
        }
        if let Err(refusal) = self.admit_message(&asker, key, message.parent) {
            return self.refuse(&asker, &refusal);
        }
        let Some(author) = self.member(asker.connection).cloned() else { return };
        self.set_typing(asker.connection, false);
        *self.generations_of_users.entry(author.user_id.clone()).or_default() += 1;
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.work.push_back(Work::Message(NewMessage {
            asker,
            author,
            content: message.message.into_owned(),
            client_id: message.client_id.map(Cow::into_owned),
            sampling: message.sampling,
            looked_up: false,
        }));
        self.pump(key);
    }

    /// Whether a message may be taken in now.
    fn admit_message(&mut self, asker: &Asker, key: Key, parent: Option<MessageId>) -> Result<(), Refusal> {
        if self.draining.is_some() {
            return Err(Refusal::new(Code::ServerDraining, "The server is about to stop: connect again soon"));
        }
        let (now, rate) = (self.now, self.message_rate());
        let Some(session) = self.sessions.get(key) else {
            return Err(Refusal::new(Code::NotInSession, "Not connected to a session"));
        };
        if session.state != SessionState::Live {
            return Err(Refusal::new(Code::SessionEnded, "The session has ended: create or join another"));
        }
        if parent.is_some() && parent != session.record.last_message {
            return Err(Refusal::new(Code::Unsupported, "This server does not support branches: leave out `parent`"));
        }
        let waiting = session.queued_messages();
        let overloaded = |what| Err(Refusal::new(Code::Overloaded, what).after(2_000));
        if waiting >= self.limits.queued_messages {
            return overloaded("Too many messages of this session wait to be stored: try again soon");
        }
        if waiting + session.prompts.len() >= self.limits.queued_generations {
            return overloaded("Too many messages of this session wait for their answer: try again soon");
        }
        let Some(user) = self.connections.get(asker.connection.0).and_then(|c| c.user) else { return Ok(()) };
        let Some(user) = self.users.get_mut(user) else { return Ok(()) };
        let pending = self.generations_of_users.get(&user.member.user_id).copied().unwrap_or_default();
        if pending >= self.limits.generations_per_user {
            return overloaded("Too many of your messages wait for their answer: try again soon");
        }
        user.messages.take(rate, now).map_err(|wait| {
            let each = self.limits.messages_per_minute;
            Refusal::new(Code::RateLimited, format!("More than {each} messages a minute")).after(wait)
        })
    }

    /// A message of a user needs no answer any more.
    pub(super) fn prompt_done(&mut self, user_id: &str) {
        if let Some(count) = self.generations_of_users.get_mut(user_id) {
            *count -= 1;
            if *count == 0 {
                self.generations_of_users.remove(user_id);
            }
        }
    }

    /// Gives storage the next change of a session, if it is not busy with one. Only then is a message's `seq` known:
    /// one that fails leaves no gap.
    pub(super) fn pump(&mut self, key: Key) {
        let now = self.wall();
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.in_flight.is_some() {
            return;
        }
        // An end waits for the answer under way: `typing` must end before the session does.
        if matches!(session.work.front(), Some(Work::End { .. } | Work::Delete { .. })) && session.generation.is_some()
        {
            return;
        }
        let Some(work) = session.work.pop_front() else { return };
        let lookup = matches!(&work, Work::Message(m) if m.client_id.is_some() && !m.looked_up);
        let message = match &work {
            Work::Message(_) | Work::Answer if !lookup => {
                let id = match (&work, &session.generation) {
                    (Work::Answer, Some(generation)) => generation.message,
                    _ => MessageId(self.rng.uuid()),
                };
                new_record(session, &work, id, now)
            }
            _ => None,
        };
        let purpose = if lookup { Purpose::Lookup { session: key } } else { Purpose::Write { session: key } };
        let request = self.request(purpose);
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.in_flight = Some(InFlight { work, message });
        self.actions.push_back(if lookup {
            Action::Lookup { request, session: key }
        } else {
            Action::Write { request, session: key }
        });
    }

    /// Storage has said whether the `client_id` of the message in flight was there before.
    pub(super) fn looked_up(&mut self, key: Key, found: Result<Option<(MessageId, u64)>, ()>) {
        let now = self.wall();
        let Some(session) = self.sessions.get_mut(key) else { return };
        let id = session.record.id;
        let Some(InFlight { work: Work::Message(mut message), .. }) = session.in_flight.take() else { return };
        match found {
            Ok(None) => {
                message.looked_up = true;
                session.work.push_front(Work::Message(message));
            }
            Ok(Some((stored, seq))) => {
                self.acknowledge(&message.asker, id, message.client_id.as_deref(), stored, seq, now);
                self.prompt_done(&message.author.user_id);
            }
            Err(()) => {
                self.storage_failed(&message.asker);
                self.prompt_done(&message.author.user_id);
            }
        }
        self.pump(key);
        self.drop_if_unused(key);
    }

    fn acknowledge(
        &mut self,
        asker: &Asker,
        session: crate::id::SessionId,
        client_id: Option<&str>,
        message: MessageId,
        seq: u64,
        now: UnixMicros,
    ) {
        let context = Context { reference: asker.reference.as_deref(), session: Some(session) };
        self.reply(asker.connection, |out| frames::ack(out, context, now, client_id, message, seq));
    }

    /// A user's message is committed: acknowledged, told to everybody, and to be answered.
    pub(super) fn message_stored(&mut self, key: Key, message: NewMessage, record: &MessageRecord) {
        let now = self.wall();
        self.log_message(key, record, Mark::Plain, None);
        self.acknowledge(&message.asker, record.session, record.client_id.as_deref(), record.id, record.seq, now);
        let Some(session) = self.sessions.get_mut(key) else { return };
        let author = message.author.user_id;
        if session.state == SessionState::Live {
            session.prompts.push_back(Prompt { message: record.id, author, sampling: message.sampling });
            self.next_generation(key);
        } else {
            self.prompt_done(&author);
        }
    }

    /// Adds a committed message to the log and to what the session knows of itself.
    pub(super) fn log_message(
        &mut self,
        key: Key,
        record: &MessageRecord,
        mark: Mark,
        timings: Option<crate::event::Timings>,
    ) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.record.append(record);
        }
        self.append(key, Some(record.seq), None, mark, |out, _| frames::message(out, record, timings));
    }

    /// Puts the end or deletion of a session in line. Its answer under way is stopped; no new one begins.
    pub(super) fn begin_end(&mut self, key: Key, work: Work) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if !transition::go(transition::SESSION, &mut session.state, SessionEvent::End) {
            if let Some(asker) = work.asker() {
                self.refuse_with(asker, Code::SessionEnded, "The session has ended already");
            }
            return;
        }
        let unanswered = core::mem::take(&mut session.prompts);
        session.work.push_back(work);
        for prompt in unanswered {
            self.prompt_done(&prompt.author);
        }
        self.stop_running(key);
        self.pump(key);
    }

    /// The end or deletion of a session is committed: its people are told and are in no session then.
    pub(super) fn ended(&mut self, key: Key, asker: &Asker, by: Option<&str>) {
        let now = self.wall();
        let Some(session) = self.sessions.get_mut(key) else { return };
        transition::go(transition::SESSION, &mut session.state, SessionEvent::EndStored);
        session.record.ended = Some(now);
        let here = session.readers.contains(&asker.connection);
        let id = session.record.id;
        let left_over = core::mem::take(&mut session.work);
        for work in left_over {
            if let Some(asker) = work.asker() {
                self.refuse_with(asker, Code::SessionEnded, "The session has ended");
                if matches!(work, Work::Join { .. }) {
                    self.join_failed(asker.connection);
                }
            }
            if let Work::Message(message) = &work {
                self.prompt_done(&message.author.user_id);
            }
        }
        let write = |out: &mut String, reference: Option<&str>| {
            let context = Context { reference, session: Some(id) };
            match by {
                Some(by) => frames::session_ended(out, context, now, by),
                None => frames::session_deleted(out, context, now),
            }
        };
        self.append(key, None, None, Mark::End, |out, _| write(out, None));
        if !here {
            self.reply(asker.connection, |out| write(out, asker.reference.as_deref()));
        }
    }
}

/// The record of a message or of the finished answer, with the session's next `seq`.
fn new_record(session: &Session, work: &Work, id: MessageId, created: UnixMicros) -> Option<MessageRecord> {
    let record = MessageRecord {
        id,
        session: session.record.id,
        seq: session.record.last_seq + 1,
        parent: session.record.last_message,
        role: MessageRole::User,
        author: None,
        content: String::new(),
        created,
        client_id: None,
        finish_reason: None,
        usage: None,
    };
    match work {
        Work::Message(message) => Some(MessageRecord {
            author: Some(message.author.clone()),
            content: message.content.clone(),
            client_id: message.client_id.clone(),
            ..record
        }),
        Work::Answer => {
            let generation = session.generation.as_ref()?;
            Some(MessageRecord {
                role: MessageRole::Assistant,
                parent: Some(generation.prompt.message),
                content: generation.text.to_string(),
                finish_reason: Some(generation.ending.map_or(FinishReason::Stop, |e| e.reason)),
                usage: generation.ending.map(|e| e.usage),
                ..record
            })
        }
        _ => None,
    }
}
