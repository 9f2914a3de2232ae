//! The base protocol to the letter, as the old system's clients rely on it: [`OldClient`] knows only the base frames,
//! passes over all others, and takes offence at everything else.
//!
//! That it does take offence is shown with what the server really said: every change of it that breaks the base is
//! noticed, and every extension of it is not.

mod client;

use std::time::Duration;

use causerie_tests::{Client, Options, Server, WITHIN};
use client::{Asked, OldClient};
use serde_json::{Value, json};

/// What one client sent and got, in order.
#[derive(Clone, Debug)]
enum Said {
    Asked(Asked),
    Got(Value),
}

/// An old client at a real socket.
struct Connected {
    socket: Client,
    client: OldClient,
    record: Vec<Said>,
}

impl Connected {
    fn connect(server: &Server, user: &str) -> Connected {
        let socket = Client::connect_base(server.address(), &server.token(user));
        let mut connected = Connected { socket, client: OldClient::new(user), record: Vec::new() };
        connected.rest();
        connected
    }

    /// Sends a frame and takes all that comes until nothing is owed any more.
    #[track_caller]
    fn ask(&mut self, frame: &Value, asked: Asked) {
        self.ask_text(&frame.to_string(), asked);
    }

    #[track_caller]
    fn ask_text(&mut self, text: &str, asked: Asked) {
        self.record.push(Said::Asked(asked.clone()));
        self.client.ask(asked).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
        self.socket.send_message(text.into());
        self.rest();
    }

    #[track_caller]
    fn wrong(&mut self, text: &str, error: &str) {
        self.ask_text(text, Asked::Wrong { error: error.to_owned() });
    }

    #[track_caller]
    fn say(&mut self, text: &str) {
        let frame = json!({"type": "chat_message", "message": text});
        self.ask(&frame, Asked::Say { text: text.to_owned() });
    }

    /// Gives a command, whose answer must contain a part.
    #[track_caller]
    fn command(&mut self, text: &str, part: &str) {
        let name = text.to_lowercase();
        self.ask(&json!({"type": "chat_message", "message": text}), Asked::Command { name });
        let Some(Said::Got(answer)) = self.record.last() else { panic!("{text} has an answer") };
        assert!(answer["content"].as_str().is_some_and(|text| text.contains(part)), "{text}: {answer}");
    }

    /// Reads until the client is at rest.
    #[track_caller]
    fn rest(&mut self) {
        loop {
            let frame = self.socket.expect_where("a frame that it waits for", WITHIN, |_| true);
            self.client.take(&frame).unwrap_or_else(|wrong| panic!("{wrong}: {frame}"));
            self.record.push(Said::Got(frame));
            if self.client.is_at_rest() {
                return;
            }
        }
    }
}

/// A session made by a new client: the old ones got theirs elsewhere.
fn session(owner: &mut Client) -> String {
    let session = owner.create_session("Old friends");
    session.as_str().expect("an id is a string").to_owned()
}

fn join(session: &str) -> (Value, Asked) {
    let asked = Asked::Join { session: session.to_owned(), title: "Old friends".to_owned() };
    (json!({"type": "join_session", "session_id": session}), asked)
}

/// Everything that the base has, by two old clients in one session. What the first of them sent and got.
fn base_conversation() -> Vec<Said> {
    let server = Server::start();
    let mut owner = server.connect("ada");
    let session = session(&mut owner);
    owner.invite("bob");

    let (mut ada, mut bob) = (Connected::connect(&server, "ada"), Connected::connect(&server, "bob"));
    ada.wrong("{not json", "Invalid JSON format");
    ada.wrong(r#"{"type":"dance"}"#, "Unknown message type: dance");
    ada.wrong(r#"{"type":"chat_message","message":"too early"}"#, "Not connected to a session");
    let nowhere = r#"{"type":"join_session","session_id":"00000000-0000-4000-8000-000000000000"}"#;
    ada.wrong(nowhere, "Session not found or access denied");
    ada.wrong(r#"{"type":"join_session","session_id":"nonsense"}"#, "Session not found or access denied");
    ada.ask(&json!({"type": "ping"}), Asked::Ping);
    let (frame, asked) = join(&session);
    ada.ask(&frame, asked.clone());
    bob.ask(&frame, asked);
    ada.wrong(r#"{"type":"chat_message","message":"  "}"#, "Empty message");
    ada.wrong(r#"{"type":"chat_message"}"#, "Empty message");

    ada.say("Please name three colours.");
    // Bob sees all of it, although he has asked for nothing.
    bob.rest();
    bob.say("Thank you. And one animal?");
    ada.rest();
    for (command, part) in [
        ("/help", "/clear"),
        ("/STATS", "SmolLM2"),
        ("/stat", "SmolLM2"),
        ("/status", "Old friends"),
        ("/sessions", "Old friends"),
        ("/reload", "admin"),
        ("/dance", "/help"),
    ] {
        ada.command(command, part);
    }
    bob.ask(&json!({"type": "ping"}), Asked::Ping);
    ada.ask(&json!({"type": "chat_message", "message": "/clear"}), Asked::Clear);
    ada.wrong(r#"{"type":"chat_message","message":"anybody?"}"#, "Not connected to a session");
    ada.record
}

/// What a client makes of a record: what is wrong with it, if it notices.
fn replay(record: &[Said]) -> Result<(), String> {
    let mut client = OldClient::new("ada");
    for said in record {
        match said {
            Said::Asked(asked) => client.ask(asked.clone())?,
            Said::Got(frame) => client.take(frame)?,
        }
    }
    if client.is_at_rest() { Ok(()) } else { Err("something is still owed".to_owned()) }
}

fn with(record: &[Said], at: usize, change: impl FnOnce(&mut Value)) -> Vec<Said> {
    let mut changed = record.to_vec();
    if let Said::Got(frame) = &mut changed[at] {
        change(frame);
    }
    changed
}

/// The fields that an old client reads of each frame.
fn read_fields(kind: &str) -> &'static [&'static str] {
    match kind {
        "connection_established" => &["message", "user_id", "timestamp"],
        "session_joined" => &["session_id", "session_title", "timestamp"],
        "message" => &["id", "role", "content", "timestamp", "session_id"],
        "typing" => &["is_typing", "timestamp"],
        "command_response" => &["command", "content", "timestamp"],
        "pong" => &["timestamp"],
        _ => &["message", "timestamp"],
    }
}

#[test]
fn two_old_clients_talk_to_the_letter_and_would_notice_every_change() {
    let record = base_conversation();
    assert_eq!(replay(&record), Ok(()));
    let known: Vec<usize> =
        (0..record.len()).filter(|&at| matches!(&record[at], Said::Got(frame) if OldClient::knows(frame))).collect();
    let kinds: std::collections::BTreeSet<String> = known.iter().filter_map(|&at| kind(&record[at])).collect();
    assert_eq!(kinds.len(), 8, "every base frame occurs: {kinds:?}");

    let mut noticed = 0;
    let mut check = |what: &str, at: usize, changed: &[Said]| {
        assert!(replay(changed).is_err(), "{what} is not noticed: {:?}", record[at]);
        noticed += 1;
    };
    for (i, &at) in known.iter().enumerate() {
        let mut changed = record.clone();
        changed.remove(at);
        check("a missing frame", at, &changed);
        let mut changed = record.clone();
        changed.insert(at, record[at].clone());
        check("a frame twice", at, &changed);
        if let Some(&next) = known.get(i + 1) {
            let mut changed = record.clone();
            changed.swap(at, next);
            // Two that say the same may change places.
            if kind(&record[at]) != kind(&record[next]) {
                check("two frames in another order", at, &changed);
            }
        }
        let kind = kind(&record[at]).expect("a known frame has a type");
        for field in read_fields(&kind) {
            let missing = with(&record, at, |frame| {
                frame.as_object_mut().expect("an object").remove(*field);
            });
            check(&format!("a missing {field}"), at, &missing);
            for wrong in [json!(null), json!(7), json!({}), json!([]), json!("")] {
                if wrong == "" && *field == "is_typing" {
                    continue;
                }
                check(&format!("{field}: {wrong}"), at, &with(&record, at, |frame| frame[*field] = wrong.clone()));
            }
        }
    }
    assert!(noticed > 300, "{noticed} changes were tried");

    // What is added is passed over, wherever it stands.
    for at in 0..record.len() {
        let mut extended = record.clone();
        extended.insert(at, Said::Got(json!({"type": "message_delta", "offset": 0, "content": "x"})));
        extended.insert(at, Said::Got(json!({"type": "something_new"})));
        assert_eq!(replay(&extended), Ok(()), "a new frame before {:?}", record[at]);
        let extended = with(&record, at, |frame| frame["something_new"] = json!([1, {"a": null}]));
        assert_eq!(replay(&extended), Ok(()), "a new field in {:?}", record[at]);
    }
}

fn kind(said: &Said) -> Option<String> {
    match said {
        Said::Got(frame) => frame["type"].as_str().map(str::to_owned),
        Said::Asked(_) => None,
    }
}

#[test]
fn without_a_model_the_error_stands_in_place_of_the_answer_and_the_connection_lives_on() {
    let options = Options { model: Some("/nowhere/at-all.gguf".into()), ..Options::default() };
    let server = Server::start_with(options);
    let mut owner = server.connect("ada");
    let session = session(&mut owner);
    let mut ada = Connected::connect(&server, "ada");
    let (frame, asked) = join(&session);
    ada.ask(&frame, asked);
    ada.say("Hello?");
    ada.say("Is anybody there?");
    ada.ask(&json!({"type": "ping"}), Asked::Ping);
    let failed = |said: &&Said| matches!(said, Said::Got(f) if f["message"] == "Failed to generate AI response");
    assert_eq!(ada.record.iter().filter(failed).count(), 2);
}

#[test]
fn a_bad_token_gets_an_error_and_is_closed_with_1008() {
    let without_model = || Options { model: Some("/nowhere/at-all.gguf".into()), ..Options::default() };
    let (server, other) = (Server::start_with(without_model()), Server::start_with(without_model()));
    let foreign = other.token("ada");
    // {"alg":"none"} and the claims of a valid token, unsigned.
    let valid = server.token("ada");
    let claims = valid.split('.').nth(1).expect("a JWT has three parts");
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
    let expired = server.token_with("ada", &["--ttl", "1s"]);
    std::thread::sleep(Duration::from_millis(2_100));
    for (what, token) in [
        ("none", ""),
        ("rubbish", "rubbish"),
        ("foreign key", &foreign),
        ("alg none", &unsigned),
        ("expired", &expired),
    ] {
        let mut socket = Client::connect_base(server.address(), token);
        let mut client = OldClient::new("ada");
        let frame = socket.expect_where("an error", WITHIN, |_| true);
        let error = frame["message"].as_str().expect("text").to_owned();
        client.ask(Asked::Wrong { error }).expect("nothing was asked before");
        assert_eq!((client.take(&frame), &frame["type"]), (Ok(()), &json!("error")), "{what}: {frame}");
        assert_eq!(socket.expect_close().code, 1008, "{what}");
    }
}
