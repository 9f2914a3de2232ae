//! A runtime in memory: it does what the hub puts out, as a real one would, under a virtual clock.
//!
//! Storage commits or fails on command, the model says what a test tells it to, and each peer keeps all frames that
//! were sent to it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the driver")]

pub mod reader;
pub mod scenario;
pub mod storage;

use std::collections::BTreeMap;
use std::time::Duration;

use causerie_core::limits::Limits;
use causerie_core::testing::{ClientId, Model};
use causerie_core::{
    ConnectionId, FinishReason, GenerationFailure, GenerationId, Hub, Identity, Input, Instant, Loaded, MessageId,
    MessageRecord, MessageRole, Misuse, Options, Output, Role, Sampling, SessionId, Timings, UnixMicros, Usage,
};
use serde_json::Value;
use storage::{Answer, Storage};

/// 2026-01-01T00:00:00Z
pub const START: u64 = 1_767_225_600_000_000;

/// What a peer has got.
#[derive(Default)]
pub struct Peer {
    pub frames: Vec<Value>,
    pub seen: usize,
    pub close: Option<(u16, String)>,
    pub paused: bool,
    /// Bytes granted and not yet used, as the test wants them; `None` is without bound.
    pub credit: Option<i64>,
    /// It was sent a frame without credit: only the last frames before a close may be.
    pub overdrawn: bool,
    /// What its frames must be like.
    pub reader: reader::Reader,
    /// What the model calls it.
    pub client: Option<ClientId>,
}

impl Peer {
    fn client(&mut self, model: &mut Model) -> ClientId {
        *self.client.get_or_insert_with(|| model.connect())
    }
}

/// An answer that the hub has asked for.
#[derive(Clone, Debug)]
pub struct Running {
    pub id: GenerationId,
    pub session: SessionId,
    pub prompt: MessageId,
    pub asker: String,
    pub sampling: Sampling,
    pub cancelled: bool,
}

pub struct Driver {
    pub hub: Hub,
    pub now: Instant,
    pub peers: BTreeMap<ConnectionId, Peer>,
    pub storage: Storage,
    pub running: Vec<Running>,
    pub tokens_to_verify: Vec<(ConnectionId, String)>,
    pub reloads: usize,
    /// Sends of more than one recipient.
    pub shared_sends: usize,
    /// Looks at every frame that is sent.
    pub watch: Option<fn(&Value)>,
    /// What all peers must see.
    pub model: Model,
    /// Only the model looks at frames, and no peer's `reader`, for peers that come back from where the model says. Their
    /// `frames` are null: an `id` that is a number beyond f64 is echoed, and not every reader of JSON takes that.
    pub model_only: bool,
}

pub fn limits() -> Limits {
    Limits::default()
}

impl Default for Driver {
    fn default() -> Driver {
        Driver::new(limits())
    }
}

impl Driver {
    /// A hub with a model.
    pub fn new(limits: Limits) -> Driver {
        let mut driver = Driver::without_model(limits);
        driver.give(Input::BackendUp { model: "test-model" });
        driver
    }

    pub fn without_model(limits: Limits) -> Driver {
        let options =
            Options { seed: [3; 32], wall_clock: UnixMicros(START), server: "Causerie test".to_string(), limits };
        Driver {
            hub: Hub::new(options),
            now: Instant::ZERO,
            peers: BTreeMap::new(),
            storage: Storage::default(),
            running: Vec::new(),
            tokens_to_verify: Vec::new(),
            reloads: 0,
            shared_sends: 0,
            watch: None,
            model: Model::with_storage(),
            model_only: false,
        }
    }

    /// Gives an input and does all that follows.
    #[track_caller]
    pub fn give(&mut self, input: Input<'_>) {
        self.handle(input).expect("the driver keeps to the contract");
        self.run();
    }

    /// Gives an input, and nothing more. The model hears of a frame unless the runtime is told to keep it.
    pub fn handle(&mut self, input: Input<'_>) -> Result<(), Misuse> {
        let frame = if let Input::Frame { connection, text } = &input { Some((*connection, *text)) } else { None };
        self.hub.handle(self.now, input)?;
        if let Some((connection, text)) = frame
            && let Some(peer) = self.peers.get_mut(&connection)
        {
            let client = peer.client(&mut self.model);
            self.model.sent(client, text);
        }
        Ok(())
    }

    /// A connection with all the credit there is and no verdict on its token yet.
    pub fn connect(&mut self) -> ConnectionId {
        let id = self.hub.connect(self.now).expect("room for a connection");
        self.peers.insert(id, Peer::default());
        self.give(Input::Writable { connection: id, credit: u32::MAX });
        id
    }

    /// A recognized connection of a user whose id is `id-NAME`, its greeting read.
    pub fn user(&mut self, name: &str) -> ConnectionId {
        self.user_with(name, Role::User)
    }

    pub fn user_with(&mut self, name: &str, role: Role) -> ConnectionId {
        let id = self.connect();
        self.authenticate(id, name, role, Duration::from_secs(1_800));
        self.read(id);
        id
    }

    pub fn authenticate(&mut self, connection: ConnectionId, name: &str, role: Role, ttl: Duration) {
        let identity =
            Identity { user_id: format!("id-{name}"), username: name.to_string(), role, expires: self.now + ttl };
        self.give(Input::Authenticated { connection, identity });
    }

    /// A recognized connection that can take `credit` bytes beyond its greeting.
    pub fn slow_user(&mut self, name: &str, credit: u32) -> ConnectionId {
        let id = self.hub.connect(self.now).expect("room for a connection");
        self.peers.insert(id, Peer { credit: Some(0), ..Peer::default() });
        self.authenticate(id, name, Role::User, Duration::from_secs(1_800));
        self.grant(id, 1);
        let frame = self.peers[&id].frames[0].to_string().len() as u32;
        self.read(id);
        self.grant(id, frame - 1 + credit);
        id
    }

    pub fn grant(&mut self, connection: ConnectionId, credit: u32) {
        if let Some(left) = self.peers.get_mut(&connection).and_then(|p| p.credit.as_mut()) {
            *left += i64::from(credit);
        }
        self.give(Input::Writable { connection, credit });
    }

    #[track_caller]
    pub fn send(&mut self, connection: ConnectionId, frame: &Value) {
        self.send_text(connection, &frame.to_string());
    }

    #[track_caller]
    pub fn send_text(&mut self, connection: ConnectionId, text: &str) {
        self.give(Input::Frame { connection, text });
    }

    /// A session made by `owner`, who is in it; everything read.
    pub fn session(&mut self, owner: ConnectionId) -> String {
        self.send(owner, &serde_json::json!({ "type": "create_session", "title": "Tea" }));
        let joined = self.read(owner).pop().expect("session_joined");
        assert_eq!(joined["type"], "session_joined", "{joined}");
        joined["session_id"].as_str().expect("an id").to_string()
    }

    /// Invites and joins a user into a session whose owner is `owner`; everything read.
    pub fn share(&mut self, owner: ConnectionId, session: &str, guest: ConnectionId, guest_name: &str) {
        self.send(owner, &serde_json::json!({ "type": "invite", "username": guest_name }));
        self.send(guest, &serde_json::json!({ "type": "join_session", "session_id": session }));
        self.read(owner);
        let frames = self.read(guest);
        assert!(frames.iter().any(|f| f["type"] == "session_joined"), "{frames:?}");
    }

    /// The frames that have come since the last call.
    pub fn read(&mut self, connection: ConnectionId) -> Vec<Value> {
        let peer = self.peers.get_mut(&connection).expect("a peer");
        let new = peer.frames[peer.seen..].to_vec();
        peer.seen = peer.frames.len();
        new
    }

    /// Their types.
    pub fn read_types(&mut self, connection: ConnectionId) -> Vec<String> {
        self.read(connection).iter().map(|f| f["type"].as_str().expect("a type").to_string()).collect()
    }

    /// The one frame that has come.
    #[track_caller]
    pub fn read_one(&mut self, connection: ConnectionId) -> Value {
        let frames = self.read(connection);
        assert_eq!(frames.len(), 1, "{frames:#?}");
        frames.into_iter().next().expect("one")
    }

    pub fn close(&mut self, connection: ConnectionId) {
        if let Some(client) = self.peers.get(&connection).and_then(|peer| peer.client) {
            self.model.closed(client, None).expect("a lost connection is no violation");
        }
        self.give(Input::Closed { connection });
        self.peers.remove(&connection);
    }

    /// Lets time pass, stopping at every deadline on the way.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, _)) = self.hub.next_deadline()
            && at <= end
        {
            self.now = self.now.max(at);
            self.give(Input::Timer);
        }
        self.now = end;
        self.give(Input::Timer);
    }

    /// The answer under way.
    #[track_caller]
    pub fn generation(&self) -> GenerationId {
        self.running.first().expect("a generation").id
    }

    #[track_caller]
    pub fn token(&mut self, text: &str) {
        let generation = self.generation();
        self.give(Input::Token { generation, text });
    }

    #[track_caller]
    pub fn finish(&mut self, reason: FinishReason) {
        let generation = self.running.remove(0).id;
        let usage = Usage { prompt_tokens: 7, cached_tokens: 3, completion_tokens: 2 };
        let timings = Timings { first_token_ms: 12.5, tokens_per_second: 200.0 };
        self.give(Input::Generated { generation, reason, usage, timings });
    }

    /// The whole of an answer.
    #[track_caller]
    pub fn answer(&mut self, text: &str) {
        self.token(text);
        self.finish(FinishReason::Stop);
    }

    #[track_caller]
    pub fn fail(&mut self, failure: GenerationFailure) {
        let generation = self.running.remove(0).id;
        self.give(Input::GenerationFailed { generation, failure });
    }

    /// Drains the hub and answers from storage until nothing is left to do.
    pub fn run(&mut self) {
        loop {
            let Driver {
                hub,
                peers,
                storage,
                running,
                tokens_to_verify,
                reloads,
                shared_sends,
                watch,
                model,
                model_only,
                ..
            } = self;
            let mut sink = |output: Output<'_>| match output {
                Output::Send { to, frame } => {
                    *shared_sends += usize::from(to.len() > 1);
                    let value =
                        if *model_only { Value::Null } else { serde_json::from_str(frame).expect("frames are JSON") };
                    if let Some(watch) = watch {
                        watch(&value);
                    }
                    for id in to {
                        let peer = peers.get_mut(id).expect("no output to a connection that is gone");
                        assert_eq!(peer.close, None, "no frame after the close: {frame}");
                        let client = peer.client(model);
                        if !peer.reader.lied {
                            model.received(client, frame).unwrap_or_else(|violation| panic!("{violation}"));
                        }
                        if !*model_only {
                            peer.reader.take(&value, storage);
                        }
                        peer.frames.push(value.clone());
                        if let Some(credit) = &mut peer.credit {
                            peer.overdrawn |= *credit <= 0;
                            *credit -= frame.len() as i64;
                        }
                    }
                }
                Output::Close { connection, code, reason } => {
                    let peer = peers.get_mut(&connection).expect("no output to a connection that is gone");
                    let client = peer.client(model);
                    let closed = model.closed(client, Some((code, reason)));
                    assert!(peer.reader.lied || closed.is_ok(), "{closed:?}");
                    assert_eq!(peer.close.replace((code, reason.to_string())), None, "closed once");
                }
                Output::Authenticate { connection, token } => tokens_to_verify.push((connection, token.to_string())),
                Output::Store { request, write } => storage.write(request, write),
                Output::Load { request, query } => storage.read(request, query),
                Output::Generate { generation, session, prompt, asker, sampling } => {
                    let prompts = |m: &MessageRecord| m.id == prompt && m.role == MessageRole::User;
                    assert!(storage.messages[&session].iter().any(prompts), "a prompt is stored, and a person's");
                    running.push(Running {
                        id: generation,
                        session,
                        prompt,
                        asker: asker.to_owned(),
                        sampling: sampling.clone(),
                        cancelled: false,
                    });
                }
                Output::Cancel { generation } => {
                    let generation = running.iter_mut().find(|g| g.id == generation).expect("it runs");
                    assert!(!generation.cancelled, "cancelled once");
                    generation.cancelled = true;
                }
                Output::ReloadModel => *reloads += 1,
                Output::PauseReading { connection } => {
                    let peer = peers.get_mut(&connection).expect("no output to a connection that is gone");
                    assert!(!std::mem::replace(&mut peer.paused, true), "paused once");
                }
                Output::ResumeReading { connection } => {
                    let peer = peers.get_mut(&connection).expect("no output to a connection that is gone");
                    assert!(std::mem::replace(&mut peer.paused, false), "resumed once");
                }
                other => panic!("unknown output {other:?}"),
            };
            while hub.poll(&mut sink) {}
            for peer in peers.values() {
                assert!(!peer.overdrawn || peer.close.is_some(), "no frame without credit: {:?}", peer.frames.last());
            }
            assert!(
                hub.next_deadline().is_none_or(|(_, reason)| reason != causerie_core::Reason::Output),
                "drained, so nothing waits"
            );
            if self.storage.held || !self.give_answer() {
                return;
            }
        }
    }

    /// Gives the hub the next answer of storage, if there is one, and leaves what follows for later.
    pub fn give_answer(&mut self) -> bool {
        let Some(answer) = self.storage.answers.pop_front() else { return false };
        let committed = match &answer {
            Answer::Stored(request) => self.storage.written.remove(request).into_iter().collect(),
            Answer::Loaded(_, Loaded::Messages { messages, .. }) => messages.clone(),
            _ => Vec::new(),
        };
        for record in committed {
            self.model.committed(&record).unwrap_or_else(|violation| panic!("{violation}"));
        }
        let input = match answer {
            Answer::Stored(request) => Input::Stored { request },
            Answer::StoreFailed(request) => Input::StoreFailed { request },
            Answer::Loaded(request, data) => Input::Loaded { request, data },
            Answer::LoadFailed(request) => Input::LoadFailed { request },
        };
        self.hub.handle(self.now, input).expect("an answer to a request");
        true
    }

    /// Lets held storage give one answer.
    pub fn one_answer(&mut self) {
        if self.give_answer() {
            self.run();
        }
    }

    /// Lets storage answer again.
    pub fn release_storage(&mut self) {
        self.storage.held = false;
        self.run();
    }
}
