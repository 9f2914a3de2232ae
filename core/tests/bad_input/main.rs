//! Whatever a client sends: one precise error, and everything lives on.

#[path = "../driver/mod.rs"]
mod driver;
mod table;

use causerie_core::{ConnectionId, Input, Role};
use driver::Driver;
use serde_json::{Value, json};
use std::time::Duration;
use table::{Change, Comes, Field, NOBODY};

/// A fresh hub with Ann in a session and Bob looking on.
fn room() -> (Driver, ConnectionId, ConnectionId) {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    (d, ann, bob)
}

/// Sends a text and checks that all is well afterwards.
fn survives(d: &mut Driver, who: ConnectionId, text: &str) -> Vec<Value> {
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

/// Where a connection is when a frame comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// In no session.
    Alone,
    /// In a session of its own.
    Owner,
    /// In somebody else's.
    Guest,
    /// In a session of its own while an answer is generated.
    Answering,
    /// In a session of its own, and the server is about to stop.
    Draining,
    /// It was in a session, which has ended.
    Ended,
}

const STATES: [State; 6] = [State::Alone, State::Owner, State::Guest, State::Answering, State::Draining, State::Ended];

/// A hub with somebody in a state, somebody else in the same session, and the ids of that session and its message.
struct Scene {
    d: Driver,
    who: ConnectionId,
    other: ConnectionId,
    session: String,
    message: String,
}

impl Scene {
    fn new(state: State) -> Scene {
        let (mut d, ann, bob) = room();
        d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
        if state != State::Answering {
            d.answer("Hi");
        }
        let said = d.read(ann).into_iter().find(|f| f["type"] == "message").expect("the message");
        let text = |field: &str| said[field].as_str().expect("an id").to_string();
        let (session, message) = (text("session_id"), text("id"));
        let (who, other) = if state == State::Guest { (bob, ann) } else { (ann, bob) };
        match state {
            State::Alone => d.send(who, &json!({ "type": "leave_session" })),
            State::Draining => d.give(Input::Drain { until: d.now + Duration::from_secs(60) }),
            State::Ended => d.send(who, &json!({ "type": "chat_message", "message": "/clear" })),
            State::Owner | State::Guest | State::Answering => {}
        }
        d.read(who);
        d.read(other);
        Scene { d, who, other, session, message }
    }
}

/// Every code that says that a frame is not one of the protocol: nothing was done.
const MALFORMED: [&str; 8] = [
    "invalid_json",
    "too_deeply_nested",
    "unknown_type",
    "invalid_field",
    "title_too_long",
    "username_too_long",
    "token_too_long",
    "message_too_long",
];

/// Sends a frame with one field changed, to a fresh hub, and sees what comes of it.
fn check(state: State, kind: &str, field: &Field, change: Change<'_>, comes: Comes) {
    let mut scene = Scene::new(state);
    let frame = table::good(kind, &scene.session, &scene.message);
    let text = table::changed(&frame, field.path, change);
    let shown = &text[..text.floor_char_boundary(300)];
    let seen = survives(&mut scene.d, scene.who, &text);
    let errors: Vec<&Value> = seen.iter().filter(|f| f["type"] == "error").collect();
    match comes {
        Comes::Taken => {
            let malformed = |f: &&&Value| MALFORMED.iter().any(|code| f["code"] == *code);
            assert_eq!(errors.iter().find(malformed), None, "{state:?}: {shown}");
        }
        // What only the session's state and storage can tell comes after what they say.
        Comes::Refused(code) if !MALFORMED.contains(&code) => {
            let known = [code, "not_in_session", "session_ended", "server_draining", "rate_limited"];
            assert!(errors.len() == 1 && known.iter().any(|c| errors[0]["code"] == *c), "{state:?}: {shown}: {seen:?}");
        }
        Comes::Refused(code) => {
            assert_eq!((seen.len(), &seen[0]["code"]), (1, &json!(code)), "{state:?}: {shown}: {seen:?}");
            // A frame whose text is no JSON has no id either.
            let reference = if field.path == ["id"] || code == "too_deeply_nested" { None } else { Some(&json!("q")) };
            if code != "invalid_json" {
                assert_eq!(seen[0].get("ref"), reference, "{state:?}: {shown}: {seen:?}");
            }
            let told = scene.d.read(scene.other);
            assert_eq!(told, [] as [Value; 0], "{state:?}: nobody else notices {shown}");
        }
    }
}

#[test]
fn every_field_of_every_frame_wrong_in_every_way_in_every_state() {
    for state in STATES {
        for kind in table::kinds() {
            for field in table::fields(kind) {
                check(state, kind, &field, Change::Missing, table::without(&field));
                check(state, kind, &field, Change::Is("null"), table::without(&field));
                for (text, comes) in table::values(field.takes) {
                    check(state, kind, &field, Change::Is(&text), comes);
                }
            }
        }
    }
}

/// The last of several fields of a name counts (RFC 8259, section 4, leaves it open; most readers do so).
#[test]
fn every_field_of_every_frame_twice() {
    for kind in table::kinds() {
        for field in table::fields(kind) {
            check(State::Owner, kind, &field, Change::LastIs("null"), table::without(&field));
            for (text, comes) in table::values(field.takes) {
                check(State::Owner, kind, &field, Change::LastIs(&text), comes);
                // What makes the whole text no frame does so wherever it stands.
                let structural = matches!(comes, Comes::Refused("too_deeply_nested" | "invalid_json"));
                let first = if structural { comes } else { Comes::Taken };
                check(State::Owner, kind, &field, Change::FirstIs(&text), first);
            }
        }
    }
}

#[test]
fn the_table_has_every_frame_and_field() {
    // What the hub knows it does not call unknown.
    let mut scene = Scene::new(State::Owner);
    for kind in table::kinds() {
        let seen = survives(&mut scene.d, scene.who, &json!({ "type": kind }).to_string());
        assert!(seen.iter().all(|f| f["code"] != "unknown_type"), "{kind}: {seen:?}");
    }
    for (kind, frame) in table::kinds().into_iter().map(|kind| (kind, table::good(kind, NOBODY, NOBODY))) {
        for field in table::fields(kind) {
            let value = field.path.iter().fold(&frame, |at, name| &at[*name]);
            assert!(!value.is_null(), "{kind} has {:?}", field.path);
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

/// What the sender of a good frame is told first: the code of an error, or the type of another frame.
fn first_answer(state: State, kind: &str) -> String {
    let mut scene = Scene::new(state);
    let frame = table::good(kind, &scene.session, &scene.message);
    let seen = survives(&mut scene.d, scene.who, &frame.to_string());
    let first = seen.first().map(|f| if f["type"] == "error" { &f["code"] } else { &f["type"] });
    first.and_then(Value::as_str).unwrap_or("nothing").to_string()
}

/// By type, and for each of [`STATES`].
#[rustfmt::skip]
const ANSWERS: [(&str, [&str; STATES.len()]); 15] = [
    ("join_session", ["session_joined", "session_joined", "session_joined", "session_joined", "session_joined", "session_ended"]),
    ("chat_message", ["not_in_session", "ack", "ack", "ack", "server_draining", "not_in_session"]),
    ("ping", ["pong", "pong", "pong", "pong", "pong", "pong"]),
    ("create_session", ["session_joined", "session_joined", "session_joined", "session_joined", "server_draining", "session_joined"]),
    ("leave_session", ["not_in_session", "session_left", "session_left", "session_left", "session_left", "not_in_session"]),
    // What is named is no answer under way.
    ("stop_generation", ["not_in_session", "nothing_to_stop", "nothing_to_stop", "nothing_to_stop", "nothing_to_stop", "not_in_session"]),
    ("regenerate", ["not_in_session", "ack", "ack", "ack", "server_draining", "not_in_session"]),
    ("edit_message", ["not_in_session", "ack", "not_author", "ack", "server_draining", "not_in_session"]),
    ("history", ["not_in_session", "history_page", "history_page", "history_page", "history_page", "not_in_session"]),
    // The others are told.
    ("typing", ["not_in_session", "nothing", "nothing", "nothing", "nothing", "not_in_session"]),
    ("invite", ["not_in_session", "invited", "not_owner", "invited", "invited", "not_in_session"]),
    ("rename_session", ["session_renamed", "session_renamed", "not_owner", "session_renamed", "session_renamed", "session_renamed"]),
    // While an answer is generated, the deletion waits for its end.
    ("delete_session", ["session_deleted", "session_deleted", "not_owner", "nothing", "session_deleted", "session_deleted"]),
    ("list_sessions", ["session_list", "session_list", "session_list", "session_list", "session_list", "session_list"]),
    // The runtime verifies the token.
    ("authenticate", ["nothing", "nothing", "nothing", "nothing", "nothing", "nothing"]),
];

#[test]
fn every_frame_in_every_state() {
    assert_eq!(ANSWERS.map(|(kind, _)| kind).to_vec(), table::kinds(), "a row for each");
    for (kind, answers) in ANSWERS {
        assert_eq!(STATES.map(|state| first_answer(state, kind)), answers, "{kind} in {STATES:?}");
    }
    // Without a session of their own, these need the name of one.
    for kind in ["rename_session", "delete_session"] {
        let mut scene = Scene::new(State::Alone);
        let seen = survives(&mut scene.d, scene.who, &json!({ "type": kind, "title": "x" }).to_string());
        assert_eq!(
            (&seen[0]["code"], &seen[0]["message"]),
            (&json!("not_in_session"), &json!("Not connected to a session"))
        );
    }
}

#[test]
fn every_frame_before_the_verdict_on_the_token_waits_for_it() {
    for (kind, answers) in ANSWERS {
        let mut scene = Scene::new(State::Alone);
        let early = scene.d.connect();
        let frame = table::good(kind, &scene.session, &scene.message);
        scene.d.send(early, &frame);
        assert_eq!(scene.d.read(early), [] as [Value; 0], "{kind}");
        scene.d.authenticate(early, "Ann", Role::User, Duration::from_secs(1_800));
        let seen = scene.d.read(early);
        assert_eq!(seen[0]["type"], "connection_established", "{kind}");
        let answer = seen.get(1).map(|f| if f["type"] == "error" { &f["code"] } else { &f["type"] });
        assert_eq!(answer.and_then(Value::as_str).unwrap_or("nothing"), answers[0], "{kind}");
        // And when the verdict is a refusal, nothing is done.
        let refused = scene.d.connect();
        scene.d.send(refused, &frame);
        scene.d.give(Input::Refused { connection: refused, reason: "no" });
        let codes: Vec<_> = scene.d.read(refused).iter().map(|f| f["code"].clone()).collect();
        assert_eq!(codes, ["authentication_failed"], "{kind}");
        // The peer has not heard of the close yet.
        scene.d.send(refused, &frame);
        scene.d.send_text(refused, "{");
        assert_eq!(scene.d.read(refused), [] as [Value; 0], "{kind}");
    }
}

#[test]
fn every_frame_while_its_sender_is_joining_waits_for_the_session() {
    for (kind, answers) in ANSWERS {
        let mut scene = Scene::new(State::Alone);
        // Nobody is in the session, so that it is to be read from storage.
        scene.d.close(scene.other);
        scene.d.pass(Duration::from_secs(60));
        scene.d.storage.held = true;
        scene.d.send(scene.who, &json!({ "type": "join_session", "session_id": scene.session }));
        scene.d.send(scene.who, &table::good(kind, &scene.session, &scene.message));
        assert_eq!(scene.d.read(scene.who), [] as [Value; 0], "{kind}");
        scene.d.release_storage();
        let seen = scene.d.read(scene.who);
        assert_eq!(seen[0]["type"], "session_joined", "{kind}: {seen:?}");
        let answer = seen.get(1).map(|f| if f["type"] == "error" { &f["code"] } else { &f["type"] });
        assert_eq!(answer.and_then(Value::as_str).unwrap_or("nothing"), answers[1], "{kind}: {seen:?}");
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
