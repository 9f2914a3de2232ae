//! Starting, stopping, and what happens to the model meanwhile: the real server, the real model.

mod model;
mod restarts;
mod starting;
mod stopping;

use causerie_tests::{Client, Options, Process, Server, TempDir, WITHIN, binary, raw};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Waits until `/health` has a status.
fn wait_for(server: &Server, status: &str) -> Value {
    let deadline = Instant::now() + WITHIN;
    loop {
        let (code, health) = server.health();
        if health["status"] == status {
            assert_eq!(code, if status == "ready" { 200 } else { 503 }, "{health}");
            return health;
        }
        assert!(Instant::now() < deadline, "{health} is not {status}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ask(client: &mut Client, question: &str, tokens: u32) {
    client.send(&json!({"type": "chat_message", "message": question, "sampling": {"max_tokens": tokens, "seed": 1}}));
}

fn answer(client: &mut Client) -> Value {
    client.expect_where("an answer", WITHIN, |f| f["type"] == "message" && f["role"] == "assistant")
}

fn signal(process: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status();
    assert!(status.expect("kill is in every system").success());
}

/// One request over HTTP: the head and the body of the answer.
fn http(server: &Server, method: &str, path: &str) -> (String, String) {
    let mut raw = std::net::TcpStream::connect(server.address()).expect("it still listens");
    raw.set_read_timeout(Some(WITHIN)).unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address());
    raw.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    raw.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    (head.to_lowercase(), body.to_owned())
}

fn without_model() -> Server {
    Server::start_with(Options { model: Some("/nowhere/at-all.gguf".into()), ..Options::default() })
}
