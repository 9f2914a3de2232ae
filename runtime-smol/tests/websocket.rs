//! The WebSocket at its edges that are the runtime's own: tokens, slow readers, storage. What is RFC 6455's is tested
//! from outside, in the workspace's `tests`.

use std::io::Write;
use std::time::{Duration, Instant};

use causerie_tests::raw::{ACCEPT, FIN, KEY, PING, Raw, frame, text};
use causerie_tests::{Client, Options, Server, WITHIN};
use serde_json::json;

fn server() -> Server {
    Server::start_with(Options { model: Some("/nowhere/at-all.gguf".into()), ..Options::default() })
}

#[test]
fn a_missing_or_bad_token_is_told_after_the_handshake() {
    let server = server();
    let bearer = "Sec-WebSocket-Protocol: causerie.v1, bearer.nonsense\r\n";
    for (headers, query) in
        [("", ""), ("", "?token="), ("", "?token=a.b.c"), (bearer, ""), ("Authorization: Bearer x\r\n", "")]
    {
        let mut raw = Raw::tcp(server.address());
        let request = format!(
            "GET /ws/chat{query} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n",
            server.address()
        );
        raw.send(request.as_bytes());
        let response = raw.response();
        assert_eq!((response.status, response.header("sec-websocket-accept")), (101, Some(ACCEPT)), "{response:?}");
        let error = raw.expect("error");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
        assert_eq!(raw.ending().code, Some(1008), "{headers}{query}: {error}");
    }
}

#[test]
fn a_thousand_frames_in_one_write_are_all_answered_and_hinder_nobody() {
    let server = server();
    let mut flood = Raw::connect(server.address(), &server.token("flood"));
    let mut other = Raw::connect(server.address(), &server.token("other"));
    let bytes: Vec<u8> = (0..1_000).flat_map(|i| text(&format!(r#"{{"type":"ping","id":"{i}"}}"#))).collect();
    let mut writer = flood.stream();
    let writing = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    other.send(&text(r#"{"type":"ping"}"#));
    other.expect("pong");
    let mut answered = 0;
    for i in 0..1_000 {
        let id = i.to_string();
        let answer = flood.expect_where("an answer to each", |f| f["ref"] == id);
        // Beyond the rate that a connection may have, the answer says when to come again.
        let refused = answer["type"] == "error" && answer["retry_after_ms"].is_u64();
        assert!(answer["type"] == "pong" || refused, "{answer}");
        answered += usize::from(!refused);
    }
    assert!(answered >= 100, "{answered}");
    writing.join().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    flood.send(&text(r#"{"type":"ping"}"#));
    flood.expect("pong");
}

#[test]
fn who_never_reads_hinders_nobody() {
    let server = server();
    let mut ada = server.connect("ada");
    let session = ada.create_session("Shared");
    ada.invite("deaf");
    let mut deaf = Raw::connect(server.address(), &server.token("deaf"));
    let join = json!({"type": "join_session", "session_id": session}).to_string();
    deaf.send(&text(&join));
    deaf.expect("session_joined");
    // From here on `deaf` reads nothing, and asks for far more than all the buffers between hold.
    let mut asking = deaf.stream();
    asking.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let message = "x".repeat(20_000);
    for i in 0..60 {
        let frame = text(r#"{"type":"history","limit":100}"#);
        let _ = asking.write_all(&frame);
        let sent = Instant::now();
        ada.send(&json!({"type": "chat_message", "message": message, "client_id": i.to_string()}));
        let answer = ada.expect_where("an answer", WITHIN, |f| f["type"] == "ack" || f["type"] == "error");
        let slow = sent.elapsed();
        assert!(slow < WITHIN / 4, "{answer} after {slow:?}");
    }
    drop(deaf);
    ada.send(&json!({"type": "ping"}));
    ada.expect("pong");
}

#[test]
fn without_a_model_a_message_is_stored_and_answered_by_an_error() {
    let server = server();
    let mut ada = server.connect("ada");
    let session = ada.create_session("Shared");
    ada.send(&json!({"type": "chat_message", "message": "hello"}));
    let error = ada.expect("error");
    assert_eq!((&error["code"], &error["retryable"]), (&json!("ai_unavailable"), &json!(true)), "{error}");
    ada.send(&json!({"type": "history"}));
    assert_eq!(ada.expect("history_page")["messages"][0]["content"], "hello");
    // Another server on the same data finds it.
    let data_dir = server.kill();
    let options =
        Options { model: Some("/nowhere/at-all.gguf".into()), data_dir: Some(data_dir), ..Options::default() };
    let server = Server::start_with(options);
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "join_session", "session_id": session}));
    ada.expect("session_joined");
    ada.send(&json!({"type": "history"}));
    assert_eq!(ada.expect("history_page")["messages"][0]["content"], "hello");
}

#[test]
fn a_token_ends_its_connection_when_it_ends() {
    let server = server();
    let mut client = Client::connect(server.address(), &server.token_with("ada", &["--ttl", "2s"]));
    client.expect("connection_established");
    assert_eq!(client.expect_close().code, 1008);
}

#[test]
fn a_token_ends_its_connection_even_if_its_owner_reads_nothing_and_goes_on_sending() {
    let server = server();
    let mut ada = server.connect("ada");
    let session = ada.create_session("Shared");
    ada.invite("deaf");
    let message = "x".repeat(20_000);
    for i in 0..20 {
        ada.send(&json!({"type": "chat_message", "message": message, "client_id": i.to_string()}));
        ada.expect_where("an answer", WITHIN, |f| f["type"] == "ack" || f["type"] == "error");
    }
    let token = server.token_with("deaf", &["--ttl", "2s"]);
    let mut deaf = Raw::connect(server.address(), &token);
    let join = json!({"type": "join_session", "session_id": session}).to_string();
    deaf.send(&text(&join));
    deaf.expect("session_joined");
    // From here on `deaf` reads nothing; a page has more than all the buffers between hold.
    for _ in 0..10 {
        deaf.send(&text(r#"{"type":"history","limit":100}"#));
    }
    let connections = || server.health().1["connections"].as_u64().unwrap();
    assert_eq!(connections(), 2);
    let deadline = Instant::now() + WITHIN;
    while connections() > 1 {
        assert!(Instant::now() < deadline, "the connection outlives its token");
        let _ = deaf.try_send(&frame(FIN | PING, b""));
        std::thread::sleep(Duration::from_millis(50));
    }
    ada.send(&json!({"type": "ping"}));
    ada.expect("pong");
}
