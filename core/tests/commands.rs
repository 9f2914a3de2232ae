//! The seven commands, answered to the asker alone.

mod driver;

use causerie_core::Role;
use driver::Driver;
use serde_json::{Value, json};
use std::time::Duration;

fn command(d: &mut Driver, who: causerie_core::ConnectionId, text: &str) -> Value {
    d.send(who, &json!({ "type": "chat_message", "message": text, "id": "q" }));
    let answer = d.read_one(who);
    assert_eq!((&answer["type"], &answer["ref"]), (&json!("command_response"), &json!("q")), "{answer}");
    answer
}

fn content(answer: &Value) -> &str {
    answer["content"].as_str().expect("text")
}

#[test]
fn help_in_any_case_and_with_anything_after_it() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    for text in ["/help", "/HELP", "  /HeLp  ", "/help me please", "/help\nme"] {
        let answer = command(&mut d, ann, text);
        assert_eq!(answer["command"], "/help");
        for name in ["/help", "/stat", "/stats", "/status", "/sessions", "/clear", "/reload"] {
            assert!(content(&answer).contains(name), "{name}");
        }
    }
    let long = format!("/help {}", "x".repeat(30_000));
    assert_eq!(command(&mut d, ann, &long)["command"], "/help");
    assert_eq!(d.read(bob), [] as [Value; 0]);
    assert_eq!(d.storage.messages.values().next().map(Vec::len), Some(0), "a command is no message");
}

#[test]
fn unknown_commands_name_help() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    for text in ["/dance", "/", "/ help", "/helpme", "/statistics"] {
        let answer = command(&mut d, ann, text);
        assert!(content(&answer).contains("/help"), "{answer}");
    }
    let answer = command(&mut d, ann, &format!("/{}", "ä".repeat(10_000)));
    assert!(content(&answer).len() < 200, "{answer}");
}

#[test]
fn statistics_of_the_server() {
    let cases = [
        "Server: Causerie test",
        "Model: test-model",
        "Uptime: 0:00:10",
        "Connections: 2",
        "Sessions: 1 (1 in use)",
        "Messages: 2",
        "Tokens: 2 generated, 7 of prompts, in 1 answer",
        "Speed: 200.0 tokens/s in the last answer",
    ];
    let mut d = Driver::default();
    let (ann, _bob) = (d.user("Ann"), d.user("Bob"));
    d.session(ann);
    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    d.answer("Good day");
    d.read(ann);
    d.pass(Duration::from_secs(10));
    for text in ["/stat", "/STATS"] {
        let answer = command(&mut d, ann, text);
        for line in cases {
            assert!(content(&answer).lines().any(|l| l == line), "{line}: {answer}");
        }
    }
}

#[test]
fn status_of_the_session() {
    let mut d = Driver::default();
    let (ann, root) = (d.user("Ann"), d.user_with("Root", Role::Admin));
    let session = d.session(ann);
    d.share(ann, &session, root, "Root");
    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    d.answer("Good day");
    d.read(ann);
    d.read(root);
    let lines = |role: &str, name: &str| {
        format!(
            "Session: {session}\nTitle: Tea\nCreated: 2026-01-01T00:00:00.000000Z\nMessages: 2\nYou: {name} ({role})\nYour id: id-{name}"
        )
    };
    assert_eq!(content(&command(&mut d, ann, "/status")), lines("user, owner of this session", "Ann"));
    assert_eq!(content(&command(&mut d, root, "/Status")), lines("admin", "Root"));
}

#[test]
fn sessions_are_the_last_ten_of_the_asker() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    assert_eq!(content(&command(&mut d, ann, "/sessions")), "You have no sessions yet");
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(d.session(ann));
        d.pass(Duration::from_secs(1));
    }
    d.session(bob);
    let answer = command(&mut d, ann, "/sessions");
    let lines: Vec<&str> = content(&answer).lines().collect();
    assert_eq!(lines.len(), 11);
    for (line, id) in lines[1..].iter().zip(ids.iter().rev()) {
        assert!(line.starts_with(id.as_str()), "{line}");
    }
}

#[test]
fn clear_ends_the_session() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    d.send(ann, &json!({ "type": "chat_message", "message": "/CLEAR" }));
    assert_eq!(d.read_types(ann), ["command_response", "session_ended"]);
    let ended = d.read_one(bob);
    assert_eq!((&ended["message"], &ended["session_id"]), (&json!("Session ended by Ann"), &json!(session)));
    for who in [ann, bob] {
        d.send(who, &json!({ "type": "chat_message", "message": "Hello?" }));
        assert_eq!(d.read_one(who)["message"], "Not connected to a session");
    }
    d.send(ann, &json!({ "type": "list_sessions" }));
    assert_eq!(d.read_one(ann)["sessions"][0]["ended"], "2026-01-01T00:00:00.000000Z");
    for text in ["/clear", "/status"] {
        d.send(ann, &json!({ "type": "chat_message", "message": text }));
        assert_eq!(d.read_one(ann)["message"], "Not connected to a session");
    }
}

/// What answers the frame with this `id`.
fn answers(d: &mut Driver, who: causerie_core::ConnectionId, id: &str) -> Vec<Value> {
    d.read(who).into_iter().filter(|f| f["ref"] == id).collect()
}

#[test]
fn clear_is_answered_once_when_storage_has_ended_the_session() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    let clear = |id: &str| json!({ "type": "chat_message", "message": "/clear", "id": id });
    // Storage cannot end it.
    d.storage.fail_writes = 1;
    d.send(ann, &clear("a"));
    let seen = answers(&mut d, ann, "a");
    assert_eq!((seen.len(), &seen[0]["code"]), (1, &json!("storage_failed")), "{seen:?}");
    // It takes its time, and meanwhile there is another.
    d.storage.held = true;
    d.send(ann, &clear("b"));
    assert_eq!(d.read(ann), [] as [Value; 0], "nothing is told as done that is not");
    d.send(ann, &clear("c"));
    let seen = d.read_one(ann);
    assert_eq!((&seen["ref"], &seen["code"]), (&json!("c"), &json!("session_ended")));
    d.release_storage();
    let frames = d.read(ann);
    assert_eq!(frames.iter().map(|f| &f["type"]).collect::<Vec<_>>(), ["command_response", "session_ended"]);
    assert_eq!((&frames[0]["ref"], frames[1].get("ref")), (&json!("b"), None));
}

#[test]
fn who_clears_a_session_and_goes_elsewhere_is_answered_there_once() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    let session = d.session(ann);
    d.storage.held = true;
    d.send(ann, &json!({ "type": "chat_message", "message": "/clear", "id": "c" }));
    d.send(ann, &json!({ "type": "leave_session" }));
    assert_eq!(d.read_types(ann), ["session_left"]);
    d.release_storage();
    let answer = d.read_one(ann);
    assert_eq!((&answer["type"], &answer["ref"]), (&json!("command_response"), &json!("c")));
    assert_eq!(answer["session_id"], session, "the one that has ended");
}

#[test]
fn reload_is_for_administrators() {
    let mut d = Driver::default();
    let (ann, root) = (d.user("Ann"), d.user_with("Root", Role::Admin));
    assert_eq!(content(&command(&mut d, ann, "/reload")), "Only administrators can reload the model");
    assert_eq!(d.reloads, 0);
    assert_eq!(content(&command(&mut d, root, "/reload")), "The model is being loaded anew");
    assert_eq!(d.reloads, 1);
}
