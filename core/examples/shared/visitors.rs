//! People who talk to a server over its socket, and check what they read.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// Far beyond what anything takes: who waits longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// One person's connection.
pub(crate) struct Visitor {
    socket: WebSocket<TcpStream>,
    /// The last message's `seq`.
    seq: u64,
    epoch: String,
}

impl Visitor {
    pub(crate) fn new(server: SocketAddr, name: &str) -> Visitor {
        let stream = TcpStream::connect(server).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let url = format!("ws://{server}/ws/chat?token={name}");
        let (socket, _) = tungstenite::client(url, stream).expect("a handshake");
        let mut visitor = Visitor { socket, seq: 0, epoch: String::new() };
        visitor.until("connection_established");
        visitor
    }

    pub(crate) fn say(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).expect("the server reads");
    }

    /// The next frame; `Err` is the close code.
    fn next(&mut self) -> Result<Value, u16> {
        loop {
            match self.socket.read().expect("the server writes") {
                Message::Text(text) => {
                    let frame: Value = serde_json::from_str(&text).expect("a frame is JSON");
                    match frame["type"].as_str() {
                        Some("message") => self.seq = frame["seq"].as_u64().expect("a place in the log"),
                        Some("session_joined") => self.epoch = frame["epoch"].as_str().expect("text").to_owned(),
                        _ => {}
                    }
                    return Ok(frame);
                }
                Message::Close(frame) => return Err(frame.map_or(1005, |frame| frame.code.into())),
                _ => {}
            }
        }
    }

    /// Reads up to the next frame of a type.
    pub(crate) fn until(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().unwrap_or_else(|code| panic!("closed with {code} before any {kind}"));
            if frame["type"] == kind {
                return frame;
            }
            assert_ne!(frame["type"], "error", "before any {kind}: {frame}");
        }
    }

    /// Reads an answer from `text`, what is known of it, to its end; or until `stop` says that this is enough.
    fn answer(&mut self, mut text: String, stop: impl Fn(&str) -> bool) -> (String, String) {
        loop {
            let frame = self.next().expect("the server goes on");
            match frame["type"].as_str() {
                Some("message_delta") => {
                    assert_eq!(frame["offset"], text.len(), "no gap and nothing twice: {frame}");
                    text.push_str(frame["content"].as_str().expect("text"));
                    if stop(&text) {
                        return (frame["message_id"].as_str().expect("an id").to_owned(), text);
                    }
                }
                Some("message") if frame["role"] == "assistant" => {
                    assert_eq!(frame["content"], text, "the deltas are the message");
                    return (frame["id"].as_str().expect("an id").to_owned(), text);
                }
                _ => {}
            }
        }
    }

    /// Reads until the server closes; its code.
    pub(crate) fn closed(&mut self) -> u16 {
        loop {
            if let Err(code) = self.next() {
                return code;
            }
        }
    }
}

/// Ann and Bob share a session; Bob loses his connection in the middle of an answer and comes back. The session's id.
pub(crate) fn talk(server: SocketAddr) -> String {
    const SAID: &str = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";
    let (mut ann, mut bob) = (Visitor::new(server, "Ann"), Visitor::new(server, "Bob"));
    ann.say(&json!({ "type": "create_session", "title": "An example" }));
    let session = ann.until("session_joined")["session_id"].clone();
    ann.say(&json!({ "type": "invite", "username": "Bob" }));
    bob.until("invited");
    bob.say(&json!({ "type": "join_session", "session_id": session }));
    bob.until("session_joined");

    let said = json!({ "type": "chat_message", "message": SAID, "client_id": "only once" });
    ann.say(&said);
    let ack = ann.until("ack");
    bob.until("typing");
    let (message, known) = bob.answer(String::new(), |text| text.contains("two"));
    let since = json!({ "epoch": bob.epoch, "seq": bob.seq, "message_id": message, "offset": known.len() });
    drop(bob);
    let mut bob = Visitor::new(server, "Bob");
    bob.say(&json!({ "type": "join_session", "session_id": session, "since": since }));
    assert_eq!(bob.until("session_joined")["resumed"], true);

    let answer = format!("You said: {SAID}");
    assert_eq!(ann.answer(String::new(), |_| false).1, answer);
    assert_eq!(bob.answer(known, |_| false).1, answer, "who came back has every byte, once");

    ann.say(&said);
    assert_eq!(ann.until("ack")["message_id"], ack["message_id"], "a message that comes again is stored once");
    ann.say(&json!({ "type": "chat_message", "message": "stop me" }));
    ann.answer(String::new(), |text| !text.is_empty());
    ann.say(&json!({ "type": "stop_generation" }));
    assert_eq!(ann.until("message")["finish_reason"], "stopped");

    // More than a connection's queue may hold at once: what was written must be granted again.
    let long = "x".repeat(30_000);
    ann.say(&json!({ "type": "chat_message", "message": long }));
    ann.until("ack");
    assert_eq!(ann.answer(String::new(), |_| false).1, format!("You said: {long}"));
    session.as_str().expect("an id").to_owned()
}

/// What the server that follows another one has of the conversation in [`talk`].
pub(crate) fn remember(server: SocketAddr, session: &str) {
    let mut ann = Visitor::new(server, "Ann");
    ann.say(&json!({ "type": "join_session", "session_id": session }));
    assert_eq!(ann.until("session_joined")["seq"], 6, "three messages, three answers");
    ann.say(&json!({ "type": "history" }));
    let page = ann.until("history_page");
    let roles: Vec<&Value> = page["messages"].as_array().expect("messages").iter().map(|m| &m["role"]).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant", "user", "assistant"]);
}

/// What a server must make of what no client should send.
pub(crate) fn misbehave(server: SocketAddr) {
    let mut carl = Visitor::new(server, "Carl");
    carl.socket.send(Message::binary([1, 2, 3].as_slice())).expect("the server reads");
    let error = loop {
        match carl.next() {
            Ok(frame) if frame["type"] == "error" => break frame,
            other => drop(other.expect("the connection lives on")),
        }
    };
    assert_eq!(error["code"], "binary_frame");
    // The server need not read to the end of what is too long.
    let _ = carl.socket.send(Message::text("x".repeat(1_000_000)));
    assert_eq!(carl.closed(), 1009);
}

/// A journal of its own for each test.
pub(crate) fn journal(of: &str) -> PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    std::env::temp_dir().join(format!("causerie-{of}-{}-{now}.jsonl", std::process::id()))
}
