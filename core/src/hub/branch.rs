//! Branches: other versions of a message, other answers to it, messages that go on from an earlier one.
//!
//! Nothing is changed and nothing is lost: a new message stands beside the old one, with the same parent, and the
//! conversation goes on from it.

use alloc::format;

use super::Hub;
use crate::id::MessageId;
use crate::record::{MessageRecord, MessageRole};
use crate::refusal::{Code, Refusal};
use crate::session::{Asker, InFlight, Place, Prompt, Regenerate, Session, Work};
use crate::slab::Key;
use crate::wire::Sampling;
use crate::wire::decode::ChatMessage;

impl Hub {
    /// A new version of a user's own message. Commands are chat messages only: here a slash is text.
    pub(super) fn edit(&mut self, asker: Asker, edited: MessageId, message: ChatMessage<'_>) {
        self.say(asker, message, Place::Beside(edited));
    }

    /// Another answer to a message that is in storage.
    pub(super) fn regenerate(&mut self, asker: Asker, message: Option<MessageId>, sampling: Sampling) {
        let Some(key) = self.session_of(asker.connection) else { return self.not_in_session(&asker) };
        let Some(member) = self.admit_message(&asker, key) else { return };
        let session = &mut self.sessions[key];
        let user = member.user_id;
        let regenerate = Regenerate { asker, user, sampling, message, by_answer: false, prompt: None };
        session.work.push_back(Work::Regenerate(regenerate));
        self.pump(key);
    }

    /// Storage has said what the message is that the change in flight names.
    pub(super) fn message_looked_up(&mut self, key: Key, message: MessageId, found: Option<MessageRecord>) {
        let session = &mut self.sessions[key];
        let InFlight { mut work, .. } = session.landed();
        let session_id = session.record.id;
        let found = found.filter(|r| (r.session, r.id) == (session_id, message)).ok_or_else(|| {
            let text = format!("There is no message {} in this session", message.0);
            Refusal::new(Code::MessageNotFound, text)
        });
        match found.and_then(|record| learn(&mut work, &record)) {
            Ok(()) => session.work.push_front(work),
            Err(refusal) => self.give_up_work(&work, &refusal),
        }
        self.pump(key);
        self.drop_if_unused(key);
    }

    /// The conversation goes on from the message that is to be answered again: as if it had just been said.
    pub(super) fn stepped_back(&mut self, key: Key, regenerate: Regenerate) {
        let (message, seq) = regenerate.found();
        let Regenerate { asker, user, sampling, .. } = regenerate;
        let session = &mut self.sessions[key];
        session.record.last_message = Some(message);
        let session = session.record.id;
        self.acknowledge(&asker, session, None, message, seq);
        self.add_prompt(key, Prompt { message, asker: user, sampling });
    }
}

/// Puts real names for what a change names by where it is: the conversation's last message, and the answer under way,
/// which is in no storage yet and stands for the message that it answers.
pub(super) fn resolve(session: &Session, work: &mut Work) -> Result<(), Refusal> {
    let named = match work {
        Work::Regenerate(regenerate) => match &mut regenerate.message {
            Some(message) => message,
            none => none.insert(session.record.last_message.ok_or_else(|| {
                Refusal::new(Code::MessageNotFound, "There is no message in this session yet that could be answered")
            })?),
        },
        Work::Message(message) => match &mut message.place {
            Place::After(message) => message,
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    if let Some(generation) = session.generation.as_ref().filter(|g| g.message == *named) {
        *named = generation.prompt.message;
    }
    Ok(())
}

/// Takes in what storage has said about the message that a change names.
fn learn(work: &mut Work, record: &MessageRecord) -> Result<(), Refusal> {
    match work {
        Work::Message(message) => match message.place {
            Place::Beside(_) => {
                let author = record.author.as_ref().filter(|_| record.role == MessageRole::User);
                if author.is_none_or(|author| author.user_id != message.author.user_id) {
                    return Err(Refusal::new(Code::NotAuthor, "Only the author of a message can edit it"));
                }
                message.place = Place::Found(record.parent);
            }
            _ => message.place = Place::Found(Some(record.id)),
        },
        Work::Regenerate(regenerate) => match (record.role, record.parent) {
            (MessageRole::User, _) => regenerate.prompt = Some((record.id, record.seq)),
            // The message that it answers is asked for next, and only once: it is a user's.
            (MessageRole::Assistant, Some(parent)) if !regenerate.by_answer => {
                (regenerate.message, regenerate.by_answer) = (Some(parent), true);
            }
            _ => {
                return Err(Refusal::new(
                    Code::MessageNotFound,
                    "The message is neither a user's nor an answer to one",
                ));
            }
        },
        _ => {}
    }
    Ok(())
}
