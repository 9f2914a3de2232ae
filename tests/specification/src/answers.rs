//! What answers what, as the specification's table has it, is what happens: nothing else answers, and all of it does.

use std::collections::BTreeSet;
use std::time::Duration;

use causerie_core::limits::{self, Limits};
use causerie_core::{ConnectionId, ErrorCode, FinishReason, GenerationFailure, Role};
use serde_json::{Value, json};

use super::driver::Driver;
use super::table::{ANSWERS, ANY, Answers};

/// A frame's type and what answered it: a type, or the code of an error.
type Seen = BTreeSet<(String, String)>;

/// Chance that is the same every time: splitmix64 (Steele, Lea and Flood 2014).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).expect("below a usize")
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// A hub, its people, and what there is to be named in frames.
struct Life {
    d: Driver,
    chance: Chance,
    people: Vec<(ConnectionId, &'static str)>,
    count: usize,
    seen: Seen,
}

impl Life {
    fn new(seed: u64) -> Life {
        Life::with(seed, |_| {})
    }

    fn with(seed: u64, change: impl FnOnce(&mut Limits)) -> Life {
        let mut limits = Limits::default();
        limits.message_bytes = 100;
        limits.queued_messages = 3;
        limits.queued_generations = 3;
        limits.generations_per_user = 4;
        limits.messages_per_minute = 40;
        limits.sessions_per_minute = 4;
        change(&mut limits);
        let mut d = Driver::new(limits);
        let people = ["Ann", "Ann", "Bob", "Eve"].map(|name| (d.user(name), name)).to_vec();
        Life { d, chance: Chance(seed), people, count: 0, seen: Seen::new() }
    }

    fn ids(&mut self) -> (String, String) {
        let nothing = "00000000-0000-4000-8000-000000000000".to_string();
        let sessions: Vec<String> = self.d.storage.sessions.keys().map(|id| id.0.to_string()).collect();
        let messages: Vec<String> = self.d.storage.messages.values().flatten().map(|m| m.id.0.to_string()).collect();
        let pick = |chance: &mut Chance, all: &[String]| match all {
            [] => nothing.clone(),
            all if chance.below(8) > 0 => chance.of(all).clone(),
            _ => nothing.clone(),
        };
        (pick(&mut self.chance, &sessions), pick(&mut self.chance, &messages))
    }

    /// Any frame, mostly a good one.
    fn frame(&mut self) -> Value {
        let (session, message) = self.ids();
        let long = "x".repeat(300);
        let texts = ["Hello", "Hello", "Hello", " ", long.as_str(), "/help", "/status", "/clear"];
        let text = self.chance.of(&texts);
        let frames = [
            json!({ "type": "join_session", "session_id": session }),
            json!({ "type": "join_session", "session_id": session }),
            json!({ "type": "chat_message", "message": text }),
            json!({ "type": "chat_message", "message": text, "parent": message }),
            json!({ "type": "ping" }),
            json!({ "type": "create_session", "title": if self.count.is_multiple_of(9) { &long } else { "Tea" } }),
            json!({ "type": "create_session", "system": text }),
            json!({ "type": "leave_session" }),
            json!({ "type": "stop_generation" }),
            json!({ "type": "regenerate", "message_id": message }),
            json!({ "type": "edit_message", "message_id": message, "message": text }),
            json!({ "type": "history" }),
            json!({ "type": "typing", "is_typing": true }),
            json!({ "type": "invite", "username": if self.count.is_multiple_of(9) { long.as_str() } else { "Bob" } }),
            json!({ "type": "rename_session", "title": "Coffee", "session_id": session }),
            json!({ "type": "rename_session", "title": if self.count.is_multiple_of(3) { &long } else { "Tea" } }),
            json!({ "type": "delete_session" }),
            json!({ "type": "delete_session", "session_id": session }),
            json!({ "type": "list_sessions" }),
            json!({ "type": "authenticate", "token": if self.count.is_multiple_of(9) { "x".repeat(9_000) } else { "t".into() } }),
            json!({ "type": "dance" }),
            json!({ "type": "history", "limit": -1 }),
        ];
        self.chance.of(&frames).clone()
    }

    fn send(&mut self, who: ConnectionId, mut frame: Value) {
        self.count += 1;
        frame["id"] = json!(format!("{}#{}", frame["type"].as_str().expect("a type"), self.count));
        self.d.send(who, &frame);
        self.look();
    }

    /// Notes what has answered what.
    fn look(&mut self) {
        let all: Vec<ConnectionId> = self.d.peers.keys().copied().collect();
        for frame in all.into_iter().flat_map(|id| self.d.read(id)) {
            let Some((asked, _)) = frame["ref"].as_str().and_then(|r| r.split_once('#')) else { continue };
            let answer = frame["code"].as_str().filter(|_| frame["type"] == "error").or(frame["type"].as_str());
            self.seen.insert((asked.to_string(), answer.expect("a type").to_string()));
        }
    }

    fn finish_all(&mut self) {
        while !self.d.running.is_empty() {
            self.d.finish(FinishReason::Stop);
        }
        self.look();
    }

    fn step(&mut self) {
        match self.chance.below(10) {
            0..6 => {
                let (who, _) = *self.chance.of(&self.people);
                let frame = self.frame();
                self.send(who, frame);
            }
            6 => self.d.storage.held = !self.d.storage.held,
            7 => self.d.one_answer(),
            8 if !self.d.running.is_empty() => match self.chance.below(4) {
                0 => self.d.fail(GenerationFailure::Internal),
                1 => self.d.token("text"),
                _ => self.d.finish(FinishReason::Stop),
            },
            _ => self.rarely(),
        }
        self.look();
    }

    fn rarely(&mut self) {
        match self.chance.below(6) {
            0 => self.d.storage.fail_writes = 1,
            1 => self.d.storage.fail_reads = 1,
            2 => self.d.release_storage(),
            3 => self.d.pass(Duration::from_millis(1_500)),
            4 if self.count > 150 => {
                let until = self.d.now + Duration::from_secs(1_000);
                self.d.give(causerie_core::Input::Drain { until });
            }
            _ => self.verdict(),
        }
    }

    /// The token of an `authenticate` frame is judged.
    fn verdict(&mut self) {
        let Some((id, _)) = self.d.tokens_to_verify.pop() else { return };
        let name = self.people.iter().find(|(known, _)| *known == id).expect("one of them").1;
        match self.chance.below(3) {
            0 => self.d.give(causerie_core::Input::Refused { connection: id, reason: "no" }),
            1 => self.d.authenticate(id, "Mallory", Role::User, Duration::from_secs(10_000)),
            _ => self.d.authenticate(id, name, Role::User, Duration::from_secs(10_000)),
        }
    }
}

/// Queues that only a crowd fills.
fn crowded(seen: &mut Seen) {
    let mut life = Life::new(0);
    let (ann, bob) = (life.people[0].0, life.people[2].0);
    let session = life.d.session(ann);
    life.d.storage.held = true;
    let title = json!({ "type": "rename_session", "title": "x", "session_id": session });
    for _ in 0..=limits::QUEUED_CHANGES + 1 {
        life.send(ann, title.clone());
    }
    life.d.pass(Duration::from_secs(10));
    life.send(ann, json!({ "type": "invite", "username": "Bob" }));
    life.d.release_storage();
    life.look();
    // The session is in storage alone, so that who wants something of it waits.
    life.send(ann, json!({ "type": "leave_session" }));
    life.d.storage.held = true;
    for _ in 0..usize::from(limits::REQUESTS_PER_CONNECTION) {
        life.send(bob, title.clone());
    }
    life.send(bob, json!({ "type": "delete_session", "session_id": session }));
    life.send(bob, json!({ "type": "join_session", "session_id": session }));
    life.d.release_storage();
    life.look();
    life.send(ann, json!({ "type": "join_session", "session_id": session }));
    for i in 0..limits::MEMBERS {
        life.d.pass(Duration::from_millis(20));
        life.send(ann, json!({ "type": "invite", "username": format!("Guest {i}") }));
    }
    seen.append(&mut life.seen);
}

/// A server that has no room for another session.
fn full(seen: &mut Seen) {
    let mut life = Life::with(0, |limits| limits.sessions = 1);
    let (ann, bob) = (life.people[0].0, life.people[2].0);
    life.d.session(ann);
    life.send(bob, json!({ "type": "create_session" }));
    life.send(bob, json!({ "type": "join_session", "session_id": "00000000-0000-4000-8000-000000000000" }));
    seen.append(&mut life.seen);
}

/// Limits that only a hasty client meets, and a server that stops.
fn hasty(seen: &mut Seen) {
    let mut life = Life::new(0);
    let ann = life.people[0].0;
    life.d.session(ann);
    let say = json!({ "type": "chat_message", "message": "Hello" });
    life.send(ann, say.clone());
    life.finish_all();
    let message = life.d.storage.messages.values().flatten().next().expect("a message").id.0.to_string();
    let asks = [
        say.clone(),
        json!({ "type": "edit_message", "message_id": message, "message": "Good day" }),
        json!({ "type": "regenerate", "message_id": message }),
    ];
    life.d.storage.held = true;
    for frame in [vec![say.clone(); 5], asks.to_vec()].concat() {
        life.send(ann, frame);
    }
    for _ in 0..usize::from(limits::REQUESTS_PER_CONNECTION) {
        life.send(ann, json!({ "type": "history" }));
    }
    life.send(ann, json!({ "type": "history" }));
    life.send(ann, json!({ "type": "list_sessions" }));
    life.d.release_storage();
    life.finish_all();
    for _ in 0..25 {
        life.send(ann, say.clone());
        life.finish_all();
    }
    asks.iter().for_each(|ask| life.send(ann, ask.clone()));
    let until = life.d.now + Duration::from_secs(1_000);
    life.d.give(causerie_core::Input::Drain { until });
    asks.iter().for_each(|ask| life.send(ann, ask.clone()));
    life.send(ann, json!({ "type": "create_session" }));
    seen.append(&mut life.seen);
}

#[test]
fn what_the_table_says_and_nothing_else_answers() {
    let mut seen = Seen::new();
    crowded(&mut seen);
    hasty(&mut seen);
    full(&mut seen);
    for seed in 1..=120 {
        let mut life = Life::new(seed);
        (0..400).for_each(|_| life.step());
        seen.append(&mut life.seen);
    }
    let mut table: Seen = ANSWERS.iter().flat_map(pairs).collect();
    let missing: Vec<_> = table.difference(&seen).collect();
    assert!(missing.is_empty(), "in the table, and never seen: {missing:?}");
    let any = ANY.iter().map(|code| code.as_str());
    let kinds = ANSWERS.iter().map(|a| a.frame).chain(["dance"]);
    table.extend(kinds.flat_map(|kind| any.clone().map(move |code| (kind.to_string(), code.to_string()))));
    let surplus: Vec<_> = seen.difference(&table).collect();
    assert!(surplus.is_empty(), "seen, and not in the table: {surplus:?}");
}

fn pairs(answers: &Answers) -> impl Iterator<Item = (String, String)> + use<> {
    let errors = answers.errors.iter().copied().map(ErrorCode::as_str);
    let all = answers.by.iter().copied().chain(errors);
    all.map(|answer| (answers.frame.to_string(), answer.to_string())).collect::<Vec<_>>().into_iter()
}
