//! Jobs: which are refused, in what order they are answered, and how many may wait.

use super::*;

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
        Job::Conversation {
            generation,
            session: session_id(1),
            leaf: message(session_id(1), 1, "").id,
            asker: "ada".to_owned(),
        },
    ] {
        db.store.submit(job).unwrap();
    }
    assert_eq!([db.reply(), db.reply()], [Reply::Stored(RequestId(1)), Reply::Stored(RequestId(2))]);
    assert_eq!(db.reply(), Reply::Loaded(RequestId(3), Loaded::Totals { sessions: 1, messages: 1 }));
    let Reply::Conversation { result: Ok(conversation), .. } = db.reply() else { panic!("no conversation") };
    assert_eq!(conversation.turns[0].content, "Why?");
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
