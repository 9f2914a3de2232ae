//! A client of the system that Causerie replaces: it knows only the base frames and ignores everything else.

use causerie_tests::{Client, Server, WITHIN};
use serde_json::{Value, json};

/// What the old clients know, with the fields that they read.
const FRAMES: [(&str, &[&str]); 8] = [
    ("connection_established", &["message", "user_id", "timestamp"]),
    ("session_joined", &["session_id", "session_title", "timestamp"]),
    ("message", &["id", "role", "content", "timestamp", "session_id"]),
    ("typing", &["is_typing", "timestamp"]),
    ("error", &["message", "timestamp"]),
    ("pong", &["timestamp"]),
    ("command_response", &["command", "content", "timestamp"]),
    ("session_ended", &["message", "timestamp"]),
];

/// The next frame that an old client would not ignore, its fields checked.
fn next(client: &mut Client) -> Value {
    let known = |f: &Value| FRAMES.iter().find(|(kind, _)| f["type"] == *kind);
    let frame = client.expect_where("a base frame", WITHIN, |f| known(f).is_some());
    let (kind, fields) = known(&frame).expect("it was just found");
    for field in *fields {
        let value = &frame[*field];
        match *field {
            "is_typing" => assert!(value.is_boolean(), "{kind}.{field}: {frame}"),
            _ => assert!(value.is_string(), "{kind}.{field} is a string: {frame}"),
        }
    }
    assert_rfc3339_utc(frame["timestamp"].as_str().unwrap_or_default());
    frame
}

/// `2026-01-31T23:59:59Z`, with or without a fraction, with `Z` or `+00:00`.
fn assert_rfc3339_utc(text: &str) {
    let rest = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00"));
    let rest = rest.unwrap_or_else(|| panic!("not UTC: {text}"));
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
    let shape: String = whole.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00", "{text}");
    assert!(!fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit()), "{text}");
}

fn say(client: &mut Client, text: &str) {
    client.send(&json!({"type": "chat_message", "message": text}));
}

fn error(client: &mut Client) -> String {
    let frame = next(client);
    assert_eq!(frame["type"], "error", "{frame}");
    frame["message"].as_str().expect("checked").to_owned()
}

#[test]
fn a_base_client_works_to_the_letter() {
    let server = Server::start();
    // Old clients got their sessions elsewhere; a new client makes one here.
    let mut owner = server.connect("ada");
    owner.send(&json!({"type": "create_session", "title": "Chat"}));
    let session = owner.expect("session_joined")["session_id"].clone();
    owner.close();

    let mut client = Client::connect_base(server.address(), &server.token("ada"));
    let hello = next(&mut client);
    assert_eq!(hello["type"], "connection_established");
    assert_eq!(hello["message"], "Connected as ada");

    say(&mut client, "too early");
    assert_eq!(error(&mut client), "Not connected to a session");
    client.send_message("{not json".into());
    assert_eq!(error(&mut client), "Invalid JSON format");
    client.send(&json!({"type": "dance"}));
    assert_eq!(error(&mut client), "Unknown message type: dance");
    client.send(&json!({"type": "join_session", "session_id": "00000000-0000-4000-8000-000000000000"}));
    assert_eq!(error(&mut client), "Session not found or access denied");
    client.send(&json!({"type": "ping"}));
    assert_eq!(next(&mut client)["type"], "pong");

    client.send(&json!({"type": "join_session", "session_id": session}));
    let joined = next(&mut client);
    assert_eq!((&joined["type"], &joined["session_id"]), (&json!("session_joined"), &session));
    assert_eq!(joined["session_title"], "Chat");
    say(&mut client, "   ");
    assert_eq!(error(&mut client), "Empty message");

    // One exchange: user message, typing true, assistant message, typing false; nothing else that it knows.
    say(&mut client, "Please name three colours.");
    let question = next(&mut client);
    assert_eq!((&question["type"], &question["role"]), (&json!("message"), &json!("user")));
    assert_eq!(question["content"], "Please name three colours.");
    assert_eq!(question["session_id"], session);
    let begins = next(&mut client);
    assert_eq!((&begins["type"], &begins["is_typing"]), (&json!("typing"), &json!(true)));
    let answer = next(&mut client);
    assert_eq!((&answer["type"], &answer["role"]), (&json!("message"), &json!("assistant")));
    assert!(answer["content"].as_str().is_some_and(|text| !text.trim().is_empty()), "{answer}");
    let ends = next(&mut client);
    assert_eq!((&ends["type"], &ends["is_typing"]), (&json!("typing"), &json!(false)));

    for (command, part) in [
        ("/help", "/clear"),
        ("/STATS", "SmolLM2"),
        ("/stat", "SmolLM2"),
        ("/status", "Chat"),
        ("/sessions", "Chat"),
        ("/reload", "admin"),
        ("/dance", "/help"),
    ] {
        say(&mut client, command);
        let answer = next(&mut client);
        assert_eq!(answer["type"], "command_response", "{command}: {answer}");
        assert!(answer["content"].as_str().is_some_and(|text| text.contains(part)), "{command}: {answer}");
    }
    say(&mut client, "/clear");
    let end = client.expect_where("the end", WITHIN, |f| f["type"] == "session_ended");
    assert!(end["message"].is_string());
    say(&mut client, "anybody there?");
    assert_eq!(client.expect("error")["message"], "Not connected to a session");
}

#[test]
fn a_bad_token_gets_an_error_and_is_closed_with_1008() {
    let server = Server::start();
    let other = Server::start();
    let foreign = other.token("ada");
    // {"alg":"none"} and the claims of a valid token, unsigned.
    let valid = server.token("ada");
    let claims = valid.split('.').nth(1).expect("a JWT has three parts");
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
    let expired = server.token_with("ada", &["--ttl", "1s"]);
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    for (what, token) in [
        ("none", ""),
        ("rubbish", "rubbish"),
        ("foreign key", &foreign),
        ("alg none", &unsigned),
        ("expired", &expired),
    ] {
        let mut client = Client::connect_base(server.address(), token);
        assert!(!error(&mut client).is_empty(), "{what}");
        assert_eq!(client.expect_close().code, 1008, "{what}");
    }
}

#[test]
fn without_a_model_the_error_stands_in_place_of_the_answer() {
    let options = causerie_tests::Options { model: Some("/nonexistent/model.gguf".into()), ..Default::default() };
    let server = Server::start_with(options);
    let mut client = Client::connect_base(server.address(), &server.token("ada"));
    client.send(&json!({"type": "create_session"}));
    client.expect("session_joined");
    say(&mut client, "Hello?");
    assert_eq!(next(&mut client)["role"], "user");
    assert_eq!(next(&mut client)["is_typing"], json!(true));
    let frame = next(&mut client);
    assert_eq!(frame["message"], "Failed to generate AI response");
    assert_eq!(frame["code"], "ai_unavailable");
    assert_eq!(next(&mut client)["is_typing"], json!(false));
    client.send(&json!({"type": "ping"}));
    assert_eq!(next(&mut client)["type"], "pong");
}
