//! Resuming, exhaustively: every moment of an answer of a thousand tokens at which a client may come back, with every
//! part of the text that it may know by then.
//!
//! A client that has `known` bytes of the answer comes back after `said` tokens. It must get exactly the missing suffix,
//! byte for byte and as one delta, and then the next token live. That is half a million pairs, so frames are compared
//! as text, and the pairs share a few thousand hubs' moments instead of having a hub each.

use std::ops::Range;

use causerie_core::limits::{self, Limits};
use causerie_core::{
    ConnectionId, FinishReason, GenerationId, Hub, Identity, Input, Instant, MessageRecord, Options, Output, Query,
    RequestId, Role, Timings, UnixMicros, Usage, Write,
};
use serde_json::{Value, json};

const TOKENS: usize = 1_000;

/// Ends of words and of sentences, characters of one to four bytes, and what JSON escapes: cut as a tokenizer would.
const PIECES: [&str; 16] =
    ["a", " the", "ä", "ß ", "é", "…", "語", "\n", "\"", "\\", "😀", " 1", "—", "ing", "\u{7}", "नी"];

/// The answer: its tokens one after the other, and the byte at which each ends.
struct Answer {
    text: String,
    ends: Vec<usize>,
}

impl Answer {
    fn new() -> Answer {
        let (mut text, mut ends) = (String::new(), vec![0]);
        for i in 0..TOKENS {
            // A walk that meets every pair of neighbours.
            text.push_str(PIECES[(i * 7 + i / 16 * 3 + i / 5) % PIECES.len()]);
            ends.push(text.len());
        }
        Answer { text, ends }
    }

    fn token(&self, i: usize) -> &str {
        &self.text[self.ends[i]..self.ends[i + 1]]
    }
}

/// What the hub has put out and nobody has looked at yet.
#[derive(Default)]
struct Out {
    frames: Vec<(ConnectionId, String)>,
    requests: Vec<RequestId>,
    loads: Vec<(RequestId, u64, u32)>,
    records: Vec<MessageRecord>,
    generation: Option<GenerationId>,
}

/// A hub with one session, whose answer is under way.
struct Stage<'a> {
    answer: &'a Answer,
    hub: Hub,
    out: Out,
    session: String,
    epoch: String,
    /// The answer's id.
    message: String,
    ann: ConnectionId,
    said: usize,
}

impl<'a> Stage<'a> {
    fn new(answer: &'a Answer, log_bytes: usize) -> Stage<'a> {
        let mut limits = Limits::default();
        limits.connections_per_user = 10_000;
        limits.log_bytes = log_bytes;
        let options = Options { seed: [5; 32], wall_clock: UnixMicros(0), server: String::new(), limits };
        let mut hub = Hub::new(options);
        let ann = hub.connect(Instant::ZERO).expect("room");
        let mut stage = Stage {
            answer,
            hub,
            out: Out::default(),
            session: String::new(),
            epoch: String::new(),
            message: String::new(),
            ann,
            said: 0,
        };
        stage.give(Input::BackendUp { model: "m" });
        stage.recognize(ann);
        stage.frame(ann, r#"{"type":"create_session"}"#);
        stage.store();
        let joined = stage.last("session_joined");
        (stage.session, stage.epoch) = (string(&joined, "session_id"), string(&joined, "epoch"));
        stage.ask();
        stage
    }

    /// A question, which is answered from then on.
    fn ask(&mut self) {
        self.frame(self.ann, r#"{"type":"chat_message","message":"Grüße"}"#);
        self.store();
        self.message = string(&self.last("typing"), "message_id");
        self.said = 0;
    }

    fn give(&mut self, input: Input<'_>) {
        self.hub.handle(Instant::ZERO, input).expect("the contract is kept");
        let out = &mut self.out;
        while self.hub.poll(&mut |output| match output {
            Output::Send { to, frame } => out.frames.extend(to.iter().map(|id| (*id, frame.to_string()))),
            Output::Store { request, write } => {
                out.requests.push(request);
                if let Write::Message(record) = write {
                    out.records.push(record.clone());
                }
            }
            Output::Load { request, query: Query::Messages { before, limit, .. } } => {
                out.loads.push((request, before, limit));
            }
            Output::Generate { generation, .. } => out.generation = Some(generation),
            other => panic!("nobody asked for {other:?}"),
        }) {}
    }

    fn frame(&mut self, connection: ConnectionId, text: &str) {
        self.give(Input::Frame { connection, text });
    }

    fn recognize(&mut self, connection: ConnectionId) {
        self.give(Input::Writable { connection, credit: u32::MAX });
        let identity = Identity {
            user_id: "ann".to_string(),
            username: "Ann".to_string(),
            role: Role::User,
            expires: Instant::from_micros(u64::MAX),
        };
        self.give(Input::Authenticated { connection, identity });
    }

    fn store(&mut self) {
        let request = self.out.requests.pop().expect("something to store");
        self.give(Input::Stored { request });
    }

    /// Answers what is read, from what was stored.
    fn load(&mut self) {
        while let Some((request, before, limit)) = self.out.loads.pop() {
            let older: Vec<_> = self.out.records.iter().filter(|m| m.seq < before).cloned().collect();
            let messages = older[older.len().saturating_sub(limit as usize)..].to_vec();
            let data = causerie_core::Loaded::Messages { more: messages.len() < older.len(), messages };
            self.give(Input::Loaded { request, data });
        }
    }

    fn say(&mut self) {
        let (generation, answer) = (self.out.generation.expect("an answer is under way"), self.answer);
        self.give(Input::Token { generation, text: answer.token(self.said) });
        self.said += 1;
    }

    fn finish(&mut self) {
        let generation = self.out.generation.take().expect("an answer is under way");
        let (usage, timings) = (Usage::default(), Timings::default());
        self.give(Input::Generated { generation, reason: FinishReason::Stop, usage, timings });
    }

    /// The last frame of a kind.
    fn last(&self, kind: &str) -> Value {
        let mut all =
            self.out.frames.iter().rev().map(|(_, frame)| serde_json::from_str::<Value>(frame).expect("JSON"));
        all.find(|frame| frame["type"] == kind).expect("such a frame")
    }

    /// Somebody comes back who has `known` bytes of the answer, or has not heard of it; how the hub greets them.
    fn resume(&mut self, seq: u64, known: Option<usize>) -> (ConnectionId, Vec<String>) {
        let connection = self.hub.connect(Instant::ZERO).expect("room");
        self.recognize(connection);
        let part = known.map(|n| format!(r#","message_id":"{}","offset":{n}"#, self.message)).unwrap_or_default();
        let since = format!(r#"{{"epoch":"{}","seq":{seq}{part}}}"#, self.epoch);
        self.out.frames.clear();
        self.frame(
            connection,
            &format!(r#"{{"type":"join_session","session_id":"{}","since":{since}}}"#, self.session),
        );
        self.load();
        (connection, self.take(connection))
    }

    /// The frames for a connection; those for others are forgotten.
    fn take(&mut self, connection: ConnectionId) -> Vec<String> {
        self.out.frames.drain(..).filter(|(to, _)| *to == connection).map(|(_, frame)| frame).collect()
    }

    fn leave(&mut self, connection: ConnectionId) {
        self.give(Input::Closed { connection });
    }

    /// The delta with these bytes of the answer, as it must look to the letter.
    fn delta(&self, bytes: Range<usize>) -> String {
        let content = serde_json::to_string(&self.answer.text[bytes.clone()]).expect("a string");
        format!(
            r#"{{"type":"message_delta","session_id":"{}","message_id":"{}","offset":{},"content":{content}}}"#,
            self.session, self.message, bytes.start
        )
    }

    /// Checks the frames that greet somebody who has `known` bytes while the answer is being made or stored.
    #[track_caller]
    fn check_suffix(&self, frames: &[String], known: usize) {
        let at = (self.said, known);
        assert!(frames[0].starts_with(r#"{"type":"session_joined""#), "{at:?}: {frames:#?}");
        assert!(frames[0].contains(r#""seq":1,"resumed":true"#), "{at:?}: {frames:#?}");
        assert!(frames[1].starts_with(r#"{"type":"typing""#) && frames[1].contains(r#""is_typing":true"#), "{at:?}");
        let said = self.answer.ends[self.said];
        if known < said {
            assert!(frames[2..] == [self.delta(known..said)], "{at:?}: {frames:#?}");
        } else {
            assert!(frames[2..].is_empty(), "{at:?}: {frames:#?}");
        }
    }
}

fn string(frame: &Value, field: &str) -> String {
    frame[field].as_str().unwrap_or_else(|| panic!("`{field}` is a string: {frame}")).to_string()
}

/// Comes back after each token with all that a client can know at the ends of the tokens in `block`, and stays for one more.
fn every_cut(answer: &Answer, block: &Range<usize>) -> usize {
    let mut stage = Stage::new(answer, limits::Limits::default().log_bytes);
    let (mut pairs, mut here) = (0, Vec::new());
    while stage.said < TOKENS {
        let live = stage.answer.ends[stage.said];
        for acknowledged in block.start..block.end.min(stage.said + 1) {
            let known = answer.ends[acknowledged];
            let (connection, frames) =
                stage.resume(1, (acknowledged > 0 || stage.said.is_multiple_of(2)).then_some(known));
            stage.check_suffix(&frames, known);
            here.push(connection);
            pairs += 1;
        }
        stage.out.frames.clear();
        stage.say();
        let next = stage.delta(live..stage.answer.ends[stage.said]);
        let told: Vec<_> = stage.out.frames.drain(..).collect();
        assert_eq!(told.len(), here.len() + 1, "one frame for each of those who came back, and for Ann");
        assert!(told.iter().all(|(_, frame)| *frame == next), "{told:#?}");
        for connection in here.drain(..) {
            assert!(told.iter().any(|(to, _)| *to == connection), "the next token comes to all");
            stage.leave(connection);
        }
    }
    pairs
}

#[test]
fn every_cut_with_every_acknowledged_token_goes_on_to_the_byte() {
    let answer = Answer::new();
    // Small enough that telling one more token to all who came back costs little.
    const BLOCK: usize = 24;
    let blocks: Vec<_> = (0..TOKENS).step_by(BLOCK).map(|from| from..(from + BLOCK).min(TOKENS)).collect();
    let (even, odd): (Vec<_>, Vec<_>) = blocks.into_iter().partition(|block| (block.start / BLOCK).is_multiple_of(2));
    let pairs: usize = std::thread::scope(|scope| {
        let halves = [even, odd].map(|half| {
            let answer = &answer;
            scope.spawn(move || half.into_iter().map(|block| every_cut(answer, &block)).sum::<usize>())
        });
        halves.into_iter().map(|half| half.join().expect("a half")).sum()
    });
    assert_eq!(pairs, TOKENS * (TOKENS + 1) / 2);
}

#[test]
fn every_byte_of_the_text_is_a_place_to_go_on_from_or_within_a_character() {
    let answer = Answer::new();
    let mut stage = Stage::new(&answer, limits::Limits::default().log_bytes);
    for said in (0..=TOKENS).step_by(125) {
        while stage.said < said {
            stage.say();
        }
        let live = answer.ends[said];
        for known in 0..live + 8 {
            let (connection, frames) = stage.resume(1, Some(known));
            if known <= live && answer.text.is_char_boundary(known) {
                stage.check_suffix(&frames, known);
            } else {
                assert!(frames[0].contains(r#""resumed":false"#), "byte {known} of {live}: {frames:#?}");
            }
            stage.leave(connection);
        }
    }
}

/// Checks what somebody with `known` bytes gets of an answer that has been stored meanwhile.
#[track_caller]
fn check_whole(stage: &Stage<'_>, frames: &[String], seq: u64, known: usize) {
    let whole = stage.answer.text.len();
    assert!(frames[0].contains(r#""resumed":true"#), "{known}: {frames:#?}");
    let mut rest = frames[1..].to_vec();
    assert!(rest.remove(0).contains(r#""is_typing":true"#), "{known}: {frames:#?}");
    if known < whole {
        assert_eq!(rest.remove(0), stage.delta(known..whole), "{known}");
    }
    let message: Value = serde_json::from_str(&rest.remove(0)).expect("JSON");
    assert_eq!((&message["type"], &message["seq"]), (&json!("message"), &json!(seq)));
    assert_eq!((&message["id"], &message["content"]), (&json!(stage.message), &json!(stage.answer.text)));
    assert!(rest.remove(0).contains(r#""is_typing":false"#), "{known}: {frames:#?}");
    assert!(rest.iter().all(|frame| !frame.contains(r#""type":"message_delta""#)), "nothing twice: {rest:#?}");
}

#[test]
fn every_acknowledged_byte_while_the_answer_is_stored_and_afterwards() {
    let answer = Answer::new();
    let whole = answer.text.len();
    let known: Vec<usize> = (0..=whole).filter(|known| answer.text.is_char_boundary(*known)).collect();
    // The log holds the answer, or has lost it when the next one comes.
    for log_bytes in [1 << 20, 2_000] {
        let mut stage = Stage::new(&answer, log_bytes);
        while stage.said < TOKENS {
            stage.say();
        }
        stage.finish();
        for &known in &known {
            let (connection, frames) = stage.resume(1, Some(known));
            stage.check_suffix(&frames, known);
            stage.leave(connection);
        }
        stage.store();
        let answered = stage.message.clone();
        for next_question in [false, true] {
            if next_question {
                stage.ask();
                stage.message = answered.clone();
            }
            for &known in &known {
                let (connection, frames) = stage.resume(1, Some(known));
                check_whole(&stage, &frames, 2, known);
                stage.leave(connection);
            }
        }
    }
}

#[test]
fn a_long_suffix_comes_in_bounded_deltas_without_gap() {
    let answer = Answer::new();
    let mut stage = Stage::new(&answer, 1 << 20);
    let generation = stage.out.generation.expect("an answer is under way");
    let text = answer.text.repeat(20);
    stage.give(Input::Token { generation, text: &text });
    for known in (0..text.len()).step_by(1_013) {
        let known = text.floor_char_boundary(known);
        let (connection, frames) = stage.resume(1, Some(known));
        let mut all = text[..known].to_string();
        for frame in &frames[2..] {
            let frame: Value = serde_json::from_str(frame).expect("JSON");
            assert_eq!((&frame["type"], &frame["offset"]), (&json!("message_delta"), &json!(all.len())));
            let content = frame["content"].as_str().expect("text");
            assert!(content.len() <= limits::DELTA_BYTES);
            all.push_str(content);
        }
        assert!(all == text, "from byte {known}");
        stage.leave(connection);
    }
}
