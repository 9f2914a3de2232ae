//! What happens to the file: crashes, full disks, other programs.

use super::*;

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
    let options = StoreOptions { max_bytes: Some(512 * 1024), ..StoreOptions::default() };
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
fn a_newer_database_is_left_alone() {
    let scratch = Scratch::new();
    drop(with_session(&scratch));
    let path = scratch.join("causerie.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    let version: i64 = other.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    other.pragma_update(None, "user_version", 99).unwrap();
    drop(other);
    let error = Store::open(&path, unbounded().0).expect_err("it is newer").to_string();
    assert!(error.contains("schema version 99") && error.contains("newer"), "{error}");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", version).unwrap();
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
