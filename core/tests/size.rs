//! What idle sessions, connections and users cost in memory: every byte, counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use causerie_core::limits::{self, Limits};
use causerie_core::{ConnectionId, Hub, Identity, Input, Instant, Options, Output, Role, UnixMicros, Write};

/// Bytes that are allocated now, as they were asked for.
static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes on to the system's allocator unchanged; counting touches no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A hub whose storage commits at once.
struct Server {
    hub: Hub,
    now: Instant,
    created: String,
}

impl Server {
    fn new() -> Server {
        let mut limits = Limits::default();
        limits.connections = 100_000;
        limits.connections_per_user = 100_000;
        limits.sessions_per_minute = 1_000_000;
        limits.frames_per_second = 1_000;
        let hub = Hub::new(Options { seed: [1; 32], wall_clock: UnixMicros(0), server: String::new(), limits });
        Server { hub, now: Instant::ZERO, created: String::new() }
    }

    fn give(&mut self, input: Input<'_>) {
        self.hub.handle(self.now, input).expect("the test keeps to the contract");
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            let mut stored = None;
            while self.hub.poll(&mut |output| {
                if let Output::Store { request, write } = output {
                    if let Write::CreateSession(record) = write {
                        self.created = record.id.to_string();
                    }
                    stored = Some(request);
                }
            }) {}
            let Some(request) = stored else { return };
            self.hub.handle(self.now, Input::Stored { request }).expect("it was asked for");
        }
    }

    /// A connection of the user with this number; ids and names are as long as real ones.
    fn connect(&mut self, user: usize) -> ConnectionId {
        let connection = self.hub.connect(self.now).expect("there is room");
        let identity = Identity {
            user_id: format!("00000000-0000-4000-8000-{user:012}"),
            username: format!("user{user:05}"),
            role: Role::User,
            expires: self.now + 24 * limits::LOG_KEPT * 60,
        };
        self.give(Input::Authenticated { connection, identity });
        self.give(Input::Writable { connection, credit: 65_536 });
        connection
    }

    fn create(&mut self, connection: ConnectionId) -> String {
        self.give(Input::Frame { connection, text: r#"{"type":"create_session","title":"About the tea"}"# });
        self.created.clone()
    }

    fn join(&mut self, connection: ConnectionId, session: &str) {
        let text = format!(r#"{{"type":"join_session","session_id":"{session}"}}"#);
        self.give(Input::Frame { connection, text: &text });
    }

    /// Lets time pass until all is idle, and counts.
    fn settled(&mut self) -> usize {
        self.now = self.now + limits::LOG_KEPT;
        self.give(Input::Timer);
        LIVE.load(Relaxed)
    }
}

const MANY: usize = 10_000;

#[test]
fn what_idles_is_small() {
    let mut server = Server::new();
    let owner = 0;
    let sessions: Vec<String> = (0..MANY / 100)
        .map(|_| {
            let connection = server.connect(owner);
            server.create(connection)
        })
        .collect();
    let before = server.settled();

    for i in 0..MANY {
        let connection = server.connect(owner);
        server.join(connection, &sessions[i % sessions.len()]);
    }
    let joined = server.settled();
    let connection = (joined - before) / MANY;

    for _ in 0..MANY {
        let connection = server.connect(owner);
        server.create(connection);
    }
    let created = server.settled();
    let session = (created - joined) / MANY - connection;

    for user in 1..=MANY {
        server.connect(user);
    }
    let user = (server.settled() - created) / MANY - connection;
    assert_eq!(server.hub.counts().sessions, MANY + sessions.len());

    println!("bytes, heap included: {connection} an idle connection, {session} an idle session, {user} a user");
    assert!(connection <= 256, "{connection} bytes an idle connection in a session");
    assert!(session <= 512, "{session} bytes an idle session");
    assert!(user <= 400, "{user} bytes a user");
}
