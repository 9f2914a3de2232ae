//! Every bound that a peer can meet: what is at the limit goes through, what is beyond is answered with its own code.

mod driver;

use causerie_core::limits::{self, Limits};
use causerie_core::{ConnectError, ConnectionId, FinishReason, Input, Role};
use driver::Driver;
use serde_json::{Value, json};
use std::time::Duration;

fn with(change: impl FnOnce(&mut Limits)) -> Driver {
    let mut limits = Limits::default();
    change(&mut limits);
    Driver::new(limits)
}

fn answer(d: &mut Driver, who: ConnectionId, frame: &Value) -> Value {
    d.send(who, frame);
    let frames = d.read(who);
    frames.first().cloned().unwrap_or_default()
}

fn say(text: &str) -> Value {
    json!({ "type": "chat_message", "message": text })
}

#[test]
fn connections() {
    let mut d = with(|l| l.connections = 3);
    let first = d.connect();
    d.connect();
    d.connect();
    assert_eq!(d.hub.connect(d.now), Err(ConnectError::Full { limit: 3 }));
    d.close(first);
    d.connect();
}

#[test]
fn connections_of_a_user() {
    let mut d = with(|l| l.connections_per_user = 2);
    d.user("Ann");
    let second = d.user("Ann");
    let third = d.connect();
    d.authenticate(third, "Ann", Role::User, Duration::from_secs(60));
    let refused = d.read_one(third);
    assert_eq!((&refused["code"], &refused["retryable"]), (&json!("too_many_connections"), &json!(true)));
    assert_eq!(d.peers[&third].close.as_ref().map(|c| c.0), Some(4500));
    d.user("Bob");
    d.close(second);
    d.user("Ann");
}

#[test]
fn who_may_have_no_connection_is_not_remembered() {
    let mut d = with(|l| l.connections_per_user = 0);
    let ann = d.connect();
    d.authenticate(ann, "Ann", Role::User, Duration::from_secs(60));
    assert_eq!(d.read_one(ann)["code"], "too_many_connections");
    d.close(ann);
    assert_eq!(d.hub.counts().users, 0);
}

#[test]
fn bytes_of_a_frame() {
    let mut d = with(|l| l.frame_bytes = 100);
    let ann = d.user("Ann");
    let ping = |bytes: usize| format!("{:<bytes$}", "{\"type\":\"ping\"}");
    d.send_text(ann, &ping(100));
    assert_eq!(d.read_one(ann)["type"], "pong");
    d.send_text(ann, &ping(101));
    assert_eq!(d.read_one(ann)["code"], "frame_too_large");
    assert_eq!(d.peers[&ann].close, Some((1009, "A frame has 101 bytes, more than 100".to_string())));
}

#[test]
fn bytes_of_a_message_and_of_a_system_prompt() {
    let mut d = with(|l| l.message_bytes = 10);
    let ann = d.user("Ann");
    let create = |bytes: usize| json!({ "type": "create_session", "system": "x".repeat(bytes) });
    assert_eq!(answer(&mut d, ann, &create(10))["type"], "session_joined");
    assert_eq!(answer(&mut d, ann, &create(11))["code"], "message_too_long");
    assert_eq!(answer(&mut d, ann, &say("ääääx\n"))["type"], "ack");
    let refused = answer(&mut d, ann, &say("ääääxxx"));
    assert_eq!(refused["code"], "message_too_long");
    assert_eq!(refused["message"], "Field `message` has 11 bytes, more than 10");
}

#[test]
fn nesting() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        format!("{{\"type\":\"ping\",\"x\":{open}{close}}}")
    };
    d.send_text(ann, &nested(limits::NESTING));
    assert_eq!(d.read_one(ann)["type"], "pong");
    for levels in [limits::NESTING + 1, 50_000] {
        d.send_text(ann, &nested(levels));
        assert_eq!(d.read_one(ann)["code"], "too_deeply_nested");
    }
}

#[test]
fn frames_a_second() {
    let mut d = with(|l| l.frames_per_second = 10);
    let ann = d.user("Ann");
    let ping = json!({ "type": "ping", "id": 7 });
    for _ in 0..20 {
        assert_eq!(answer(&mut d, ann, &ping)["type"], "pong");
    }
    let refused = answer(&mut d, ann, &ping);
    assert_eq!((&refused["code"], &refused["ref"]), (&json!("too_many_frames"), &json!(7)));
    let wait = refused["retry_after_ms"].as_u64().expect("a time");
    d.pass(Duration::from_millis(wait - 1));
    assert_eq!(answer(&mut d, ann, &ping)["code"], "too_many_frames");
    d.pass(Duration::from_millis(1));
    assert_eq!(answer(&mut d, ann, &ping)["type"], "pong");
}

#[test]
fn messages_a_minute_whatever_the_connection() {
    let mut d = with(|l| l.messages_per_minute = 6);
    let ann = d.user("Ann");
    let session = d.session(ann);
    for _ in 0..3 {
        assert_eq!(answer(&mut d, ann, &say("Hello"))["type"], "ack");
        d.finish(FinishReason::Stop);
        d.read(ann);
    }
    let refused = answer(&mut d, ann, &say("Hello"));
    assert_eq!((&refused["code"], &refused["retry_after_ms"]), (&json!("rate_limited"), &json!(10_000)));
    d.close(ann);
    let ann = d.user("Ann");
    d.send(ann, &json!({ "type": "join_session", "session_id": session }));
    d.read(ann);
    assert_eq!(answer(&mut d, ann, &say("Hello"))["code"], "rate_limited", "connecting anew gains nothing");
    d.pass(Duration::from_secs(10));
    assert_eq!(answer(&mut d, ann, &say("Hello"))["type"], "ack");
}

#[test]
fn sessions_a_minute() {
    let mut d = with(|l| l.sessions_per_minute = 2);
    let ann = d.user("Ann");
    d.session(ann);
    d.session(ann);
    let refused = answer(&mut d, ann, &json!({ "type": "create_session" }));
    assert_eq!((&refused["code"], &refused["retry_after_ms"]), (&json!("too_many_sessions"), &json!(30_000)));
    let bob = d.user("Bob");
    d.session(bob);
    d.pass(Duration::from_secs(30));
    d.session(ann);
}

#[test]
fn messages_that_wait_to_be_stored() {
    let mut d = with(|l| (l.queued_messages, l.queued_generations) = (2, 100));
    let ann = d.user("Ann");
    d.session(ann);
    d.storage.held = true;
    // One is in flight, two wait.
    for _ in 0..3 {
        assert_eq!(answer(&mut d, ann, &say("Hello")), Value::Null);
    }
    let refused = answer(&mut d, ann, &say("Hello"));
    assert_eq!((&refused["code"], &refused["retry_after_ms"]), (&json!("overloaded"), &json!(2_000)));
    d.release_storage();
    assert_eq!(d.read(ann).iter().filter(|f| f["type"] == "ack").count(), 3);
}

#[test]
fn messages_that_wait_for_their_answer() {
    let mut d = with(|l| l.queued_generations = 2);
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    for _ in 0..3 {
        assert_eq!(answer(&mut d, ann, &say("Hello"))["type"], "ack");
        d.read(bob);
    }
    assert_eq!(answer(&mut d, bob, &say("Hello"))["code"], "overloaded");
    d.answer("Good day");
    d.read(bob);
    assert_eq!(answer(&mut d, bob, &say("Hello"))["type"], "ack");
}

#[test]
fn messages_of_a_user_that_wait_for_their_answer() {
    let mut d = with(|l| l.generations_per_user = 2);
    let (ann, tab, bob) = (d.user("Ann"), d.user("Ann"), d.user("Bob"));
    d.session(ann);
    d.session(tab);
    d.session(bob);
    assert_eq!(answer(&mut d, ann, &say("Hello"))["type"], "ack");
    assert_eq!(answer(&mut d, tab, &say("Hello"))["type"], "ack");
    assert_eq!(answer(&mut d, ann, &say("Hello"))["code"], "overloaded");
    assert_eq!(answer(&mut d, bob, &say("Hello"))["type"], "ack");
    d.answer("Good day");
    d.read(ann);
    assert_eq!(answer(&mut d, ann, &say("Hello"))["type"], "ack");
}

#[test]
fn lengths_of_names() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    let mut check = |field: &str, most: usize, code: &str, frame: Value| {
        for (bytes, fits) in [(most, true), (most + 1, false)] {
            let mut frame = frame.clone();
            frame[field] = json!("x".repeat(bytes));
            let seen = answer(&mut d, ann, &frame);
            d.tokens_to_verify.clear();
            assert_eq!(seen["code"] != code, fits, "{field} of {bytes} bytes: {seen}");
            assert_eq!(
                seen["message"] == format!("Field `{field}` has {bytes} bytes, more than {most}"),
                !fits,
                "{seen}"
            );
        }
    };
    check("title", limits::TITLE_BYTES, "title_too_long", json!({ "type": "rename_session" }));
    check("title", limits::TITLE_BYTES, "title_too_long", json!({ "type": "create_session" }));
    check("username", limits::USERNAME_BYTES, "username_too_long", json!({ "type": "invite" }));
    check("client_id", limits::CLIENT_ID_BYTES, "invalid_field", say("Hello"));
    check("id", limits::REF_BYTES, "invalid_field", json!({ "type": "ping" }));
    check("token", limits::TOKEN_BYTES, "token_too_long", json!({ "type": "authenticate" }));
    check("session_id", limits::FIELD_BYTES, "invalid_field", json!({ "type": "join_session" }));
}

#[test]
fn members_of_a_session() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    for i in 1..limits::MEMBERS {
        d.pass(Duration::from_millis(20));
        let seen = answer(&mut d, ann, &json!({ "type": "invite", "username": format!("guest {i}") }));
        assert_eq!(seen["type"], "invited", "{seen}");
    }
    assert_eq!(answer(&mut d, ann, &json!({ "type": "invite", "username": "one more" }))["code"], "too_many_members");
}

#[test]
fn a_member_whose_connections_join_at_once_counts_once() {
    let mut d = Driver::default();
    let (ann, bob, phone) = (d.user("Ann"), d.user("Bob"), d.user("Bob"));
    let session = d.session(ann);
    d.send(ann, &json!({ "type": "invite", "username": "Bob" }));
    d.storage.held = true;
    for connection in [bob, phone] {
        d.send(connection, &json!({ "type": "join_session", "session_id": session }));
    }
    d.release_storage();
    for connection in [bob, phone] {
        assert!(d.read_types(connection).contains(&"session_joined".to_string()));
    }
    d.read(ann);
    for i in 2..limits::MEMBERS {
        d.pass(Duration::from_millis(20));
        let seen = answer(&mut d, ann, &json!({ "type": "invite", "username": format!("guest {i}") }));
        assert_eq!(seen["type"], "invited", "{i}: {seen}");
    }
    assert_eq!(answer(&mut d, ann, &json!({ "type": "invite", "username": "one more" }))["code"], "too_many_members");
}

#[test]
fn changes_that_wait_for_storage() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    d.storage.held = true;
    let rename = json!({ "type": "rename_session", "title": "Other" });
    for _ in 0..=limits::QUEUED_CHANGES {
        assert_eq!(answer(&mut d, ann, &rename), Value::Null);
    }
    assert_eq!(answer(&mut d, ann, &rename)["code"], "overloaded");
    d.release_storage();
    assert_eq!(d.read(ann).len(), limits::QUEUED_CHANGES + 1);
}

#[test]
fn reads_that_wait_for_storage() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    d.storage.held = true;
    for frame in [json!({ "type": "list_sessions" }), json!({ "type": "history" }), say("/stat"), say("/sessions")] {
        for _ in 0..limits::REQUESTS_PER_CONNECTION / 4 {
            assert_eq!(answer(&mut d, ann, &frame), Value::Null);
        }
    }
    assert_eq!(answer(&mut d, ann, &json!({ "type": "history" }))["code"], "overloaded");
    d.release_storage();
    assert_eq!(d.read(ann).len(), usize::from(limits::REQUESTS_PER_CONNECTION));
    assert_eq!(answer(&mut d, ann, &json!({ "type": "history" }))["type"], "history_page");
}

#[test]
fn requests_that_wait_for_a_session() {
    let mut d = with(|l| l.connections_per_user = limits::ERRANDS + 2);
    let ann = d.user("Ann");
    let session = d.session(ann);
    d.close(ann);
    let all: Vec<_> = (0..=limits::ERRANDS).map(|_| d.user("Ann")).collect();
    d.storage.held = true;
    let join = json!({ "type": "join_session", "session_id": session });
    for &who in &all[..limits::ERRANDS] {
        assert_eq!(answer(&mut d, who, &join), Value::Null);
    }
    let last = all[limits::ERRANDS];
    assert_eq!(answer(&mut d, last, &join)["code"], "overloaded");
    assert_eq!(answer(&mut d, last, &json!({ "type": "ping" }))["type"], "pong", "it goes on");
    // One connection alone may have some.
    let other = d.user("Bob");
    let rename = json!({ "type": "rename_session", "session_id": session.replace('a', "b"), "title": "x" });
    for _ in 0..limits::REQUESTS_PER_CONNECTION {
        assert_eq!(answer(&mut d, other, &rename), Value::Null);
    }
    assert_eq!(answer(&mut d, other, &rename)["code"], "overloaded");
    d.release_storage();
    assert!(all[..limits::ERRANDS].iter().all(|who| d.read(*who)[0]["type"] == "session_joined"));
}

#[test]
fn pages_and_lists_are_cut() {
    let mut d = with(|l| (l.messages_per_minute, l.sessions_per_minute) = (100_000, 100_000));
    let ann = d.user("Ann");
    for _ in 0..=limits::LISTED_SESSIONS {
        d.pass(Duration::from_millis(20));
        d.session(ann);
    }
    for _ in 0..51 {
        d.pass(Duration::from_millis(20));
        d.send(ann, &say("Hello"));
        d.answer("Good day");
    }
    d.read(ann);
    let page = |d: &mut Driver, limit: Value| {
        let page = answer(d, ann, &json!({ "type": "history", "limit": limit }));
        page["messages"].as_array().map(Vec::len)
    };
    assert_eq!(page(&mut d, json!(100)), Some(100));
    assert_eq!(page(&mut d, json!(101)), Some(100));
    assert_eq!(page(&mut d, json!(9_007_199_254_740_991_u64)), Some(100));
    assert_eq!(page(&mut d, Value::Null), Some(50));
    let list = answer(&mut d, ann, &json!({ "type": "list_sessions", "limit": 1_000 }));
    assert_eq!(list["sessions"].as_array().map(Vec::len), Some(limits::LISTED_SESSIONS as usize));
}

#[test]
fn bytes_of_a_page() {
    let mut d = with(|l| l.message_bytes = limits::PAGE_BYTES / 4);
    let ann = d.user("Ann");
    d.session(ann);
    for _ in 0..4 {
        let text = "x".repeat(limits::PAGE_BYTES / 4);
        d.send(ann, &say(&text));
        d.fail(causerie_core::GenerationFailure::Internal);
    }
    d.read(ann);
    let page = answer(&mut d, ann, &json!({ "type": "history" }));
    assert_eq!((page["messages"].as_array().map(Vec::len), &page["more"]), (Some(4), &json!(false)), "at the limit");
    d.send(ann, &say("x"));
    d.fail(causerie_core::GenerationFailure::Internal);
    d.read(ann);
    let page = answer(&mut d, ann, &json!({ "type": "history" }));
    assert_eq!((page["messages"].as_array().map(Vec::len), &page["more"]), (Some(4), &json!(true)), "beyond it");
    assert_eq!(page["messages"][3]["content"], "x");
}

#[test]
fn bytes_of_an_answer() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    d.send(ann, &say("Talk"));
    let text = "ä".repeat(limits::ANSWER_BYTES / 2);
    d.token(&text);
    assert!(!d.running[0].cancelled, "at the limit");
    d.token("x");
    assert!(d.running[0].cancelled, "beyond it");
    d.token("more");
    d.finish(FinishReason::Stopped);
    let frames = d.read(ann);
    let message = frames.iter().rfind(|f| f["type"] == "message").expect("the answer");
    assert_eq!((&message["finish_reason"], &message["content"]), (&json!("length"), &json!(text)));
    for delta in frames.iter().filter(|f| f["type"] == "message_delta") {
        assert!(delta["content"].as_str().is_some_and(|c| c.len() <= limits::DELTA_BYTES));
    }
}

#[test]
fn frames_held_until_the_verdict_pause_reading() {
    let mut d = Driver::default();
    let ann = d.connect();
    for i in 0..limits::HELD_FRAMES {
        assert!(!d.peers[&ann].paused, "after {i}");
        d.send(ann, &json!({ "type": "ping", "id": i }));
    }
    assert!(d.peers[&ann].paused);
    d.authenticate(ann, "Ann", Role::User, Duration::from_secs(60));
    assert!(!d.peers[&ann].paused);
    let pongs: Vec<_> = d.read(ann).iter().filter_map(|f| f["ref"].as_u64()).collect();
    assert_eq!(pongs, (0..limits::HELD_FRAMES as u64).collect::<Vec<_>>());
}

#[test]
fn numbers_of_sampling_at_their_limits_and_beyond() {
    let mut d = with(|l| (l.queued_generations, l.generations_per_user) = (100, 100));
    let ann = d.user("Ann");
    d.session(ann);
    let mut check = |field: &str, good: &[Value], bad: &[Value]| {
        for (values, fits) in [(good, true), (bad, false)] {
            for value in values {
                let seen = answer(
                    &mut d,
                    ann,
                    &json!({ "type": "chat_message", "message": "Hi", "sampling": { field: value } }),
                );
                assert_eq!(seen["code"] == "invalid_field", !fits, "{field} {value}: {seen}");
                assert_eq!(seen["message"].as_str().is_some_and(|m| m.contains(field)), !fits, "{seen}");
            }
        }
    };
    check("temperature", &[json!(0), json!(5.0)], &[json!(5.01), json!(-0.1), json!("1")]);
    check("top_p", &[json!(0), json!(1)], &[json!(1.1), json!(-1)]);
    check("min_p", &[json!(0.05)], &[json!(2)]);
    check("repetition_penalty", &[json!(0.1), json!(10)], &[json!(0), json!(11)]);
    check("top_k", &[json!(0), json!(u32::MAX)], &[json!(1_u64 << 32), json!(1.5), json!(-1)]);
    check("max_tokens", &[json!(1), json!(limits::MAX_TOKENS)], &[json!(0), json!(limits::MAX_TOKENS + 1)]);
    check("seed", &[json!(0), json!(limits::MAX_INTEGER)], &[json!(limits::MAX_INTEGER + 1), json!(-1)]);
    let stops = |n: usize| json!(vec!["x"; n]);
    let long = "x".repeat(limits::STOP_BYTES);
    let good = [stops(limits::STOP_STRINGS), json!([long]), json!("END"), json!([])];
    let bad = [stops(limits::STOP_STRINGS + 1), json!([format!("{long}x")]), json!([""]), json!([7]), json!(7)];
    check("stop", &good, &bad);
}

#[test]
fn what_a_transport_reports() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.give(Input::Violated { connection: ann, violation: causerie_core::Violation::Binary });
    assert_eq!(d.read_one(ann)["code"], "binary_frame");
    assert_eq!(d.peers[&ann].close, None);
    for (violation, code) in [
        (causerie_core::Violation::TooBig { limit: 5 }, 1009),
        (causerie_core::Violation::NotUtf8, 1007),
        (causerie_core::Violation::Framing, 1002),
    ] {
        let bob = d.user("Bob");
        d.give(Input::Violated { connection: bob, violation });
        assert_eq!(d.peers[&bob].close.as_ref().map(|c| c.0), Some(code));
    }
}
