//! What the benchmarks of the core are made on: a hub with people in a session, without a network, a disk or a model.

use causerie_core::limits::Limits;
use causerie_core::{
    ConnectionId, GenerationId, Hub, Identity, Input, Instant, Options, Output, Role, UnixMicros, Write,
};

/// A session in which the model is answering, and everybody who reads along.
pub struct Session {
    /// The machine.
    pub hub: Hub,
    /// Who reads; the first has asked.
    pub readers: Vec<ConnectionId>,
    /// The answer under way.
    pub generation: GenerationId,
}

impl Session {
    /// Opens one with `readers` connections, at least one, with limits that a benchmark does not reach.
    ///
    /// # Panics
    /// When the core refuses what it should not.
    #[must_use]
    pub fn with_readers(readers: usize) -> Session {
        let mut limits = Limits::default();
        limits.connections = 1 << 20;
        limits.connections_per_user = 1 << 20;
        limits.frames_per_second = u32::MAX / 2;
        let options = Options { seed: [1; 32], wall_clock: UnixMicros(0), server: "benchmark".to_owned(), limits };
        let mut opening = Opening { hub: Hub::new(options), session: String::new(), generation: None };
        opening.give(Input::BackendUp { model: "benchmark" });
        let readers: Vec<ConnectionId> = (0..readers).map(|_| opening.reader()).collect();
        opening.frame(readers[0], r#"{"type":"chat_message","message":"Go on."}"#);
        let generation = opening.generation.expect("a message is answered");
        Session { hub: opening.hub, readers, generation }
    }

    /// The model has produced one more piece of text; returns how many bytes went out to all readers.
    ///
    /// # Panics
    /// When the core refuses it.
    pub fn token(&mut self, text: &str) -> usize {
        let input = Input::Token { generation: self.generation, text };
        self.hub.handle(Instant::ZERO, input).expect("the answer is under way");
        self.drain()
    }

    /// The first reader sends a frame; returns how many bytes went out.
    ///
    /// # Panics
    /// When the core refuses it.
    pub fn frame(&mut self, text: &str) -> usize {
        let connection = self.readers[0];
        self.hub.handle(Instant::ZERO, Input::Frame { connection, text }).expect("the connection is open");
        self.drain()
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

/// A session in the making: storage commits at once.
struct Opening {
    hub: Hub,
    session: String,
    generation: Option<GenerationId>,
}

impl Opening {
    fn reader(&mut self) -> ConnectionId {
        let connection = self.hub.connect(Instant::ZERO).expect("there is room");
        self.give(Input::Writable { connection, credit: u32::MAX });
        let expires = Instant::from_micros(u64::MAX);
        let identity = Identity { user_id: "u-1".to_owned(), username: "Ada".to_owned(), role: Role::User, expires };
        self.give(Input::Authenticated { connection, identity });
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
