//! What the benchmarks of the core are made on: a hub with people in sessions, without a network, a disk or a model.

use causerie_core::limits::Limits;
use causerie_core::{
    ConnectionId, FinishReason, GenerationId, Hub, Identity, Input, Instant, Options, Output, RequestId, Role, Timings,
    UnixMicros, Usage, Write,
};

/// A session in which the model is answering, everybody who reads along, and other sessions that are idle.
pub struct Session {
    /// The machine.
    pub hub: Hub,
    /// Who reads; the first has asked.
    pub readers: Vec<ConnectionId>,
    /// The answer under way.
    pub generation: GenerationId,
    /// Connections, each in a session of its own, for messages.
    writers: Vec<ConnectionId>,
    /// Virtual time: goes on with every message, so that no rate limit is reached.
    now: Instant,
}

impl Session {
    /// Opens one with `readers` connections, at least one, with limits that a benchmark does not reach.
    ///
    /// # Panics
    /// When the core refuses what it should not.
    #[must_use]
    pub fn with_readers(readers: usize) -> Session {
        Session::among(0, readers, 1)
    }

    /// The same among so many other sessions, each with a connection in it; of as many as `writers` more a connection can
    /// send messages.
    ///
    /// # Panics
    /// When the core refuses what it should not.
    #[must_use]
    pub fn among(others: usize, readers: usize, writers: usize) -> Session {
        let mut limits = Limits::default();
        limits.connections = 1 << 20;
        limits.connections_per_user = 1 << 20;
        limits.connections_per_session = 1 << 20;
        limits.sessions = 1 << 20;
        limits.requests = 1 << 20;
        limits.waiting_messages = 1 << 20;
        limits.frames_per_second = u32::MAX / 2;
        limits.messages_per_minute = u32::MAX / 2;
        limits.sessions_per_minute = u32::MAX / 2;
        limits.generations_per_user = 1 << 20;
        let options = Options { seed: [1; 32], wall_clock: UnixMicros(0), server: "benchmark".to_owned(), limits };
        let mut opening = Opening { hub: Hub::new(options), session: String::new(), generation: None };
        opening.give(Input::BackendUp { model: "benchmark" });
        for _ in 0..others {
            opening.session.clear();
            opening.reader();
        }
        opening.session.clear();
        let writers = (0..writers)
            .map(|_| {
                opening.session.clear();
                opening.reader()
            })
            .collect();
        opening.session.clear();
        let readers: Vec<ConnectionId> = (0..readers).map(|_| opening.reader()).collect();
        opening.frame(readers[0], r#"{"type":"chat_message","message":"Go on."}"#);
        let generation = opening.generation.expect("a message is answered");
        Session { hub: opening.hub, readers, generation, writers, now: Instant::ZERO }
    }

    /// The model has produced one more piece of text; returns how many bytes went out to all readers.
    ///
    /// # Panics
    /// When the core refuses it.
    pub fn token(&mut self, text: &str) -> usize {
        let input = Input::Token { generation: self.generation, text };
        self.hub.handle(self.now, input).expect("the answer is under way");
        self.drain()
    }

    /// The first reader sends a frame; returns how many bytes went out.
    ///
    /// # Panics
    /// When the core refuses it.
    pub fn frame(&mut self, text: &str) -> usize {
        let connection = self.readers[0];
        self.hub.handle(self.now, Input::Frame { connection, text }).expect("the connection is open");
        self.drain()
    }

    /// A second goes by, and what is to happen in it happens, so that it is not measured with something else.
    ///
    /// # Panics
    /// When the core refuses it.
    pub fn second(&mut self) -> usize {
        self.now = Instant::from_micros(self.now.as_micros() + 1_000_000);
        self.hub.handle(self.now, Input::Timer).expect("there is always time");
        self.drain()
    }

    /// How many can send messages.
    #[must_use]
    pub fn writers(&self) -> usize {
        self.writers.len()
    }

    /// Somebody in another session sends a message: from the frame to the write that storage is to commit, which
    /// [`answer`](Session::answer) is to be given before the same one sends another.
    ///
    /// # Panics
    /// When the core refuses it.
    pub fn message(&mut self, writer: usize, text: &str) -> RequestId {
        let connection = self.writers[writer];
        self.hub.handle(self.now, Input::Frame { connection, text }).expect("the connection is open");
        let mut written = None;
        while self.hub.poll(&mut |output| {
            if let Output::Store { request, .. } = output {
                written = Some(request);
            }
        }) {}
        written.expect("a message is written")
    }

    /// The message is committed, answered with `text`, and that is committed too.
    ///
    /// # Panics
    /// When the core refuses it.
    pub fn answer(&mut self, message: RequestId, text: &str) -> usize {
        self.hub.handle(self.now, Input::Stored { request: message }).expect("it was asked for");
        let (mut generation, mut bytes) = (None, 0);
        while self.hub.poll(&mut |output| match output {
            Output::Generate { generation: id, .. } => generation = Some(id),
            Output::Send { to, frame } => bytes += to.len() * frame.len(),
            _ => {}
        }) {}
        let generation = generation.expect("a message is answered");
        self.hub.handle(self.now, Input::Token { generation, text }).expect("it runs");
        bytes += self.drain();
        let (usage, timings) = (Usage::default(), Timings::default());
        let ended = Input::Generated { generation, reason: FinishReason::Stop, usage, timings };
        self.hub.handle(self.now, ended).expect("it runs");
        let mut written = None;
        while self.hub.poll(&mut |output| {
            if let Output::Store { request, .. } = output {
                written = Some(request);
            }
        }) {}
        let request = written.expect("an answer is written");
        self.hub.handle(self.now, Input::Stored { request }).expect("it was asked for");
        bytes + self.drain()
    }

    /// Nothing happens: the hub is asked for work and for its next deadline.
    pub fn idle(&mut self) -> bool {
        self.hub.poll(&mut |_| ()) | self.hub.next_deadline().is_none()
    }

    /// A connection of somebody else opens, is recognized, and goes; returns how many bytes went out.
    ///
    /// # Panics
    /// When the core refuses it.
    pub fn visit(&mut self) -> usize {
        let connection = self.hub.connect(self.now).expect("there is room");
        self.hub.handle(self.now, Input::Writable { connection, credit: 1 << 16 }).expect("it is open");
        self.hub.handle(self.now, Input::Authenticated { connection, identity: person("u-2") }).expect("it is awaited");
        let bytes = self.drain();
        self.hub.handle(self.now, Input::Closed { connection }).expect("it was open");
        bytes + self.drain()
    }

    fn drain(&mut self) -> usize {
        let mut bytes = 0;
        while self.hub.poll(&mut |output| {
            if let Output::Send { to, frame } = output {
                bytes += to.len() * frame.len();
            }
        }) {}
        bytes
    }
}

fn person(user_id: &str) -> Identity {
    let expires = Instant::from_micros(u64::MAX);
    Identity { user_id: user_id.to_owned(), username: "Ada".to_owned(), role: Role::User, expires }
}

/// Sessions in the making: storage commits at once.
struct Opening {
    hub: Hub,
    session: String,
    generation: Option<GenerationId>,
}

impl Opening {
    fn reader(&mut self) -> ConnectionId {
        let connection = self.hub.connect(Instant::ZERO).expect("there is room");
        self.give(Input::Writable { connection, credit: u32::MAX });
        self.give(Input::Authenticated { connection, identity: person("u-1") });
        if self.session.is_empty() {
            self.frame(connection, r#"{"type":"create_session"}"#);
        } else {
            self.frame(connection, &format!(r#"{{"type":"join_session","session_id":"{}"}}"#, self.session));
        }
        connection
    }

    fn frame(&mut self, connection: ConnectionId, text: &str) {
        self.give(Input::Frame { connection, text });
    }

    fn give(&mut self, input: Input<'_>) {
        self.hub.handle(Instant::ZERO, input).expect("the benchmark uses the core as it should");
        loop {
            let mut committed = Vec::new();
            let (session, generation) = (&mut self.session, &mut self.generation);
            while self.hub.poll(&mut |output| match output {
                Output::Store { request, write } => {
                    if let Write::CreateSession(record) = write {
                        *session = record.id.0.to_string();
                    }
                    committed.push(request);
                }
                Output::Generate { generation: id, .. } => *generation = Some(id),
                _ => {}
            }) {}
            if committed.is_empty() {
                return;
            }
            for request in committed {
                self.hub.handle(Instant::ZERO, Input::Stored { request }).expect("it was asked for");
            }
        }
    }
}

/// Frames of some 150 bytes.
#[derive(Clone, Debug)]
pub struct Commands {
    /// `ping`.
    pub ping: String,
    /// `typing`.
    pub typing: String,
    /// `chat_message`.
    pub message: String,
}

impl Default for Commands {
    fn default() -> Commands {
        let text = "Tell me more about the tea of the mountains, ".repeat(2);
        Commands {
            ping: format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(122)),
            typing: format!(r#"{{"type":"typing","is_typing":true,"id":"{}"}}"#, "x".repeat(106)),
            message: format!(r#"{{"type":"chat_message","message":"{text}","client_id":null,"id":7}}"#),
        }
    }
}

impl Commands {
    /// Each with its name.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &str); 3] {
        [("ping", &self.ping), ("typing", &self.typing), ("message", &self.message)]
    }
}
