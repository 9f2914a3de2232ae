//! What storage answers.

use alloc::string::String;
use alloc::vec::Vec;

use super::join::storage_failure;
use super::{Hub, Purpose};
use crate::action::RequestId;
use crate::error::Misuse;
use crate::event::Loaded;
use crate::id::ConnectionId;
use crate::limits;
use crate::log::Mark;
use crate::record::MessageRecord;
use crate::session::{Asker, InFlight, Work};
use crate::slab::Key;
use crate::transition::{self, SessionEvent};
use crate::wire::frames::{self, Context};

impl Hub {
    pub(super) fn stored(&mut self, request: RequestId) -> Result<(), Misuse> {
        match self.answered(request)? {
            Purpose::CreateSession { session, asker } => {
                self.created(session, &asker, true);
                self.drop_if_unused(session);
            }
            Purpose::Write { session } => self.written(session),
            other => return self.answered_wrongly(request, other),
        }
        Ok(())
    }

    pub(super) fn store_failed(&mut self, request: RequestId) -> Result<(), Misuse> {
        match self.answered(request)? {
            Purpose::CreateSession { session, asker } => self.created(session, &asker, false),
            Purpose::Write { session } => self.not_written(session),
            other => return self.answered_wrongly(request, other),
        }
        Ok(())
    }

    /// What a request that is answered was for. It keeps what it is about in memory: a session whose change is written,
    /// or that is loaded, is there.
    fn answered(&mut self, request: RequestId) -> Result<Purpose, Misuse> {
        // One that was not put out yet is known to nobody else.
        if request > self.requested {
            return Err(Misuse::UnknownRequest(request));
        }
        self.requests.remove(&request).ok_or(Misuse::UnknownRequest(request))
    }

    /// The request stays open.
    fn answered_wrongly(&mut self, request: RequestId, purpose: Purpose) -> Result<(), Misuse> {
        self.requests.insert(request, purpose);
        Err(Misuse::WrongAnswer(request))
    }

    /// The change in flight is committed.
    fn written(&mut self, key: Key) {
        let session = &mut self.sessions[key];
        let InFlight { work, message } = session.landed();
        match (work, message) {
            (Work::Message(message), Some(record)) => self.message_stored(key, message, &record),
            (Work::Answer, Some(record)) => self.answer_stored(key, &record),
            // A message always has its record.
            (Work::Message(_) | Work::Answer, None) => {}
            (Work::Regenerate(regenerate), _) => self.stepped_back(key, regenerate),
            (Work::Join { asker, member, since }, _) => {
                session.record.invited.retain(|name| *name != member.username);
                // Another connection of theirs may have joined while this one waited for storage.
                if session.record.members.iter().all(|known| known.user_id != member.user_id) {
                    session.record.members.push(member);
                }
                self.attach(key, &asker, since.as_ref());
            }
            (Work::Invite { asker, username, by }, _) => self.invitation_stored(key, &asker, &username, &by),
            (Work::Rename { asker, title }, _) => {
                session.record.title.clone_from(&title);
                let here = session.readers.contains(&asker.connection);
                let (id, now) = (session.record.id, self.wall());
                self.append(key, None, None, Mark::Title, |out, session| {
                    let context = Context { reference: None, session: Some(session) };
                    frames::session_renamed(out, context, now, &title);
                });
                if !here {
                    let context = Context { reference: asker.reference.as_deref(), session: Some(id) };
                    self.reply(asker.connection, |out| frames::session_renamed(out, context, now, &title));
                }
            }
            (Work::End { asker, command, by }, _) => {
                let id = session.record.id;
                self.cleared(&asker, id, &command);
                self.ended(key, |out, context, now| frames::session_ended(out, context, now, &by));
            }
            (Work::Delete { asker }, _) => self.deleted(key, &asker),
        }
        self.pump(key);
        self.drop_if_unused(key);
    }

    /// The change in flight failed and left nothing: its asker is told, and the session lives on.
    fn not_written(&mut self, key: Key) {
        let session = &mut self.sessions[key];
        let InFlight { work, .. } = session.landed();
        match &work {
            Work::Answer => self.answer_lost(key),
            Work::End { .. } | Work::Delete { .. } => {
                transition::go(transition::SESSION, &mut session.state, SessionEvent::EndFailed);
                self.next_generation(key);
            }
            _ => {}
        }
        self.give_up_work(&work, &storage_failure());
        self.pump(key);
        self.drop_if_unused(key);
    }

    /// Both sides are told: the asker, and the invited user on all their connections.
    fn invitation_stored(&mut self, key: Key, asker: &Asker, username: &str, by: &str) {
        let now = self.wall();
        let session = &mut self.sessions[key];
        let (id, title) = (session.record.id, session.record.title.clone());
        if !session.record.invited.iter().any(|name| name == username) {
            session.record.invited.push(String::from(username));
        }
        let from = (String::from(username), Key { index: 0, generation: 0 });
        let users = self.user_names.range(from..).take_while(|(name, _)| name == username);
        let connections = users.filter_map(|(_, key)| self.users.get(*key)).flat_map(|user| &user.connections);
        let guests: Vec<ConnectionId> = connections.copied().filter(|c| *c != asker.connection).collect();
        let context = Context { reference: asker.reference.as_deref(), session: Some(id) };
        self.reply(asker.connection, |out| frames::invited(out, context, now, &title, username, by));
        for guest in guests {
            let context = Context { reference: None, session: Some(id) };
            self.reply(guest, |out| frames::invited(out, context, now, &title, username, by));
        }
    }

    pub(super) fn loaded(&mut self, request: RequestId, data: Loaded) -> Result<(), Misuse> {
        match (self.answered(request)?, data) {
            (Purpose::LoadSession { session }, Loaded::Session(record)) => self.session_loaded(session, Ok(record)),
            (Purpose::LookUpClientId { session }, Loaded::ClientMessage(found)) => {
                self.client_id_looked_up(session, found);
            }
            (Purpose::LookUpMessage { session, message }, Loaded::Message(found)) => {
                self.message_looked_up(session, message, found);
            }
            (Purpose::Sessions { asker, command }, Loaded::Sessions(mut sessions)) => {
                self.request_done(&asker);
                sessions.truncate(limits::LISTED_SESSIONS as usize);
                match command {
                    Some(command) => self.show_sessions(&asker, &command, &sessions),
                    None => {
                        let now = self.wall();
                        let context = Context { reference: asker.reference.as_deref(), session: None };
                        self.reply(asker.connection, |out| frames::session_list(out, context, now, &sessions));
                    }
                }
            }
            (Purpose::History { asker, session }, Loaded::Messages { messages, more }) => {
                self.request_done(&asker);
                let now = self.wall();
                let newest = newest_that_fit(&messages);
                let more = more || newest.len() < messages.len();
                let context = Context { reference: asker.reference.as_deref(), session: Some(session) };
                self.reply(asker.connection, |out| frames::history_page(out, context, now, newest, more));
            }
            (Purpose::Fetch { connection }, Loaded::Messages { messages, .. }) => {
                self.fetched(request, connection, Ok(&messages));
            }
            (Purpose::Totals { asker, command }, Loaded::Totals { sessions, messages }) => {
                self.request_done(&asker);
                self.show_statistics(&asker, &command, sessions, messages);
            }
            (other, _) => return self.answered_wrongly(request, other),
        }
        Ok(())
    }

    pub(super) fn load_failed(&mut self, request: RequestId) -> Result<(), Misuse> {
        match self.answered(request)? {
            Purpose::LoadSession { session } => self.session_loaded(session, Err(())),
            Purpose::LookUpClientId { session } | Purpose::LookUpMessage { session, .. } => self.not_looked_up(session),
            Purpose::Fetch { connection } => self.fetched(request, connection, Err(())),
            Purpose::Sessions { asker, .. } | Purpose::History { asker, .. } | Purpose::Totals { asker, .. } => {
                self.request_done(&asker);
                self.storage_failed(&asker);
            }
            other @ (Purpose::CreateSession { .. } | Purpose::Write { .. }) => {
                return self.answered_wrongly(request, other);
            }
        }
        Ok(())
    }

    pub(super) fn request_done(&mut self, asker: &Asker) {
        if let Some(connection) = self.connections.get_mut(asker.connection.0) {
            connection.requests = connection.requests.saturating_sub(1);
        }
    }
}

/// As many of the newest messages as one page may hold, and at least one.
fn newest_that_fit(messages: &[MessageRecord]) -> &[MessageRecord] {
    let mut bytes = 0;
    let fit = messages.iter().rev().take(limits::PAGE_MESSAGES as usize).take_while(|message| {
        bytes += message.content.len();
        bytes <= limits::PAGE_BYTES
    });
    let count = fit.count().max(1).min(messages.len());
    &messages[messages.len() - count..]
}
