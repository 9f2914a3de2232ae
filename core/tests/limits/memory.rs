//! What the hub remembers of those who are gone, and numbers at their ends.

use std::time::Duration;

use causerie_core::limits::{self, Limits};
use causerie_core::{Hub, Identity, Input, Instant, Options, Output, RequestId, Role, UnixMicros};
use serde_json::json;

use crate::answer;
use crate::driver::Driver;

/// Somebody comes, creates so many sessions that storage cannot keep, and goes. How many of them were refused.
fn visit(hub: &mut Hub, now: Instant, name: &str, sessions: u32) -> u32 {
    let connection = hub.connect(now).expect("there is room");
    hub.handle(now, Input::Writable { connection, credit: u32::MAX }).expect("it is open");
    let expires = now + Duration::from_secs(60);
    let identity = Identity { user_id: name.into(), username: name.into(), role: Role::User, expires };
    hub.handle(now, Input::Authenticated { connection, identity }).expect("it waits for that");
    let mut refused = 0;
    for _ in 0..sessions {
        hub.handle(now, Input::Frame { connection, text: r#"{"type":"create_session"}"# }).expect("it is open");
        let mut requests: Vec<RequestId> = Vec::new();
        while hub.poll(&mut |output| match output {
            Output::Store { request, .. } => requests.push(request),
            Output::Send { frame, .. } if frame.contains("too_many_sessions") => refused += 1,
            _ => {}
        }) {}
        for request in requests {
            hub.handle(now, Input::StoreFailed { request }).expect("it was asked for");
        }
    }
    hub.handle(now, Input::Closed { connection }).expect("it is open");
    refused
}

#[test]
fn users_who_are_gone() {
    let mut limits = Limits::default();
    limits.frames_per_second = 1_000;
    let (burst, minute) = (limits.sessions_per_minute, Duration::from_secs(60));
    let options = Options { seed: [4; 32], wall_clock: UnixMicros(0), server: String::new(), limits };
    let mut hub = Hub::new(options);
    let now = Instant::from_micros(1_000_000);
    assert_eq!(visit(&mut hub, now, "Mallory", burst + 1), 1);
    for i in 1..limits::REMEMBERED_USERS {
        visit(&mut hub, now, &format!("user {i}"), 1);
        assert_eq!(hub.counts().users, i + 1);
    }
    assert_eq!(visit(&mut hub, now, "user 1", burst), 1, "at the limit nobody is forgotten");
    // Further ones who come and go, with little to their charge, make no room for who has used up all.
    for i in 0..100 {
        visit(&mut hub, now, &format!("accomplice {i}"), 2);
        assert_eq!(hub.counts().users, limits::REMEMBERED_USERS);
    }
    assert_eq!(visit(&mut hub, now, "Mallory", 1), 1, "still refused");
    assert_eq!(visit(&mut hub, now, "user 1", 1), 1, "likewise");
    // And all are forgotten when their rates have recovered.
    hub.handle(now + minute, Input::Timer).expect("always fine");
    while hub.poll(&mut |_| {}) {}
    assert_eq!(hub.counts().users, 0);
    assert_eq!(hub.next_deadline(), None);
}

#[test]
fn a_session_with_more_messages_than_numbers_hold_is_storages_fault() {
    for (last_seq, seen) in [(limits::MAX_INTEGER, "session_joined"), (u64::MAX, "error")] {
        let mut d = Driver::default();
        let ann = d.user("Ann");
        let session = d.session(ann);
        d.send(ann, &json!({ "type": "leave_session" }));
        d.read(ann);
        for record in d.storage.sessions.values_mut() {
            record.last_seq = last_seq;
        }
        let answer = answer(&mut d, ann, &json!({ "type": "join_session", "session_id": session }));
        assert_eq!(answer["type"], seen, "{answer}");
    }
}
