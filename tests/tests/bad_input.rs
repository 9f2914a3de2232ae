//! What a hostile or broken client sends is answered by a clear error, and the others in the session notice nothing.

use causerie_tests::{Client, Server, WITHIN};
use serde_json::{Value, json};
use tungstenite::Message;

/// Sends something and gives the error that answers it.
fn refused(client: &mut Client, message: Message) -> Value {
    client.send_message(message);
    client.expect("error")
}

#[test]
fn bad_frames_are_refused_one_by_one_and_the_connection_lives_on() {
    let server = Server::start();
    let mut client = server.connect("mallory");
    client.send(&json!({"type": "create_session"}));
    client.expect("session_joined");

    let deep = "[".repeat(100_000);
    let long = json!({"type": "chat_message", "message": "word ".repeat(20_000)}).to_string();
    let cases: Vec<(&str, Message, &str)> = vec![
        ("not JSON", "{".into(), "invalid_json"),
        ("not an object", "[1,2]".into(), ""),
        ("deep nesting", deep.into(), ""),
        ("no type", "{}".into(), ""),
        ("type of a wrong type", r#"{"type": 7}"#.into(), ""),
        ("unknown type", r#"{"type": "dance"}"#.into(), "unknown_type"),
        ("message of a wrong type", r#"{"type":"chat_message","message":{"a":1}}"#.into(), ""),
        ("message missing", r#"{"type":"chat_message"}"#.into(), ""),
        ("empty message", r#"{"type":"chat_message","message":""}"#.into(), "empty_message"),
        ("huge number", r#"{"type":"history","limit":1e400}"#.into(), ""),
        ("negative limit", r#"{"type":"history","limit":-1}"#.into(), ""),
        ("session id that is none", r#"{"type":"join_session","session_id":"../../etc/passwd"}"#.into(), ""),
        ("sampling out of range", r#"{"type":"chat_message","message":"x","sampling":{"top_p":7}}"#.into(), ""),
        ("a message over the limit", long.into(), "message_too_long"),
        ("binary", Message::binary(vec![0, 159, 146, 150]), ""),
    ];
    for (what, message, code) in cases {
        let error = refused(&mut client, message);
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {error}");
        let seen = error["code"].as_str().unwrap_or_default();
        assert!(!seen.is_empty(), "{what}: every error has a code: {error}");
        assert!(code.is_empty() || seen == code, "{what}: {error}");
    }
    client.send(&json!({"type": "ping"}));
    client.expect("pong");
}

#[test]
fn a_ten_megabyte_frame_closes_its_own_connection_alone() {
    let server = Server::start();
    let (mut ada, mut mallory) = (server.connect("ada"), server.connect("mallory"));
    let frame = json!({"type": "chat_message", "message": "x".repeat(10 << 20)}).to_string();
    // The server may hang up before all of it is written: then sending fails, and the close tells why.
    let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| mallory.send_message(frame.into())));
    if sent.is_ok() {
        let closed = mallory.expect_close();
        assert!(matches!(closed.code, 1009 | 1006), "{closed:?}");
    }
    ada.send(&json!({"type": "ping"}));
    ada.expect("pong");
}

#[test]
fn a_thousand_frames_at_once_are_all_answered() {
    let server = Server::start();
    let (mut ada, mut flood) = (server.connect("ada"), server.connect("flood"));
    for i in 0..1_000 {
        flood.send(&json!({"type": "ping", "id": i}));
    }
    for i in 0..1_000 {
        let answer = flood.expect_where("an answer to each", WITHIN, |f| f["ref"] == json!(i));
        // Beyond the rate that a connection may have, the answer is an error that says when to come again.
        assert!(answer["type"] == "pong" || answer["retry_after_ms"].is_u64(), "{answer}");
    }
    ada.send(&json!({"type": "ping"}));
    ada.expect("pong");
}

#[test]
fn a_question_longer_than_the_context_is_refused_and_the_next_one_answered() {
    let server = Server::start_with(causerie_tests::Options {
        args: vec!["--context".into(), "512".into()],
        ..Default::default()
    });
    let (mut ada, mut bob) = (server.connect("ada"), server.connect("bob"));
    ada.send(&json!({"type": "create_session", "title": "Long"}));
    let session = ada.expect("session_joined")["session_id"].clone();
    ada.send(&json!({"type": "invite", "username": "bob"}));
    bob.expect("invited");
    bob.send(&json!({"type": "join_session", "session_id": session}));
    bob.expect("session_joined");

    ada.send(&json!({"type": "chat_message", "message": "elephant ".repeat(700)}));
    let error = ada.expect("error");
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("context_exceeded"), &json!("Failed to generate AI response"))
    );
    let ends =
        ada.expect_where("the end of typing", WITHIN, |f| f["type"] == "typing" && f["is_typing"] == json!(false));
    assert_eq!(ends["role"], "assistant");

    bob.send(&json!({"type": "chat_message", "message": "What is two plus two?", "sampling": {"max_tokens": 20}}));
    let answer = bob.expect_where("an answer", WITHIN, |f| f["type"] == "message" && f["role"] == "assistant");
    assert!(answer["content"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
}

#[test]
fn a_conversation_longer_than_the_context_goes_on_and_says_so() {
    let server = Server::start_with(causerie_tests::Options {
        args: vec!["--context".into(), "512".into()],
        ..Default::default()
    });
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "create_session", "system": "You are a helpful assistant who answers in one sentence."}));
    ada.expect("session_joined");
    let mut noticed = false;
    for i in 0..8 {
        let text = format!("Fact number {i}: {}. Do you understand?", "the sea is wide and blue and deep ".repeat(10));
        ada.send(&json!({"type": "chat_message", "message": text, "sampling": {"max_tokens": 20}}));
        let frames = ada.collect_until("an answer", |f| f["type"] == "message" && f["role"] == "assistant");
        noticed |= frames.iter().any(|f| f["type"] == "notice" && f["code"] == "context_trimmed");
    }
    assert!(noticed, "eight turns of some 100 tokens do not fit into 512");
}
