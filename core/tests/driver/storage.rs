//! Storage that commits or fails on command.

use std::collections::{BTreeMap, VecDeque};

use causerie_core::{
    Loaded, Member, MessageRecord, MessageRole, Query, RequestId, SessionId, SessionRecord, SessionSummary, Write,
};

/// An answer of storage that is on its way.
pub enum Answer {
    Stored(RequestId),
    StoreFailed(RequestId),
    Loaded(RequestId, Loaded),
    LoadFailed(RequestId),
}

/// What is in storage.
#[derive(Default)]
pub struct Storage {
    pub sessions: BTreeMap<SessionId, SessionRecord>,
    pub messages: BTreeMap<SessionId, Vec<MessageRecord>>,
    /// The next so many writes fail.
    pub fail_writes: usize,
    /// The next so many reads fail.
    pub fail_reads: usize,
    /// Answers wait until this is off.
    pub held: bool,
    /// In the order in which they are given.
    pub answers: VecDeque<Answer>,
    /// Messages that are written, of which the hub is still to be told.
    pub(super) written: BTreeMap<RequestId, MessageRecord>,
}

impl Storage {
    pub(super) fn write(&mut self, request: RequestId, write: Write<'_>) {
        if self.fail_writes > 0 {
            self.fail_writes -= 1;
            self.answers.push_back(Answer::StoreFailed(request));
            return;
        }
        match write {
            Write::CreateSession(record) => {
                assert!(self.sessions.insert(record.id, record.clone()).is_none(), "session ids differ");
                self.messages.insert(record.id, Vec::new());
            }
            Write::Message(record) => {
                let session = self.sessions.get_mut(&record.session).expect("a session");
                let messages = self.messages.get_mut(&record.session).expect("a session");
                assert_eq!(record.seq, messages.len() as u64 + 1, "gapless");
                if let Some(parent) = record.parent {
                    let parent = messages.iter().find(|m| m.id == parent).expect("a parent is stored");
                    let answers = record.role == MessageRole::Assistant;
                    assert!(!answers || parent.role == MessageRole::User, "people are answered");
                }
                if let (Some(author), Some(client_id)) = (&record.author, &record.client_id) {
                    let same = |m: &&MessageRecord| {
                        m.author.as_ref() == Some(author) && m.client_id.as_ref() == Some(client_id)
                    };
                    assert!(messages.iter().find(same).is_none(), "a client id is stored once");
                }
                session.append(record);
                messages.push(record.clone());
                self.written.insert(request, record.clone());
            }
            Write::Invite { session, username } => {
                let session = self.sessions.get_mut(&session).expect("a session");
                if !session.invited.iter().any(|name| name == username) {
                    session.invited.push(username.to_string());
                }
            }
            Write::Member { session, user_id, username } => {
                let session = self.sessions.get_mut(&session).expect("a session");
                session.invited.retain(|name| name != username);
                if session.members.iter().all(|member| member.user_id != user_id) {
                    session.members.push(Member { user_id: user_id.to_string(), username: username.to_string() });
                }
            }
            Write::Continue { session, message } => {
                assert!(self.messages[&session].iter().any(|m| m.id == message), "it goes on from what is stored");
                self.sessions.get_mut(&session).expect("a session").last_message = Some(message);
            }
            Write::EndSession { session, at } => {
                self.sessions.get_mut(&session).expect("a session").ended = Some(at);
            }
            Write::RenameSession { session, title } => {
                self.sessions.get_mut(&session).expect("a session").title = title.to_string();
            }
            Write::DeleteSession { session } => {
                self.sessions.remove(&session);
                self.messages.remove(&session);
            }
            other => panic!("unknown write {other:?}"),
        }
        self.answers.push_back(Answer::Stored(request));
    }

    pub(super) fn read(&mut self, request: RequestId, query: Query<'_>) {
        if self.fail_reads > 0 {
            self.fail_reads -= 1;
            self.answers.push_back(Answer::LoadFailed(request));
            return;
        }
        let loaded = match query {
            Query::Session(id) => Loaded::Session(self.sessions.get(&id).cloned()),
            Query::Sessions { user_id, username, limit } => {
                let may = |s: &&SessionRecord| {
                    s.members.iter().any(|m| m.user_id == user_id) || s.invited.iter().any(|name| name == username)
                };
                let list = self.sessions.values().filter(may).map(|s| SessionSummary {
                    id: s.id,
                    title: s.title.clone(),
                    owner: s.owner.clone(),
                    created: s.created,
                    active: self.messages[&s.id].last().map_or(s.created, |m| m.created),
                    ended: s.ended,
                    messages: s.last_seq,
                });
                let mut list: Vec<_> = list.collect();
                list.sort_by_key(|s| std::cmp::Reverse((s.active, s.id)));
                list.truncate(limit as usize);
                Loaded::Sessions(list)
            }
            Query::Messages { session, before, limit } => {
                let all = self.messages.get(&session).cloned().unwrap_or_default();
                let older: Vec<_> = all.into_iter().filter(|m| m.seq < before).collect();
                let from = older.len().saturating_sub(limit as usize);
                Loaded::Messages { messages: older[from..].to_vec(), more: from > 0 }
            }
            Query::Message { session, message } => {
                let messages = self.messages.get(&session);
                Loaded::Message(messages.and_then(|all| all.iter().find(|m| m.id == message)).cloned())
            }
            Query::ClientMessage { session, user_id, client_id } => {
                let same = |m: &&MessageRecord| {
                    m.author.as_ref().is_some_and(|a| a.user_id == user_id) && m.client_id.as_deref() == Some(client_id)
                };
                let messages = self.messages.get(&session);
                Loaded::ClientMessage(messages.and_then(|all| all.iter().find(same)).map(|m| (m.id, m.seq)))
            }
            Query::Totals => Loaded::Totals {
                sessions: self.sessions.len() as u64,
                messages: self.messages.values().map(|m| m.len() as u64).sum(),
            },
            other => panic!("unknown query {other:?}"),
        };
        self.answers.push_back(Answer::Loaded(request, loaded));
    }
}
