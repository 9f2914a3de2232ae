//! One call does a bounded part of what is to happen, and the next calls do the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use causerie_core::limits::{self, Limits};
use causerie_core::{
    ConnectionId, GenerationFailure, Hub, Identity, Input, Instant, Loaded, Options, Output, Role, UnixMicros,
};
use serde_json::{Value, json};

use crate::driver::Driver;
use crate::{answer, say, with};

/// A hub, and what it has put out.
struct Bare {
    hub: Hub,
    now: Instant,
    sent: Vec<(ConnectionId, Value)>,
    closed: BTreeMap<ConnectionId, u16>,
    cancelled: usize,
    requests: Vec<causerie_core::RequestId>,
}

impl Bare {
    fn new(change: impl FnOnce(&mut Limits)) -> Bare {
        let mut limits = Limits::default();
        limits.connections = usize::MAX;
        change(&mut limits);
        let options = Options { seed: [5; 32], wall_clock: UnixMicros(0), server: String::new(), limits };
        let (sent, closed, requests) = (Vec::new(), BTreeMap::new(), Vec::new());
        Bare { hub: Hub::new(options), now: Instant::ZERO, sent, closed, cancelled: 0, requests }
    }

    fn connect(&mut self) -> ConnectionId {
        let connection = self.hub.connect(self.now).expect("there is room");
        self.handle(Input::Writable { connection, credit: u32::MAX });
        connection
    }

    fn user(&mut self, name: &str, ttl: Duration) -> ConnectionId {
        let connection = self.connect();
        let (user_id, expires) = (format!("id-{name}"), self.now + ttl);
        let identity = Identity { user_id, username: name.to_string(), role: Role::User, expires };
        self.handle(Input::Authenticated { connection, identity });
        connection
    }

    fn handle(&mut self, input: Input<'_>) {
        self.hub.handle(self.now, input).expect("as the contract demands");
    }

    fn frame(&mut self, connection: ConnectionId, frame: &Value) {
        self.handle(Input::Frame { connection, text: &frame.to_string() });
    }

    /// One call, and how many outputs it made.
    fn poll(&mut self) -> (usize, bool) {
        let Bare { hub, sent, closed, requests, cancelled, .. } = self;
        let mut outputs = 0;
        let more = hub.poll(&mut |output| {
            outputs += 1;
            match output {
                Output::Send { to, frame } => {
                    let frame: Value = serde_json::from_str(frame).expect("JSON");
                    sent.extend(to.iter().map(|id| (*id, frame.clone())));
                }
                Output::Close { connection, code, .. } => {
                    assert_eq!(closed.insert(connection, code), None, "closed once");
                }
                Output::Store { request, .. } | Output::Load { request, .. } => requests.push(request),
                Output::Cancel { .. } => *cancelled += 1,
                _ => {}
            }
        });
        assert!(outputs <= limits::POLL_PIECES, "{outputs} outputs of one call");
        (outputs, more)
    }

    /// Puts out what was made by now: the call that has room left is the one that makes more, if anything is late.
    fn put_out(&mut self) -> (usize, bool) {
        let mut all = 0;
        loop {
            let (outputs, more) = self.poll();
            all += outputs;
            if outputs < limits::POLL_PIECES {
                return (all, more);
            }
        }
    }

    /// Calls until nothing is left; how often, and the most that was made at once.
    fn finish(&mut self) -> (usize, usize) {
        let (mut calls, mut most) = (0, 0);
        loop {
            let (made, more) = self.put_out();
            (calls, most) = (calls + 1, most.max(made));
            if !more {
                return (calls, most);
            }
            assert!(self.hub.next_deadline().is_some_and(|(at, _)| at <= self.now), "what is late is due now");
        }
    }
}

#[test]
fn deadlines_that_come_at_once() {
    for count in [limits::DEADLINES, limits::DEADLINES + 1, 100_000] {
        let mut b = Bare::new(|_| {});
        let all: Vec<_> = (0..count).map(|_| b.connect()).collect();
        b.finish();
        b.now = b.now + Limits::default().handshake;
        b.handle(Input::Timer);
        let (made, _) = b.put_out();
        // An error and a close each.
        assert!(made <= 2 * limits::DEADLINES, "{made} outputs follow from one call");
        let (calls, most) = b.finish();
        assert!(most <= 2 * limits::DEADLINES, "{most} outputs follow from one call");
        assert!(count <= (calls + 1) * limits::DEADLINES, "{calls} calls");
        assert_eq!(b.closed.len(), count);
        assert!(all.iter().all(|id| b.closed[id] == 1008), "in the end it happens to all");
        assert_eq!(b.hub.next_deadline(), None);
    }
}

#[test]
fn inputs_alone_get_done_what_is_late() {
    let mut b = Bare::new(|_| {});
    let count = limits::DEADLINES * 10;
    for _ in 0..count {
        b.connect();
    }
    b.now = b.now + Limits::default().handshake;
    for _ in 0..11 {
        b.handle(Input::Timer);
    }
    let (made, more) = b.put_out();
    assert_eq!((made, more), (2 * count, false));
}

#[test]
fn an_expired_token_is_no_good_while_others_wait_for_their_end() {
    let mut b = Bare::new(|_| {});
    let ttl = Duration::from_secs(100);
    let all: Vec<_> = (0..1_000).map(|i| b.user(&format!("user {i}"), ttl)).collect();
    b.finish();
    b.now = b.now + Duration::from_secs(40);
    b.handle(Input::Timer);
    b.finish();
    b.sent.clear();
    b.now = b.now + Duration::from_secs(60);
    let last = all[999];
    b.frame(last, &json!({ "type": "ping" }));
    b.finish();
    let seen: Vec<_> = b.sent.iter().filter(|(id, _)| *id == last).map(|(_, frame)| &frame["code"]).collect();
    assert_eq!(seen, ["authentication_failed"]);
    assert!(all.iter().all(|id| b.closed[id] == 1008));
}

#[test]
fn a_verdict_after_its_time_is_too_late_while_others_wait_for_their_end() {
    let mut b = Bare::new(|_| {});
    let all: Vec<_> = (0..1_000).map(|_| b.connect()).collect();
    b.now = b.now + Limits::default().handshake;
    let (connection, expires) = (all[999], b.now + Duration::from_secs(60));
    let identity = Identity { user_id: "id-Ann".into(), username: "Ann".into(), role: Role::User, expires };
    b.handle(Input::Authenticated { connection, identity });
    b.finish();
    assert_eq!(b.closed.len(), 1_000);
    assert_eq!(b.hub.counts().users, 0);
}

#[test]
fn a_drain_tells_and_closes_all_a_few_a_call() {
    for count in [limits::DRAIN_STEPS, limits::DRAIN_STEPS + 1, 1_000] {
        let mut b = Bare::new(|_| {});
        let mut all: Vec<_> = (0..count).map(|i| b.user(&format!("user {i}"), Duration::from_secs(900))).collect();
        all.push(b.connect());
        b.finish();
        b.sent.clear();
        b.handle(Input::Drain { until: b.now + Duration::from_secs(5) });
        // Recognized before its turn to be told has come: it is told once all the same.
        let expires = b.now + Duration::from_secs(900);
        let identity = Identity { user_id: "late".into(), username: "late".into(), role: Role::User, expires };
        b.handle(Input::Authenticated { connection: all[count], identity });
        let (made, _) = b.put_out();
        assert!(made <= 3 * limits::DRAIN_STEPS, "{made} outputs follow from three calls");
        let (_, most) = b.finish();
        assert!(most <= limits::DRAIN_STEPS, "{most} outputs follow from one call");
        for id in &all {
            let told = b.sent.iter().filter(|(to, frame)| to == id && frame["code"] == "server_draining").count();
            assert_eq!(told, 1);
        }
        b.now = b.now + Duration::from_secs(5);
        b.handle(Input::Timer);
        let (made, _) = b.put_out();
        assert!(made <= limits::DRAIN_STEPS, "{made} outputs follow from one call");
        b.finish();
        assert!(all.iter().all(|id| b.closed[id] == 1001), "all of {count}");
    }
}

#[test]
fn a_drain_cuts_all_answers_short_each_once() {
    let count = limits::DRAIN_STEPS + 1;
    let mut d = Driver::default();
    for i in 0..count {
        let who = d.user(&format!("user {i}"));
        d.session(who);
        assert_eq!(answer(&mut d, who, &say("Hello"))["type"], "ack");
    }
    d.give(Input::Drain { until: d.now + Duration::from_secs(5) });
    assert!(d.running.iter().all(|generation| !generation.cancelled));
    d.pass(Duration::from_secs(3));
    assert_eq!(d.running.iter().filter(|generation| generation.cancelled).count(), count);
}

#[test]
fn who_waits_for_a_session_is_served_in_order_a_few_a_call() {
    for found in [true, false] {
        let mut b = Bare::new(|_| {});
        let ttl = Duration::from_secs(900);
        let count = limits::ERRANDS_AT_ONCE + 1;
        let mut all: Vec<_> = (0..count).map(|_| b.user("Ann", ttl)).collect();
        let late = b.user("Ann", ttl);
        b.finish();
        b.frame(late, &json!({ "type": "create_session" }));
        b.finish();
        let request = b.requests.pop().expect("to be stored");
        b.handle(Input::Stored { request });
        b.finish();
        let session = b.sent.last().expect("session_joined").1["session_id"].clone();
        b.frame(late, &json!({ "type": "leave_session" }));
        b.finish();

        b.sent.clear();
        let join = json!({ "type": "join_session", "session_id": session });
        for &who in &all {
            b.frame(who, &join);
        }
        b.finish();
        let request = b.requests.pop().expect("to be loaded");
        let record = found.then(|| record(&session));
        b.handle(Input::Loaded { request, data: Loaded::Session(record) });
        // Who comes before the rest is served has no advantage.
        b.frame(late, &join);
        let (made, _) = b.put_out();
        assert!(made <= 2 * limits::ERRANDS_AT_ONCE, "{made} outputs follow from one call");
        b.finish();
        all.push(late);
        let answer = if found { "session_joined" } else { "error" };
        let served: Vec<_> = b.sent.iter().filter(|(_, f)| f["type"] == answer).map(|(id, _)| *id).collect();
        assert_eq!(served, all, "each once, and in the order in which they came");
        assert_eq!(b.hub.counts().sessions, usize::from(found), "one that is not there is not kept");
    }
}

fn record(session: &Value) -> causerie_core::SessionRecord {
    let ann = causerie_core::Member { user_id: "id-Ann".into(), username: "Ann".into() };
    causerie_core::SessionRecord {
        id: causerie_core::SessionId(session.as_str().and_then(|id| id.parse().ok()).expect("a UUID")),
        title: "Tea".into(),
        system: None,
        owner: ann.user_id.clone(),
        created: UnixMicros(0),
        ended: None,
        last_seq: 0,
        last_message: None,
        members: vec![ann],
        invited: Vec::new(),
    }
}

#[test]
fn frames_that_were_held_are_served_a_few_a_call() {
    let mut b = Bare::new(|_| {});
    let ann = b.connect();
    let count = limits::HELD_FRAMES * 2;
    for i in 0..count {
        b.frame(ann, &json!({ "type": "ping", "id": i }));
    }
    let expires = b.now + Duration::from_secs(900);
    let identity = Identity { user_id: "id-Ann".into(), username: "Ann".into(), role: Role::User, expires };
    b.handle(Input::Authenticated { connection: ann, identity });
    b.finish();
    let pongs: Vec<_> = b.sent.iter().filter_map(|(_, f)| f["ref"].as_u64()).collect();
    assert!(pongs.iter().copied().eq(0..count as u64), "{pongs:?}");
}

#[test]
fn what_storage_says_too_much_is_passed_over() {
    let mut d = with(|l| l.messages_per_minute = 100_000);
    let ann = d.user("Ann");
    d.session(ann);
    for _ in 0..=limits::PAGE_MESSAGES {
        d.pass(Duration::from_millis(20));
        d.send(ann, &say("Hello"));
        d.fail(GenerationFailure::Internal);
    }
    d.read(ann);
    d.storage.held = true;
    d.send(ann, &json!({ "type": "history", "limit": 1 }));
    let all = d.storage.messages.values().next().expect("one session").clone();
    assert_eq!(all.len(), limits::PAGE_MESSAGES as usize + 1);
    let Some(crate::driver::storage::Answer::Loaded(request, _)) = d.storage.answers.pop_front() else {
        panic!("a page is asked for");
    };
    d.give(Input::Loaded { request, data: Loaded::Messages { messages: all, more: false } });
    let page = d.read_one(ann);
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(limits::PAGE_MESSAGES as usize));
    assert_eq!(page["more"], true);
}
