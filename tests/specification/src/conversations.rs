//! The worked examples of `docs/protocol.md`, played against the real hub.
//!
//! In a block that begins with ` ```conversation `, `Ann > FRAME` is what Ann's client sends, `Ann < FRAME` the next frame
//! that it gets, `Ann closed CODE` the end of its connection, and a line in brackets is what else happens. A string
//! `$name` stands for an id: whatever comes there first, and the same everywhere in the block; `$time` is any time. A
//! frame that ends with `, …}` may have more fields. Every frame that the server sends must be in the block.

use std::collections::BTreeMap;
use std::time::Duration;

use causerie_core::{
    ConnectionId, FinishReason, GenerationFailure, GenerationNotice, Hub, Input, Options, Role, UnixMicros,
};
use serde_json::Value;

use super::driver::reader::Reader;
use super::driver::{Driver, START, limits};
use super::read;
use super::traffic::{check_client, check_server};

#[test]
fn the_conversations_go_as_they_are_written() {
    let text = read("protocol.md");
    let mut count = 0;
    for block in text.split("```conversation\n").skip(1) {
        let (lines, _) = block.split_once("```").expect("a block ends");
        Play::default().play(lines);
        count += 1;
    }
    assert!(count >= 8, "{count}");
}

/// One conversation under way.
#[derive(Default)]
struct Play {
    d: Driver,
    people: BTreeMap<String, ConnectionId>,
    /// What the placeholders stand for.
    names: BTreeMap<String, String>,
    /// What clients know that have lost their connection.
    known: BTreeMap<String, Reader>,
}

impl Play {
    fn play(mut self, lines: &str) {
        self.d.watch = Some(check_server);
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.line(line);
        }
        for (name, id) in &self.people {
            let rest = self.d.read(*id);
            assert!(rest.is_empty(), "{name} gets more than the example shows: {rest:#?}\n{lines}");
        }
    }

    fn line(&mut self, line: &str) {
        if let Some(event) = line.strip_prefix('(').and_then(|l| l.strip_suffix(')')) {
            return self.event(event);
        }
        if let Some((name, frame)) = line.split_once(" > ") {
            let frame = self
                .names
                .iter()
                .fold(frame.to_string(), |f, (name, id)| f.replace(&format!("\"{name}\""), &format!("\"{id}\"")));
            if let Ok(value) = serde_json::from_str::<Value>(&frame)
                && causerie_core::schema::ClientFrame::TYPES.contains(&value["type"].as_str().unwrap_or_default())
            {
                check_client(&value);
            }
            let id = self.people[name];
            return self.d.send_text(id, &frame);
        }
        if let Some((name, frame)) = line.split_once(" < ") {
            return self.expect(name, frame);
        }
        if let Some((name, code)) = line.split_once(" closed ") {
            let close = self.d.peers[&self.people[name]].close.clone();
            return assert_eq!(close.map(|c| c.0.to_string()).as_deref(), Some(code), "{line}");
        }
        panic!("what is this line? {line}");
    }

    /// Something other than a frame happens.
    fn event(&mut self, event: &str) {
        let words: Vec<&str> = event.split(' ').collect();
        match words[..] {
            [name, "connects"] => {
                let id = self.d.connect();
                self.d.authenticate(id, name, Role::User, Duration::from_secs(1_800));
                if let Some(known) = self.known.remove(name) {
                    self.d.peers.get_mut(&id).expect("a peer").reader = known;
                }
                self.people.insert(name.to_string(), id);
            }
            [name, "connects", "with", "a", "bad", "token"] => {
                let id = self.d.connect();
                self.d.give(Input::Refused { connection: id, reason: "The token's signature is wrong" });
                self.people.insert(name.to_string(), id);
            }
            [name, "loses", "the", "connection"] => {
                let id = self.people.remove(name).expect("connected");
                assert!(self.d.read(id).is_empty(), "what comes before the loss is shown");
                let Reader { seq, answer, .. } = std::mem::take(&mut self.d.peers.get_mut(&id).expect("a peer").reader);
                self.known.insert(name.to_string(), Reader { seq, answer, ..Reader::default() });
                self.d.close(id);
            }
            ["the", "model", "says", ..] => {
                let text = event.split_once("says ").expect("something").1;
                self.d.token(&serde_json::from_str::<String>(text).expect("a string"));
            }
            ["the", "model", "is", "done"] => self.d.finish(FinishReason::Stop),
            ["the", "model", "has", "stopped"] => {
                assert!(self.d.running[0].cancelled, "it was asked to");
                self.d.finish(FinishReason::Stopped);
            }
            ["the", "model", "fails"] => self.d.fail(GenerationFailure::Internal),
            ["the", "model", "drops", count, "old", "messages"] => {
                let (generation, messages) = (self.d.generation(), count.parse().expect("a number"));
                self.d.give(Input::GenerationNotice {
                    generation,
                    notice: GenerationNotice::ContextTrimmed { messages },
                });
            }
            ["the", "token", "of", name, "is", "good"] => {
                let (id, token) = self.d.tokens_to_verify.remove(0);
                assert!(!token.is_empty() && self.people[name] == id);
                self.d.authenticate(id, name, Role::User, Duration::from_secs(1_800));
            }
            [count, "seconds", "pass"] => self.d.pass(Duration::from_secs(count.parse().expect("a number"))),
            ["the", "server", "will", "stop", "in", count, "seconds"] => {
                let until = self.d.now + Duration::from_secs(count.parse().expect("a number"));
                self.d.give(Input::Drain { until });
            }
            ["the", "server", "is", "started", "anew"] => self.start_anew(),
            _ => panic!("what is this event? ({event})"),
        }
    }

    /// Everything but storage is lost.
    fn start_anew(&mut self) {
        assert!(self.people.is_empty(), "all connections are lost first");
        self.d.running.clear();
        self.d.model.restarted();
        let (wall_clock, server) = (UnixMicros(START), "Causerie test".to_string());
        self.d.hub = Hub::new(Options { seed: [4; 32], wall_clock, server, limits: limits() });
        self.d.give(Input::BackendUp { model: "test-model" });
    }

    /// The next frame of a peer is this one.
    fn expect(&mut self, name: &str, expected: &str) {
        let id = self.people[name];
        let peer = self.d.peers.get_mut(&id).expect("a peer");
        let Some(frame) = peer.frames.get(peer.seen).cloned() else { panic!("{name} gets nothing, not {expected}") };
        peer.seen += 1;
        let (text, open) = match expected.strip_suffix(", …}") {
            Some(fields) => (format!("{fields}}}"), true),
            None => (expected.to_string(), false),
        };
        let wanted: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {expected}"));
        assert!(self.fits(&wanted, &frame, open), "{name} gets\n{frame}\nand the example says\n{expected}");
    }

    /// Whether a frame is what an example says; learns what the placeholders stand for.
    fn fits(&mut self, wanted: &Value, got: &Value, open: bool) -> bool {
        match (wanted, got) {
            (Value::String(name), Value::String(text)) if name == "$time" => text.ends_with('Z'),
            (Value::String(name), Value::String(text)) if name.starts_with('$') => {
                self.names.entry(name.clone()).or_insert_with(|| text.clone()) == text
            }
            (Value::Object(wanted), Value::Object(got)) => {
                (open || wanted.len() == got.len())
                    && wanted.iter().all(|(name, w)| got.get(name).is_some_and(|g| self.fits(w, g, false)))
            }
            (Value::Array(wanted), Value::Array(got)) => {
                wanted.len() == got.len() && wanted.iter().zip(got).all(|(w, g)| self.fits(w, g, false))
            }
            (Value::Number(wanted), Value::Number(got)) => wanted == got || wanted.as_f64() == got.as_f64(),
            _ => wanted == got,
        }
    }
}
