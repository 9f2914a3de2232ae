//! `since` that no client can have learned from this server, and joins without measure.

mod driver;

use std::time::Duration;

use causerie_core::ConnectionId;
use serde_json::{Value, json};

use driver::Driver;
use driver::reader::Reader;

/// Ann in the middle of an answer that is "Grün" so far, and what a client knows that has all of it.
fn in_the_middle() -> (Driver, ConnectionId, String, Value) {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.send(ann, &json!({ "type": "create_session" }));
    let joined = d.read_one(ann);
    d.send(ann, &json!({ "type": "chat_message", "message": "Tee?" }));
    d.token("Grün");
    let frames = d.read(ann);
    let delta = frames.iter().find(|f| f["type"] == "message_delta").expect("a delta");
    let since = json!({ "epoch": joined["epoch"], "seq": 1, "message_id": delta["message_id"], "offset": 5 });
    let session = joined["session_id"].as_str().expect("an id").to_string();
    (d, ann, session, since)
}

/// Joins anew with some of `since` changed: whether it is resumed, and what follows.
fn join(change: impl FnOnce(&mut Value)) -> (bool, Vec<Value>) {
    let (mut d, ann, session, mut since) = in_the_middle();
    change(&mut since);
    d.close(ann);
    let ann = d.user("Ann");
    let known = (since["message_id"].as_str().expect("an id").to_string(), "Grün".to_string());
    d.peers.get_mut(&ann).expect("a peer").reader = Reader { seq: 1, answer: Some(known), ..Reader::default() };
    d.send(ann, &json!({ "type": "join_session", "session_id": session, "since": since }));
    d.token("er");
    let mut frames = d.read(ann);
    let joined = frames.remove(0);
    assert_eq!(joined["type"], "session_joined");
    (joined["resumed"].as_bool().expect("a boolean"), frames)
}

/// The pieces of the answer: where each begins, and its text.
fn pieces(frames: &[Value]) -> Vec<(u64, &str)> {
    let deltas = frames.iter().filter(|f| f["type"] == "message_delta");
    deltas.map(|f| (f["offset"].as_u64().expect("a number"), f["content"].as_str().expect("text"))).collect()
}

#[test]
fn what_is_right_is_resumed() {
    let (resumed, frames) = join(|_| ());
    assert_eq!((resumed, pieces(&frames)), (true, vec![(5, "er")]));
}

/// Not resumed: the answer comes whole.
#[track_caller]
fn check_not_resumed(change: impl FnOnce(&mut Value)) {
    let (resumed, frames) = join(change);
    let text: String = pieces(&frames).into_iter().map(|(_, text)| text).collect();
    assert_eq!((resumed, text.as_str(), &frames[0]["type"]), (false, "Grüner", &json!("typing")));
}

#[test]
fn since_of_another_life_is_not_resumed() {
    check_not_resumed(|since| since["epoch"] = json!("0123456789abcdef"));
    check_not_resumed(|since| since["epoch"] = json!(""));
}

#[test]
fn since_of_the_future_is_not_resumed() {
    check_not_resumed(|since| since["seq"] = json!(2));
    check_not_resumed(|since| since["seq"] = json!((1_u64 << 53) - 1));
}

#[test]
fn since_within_a_character_or_beyond_the_text_is_not_resumed() {
    check_not_resumed(|since| since["offset"] = json!(3));
    check_not_resumed(|since| since["offset"] = json!(6));
    check_not_resumed(|since| since["offset"] = json!((1_u64 << 53) - 1));
}

#[test]
fn since_with_an_answer_that_never_was_drops_it() {
    let id = "00000000-0000-4000-8000-000000000000";
    let (resumed, frames) = join(|since| since["message_id"] = json!(id));
    let dropped = frames.iter().find(|f| f["type"] == "error").expect("it is told to drop it");
    assert_eq!((resumed, &dropped["message_id"]), (true, &json!(id)));
    let text: String = pieces(&frames).into_iter().map(|(_, text)| text).collect();
    assert_eq!(text, "Grüner", "and gets the one there is, whole");
}

#[test]
fn ten_thousand_joins_a_second_are_refused_but_for_the_first() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(bob);
    let own = d.session(ann);
    let mut served = 0;
    for i in 0..10_000_u64 {
        d.pass(Duration::from_micros(100));
        let session = if i % 2 == 0 { &own } else { &session };
        d.send(ann, &json!({ "type": "join_session", "session_id": session, "id": i }));
        let answer = d.read_one(ann);
        assert_eq!(answer["ref"], json!(i));
        match answer["code"].as_str() {
            None | Some("session_not_found") => served += 1,
            Some("too_many_frames") => {
                let wait = answer["retry_after_ms"].as_u64().expect("when to try again");
                assert!((1..=10).contains(&wait), "{wait}");
            }
            Some(other) => panic!("{other}"),
        }
        if i % 1_000 == 0 {
            d.send(bob, &json!({ "type": "ping" }));
            assert_eq!(d.read_one(bob)["type"], "pong");
        }
    }
    // Twice the rate at once, and the rate of one second.
    assert!((290..=301).contains(&served), "{served}");
}
