//! The hub and what every runtime does around it, however it waits.
//!
//! ```text
//! Event ─▶ Server::take ─▶ Hub::handle ─▶ Hub::poll ─┬─▶ Order ─▶ a connection
//!                                                    ├─▶ Job ───▶ storage's thread
//!                                                    └─▶ Task ──▶ the model
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use causerie_core::limits::Limits;
use causerie_core::{
    ConnectError, ConnectionId, FinishReason, GenerationFailure, GenerationId, Hub, Identity, Input, Instant, Options,
    Output, RequestId, Role, Timings, UnixMicros, Usage, Violation,
};
use tungstenite::Utf8Bytes;

use super::journal;
use super::storage::{Job, Question, Reply};

/// Bytes of frames that a connection's queue may hold. The hub keeps what is beyond, so a slow reader costs no more.
const CREDIT: u32 = 65_536;

/// How long a token is good; a real one says so itself.
const TOKEN: Duration = Duration::from_secs(3_600);

/// Events that wait for the hub; who has another one waits.
pub(crate) const EVENTS: usize = 1_024;

/// Between two words of the model.
pub(crate) const WORD: Duration = Duration::from_millis(20);

/// Time that running answers have to end in when the server stops.
const DRAIN: Duration = Duration::from_secs(3);

/// Something that happened, from any thread or task.
pub(crate) enum Event {
    /// A handshake is done. Who it is, where its frames go, and whom to tell its id.
    Opened {
        token: Option<String>,
        outbox: Outbox,
        opened: Box<dyn FnOnce(Result<ConnectionId, ConnectError>) + Send>,
    },
    Frame {
        connection: ConnectionId,
        text: Utf8Bytes,
    },
    Violated {
        connection: ConnectionId,
        violation: Violation,
    },
    /// Bytes of frames that left the connection's queue.
    Written {
        connection: ConnectionId,
        bytes: u32,
    },
    /// The last event of a connection.
    Closed {
        connection: ConnectionId,
    },
    Storage(Reply),
    Said {
        generation: GenerationId,
        text: String,
    },
    Ended {
        generation: GenerationId,
        reason: FinishReason,
        usage: Usage,
        timings: Timings,
    },
    Stop,
}

/// What a connection is to do.
pub(crate) enum Order {
    Frame(Utf8Bytes),
    /// The last one: write a close frame, and soon be gone.
    Close {
        code: u16,
        reason: Utf8Bytes,
    },
    PauseReading,
    ResumeReading,
}

/// The way to a connection. It must not wait; what it queues the hub has bounded by [`CREDIT`].
pub(crate) type Outbox = Box<dyn Fn(Order) + Send>;

/// An answer that the model is to give.
pub(crate) struct Task {
    pub(crate) generation: GenerationId,
    pub(crate) words: Vec<String>,
    /// Set when the answer is to end early.
    pub(crate) cancelled: Arc<AtomicBool>,
}

impl Task {
    /// How it went: so many words were said, and the first one came `first` after it began.
    pub(crate) fn ended(&self, said: usize, first: Duration, begun: std::time::Instant) -> Event {
        let reason = if said < self.words.len() { FinishReason::Stopped } else { FinishReason::Stop };
        let usage = Usage { completion_tokens: said as u32, ..Usage::default() };
        let timings = Timings {
            first_token_ms: first.as_secs_f32() * 1e3,
            tokens_per_second: said as f32 / begun.elapsed().as_secs_f32(),
        };
        Event::Ended { generation: self.generation, reason, usage, timings }
    }
}

/// The hub, the ways to all it speaks with, and the clock.
pub(crate) struct Server {
    hub: Hub,
    started: std::time::Instant,
    connections: HashMap<ConnectionId, Outbox>,
    storage: Sender<Job>,
    start: Box<dyn FnMut(Task) + Send>,
    generations: HashMap<GenerationId, Arc<AtomicBool>>,
    /// When it is to be over, since it was asked to stop.
    ends: Option<Instant>,
}

/// What an output led to at once: an input for when the hub is drained.
enum Followup {
    Verified(ConnectionId, String),
    StoreFailed(RequestId),
    LoadFailed(RequestId),
}

impl Server {
    /// `start` has the model begin an answer, and must not wait for it.
    pub(crate) fn new(storage: Sender<Job>, start: Box<dyn FnMut(Task) + Send>) -> Server {
        let wall_clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_micros() as u64);
        let hub = Hub::new(Options {
            seed: seed(),
            wall_clock: UnixMicros(wall_clock),
            server: String::from("an example of causerie-core"),
            limits: Limits::default(),
        });
        let (connections, generations) = (HashMap::new(), HashMap::new());
        let started = std::time::Instant::now();
        let mut server = Server { hub, started, connections, storage, start, generations, ends: None };
        server.give(Input::BackendUp { model: "echo" });
        server
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.started.elapsed().as_micros() as u64)
    }

    /// How long to wait for an event at most; then take `None`.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let deadline = self.hub.next_deadline().map(|(at, _)| at);
        let next = deadline.into_iter().chain(self.ends).min();
        next.map(|at| at.saturating_since(self.now()))
    }

    /// Whether it was asked to stop, and all is said and stored, or the time for it is over.
    pub(crate) fn is_done(&self) -> bool {
        let counts = self.hub.counts();
        let empty = counts.connections + counts.generations + counts.requests == 0;
        self.ends.is_some_and(|ends| empty || self.now() >= ends)
    }

    /// Takes in an event, or that time has passed, and does all that follows.
    pub(crate) fn take(&mut self, event: Option<Event>) {
        match event {
            None => self.give(Input::Timer),
            Some(event) => self.happened(event),
        }
        self.drain();
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Opened { token, outbox, opened } => self.open(token.as_deref(), outbox, opened),
            Event::Frame { connection, text } => self.give(Input::Frame { connection, text: &text }),
            Event::Violated { connection, violation } => self.give(Input::Violated { connection, violation }),
            Event::Written { connection, bytes } => self.give(Input::Writable { connection, credit: bytes }),
            Event::Closed { connection } => {
                self.connections.remove(&connection);
                self.give(Input::Closed { connection });
            }
            Event::Storage(Reply::Stored(request)) => self.give(Input::Stored { request }),
            Event::Storage(Reply::StoreFailed(request)) => self.give(Input::StoreFailed { request }),
            Event::Storage(Reply::Loaded(request, data)) => self.give(Input::Loaded { request, data }),
            Event::Storage(Reply::Conversation(generation, conversation)) => {
                let Some(cancelled) = self.generations.get(&generation).cloned() else { return };
                match conversation.last() {
                    Some(prompt) => {
                        let words = format!("You said: {}", prompt.content);
                        let words = words.split_inclusive(' ').map(str::to_owned).collect();
                        (self.start)(Task { generation, words, cancelled });
                    }
                    None => {
                        self.generations.remove(&generation);
                        self.give(Input::GenerationFailed { generation, failure: GenerationFailure::Internal });
                    }
                }
            }
            Event::Said { generation, text } => self.give(Input::Token { generation, text: &text }),
            Event::Ended { generation, reason, usage, timings } => {
                self.generations.remove(&generation);
                self.give(Input::Generated { generation, reason, usage, timings });
            }
            Event::Stop => {
                let until = self.now() + DRAIN;
                self.ends = Some(until + DRAIN);
                self.give(Input::Drain { until });
            }
        }
    }

    fn open(
        &mut self,
        token: Option<&str>,
        outbox: Outbox,
        opened: Box<dyn FnOnce(Result<ConnectionId, ConnectError>) + Send>,
    ) {
        let connected = self.hub.connect(self.now());
        opened(connected);
        let Ok(connection) = connected else { return };
        self.connections.insert(connection, outbox);
        self.give(Input::Writable { connection, credit: CREDIT });
        self.verified(connection, token);
    }

    /// The verdict on a token. Here it *is* the user's name, so anybody is whoever they say; a real server verifies a
    /// signature.
    fn verified(&mut self, connection: ConnectionId, token: Option<&str>) {
        match token.filter(|name| !name.is_empty()) {
            Some(name) => {
                let (user_id, username) = (format!("id-{name}"), name.to_owned());
                let identity = Identity { user_id, username, role: Role::User, expires: self.now() + TOKEN };
                self.give(Input::Authenticated { connection, identity });
            }
            None => self.give(Input::Refused { connection, reason: "Connect to /ws/chat?token=NAME" }),
        }
    }

    /// Misuse is a fault of this program: it is told, and the server goes on.
    fn give(&mut self, input: Input<'_>) {
        if let Err(misuse) = self.hub.handle(self.now(), input) {
            eprintln!("the hub refused an input: {misuse}");
        }
    }

    /// Does what the hub puts out until there is nothing left.
    fn drain(&mut self) {
        loop {
            let mut followups = Vec::new();
            let Server { hub, connections, storage, generations, .. } = self;
            let mut outside = Outside { connections, storage, generations };
            let more = hub.poll(&mut |output| followups.extend(outside.perform(&output)));
            if !more && followups.is_empty() {
                return;
            }
            for followup in followups {
                match followup {
                    Followup::Verified(connection, token) => self.verified(connection, Some(&token)),
                    Followup::StoreFailed(request) => self.give(Input::StoreFailed { request }),
                    Followup::LoadFailed(request) => self.give(Input::LoadFailed { request }),
                }
            }
        }
    }
}

/// Everything that outputs go to: the server without its hub, which lends the outputs meanwhile.
struct Outside<'a> {
    connections: &'a HashMap<ConnectionId, Outbox>,
    storage: &'a Sender<Job>,
    generations: &'a mut HashMap<GenerationId, Arc<AtomicBool>>,
}

impl Outside<'_> {
    fn perform(&mut self, output: &Output<'_>) -> Option<Followup> {
        match *output {
            Output::Send { to, frame } => {
                // One copy of the text, shared by all who get it.
                let frame = Utf8Bytes::from(frame);
                to.iter().for_each(|connection| self.order(*connection, Order::Frame(frame.clone())));
            }
            Output::Close { connection, code, reason } => {
                self.order(connection, Order::Close { code, reason: Utf8Bytes::from(reason) });
            }
            Output::PauseReading { connection } => self.order(connection, Order::PauseReading),
            Output::ResumeReading { connection } => self.order(connection, Order::ResumeReading),
            Output::Authenticate { connection, token } => {
                return Some(Followup::Verified(connection, token.to_owned()));
            }
            Output::Store { request, write } => {
                let job = journal::encode(write).map(|line| Job::Write(request, line));
                return (!self.ask(job)).then_some(Followup::StoreFailed(request));
            }
            Output::Load { request, query } => {
                let job = Question::new(query).map(|question| Job::Load(request, question));
                return (!self.ask(job)).then_some(Followup::LoadFailed(request));
            }
            Output::Generate { generation, session, prompt, .. } => {
                self.generations.insert(generation, Arc::default());
                // If storage is gone, nothing is stored any more and the answer would be refused anyway.
                self.ask(Some(Job::Conversation(generation, session, prompt)));
            }
            Output::Cancel { generation } => {
                if let Some(cancelled) = self.generations.get(&generation) {
                    cancelled.store(true, Ordering::Relaxed);
                }
            }
            // There is one model, and it never changes; a later core may ask for more.
            _ => {}
        }
        None
    }

    fn order(&self, connection: ConnectionId, order: Order) {
        if let Some(outbox) = self.connections.get(&connection) {
            outbox(order);
        }
    }

    fn ask(&self, job: Option<Job>) -> bool {
        job.is_some_and(|job| self.storage.send(job).is_ok())
    }
}

/// Randomness of the operating system, by the keys that the standard library draws for hash maps. A real server asks the
/// system itself.
fn seed() -> [u8; 32] {
    use std::hash::{BuildHasher, RandomState};
    let mut seed = [0; 32];
    for (at, part) in seed.chunks_exact_mut(8).enumerate() {
        part.copy_from_slice(&RandomState::new().hash_one(at).to_le_bytes());
    }
    seed
}
