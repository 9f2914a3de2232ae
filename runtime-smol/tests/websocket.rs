//! The WebSocket at its edges, over real sockets against a real server without a model.
//!
//! Frames are made by hand here (RFC 6455, section 5.2): a client library would not send what is wrong.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use causerie_tests::{Client, Options, Server, WITHIN};
use serde_json::{Value, json};

fn server() -> Server {
    Server::start_with(Options { model: Some("/nowhere/at-all.gguf".into()), ..Options::default() })
}

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CONTINUATION: u8 = 0x0;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FIN: u8 = 0x80;

/// A masked frame; the mask is zero, so that the payload stands in it as it is.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        n @ 0..126 => frame.push(0x80 | n as u8),
        n @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((n as u16).to_be_bytes());
        }
        n => {
            frame.push(0x80 | 127);
            frame.extend((n as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A connection without a library.
struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    /// Shakes hands; gives the answer's head too.
    fn open(server: &Server, headers: &str, query: &str) -> (Raw, String) {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        let request = format!(
            "GET /ws/chat{query} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n",
            server.address()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut raw = Raw { stream, buffer: Vec::new() };
        let end = loop {
            if let Some(end) = raw.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            raw.fill().expect("an answer to the handshake");
        };
        let head = String::from_utf8(raw.buffer.drain(..end).collect()).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        (raw, head)
    }

    /// Connects and takes the greeting.
    fn connect(server: &Server, user: &str) -> Raw {
        let (mut raw, _) = Raw::open(server, "", &format!("?token={}", server.token(user)));
        assert_eq!(raw.expect("connection_established")["type"], "connection_established");
        raw
    }

    fn fill(&mut self) -> Option<()> {
        let mut chunk = [0; 4096];
        let n = self.stream.read(&mut chunk).ok().filter(|&n| n > 0)?;
        self.buffer.extend(&chunk[..n]);
        Some(())
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next frame, with its first byte; `None` at the end of the connection.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let [first, second, rest @ ..] = self.buffer.as_slice() {
                assert_eq!(second & 0x80, 0, "a server does not mask");
                let (length, at) = match second & 0x7f {
                    126 if rest.len() >= 2 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), 4),
                    127 if rest.len() >= 8 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, 10),
                    126 | 127 => (usize::MAX - 16, 0),
                    short => (usize::from(short), 2),
                };
                if self.buffer.len() >= at + length {
                    let first = *first;
                    let payload = self.buffer.drain(..at + length).skip(at).collect();
                    return Some((first, payload));
                }
            }
            self.fill()?;
        }
    }

    /// The next text frame of a type, passing over others.
    fn expect(&mut self, kind: &str) -> Value {
        loop {
            let (first, payload) = self.next().unwrap_or_else(|| panic!("the connection ended before {kind}"));
            if first == FIN | TEXT {
                let value: Value = serde_json::from_slice(&payload).unwrap();
                if value["type"] == kind {
                    return value;
                }
            }
            assert_ne!(first, FIN | CLOSE, "closed before {kind}: {payload:?}");
        }
    }

    /// The error, if one comes, and the close code that ends the connection.
    fn expect_end(&mut self) -> (Option<Value>, u16) {
        let mut error = None;
        loop {
            let (first, payload) = self.next().expect("a close frame before the end");
            if first == FIN | TEXT {
                error = serde_json::from_slice(&payload).ok();
            }
            if first == FIN | CLOSE {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                return (error, code);
            }
        }
    }

    fn ping_pong(&mut self) {
        self.send(&frame(FIN | TEXT, br#"{"type":"ping"}"#));
        self.expect("pong");
    }
}

#[test]
fn a_missing_or_bad_token_is_told_after_the_handshake() {
    let server = server();
    let bearer = "Sec-WebSocket-Protocol: causerie.v1, bearer.nonsense\r\n";
    for (headers, query) in
        [("", ""), ("", "?token="), ("", "?token=a.b.c"), (bearer, ""), ("Authorization: Bearer x\r\n", "")]
    {
        let (mut raw, _) = Raw::open(&server, headers, query);
        let (error, code) = raw.expect_end();
        let error = error.unwrap_or_else(|| panic!("an error before the close: {headers}{query}"));
        assert_eq!((&error["type"], code), (&json!("error"), 1008), "{headers}{query}: {error}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
    }
}

#[test]
fn only_the_protocol_is_echoed_never_the_token() {
    let server = server();
    let token = server.token("ada");
    let headers = format!("Sec-WebSocket-Protocol: bearer.{token}, causerie.v1\r\n");
    let (mut raw, head) = Raw::open(&server, &headers, "");
    let head = head.to_lowercase();
    assert!(head.contains("sec-websocket-protocol: causerie.v1\r\n"), "{head}");
    assert!(!head.contains("bearer"), "{head}");
    raw.expect("connection_established");
    // A client that offers nothing gets no subprotocol: browsers would refuse one.
    let (mut raw, head) = Raw::open(&server, "", &format!("?token={token}"));
    assert!(!head.to_lowercase().contains("sec-websocket-protocol"), "{head}");
    raw.expect("connection_established");
}

#[test]
fn frames_may_come_with_the_handshake_in_pieces_and_all_at_once() {
    let server = server();
    let mut raw = Raw::connect(&server, "ada");
    // One byte at a time.
    for byte in frame(FIN | TEXT, br#"{"type":"ping"}"#) {
        raw.send(&[byte]);
    }
    raw.expect("pong");
    // One message in three fragments, a control frame between them.
    raw.send(&frame(TEXT, br#"{"type":"#));
    raw.send(&frame(CONTINUATION, br#""ping","#));
    raw.send(&frame(FIN | PING, b"now"));
    raw.send(&frame(FIN | CONTINUATION, br#""id":"f"}"#));
    assert_eq!(raw.next(), Some((FIN | PONG, b"now".to_vec())));
    assert_eq!(raw.expect("pong")["ref"], "f");
    // A character cut by the border of two fragments.
    raw.send(&frame(TEXT, b"{\"type\":\"\xc3"));
    raw.send(&frame(FIN | CONTINUATION, b"\xa4\"}"));
    assert!(raw.expect("error")["message"].as_str().unwrap().contains('ä'));

    // Frames right behind the handshake, in the same segment, before its answer.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    let mut bytes = format!(
        "GET /ws/chat?token={} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.token("bob"),
        server.address()
    )
    .into_bytes();
    bytes.extend(frame(FIN | TEXT, br#"{"type":"ping","id":"early"}"#));
    stream.write_all(&bytes).unwrap();
    let mut raw = Raw { stream, buffer: Vec::new() };
    while !raw.buffer.windows(4).any(|four| four == b"\r\n\r\n") {
        raw.fill().expect("an answer");
    }
    let end = raw.buffer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    raw.buffer.drain(..end);
    assert_eq!(raw.expect("pong")["ref"], "early");
}

#[test]
fn a_thousand_frames_in_one_write_are_all_answered_and_hinder_nobody() {
    let server = server();
    let (mut flood, mut other) = (Raw::connect(&server, "flood"), Raw::connect(&server, "other"));
    let mut bytes = Vec::new();
    for i in 0..1_000 {
        bytes.extend(frame(FIN | TEXT, format!(r#"{{"type":"ping","id":"{i}"}}"#).as_bytes()));
    }
    let mut writer = flood.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    other.ping_pong();
    let mut answered = 0;
    for _ in 0..1_000 {
        let (first, payload) = flood.next().expect("the connection lives on");
        let answer: Value = serde_json::from_slice(&payload).unwrap();
        // Beyond the rate that a connection may have, the answer says when to come again.
        let refused = answer["type"] == "error" && answer["retry_after_ms"].is_u64();
        assert!(first == FIN | TEXT && (answer["type"] == "pong" || refused), "{answer}");
        answered += usize::from(!refused);
    }
    assert!(answered >= 100, "{answered}");
    writing.join().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    flood.ping_pong();
}

#[test]
fn what_a_message_must_not_be_ends_its_connection_with_the_right_code() {
    let server = server();
    let unmasked = [vec![FIN | TEXT, 15], br#"{"type":"ping"}"#.to_vec()].concat();
    let huge_header = [&[FIN | TEXT, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat();
    let cases: [(&str, Vec<u8>, u16); 9] = [
        ("ten megabytes", frame(FIN | TEXT, &vec![b'x'; 10 << 20]), 1009),
        ("a length that no memory holds", huge_header, 1009),
        ("no UTF-8", frame(FIN | TEXT, b"{\"type\":\"\xff\xfe\"}"), 1007),
        ("no mask", unmasked, 1002),
        ("reserved bits", frame(FIN | 0x40 | TEXT, b"{}"), 1002),
        ("a reserved opcode", frame(FIN | 0x3, b"{}"), 1002),
        ("a continuation of nothing", frame(FIN | CONTINUATION, b"{}"), 1002),
        ("a fragmented ping", frame(PING, b""), 1002),
        ("a ping that is too long", frame(FIN | PING, &[0; 126]), 1002),
    ];
    let mut other = Raw::connect(&server, "other");
    for (what, bytes, expected) in cases {
        let mut raw = Raw::connect(&server, "mallory");
        let mut writer = raw.stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || drop(writer.write_all(&bytes)));
        let (_, code) = raw.expect_end();
        assert_eq!(code, expected, "{what}");
        // The end of the connection follows, whether or not the peer answers.
        let mut rest = Vec::new();
        let _ = raw.stream.read_to_end(&mut rest);
        writing.join().unwrap();
        other.ping_pong();
    }
}

#[test]
fn fragments_that_grow_beyond_the_limit_are_stopped() {
    let server = server();
    let mut raw = Raw::connect(&server, "mallory");
    let mut writer = raw.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        let _ = writer.write_all(&frame(TEXT, &[b'x'; 60_000]));
        for _ in 0..100 {
            let _ = writer.write_all(&frame(CONTINUATION, &[b'x'; 60_000]));
        }
    });
    assert_eq!(raw.expect_end().1, 1009);
    writing.join().unwrap();
}

#[test]
fn a_binary_message_is_refused_and_the_connection_lives_on() {
    let server = server();
    let mut raw = Raw::connect(&server, "ada");
    raw.send(&frame(FIN | BINARY, &[0, 159, 146, 150]));
    assert!(raw.expect("error")["message"].as_str().is_some_and(|text| !text.is_empty()));
    raw.ping_pong();
}

#[test]
fn a_close_is_answered_with_the_same_code() {
    let server = server();
    let mut raw = Raw::connect(&server, "ada");
    raw.send(&frame(FIN | CLOSE, &[&1000u16.to_be_bytes()[..], b"bye"].concat()));
    let (_, code) = raw.expect_end();
    assert_eq!(code, 1000);
    assert_eq!(raw.next(), None, "the server ends the connection");
}

#[test]
fn a_connection_that_just_ends_is_noticed_by_the_others() {
    let server = server();
    let mut ada = server.connect("ada");
    let session = ada.create_session("Shared");
    for how in ["closed", "half closed"] {
        ada.invite("bob");
        let mut bob = Raw::connect(&server, "bob");
        let join = json!({"type": "join_session", "session_id": session}).to_string();
        bob.send(&frame(FIN | TEXT, join.as_bytes()));
        bob.expect("session_joined");
        match how {
            "closed" => drop(bob),
            _ => bob.stream.shutdown(Shutdown::Write).unwrap(),
        }
        ada.expect_where("bob leaving", WITHIN, |f| f["type"] == "presence" && f["event"] == "left");
    }
}

#[test]
fn who_never_reads_hinders_nobody() {
    let server = server();
    let mut ada = server.connect("ada");
    let session = ada.create_session("Shared");
    ada.invite("deaf");
    let mut deaf = Raw::connect(&server, "deaf");
    let join = json!({"type": "join_session", "session_id": session}).to_string();
    deaf.send(&frame(FIN | TEXT, join.as_bytes()));
    deaf.expect("session_joined");
    // From here on `deaf` reads nothing, and asks for far more than all the buffers between hold.
    let mut asking = deaf.stream.try_clone().unwrap();
    asking.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let message = "x".repeat(20_000);
    for i in 0..60 {
        let frame = frame(FIN | TEXT, br#"{"type":"history","limit":100}"#);
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
    let (mut deaf, _) = Raw::open(&server, "", &format!("?token={token}"));
    deaf.expect("connection_established");
    let join = json!({"type": "join_session", "session_id": session}).to_string();
    deaf.send(&frame(FIN | TEXT, join.as_bytes()));
    deaf.expect("session_joined");
    // From here on `deaf` reads nothing; a page has more than all the buffers between hold.
    for _ in 0..10 {
        deaf.send(&frame(FIN | TEXT, br#"{"type":"history","limit":100}"#));
    }
    let connections = || server.health().1["connections"].as_u64().unwrap();
    assert_eq!(connections(), 2);
    let deadline = Instant::now() + WITHIN;
    while connections() > 1 {
        assert!(Instant::now() < deadline, "the connection outlives its token");
        let _ = deaf.stream.write_all(&frame(FIN | PING, b""));
        std::thread::sleep(Duration::from_millis(50));
    }
    ada.send(&json!({"type": "ping"}));
    ada.expect("pong");
}
