//! Streaming costs no allocation per token, counted by an allocator: whoever reads, however many, and however slowly.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use causerie_core::limits::Limits;
use causerie_core::{
    ConnectionId, GenerationId, Hub, Identity, Input, Instant, Options, Output, Role, UnixMicros, Write,
};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator unchanged; counting touches no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: Instant = Instant::ZERO;
const WORD: &str = " word";

/// Tokens after which an answer's own text has just grown to 131,072 bytes, and then so many that it need not grow again.
const WARM: usize = 14_000;
const COUNTED: usize = 10_000;

/// Sessions in which answers are under way, and how much of them each reader has.
struct Server {
    hub: Hub,
    /// Where each connection's next delta must begin.
    read: BTreeMap<ConnectionId, usize>,
    generations: Vec<GenerationId>,
    words: usize,
    /// Deltas that came to somebody.
    told: usize,
}

impl Server {
    fn new() -> Server {
        let mut limits = Limits::default();
        limits.connections_per_user = 1_000;
        limits.sessions_per_minute = 1_000;
        limits.generations_per_user = 1_000;
        let mut hub = Hub::new(Options { seed: [1; 32], wall_clock: UnixMicros(0), server: String::new(), limits });
        hub.handle(NOW, Input::BackendUp { model: "m" }).expect("fine");
        Server { hub, read: BTreeMap::new(), generations: Vec::new(), words: 0, told: 0 }
    }

    /// A session with as many readers as there are grants of credit; the first of them has asked something.
    fn converse(&mut self, grants: &[u32]) -> Vec<ConnectionId> {
        let mut session = String::new();
        let mut connections = Vec::new();
        for &credit in grants {
            let connection = self.hub.connect(NOW).expect("room");
            self.hub.handle(NOW, Input::Writable { connection, credit }).expect("open");
            let identity = Identity {
                user_id: "u".to_string(),
                username: "Ann".to_string(),
                role: Role::User,
                expires: Instant::from_micros(u64::MAX),
            };
            self.hub.handle(NOW, Input::Authenticated { connection, identity }).expect("awaited");
            let text = match session.as_str() {
                "" => r#"{"type":"create_session"}"#.to_string(),
                session => format!(r#"{{"type":"join_session","session_id":"{session}"}}"#),
            };
            self.hub.handle(NOW, Input::Frame { connection, text: &text }).expect("open");
            self.settle(&mut session);
            self.read.insert(connection, 0);
            connections.push(connection);
        }
        let text = r#"{"type":"chat_message","message":"Count"}"#;
        self.hub.handle(NOW, Input::Frame { connection: connections[0], text }).expect("open");
        self.settle(&mut session);
        connections
    }

    /// Answers everything that the hub asks of storage.
    fn settle(&mut self, session: &mut String) {
        loop {
            let mut stored = Vec::new();
            while self.hub.poll(&mut |output| match output {
                Output::Store { request, write } => {
                    if let Write::CreateSession(record) = write {
                        *session = record.id.to_string();
                    }
                    stored.push(request);
                }
                Output::Generate { generation, .. } => self.generations.push(generation),
                _ => {}
            }) {}
            if stored.is_empty() {
                return;
            }
            for request in stored {
                self.hub.handle(NOW, Input::Stored { request }).expect("it was asked for");
            }
        }
    }

    /// One more word of each answer; every delta must go on where its reader is.
    fn word(&mut self) {
        for &generation in &self.generations {
            self.hub.handle(NOW, Input::Token { generation, text: WORD }).expect("it runs");
        }
        self.words += 1;
        self.drain();
    }

    fn drain(&mut self) {
        let Server { hub, read, told, .. } = self;
        while hub.poll(&mut |output| {
            let Output::Send { to, frame } = output else { return };
            let (offset, length) = delta(frame);
            for connection in to {
                let next = read.get_mut(connection).expect("a reader");
                assert_eq!(*next, offset, "each reader gets each byte once, in order");
                *next += length;
                *told += 1;
            }
        }) {}
    }
}

/// Where a delta begins, and how many bytes it has; (0, 0) of another frame. Nothing in these texts is escaped.
fn delta(frame: &str) -> (usize, usize) {
    let offset = frame.split_once(r#""offset":"#).and_then(|(_, rest)| rest.split_once(','));
    let content = frame.split_once(r#""content":""#).and_then(|(_, rest)| rest.strip_suffix(r#""}"#));
    let (Some((offset, _)), Some(content)) = (offset, content) else { panic!("not a delta: {frame}") };
    (offset.parse().expect("a number"), content.len())
}

/// Allocations while `act` is done [`COUNTED`] times, after [`WARM`] times.
fn allocations(server: &mut Server, mut act: impl FnMut(&mut Server)) -> usize {
    (0..WARM).for_each(|_| act(server));
    let before = COUNT.get();
    (0..COUNTED).for_each(|_| act(server));
    COUNT.get() - before
}

#[test]
fn a_token_to_a_hundred_readers_allocates_nothing() {
    let mut server = Server::new();
    server.converse(&[u32::MAX; 100]);
    assert_eq!(allocations(&mut server, Server::word), 0);
    assert_eq!(server.told, 100 * (WARM + COUNTED));
    assert!(server.read.values().all(|&read| read == server.words * WORD.len()));
}

#[test]
fn nor_do_tokens_of_several_answers_at_once() {
    let mut server = Server::new();
    for _ in 0..8 {
        server.converse(&[u32::MAX; 10]);
    }
    assert_eq!(server.generations.len(), 8);
    assert_eq!(allocations(&mut server, Server::word), 0);
    assert_eq!(server.told, 80 * (WARM + COUNTED));
}

#[test]
fn nor_do_readers_whose_credit_runs_out_and_comes_back() {
    let mut server = Server::new();
    // Enough for all that comes before the answer, and a few deltas.
    let few = 4_096;
    let mut grants = [u32::MAX; 100];
    grants[50..].fill(few);
    let slow = server.converse(&grants).split_off(50);
    let counted = allocations(&mut server, |server| {
        server.word();
        // Each at another time; a coalesced delta and some live ones, until there is no credit again.
        let turn = server.words % slow.len();
        server.hub.handle(NOW, Input::Writable { connection: slow[turn], credit: 600 }).expect("open");
        server.drain();
    });
    assert_eq!(counted, 0);
    let words = WARM + COUNTED;
    let of_slow = server.told - 50 * words;
    assert!(of_slow > words && of_slow < 10 * words, "{of_slow} deltas to slow readers: they had many words at once");
    for &connection in &slow {
        server.hub.handle(NOW, Input::Writable { connection, credit: u32::MAX }).expect("open");
    }
    server.drain();
    assert!(server.read.values().all(|&read| read == words * WORD.len()), "all have all of it in the end");
}
