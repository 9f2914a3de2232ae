//! Random lives of a hub: users, connections, losses, slow readers, failures of storage and of the model.

mod op;

use std::time::Duration;

use causerie_core::{ConnectionId, Counts, FinishReason, GenerationFailure, Input, Role, Timings, Usage};
use serde_json::{Value, json};

use super::{Driver, Peer, limits};
pub use op::Op;

const NAMES: [&str; 3] = ["Ann", "Bob", "Eve"];
const TEXTS: [&str; 6] = ["Hello", "ä", "\"\\\n", "How are you today?", "😀", "."];

/// A connection as the scenario knows it.
#[derive(Clone, Copy)]
struct Open {
    id: ConnectionId,
    name: &'static str,
}

/// A hub and all that happens to it.
pub struct World {
    d: Driver,
    open: Vec<Open>,
    /// Frames that must be answered exactly once: whose, and their `id`.
    asked: Vec<(ConnectionId, String)>,
    sessions: Vec<String>,
    deleted: bool,
    count: u64,
}

/// Lives through the operations, and checks that everything ends well.
pub fn live(ops: impl IntoIterator<Item = Op>) {
    live_in(World::new(), ops);
}

/// As [`live`], and shows every frame that is sent.
pub fn live_watched(ops: impl IntoIterator<Item = Op>, watch: fn(&Value)) {
    let mut world = World::new();
    world.d.watch = Some(watch);
    live_in(world, ops);
}

fn live_in(mut world: World, ops: impl IntoIterator<Item = Op>) {
    for op in ops {
        world.apply(op);
    }
    world.end();
}

impl World {
    fn new() -> World {
        let mut limits = limits();
        // Small, so that they are met.
        limits.log_bytes = 3_000;
        limits.queued_generations = 3;
        limits.queued_messages = 3;
        limits.connections = 12;
        limits.connections_per_user = 6;
        limits.frames_per_second = 1_000;
        let mut d = Driver::new(limits);
        d.storage.held = true;
        World { d, open: Vec::new(), asked: Vec::new(), sessions: Vec::new(), deleted: false, count: 0 }
    }

    fn pick(&self, who: u8) -> Option<Open> {
        self.open.get(usize::from(who) % self.open.len().max(1)).copied()
    }

    fn pick_session(&self, which: u8) -> Option<String> {
        self.sessions.get(usize::from(which) % self.sessions.len().max(1)).cloned()
    }

    /// A message of some session, or an answer under way, or nothing that there is.
    fn pick_message(&self, which: u8) -> String {
        let stored = self.d.storage.messages.values().flatten().map(|m| m.id.0.to_string());
        let streams = self.d.peers.values().filter_map(|p| p.reader.answer.as_ref().map(|(id, _)| id.clone()));
        let nothing = "00000000-0000-4000-8000-000000000000".to_string();
        let all: Vec<String> = stored.chain(streams).chain([nothing]).collect();
        all[usize::from(which) % all.len()].clone()
    }

    /// Sends a frame; `answers` is false for one that may get no answer.
    fn send(&mut self, who: u8, mut frame: Value, answers: bool) {
        let Some(open) = self.pick(who) else { return };
        let peer = &self.d.peers[&open.id];
        if peer.paused || peer.close.is_some() {
            return;
        }
        self.count += 1;
        frame["id"] = json!(self.count);
        if answers {
            self.asked.push((open.id, self.count.to_string()));
        }
        self.d.send(open.id, &frame);
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Connect { name, slow } => self.connect(NAMES[usize::from(name) % NAMES.len()], slow),
            Op::Verdict { who, good } => self.verdict(who, good),
            Op::Close { who } => {
                if let Some(open) = self.pick(who) {
                    self.close(open.id);
                }
            }
            Op::Grant { who, credit } => {
                if let Some(open) = self.pick(who) {
                    self.d.grant(open.id, u32::from(credit) % 2_000);
                }
            }
            Op::Create { who } => self.send(who, json!({ "type": "create_session" }), true),
            Op::Join { who, which } => {
                let session = self.pick_session(which).unwrap_or_default();
                self.send(who, json!({ "type": "join_session", "session_id": session }), true);
            }
            Op::Resume { who } => self.resume(who),
            Op::Leave { who } => self.send(who, json!({ "type": "leave_session" }), true),
            Op::Chat { who, text, client_id } => {
                let mut frame = json!({ "type": "chat_message", "message": TEXTS[usize::from(text) % TEXTS.len()] });
                if client_id % 4 != 0 {
                    frame["client_id"] = json!(format!("c{}", client_id % 8));
                }
                if client_id >= 128 {
                    frame["parent"] = json!(self.pick_message(client_id));
                }
                self.send(who, frame, true);
            }
            Op::Edit { who, which, client_id } => {
                let mut frame =
                    json!({ "type": "edit_message", "message_id": self.pick_message(which), "message": "New" });
                if client_id % 4 != 0 {
                    frame["client_id"] = json!(format!("c{}", client_id % 8));
                }
                self.send(who, frame, true);
            }
            Op::Regenerate { who, which } => {
                let mut frame = json!({ "type": "regenerate" });
                if which % 4 != 0 {
                    frame["message_id"] = json!(self.pick_message(which));
                }
                self.send(who, frame, true);
            }
            Op::Stop { who } => self.send(who, json!({ "type": "stop_generation" }), false),
            Op::Typing { who, is_typing } => self.send(who, json!({ "type": "typing", "is_typing": is_typing }), false),
            Op::Invite { who, name } => {
                let username = NAMES[usize::from(name) % NAMES.len()];
                self.send(who, json!({ "type": "invite", "username": username }), true);
            }
            Op::Rename { who, which } => {
                let Some(session) = self.pick_session(which) else { return };
                self.send(who, json!({ "type": "rename_session", "session_id": session, "title": "T" }), false);
            }
            Op::Clear { who } => self.send(who, json!({ "type": "chat_message", "message": "/clear" }), false),
            Op::Delete { who, which } => {
                let Some(session) = self.pick_session(which) else { return };
                self.deleted = true;
                self.send(who, json!({ "type": "delete_session", "session_id": session }), false);
            }
            Op::Command { who, which } => {
                let text = ["/help", "/stat", "/sessions", "/nothing"][usize::from(which) % 4];
                self.send(who, json!({ "type": "chat_message", "message": text }), true);
            }
            Op::History { who } => self.send(who, json!({ "type": "history" }), true),
            Op::Ping { who } => self.send(who, json!({ "type": "ping" }), true),
            Op::Token { which, text } => {
                if let Some(running) = self.d.running.get(usize::from(which) % self.d.running.len().max(1)) {
                    let generation = running.id;
                    self.d.give(Input::Token { generation, text: TEXTS[usize::from(text) % TEXTS.len()] });
                }
            }
            Op::Finish { which, reason } => {
                let reason = [FinishReason::Stop, FinishReason::Length, FinishReason::Error][usize::from(reason) % 3];
                self.finish(usize::from(which), reason);
            }
            Op::Fail { which } => {
                if !self.d.running.is_empty() {
                    let running = self.d.running.remove(usize::from(which) % self.d.running.len());
                    let failure = GenerationFailure::Internal;
                    self.d.give(Input::GenerationFailed { generation: running.id, failure });
                }
            }
            Op::Backend { up: true } => self.d.give(Input::BackendUp { model: "m" }),
            Op::Backend { up: false } => self.d.give(Input::BackendDown { reason: "gone" }),
            Op::Answer { count } => {
                for _ in 0..=count % 8 {
                    self.d.one_answer();
                }
            }
            Op::FailStorage { writes, reads } => {
                self.d.storage.fail_writes += usize::from(writes);
                self.d.storage.fail_reads += usize::from(reads);
            }
            Op::Pass { millis } => self.d.pass(Duration::from_millis(u64::from(millis))),
        }
        self.look();
    }

    fn connect(&mut self, name: &'static str, slow: bool) {
        let Ok(id) = self.d.hub.connect(self.d.now) else { return };
        self.d.peers.insert(id, Peer { credit: Some(0), ..Peer::default() });
        self.open.push(Open { id, name });
        self.d.grant(id, if slow { 300 } else { 1 << 30 });
        // One in some is left without its verdict for a while.
        if !self.count.is_multiple_of(5) {
            self.d.authenticate(id, name, Role::User, Duration::from_secs(100_000));
        }
    }

    fn verdict(&mut self, who: u8, good: bool) {
        let Some(open) = self.pick(who) else { return };
        let ttl = Duration::from_secs(100_000);
        let identity = causerie_core::Identity {
            user_id: format!("id-{}", open.name),
            username: open.name.to_string(),
            role: Role::User,
            expires: self.d.now + ttl,
        };
        let input = if good {
            Input::Authenticated { connection: open.id, identity }
        } else {
            Input::Refused { connection: open.id, reason: "no" }
        };
        // Misuse where no verdict is awaited, and then nothing happens.
        let _ = self.d.hub.handle(self.d.now, input);
        self.d.run();
    }

    fn resume(&mut self, who: u8) {
        let Some(open) = self.pick(who) else { return };
        let reader = &self.d.peers[&open.id].reader;
        let joined = self.d.peers[&open.id].frames.iter().rfind(|f| f["type"] == "session_joined");
        let Some(joined) = joined.filter(|_| reader.session.is_some()) else { return };
        let mut since = json!({ "epoch": joined["epoch"], "seq": reader.seq });
        if let Some((id, text)) = &reader.answer {
            since["message_id"] = json!(id);
            since["offset"] = json!(text.len());
        }
        let session = joined["session_id"].clone();
        // The frames on their way belong to the reading before, so a client resumes on a new connection.
        let (seq, answer) = (reader.seq, reader.answer.clone());
        let name = open.name;
        self.close(open.id);
        let Ok(id) = self.d.hub.connect(self.d.now) else { return };
        let reader = super::reader::Reader { seq, answer, ..Default::default() };
        self.d.peers.insert(id, Peer { credit: Some(0), reader, ..Peer::default() });
        self.open.push(Open { id, name });
        self.d.grant(id, 1 << 30);
        self.d.authenticate(id, name, Role::User, Duration::from_secs(100_000));
        self.d.send(id, &json!({ "type": "join_session", "session_id": session, "since": since }));
    }

    fn close(&mut self, id: ConnectionId) {
        self.d.close(id);
        self.open.retain(|o| o.id != id);
        self.asked.retain(|(c, _)| *c != id);
    }

    fn finish(&mut self, which: usize, reason: FinishReason) {
        if self.d.running.is_empty() {
            return;
        }
        let running = self.d.running.remove(which % self.d.running.len());
        let reason = if running.cancelled { FinishReason::Stopped } else { reason };
        let (usage, timings) = (Usage::default(), Timings::default());
        self.d.give(Input::Generated { generation: running.id, reason, usage, timings });
    }

    /// Learns the sessions there are, and lets go of connections that the hub has closed.
    fn look(&mut self) {
        for id in self.d.storage.sessions.keys() {
            let id = id.0.to_string();
            if !self.sessions.contains(&id) {
                self.sessions.push(id);
            }
        }
        let closed: Vec<_> = self.d.peers.iter().filter(|(_, p)| p.close.is_some()).map(|(id, _)| *id).collect();
        for id in closed {
            self.close(id);
        }
    }

    /// What the hub says of it is what storage has.
    fn check_where_conversations_go_on(&mut self) {
        for open in self.open.clone() {
            let Some(session) = self.d.peers[&open.id].reader.session.clone() else { continue };
            let stored = self.d.storage.sessions.iter().find(|(id, _)| id.0.to_string() == session);
            let Some(last) = stored.map(|(_, record)| record.last_message.map(|id| id.0.to_string())) else { continue };
            let Ok(id) = self.d.hub.connect(self.d.now) else { return };
            self.d.peers.insert(id, Peer::default());
            self.d.grant(id, 1 << 30);
            self.d.authenticate(id, open.name, Role::User, Duration::from_secs(100_000));
            self.d.send(id, &json!({ "type": "join_session", "session_id": session }));
            let joined = self.d.peers[&id].frames.iter().find(|f| f["type"] == "session_joined").cloned();
            // The user may have as many connections as they can have.
            if let Some(joined) = joined {
                assert_eq!(joined["last_message"].as_str(), last.as_deref(), "{joined}");
            }
            self.d.close(id);
        }
    }

    /// Everything that can still happen happens; then all must be at rest, told and forgotten.
    fn end(&mut self) {
        self.d.storage.fail_writes = 0;
        self.d.storage.fail_reads = 0;
        self.d.storage.held = false;
        self.d.run();
        for open in self.open.clone() {
            self.d.grant(open.id, 1 << 30);
        }
        while !self.d.running.is_empty() {
            self.finish(0, FinishReason::Stop);
        }
        self.look();
        let unverified: Vec<_> = self.open.iter().filter(|o| self.d.peers[&o.id].frames.is_empty()).copied().collect();
        for open in unverified {
            self.d.authenticate(open.id, open.name, Role::User, Duration::from_secs(100_000));
        }
        while !self.d.running.is_empty() {
            self.finish(0, FinishReason::Stop);
        }
        self.look();
        self.d.model.settled().unwrap_or_else(|violation| panic!("{violation}"));
        for open in &self.open {
            let peer = &self.d.peers[&open.id];
            assert!(!peer.paused, "everything was read, so nothing is paused");
            peer.reader.check_at_rest(&self.d.storage, self.deleted);
        }
        self.check_where_conversations_go_on();
        for (connection, reference) in &self.asked {
            let answered = self.d.peers[connection].reader.answered.get(reference);
            assert_eq!(
                answered,
                Some(&1),
                "frame {reference} is answered once: {:#?}",
                self.d.peers[connection].frames
            );
        }
        for open in self.open.clone() {
            self.close(open.id);
        }
        while !self.d.running.is_empty() {
            self.finish(0, FinishReason::Stop);
        }
        self.d.pass(Duration::from_secs(3_600));
        assert_eq!(self.d.hub.counts(), Counts::default(), "what is over is forgotten");
        assert_eq!(self.d.hub.next_deadline(), None);
    }
}
