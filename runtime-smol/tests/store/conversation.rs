//! Conversations as a model gets them.

use super::*;

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

/// A small tree, told by whom each message is, what it says and what it follows.
fn stored(db: &Db, messages: &[(MessageRole, &str, &str)]) -> Vec<MessageRecord> {
    let mut all: Vec<MessageRecord> = Vec::new();
    for (role, text, parent) in messages {
        let record = MessageRecord {
            role: *role,
            author: (*role == MessageRole::User).then(|| member("ada")),
            parent: all.iter().find(|m| m.content == *parent).map(|m| m.id),
            ..message(session_id(1), all.len() as u64 + 1, text)
        };
        db.write(OwnedWrite::Message(record.clone())).unwrap();
        all.push(record);
    }
    all
}

#[test]
fn each_branch_has_its_own_answers() {
    use MessageRole::{Assistant as A, User as U};
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    let all = stored(
        &db,
        &[
            (U, "one", ""),
            (U, "two", "one"), // while one was being answered
            (A, "to one", "one"),
            (A, "to two", "two"),
            (A, "to one anew", "one"), // regenerated
            (U, "two edited", "one"),  // beside two, when both answers were there
            (A, "to two edited", "two edited"),
            (U, "three", "to one anew"),
            (U, "meanwhile", "one"), // while one is answered a third time
            (A, "to one again", "one"),
            (A, "to meanwhile", "meanwhile"),
            (A, "to one at last", "one"), // and a fourth time, which changes nothing for what was said before
            (U, "ein", ""),               // one, edited
            (A, "zu ein", "ein"),
        ],
    );
    let check = |leaf: &str, expected: &[&str]| {
        let leaf = all.iter().find(|m| m.content == leaf).unwrap();
        let found = db.conversation(session_id(1), leaf.id).unwrap();
        assert_eq!(found.turns.iter().map(|turn| turn.content.as_str()).collect::<Vec<_>>(), expected);
    };
    check("two", &["one", "to one", "two"]);
    check("to two", &["one", "to one", "two", "to two"]);
    check("two edited", &["one", "to one anew", "two edited"]);
    check("three", &["one", "to one anew", "three"]);
    check("meanwhile", &["one", "to one again", "meanwhile"]);
    check("to one at last", &["one", "to one at last"]);
    check("zu ein", &["ein", "zu ein"]);
}

#[test]
fn a_conversation_goes_back_to_one_of_its_messages_and_on_from_there() {
    use MessageRole::{Assistant as A, User as U};
    let scratch = Scratch::new();
    let db = with_session(&scratch);
    db.write(OwnedWrite::CreateSession(session(2))).unwrap();
    let tree = [(U, "one", ""), (A, "to one", "one"), (U, "two", "to one"), (A, "to two", "two")];
    let all = stored(&db, &tree);
    let last = || db.session(session_id(1)).unwrap().last_message;
    let back = |to, message| db.write(OwnedWrite::Continue { session: session_id(to), message });
    back(1, all[0].id).unwrap();
    assert_eq!(last(), Some(all[0].id));
    let again = MessageRecord { parent: Some(all[0].id), role: A, author: None, ..message(session_id(1), 5, "again") };
    db.write(OwnedWrite::Message(again.clone())).unwrap();
    assert_eq!(last(), Some(again.id), "its answer is where it goes on");
    for (to, message, why) in [
        (1, message_id(99), "there is no message"),
        (2, all[0].id, "there is no message"),
        (3, all[0].id, "there is no session"),
    ] {
        assert!(back(to, message).expect_err(why).contains(why));
    }
    assert_eq!(last(), Some(again.id));
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
