//! The one machine: [`Hub`].

mod announce;
mod branch;
mod chat;
mod command;
mod deadline;
mod drain;
mod entrance;
mod frame;
mod generate;
mod join;
mod open;
mod options;
mod output;
mod reply;
mod send;
mod stored;
mod user;

use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use self::drain::Drain;
pub use self::options::{Counts, Options};
use self::output::Action;
use crate::action::{GenerationId, Output, RequestId};
use crate::bucket::Rate;
use crate::connection::{Connection, User};
use crate::error::{ConnectError, Misuse};
use crate::event::Input;
use crate::id::{ConnectionId, MessageId, SessionId};
use crate::limits::{self, Limits};
use crate::rng::Rng;
use crate::session::{Asker, Session};
use crate::slab::{Key, Slab};
use crate::time::{Instant, UnixMicros};
use crate::timer::{Armed, Reason, Timers};

/// The protocol of all connections and sessions, as one state machine: see the [crate's documentation](crate), whose
/// example shows a hub at work.
///
/// It is `Send` and `Sync`, and nothing in it locks: one task or thread owns it. To begin anew, drop it and make another
/// with another seed; sessions are loaded from storage as people come back.
///
/// ```
/// use causerie_core::{Hub, Instant, Options, UnixMicros, limits::Limits};
/// # let options = Options { seed: [7; 32], wall_clock: UnixMicros(0), server: String::new(), limits: Limits::default() };
///
/// let hub = std::thread::spawn(|| Hub::new(options)).join().expect("no panic");
/// assert_eq!(hub.next_deadline(), None, "nothing ever happens by itself in an empty hub");
/// ```
pub struct Hub {
    now: Instant,
    wall_clock: UnixMicros,
    server: String,
    limits: Limits,
    rng: Rng,
    /// Tells this hub's sessions from those of an earlier life, whose half-streamed text is lost.
    epoch: String,
    connections: Slab<Connection>,
    users: Slab<User>,
    user_keys: BTreeMap<String, Key>,
    user_names: BTreeSet<(String, Key)>,
    /// Users without a connection, by when their rates have recovered.
    remembered: BTreeSet<(Instant, Key)>,
    sessions: Slab<Session>,
    session_keys: BTreeMap<SessionId, Key>,
    generations: BTreeMap<GenerationId, Key>,
    generations_of_users: BTreeMap<String, usize>,
    /// The sum of those: messages of everybody that wait to be stored or for their answer to end.
    waiting_messages: usize,
    requests: BTreeMap<RequestId, Purpose>,
    last_request: u64,
    last_generation: u64,
    /// The last ones that were put out, each in order. What comes after them is known to nobody else yet.
    requested: RequestId,
    begun: GenerationId,
    backend: Backend,
    draining: Option<Drain>,
    armed: Option<Armed>,
    /// Whether more was to happen by now than one call may do.
    late: bool,
    timers: Timers,
    actions: VecDeque<Action>,
    ready_sessions: VecDeque<Key>,
    ready_connections: VecDeque<ConnectionId>,
    statistics: Statistics,
    /// Kept for their allocations.
    frame: String,
    recipients: Vec<ConnectionId>,
}

enum Backend {
    Up { model: String },
    Down { reason: String },
}

/// What `/stat` shows of this life of the server.
#[derive(Default)]
struct Statistics {
    generations: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    tokens_per_second: f32,
}

/// What a request to storage is for.
#[derive(Debug)]
enum Purpose {
    LoadSession { session: Key },
    CreateSession { session: Key, asker: Asker },
    Write { session: Key },
    LookUpClientId { session: Key },
    LookUpMessage { session: Key, message: MessageId },
    Sessions { asker: Asker, command: Option<String> },
    History { asker: Asker, session: SessionId },
    Totals { asker: Asker, command: String },
    Fetch { connection: ConnectionId },
}

/// How much it holds, not what: people's words do not belong into logs.
impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Hub");
        out.field("now", &self.now).field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub without connections, sessions or a model: [`Input::BackendUp`] tells it of one.
    ///
    /// ```
    /// use causerie_core::{Counts, Hub, Options, UnixMicros, limits::Limits};
    ///
    /// let (wall_clock, server, limits) = (UnixMicros(0), String::from("example 1.0"), Limits::default());
    /// let hub = Hub::new(Options { seed: [7; 32], wall_clock, server, limits });
    /// assert_eq!(hub.counts(), Counts::default());
    /// ```
    #[must_use]
    pub fn new(options: Options) -> Hub {
        let mut rng = Rng::new(options.seed);
        let epoch = format!("{:016x}", u64::from_le_bytes(rng.bytes()));
        Hub {
            now: Instant::ZERO,
            wall_clock: options.wall_clock,
            server: options.server,
            limits: options.limits,
            rng,
            epoch,
            connections: Slab::new(),
            users: Slab::new(),
            user_keys: BTreeMap::new(),
            user_names: BTreeSet::new(),
            remembered: BTreeSet::new(),
            sessions: Slab::new(),
            session_keys: BTreeMap::new(),
            generations: BTreeMap::new(),
            generations_of_users: BTreeMap::new(),
            waiting_messages: 0,
            requests: BTreeMap::new(),
            last_request: 0,
            last_generation: 0,
            requested: RequestId(0),
            begun: GenerationId(0),
            backend: Backend::Down { reason: String::from("no model is loaded yet") },
            draining: None,
            armed: None,
            late: false,
            timers: Timers::new(),
            actions: VecDeque::new(),
            ready_sessions: VecDeque::new(),
            ready_connections: VecDeque::new(),
            statistics: Statistics::default(),
            frame: String::new(),
            recipients: Vec::new(),
        }
    }

    /// Opens a connection. The caller then checks the token of its handshake and gives
    /// [`Input::Authenticated`] or [`Input::Refused`] within [`Limits::handshake`]; frames that come before the verdict are
    /// held. Nothing is sent before there is credit ([`Input::Writable`]), and the connection is known until
    /// [`Input::Closed`] is given.
    ///
    /// ```
    /// use causerie_core::{ConnectError, Hub, Instant, Options, UnixMicros, limits::Limits};
    ///
    /// let mut limits = Limits::default();
    /// limits.connections = 1;
    /// let mut hub = Hub::new(Options { seed: [7; 32], wall_clock: UnixMicros(0), server: String::new(), limits });
    /// assert!(hub.connect(Instant::ZERO).is_ok());
    /// assert_eq!(hub.connect(Instant::ZERO), Err(ConnectError::Full { limit: 1 }));
    /// ```
    ///
    /// # Errors
    /// [`ConnectError::Full`] when [`Limits::connections`] are open, [`ConnectError::Draining`] after [`Input::Drain`].
    pub fn connect(&mut self, now: Instant) -> Result<ConnectionId, ConnectError> {
        self.advance(now);
        self.open()
    }

    /// Takes in one thing that happened. What follows from it is put out by [`poll`](Hub::poll); several inputs may
    /// be handled before.
    ///
    /// ```
    /// use causerie_core::{Hub, Input, Instant, Options, Reason, UnixMicros, limits::Limits};
    /// # let options = Options { seed: [7; 32], wall_clock: UnixMicros(0), server: String::new(), limits: Limits::default() };
    /// # let mut hub = Hub::new(options);
    /// # let now = Instant::ZERO;
    ///
    /// hub.handle(now, Input::BackendUp { model: "a small one" })?;
    /// let connection = hub.connect(now)?;
    /// hub.handle(now, Input::Refused { connection, reason: "no token" })?;
    /// assert_eq!(hub.next_deadline(), Some((now, Reason::Output)), "what follows waits for `poll`");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Misuse`] when the contract of the input is broken; nothing has changed then. Nothing that a peer, storage or
    /// a model does is misuse. See there for the kinds that come of races.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) -> Result<(), Misuse> {
        self.advance(now);
        match input {
            Input::Frame { connection, text } => self.frame(connection, text),
            Input::Violated { connection, violation } => self.violated(connection, violation),
            Input::Authenticated { connection, identity } => self.authenticated(connection, identity),
            Input::Refused { connection, reason } => self.refused(connection, reason),
            Input::Writable { connection, credit } => self.writable(connection, credit),
            Input::Closed { connection } => self.closed(connection),
            Input::Stored { request } => self.stored(request),
            Input::StoreFailed { request } => self.store_failed(request),
            Input::Loaded { request, data } => self.loaded(request, data),
            Input::LoadFailed { request } => self.load_failed(request),
            Input::Token { generation, text } => self.token(generation, text),
            Input::GenerationNotice { generation, notice } => self.generation_notice(generation, notice),
            Input::Generated { generation, reason, usage, timings } => {
                self.generated(generation, reason, usage, timings)
            }
            Input::GenerationFailed { generation, failure } => self.generation_failed(generation, failure),
            Input::BackendUp { model } => {
                self.backend = Backend::Up { model: String::from(limits::cut(model, limits::REASON_BYTES)) };
                Ok(())
            }
            Input::BackendDown { reason } => {
                self.backend = Backend::Down { reason: String::from(limits::cut(reason, limits::REASON_BYTES)) };
                Ok(())
            }
            Input::Timer => Ok(()),
            Input::Drain { until } => {
                self.drain(until);
                Ok(())
            }
        }
    }

    /// Puts out what is to be done, at most [`limits::POLL_PIECES`] pieces a call. Returns whether there is more:
    /// then call again, now or after looking at the sockets. Without anything to put out it takes constant time.
    ///
    /// One call's work is bounded, and so is that of [`handle`](Hub::handle). Where a great deal is to happen at once (many
    /// deadlines have come, a drain visits all connections, many wait for one session), each call does a part of it
    /// ([`limits::DEADLINES`], [`limits::DRAIN_STEPS`], [`limits::ERRANDS_AT_ONCE`]), and there is more until all is done.
    ///
    /// The sink should not wait: it holds the hub. What it learns at once (a full queue, say) is to be handled after.
    ///
    /// ```
    /// use causerie_core::{Hub, Input, Instant, Options, Output, UnixMicros, limits::Limits};
    /// # let options = Options { seed: [7; 32], wall_clock: UnixMicros(0), server: String::new(), limits: Limits::default() };
    /// # let mut hub = Hub::new(options);
    /// # let now = Instant::ZERO;
    ///
    /// let connection = hub.connect(now)?;
    /// hub.handle(now, Input::Refused { connection, reason: "The token has expired" })?;
    /// let mut said = Vec::new();
    /// while hub.poll(&mut |output| match output {
    ///     Output::Send { frame, .. } => said.push(frame.to_string()),
    ///     Output::Close { code, reason, .. } => said.push(format!("{code} {reason}")),
    ///     _ => {}
    /// }) {}
    /// assert!(said[0].contains(r#""code":"authentication_failed""#));
    /// assert_eq!(said[1], "1008 The token has expired");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "while it is true there is more to put out"]
    pub fn poll(&mut self, sink: &mut dyn FnMut(Output<'_>)) -> bool {
        let mut pieces = limits::POLL_PIECES;
        while pieces > 0 {
            pieces -= 1;
            if let Some(action) = self.actions.pop_front() {
                self.put_out(action, sink);
            } else if let Some(&session) = self.ready_sessions.front() {
                if self.has_errands_to_run(session) {
                    self.run_errands(session);
                    break;
                }
                if !self.broadcast(session, sink) {
                    self.ready_sessions.pop_front();
                    self.caught_up(session);
                }
            } else if let Some(connection) = self.ready_connections.pop_front() {
                if let Some(c) = self.connections.get_mut(connection.0) {
                    c.ready = false;
                }
                // The visit is one piece, and pays for the first that is put out.
                let mut left = pieces + 1;
                self.flush(connection, &mut left, sink);
                pieces = pieces.min(left);
            } else {
                // Nothing waits to be put out, so there is time for what is late.
                if self.late {
                    self.advance(self.now);
                }
                break;
            }
        }
        self.has_output() || self.late
    }

    /// When to give [`Input::Timer`] at the latest, and why; now while output waits. `None`: nothing ever happens by
    /// itself. After a deadline was moved or taken back, this may once be earlier than there is need, and never later.
    ///
    /// Costs the same however much the hub holds.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(Instant, Reason)> {
        if self.has_output() {
            Some((self.now, Reason::Output))
        } else if self.has_to_drain() {
            Some((self.now, Reason::Drain))
        } else {
            self.timers.next()
        }
    }

    /// How much the hub holds.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            connections: self.connections.len(),
            users: self.users.len(),
            sessions: self.sessions.len(),
            generations: self.generations.len(),
            requests: self.requests.len(),
            waiting_messages: self.waiting_messages,
        }
    }

    /// Whether a session is in memory, or on its way into it: storage must not change it then but by
    /// [`Output::Store`](crate::Output::Store).
    #[must_use]
    pub fn holds(&self, session: SessionId) -> bool {
        self.session_keys.contains_key(&session)
    }

    fn has_output(&self) -> bool {
        !(self.actions.is_empty() && self.ready_sessions.is_empty() && self.ready_connections.is_empty())
    }

    /// The wall clock's time now.
    fn wall(&self) -> UnixMicros {
        UnixMicros(self.wall_clock.0.saturating_add(self.now.as_micros()))
    }

    /// A new name for a request. After 2^64 of them names begin anew, past those that are not answered yet.
    fn request(&mut self, purpose: Purpose) -> RequestId {
        loop {
            self.last_request = self.last_request.wrapping_add(1);
            let request = RequestId(self.last_request);
            if let Entry::Vacant(place) = self.requests.entry(request) {
                place.insert(purpose);
                return request;
            }
        }
    }

    /// A new name for a generation, likewise.
    fn generation(&mut self, session: Key) -> GenerationId {
        loop {
            self.last_generation = self.last_generation.wrapping_add(1);
            let generation = GenerationId(self.last_generation);
            if let Entry::Vacant(place) = self.generations.entry(generation) {
                place.insert(session);
                return generation;
            }
        }
    }

    /// Whether one more session may be in memory, and one more request may wait for storage.
    fn has_room(&self) -> bool {
        self.sessions.len() < self.limits.sessions && self.requests.len() < self.limits.requests
    }

    fn session_ready(&mut self, key: Key) {
        if let Some(session) = self.sessions.get_mut(key)
            && !session.ready
        {
            session.ready = true;
            self.ready_sessions.push_back(key);
        }
    }

    fn connection_ready(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id.0)
            && !connection.ready
        {
            connection.ready = true;
            self.ready_connections.push_back(id);
        }
    }

    fn connection(&self, id: ConnectionId) -> Result<&Connection, Misuse> {
        self.connections.get(id.0).ok_or(Misuse::UnknownConnection(id))
    }

    fn frame_rate(&self) -> Rate {
        let each = self.limits.frames_per_second;
        Rate::new(each, 1_000_000, each.saturating_mul(2))
    }

    fn message_rate(&self) -> Rate {
        let each = self.limits.messages_per_minute;
        Rate::new(each, 60_000_000, each / 2)
    }

    fn session_rate(&self) -> Rate {
        let each = self.limits.sessions_per_minute;
        Rate::new(each, 60_000_000, each)
    }

    fn new_message_id(&mut self) -> MessageId {
        MessageId(self.rng.uuid())
    }
}

#[cfg(test)]
mod tests;
