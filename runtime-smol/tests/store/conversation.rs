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
