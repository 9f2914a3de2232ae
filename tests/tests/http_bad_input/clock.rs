//! The system's clock jumps, as when it is set, or a virtual machine wakes up. By libfaketime, in front of the real server: its
//! wall clock is ours, its timers run on.

use std::path::{Path, PathBuf};

use causerie_tests::{Client, Options, Server, TempDir};
use serde_json::{Value, json};

/// Where Debian, Ubuntu and Fedora put it.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];

/// A clock that can be set.
struct Clock {
    file: PathBuf,
    _directory: TempDir,
}

impl Clock {
    fn new() -> Clock {
        let directory = TempDir::new();
        let clock = Clock { file: directory.path().join("offset"), _directory: directory };
        clock.jump("+0d");
        clock
    }

    /// Sets it to so much before or after the true time.
    fn jump(&self, offset: &str) {
        let next = self.file.with_extension("next");
        std::fs::write(&next, offset).unwrap();
        std::fs::rename(next, &self.file).unwrap(); // it is read at any moment
    }

    fn env(&self, library: &str) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", self.file.to_str().expect("a temporary path is UTF-8")),
            ("FAKETIME_NO_CACHE", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}

/// Sends a message and gives it as it was stored.
fn say(client: &mut Client, text: &str) -> Value {
    client.send(&json!({"type": "chat_message", "message": text}));
    client.expect("ack");
    client
        .expect_where("the message", causerie_tests::WITHIN, |f| f["type"] == "message" && f["content"] == json!(text))
}

#[test]
fn a_clock_that_jumps_breaks_no_conversation() {
    let Some(library) = LIBRARIES.into_iter().find(|library| Path::new(library).exists()) else {
        let missing = "libfaketime is not installed: on Debian and Ubuntu run `apt-get install libfaketime`";
        assert!(std::env::var_os("CAUSERIE_REQUIRE_CLIENTS").is_none_or(|value| value != "1"), "{missing}");
        eprintln!("skipped: {missing}");
        return;
    };
    let clock = Clock::new();
    let options =
        || Options { model: Some("/nowhere/at-all.gguf".into()), env: clock.env(library), ..Options::default() };
    let server = Server::start_with(options());
    // Of two days, and of an hour, by the true clock.
    let (long, short) = (server.token_with("ada", &["--ttl", "2d"]), server.token_with("bob", &["--ttl", "1h"]));
    let mut ada = Client::connect(server.address(), &long);
    ada.send(&json!({"type": "create_session", "title": "Time"}));
    let session = ada.expect("session_joined")["session_id"].clone();
    let before = say(&mut ada, "before");

    clock.jump("+1d");
    let ahead = say(&mut ada, "a day later");
    // A token that has expired meanwhile is refused, one that has not is good.
    let mut bob = Client::connect(server.address(), &short);
    let refused = bob.expect_close();
    assert_ne!(refused.code, 1006, "{refused:?}");
    Client::connect(server.address(), &long).expect("connection_established");

    clock.jump("-1d");
    let back = say(&mut ada, "a day before");
    // The times of messages run on as time does, from what the clock said at the start.
    let times = [&before, &ahead, &back].map(|message| message["timestamp"].as_str().expect("a time").to_owned());
    assert!(times.is_sorted(), "{times:?}");
    // And the short one is good again.
    Client::connect(server.address(), &short).expect("connection_established");

    // A server that starts in the past goes on in the order in which things were said.
    let data_dir = Some(server.stop());
    let server = Server::start_with(Options { data_dir, ..options() });
    let mut ada = Client::connect(server.address(), &long);
    ada.send(&json!({"type": "join_session", "session_id": session}));
    ada.expect("session_joined");
    say(&mut ada, "after a restart in the past");
    ada.send(&json!({"type": "history", "limit": 10}));
    let page = ada.expect("history_page");
    let said: Vec<&str> = page["messages"].as_array().unwrap().iter().filter_map(|m| m["content"].as_str()).collect();
    assert_eq!(said, ["before", "a day later", "a day before", "after a restart in the past"]);
}
