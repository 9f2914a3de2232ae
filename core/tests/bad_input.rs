//! Whatever a client sends: one precise error, and everything lives on.

mod driver;

use driver::Driver;
use serde_json::{Value, json};
use std::time::Duration;

/// Every frame with all its fields, as it should be.
fn frames() -> Vec<Value> {
    let id = "00000000-0000-4000-8000-000000000000";
    let sampling = json!({
        "temperature": 1, "top_k": 1, "top_p": 1, "min_p": 0, "repetition_penalty": 1, "max_tokens": 1, "seed": 1, "stop": ["x"]
    });
    let since = json!({ "epoch": "e", "seq": 1, "message_id": id, "offset": 1 });
    vec![
        json!({ "type": "join_session", "session_id": id, "since": since }),
        json!({ "type": "chat_message", "message": "Hello", "client_id": "c", "parent": id, "sampling": sampling }),
        json!({ "type": "ping" }),
        json!({ "type": "create_session", "title": "Tea", "system": "Be brief" }),
        json!({ "type": "leave_session" }),
        json!({ "type": "stop_generation", "message_id": id }),
        json!({ "type": "regenerate", "message_id": id }),
        json!({ "type": "edit_message", "message_id": id, "message": "Hello" }),
        json!({ "type": "history", "before": 1, "limit": 1 }),
        json!({ "type": "typing", "is_typing": true }),
        json!({ "type": "invite", "username": "Bob" }),
        json!({ "type": "rename_session", "title": "Tea", "session_id": id }),
        json!({ "type": "delete_session", "session_id": id }),
        json!({ "type": "list_sessions", "limit": 1 }),
        json!({ "type": "authenticate", "token": "t" }),
    ]
}

/// Values that no field has all of as its own.
fn wrong_values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("x"),
        json!("\u{0}\u{ffff}\u{1f600}"),
        json!("x".repeat(100_000)),
        json!([]),
        json!({}),
        json!([[[[[[]]]]]]),
        json!({ "a": { "b": {} } }),
        json!(vec![0; 1_000]),
    ]
}

/// A fresh hub with Ann in a session and Bob looking on.
fn room() -> (Driver, causerie_core::ConnectionId, causerie_core::ConnectionId) {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    (d, ann, bob)
}

/// Sends a text and checks that all is well afterwards.
fn survives(d: &mut Driver, who: causerie_core::ConnectionId, text: &str) -> Vec<Value> {
    d.pass(Duration::from_millis(50));
    d.send_text(who, text);
    let frames = d.read(who);
    for frame in frames.iter().filter(|f| f["type"] == "error") {
        assert!(
            frame["code"].as_str().is_some_and(|c| c.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')),
            "{frame}"
        );
        assert!(frame["message"].as_str().is_some_and(|m| !m.is_empty() && m.len() < 300), "{frame}");
        assert!(frame["retryable"].is_boolean() && frame["timestamp"].is_string(), "{frame}");
    }
    d.send_text(who, r#"{"type":"ping","id":"still there"}"#);
    let pong = d.read(who).pop().expect("a pong");
    assert_eq!((&pong["type"], &pong["ref"]), (&json!("pong"), &json!("still there")), "after {text:.200}");
    frames
}

#[test]
fn every_field_missing_null_wrong_huge_or_repeated() {
    for frame in frames() {
        let fields: Vec<String> = frame.as_object().expect("an object").keys().cloned().collect();
        for field in &fields {
            let (mut d, ann, bob) = room();
            let mut missing = frame.clone();
            missing.as_object_mut().expect("an object").remove(field);
            survives(&mut d, ann, &missing.to_string());
            for value in wrong_values() {
                let mut wrong = frame.clone();
                wrong[field] = value.clone();
                let seen = survives(&mut d, ann, &wrong.to_string());
                if field == "type" {
                    assert_eq!(seen.iter().filter(|f| f["type"] == "error").count(), 1, "{wrong:.200}");
                }
                // A repeated field counts by its last value.
                let text = frame.to_string();
                let twice = format!("{{{}:{value},{}", json!(field), &text[1..]);
                let first = survives(&mut d, bob, &twice);
                assert!(
                    first.iter().all(|f| f["code"] != "invalid_field" && f["code"] != "invalid_json"),
                    "{twice:.200}: {first:?}"
                );
            }
        }
    }
}

#[test]
fn errors_name_the_field_and_what_was_seen() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    let mut check = |frame: Value, message: &str| {
        d.pass(Duration::from_millis(50));
        d.send(ann, &frame);
        let error = d.read_one(ann);
        assert_eq!((&error["message"], &error["code"]), (&json!(message), &json!("invalid_field")));
    };
    check(json!({}), "Field `type` is missing");
    check(json!({ "type": null }), "Field `type` is missing");
    check(json!({ "type": 7 }), "Field `type` must be a string, got a number");
    check(json!({ "type": "ping", "id": [] }), "Field `id` must be a string or a number, got an array");
    check(json!({ "type": "chat_message", "message": { "a": 1 } }), "Field `message` must be a string, got an object");
    check(json!({ "type": "join_session" }), "Field `session_id` is missing");
    check(json!({ "type": "join_session", "session_id": true }), "Field `session_id` must be a string, got a boolean");
    check(json!({ "type": "typing", "is_typing": "yes" }), "Field `is_typing` must be a boolean, got a string");
    check(json!({ "type": "typing" }), "Field `is_typing` is missing");
    check(json!({ "type": "stop_generation", "message_id": "7" }), "Field `message_id` must be a UUID, got \"7\"");
    let range = "Field `limit` must be an integer from 0 to 9007199254740991, got";
    check(json!({ "type": "history", "limit": -1 }), &format!("{range} -1"));
    check(json!({ "type": "history", "limit": 1.0 }), &format!("{range} 1.0"));
    check(json!({ "type": "history", "limit": 9_007_199_254_740_992_u64 }), &format!("{range} 9007199254740992"));
    check(json!({ "type": "history", "limit": "1" }), "Field `limit` must be an integer, got a string");
    check(json!({ "type": "invite", "username": " " }), "Field `username` is missing");
    check(json!({ "type": "rename_session" }), "Field `title` is missing");
    check(json!({ "type": "authenticate" }), "Field `token` is missing");
    check(
        json!({ "type": "chat_message", "message": "x", "sampling": { "top_p": 7 } }),
        "Field `top_p` must be a number from 0 to 1, got 7",
    );
    check(
        json!({ "type": "chat_message", "message": "x", "sampling": [] }),
        "Field `sampling` must be an object, got an array",
    );
}

#[test]
fn huge_numbers_are_judged_the_same_in_every_build() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    for number in ["1e400", "-1e400", "1e-400", &"9".repeat(400), "123456789012345678901234567890"] {
        d.send_text(ann, &format!(r#"{{"type":"history","limit":{number}}}"#));
        assert_eq!(d.read_one(ann)["code"], "invalid_field", "{number}");
        d.send_text(ann, &format!(r#"{{"type":"ping","unknown":{number}}}"#));
        assert_eq!(d.read_one(ann)["type"], "pong", "{number}");
    }
    // A client's own id comes back as it was written.
    for id in ["9007199254740993", "1.50", "\"a\\u0041\\n\""] {
        d.send_text(ann, &format!(r#"{{"type":"ping","id":{id}}}"#));
        let pong = d.read_one(ann);
        let sent: Value = serde_json::from_str(id).expect("JSON");
        assert_eq!(pong["ref"], sent);
    }
}

#[test]
fn texts_that_are_no_frames() {
    let (mut d, ann, bob) = room();
    for text in [
        "",
        " ",
        "{",
        "}",
        "[]",
        "null",
        "7",
        "\"ping\"",
        "{\"type\":\"ping\"}}",
        "{\"type\":\"ping\",}",
        "{'type':'ping'}",
        "{\"type\":\"ping\"",
        "{\"type\"}",
        "{\"type\":}",
        "{type:\"ping\"}",
        "\u{feff}{\"type\":\"ping\"}",
        "{\"type\":\"pi\nng\"}",
        "{\"type\":\"\\ud800\"",
        "{\"a\":tru}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":0x1}",
        "{\"a\":NaN}",
        "\0",
    ] {
        let seen = survives(&mut d, ann, text);
        assert_eq!((seen.len(), &seen[0]["message"]), (1, &json!("Invalid JSON format")), "{text}");
    }
    assert_eq!(d.read(bob), [] as [Value; 0], "nobody else notices");
}

#[test]
fn unknown_types_are_said_back_whole() {
    let (mut d, ann, _) = room();
    for kind in ["dance", "", "PING", "ping ", "message", "Grüße", "\"quoted\""] {
        let seen = survives(&mut d, ann, &json!({ "type": kind }).to_string());
        assert_eq!(seen[0]["message"], json!(format!("Unknown message type: {kind}")));
        assert_eq!(seen[0]["code"], "unknown_type");
    }
}

#[test]
fn unknown_fields_are_passed_over() {
    let (mut d, ann, _) = room();
    let seen = survives(&mut d, ann, r#"{"x":{"type":"dance"},"type":"ping","y":[1,{"z":null}]}"#);
    assert_eq!(seen[0]["type"], "pong");
}

#[test]
fn frames_in_a_wrong_state() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    for frame in frames() {
        let needs_session = [
            "chat_message",
            "regenerate",
            "edit_message",
            "leave_session",
            "stop_generation",
            "history",
            "typing",
            "invite",
        ];
        let kind = frame["type"].as_str().expect("a type");
        if needs_session.contains(&kind) {
            let seen = survives(&mut d, ann, &frame.to_string());
            assert_eq!(
                (&seen[0]["code"], &seen[0]["message"]),
                (&json!("not_in_session"), &json!("Not connected to a session")),
                "{kind}"
            );
        }
    }
    for kind in ["rename_session", "delete_session"] {
        let seen = survives(&mut d, ann, &json!({ "type": kind, "title": "x" }).to_string());
        assert_eq!(seen[0]["code"], "not_in_session");
    }
}

#[test]
fn a_thousand_frames_in_one_write_are_each_answered() {
    let (mut d, ann, bob) = room();
    for i in 0..1_000 {
        d.send(ann, &json!({ "type": "ping", "id": i }));
    }
    let answers = d.read(ann);
    assert_eq!(answers.iter().map(|f| f["ref"].as_u64()).collect::<Vec<_>>(), (0..1_000).map(Some).collect::<Vec<_>>());
    assert!(
        answers.iter().all(|f| f["type"] == "pong" || f["code"] == "too_many_frames" && f["retry_after_ms"].is_u64())
    );
    assert_eq!(d.peers[&ann].close, None);
    d.send(bob, &json!({ "type": "ping" }));
    assert_eq!(d.read_one(bob)["type"], "pong");
}
