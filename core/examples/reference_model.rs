//! Tests a runtime that is not ours against the reference model: whatever is between its clients and its hub.
//!
//! `cargo run -p causerie-core --features proptest --example reference_model` lets random scripts of clients run against
//! the toy runtime below, and then against the same one with a fault, which the model names.
//!
//! Two parts: the runtime, of which the tests know only [`Toy::connect`], [`Toy::send`], [`Toy::lose`] and
//! [`Toy::received`] (sockets, in a real one), and [`play`], which is all that it takes to test it.

use std::collections::{BTreeMap, VecDeque};

use causerie_core::limits::Limits;
use causerie_core::testing::{ClientId, Known, Model, Request, Step, Violation, strategy};
use causerie_core::{
    ConnectionId, FinishReason, GenerationId, Hub, Identity, Input, Instant, Loaded, Member, MessageId, MessageRecord,
    Options, Output, Query, RequestId, Role, SessionId, SessionRecord, SessionSummary, Timings, UnixMicros, Usage,
    Write,
};
use proptest::test_runner::{Config, TestRunner};

const USERS: [&str; 3] = ["Ann", "Bob", "Eve"];

// ------------------------------------------------------------------------------------------- the tests

// ANCHOR: play
/// Plays what clients do in a script, and tells the model all of it. Storage and the language model are the runtime's own
/// here, so steps that concern those are passed over; a runtime with hooks for them would use them.
fn play(script: &[Step], toy: Toy) -> Result<(), Violation> {
    let mut test = Test { toy, model: Model::new(), open: Vec::new() };
    for (number, step) in script.iter().enumerate() {
        test.step(number as u64, step)?;
        test.deliver()?;
    }
    // The toy does everything at once, so now all is at rest.
    test.model.settled()
}

// ANCHOR_END: play

struct Test {
    toy: Toy,
    model: Model,
    open: Vec<Client>,
}

/// A connection: what the runtime calls it, what the model calls it, and whose it is.
#[derive(Clone, Copy)]
struct Client {
    connection: usize,
    id: ClientId,
    user: usize,
}

impl Test {
    fn step(&mut self, number: u64, step: &Step) -> Result<(), Violation> {
        match step {
            Step::Connect { user, .. } => {
                self.connect(usize::from(*user) % USERS.len());
            }
            Step::Send { client, frame } => {
                let Some(client) = self.pick(*client) else { return Ok(()) };
                let (sessions, messages) = self.toy.known();
                let known = Known { sessions: &sessions, messages: &messages, users: &USERS, place: None };
                self.send(client, &frame.to_json(number, &known));
            }
            Step::Lose { client } => {
                let Some(client) = self.pick(*client) else { return Ok(()) };
                self.lose(client)?;
            }
            Step::ComeBack { client, .. } => {
                let Some(client) = self.pick(*client) else { return Ok(()) };
                let place = self.model.place(client.id);
                self.lose(client)?;
                let client = self.connect(client.user);
                if let Some(place) = place {
                    self.send(client, &place.join());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn pick(&self, which: u8) -> Option<Client> {
        self.open.get(usize::from(which) % self.open.len().max(1)).copied()
    }

    fn connect(&mut self, user: usize) -> Client {
        let client = Client { connection: self.toy.connect(user), id: self.model.connect(), user };
        self.open.push(client);
        client
    }

    fn send(&mut self, client: Client, text: &str) {
        self.model.sent(client.id, text);
        self.toy.send(client.connection, text);
    }

    fn lose(&mut self, client: Client) -> Result<(), Violation> {
        self.open.retain(|open| open.id != client.id);
        self.toy.lose(client.connection);
        self.model.closed(client.id, None)
    }

    // ANCHOR: deliver
    /// Tells the model what came over the sockets.
    fn deliver(&mut self) -> Result<(), Violation> {
        for (connection, event) in self.toy.received() {
            let Some(client) = self.open.iter().find(|open| open.connection == connection).copied() else { continue };
            match event {
                Event::Frame(text) => self.model.received(client.id, &text)?,
                Event::Closed(code, reason) => {
                    self.open.retain(|open| open.id != client.id);
                    self.model.closed(client.id, Some((code, &reason)))?;
                }
            }
        }
        Ok(())
    }
    // ANCHOR_END: deliver
}

fn main() {
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    let conversation = || strategy::script(1..200);

    let result = TestRunner::new(config.clone()).run(&conversation(), |script| {
        play(&script, Toy::new(false))
            .map_err(|violation| proptest::test_runner::TestCaseError::fail(violation.to_string()))
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    println!("64 scripts: the runtime keeps every rule");

    // The same runtime, but its sockets lose some deltas.
    let request = |request| Step::Send { client: 0, frame: causerie_core::testing::ClientFrame::named(request) };
    let script = [
        Step::Connect { user: 0, credit: None, verdict: None },
        request(Request::CreateSession { title: None, system: None }),
        request(Request::ChatMessage { message: "one two three".into(), client_id: None, parent: None }),
    ];
    play(&script, Toy::new(false)).expect("nothing is wrong with this one");
    let violation = play(&script, Toy::new(true)).expect_err("a delta is missing");
    println!("a runtime that loses deltas is found out:\n{violation}");
}

#[test]
fn a_runtime_that_is_not_ours_is_tested() {
    main();
}

// ------------------------------------------------------------------------------------------- the runtime

/// What a client's socket brings.
enum Event {
    Frame(String),
    Closed(u16, String),
}

/// A hub with storage in memory and a model that repeats what it is told, all at once and in one thread.
struct Toy {
    hub: Hub,
    connections: BTreeMap<ConnectionId, usize>,
    count: usize,
    sessions: Sessions,
    todo: VecDeque<Todo>,
    received: Vec<(usize, Event)>,
    /// It loses every other delta.
    faulty: bool,
    deltas: usize,
}

type Sessions = BTreeMap<SessionId, (SessionRecord, Vec<MessageRecord>)>;

/// What the hub wants to hear.
enum Todo {
    Stored(RequestId),
    Loaded(RequestId, Loaded),
    Token(GenerationId, String),
    Generated(GenerationId),
    Closed(ConnectionId),
    NoToken(ConnectionId),
}

impl Toy {
    fn new(faulty: bool) -> Toy {
        let mut hub = Hub::new(Options {
            seed: [7; 32],
            wall_clock: UnixMicros(1_767_225_600_000_000),
            server: "toy".into(),
            limits: Limits::default(),
        });
        hub.handle(Instant::ZERO, Input::BackendUp { model: "parrot" }).expect("no contract to break");
        Toy {
            hub,
            connections: BTreeMap::new(),
            count: 0,
            sessions: BTreeMap::new(),
            todo: VecDeque::new(),
            received: Vec::new(),
            faulty,
            deltas: 0,
        }
    }

    /// A user opens a connection, whose token is always good.
    fn connect(&mut self, user: usize) -> usize {
        let connection = self.hub.connect(Instant::ZERO).expect("scripts open fewer than there is room for");
        self.count += 1;
        self.connections.insert(connection, self.count);
        let name = USERS[user].to_string();
        let identity = Identity {
            user_id: format!("id-{name}"),
            username: name,
            role: Role::User,
            expires: Instant::from_micros(u64::MAX),
        };
        self.give(Input::Writable { connection, credit: u32::MAX });
        self.give(Input::Authenticated { connection, identity });
        self.count
    }

    fn send(&mut self, number: usize, text: &str) {
        if let Some(connection) = self.connection(number) {
            self.give(Input::Frame { connection, text });
        }
    }

    fn lose(&mut self, number: usize) {
        if let Some(connection) = self.connection(number) {
            self.connections.remove(&connection);
            self.give(Input::Closed { connection });
        }
    }

    fn received(&mut self) -> Vec<(usize, Event)> {
        std::mem::take(&mut self.received)
    }

    fn connection(&self, number: usize) -> Option<ConnectionId> {
        self.connections.iter().find(|(_, known)| **known == number).map(|(id, _)| *id)
    }

    /// What there is to be named in frames.
    fn known(&self) -> (Vec<SessionId>, Vec<MessageId>) {
        let messages = self.sessions.values().flat_map(|(_, messages)| messages).map(|message| message.id);
        (self.sessions.keys().copied().collect(), messages.collect())
    }

    fn give(&mut self, input: Input<'_>) {
        self.hub.handle(Instant::ZERO, input).expect("the toy keeps the contract");
        self.run();
    }

    /// Does what the hub puts out, and tells it what came of that, until there is nothing left.
    fn run(&mut self) {
        loop {
            let Toy { hub, connections, sessions, todo, received, faulty, deltas, .. } = self;
            while hub.poll(&mut |output| match output {
                Output::Send { to, frame } => {
                    let delta = frame.starts_with(r#"{"type":"message_delta""#);
                    *deltas += usize::from(delta);
                    if *faulty && delta && deltas.is_multiple_of(2) {
                        return;
                    }
                    let numbers = to.iter().filter_map(|id| connections.get(id));
                    received.extend(numbers.map(|number| (*number, Event::Frame(frame.to_string()))));
                }
                Output::Close { connection, code, reason } => {
                    if let Some(number) = connections.remove(&connection) {
                        received.push((number, Event::Closed(code, reason.to_string())));
                    }
                    todo.push_back(Todo::Closed(connection));
                }
                Output::Authenticate { connection, .. } => todo.push_back(Todo::NoToken(connection)),
                Output::Store { request, write } => {
                    store(sessions, write);
                    todo.push_back(Todo::Stored(request));
                }
                Output::Load { request, query } => todo.push_back(Todo::Loaded(request, load(sessions, query))),
                Output::Generate { generation, session, prompt, .. } => {
                    let messages = sessions.get(&session).map(|(_, messages)| messages.as_slice()).unwrap_or_default();
                    let said = messages.iter().find(|message| message.id == prompt);
                    let words = said.map(|message| message.content.as_str()).unwrap_or_default().split_inclusive(' ');
                    todo.extend(words.map(|word| Todo::Token(generation, word.to_string())));
                    todo.push_back(Todo::Generated(generation));
                }
                // It answers at once, so there is nothing to cancel; and nobody sends so much that reading must pause.
                _ => {}
            }) {}
            let Some(todo) = self.todo.pop_front() else { return };
            self.tell(todo);
        }
    }

    fn tell(&mut self, todo: Todo) {
        let mut handle = |input| self.hub.handle(Instant::ZERO, input).expect("the toy keeps the contract");
        match todo {
            Todo::Stored(request) => handle(Input::Stored { request }),
            Todo::Loaded(request, data) => handle(Input::Loaded { request, data }),
            Todo::Closed(connection) => handle(Input::Closed { connection }),
            Todo::NoToken(connection) => handle(Input::Refused { connection, reason: "this toy knows no tokens" }),
            Todo::Token(generation, text) => handle(Input::Token { generation, text: &text }),
            Todo::Generated(generation) => {
                let (reason, usage, timings) = (FinishReason::Stop, Usage::default(), Timings::default());
                handle(Input::Generated { generation, reason, usage, timings });
            }
        }
    }
}

fn store(sessions: &mut Sessions, write: Write<'_>) {
    let mut change = |id: SessionId, change: &dyn Fn(&mut SessionRecord)| {
        if let Some((record, _)) = sessions.get_mut(&id) {
            change(record);
        }
    };
    match write {
        Write::CreateSession(record) => {
            sessions.insert(record.id, (record.clone(), Vec::new()));
        }
        Write::Message(message) => {
            if let Some((record, messages)) = sessions.get_mut(&message.session) {
                record.append(message);
                messages.push(message.clone());
            }
        }
        Write::Continue { session, message } => change(session, &|record| record.last_message = Some(message)),
        Write::Invite { session, username } => change(session, &|record| record.invited.push(username.into())),
        Write::Member { session, user_id, username } => change(session, &|record| {
            record.invited.retain(|name| name != username);
            record.members.push(Member { user_id: user_id.into(), username: username.into() });
        }),
        Write::EndSession { session, at } => change(session, &|record| record.ended = Some(at)),
        Write::RenameSession { session, title } => change(session, &|record| record.title = title.into()),
        Write::DeleteSession { session } => {
            sessions.remove(&session);
        }
        other => panic!("this toy does not know how to store {other:?}"),
    }
}

fn load(sessions: &Sessions, query: Query<'_>) -> Loaded {
    let messages_of = |session| sessions.get(&session).map(|(_, messages)| messages.as_slice()).unwrap_or_default();
    match query {
        Query::Session(id) => Loaded::Session(sessions.get(&id).map(|(record, _)| record.clone())),
        Query::Sessions { user_id, username, limit } => {
            let theirs = |record: &SessionRecord| {
                record.members.iter().any(|m| m.user_id == user_id)
                    || record.invited.iter().any(|name| name == username)
            };
            let summary = |(record, messages): &(SessionRecord, Vec<MessageRecord>)| SessionSummary {
                id: record.id,
                title: record.title.clone(),
                owner: record.owner.clone(),
                created: record.created,
                active: messages.last().map_or(record.created, |message| message.created),
                ended: record.ended,
                messages: record.last_seq,
            };
            let all = sessions.values().filter(|(record, _)| theirs(record)).map(summary);
            Loaded::Sessions(all.take(limit as usize).collect())
        }
        Query::Messages { session, before, limit } => {
            let messages = messages_of(session);
            let older = &messages[..messages.partition_point(|message| message.seq < before)];
            let page = &older[older.len().saturating_sub(limit as usize)..];
            Loaded::Messages { messages: page.to_vec(), more: page.len() < older.len() }
        }
        Query::Message { session, message } => {
            Loaded::Message(messages_of(session).iter().find(|known| known.id == message).cloned())
        }
        Query::ClientMessage { session, user_id, client_id } => {
            let theirs = |known: &&MessageRecord| {
                known.client_id.as_deref() == Some(client_id)
                    && known.author.as_ref().is_some_and(|a| a.user_id == user_id)
            };
            Loaded::ClientMessage(messages_of(session).iter().find(theirs).map(|known| (known.id, known.seq)))
        }
        Query::Totals => Loaded::Totals {
            sessions: sessions.len() as u64,
            messages: sessions.values().map(|(_, messages)| messages.len() as u64).sum(),
        },
        other => panic!("this toy does not know how to load {other:?}"),
    }
}
