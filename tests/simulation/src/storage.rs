//! Storage that is slow, fails and survives crashes: what it has committed stays.
//!
//! It does one thing after the other. A write takes effect when its turn comes; its answer travels for a while then and
//! may be overtaken by others, and after a crash nobody gets it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use causerie_core::{
    Loaded, Member, MessageId, MessageRecord, MessageRole, Query, RequestId, SessionId, SessionRecord, SessionSummary,
    UnixMicros, Write,
};

use crate::check;

/// What is stored of a session.
#[derive(Debug)]
pub struct Stored {
    pub record: SessionRecord,
    pub messages: Vec<MessageRecord>,
    pub deleted: bool,
    places: HashMap<MessageId, usize>,
    client_ids: HashMap<(String, String), usize>,
}

impl Stored {
    /// A message that was stored at any time.
    pub fn message(&self, id: MessageId) -> Option<&MessageRecord> {
        self.places.get(&id).map(|at| &self.messages[*at])
    }
}

/// A request on its way.
#[derive(Debug)]
pub struct Request {
    pub id: RequestId,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    Create(Box<SessionRecord>),
    Message(Box<MessageRecord>),
    Invite(SessionId, String),
    Member(SessionId, Member),
    Continue(SessionId, MessageId),
    End(SessionId, UnixMicros),
    Rename(SessionId, String),
    Delete(SessionId),
    Session(SessionId),
    Sessions { user_id: String, username: String, limit: u32 },
    Messages { session: SessionId, before: u64, limit: u32 },
    OneMessage(SessionId, MessageId),
    ClientMessage { session: SessionId, user_id: String, client_id: String },
    Totals,
}

/// What storage says.
#[derive(Debug)]
pub enum Answer {
    Stored,
    StoreFailed,
    Loaded(Loaded),
    LoadFailed,
}

/// What people asked for, without which nothing may be renamed, ended or deleted.
#[derive(Debug, Default)]
pub struct Wishes {
    pub renamed: HashSet<(SessionId, String)>,
    pub ended: HashSet<SessionId>,
}

#[derive(Debug, Default)]
pub struct Storage {
    pub sessions: BTreeMap<SessionId, Stored>,
    pub queue: VecDeque<Request>,
    /// The sessions that a user may join.
    pub of_user: HashMap<String, Vec<SessionId>>,
    pub wishes: Wishes,
    /// One in so many writes and reads fails; 0 for none.
    pub failing: u64,
    pub messages: u64,
}

impl What {
    pub fn of_write(write: Write<'_>) -> What {
        match write {
            Write::CreateSession(record) => What::Create(Box::new(record.clone())),
            Write::Message(record) => What::Message(Box::new(record.clone())),
            Write::Invite { session, username } => What::Invite(session, username.to_string()),
            Write::Member { session, user_id, username } => {
                What::Member(session, Member { user_id: user_id.to_string(), username: username.to_string() })
            }
            Write::Continue { session, message } => What::Continue(session, message),
            Write::EndSession { session, at } => What::End(session, at),
            Write::RenameSession { session, title } => What::Rename(session, title.to_string()),
            Write::DeleteSession { session } => What::Delete(session),
            other => panic!("the simulation does not know the write {other:?}"),
        }
    }

    pub fn of_query(query: Query<'_>) -> What {
        match query {
            Query::Session(id) => What::Session(id),
            Query::Sessions { user_id, username, limit } => {
                What::Sessions { user_id: user_id.to_string(), username: username.to_string(), limit }
            }
            Query::Messages { session, before, limit } => What::Messages { session, before, limit },
            Query::Message { session, message } => What::OneMessage(session, message),
            Query::ClientMessage { session, user_id, client_id } => {
                What::ClientMessage { session, user_id: user_id.to_string(), client_id: client_id.to_string() }
            }
            Query::Totals => What::Totals,
            other => panic!("the simulation does not know the query {other:?}"),
        }
    }

    pub fn is_write(&self) -> bool {
        matches!(
            self,
            What::Create(_)
                | What::Message(_)
                | What::Invite(..)
                | What::Member(..)
                | What::Continue(..)
                | What::End(..)
                | What::Rename(..)
                | What::Delete(_)
        )
    }
}

impl Storage {
    /// A session that is there and not deleted.
    pub fn session(&self, id: SessionId) -> Option<&Stored> {
        self.sessions.get(&id).filter(|stored| !stored.deleted)
    }

    /// The sessions that a user could go to.
    pub fn open_sessions(&self, user_id: &str) -> Vec<SessionId> {
        let all = self.of_user.get(user_id).map_or(&[][..], Vec::as_slice);
        all.iter()
            .copied()
            .filter(|id| self.session(*id).is_some_and(|s| s.record.ended.is_none()))
            .rev()
            .take(6)
            .collect()
    }

    pub fn write(&mut self, what: What) {
        match what {
            What::Create(record) => {
                let (id, owner) = (record.id, record.owner.clone());
                self.of_user.entry(owner).or_default().push(id);
                let stored = Stored {
                    record: *record,
                    messages: Vec::new(),
                    deleted: false,
                    places: HashMap::new(),
                    client_ids: HashMap::new(),
                };
                check!(self.sessions.insert(id, stored).is_none(), "session ids differ: {id:?}");
            }
            What::Message(record) => self.append(*record),
            What::Invite(session, username) => {
                let stored = self.existing(session);
                if !stored.record.invited.contains(&username) {
                    stored.record.invited.push(username.clone());
                }
                // Users' ids follow from their names here.
                let sessions = self.of_user.entry(format!("id-{username}")).or_default();
                if !sessions.contains(&session) {
                    sessions.push(session);
                }
            }
            What::Member(session, member) => {
                let record = &mut self.existing(session).record;
                check!(
                    record.invited.contains(&member.username) || record.members.contains(&member),
                    "only who is invited becomes a member: {member:?} of {session:?}"
                );
                record.invited.retain(|name| *name != member.username);
                if !record.members.contains(&member) {
                    record.members.push(member);
                }
            }
            What::Continue(session, message) => {
                let stored = self.existing(session);
                check!(stored.places.contains_key(&message), "{session:?} goes on from what is stored");
                stored.record.last_message = Some(message);
            }
            What::End(session, at) => {
                check!(self.wishes.ended.contains(&session), "nobody asked for the end of {session:?}");
                let stored = self.existing(session);
                check!(stored.record.ended.is_none(), "{session:?} ends once");
                stored.record.ended = Some(at);
            }
            What::Rename(session, title) => {
                check!(self.wishes.renamed.contains(&(session, title.clone())), "nobody asked for {title:?}");
                self.existing(session).record.title = title;
            }
            What::Delete(session) => {
                check!(self.wishes.ended.contains(&session), "nobody asked for the end of {session:?}");
                self.existing(session).deleted = true;
            }
            read => unreachable!("{read:?} is no write"),
        }
    }

    fn existing(&mut self, id: SessionId) -> &mut Stored {
        match self.sessions.get_mut(&id) {
            Some(stored) if !stored.deleted => stored,
            _ => panic!("a write for {id:?}, which is not stored"),
        }
    }

    fn append(&mut self, record: MessageRecord) {
        self.messages += 1;
        let stored = self.existing(record.session);
        check!(stored.record.ended.is_none(), "no message after the end of {:?}", record.session);
        check!(record.seq == stored.messages.len() as u64 + 1, "without gap: {record:?}");
        check!(record.parent.is_none_or(|id| stored.places.contains_key(&id)), "a parent is stored: {record:?}");
        check!(
            (record.role == MessageRole::User) == record.author.is_some(),
            "people's messages, and no others, have authors: {record:?}"
        );
        let at = stored.messages.len();
        if let (Some(author), Some(client_id)) = (&record.author, &record.client_id) {
            let first = stored.client_ids.insert((author.user_id.clone(), client_id.clone()), at).is_none();
            check!(first, "a client's id is stored once: {record:?}");
        }
        check!(stored.places.insert(record.id, at).is_none(), "message ids differ: {record:?}");
        stored.record.append(&record);
        stored.messages.push(record);
    }

    pub fn read(&self, what: &What) -> Loaded {
        match what {
            What::Session(id) => Loaded::Session(self.session(*id).map(|s| s.record.clone())),
            What::Sessions { user_id, username, limit } => self.list(user_id, username, *limit),
            What::Messages { session, before, limit } => {
                let all = self.session(*session).map_or(&[][..], |s| &s.messages);
                let end = all.partition_point(|m| m.seq < *before);
                let from = end.saturating_sub(*limit as usize);
                Loaded::Messages { messages: all[from..end].to_vec(), more: from > 0 }
            }
            What::OneMessage(session, message) => {
                Loaded::Message(self.session(*session).and_then(|s| s.message(*message)).cloned())
            }
            What::ClientMessage { session, user_id, client_id } => {
                let found = self.session(*session).and_then(|s| {
                    let at = s.client_ids.get(&(user_id.clone(), client_id.clone()))?;
                    Some((s.messages[*at].id, s.messages[*at].seq))
                });
                Loaded::ClientMessage(found)
            }
            What::Totals => Loaded::Totals { sessions: self.sessions.len() as u64, messages: self.messages },
            write => unreachable!("{write:?} is no query"),
        }
    }

    fn list(&self, user_id: &str, username: &str, limit: u32) -> Loaded {
        let all = self.of_user.get(user_id).map_or(&[][..], Vec::as_slice);
        let mut list: Vec<_> = all
            .iter()
            .filter_map(|id| self.session(*id))
            .filter(|s| {
                let record = &s.record;
                record.members.iter().any(|m| m.user_id == user_id) || record.invited.iter().any(|n| n == username)
            })
            .map(|s| SessionSummary {
                id: s.record.id,
                title: s.record.title.clone(),
                owner: s.record.owner.clone(),
                created: s.record.created,
                active: s.messages.last().map_or(s.record.created, |m| m.created),
                ended: s.record.ended,
                messages: s.record.last_seq,
            })
            .collect();
        list.sort_by_key(|s| std::cmp::Reverse((s.active, s.id)));
        list.truncate(limit as usize);
        Loaded::Sessions(list)
    }
}
