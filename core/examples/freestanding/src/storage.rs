//! Storage in two arrays. A write that does not fit fails, and the people are told so: nothing is half stored.

use alloc::string::String;
use alloc::vec::Vec;

use causerie_core::{Loaded, Member, MessageRecord, Query, SessionId, SessionRecord, SessionSummary, Write};

/// Sessions that there can be.
const SESSIONS: usize = 2;

/// Messages of all sessions that there can be.
const MESSAGES: usize = 16;

/// Everything that survives a connection. In flash it would survive the power, too.
pub struct Storage {
    sessions: [Option<SessionRecord>; SESSIONS],
    messages: [Option<MessageRecord>; MESSAGES],
}

impl Storage {
    pub const fn new() -> Storage {
        Storage { sessions: [const { None }; SESSIONS], messages: [const { None }; MESSAGES] }
    }

    fn session(&mut self, id: SessionId) -> Option<&mut SessionRecord> {
        self.sessions.iter_mut().flatten().find(|session| session.id == id)
    }

    /// All messages of a session, by rising `seq`: places are taken in the order of writes.
    pub fn messages(&self, session: SessionId) -> impl Iterator<Item = &MessageRecord> {
        self.messages.iter().flatten().filter(move |message| message.session == session)
    }

    /// The message written last.
    pub fn last(&self) -> Option<&MessageRecord> {
        self.messages.iter().flatten().last()
    }

    /// Frees the places of a session and its messages; the others move up, so that their order stays.
    fn delete(&mut self, id: SessionId) {
        self.sessions.iter_mut().filter(|s| s.as_ref().is_some_and(|s| s.id == id)).for_each(|s| *s = None);
        let mut kept = 0;
        for at in 0..MESSAGES {
            match &self.messages[at] {
                Some(message) if message.session != id => {
                    self.messages.swap(kept, at);
                    kept += 1;
                }
                _ => self.messages[at] = None,
            }
        }
    }

    /// Does a write, or nothing: `None` is a failure.
    pub fn write(&mut self, write: Write<'_>) -> Option<()> {
        match write {
            Write::CreateSession(record) => *self.sessions.iter_mut().find(|s| s.is_none())? = Some(record.clone()),
            Write::Message(record) => {
                *self.messages.iter_mut().find(|m| m.is_none())? = Some(record.clone());
                self.session(record.session)?.append(record);
            }
            Write::Invite { session, username } => {
                let session = self.session(session)?;
                if session.invited.iter().all(|name| name != username) {
                    session.invited.push(String::from(username));
                }
            }
            Write::Member { session, user_id, username } => {
                let session = self.session(session)?;
                session.invited.retain(|name| name != username);
                if session.members.iter().all(|member| member.user_id != user_id) {
                    session.members.push(Member { user_id: user_id.into(), username: username.into() });
                }
            }
            Write::Continue { session, message } => self.session(session)?.last_message = Some(message),
            Write::EndSession { session, at } => self.session(session)?.ended = Some(at),
            Write::RenameSession { session, title } => self.session(session)?.title = title.into(),
            Write::DeleteSession { session } => self.delete(session),
            // A later core writes what this storage does not know.
            _ => return None,
        }
        Some(())
    }

    /// Answers a question; `None` is a failure.
    pub fn read(&self, query: Query<'_>) -> Option<Loaded> {
        let sessions = || self.sessions.iter().flatten();
        Some(match query {
            Query::Session(id) => Loaded::Session(sessions().find(|session| session.id == id).cloned()),
            Query::Sessions { user_id, username, limit } => {
                let may_join = |s: &&SessionRecord| {
                    s.members.iter().any(|m| m.user_id == user_id) || s.invited.iter().any(|name| name == username)
                };
                let mut found: Vec<SessionSummary> = sessions().filter(may_join).map(|s| self.summary(s)).collect();
                found.sort_by_key(|session| core::cmp::Reverse(session.active));
                found.truncate(limit as usize);
                Loaded::Sessions(found)
            }
            Query::Messages { session, before, limit } => {
                let older: Vec<&MessageRecord> = self.messages(session).filter(|m| m.seq < before).collect();
                let from = older.len().saturating_sub(limit as usize);
                Loaded::Messages { messages: older[from..].iter().map(|m| (*m).clone()).collect(), more: from > 0 }
            }
            Query::Message { session, message } => {
                Loaded::Message(self.messages(session).find(|m| m.id == message).cloned())
            }
            Query::ClientMessage { session, user_id, client_id } => {
                let same = |m: &&MessageRecord| {
                    m.author.as_ref().is_some_and(|a| a.user_id == user_id) && m.client_id.as_deref() == Some(client_id)
                };
                Loaded::ClientMessage(self.messages(session).find(same).map(|m| (m.id, m.seq)))
            }
            Query::Totals => Loaded::Totals {
                sessions: sessions().count() as u64,
                messages: self.messages.iter().flatten().count() as u64,
            },
            // A later core asks what this storage does not know.
            _ => return None,
        })
    }

    fn summary(&self, session: &SessionRecord) -> SessionSummary {
        SessionSummary {
            id: session.id,
            title: session.title.clone(),
            owner: session.owner.clone(),
            created: session.created,
            active: self.messages(session.id).last().map_or(session.created, |m| m.created),
            ended: session.ended,
            messages: session.last_seq,
        }
    }
}
