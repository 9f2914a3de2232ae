//! People's messages on their way to storage and to everybody.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};

use super::join::storage_failure;
use super::{Action, Hub, Purpose, branch};
use crate::event::FinishReason;
use crate::id::{MessageId, SessionId};
use crate::log::Mark;
use crate::record::{Member, MessageRecord, MessageRole};
use crate::refusal::{Code, Refusal};
use crate::session::{Asker, InFlight, NewMessage, Place, Prompt, Question, Session, Work};
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
        let place = message.parent.map_or(Place::Last, Place::After);
        self.say(asker, message, place);
    }

    /// Takes in a message for its place in the conversation.
    pub(super) fn say(&mut self, asker: Asker, message: ChatMessage<'_>, place: Place) {
        let Some(key) = self.session_of(asker.connection) else { return self.not_in_session(&asker) };
        if message.message.trim().is_empty() {
            return self.refuse_with(&asker, Code::EmptyMessage, "Empty message");
        }
        let Some(author) = self.admit_message(&asker, key) else { return };
        self.set_typing(asker.connection, false);
        let message = Work::Message(NewMessage {
            asker,
            author,
            content: message.message.into_owned(),
            client_id: message.client_id.map(Cow::into_owned),
            sampling: message.sampling,
            looked_up: false,
            place,
        });
        let session = &mut self.sessions[key];
        if session.in_flight.is_none() && session.work.is_empty() {
            // Nearly always: then it need not go through the queue.
            return self.begin(key, message);
        }
        session.work.push_back(message);
        self.pump(key);
    }

    /// Counts what is to be answered among its user's, or refuses it. Gives who that user is.
    pub(super) fn admit_message(&mut self, asker: &Asker, key: Key) -> Option<Member> {
        if let Err(refusal) = self.may_ask(asker, key) {
            self.refuse(asker, &refusal);
            return None;
        }
        let author = self.member_served(asker.connection).clone();
        match self.generations_of_users.get_mut(&author.user_id) {
            Some(count) => *count += 1,
            None => drop(self.generations_of_users.insert(author.user_id.clone(), 1)),
        }
        self.waiting_messages += 1;
        Some(author)
    }

    /// Whether something that is to be answered may be taken in now.
    fn may_ask(&mut self, asker: &Asker, key: Key) -> Result<(), Refusal> {
        if self.draining.is_some() {
            return Err(Refusal::new(Code::ServerDraining, "The server is about to stop: connect again soon"));
        }
        let (now, rate) = (self.now, self.message_rate());
        let session = &self.sessions[key];
        if session.state != SessionState::Live {
            return Err(Refusal::new(Code::SessionEnded, "The session has ended: create or join another"));
        }
        let waiting = session.queued_messages();
        let overloaded = |what| Err(Refusal::new(Code::Overloaded, what).after(2_000));
        if waiting >= self.limits.queued_messages {
            return overloaded("Too many messages of this session wait to be stored: try again soon");
        }
        if waiting + session.prompts.len() >= self.limits.queued_generations {
            return overloaded("Too many messages of this session wait for their answer: try again soon");
        }
        if self.waiting_messages >= self.limits.waiting_messages {
            return overloaded("Too many messages wait for their answer: try again soon");
        }
        let user = self.user_served(asker.connection);
        let user = &mut self.users[user];
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
        let count = self.generations_of_users.get_mut(user_id).expect("each was counted when it was admitted");
        *count -= 1;
        self.waiting_messages -= 1;
        if *count == 0 {
            self.generations_of_users.remove(user_id);
        }
    }

    /// Gives storage the next change of a session, if it is not busy with one.
    pub(super) fn pump(&mut self, key: Key) {
        while let Some(work) = self.next_work(key) {
            self.begin(key, work);
        }
    }

    /// Gives storage a change of a session with which it is not busy, or tells why not. Only then is a message's `seq` known:
    /// one that fails leaves no gap.
    fn begin(&mut self, key: Key, mut work: Work) {
        let now = self.wall();
        if let Err(refusal) = branch::resolve(&self.sessions[key], &mut work) {
            return self.give_up_work(&work, &refusal);
        }
        let session = &mut self.sessions[key];
        let question = work.question();
        let (purpose, is_write) = match question {
            None => (Purpose::Write { session: key }, true),
            Some(Question::ClientId { .. }) => (Purpose::LookUpClientId { session: key }, false),
            Some(Question::Message(message)) => (Purpose::LookUpMessage { session: key, message }, false),
        };
        let message = match &mut work {
            Work::Message(message) if is_write => {
                Some(message_record(session, message, MessageId(self.rng.uuid()), now))
            }
            Work::Answer => Some(answer_record(session, now)),
            _ => None,
        };
        session.in_flight = Some(Box::new(InFlight { work, message }));
        let request = self.request(purpose);
        self.actions.push_back(if is_write {
            Action::Write { request, session: key }
        } else {
            Action::LookUp { request, session: key }
        });
    }

    /// The next change of a session that storage can be given now.
    fn next_work(&mut self, key: Key) -> Option<Work> {
        let session = self.sessions.get_mut(key)?;
        if session.in_flight.is_some() {
            return None;
        }
        // An end waits for the answer under way: `typing` must end before the session does.
        let ends = matches!(session.work.front(), Some(Work::End { .. } | Work::Delete { .. }));
        if ends && session.generation.is_some() {
            return None;
        }
        session.work.pop_front()
    }

    /// A change that somebody asked for is refused after all; who wished to join goes on where they were.
    pub(super) fn give_up_work(&mut self, work: &Work, refusal: &Refusal) {
        if let Some(asker) = work.asker() {
            self.refuse(asker, refusal);
        }
        if let Some(user) = work.awaited_by() {
            self.prompt_done(user);
        }
        if let Work::Join { asker, .. } = work {
            self.join_failed(asker.connection);
        }
    }

    /// Storage has said whether the `client_id` of the message in flight was there before.
    pub(super) fn client_id_looked_up(&mut self, key: Key, found: Option<(MessageId, u64)>) {
        let session = &mut self.sessions[key];
        // Only messages have a `client_id`.
        let Work::Message(mut message) = session.landed().work else { return };
        match found {
            None => {
                message.looked_up = true;
                session.work.push_front(Work::Message(message));
            }
            Some((stored, seq)) => {
                let id = session.record.id;
                self.acknowledge(&message.asker, id, message.client_id.as_deref(), stored, seq);
                self.prompt_done(&message.author.user_id);
            }
        }
        self.pump(key);
        self.drop_if_unused(key);
    }

    /// Storage could not say what the change in flight depends on.
    pub(super) fn not_looked_up(&mut self, key: Key) {
        let session = &mut self.sessions[key];
        let InFlight { work, .. } = session.landed();
        self.give_up_work(&work, &storage_failure());
        self.pump(key);
        self.drop_if_unused(key);
    }

    pub(super) fn acknowledge(
        &mut self,
        asker: &Asker,
        session: SessionId,
        client_id: Option<&str>,
        message: MessageId,
        seq: u64,
    ) {
        let now = self.wall();
        let context = Context { reference: asker.reference.as_deref(), session: Some(session) };
        self.reply(asker.connection, |out| frames::ack(out, context, now, client_id, message, seq));
    }

    /// A user's message is committed: acknowledged, told to everybody, and to be answered.
    pub(super) fn message_stored(&mut self, key: Key, message: NewMessage, record: &MessageRecord) {
        self.log_message(key, record, Mark::Plain, None);
        self.acknowledge(&message.asker, record.session, record.client_id.as_deref(), record.id, record.seq);
        let asker = message.author.user_id;
        self.add_prompt(key, Prompt { message: record.id, asker, sampling: message.sampling });
    }

    /// Puts a stored message in line for an answer, unless its session is about to end.
    pub(super) fn add_prompt(&mut self, key: Key, prompt: Prompt) {
        let session = &mut self.sessions[key];
        if session.state == SessionState::Live {
            session.prompts.push_back(prompt);
            self.next_generation(key);
        } else {
            self.prompt_done(&prompt.asker);
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
        self.sessions[key].record.append(record);
        self.append(key, Some(record.seq), None, mark, |out, _| frames::message(out, record, timings));
    }

    /// Puts the end or deletion of a session in line. Its answer under way is stopped; no new one begins.
    pub(super) fn begin_end(&mut self, key: Key, work: Work) {
        let session = &mut self.sessions[key];
        if !transition::go(transition::SESSION, &mut session.state, SessionEvent::End) {
            self.give_up_work(&work, &Refusal::new(Code::SessionEnded, "The session has ended already"));
            return;
        }
        // The questions stay until the end is stored: if storage fails, they are answered after all.
        session.work.push_back(work);
        self.stop_running(key);
        self.pump(key);
    }

    /// The deletion of a session is committed. Whoever asked for it from elsewhere is answered apart.
    pub(super) fn deleted(&mut self, key: Key, asker: &Asker) {
        let session = &self.sessions[key];
        let (here, id) = (session.readers.contains(&asker.connection), session.record.id);
        let now = self.ended(key, frames::session_deleted);
        if !here {
            let context = Context { reference: asker.reference.as_deref(), session: Some(id) };
            self.reply(asker.connection, |out| frames::session_deleted(out, context, now));
        }
    }

    /// The end or deletion of a session is committed: its people are told by `write` and are in no session then. Gives
    /// the time that they are told.
    pub(super) fn ended(&mut self, key: Key, write: impl FnOnce(&mut String, Context<'_>, UnixMicros)) -> UnixMicros {
        let now = self.wall();
        let session = &mut self.sessions[key];
        transition::go(transition::SESSION, &mut session.state, SessionEvent::EndStored);
        session.record.ended = Some(now);
        let left_over = core::mem::take(&mut session.work);
        for prompt in core::mem::take(&mut session.prompts) {
            self.prompt_done(&prompt.asker);
        }
        for work in left_over {
            // No messages: a session that ends takes none, and those before were stored before its end.
            self.give_up_work(&work, &Refusal::new(Code::SessionEnded, "The session has ended"));
        }
        self.append(key, None, None, Mark::End, |out, session| {
            write(out, Context { reference: None, session: Some(session) }, now);
        });
        now
    }
}

/// The record of a message, with the session's next `seq`. What nobody asks the change for any more moves into it: all but
/// who is waiting for the answer.
fn message_record(session: &Session, message: &mut NewMessage, id: MessageId, created: UnixMicros) -> MessageRecord {
    MessageRecord {
        id,
        session: session.record.id,
        seq: session.record.last_seq + 1,
        parent: match message.place {
            Place::Found(parent) => parent,
            _ => session.record.last_message,
        },
        role: MessageRole::User,
        author: Some(Member {
            user_id: message.author.user_id.clone(),
            username: core::mem::take(&mut message.author.username),
        }),
        content: core::mem::take(&mut message.content),
        created,
        client_id: message.client_id.take(),
        finish_reason: None,
        usage: None,
    }
}

/// The record of the finished answer, with the session's next `seq`.
fn answer_record(session: &Session, created: UnixMicros) -> MessageRecord {
    let answer = session.generation.as_ref().expect("an answer is under way until it is stored");
    MessageRecord {
        id: answer.message,
        session: session.record.id,
        seq: session.record.last_seq + 1,
        parent: Some(answer.prompt.message),
        role: MessageRole::Assistant,
        author: None,
        content: answer.text.to_string(),
        created,
        client_id: None,
        finish_reason: Some(answer.ending.map_or(FinishReason::Stop, |e| e.reason)),
        usage: answer.ending.map(|e| e.usage),
    }
}
