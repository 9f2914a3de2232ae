//! A hub and all that happens to it: plays [`Step`]s.

use std::collections::BTreeMap;
use std::time::Duration;

use causerie_core::testing::{ClientFrame, Known, Place, Request, Step};
use causerie_core::{
    ConnectionId, Counts, FinishReason, Identity, Input, MessageId, Role, SessionId, Timings, Usage, Violation,
};

use super::driver::{Driver, Peer, limits};

const USERS: [&str; 3] = ["Ann", "Bob", "Eve"];

/// Open connections, of everybody.
pub(crate) const CONNECTIONS: usize = 12;

/// Open connections of one user.
const CONNECTIONS_OF_A_USER: usize = 3;

/// All the credit there is.
const PLENTY: u32 = 1 << 30;

struct Open {
    id: ConnectionId,
    user: usize,
    /// The verdict on its token was good.
    recognized: bool,
}

pub(crate) struct World {
    d: Driver,
    open: Vec<Open>,
    /// Where each user was when a connection was last lost.
    places: BTreeMap<usize, Place>,
    count: u64,
    draining: bool,
}

impl World {
    pub(crate) fn new() -> World {
        let mut limits = limits();
        // Small, so that they are met.
        limits.log_bytes = 1_000;
        limits.queued_generations = 3;
        limits.queued_messages = 3;
        limits.generations_per_user = 4;
        limits.connections = CONNECTIONS;
        limits.connections_per_user = CONNECTIONS_OF_A_USER;
        limits.frames_per_second = 1_000;
        let mut d = Driver::new(limits);
        (d.storage.held, d.model_only) = (true, true);
        World { d, open: Vec::new(), places: BTreeMap::new(), count: 0, draining: false }
    }

    /// Ann has a session, Bob is in it, and reads slowly.
    pub(crate) fn begin_conversation(&mut self) {
        let send = |client, request| Step::Send { client, frame: ClientFrame::named(request) };
        for step in [
            Step::Connect { user: 0, credit: None, verdict: Some(true) },
            send(0, Request::CreateSession { title: None, system: None }),
            Step::Answer { requests: 8 },
            send(0, Request::Invite { user: 1 }),
            Step::Connect { user: 1, credit: Some(2_000), verdict: Some(true) },
            Step::Answer { requests: 8 },
            send(1, Request::JoinSession { session: 0, resume: false }),
            Step::Answer { requests: 8 },
        ] {
            self.apply(step);
        }
    }

    pub(crate) fn apply(&mut self, step: Step) {
        match step {
            Step::Connect { user, credit, verdict } => {
                let user = usize::from(user) % USERS.len();
                if let Some(id) = self.connect(user, credit)
                    && let Some(good) = verdict
                {
                    self.verdict(id, user, good);
                }
            }
            Step::Verdict { client, good } => {
                if let Some((id, user)) = self.pick(client) {
                    self.verdict(id, user, good);
                }
            }
            Step::Lose { client } => {
                if let Some((id, user)) = self.pick(client) {
                    self.lose(id, user);
                }
            }
            Step::ComeBack { client, credit } => self.come_back(client, credit),
            Step::Send { client, frame } => {
                if let Some((id, user)) = self.pick(client) {
                    self.send(id, user, &frame);
                }
            }
            Step::Violate { client, violation } => {
                // What closes a connection is no rarer in life than the rest of a script is long.
                if let Some((connection, _)) = self.pick(client)
                    && (violation == Violation::Binary || self.count.is_multiple_of(3))
                {
                    self.d.give(Input::Violated { connection, violation });
                }
            }
            Step::Credit { client, bytes } => {
                if let Some((id, _)) = self.pick(client) {
                    self.d.grant(id, bytes.into());
                }
            }
            Step::Answer { requests } => (0..requests).for_each(|_| self.d.one_answer()),
            Step::FailStorage { writes, reads } => {
                self.d.storage.fail_writes += usize::from(writes);
                self.d.storage.fail_reads += usize::from(reads);
            }
            Step::Pass { time } => self.d.pass(time),
            Step::Drain { within } => {
                self.draining = true;
                let until = self.d.now + within;
                self.d.give(Input::Drain { until });
            }
            of_the_model => self.model_says(of_the_model),
        }
        self.let_go();
    }

    fn model_says(&mut self, step: Step) {
        let running = |d: &Driver, which: u8| {
            let count = d.running.len();
            (count > 0).then(|| usize::from(which) % count)
        };
        match step {
            Step::Backend { up: true } => self.d.give(Input::BackendUp { model: "m" }),
            Step::Backend { up: false } => self.d.give(Input::BackendDown { reason: "gone" }),
            Step::Token { generation, text } => {
                if let Some(at) = running(&self.d, generation) {
                    let generation = self.d.running[at].id;
                    self.d.give(Input::Token { generation, text: &text });
                }
            }
            Step::Notice { generation, notice } => {
                if let Some(at) = running(&self.d, generation) {
                    let generation = self.d.running[at].id;
                    self.d.give(Input::GenerationNotice { generation, notice });
                }
            }
            Step::Finish { generation, reason } => {
                if let Some(at) = running(&self.d, generation) {
                    self.finish(at, reason);
                }
            }
            Step::Fail { generation, failure } => {
                if let Some(at) = running(&self.d, generation) {
                    let generation = self.d.running.remove(at).id;
                    self.d.give(Input::GenerationFailed { generation, failure });
                }
            }
            other => panic!("a step that nobody plays: {other:?}"),
        }
    }

    fn pick(&self, client: u8) -> Option<(ConnectionId, usize)> {
        let open = self.open.get(usize::from(client) % self.open.len().max(1))?;
        Some((open.id, open.user))
    }

    fn connect(&mut self, user: usize, credit: Option<u16>) -> Option<ConnectionId> {
        let id = self.d.hub.connect(self.d.now).ok()?;
        self.d.peers.insert(id, Peer { credit: Some(0), ..Peer::default() });
        self.open.push(Open { id, user, recognized: false });
        self.d.grant(id, credit.map_or(PLENTY, u32::from));
        Some(id)
    }

    fn identity(&self, user: usize) -> Identity {
        let role = if user == 2 { Role::Admin } else { Role::User };
        // Some tokens expire within the script.
        let seconds = if self.count.is_multiple_of(7) { 90 } else { 1_000_000 };
        let expires = self.d.now + Duration::from_secs(seconds);
        Identity { user_id: format!("id-{}", USERS[user]), username: USERS[user].to_string(), role, expires }
    }

    fn verdict(&mut self, connection: ConnectionId, user: usize, good: bool) {
        let input = if good {
            Input::Authenticated { connection, identity: self.identity(user) }
        } else {
            Input::Refused { connection, reason: "no" }
        };
        // Misuse where no verdict is awaited, and then nothing happens.
        if self.d.handle(input).is_ok() {
            self.open.iter_mut().filter(|open| open.id == connection).for_each(|open| open.recognized |= good);
        }
        self.d.run();
    }

    fn lose(&mut self, id: ConnectionId, user: usize) {
        let client = self.d.peers[&id].client;
        if let Some(place) = client.and_then(|client| self.d.model.place(client)) {
            self.places.insert(user, place);
        }
        self.d.close(id);
        self.open.retain(|open| open.id != id);
    }

    fn come_back(&mut self, client: u8, credit: Option<u16>) {
        let Some((id, user)) = self.pick(client) else { return };
        self.places.remove(&user);
        self.lose(id, user);
        let resume = self.places.contains_key(&user);
        let Some(id) = self.connect(user, credit) else { return };
        self.verdict(id, user, true);
        if resume {
            self.send(id, user, &ClientFrame::named(Request::JoinSession { session: 0, resume }));
        }
    }

    fn send(&mut self, id: ConnectionId, user: usize, frame: &ClientFrame) {
        let peer = &self.d.peers[&id];
        if peer.paused || peer.close.is_some() {
            return;
        }
        self.count += 1;
        let sessions: Vec<SessionId> = self.d.storage.sessions.keys().copied().collect();
        let messages: Vec<MessageId> = self.d.storage.messages.values().flatten().map(|m| m.id).collect();
        let known = Known { sessions: &sessions, messages: &messages, users: &USERS, place: self.places.get(&user) };
        // Only a join with an `id` says which of several `since` is answered.
        let named = frame.named || matches!(frame.request, Request::JoinSession { resume: true, .. });
        let text = ClientFrame { named, ..frame.clone() }.to_json(self.count, &known);
        self.d.send_text(id, &text);
    }

    fn finish(&mut self, at: usize, reason: FinishReason) {
        let running = self.d.running.remove(at);
        let reason = if running.cancelled { FinishReason::Stopped } else { reason };
        let (usage, timings) = (Usage::default(), Timings::default());
        self.d.give(Input::Generated { generation: running.id, reason, usage, timings });
    }

    /// Connections that the hub has closed are gone.
    fn let_go(&mut self) {
        let closed: Vec<_> = self.d.peers.iter().filter(|(_, peer)| peer.close.is_some()).map(|(id, _)| *id).collect();
        for id in closed {
            self.d.close(id);
            self.open.retain(|open| open.id != id);
        }
    }

    /// What holds at all times and no single frame shows.
    pub(crate) fn check(&self) {
        let counts = self.d.hub.counts();
        assert!(counts.connections <= CONNECTIONS, "{counts:?}");
        assert_eq!(counts.connections, self.open.len(), "a connection lives until it is gone");
        for (user, name) in USERS.iter().enumerate() {
            let theirs = self.open.iter().filter(|open| open.user == user && open.recognized).count();
            assert!(theirs <= CONNECTIONS_OF_A_USER, "{name} has {theirs} connections");
        }
        assert!(counts.generations <= counts.sessions, "a session has one answer at a time: {counts:?}");
        assert_eq!(counts.generations, self.d.running.len(), "a generation runs until its end is told");
        assert!(counts.waiting_messages <= 4 * USERS.len(), "{counts:?}");
        for (session, message, seq) in self.d.model.acknowledged() {
            // What is deleted is gone for good.
            let Some(messages) = self.d.storage.messages.get(&session) else { continue };
            let stored = messages.iter().any(|record| record.id == message && record.seq == seq);
            assert!(stored, "acknowledged is stored: {message:?}");
        }
    }

    /// Everything that can still happen happens; then all is at rest, told and forgotten.
    pub(crate) fn end(mut self) {
        (self.d.storage.fail_writes, self.d.storage.fail_reads, self.d.storage.held) = (0, 0, false);
        self.d.run();
        let all: Vec<_> = self.open.iter().map(|open| (open.id, open.user)).collect();
        for (id, user) in all {
            self.d.grant(id, PLENTY);
            // The handshake's verdict, where there was none yet, and then that of `authenticate`.
            self.verdict(id, user, true);
            self.verdict(id, user, false);
        }
        self.finish_all();
        self.d.model.settled().unwrap_or_else(|violation| panic!("{violation}"));
        for open in &self.open {
            assert!(!self.d.peers[&open.id].paused, "everything was read, so nothing is paused");
        }
        self.check();
        if self.draining {
            self.d.pass(Duration::from_secs(3_600));
            self.let_go();
            assert_eq!(self.d.hub.counts().connections, 0, "a drain ends");
        }
        for open in std::mem::take(&mut self.open) {
            self.d.close(open.id);
        }
        self.finish_all();
        self.d.pass(Duration::from_secs(3_600));
        assert_eq!(self.d.hub.counts(), Counts::default(), "what is over is forgotten");
        assert_eq!(self.d.hub.next_deadline(), None);
    }

    fn finish_all(&mut self) {
        self.let_go();
        while !self.d.running.is_empty() {
            self.finish(0, FinishReason::Stop);
            self.let_go();
        }
    }
}
