//! The reference model against servers that are wrong in one thing: every rule has a frame that breaks it, and the same
//! conversation without it is right.

use std::collections::BTreeSet;

use causerie_core::testing::{ClientId, Model, Rule, Violation};
use causerie_core::{Member, MessageId, MessageRecord, MessageRole, SessionId, UnixMicros, Uuid};
use serde_json::{Value, json};

const SESSION: &str = "00000000-0000-4000-8000-00000000000a";
const OTHER: &str = "00000000-0000-4000-8000-00000000000b";
const QUESTION: &str = "00000000-0000-4000-8000-000000000001";
const ANSWER: &str = "00000000-0000-4000-8000-000000000002";
const AT: &str = "2026-01-01T00:00:00.000000Z";

type Checked = Result<(), Violation>;

/// Ann's client and the server that she talks to.
struct Talk {
    model: Model,
    ann: ClientId,
}

fn greeting(user: &str) -> Value {
    json!({ "type": "connection_established", "message": "m", "user_id": user, "username": user, "timestamp": AT })
}

fn joined(seq: u64, resumed: bool, reference: u64) -> Value {
    json!({ "type": "session_joined", "timestamp": AT, "session_id": SESSION, "ref": reference, "session_title": "Tea",
            "epoch": "e", "seq": seq, "resumed": resumed, "owner": "ann",
            "participants": [{ "user_id": "ann", "username": "ann" }, { "user_id": "bob", "username": "bob" }] })
}

fn question(seq: u64, content: &str) -> Value {
    json!({ "type": "message", "timestamp": AT, "session_id": SESSION, "id": QUESTION, "role": "user", "content": content,
            "seq": seq, "user_id": "ann", "username": "ann" })
}

fn answer(seq: u64, content: &str) -> Value {
    json!({ "type": "message", "timestamp": AT, "session_id": SESSION, "id": ANSWER, "role": "assistant",
            "content": content, "seq": seq, "parent": QUESTION, "finish_reason": "stop" })
}

fn typing(is_typing: bool) -> Value {
    json!({ "type": "typing", "timestamp": AT, "session_id": SESSION, "is_typing": is_typing, "role": "assistant",
            "message_id": ANSWER })
}

fn delta(offset: u64, content: &str) -> Value {
    json!({ "type": "message_delta", "session_id": SESSION, "message_id": ANSWER, "offset": offset, "content": content })
}

fn ack(seq: u64, reference: u64) -> Value {
    json!({ "type": "ack", "timestamp": AT, "session_id": SESSION, "ref": reference, "message_id": QUESTION, "seq": seq })
}

fn error(code: &str, retryable: bool) -> Value {
    json!({ "type": "error", "timestamp": AT, "message": "m", "code": code, "retryable": retryable })
}

fn pong(reference: u64) -> Value {
    json!({ "type": "pong", "timestamp": AT, "ref": reference })
}

/// A frame with one field as it should not be.
fn with(mut frame: Value, field: &str, value: Value) -> Value {
    frame[field] = value;
    frame
}

impl Talk {
    fn new(model: Model) -> Talk {
        let mut model = model;
        let ann = model.connect();
        Talk { model, ann }
    }

    /// Ann is in the session, which is empty.
    fn joined() -> Result<Talk, Violation> {
        let mut talk = Talk::new(Model::new());
        talk.gets(&greeting("ann"))?;
        talk.joins(0, None)?;
        Ok(talk)
    }

    fn says(&mut self, frame: &Value) {
        self.model.sent(self.ann, &frame.to_string());
    }

    fn gets(&mut self, frame: &Value) -> Checked {
        self.model.received(self.ann, &frame.to_string())
    }

    fn joins(&mut self, seq: u64, since: Option<&Value>) -> Checked {
        let resumed = since.is_some();
        self.says(&json!({ "type": "join_session", "session_id": SESSION, "id": 0, "since": since }));
        self.gets(&joined(seq, resumed, 0))
    }

    /// Ann has asked, and the assistant has said half of it.
    fn half() -> Result<Talk, Violation> {
        let mut talk = Talk::joined()?;
        talk.says(&json!({ "type": "chat_message", "message": "Hello", "id": 1 }));
        talk.gets(&ack(1, 1))?;
        talk.gets(&question(1, "Hello"))?;
        talk.gets(&typing(true))?;
        talk.gets(&delta(0, "Grüß "))?;
        Ok(talk)
    }

    fn whole(&mut self) -> Checked {
        self.gets(&delta(7, "Gott"))?;
        self.gets(&answer(2, "Grüß Gott"))?;
        self.gets(&typing(false))
    }

    /// Bob comes, and sees what there is.
    fn with_bob(&mut self, seq: u64) -> Result<ClientId, Violation> {
        let bob = self.model.connect();
        let join = json!({ "type": "join_session", "session_id": SESSION, "id": 0 });
        self.model.received(bob, &greeting("bob").to_string())?;
        self.model.sent(bob, &join.to_string());
        self.model.received(bob, &joined(seq, false, 0).to_string())?;
        Ok(bob)
    }
}

fn record() -> MessageRecord {
    let id = |last: u8| Uuid([0, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, last]);
    MessageRecord {
        id: MessageId(id(1)),
        session: SessionId(id(10)),
        seq: 1,
        parent: None,
        role: MessageRole::User,
        author: Some(Member { user_id: "ann".into(), username: "ann".into() }),
        content: "Hello".into(),
        created: UnixMicros(0),
        client_id: None,
        finish_reason: None,
        usage: None,
    }
}

#[test]
fn a_conversation_as_it_should_be() -> Checked {
    let mut talk = Talk::half()?;
    // Lost in the middle, and back: the rest of it, from the byte.
    let place = talk.model.place(talk.ann).expect("she is in the session");
    assert_eq!(
        serde_json::from_str::<Value>(&place.since()).ok(),
        Some(json!({ "epoch": "e", "seq": 1, "message_id": ANSWER, "offset": 7 }))
    );
    talk.model.closed(talk.ann, None)?;
    talk.ann = talk.model.connect();
    talk.gets(&greeting("ann"))?;
    talk.model.sent(talk.ann, &place.join());
    talk.gets(&json!({ "type": "session_joined", "timestamp": AT, "session_id": SESSION, "session_title": "Tea",
        "epoch": "e", "seq": 1, "resumed": true, "owner": "ann",
        "participants": [{ "user_id": "ann", "username": "ann" }] }))?;
    talk.gets(&typing(true))?;
    talk.whole()?;
    talk.says(&json!({ "type": "history", "id": "h" }));
    talk.gets(&json!({ "type": "history_page", "timestamp": AT, "session_id": SESSION, "ref": "h", "more": false,
        "messages": [question(1, "Hello"), answer(2, "Grüß Gott")] }))?;
    talk.model.settled()?;
    assert_eq!(talk.model.acknowledged().count(), 1);
    talk.gets(&error("authentication_failed", false))?;
    talk.model.closed(talk.ann, Some((1008, "expired")))
}

/// Conversations that break one rule each, at their last frame.
fn broken() -> Vec<(Rule, Checked)> {
    let joined_with =
        |frames: &[Value]| Talk::joined().and_then(|mut talk| frames.iter().try_for_each(|frame| talk.gets(frame)));
    let half_with =
        |frames: &[Value]| Talk::half().and_then(|mut talk| frames.iter().try_for_each(|frame| talk.gets(frame)));
    let presence = |user: &str, event: &str| {
        json!({ "type": "presence", "timestamp": AT, "session_id": SESSION, "user_id": user, "username": user,
                "event": event, "participants": [{ "user_id": "ann", "username": "ann" }] })
    };
    let edited = || -> Checked {
        let mut talk = Talk::joined()?;
        talk.says(&json!({ "type": "chat_message", "message": "Hello", "id": 1 }));
        talk.gets(&ack(1, 1))?;
        talk.gets(&question(1, "Goodbye"))
    };
    let closed = || -> Checked {
        let mut talk = Talk::joined()?;
        talk.model.closed(talk.ann, None)?;
        talk.gets(&pong(1))
    };
    let unexplained = || {
        let mut talk = Talk::joined()?;
        talk.model.closed(talk.ann, Some((1008, "no reason")))
    };
    let unanswered = || {
        let mut talk = Talk::joined()?;
        talk.says(&json!({ "type": "ping", "id": 1 }));
        talk.model.settled()
    };
    let twice = || {
        let mut talk = Talk::joined()?;
        talk.says(&json!({ "type": "ping", "id": 1 }));
        talk.gets(&pong(1))?;
        talk.gets(&pong(1))
    };
    let another_answer = || {
        let mut talk = Talk::joined()?;
        talk.says(&json!({ "type": "list_sessions", "id": 1 }));
        talk.gets(&pong(1))
    };
    let resumed_from_nowhere = || {
        let mut talk = Talk::joined()?;
        talk.says(&json!({ "type": "join_session", "session_id": SESSION, "id": 2 }));
        talk.gets(&joined(0, true, 2))
    };
    let another_epoch = || {
        let mut talk = Talk::joined()?;
        talk.says(&json!({ "type": "join_session", "session_id": SESSION, "id": 2 }));
        talk.gets(&with(joined(0, false, 2), "epoch", json!("f")))
    };
    let others_see = |frame: Value| {
        let mut talk = Talk::half()?;
        let bob = talk.with_bob(1)?;
        talk.model.received(bob, &typing(true).to_string())?;
        talk.model.received(bob, &frame.to_string())
    };
    let missed = || {
        let mut talk = Talk::half()?;
        talk.with_bob(1)?;
        talk.whole()?;
        talk.model.settled()
    };
    let not_committed = |committed: bool| {
        let mut talk = Talk::new(Model::with_storage());
        talk.gets(&greeting("ann"))?;
        talk.joins(0, None)?;
        talk.says(&json!({ "type": "chat_message", "message": "Hello", "id": 1 }));
        if committed {
            talk.model.committed(&record())?;
        }
        talk.gets(&ack(1, 1))
    };
    assert_eq!(not_committed(true), Ok(()));
    let short_page = || {
        let mut talk = Talk::half()?;
        talk.whole()?;
        talk.says(&json!({ "type": "history", "id": 5 }));
        talk.gets(&json!({ "type": "history_page", "timestamp": AT, "session_id": SESSION, "ref": 5, "more": false,
                          "messages": [question(1, "Hello")] }))
    };
    let repeated = || {
        let mut talk = Talk::joined()?;
        let say = |id: u64| json!({ "type": "chat_message", "message": "Hello", "client_id": "c", "id": id });
        talk.says(&say(1));
        talk.says(&say(2));
        talk.gets(&with(ack(1, 1), "client_id", json!("c")))?;
        talk.gets(&with(with(ack(2, 2), "client_id", json!("c")), "message_id", json!(ANSWER)))
    };
    let answers_an_answer = with(with(answer(3, "z"), "id", json!(OTHER)), "parent", json!(ANSWER));
    vec![
        (Rule::Shape, joined_with(&[json!({ "type": "pong" })])),
        (Rule::Limit, half_with(&[delta(7, &"x".repeat(16_385))])),
        (Rule::ErrorCode, joined_with(&[error("overloaded", false)])),
        (Rule::Greeting, joined_with(&[greeting("ann")])),
        (Rule::Greeting, Talk::new(Model::new()).gets(&pong(1))),
        (Rule::Closed, closed()),
        (Rule::Close, unexplained()),
        (Rule::Answer, twice()),
        (Rule::Answer, another_answer()),
        (Rule::Unanswered, unanswered()),
        (Rule::Membership, joined_with(&[with(question(1, "x"), "session_id", json!(OTHER))])),
        (Rule::Epoch, another_epoch()),
        (Rule::Resume, resumed_from_nowhere()),
        (Rule::Sequence, joined_with(&[question(2, "x")])),
        (Rule::Sequence, joined_with(&[question(1, "x"), question(1, "x")])),
        (Rule::Agreement, others_see(delta(0, "Gruß "))),
        (Rule::Parent, joined_with(&[question(1, "x"), answer(2, "y"), answers_an_answer])),
        (Rule::Offset, half_with(&[delta(6, "Gott")])),
        (Rule::Offset, joined_with(&[delta(0, "x")])),
        (Rule::Stream, half_with(&[answer(2, "Grüß Gott")])),
        (Rule::Typing, half_with(&[typing(false)])),
        (Rule::Typing, half_with(&[typing(true)])),
        (Rule::Echo, joined_with(&[presence("ann", "joined")])),
        (Rule::Presence, joined_with(&[presence("bob", "joined")])),
        (Rule::Acknowledgement, edited()),
        (Rule::Acknowledgement, repeated()),
        (Rule::Durability, not_committed(false)),
        (Rule::History, short_page()),
        (Rule::Missed, missed()),
    ]
}

#[test]
fn every_rule_is_noticed_when_it_is_broken() {
    let mut seen = BTreeSet::new();
    for (i, (rule, checked)) in broken().into_iter().enumerate() {
        let broken = checked.as_ref().err().map(|violation| violation.rule);
        assert_eq!(broken, Some(rule), "{i}: {checked:?}");
        seen.insert(rule);
    }
    assert_eq!(seen, Rule::ALL.iter().copied().collect());
}

#[test]
fn a_violation_says_what_was_expected_and_what_came() {
    let violation = Talk::half().and_then(|mut talk| talk.gets(&delta(6, "Gott"))).expect_err("a byte too early");
    assert_eq!(
        violation.to_string(),
        format!(
            "offset: {}\n  expected: `offset` 7 of {ANSWER}\n  got: 6\n  at client 1\n  in {}",
            Rule::Offset.meaning(),
            delta(6, "Gott")
        )
    );
}
