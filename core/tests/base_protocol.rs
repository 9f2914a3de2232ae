//! What a client sees that knows only the base protocol: its frames, fields, order and texts, to the letter.

mod driver;

use causerie_core::{FinishReason, GenerationFailure, Input, Role};
use driver::Driver;
use serde_json::{Value, json};
use std::time::Duration;

/// The frames and fields of the base protocol; everything else is passed over, as such a client does.
fn base(frames: Vec<Value>) -> Vec<Value> {
    let known: &[(&str, &[&str])] = &[
        ("connection_established", &["message", "user_id", "timestamp"]),
        ("session_joined", &["session_id", "session_title", "timestamp"]),
        ("message", &["id", "role", "content", "timestamp", "session_id", "metadata"]),
        ("typing", &["is_typing", "timestamp"]),
        ("error", &["message", "timestamp"]),
        ("pong", &["timestamp"]),
        ("command_response", &["command", "content", "timestamp"]),
        ("session_ended", &["message", "timestamp"]),
    ];
    let only = |frame: Value| {
        let (kind, fields) = known.iter().find(|(kind, _)| frame["type"] == *kind)?;
        let mut seen = json!({ "type": kind });
        for field in *fields {
            if let Some(value) = frame.get(field) {
                seen[field] = value.clone();
            }
        }
        Some(seen)
    };
    frames.into_iter().filter_map(only).collect()
}

const NOW: &str = "2026-01-01T00:00:00.000000Z";

#[test]
fn one_exchange() {
    let mut d = Driver::default();
    let ann = d.connect();
    d.authenticate(ann, "Ann", Role::User, Duration::from_secs(600));
    let greeting = json!({ "type": "connection_established", "message": "Connected as Ann", "user_id": "id-Ann", "timestamp": NOW });
    assert_eq!(base(d.read(ann)), [greeting]);

    let session = d.session(ann);
    d.send(ann, &json!({ "type": "join_session", "session_id": session }));
    let joined = json!({ "type": "session_joined", "session_id": session, "session_title": "Tea", "timestamp": NOW });
    assert_eq!(base(d.read(ann)), [joined]);

    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    d.token("Good ");
    d.token("day");
    d.finish(FinishReason::Stop);
    let frames = base(d.read(ann));
    let id = |i: usize| frames[i]["id"].as_str().expect("an id").to_string();
    let expected = [
        json!({ "type": "message", "id": id(0), "role": "user", "content": "Hello", "timestamp": NOW, "session_id": session }),
        json!({ "type": "typing", "is_typing": true, "timestamp": NOW }),
        json!({ "type": "message", "id": id(2), "role": "assistant", "content": "Good day", "timestamp": NOW, "session_id": session }),
        json!({ "type": "typing", "is_typing": false, "timestamp": NOW }),
    ];
    assert_eq!(frames, expected);
}

#[test]
fn a_failed_generation_has_an_error_in_the_place_of_the_message() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    d.fail(GenerationFailure::Internal);
    let frames = base(d.read(ann));
    assert_eq!(frames[0]["role"], "user");
    let expected = [
        json!({ "type": "typing", "is_typing": true, "timestamp": NOW }),
        json!({ "type": "error", "message": "Failed to generate AI response", "timestamp": NOW }),
        json!({ "type": "typing", "is_typing": false, "timestamp": NOW }),
    ];
    assert_eq!(frames[1..], expected);
}

#[test]
fn the_texts_of_errors() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    let mut check = |text: &str, expected: &str| {
        d.send_text(ann, text);
        assert_eq!(base(d.read(ann)), [json!({ "type": "error", "message": expected, "timestamp": NOW })], "{text}");
    };
    check("{", "Invalid JSON format");
    check("", "Invalid JSON format");
    check("[]", "Invalid JSON format");
    check(r#"{"type":"dance"}"#, "Unknown message type: dance");
    check(r#"{"type":"chat_message","message":"Hello"}"#, "Not connected to a session");
    check(r#"{"type":"join_session","session_id":"7"}"#, "Session not found or access denied");
    let absent = r#"{"type":"join_session","session_id":"00000000-0000-4000-8000-000000000000"}"#;
    check(absent, "Session not found or access denied");
    d.session(ann);
    let mut check = |text: &str, expected: &str| {
        d.send_text(ann, text);
        assert_eq!(base(d.read(ann)), [json!({ "type": "error", "message": expected, "timestamp": NOW })], "{text}");
    };
    check(r#"{"type":"chat_message","message":""}"#, "Empty message");
    check(r#"{"type":"chat_message","message":" \n\t "}"#, "Empty message");
    check(r#"{"type":"chat_message"}"#, "Empty message");
}

#[test]
fn a_session_of_somebody_else() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.send(bob, &json!({ "type": "join_session", "session_id": session }));
    assert_eq!(d.read_one(bob)["message"], "Session not found or access denied");
    assert_eq!(d.read(ann), [] as [Value; 0]);
    d.send(bob, &json!({ "type": "chat_message", "message": "Let me in" }));
    assert_eq!(d.read_one(bob)["message"], "Not connected to a session");
}

#[test]
fn ping_and_pong() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.pass(Duration::from_millis(1_500));
    d.send(ann, &json!({ "type": "ping" }));
    assert_eq!(d.read_one(ann), json!({ "type": "pong", "timestamp": "2026-01-01T00:00:01.500000Z" }));
}

#[test]
fn a_refused_token_is_told_and_then_closed_with_1008() {
    let mut d = Driver::default();
    let ann = d.connect();
    d.give(Input::Refused { connection: ann, reason: "The token has expired" });
    let frame = d.read_one(ann);
    assert_eq!((&frame["type"], &frame["message"]), (&json!("error"), &json!("The token has expired")));
    assert_eq!(d.peers[&ann].close, Some((1008, "The token has expired".to_string())));
}

#[test]
fn frames_sent_before_the_verdict_are_served_in_order() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    let session = d.session(ann);
    let again = d.connect();
    d.send(again, &json!({ "type": "join_session", "session_id": session }));
    d.send(again, &json!({ "type": "chat_message", "message": "Hello" }));
    d.send(again, &json!({ "type": "ping" }));
    assert_eq!(d.read(again), [] as [Value; 0]);
    d.authenticate(again, "Ann", Role::User, Duration::from_secs(600));
    let types = d.read_types(again);
    assert_eq!(types[..2], ["connection_established", "session_joined"]);
    assert_eq!(base(d.read(ann))[0]["content"], "Hello");
    assert!(types.contains(&"pong".to_string()), "{types:?}");
}

#[test]
fn everybody_in_the_session_sees_the_same() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    d.send(bob, &json!({ "type": "chat_message", "message": "Hello" }));
    d.answer("Good day");
    let (seen_by_ann, seen_by_bob) = (base(d.read(ann)), base(d.read(bob)));
    assert_eq!(seen_by_ann.len(), 4);
    assert_eq!(seen_by_ann, seen_by_bob);
}
