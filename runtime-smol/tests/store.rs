//! Storage on real files: what was answered is there, whatever happens to the disk, the process or the other jobs.

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
        self.store.submit(Job::Conversation { generation, session, leaf }).expect("the queue has room");
        match self.reply() {
            Reply::Conversation { generation: GenerationId(9), result } => result,
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

#[test]
fn what_is_written_is_read_back_the_same() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    assert_eq!(db.session(session_id(1)), Some(session(1)));
    assert_eq!(db.session(session_id(2)), None);

    let question = MessageRecord { client_id: Some("c1".into()), ..message(session_id(1), 1, "Grüße 👋\0!") };
    let answer = MessageRecord {
        role: MessageRole::Assistant,
        author: None,
        finish_reason: Some(FinishReason::Length),
        usage: Some(Usage { prompt_tokens: 11, cached_tokens: 4, completion_tokens: 22 }),
        ..message(session_id(1), 2, "")
    };
    let system = MessageRecord { role: MessageRole::System, author: None, ..message(session_id(1), 3, "x") };
    for record in [&question, &answer, &system] {
        db.write(OwnedWrite::Message(record.clone())).unwrap();
    }
    assert_eq!(
        db.messages(session_id(1), u64::MAX, 10),
        (vec![question.clone(), answer.clone(), system.clone()], false)
    );
    let stored = db.session(session_id(1)).unwrap();
    assert_eq!((stored.last_seq, stored.last_message), (3, Some(system.id)));
    assert_eq!(db.totals(), (1, 3));
}

#[test]
fn every_finish_reason_survives() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    let reasons = [FinishReason::Stop, FinishReason::Length, FinishReason::Stopped, FinishReason::Error];
    for (seq, reason) in (1..).zip(reasons) {
        let record = MessageRecord { finish_reason: Some(reason), ..message(session_id(1), seq, "x") };
        db.write(OwnedWrite::Message(record)).unwrap();
    }
    let found: Vec<_> = db.messages(session_id(1), 9, 9).0.into_iter().filter_map(|m| m.finish_reason).collect();
    assert_eq!(found, reasons);
}

#[test]
fn history_comes_in_pages_that_say_whether_there_is_more() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    for seq in 1..=5 {
        db.write(OwnedWrite::Message(message(session_id(1), seq, "x"))).unwrap();
    }
    let page = |before, limit| {
        let (messages, more) = db.messages(session_id(1), before, limit);
        (messages.into_iter().map(|message| message.seq).collect::<Vec<_>>(), more)
    };
    assert_eq!(page(u64::MAX, 2), (vec![4, 5], true));
    assert_eq!(page(4, 2), (vec![2, 3], true));
    assert_eq!(page(2, 2), (vec![1], false));
    assert_eq!(page(1, 2), (vec![], false));
    assert_eq!(page(6, 5), (vec![1, 2, 3, 4, 5], false));
    assert_eq!(page(6, 0), (vec![], true));
    assert_eq!(db.messages(session_id(9), u64::MAX, 5), (vec![], false));
}

#[test]
fn a_page_of_long_messages_has_fewer_of_them() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    let long = "x".repeat(limits::PAGE_BYTES / 8);
    for seq in 1..=20 {
        db.write(OwnedWrite::Message(message(session_id(1), seq, &long))).unwrap();
    }
    let page = |before, limit| {
        let (messages, more) = db.messages(session_id(1), before, limit);
        (messages.into_iter().map(|message| message.seq).collect::<Vec<_>>(), more)
    };
    assert_eq!(page(u64::MAX, 100), ((13..=20).collect(), true));
    assert_eq!(page(13, 100), ((5..=12).collect(), true));
    assert_eq!(page(5, 100), ((1..=4).collect(), false));
    assert_eq!(page(u64::MAX, 8), ((13..=20).collect(), true));
    // As many as the hub fetches at once come together, however long.
    let whole = "x".repeat(limits::PAGE_BYTES);
    for seq in 21..=30 {
        db.write(OwnedWrite::Message(message(session_id(1), seq, &whole))).unwrap();
    }
    assert_eq!(page(u64::MAX, 100), ((27..=30).collect(), true));
    assert_eq!(page(30, limits::FETCHED_MESSAGES), ((26..=29).collect(), true));
}

#[test]
fn pages_and_writes_are_answered_in_order_to_one_who_takes_them_slowly() {
    let scratch = Scratch::new();
    let path = scratch.join("causerie.db");
    let db = with_session(&scratch);
    let long = "x".repeat(limits::PAGE_BYTES);
    for seq in 1..=8 {
        db.write(OwnedWrite::Message(message(session_id(1), seq, &long))).unwrap();
    }
    drop(db);
    let (sender, replies) = smol::channel::bounded(1);
    let store = Store::open(&path, sender).unwrap();
    // Reads alone, and reads between writes, of more than one transaction keeps.
    for n in 0..100 {
        let query = OwnedQuery::Messages { session: session_id(1), before: u64::MAX, limit: 100 };
        store.submit(Job::Load(RequestId(n), query)).unwrap();
        if n % 10 == 9 {
            let write = OwnedWrite::RenameSession { session: session_id(1), title: n.to_string() };
            store.submit(Job::Write(RequestId(1_000 + n), write)).unwrap();
        }
    }
    for n in 0..100 {
        match replies.recv_blocking().unwrap() {
            Reply::Loaded(RequestId(request), Loaded::Messages { messages, more }) => {
                assert_eq!((request, messages.len(), more), (n, 4, true));
            }
            other => panic!("not page {n}: {other:?}"),
        }
        if n % 10 == 9 {
            assert_eq!(replies.recv_blocking(), Ok(Reply::Stored(RequestId(1_000 + n))));
        }
    }
}

#[test]
fn people_are_invited_then_members() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    let invite = |username: &str| OwnedWrite::Invite { session: session_id(1), username: username.to_owned() };
    db.write(invite("bob")).unwrap();
    db.write(invite("bob")).unwrap();
    db.write(invite("eve")).unwrap();
    assert_eq!(db.session(session_id(1)).unwrap().invited, ["bob", "eve"]);
    assert_eq!(db.sessions("nobody", "bob", 10), [session_id(1)]);

    let bob = member("bob");
    let join =
        OwnedWrite::Member { session: session_id(1), user_id: bob.user_id.clone(), username: bob.username.clone() };
    db.write(join).unwrap();
    let stored = db.session(session_id(1)).unwrap();
    assert_eq!((stored.members, stored.invited), (vec![member("ada"), bob.clone()], vec!["eve".to_owned()]));
    assert_eq!(db.sessions(&bob.user_id, "another name now", 10), [session_id(1)]);
    assert_eq!(db.sessions("nobody", "bob", 10), []);
}

#[test]
fn sessions_are_listed_by_their_last_activity() {
    let scratch = Scratch::new();
    let db = Db::open(&scratch.join("causerie.db"));
    for n in 1..=3 {
        db.write(OwnedWrite::CreateSession(session(n))).unwrap();
    }
    let ada = member("ada").user_id;
    assert_eq!(db.sessions(&ada, "ada", 10), [session_id(3), session_id(2), session_id(1)]);
    db.write(OwnedWrite::Message(message(session_id(1), 1, "x"))).unwrap();
    assert_eq!(db.sessions(&ada, "ada", 2), [session_id(1), session_id(3)]);
    db.write(OwnedWrite::EndSession { session: session_id(3), at: UnixMicros(9) }).unwrap();
    db.write(OwnedWrite::RenameSession { session: session_id(3), title: "New".into() }).unwrap();
    let stored = db.session(session_id(3)).unwrap();
    assert_eq!((stored.ended, stored.title.as_str()), (Some(UnixMicros(9)), "New"));
}

#[test]
fn a_deleted_session_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    db.write(OwnedWrite::CreateSession(session(2))).unwrap();
    for n in [1, 2] {
        for seq in 1..=3 {
            db.write(OwnedWrite::Message(message(session_id(n), seq, "x"))).unwrap();
        }
    }
    db.write(OwnedWrite::DeleteSession { session: session_id(1) }).unwrap();
    assert_eq!(db.session(session_id(1)), None);
    assert_eq!(db.messages(session_id(1), u64::MAX, 5).0, []);
    assert_eq!(db.totals(), (1, 3));
    // Nor do its ids stay taken.
    db.write(OwnedWrite::CreateSession(session(1))).unwrap();
    db.write(OwnedWrite::Message(message(session_id(1), 1, "x"))).unwrap();
}

#[test]
fn writes_that_make_no_sense_are_refused_and_say_why() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    db.write(OwnedWrite::CreateSession(session(2))).unwrap();
    db.write(OwnedWrite::Message(message(session_id(1), 1, "x"))).unwrap();
    let nowhere = session_id(9);
    let refused = [
        (OwnedWrite::CreateSession(session(1)), "UNIQUE"),
        (OwnedWrite::Message(message(session_id(1), 1, "again")), "has seq 2, not 1"),
        (OwnedWrite::Message(message(session_id(1), 3, "gap")), "there is no message"),
        (OwnedWrite::Message(MessageRecord { parent: None, ..message(session_id(1), 3, "gap") }), "has seq 2, not 3"),
        (
            OwnedWrite::Message(MessageRecord {
                parent: Some(message(session_id(1), 1, "").id),
                ..message(session_id(2), 1, "")
            }),
            "there is no message",
        ),
        (OwnedWrite::Message(MessageRecord { seq: u64::MAX, parent: None, ..message(session_id(1), 2, "") }), "beyond"),
        (OwnedWrite::Message(MessageRecord { parent: None, ..message(nowhere, 1, "") }), "there is no session 0909"),
        (OwnedWrite::Invite { session: nowhere, username: "x".into() }, "there is no session"),
        (OwnedWrite::Member { session: nowhere, user_id: "x".into(), username: "x".into() }, "there is no session"),
        (OwnedWrite::EndSession { session: nowhere, at: UnixMicros(1) }, "there is no session"),
        (OwnedWrite::RenameSession { session: nowhere, title: "x".into() }, "there is no session"),
        (OwnedWrite::DeleteSession { session: nowhere }, "there is no session"),
    ];
    for (write, why) in refused {
        let error = db.write(write.clone()).expect_err("it makes no sense");
        assert!(error.contains(why) && error.contains("causerie.db"), "{write:?}: {error}");
    }
    assert_eq!(db.totals(), (2, 1));
}

#[test]
fn a_client_id_is_unique_to_its_author_in_a_session() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    let said = |seq, who: &str| MessageRecord {
        client_id: Some("c".into()),
        author: Some(member(who)),
        ..message(session_id(1), seq, "x")
    };
    db.write(OwnedWrite::Message(said(1, "ada"))).unwrap();
    db.write(OwnedWrite::Message(said(2, "bob"))).unwrap();
    assert!(db.write(OwnedWrite::Message(said(3, "ada"))).is_err());
    let find = |who: &str, client_id: &str| {
        db.load(OwnedQuery::ClientMessage {
            session: session_id(1),
            user_id: member(who).user_id,
            client_id: client_id.into(),
        })
    };
    assert_eq!(find("bob", "c"), Loaded::ClientMessage(Some((said(2, "bob").id, 2))));
    assert_eq!(find("bob", "d"), Loaded::ClientMessage(None));
    assert_eq!(find("eve", "c"), Loaded::ClientMessage(None));
}

#[test]
fn many_writes_at_once_are_answered_in_order_and_a_bad_one_harms_none() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    for n in 0..1000 {
        // Every tenth repeats the message before it.
        let seq = n - n / 10;
        db.store
            .submit(Job::Write(RequestId(n), OwnedWrite::Message(message(session_id(1), seq.max(1), "x"))))
            .unwrap();
    }
    let mut stored = 0;
    for n in 0..1000 {
        match db.reply() {
            Reply::Stored(request) => {
                assert_eq!(request, RequestId(n));
                stored += 1;
            }
            Reply::StoreFailed(request, why) => {
                assert_eq!(request, RequestId(n));
                assert!(why.contains("has seq"), "{why}");
            }
            other => panic!("not an answer to a write: {other:?}"),
        }
    }
    assert_eq!(db.totals(), (1, stored));
    assert_eq!(stored, db.session(session_id(1)).unwrap().last_seq);
    assert!(stored >= 899, "{stored}");
}

#[test]
fn a_query_sees_the_writes_submitted_before_it() {
    let scratch = Scratch::new();
    let db = Db::open(&scratch.join("causerie.db"));
    let generation = GenerationId(3);
    for job in [
        Job::Write(RequestId(1), OwnedWrite::CreateSession(session(1))),
        Job::Write(RequestId(2), OwnedWrite::Message(message(session_id(1), 1, "Why?"))),
        Job::Load(RequestId(3), OwnedQuery::Totals),
        Job::Conversation { generation, session: session_id(1), leaf: message(session_id(1), 1, "").id },
    ] {
        db.store.submit(job).unwrap();
    }
    assert_eq!([db.reply(), db.reply()], [Reply::Stored(RequestId(1)), Reply::Stored(RequestId(2))]);
    assert_eq!(db.reply(), Reply::Loaded(RequestId(3), Loaded::Totals { sessions: 1, messages: 1 }));
    let Reply::Conversation { result: Ok(conversation), .. } = db.reply() else { panic!("no conversation") };
    assert_eq!(conversation.turns[0].content, "Why?");
}

#[test]
fn what_was_answered_survives_a_crash_right_after() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    for seq in 1..=50 {
        db.write(OwnedWrite::Message(message(session_id(1), seq, "precious"))).unwrap();
    }
    // The files as a killed process leaves them: nothing closed, nothing checkpointed.
    let crashed = scratch.join("crashed");
    fs::create_dir(&crashed).unwrap();
    for file in ["causerie.db", "causerie.db-wal"] {
        fs::copy(scratch.join(file), crashed.join(file)).unwrap();
    }
    assert_eq!(Db::open(&crashed.join("causerie.db")).totals(), (1, 50));
}

#[test]
fn dropping_the_store_writes_what_is_queued() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    for seq in 1..=2000 {
        db.store.submit(Job::Write(RequestId(seq), OwnedWrite::Message(message(session_id(1), seq, "x")))).unwrap();
    }
    drop(db);
    assert_eq!(Db::open(&scratch.join("causerie.db")).totals(), (1, 2000));
}

#[test]
fn dropping_the_store_does_not_wait_for_somebody_to_take_the_replies() {
    let scratch = Scratch::new();
    let path = scratch.join("causerie.db");
    let (sender, replies) = smol::channel::bounded(1);
    let store = Store::open(&path, sender).unwrap();
    for n in 1..=100 {
        store.submit(Job::Write(RequestId(u64::from(n)), OwnedWrite::CreateSession(session(n)))).unwrap();
    }
    drop(store);
    drop(replies);
    assert_eq!(Db::open(&path).totals(), (100, 0));
}

#[test]
fn one_server_a_database() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    let error = Store::open(&scratch.join("causerie.db"), unbounded().0).expect_err("it is in use").to_string();
    assert!(error.contains("in use by another causerie server") && error.contains("--data-dir"), "{error}");
    drop(db);
    assert_eq!(Db::open(&scratch.join("causerie.db")).totals(), (1, 0));
}

#[test]
fn a_full_disk_refuses_writes_keeps_what_is_there_and_goes_on_when_there_is_room() {
    let scratch = Scratch::new();
    let path = scratch.join("causerie.db");
    let options = StoreOptions { max_bytes: Some(512 * 1024) };
    let db = Db::open_with(&path, &options);
    db.write(OwnedWrite::CreateSession(session(1))).unwrap();
    db.write(OwnedWrite::CreateSession(session(2))).unwrap();
    let text = "x".repeat(20_000);
    let mut seq = 0;
    let error = loop {
        match db.write(OwnedWrite::Message(message(session_id(1), seq + 1, &text))) {
            Ok(()) => seq += 1,
            Err(error) => break error,
        }
        assert!(seq < 100, "the limit has no effect");
    };
    assert!(error.contains("full") && error.contains("causerie.db") && error.contains("free some space"), "{error}");
    assert_eq!(db.session(session_id(1)).unwrap().last_seq, seq);

    // Of what is queued together, each that fits is stored.
    db.store.submit(Job::Write(RequestId(1), OwnedWrite::Message(message(session_id(1), seq + 1, &text)))).unwrap();
    db.store.submit(Job::Write(RequestId(2), OwnedWrite::Message(message(session_id(2), 1, "short")))).unwrap();
    db.store.submit(Job::Load(RequestId(3), OwnedQuery::Totals)).unwrap();
    assert!(matches!(db.reply(), Reply::StoreFailed(RequestId(1), _)));
    assert_eq!(db.reply(), Reply::Stored(RequestId(2)));
    assert_eq!(db.reply(), Reply::Loaded(RequestId(3), Loaded::Totals { sessions: 2, messages: seq + 1 }));

    db.write(OwnedWrite::DeleteSession { session: session_id(1) }).unwrap();
    for next in 2..seq {
        db.write(OwnedWrite::Message(message(session_id(2), next, &text))).unwrap();
    }
    drop(db);
    assert_eq!(Db::open(&path).totals(), (1, seq - 1));
}

#[test]
fn a_database_that_somebody_else_holds_fails_the_write_and_works_afterwards() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    let other = rusqlite::Connection::open(scratch.join("causerie.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = db.write(OwnedWrite::Message(message(session_id(1), 1, "x"))).expect_err("it is locked");
    assert!(error.contains("locked") && error.contains("another program"), "{error}");
    assert_eq!(db.totals(), (1, 0));
    other.execute_batch("ROLLBACK").unwrap();
    db.write(OwnedWrite::Message(message(session_id(1), 1, "x"))).unwrap();
}

#[test]
fn the_queue_is_bounded_in_jobs_and_in_bytes() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    let other = rusqlite::Connection::open(scratch.join("causerie.db")).unwrap();
    let fill = |write: &dyn Fn() -> OwnedWrite, most: usize| {
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut taken = 0;
        let refused = loop {
            match db.store.submit(Job::Write(RequestId(1), write())) {
                Ok(()) => taken += 1,
                Err(error) => break error,
            }
            assert!(taken <= most, "the queue has no bound");
        };
        other.execute_batch("ROLLBACK").unwrap();
        // All that were taken are answered, and then there is room again.
        (0..taken).for_each(|_| assert_eq!(db.reply(), Reply::Stored(RequestId(1))));
        assert_eq!(refused, SubmitError::Busy);
        taken
    };
    let title = |length| OwnedWrite::RenameSession { session: session_id(1), title: "x".repeat(length) };
    // The thread holds one batch of up to 256 beside the queue.
    let jobs = fill(&|| title(1), QUEUE_JOBS + 256);
    assert!(jobs >= QUEUE_JOBS, "{jobs}");
    let bytes = fill(&|| title(1 << 20), QUEUE_BYTES >> 20);
    assert!(bytes >= (QUEUE_BYTES >> 20) - 1, "{bytes}");
    // A single job above the limit still gets through.
    db.write(title(QUEUE_BYTES + 1)).unwrap();
}

#[test]
fn a_newer_database_is_left_alone() {
    let scratch = Scratch::new();
    drop(with_session(&scratch));
    let path = scratch.join("causerie.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = Store::open(&path, unbounded().0).expect_err("it is newer").to_string();
    assert!(error.contains("schema version 99") && error.contains("newer"), "{error}");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 1).unwrap();
    assert_eq!(Db::open(&path).totals(), (1, 0));
}

#[test]
fn files_of_others_are_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.join("causerie.db");
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE theirs (x); PRAGMA user_version = 1")
        .unwrap();
    let before = fs::read(&path).unwrap();
    let error = Store::open(&path, unbounded().0).expect_err("it is not ours").to_string();
    assert!(error.contains("another program"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);

    fs::write(&path, "not a database, however long it may be ".repeat(100)).unwrap();
    let error = Store::open(&path, unbounded().0).expect_err("it is no database").to_string();
    assert!(error.contains("not a database") && error.contains("backup"), "{error}");
}

#[test]
fn a_broken_database_fails_what_needs_the_broken_part_and_the_rest_goes_on() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    db.write(OwnedWrite::CreateSession(session(2))).unwrap();
    for seq in 1..=100 {
        db.write(OwnedWrite::Message(message(session_id(1), seq, &"x".repeat(2000)))).unwrap();
    }
    drop(db);
    // The second half of the file, where the messages are, becomes nonsense.
    let path = scratch.join("causerie.db");
    let mut bytes = fs::read(&path).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let db = Db::open(&path);
    let query = OwnedQuery::Messages { session: session_id(1), before: u64::MAX, limit: 1000 };
    db.store.submit(Job::Load(RequestId(1), query)).unwrap();
    let Reply::LoadFailed(RequestId(1), why) = db.reply() else { panic!("nonsense was read as messages") };
    assert!(why.contains("malformed") && why.contains("causerie.db") && why.contains("backup"), "{why}");
    assert_eq!(db.session(session_id(2)), Some(session(2)));
    assert_eq!(db.totals(), (2, 100));
}

#[test]
fn a_path_that_cannot_be_is_an_error_that_names_it() {
    let scratch = Scratch::new();
    fs::write(scratch.join("file"), "").unwrap();
    let error = Store::open(&scratch.join("file/causerie.db"), unbounded().0).expect_err("no directory").to_string();
    assert!(error.contains("file") && error.contains("--data-dir"), "{error}");
    fs::create_dir(scratch.join("causerie.db")).unwrap();
    let error = Store::open(&scratch.join("causerie.db"), unbounded().0).expect_err("a directory").to_string();
    assert!(error.contains("causerie.db"), "{error}");
}

/// People go on talking while the model answers.
#[test]
fn an_answer_that_came_later_stands_behind_its_question() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    let answers = |seq, question: &MessageRecord| MessageRecord {
        role: MessageRole::Assistant,
        author: None,
        parent: Some(question.id),
        ..message(session_id(1), seq, &format!("to {}", question.content))
    };
    let asks = |seq, after: &MessageRecord, text| MessageRecord {
        parent: Some(after.id),
        ..message(session_id(1), seq, text)
    };
    let one = MessageRecord { parent: None, ..message(session_id(1), 1, "one") };
    let two = asks(2, &one, "two");
    let to_one = answers(3, &one);
    let three = asks(4, &two, "three");
    let to_three = answers(5, &three); // the answer to two failed
    for (record, goes_on_from) in
        [(&one, &one), (&two, &two), (&to_one, &two), (&three, &three), (&to_three, &to_three)]
    {
        db.write(OwnedWrite::Message(record.clone())).unwrap();
        assert_eq!(db.session(session_id(1)).unwrap().last_message, Some(goes_on_from.id));
    }
    let texts = |leaf: &MessageRecord| -> Vec<String> {
        let found = db.conversation(session_id(1), leaf.id).unwrap();
        found.turns.into_iter().map(|turn| turn.content).collect()
    };
    assert_eq!(texts(&two), ["one", "to one", "two"]);
    assert_eq!(texts(&to_three), ["one", "to one", "two", "three", "to three"]);
}

#[test]
fn a_conversation_keeps_its_newest_messages() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    let leaf = |seq| message(session_id(1), seq, "").id;
    let most = CONVERSATION_MESSAGES as u64;
    for first in (1..=most + 1).step_by(1000) {
        let chunk = first..=(first + 999).min(most + 1);
        for seq in chunk.clone() {
            let write = OwnedWrite::Message(message(session_id(1), seq, &seq.to_string()));
            db.store.submit(Job::Write(RequestId(seq), write)).unwrap();
        }
        chunk.for_each(|seq| assert_eq!(db.reply(), Reply::Stored(RequestId(seq))));
    }
    let whole = db.conversation(session_id(1), leaf(most)).unwrap();
    assert_eq!((whole.turns.len(), whole.cut), (CONVERSATION_MESSAGES, false));
    assert_eq!(whole.system.as_deref(), Some("Answer briefly.\nIn verse."));
    let cut = db.conversation(session_id(1), leaf(most + 1)).unwrap();
    assert_eq!((cut.turns.len(), cut.cut, cut.turns[0].content.as_str()), (CONVERSATION_MESSAGES, true, "2"));
    assert_eq!(cut.turns.last().unwrap().content, (most + 1).to_string());
}

#[test]
fn a_conversation_is_bounded_in_bytes_and_always_has_its_leaf() {
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    let half = "x".repeat(CONVERSATION_BYTES / 2);
    for (seq, text) in [(1, half.as_str()), (2, half.as_str()), (3, "y"), (4, &half.repeat(3))] {
        db.write(OwnedWrite::Message(message(session_id(1), seq, text))).unwrap();
    }
    let of = |seq| {
        let found = db.conversation(session_id(1), message(session_id(1), seq, "").id).unwrap();
        (found.turns.len(), found.cut)
    };
    assert_eq!(of(2), (2, false));
    assert_eq!(of(3), (2, true));
    assert_eq!(of(4), (1, true));
    let error = db.conversation(session_id(1), message_id(77)).expect_err("no such message");
    assert!(error.contains("there is no message"), "{error}");
    let error = db.conversation(session_id(5), message(session_id(1), 1, "").id).expect_err("no such session");
    assert!(error.contains("there is no session"), "{error}");
}

mod model {
    //! Any sequence of writes leaves what a simple model in memory says.

    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    /// A write, with indices in place of ids.
    #[derive(Clone, Debug)]
    enum Step {
        Create(u8),
        /// Session, offset of `seq` from the right one, parent among the messages so far (none at 0), author.
        Message(u8, i8, Index, bool),
        Invite(u8, u8),
        Member(u8, u8),
        End(u8),
        Rename(u8),
        Delete(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let session = 1..4u8;
        prop_oneof![
            2 => session.clone().prop_map(Step::Create),
            8 => (session.clone(), prop_oneof![9 => Just(0i8), 1 => -2..3i8], any::<Index>(), any::<bool>())
                .prop_map(|(s, offset, parent, author)| Step::Message(s, offset, parent, author)),
            1 => (session.clone(), 0..3u8).prop_map(|(s, who)| Step::Invite(s, who)),
            1 => (session.clone(), 0..3u8).prop_map(|(s, who)| Step::Member(s, who)),
            1 => session.clone().prop_map(Step::End),
            1 => session.clone().prop_map(Step::Rename),
            1 => session.prop_map(Step::Delete),
        ]
    }

    #[derive(Default)]
    struct Model {
        sessions: BTreeMap<u8, (SessionRecord, Vec<MessageRecord>)>,
        next: u32,
    }

    impl Model {
        /// The write of a step, and whether it must succeed; a success is applied.
        fn apply(&mut self, step: &Step) -> (OwnedWrite, bool) {
            let people = ["bob", "eve", "kim"];
            match step {
                Step::Create(n) => {
                    let free = !self.sessions.contains_key(n);
                    self.sessions.entry(*n).or_insert_with(|| (session(*n), Vec::new()));
                    (OwnedWrite::CreateSession(session(*n)), free)
                }
                Step::Message(n, offset, parent, by_user) => {
                    self.next += 1;
                    let none = Vec::new();
                    let log = self.sessions.get(n).map_or(&none, |(_, log)| log);
                    let parents: Vec<_> = [None].into_iter().chain(log.iter().map(|m| Some(m.id))).collect();
                    let seq = (log.len() as i64 + 1 + i64::from(*offset)).max(0) as u64;
                    let record = MessageRecord {
                        id: message_id(self.next),
                        seq,
                        parent: *parent.get(&parents),
                        author: by_user.then(|| member("ada")),
                        role: if *by_user { MessageRole::User } else { MessageRole::Assistant },
                        created: UnixMicros(9_000 + u64::from(self.next)),
                        ..message(session_id(*n), 1, &format!("text {}", self.next))
                    };
                    let fits = self.sessions.contains_key(n) && seq == log.len() as u64 + 1;
                    if let Some((session, log)) = self.sessions.get_mut(n).filter(|_| fits) {
                        session.last_seq = seq;
                        if *by_user || record.parent == session.last_message {
                            session.last_message = Some(record.id);
                        }
                        log.push(record.clone());
                    }
                    (OwnedWrite::Message(record), fits)
                }
                Step::Invite(n, who) => {
                    let username = people[usize::from(*who)].to_owned();
                    let write = OwnedWrite::Invite { session: session_id(*n), username: username.clone() };
                    let Some((session, _)) = self.sessions.get_mut(n) else { return (write, false) };
                    if !session.invited.contains(&username) {
                        session.invited.push(username);
                    }
                    (write, true)
                }
                Step::Member(n, who) => {
                    let who = member(people[usize::from(*who)]);
                    let (user_id, username) = (who.user_id.clone(), who.username.clone());
                    let write = OwnedWrite::Member { session: session_id(*n), user_id, username };
                    let Some((session, _)) = self.sessions.get_mut(n) else { return (write, false) };
                    session.invited.retain(|name| *name != who.username);
                    if !session.members.contains(&who) {
                        session.members.push(who);
                    }
                    (write, true)
                }
                Step::End(n) => {
                    self.next += 1;
                    let at = UnixMicros(u64::from(self.next));
                    let found = self.sessions.get_mut(n).map(|(session, _)| session.ended.get_or_insert(at)).is_some();
                    (OwnedWrite::EndSession { session: session_id(*n), at }, found)
                }
                Step::Rename(n) => {
                    self.next += 1;
                    let title = format!("title {}", self.next);
                    let found = self.sessions.get_mut(n).map(|(s, _)| s.title.clone_from(&title)).is_some();
                    (OwnedWrite::RenameSession { session: session_id(*n), title }, found)
                }
                Step::Delete(n) => {
                    let found = self.sessions.remove(n).is_some();
                    (OwnedWrite::DeleteSession { session: session_id(*n) }, found)
                }
            }
        }

        fn check(&self, db: &Db) {
            let messages: usize = self.sessions.values().map(|(_, log)| log.len()).sum();
            assert_eq!(db.totals(), (self.sessions.len() as u64, messages as u64));
            for n in 1..4 {
                let expected = self.sessions.get(&n);
                assert_eq!(db.session(session_id(n)).as_ref(), expected.map(|(session, _)| session));
                let Some((_, log)) = expected else { continue };
                assert_eq!(db.messages(session_id(n), u64::MAX, 1000), (log.clone(), false));
                for leaf in log {
                    let mut path = vec![leaf];
                    while let Some(parent) = path[0].parent {
                        let parent = log.iter().find(|m| m.id == parent).expect("parents come first");
                        if (parent.role, path[0].role) == (MessageRole::User, MessageRole::User) {
                            let answers =
                                |m: &&MessageRecord| m.parent == Some(parent.id) && m.role == MessageRole::Assistant;
                            path.splice(0..0, log.iter().find(answers));
                        }
                        path.insert(0, parent);
                    }
                    let texts: Vec<_> = path.iter().map(|m| m.content.as_str()).collect();
                    let found = db.conversation(session_id(n), leaf.id).unwrap();
                    assert_eq!(found.turns.iter().map(|turn| turn.content.as_str()).collect::<Vec<_>>(), texts);
                    assert!(!found.cut);
                }
            }
            let mut active: Vec<_> = self
                .sessions
                .values()
                .map(|(s, log)| (log.iter().map(|m| m.created).chain([s.created]).max(), s.id))
                .collect();
            active.sort_by(|a, b| b.cmp(a));
            let listed = db.sessions(&member("ada").user_id, "ada", 10);
            assert_eq!(listed, active.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
        #[test]
        fn any_writes_leave_what_the_model_says(steps in prop::collection::vec(step(), 1..60), reopen_after in any::<Index>()) {
            let scratch = Scratch::new();
            let path = scratch.join("causerie.db");
            let mut db = Db::open(&path);
            let mut model = Model::default();
            let reopen_after = reopen_after.index(steps.len());
            // In two halves, each queued at once, so that many share a transaction.
            for half in [&steps[..reopen_after], &steps[reopen_after..]] {
                let expected: Vec<bool> = half
                    .iter()
                    .map(|step| {
                        let (write, succeeds) = model.apply(step);
                        db.store.submit(Job::Write(RequestId(0), write)).unwrap();
                        succeeds
                    })
                    .collect();
                for (step, succeeds) in half.iter().zip(expected) {
                    let reply = db.reply();
                    prop_assert_eq!(matches!(reply, Reply::Stored(_)), succeeds, "{:?}: {:?}", step, reply);
                }
                model.check(&db);
                drop(db);
                db = Db::open(&path);
                model.check(&db);
            }
        }
    }
}
