//! Streaming costs no allocation per token, counted by an allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use causerie_core::{Hub, Identity, Input, Instant, Options, Output, Role, UnixMicros, limits::Limits};

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

#[test]
fn a_token_to_a_hundred_readers_allocates_nothing() {
    let mut limits = Limits::default();
    limits.connections_per_user = 100;
    let mut hub = Hub::new(Options { seed: [1; 32], wall_clock: UnixMicros(0), server: String::new(), limits });
    let now = Instant::ZERO;
    hub.handle(now, Input::BackendUp { model: "m" }).expect("fine");
    let mut session = String::new();
    let mut generation = None;
    for i in 0..100 {
        let connection = hub.connect(now).expect("room");
        hub.handle(now, Input::Writable { connection, credit: u32::MAX }).expect("open");
        let identity = Identity {
            user_id: "u".to_string(),
            username: "Ann".to_string(),
            role: Role::User,
            expires: Instant::from_micros(u64::MAX),
        };
        hub.handle(now, Input::Authenticated { connection, identity }).expect("awaited");
        let text = match i {
            0 => r#"{"type":"create_session"}"#.to_string(),
            _ => format!(r#"{{"type":"join_session","session_id":"{session}"}}"#),
        };
        hub.handle(now, Input::Frame { connection, text: &text }).expect("open");
        settle(&mut hub, &mut session, &mut generation);
        if i == 99 {
            let text = r#"{"type":"chat_message","message":"Count"}"#;
            hub.handle(now, Input::Frame { connection, text }).expect("open");
            settle(&mut hub, &mut session, &mut generation);
        }
    }
    let generation = generation.expect("a generation");
    let mut stream = |tokens: usize| {
        let (before, mut recipients) = (COUNT.get(), 0);
        for _ in 0..tokens {
            hub.handle(now, Input::Token { generation, text: " word" }).expect("it runs");
            while hub.poll(&mut |output| {
                if let Output::Send { to, .. } = output {
                    recipients += to.len();
                }
            }) {}
        }
        assert_eq!(recipients, tokens * 100);
        COUNT.get() - before
    };
    stream(200);
    // The answer's own text still grows: 5,000 bytes more take a few doublings, not one for each token.
    let allocations = stream(1_000);
    assert!(allocations <= 4, "{allocations} allocations for 1,000 tokens");
}

/// Answers everything that the hub asks of storage.
fn settle(hub: &mut Hub, session: &mut String, generation: &mut Option<causerie_core::GenerationId>) {
    loop {
        let mut stored = Vec::new();
        while hub.poll(&mut |output| match output {
            Output::Store { request, write } => {
                if let causerie_core::Write::CreateSession(record) = write {
                    *session = record.id.0.to_string();
                }
                stored.push(request);
            }
            Output::Generate { generation: id, .. } => *generation = Some(id),
            _ => {}
        }) {}
        if stored.is_empty() {
            return;
        }
        for request in stored {
            hub.handle(Instant::ZERO, Input::Stored { request }).expect("it was asked for");
        }
    }
}
