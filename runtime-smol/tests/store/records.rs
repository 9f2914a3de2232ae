//! What is written is read back: sessions, messages, members.

use super::*;

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
