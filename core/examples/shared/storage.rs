//! Storage with a thread of its own: tables in memory, made from a journal to which every change is appended.
//!
//! A change is told to be stored when the disk has it (`sync_data`), and not before. What waits shares one sync. Of a
//! batch that failed nothing stays: the journal is cut where it began, and its changes never reach the tables. A line that
//! a crash left half written was never acknowledged, and is cut off at the next start.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::path::Path;
use std::sync::mpsc::Receiver;

use causerie_core::{
    GenerationId, Loaded, MessageId, MessageRecord, MessageRole, Query, RequestId, SessionId, SessionRecord,
    SessionSummary,
};

use super::journal::{self, Change};

/// Changes that share one sync. More than wait where nobody is slow.
const BATCH: usize = 256;

/// Messages that the model is shown at most.
const CONVERSATION: usize = 64;

/// What storage is asked, in an order that it keeps.
pub(crate) enum Job {
    /// A change, [encoded](journal::encode) already.
    Write(RequestId, String),
    Load(RequestId, Question),
    /// What a message answers: the messages on its way from the root, itself at the end.
    Conversation(GenerationId, SessionId, MessageId),
}

/// A [`Query`] that owns what it asks for.
pub(crate) enum Question {
    Session(SessionId),
    Sessions { user_id: String, username: String, limit: usize },
    Messages { session: SessionId, before: u64, limit: usize },
    Message { session: SessionId, message: MessageId },
    ClientMessage { session: SessionId, user_id: String, client_id: String },
    Totals,
}

impl Question {
    /// `None` for one that a later core asks and this program does not know.
    pub(crate) fn new(query: Query<'_>) -> Option<Question> {
        Some(match query {
            Query::Session(id) => Question::Session(id),
            Query::Sessions { user_id, username, limit } => {
                Question::Sessions { user_id: user_id.into(), username: username.into(), limit: limit as usize }
            }
            Query::Messages { session, before, limit } => Question::Messages { session, before, limit: limit as usize },
            Query::Message { session, message } => Question::Message { session, message },
            Query::ClientMessage { session, user_id, client_id } => {
                Question::ClientMessage { session, user_id: user_id.into(), client_id: client_id.into() }
            }
            Query::Totals => Question::Totals,
            _ => return None,
        })
    }
}

/// What storage answers, each job once.
#[derive(Debug)]
pub(crate) enum Reply {
    Stored(RequestId),
    StoreFailed(RequestId),
    Loaded(RequestId, Loaded),
    Conversation(GenerationId, Vec<MessageRecord>),
}

/// The journal and what it says.
pub(crate) struct Storage {
    journal: File,
    /// Bytes of the journal that are committed.
    committed: u64,
    sessions: BTreeMap<SessionId, Stored>,
}

struct Stored {
    record: SessionRecord,
    messages: Vec<MessageRecord>,
}

impl Storage {
    /// Opens or begins a journal.
    pub(crate) fn open(path: &Path) -> io::Result<Storage> {
        let mut journal = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut text = String::new();
        journal.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut storage = Storage { journal, committed: whole as u64, sessions: BTreeMap::new() };
        for line in text[..whole].lines() {
            let change = journal::decode(line).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("not a line of this journal: {line}"))
            })?;
            storage.apply(change);
        }
        storage.cut()?;
        Ok(storage)
    }

    /// Works until nobody can ask any more.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>, mut reply: impl FnMut(Reply)) {
        while let Ok(first) = jobs.recv() {
            let mut batch = Vec::new();
            for job in std::iter::once(first).chain(jobs.try_iter().take(BATCH - 1)) {
                match job {
                    Job::Write(request, line) => batch.push((request, line)),
                    // Who reads sees what was written before.
                    Job::Load(request, question) => {
                        self.commit(&mut batch, &mut reply);
                        reply(Reply::Loaded(request, self.answer(&question)));
                    }
                    Job::Conversation(generation, session, leaf) => {
                        self.commit(&mut batch, &mut reply);
                        reply(Reply::Conversation(generation, self.conversation(session, leaf)));
                    }
                }
            }
            self.commit(&mut batch, &mut reply);
        }
    }

    fn commit(&mut self, batch: &mut Vec<(RequestId, String)>, reply: &mut impl FnMut(Reply)) {
        if batch.is_empty() {
            return;
        }
        let lines: String = batch.iter().map(|(_, line)| line.as_str()).collect();
        let done = self.journal.write_all(lines.as_bytes()).and_then(|()| self.journal.sync_data());
        if let Err(error) = &done {
            eprintln!("the journal does not take changes: {error}");
            self.cut()
                .expect("a journal whose end is unknown cannot be gone on with: restart to read what is committed");
        } else {
            self.committed += lines.len() as u64;
        }
        for (request, line) in batch.drain(..) {
            if done.is_ok() {
                self.apply(journal::decode(&line).expect("what this program encodes it decodes"));
                reply(Reply::Stored(request));
            } else {
                reply(Reply::StoreFailed(request));
            }
        }
    }

    /// Cuts off what is not committed.
    fn cut(&mut self) -> io::Result<()> {
        self.journal.set_len(self.committed)?;
        self.journal.seek(SeekFrom::Start(self.committed))?;
        self.journal.sync_data()
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Create(record) => drop(self.sessions.insert(record.id, Stored { record, messages: Vec::new() })),
            Change::Message(message) => self.with(message.session, |stored| {
                stored.record.append(&message);
                stored.messages.push(message);
            }),
            Change::Invite(session, name) => self.with(session, |stored| {
                if !stored.record.invited.contains(&name) {
                    stored.record.invited.push(name);
                }
            }),
            Change::Member(session, member) => self.with(session, |stored| {
                stored.record.invited.retain(|name| *name != member.username);
                if stored.record.members.iter().all(|known| known.user_id != member.user_id) {
                    stored.record.members.push(member);
                }
            }),
            Change::Continue(session, message) => {
                self.with(session, |stored| stored.record.last_message = Some(message));
            }
            Change::End(session, at) => self.with(session, |stored| stored.record.ended = Some(at)),
            Change::Rename(session, title) => self.with(session, |stored| stored.record.title = title),
            Change::Delete(session) => drop(self.sessions.remove(&session)),
        }
    }

    fn with(&mut self, session: SessionId, change: impl FnOnce(&mut Stored)) {
        if let Some(stored) = self.sessions.get_mut(&session) {
            change(stored);
        }
    }

    fn messages(&self, session: SessionId) -> &[MessageRecord] {
        self.sessions.get(&session).map_or(&[], |stored| &stored.messages)
    }

    fn answer(&self, question: &Question) -> Loaded {
        match question {
            Question::Session(id) => Loaded::Session(self.sessions.get(id).map(|stored| stored.record.clone())),
            Question::Sessions { user_id, username, limit } => {
                let all = self.sessions.values().filter(|stored| {
                    let Stored { record, .. } = stored;
                    record.members.iter().any(|m| m.user_id == *user_id) || record.invited.contains(username)
                });
                let mut found: Vec<SessionSummary> = all.map(Stored::summary).collect();
                found.sort_by_key(|session| std::cmp::Reverse(session.active));
                found.truncate(*limit);
                Loaded::Sessions(found)
            }
            Question::Messages { session, before, limit } => {
                let all = self.messages(*session);
                let older = &all[..all.partition_point(|message| message.seq < *before)];
                let from = older.len().saturating_sub(*limit);
                Loaded::Messages { messages: older[from..].to_vec(), more: from > 0 }
            }
            Question::Message { session, message } => {
                Loaded::Message(self.messages(*session).iter().find(|known| known.id == *message).cloned())
            }
            Question::ClientMessage { session, user_id, client_id } => {
                let same = |message: &&MessageRecord| {
                    message.author.as_ref().is_some_and(|author| author.user_id == *user_id)
                        && message.client_id.as_ref() == Some(client_id)
                };
                Loaded::ClientMessage(self.messages(*session).iter().find(same).map(|found| (found.id, found.seq)))
            }
            Question::Totals => Loaded::Totals {
                sessions: self.sessions.len() as u64,
                messages: self.sessions.values().map(|stored| stored.messages.len() as u64).sum(),
            },
        }
    }

    /// The way from the root to `leaf`. A person's message that follows another person's came while that one was being
    /// answered; what the model said to it stands between them. (Which of several answers: see `Output::Generate`; here
    /// it is the first one.)
    fn conversation(&self, session: SessionId, leaf: MessageId) -> Vec<MessageRecord> {
        let all = self.messages(session);
        let mut way: Vec<MessageRecord> = Vec::new();
        let mut next = Some(leaf);
        while let Some(message) = next.and_then(|id| all.iter().find(|message| message.id == id)) {
            if way.len() >= CONVERSATION {
                break;
            }
            let follows = way.last().is_some_and(|later| later.role == MessageRole::User);
            if message.role == MessageRole::User && follows {
                let answers = |m: &&MessageRecord| m.role == MessageRole::Assistant && m.parent == Some(message.id);
                way.extend(all.iter().find(answers).cloned());
            }
            way.push(message.clone());
            next = message.parent;
        }
        way.reverse();
        way
    }
}

impl Stored {
    fn summary(&self) -> SessionSummary {
        let Stored { record, messages } = self;
        SessionSummary {
            id: record.id,
            title: record.title.clone(),
            owner: record.owner.clone(),
            created: record.created,
            active: messages.last().map_or(record.created, |message| message.created),
            ended: record.ended,
            messages: record.last_seq,
        }
    }
}
