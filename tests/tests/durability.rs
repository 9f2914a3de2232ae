//! What was acknowledged survives: SIGKILL, restart, a disk that fills up.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use causerie_tests::{Client, Options, Process, Server, WITHIN, binary};
use serde_json::{Value, json};

fn history(client: &mut Client) -> Vec<Value> {
    client.send(&json!({"type": "history", "limit": 100}));
    client.expect("history_page")["messages"].as_array().expect("a page has messages").clone()
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let server = Server::start();
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "create_session", "title": "Diary"}));
    let session = ada.expect("session_joined")["session_id"].clone();
    ada.send(&json!({"type": "chat_message", "message": "My cat is called Mathilda. Please remember it.",
                     "sampling": {"temperature": 0, "max_tokens": 30}}));
    let mut acknowledged = vec![ada.expect("ack")["message_id"].clone()];
    let answer = ada.expect_where("the answer", WITHIN, |f| f["type"] == "message" && f["role"] == "assistant");
    acknowledged.push(answer["id"].clone());

    // Several messages at once; the server dies in the middle of answering, right after their acks.
    for i in 0..5 {
        ada.send(&json!({"type": "chat_message", "message": format!("Note {i}."), "client_id": format!("note-{i}")}));
    }
    for _ in 0..5 {
        acknowledged.push(ada.expect("ack")["message_id"].clone());
    }
    let data_dir = server.kill();

    let server = Server::start_with(Options { data_dir: Some(data_dir), ..Options::default() });
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "join_session", "session_id": session}));
    let joined = ada.expect("session_joined");
    assert_eq!(joined["session_title"], "Diary");
    let messages = history(&mut ada);
    for id in &acknowledged {
        assert!(messages.iter().any(|m| m["id"] == *id), "{id} was acknowledged and is gone: {messages:#?}");
    }
    for (i, message) in messages.iter().enumerate() {
        assert_eq!(message["seq"], json!(i + 1), "numbered without a gap");
    }
    assert_eq!(joined["seq"], json!(messages.len()));

    // A message that is sent again because its sender cannot know is not stored twice.
    ada.send(&json!({"type": "chat_message", "message": "Note 3.", "client_id": "note-3"}));
    let ack = ada.expect("ack");
    assert_eq!(ack["message_id"], acknowledged[2 + 3]);
    assert_eq!(history(&mut ada).len(), messages.len());

    // The model has the conversation of before the crash.
    ada.send(&json!({"type": "chat_message", "message": "What is my cat called?", "sampling": {"temperature": 0}}));
    let answer = ada.expect_where("an answer", WITHIN, |f| f["type"] == "message" && f["role"] == "assistant");
    let prompt = answer["usage"]["prompt_tokens"].as_u64().expect("usage tells the prompt's tokens");
    assert!(prompt > 60, "the whole conversation is the prompt, not the last message alone: {prompt} tokens");
}

/// A file size limit is a full disk that needs no root: every write beyond it fails.
#[test]
fn a_full_disk_refuses_messages_and_loses_none() {
    const KIB: u32 = 512;
    let data_dir = causerie_tests::TempDir::new();
    let start = format!(
        "trap '' XFSZ; ulimit -f {KIB}; exec '{}' serve --listen 127.0.0.1:0 --data-dir '{}' --model /nonexistent.gguf",
        binary::causerie().display(),
        data_dir.path().display(),
    );
    // `ulimit -f` counts KiB in bash and 512-byte blocks in dash.
    let process = Process::start(Command::new("sh").args(["-c", &start]));
    let address = process
        .output()
        .wait_for(WITHIN, |line| line.split("http://").nth(1)?.split('/').next()?.parse().ok())
        .expect("the server prints where it listens");
    let token = Command::new(binary::causerie())
        .args(["token", "--user", "ada", "--data-dir"])
        .arg(data_dir.path())
        .output()
        .expect("causerie can be started");
    let token = String::from_utf8(token.stdout).expect("a token is ASCII");
    let mut ada = Client::connect(address, token.trim());
    ada.send(&json!({"type": "create_session", "title": "Full"}));
    ada.expect("session_joined");

    let text = "x".repeat(7_000);
    let (mut stored, mut refused) = (0, Value::Null);
    for i in 0..200 {
        ada.send(&json!({"type": "chat_message", "message": text, "id": i}));
        let answer = ada.expect_where("an ack or an error", WITHIN, |f| f["ref"] == json!(i));
        match answer["type"].as_str() {
            Some("ack") => stored += 1,
            _ if answer["code"] == "rate_limited" => {
                let wait = answer["retry_after_ms"].as_u64().expect("a rate limit says when to come again");
                std::thread::sleep(Duration::from_millis(wait));
            }
            _ => {
                refused = answer;
                break;
            }
        }
    }
    assert!(stored > 0, "the disk had room at first");
    assert_eq!(refused["code"], "storage_failed", "{refused}");
    assert_eq!(refused["retryable"], json!(true), "{refused}");
    assert!(ready(address).contains("\"storage\":false"), "nobody is to be sent here");
    // It is one line of the log, with the code that the client got.
    let told = |line: &str| line.contains("storage could not write").then(|| line.to_owned());
    let line = process.output().wait_for(WITHIN, told).expect("the log says so");
    assert!(line.contains("storage_failed") && line.contains("causerie.db"), "{line}");
    assert_eq!(process.output().text().matches("storage could not write").count(), 1);

    // The server lives on, and what was acknowledged is there.
    ada.send(&json!({"type": "ping"}));
    ada.expect("pong");
    let mut found = 0;
    let mut before = None;
    loop {
        ada.send(&json!({"type": "history", "limit": 50, "before": before}));
        let page = ada.expect("history_page");
        let messages = page["messages"].as_array().expect("a page has messages");
        found += messages.len();
        before = messages.first().map(|m| m["seq"].clone());
        if page["more"] != json!(true) {
            break;
        }
    }
    assert_eq!(found, stored);
}

/// What `/ready` says.
fn ready(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    write!(stream, "GET /ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    answer
}
