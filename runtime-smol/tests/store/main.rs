//! Storage on real files: what was answered is there, whatever happens to the disk, the process or the other jobs.

mod conversation;
mod files;
mod jobs;
mod model;
mod records;
#[path = "../scratch/mod.rs"]
mod scratch;

use std::fs;
use std::path::Path;

use causerie::store::{
    CONVERSATION_BYTES, CONVERSATION_MESSAGES, Conversation, Job, OwnedQuery, OwnedWrite, QUEUE_BYTES, QUEUE_JOBS,
    Reply, Store, StoreOptions, SubmitError,
};
use causerie_core::{
    FinishReason, GenerationId, Loaded, Member, MessageId, MessageRecord, MessageRole, RequestId, SessionId,
    SessionRecord, UnixMicros, Usage, Uuid, limits,
};
use scratch::Scratch;
use smol::channel::{Receiver, unbounded};

/// A store and its replies.
struct Db {
    store: Store,
    replies: Receiver<Reply>,
}

impl Db {
    fn open(path: &Path) -> Db {
        Db::open_with(path, &StoreOptions::default())
    }

    fn open_with(path: &Path, options: &StoreOptions) -> Db {
        let (sender, replies) = unbounded();
        let store = Store::open_with(path, options, sender).unwrap_or_else(|error| panic!("{error}"));
        Db { store, replies }
    }

    fn reply(&self) -> Reply {
        self.replies.recv_blocking().expect("the store answers every job")
    }

    fn write(&self, write: OwnedWrite) -> Result<(), String> {
        self.store.submit(Job::Write(RequestId(7), write)).expect("the queue has room");
        match self.reply() {
            Reply::Stored(RequestId(7)) => Ok(()),
            Reply::StoreFailed(RequestId(7), why) => Err(why),
            other => panic!("not an answer to a write: {other:?}"),
        }
    }

    fn load(&self, query: OwnedQuery) -> Loaded {
        self.store.submit(Job::Load(RequestId(8), query)).expect("the queue has room");
        match self.reply() {
            Reply::Loaded(RequestId(8), loaded) => loaded,
            other => panic!("not an answer to a query: {other:?}"),
        }
    }

    fn session(&self, id: SessionId) -> Option<SessionRecord> {
        match self.load(OwnedQuery::Session(id)) {
            Loaded::Session(session) => session,
            other => panic!("not a session: {other:?}"),
        }
    }

    fn message(&self, session: SessionId, message: MessageId) -> Option<MessageRecord> {
        match self.load(OwnedQuery::Message { session, message }) {
            Loaded::Message(message) => message,
            other => panic!("not a message: {other:?}"),
        }
    }

    fn messages(&self, session: SessionId, before: u64, limit: u32) -> (Vec<MessageRecord>, bool) {
        match self.load(OwnedQuery::Messages { session, before, limit }) {
            Loaded::Messages { messages, more } => (messages, more),
            other => panic!("not messages: {other:?}"),
        }
    }

    fn sessions(&self, user_id: &str, username: &str, limit: u32) -> Vec<SessionId> {
        match self.load(OwnedQuery::Sessions { user_id: user_id.into(), username: username.into(), limit }) {
            Loaded::Sessions(sessions) => sessions.into_iter().map(|session| session.id).collect(),
            other => panic!("not sessions: {other:?}"),
        }
    }

    fn totals(&self) -> (u64, u64) {
        match self.load(OwnedQuery::Totals) {
            Loaded::Totals { sessions, messages } => (sessions, messages),
            other => panic!("not totals: {other:?}"),
        }
    }

    fn conversation(&self, session: SessionId, leaf: MessageId) -> Result<Conversation, String> {
        let generation = GenerationId(9);
        self.store
            .submit(Job::Conversation { generation, session, leaf, asker: "ada".to_owned() })
            .expect("the queue has room");
        match self.reply() {
            Reply::Conversation { generation: GenerationId(9), result, .. } => result,
            other => panic!("not a conversation: {other:?}"),
        }
    }
}

fn session_id(n: u8) -> SessionId {
    SessionId(Uuid([n; 16]))
}

fn message_id(n: u32) -> MessageId {
    let mut id = [0xff; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    MessageId(Uuid(id))
}

fn member(name: &str) -> Member {
    Member { user_id: format!("id of {name}"), username: name.to_owned() }
}

fn session(n: u8) -> SessionRecord {
    SessionRecord {
        id: session_id(n),
        title: format!("Session {n} — \"quoted\"; DROP TABLE sessions"),
        system: Some("Answer briefly.\nIn verse.".to_owned()),
        owner: member("ada").user_id,
        created: UnixMicros(1_000 + u64::from(n)),
        ended: None,
        last_seq: 0,
        last_message: None,
        members: vec![member("ada")],
        invited: Vec::new(),
    }
}

/// Message `seq` of a session, following the one before it.
fn message(session: SessionId, seq: u64, content: &str) -> MessageRecord {
    let number = |seq: u64| message_id(u32::from(session.0.0[0]) << 24 | u32::try_from(seq).unwrap());
    MessageRecord {
        id: number(seq),
        session,
        seq,
        parent: (seq > 1).then(|| number(seq - 1)),
        role: MessageRole::User,
        author: Some(member("ada")),
        content: content.to_owned(),
        created: UnixMicros(5_000 + seq),
        client_id: None,
        finish_reason: None,
        usage: None,
    }
}

/// A database with session 1 in it.
fn with_session(scratch: &Scratch) -> Db {
    let db = Db::open(&scratch.join("causerie.db"));
    db.write(OwnedWrite::CreateSession(session(1))).unwrap();
    db
}
