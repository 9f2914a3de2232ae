//! Bounds of what waits for storage, for the model, or for a verdict.

use std::time::Duration;

use causerie_core::{Role, limits};
use serde_json::{Value, json};

use crate::driver::Driver;
use crate::{answer, say, with};

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
fn requests_of_one_connection_that_wait_for_sessions() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.storage.held = true;
    // Each names another session, so that each would be loaded.
    let rename = |i: u32| {
        let session = format!("00000000-0000-4000-8000-{i:012}");
        json!({ "type": "rename_session", "session_id": session, "title": "x" })
    };
    let most = u32::from(limits::REQUESTS_PER_CONNECTION);
    for i in 0..most {
        assert_eq!(answer(&mut d, ann, &rename(i)), Value::Null);
    }
    assert_eq!(answer(&mut d, ann, &rename(most))["code"], "overloaded");
    assert_eq!(d.hub.counts().sessions, most as usize, "and nothing is loaded for it");
    d.release_storage();
    assert_eq!(d.read(ann).iter().filter(|f| f["code"] == "session_not_found").count(), most as usize);
    assert_eq!(answer(&mut d, ann, &rename(most))["code"], "session_not_found");
}

#[test]
fn requests_of_everybody_that_wait_for_storage() {
    let mut d = with(|l| l.requests = 20);
    let people: Vec<_> = (0..3).map(|i| d.user(&format!("user {i}"))).collect();
    d.storage.held = true;
    let list = json!({ "type": "list_sessions" });
    for i in 0..20 {
        assert_eq!(answer(&mut d, people[i % 2], &list), Value::Null);
    }
    let join = json!({ "type": "join_session", "session_id": "00000000-0000-4000-8000-000000000000" });
    for frame in [&list, &say("/stat"), &join, &json!({ "type": "create_session" })] {
        assert_eq!(answer(&mut d, people[2], frame)["code"], "overloaded", "{frame}");
    }
    // Coming anew gains nothing, nor does another's leaving: storage is still at work.
    d.close(people[0]);
    let anew = d.user("user 0");
    assert_eq!(answer(&mut d, anew, &list)["code"], "overloaded");
    assert_eq!(d.hub.counts().requests, 20);
    d.release_storage();
    assert_eq!(answer(&mut d, anew, &list)["type"], "session_list");
}

#[test]
fn sessions_of_everybody() {
    let mut d = with(|l| l.sessions = 2);
    let (ann, bob, eve) = (d.user("Ann"), d.user("Bob"), d.user("Eve"));
    let session = d.session(ann);
    d.session(bob);
    let elsewhere = json!({ "type": "join_session", "session_id": "00000000-0000-4000-8000-000000000000" });
    for frame in [&json!({ "type": "create_session" }), &elsewhere] {
        assert_eq!(answer(&mut d, eve, frame)["code"], "overloaded");
    }
    let known = json!({ "type": "join_session", "session_id": session });
    assert_eq!(answer(&mut d, eve, &known)["code"], "session_not_found", "one in memory is no further one");
    d.close(bob);
    assert_eq!(answer(&mut d, eve, &json!({ "type": "create_session" }))["type"], "session_joined");
}

#[test]
fn messages_of_everybody_that_wait_for_their_answer() {
    let mut d = with(|l| l.waiting_messages = 2);
    let people: Vec<_> = (0..3).map(|i| d.user(&format!("user {i}"))).collect();
    for &who in &people {
        d.session(who);
    }
    for &who in &people[..2] {
        assert_eq!(answer(&mut d, who, &say("Hello"))["type"], "ack");
    }
    // Who has asked is gone, and the answer is still to come.
    d.close(people[0]);
    assert_eq!(answer(&mut d, people[2], &say("Hello"))["code"], "overloaded");
    assert_eq!(d.hub.counts().waiting_messages, 2);
    d.answer("Good day");
    assert_eq!(answer(&mut d, people[2], &say("Hello"))["type"], "ack");
}

#[test]
fn a_reader_far_behind_is_told_where_storage_is_asked_for_no_more() {
    let mut d = with(|l| (l.requests, l.log_bytes) = (1, 1));
    let ann = d.user("Ann");
    let session = d.session(ann);
    let bob = d.slow_user("Bob", 1_500);
    d.share(ann, &session, bob, "Bob");
    for _ in 0..10 {
        d.send(ann, &say(&"x".repeat(300)));
        d.fail(causerie_core::GenerationFailure::Internal);
    }
    d.read(ann);
    d.storage.held = true;
    assert_eq!(answer(&mut d, ann, &json!({ "type": "list_sessions" })), Value::Null);
    d.grant(bob, 1_000_000);
    let frames = d.read(bob);
    let missing = |f: &Value| f["type"] == "notice" && f["code"] == "messages_missing";
    assert!(frames.iter().any(missing), "{frames:#?}");
    assert_eq!(d.hub.counts().requests, 1);
}
