//! The runtime of a script: it does what the script and the hub say, keeps the contract except where the script breaks it,
//! and checks what can be seen from outside.

use std::time::Duration;

use causerie_core::{
    CloseCode, ConnectionId, Counts, ErrorCode, FinishReason, GenerationId, Hub, Identity, Input, Instant, Loaded,
    Member, MessageId, MessageRecord, MessageRole, Misuse, NoticeCode, Options, RequestId, Role, SessionId,
    SessionRecord, Timings, UnixMicros, Usage, Uuid,
};
use serde_json::{Map, Value, json};

use super::script::{Op, Setup};
use crate::driver::reader::Reader;
use crate::driver::storage::Answer;
use crate::driver::{self, Driver, Peer};

/// Tokens last so long where a script says nothing else.
pub(super) const TTL_SECONDS: u64 = 100_000;

/// Bytes of one text of a script with its repetitions done, at most.
const TEXT_BYTES: usize = 300_000;

/// Bytes of all of them, at most: longer lives find nothing and cost time.
const ALL_TEXT_BYTES: usize = 3_000_000;

/// The most that passes at once.
const LONGEST_PASS: Duration = Duration::from_secs(200_000);

/// Credit that is never used up.
const PLENTY: u32 = 1 << 30;

/// A connection of the script.
struct Opened {
    id: ConnectionId,
    name: String,
    /// Whether a token of it was found good.
    recognized: bool,
    /// Whether the runtime has said that it is closed.
    gone: bool,
    /// What the client knew before its first frame: the last `seq`, and an answer's id and beginning.
    knew: (u64, Option<(String, String)>),
    /// The `id` of the frame that asked for what it missed since then.
    resumes: Option<u64>,
}

/// Everything that a script happens to.
pub(super) struct World {
    d: Driver,
    opened: Vec<Opened>,
    /// Ids in the order in which they were first seen.
    sessions: Vec<String>,
    messages: Vec<String>,
    deleted: bool,
    /// Sessions of an earlier life.
    earlier: u8,
    sent: u64,
    bytes: usize,
    /// Inputs are not polled after.
    together: bool,
    drains_until: Instant,
}

impl World {
    pub(super) fn new(setup: Setup) -> World {
        let Setup { limits, wall_clock, has_model } = setup;
        let mut d = Driver::without_model(limits.clone());
        let options = Options { seed: [3; 32], wall_clock, server: "Causerie test".to_string(), limits };
        assert!(!format!("{options:?}").contains("seed"), "the seed is a secret");
        d.hub = Hub::new(options);
        let mut world = World {
            d,
            opened: Vec::new(),
            sessions: Vec::new(),
            messages: Vec::new(),
            deleted: false,
            earlier: 0,
            sent: 0,
            bytes: 0,
            together: false,
            drains_until: Instant::ZERO,
        };
        if has_model {
            world.must(Input::BackendUp { model: "test-model" });
        }
        world
    }

    pub(super) fn apply(&mut self, op: Op<'_>) {
        match op {
            Op::Connect { name, credit } => {
                if let Some(who) = self.open(name, credit, (0, None)) {
                    self.accept(who, None, Role::User, TTL_SECONDS);
                }
            }
            Op::Arrive { name, credit } => {
                self.open(name, credit, (0, None));
            }
            Op::Accept { who, name, role, seconds } => {
                if let Some(who) = self.number_of(who) {
                    self.accept(who, name, role, seconds);
                }
            }
            Op::Refuse { who, reason } => self.of(who, |connection| Input::Refused { connection, reason }),
            Op::Send { who, text } => self.send(who, text),
            Op::Grant { who, credit } => self.grant(who, credit.min(PLENTY)),
            Op::Close { who } => {
                if let Some(who) = self.number_of(who) {
                    self.close(who);
                }
            }
            Op::Violate { who, violation } => self.of(who, |connection| Input::Violated { connection, violation }),
            Op::Resume { who, frames, offset } => self.resume(who, frames, offset),
            Op::Storage { held } => {
                self.d.storage.held = held;
                self.run();
            }
            Op::Stored { count } => {
                for _ in 0..count.min(self.d.storage.answers.len()) {
                    self.d.give_answer();
                    self.run();
                }
            }
            Op::Fail { writes, reads } => {
                self.d.storage.fail_writes += writes.min(8);
                self.d.storage.fail_reads += reads.min(8);
            }
            Op::Earlier { name, messages, members } => self.add_earlier(name, messages.min(64), members.clamp(1, 300)),
            Op::Pass { millis } => {
                self.apart();
                self.d.pass(Duration::from_millis(millis).min(LONGEST_PASS));
            }
            Op::Drain { millis } => {
                let until = self.d.now + Duration::from_millis(millis).min(LONGEST_PASS);
                self.drains_until = self.drains_until.max(until);
                self.must(Input::Drain { until });
            }
            Op::Together => self.together = true,
            Op::Apart => self.apart(),
            Op::Misuse => self.misuse(),
            of_the_model => self.model(of_the_model),
        }
        self.look();
    }

    /// What the model does.
    fn model(&mut self, op: Op<'_>) {
        match op {
            Op::Text { which, text } => {
                if let Some(generation) = self.running(which) {
                    let text = self.filled_in(text);
                    self.must(Input::Token { generation, text: &text });
                }
            }
            Op::Notice { which, messages } => {
                if let Some(generation) = self.running(which) {
                    let notice = causerie_core::GenerationNotice::ContextTrimmed { messages };
                    self.must(Input::GenerationNotice { generation, notice });
                }
            }
            Op::End { which, reason, measured } => self.end_generation(which, reason, measured),
            Op::Break { which, failure } => {
                if let Some(generation) = self.running(which) {
                    self.d.running.retain(|running| running.id != generation);
                    self.must(Input::GenerationFailed { generation, failure });
                }
            }
            Op::Up { model } => self.must(Input::BackendUp { model }),
            Op::Down { reason } => self.must(Input::BackendDown { reason }),
            _ => {}
        }
    }

    /// Gives an input, which changes nothing if it is misuse, and lets follow what follows.
    fn give(&mut self, input: Input<'_>) -> Result<(), Misuse> {
        // What is due now happens first.
        self.d.hub.handle(self.d.now, Input::Timer).expect("time may always pass");
        let before = (self.d.hub.counts(), self.d.hub.next_deadline());
        let given = self.d.handle(input);
        if let Err(misuse) = &given {
            assert!(misuse.to_string().len() > 20, "it says what is wrong: {misuse}");
            assert_eq!((self.d.hub.counts(), self.d.hub.next_deadline()), before, "{misuse} changes nothing");
        }
        self.run();
        given
    }

    /// Gives an input that the contract allows.
    fn must(&mut self, input: Input<'_>) {
        self.give(input).expect("the world keeps to the contract");
    }

    /// Gives an input about a connection, which is misuse if it is gone or awaits no verdict.
    fn of<'a>(&mut self, who: usize, input: impl FnOnce(ConnectionId) -> Input<'a>) {
        let Some(who) = self.number_of(who) else { return };
        let Opened { id, gone, .. } = self.opened[who];
        match self.give(input(id)) {
            Err(Misuse::UnknownConnection(_)) => assert!(gone, "it is there"),
            Err(Misuse::NotAuthenticating(_)) | Ok(()) => assert!(!gone, "it is gone"),
            Err(other) => panic!("{other}"),
        }
    }

    fn run(&mut self) {
        if !self.together {
            self.d.run();
        }
    }

    fn apart(&mut self) {
        self.together = false;
        self.d.run();
    }

    fn number_of(&self, who: usize) -> Option<usize> {
        who.checked_rem(self.opened.len())
    }

    fn running(&self, which: usize) -> Option<GenerationId> {
        Some(self.d.running[which.checked_rem(self.d.running.len())?].id)
    }

    fn open(&mut self, name: &str, credit: Option<u32>, knew: (u64, Option<(String, String)>)) -> Option<usize> {
        let id = match self.d.hub.connect(self.d.now) {
            Ok(id) => id,
            Err(refused) => {
                assert!(!refused.to_string().is_empty());
                return None;
            }
        };
        let reader = Reader { seq: knew.0, answer: knew.1.clone(), ..Reader::default() };
        self.d.peers.insert(id, Peer { credit: Some(0), reader, ..Peer::default() });
        self.opened.push(Opened { id, name: name.to_string(), recognized: false, gone: false, knew, resumes: None });
        let who = self.opened.len() - 1;
        self.grant(who, credit.unwrap_or(PLENTY).min(PLENTY));
        Some(who)
    }

    fn accept(&mut self, who: usize, name: Option<&str>, role: Role, seconds: u64) {
        let Opened { id, name: own, gone, .. } = &self.opened[who];
        let (connection, gone, username) = (*id, *gone, name.unwrap_or(own).to_string());
        let expires = self.d.now + Duration::from_secs(seconds);
        let identity = Identity { user_id: format!("id-{username}"), username, role, expires };
        match self.give(Input::Authenticated { connection, identity }) {
            Ok(()) => self.opened[who].recognized = true,
            Err(Misuse::UnknownConnection(_)) => assert!(gone, "it is there"),
            Err(Misuse::NotAuthenticating(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn grant(&mut self, who: usize, credit: u32) {
        let Some(who) = self.number_of(who) else { return };
        let id = self.opened[who].id;
        if let Some(left) = self.d.peers.get_mut(&id).and_then(|peer| peer.credit.as_mut()) {
            *left += i64::from(credit);
        }
        self.of(who, |connection| Input::Writable { connection, credit });
    }

    /// Closes a connection; once more is misuse.
    fn close(&mut self, who: usize) {
        let id = self.opened[who].id;
        // Nothing goes to it any more, not even what waits.
        self.of(who, |connection| Input::Closed { connection });
        self.opened[who].gone = true;
        if let Some(client) = self.d.peers.remove(&id).and_then(|peer| peer.client) {
            self.d.model.closed(client, None).expect("a lost connection is no violation");
        }
    }

    fn send(&mut self, who: usize, text: &str) {
        let Some(who) = self.number_of(who) else { return };
        let text = self.filled_in(text);
        let id = self.opened[who].id;
        let Some(peer) = self.d.peers.get_mut(&id) else {
            return self.of(who, |connection| Input::Frame { connection, text: &text });
        };
        if peer.paused && !self.together {
            return;
        }
        let (text, frame) = numbered(text, &mut self.sent);
        let kind = frame["type"].as_str().unwrap_or_default();
        self.deleted |= kind == "delete_session";
        // What somebody says to know is checked where the world knows it too: see `resume`.
        if kind == "join_session" && !frame["since"].is_null() && !peer.reader.lied {
            peer.reader.lied = true;
            if let Some(client) = peer.client {
                self.d.model.closed(client, None).expect("a lost connection is no violation");
            }
        }
        match self.give(Input::Frame { connection: id, text: &text }) {
            Err(Misuse::Paused(_)) => assert!(self.together, "reading was paused before"),
            given => given.expect("frames may always come"),
        }
    }

    /// Comes back on a new connection with what the client knew `frames` frames ago, and of an answer at most `offset`
    /// bytes; the frames on their way belong to the reading before.
    fn resume(&mut self, who: usize, frames: usize, offset: usize) {
        let Some(who) = self.number_of(who) else { return };
        let Opened { id, name, knew, .. } = &self.opened[who];
        let (name, knew) = (name.clone(), knew.clone());
        let Some(peer) = self.d.peers.get(id).filter(|peer| !peer.reader.lied && !self.together) else { return };
        let mut reader = Reader { seq: knew.0, answer: knew.1, ..Reader::default() };
        let seen = &peer.frames[..peer.frames.len().saturating_sub(frames)];
        for frame in seen {
            reader.take(frame, &self.d.storage);
        }
        let joined = seen.iter().rfind(|frame| frame["type"] == "session_joined");
        let Some(joined) = joined.filter(|_| reader.session.is_some()) else { return };
        let mut since = json!({ "epoch": joined["epoch"], "seq": reader.seq });
        if let Some((message, text)) = &mut reader.answer {
            text.truncate(text.floor_char_boundary(offset));
            since["message_id"] = json!(message);
            since["offset"] = json!(text.len());
        }
        let frame = json!({ "type": "join_session", "session_id": joined["session_id"], "since": since });
        self.close(who);
        let Some(who) = self.open(&name, None, (reader.seq, reader.answer)) else { return };
        self.accept(who, None, Role::User, TTL_SECONDS);
        let (text, _) = numbered(frame.to_string(), &mut self.sent);
        let id = self.opened[who].id;
        self.opened[who].resumes = Some(self.sent);
        self.must(Input::Frame { connection: id, text: &text });
    }

    /// Puts a session into storage as an earlier life of the server left it.
    fn add_earlier(&mut self, name: &str, messages: usize, members: usize) {
        let created = UnixMicros(driver::START - 1_000_000);
        self.earlier = self.earlier.wrapping_add(1);
        let number = self.earlier;
        let id = |kind: u8, n: usize| Uuid([0xea, kind, number, n as u8, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]);
        let session = SessionId(id(0, 0));
        let member = |n: usize| match n {
            0 => Member { user_id: format!("id-{name}"), username: name.to_string() },
            n => Member { user_id: format!("id-{n}"), username: format!("member {n}") },
        };
        let mut record = SessionRecord {
            id: session,
            title: "Earlier".to_string(),
            system: None,
            owner: format!("id-{name}"),
            created,
            ended: None,
            last_seq: 0,
            last_message: None,
            members: (0..members).map(member).collect(),
            invited: Vec::new(),
        };
        let mut all: Vec<MessageRecord> = Vec::new();
        for n in 0..messages {
            let role = [MessageRole::User, MessageRole::Assistant, MessageRole::System][n % 3];
            let message = MessageRecord {
                id: MessageId(id(1, n)),
                session,
                seq: n as u64 + 1,
                parent: all.last().map(|before| before.id),
                role,
                author: (role == MessageRole::User).then(|| member(0)),
                content: format!("message {n}"),
                created,
                client_id: None,
                finish_reason: (role == MessageRole::Assistant).then_some(FinishReason::Error),
                usage: None,
            };
            self.d.model.committed(&message).unwrap_or_else(|violation| panic!("{violation}"));
            record.append(&message);
            all.push(message);
        }
        self.d.storage.sessions.insert(session, record);
        self.d.storage.messages.insert(session, all);
    }

    fn end_generation(&mut self, which: usize, reason: FinishReason, measured: bool) {
        let Some(generation) = self.running(which) else { return };
        let at = self.d.running.iter().position(|r| r.id == generation).expect("it runs");
        let cancelled = self.d.running.remove(at).cancelled;
        let reason = if cancelled { FinishReason::Stopped } else { reason };
        let speed = if measured { 200.0 } else { f32::NAN };
        let usage = Usage { prompt_tokens: 7, cached_tokens: 3, completion_tokens: 2 };
        let timings = Timings { first_token_ms: speed, tokens_per_second: speed };
        self.must(Input::Generated { generation, reason, usage, timings });
    }

    /// Everything that a runtime must not do.
    fn misuse(&mut self) {
        let refuse = |world: &mut World, input: Input<'_>| {
            let misuse = world.give(input).expect_err("this is misuse");
            assert!(!misuse.to_string().is_empty());
        };
        let (request, generation) = (RequestId(u64::MAX), GenerationId(u64::MAX));
        refuse(self, Input::Stored { request });
        refuse(self, Input::StoreFailed { request });
        refuse(self, Input::LoadFailed { request });
        refuse(self, Input::Loaded { request, data: Loaded::Session(None) });
        refuse(self, Input::Token { generation, text: "" });
        let notice = causerie_core::GenerationNotice::ContextTrimmed { messages: 1 };
        refuse(self, Input::GenerationNotice { generation, notice });
        let (usage, timings) = (Usage::default(), Timings::default());
        for reason in [FinishReason::Stop, FinishReason::Error] {
            refuse(self, Input::Generated { generation, reason, usage, timings });
        }
        let waiting = self.d.storage.answers.iter().map(|answer| match answer {
            Answer::Stored(request) | Answer::StoreFailed(request) => (*request, true),
            Answer::Loaded(request, _) | Answer::LoadFailed(request) => (*request, false),
        });
        for (request, is_write) in waiting.collect::<Vec<_>>() {
            if is_write {
                refuse(self, Input::LoadFailed { request });
                refuse(self, Input::Loaded { request, data: Loaded::Session(None) });
            } else {
                refuse(self, Input::Stored { request });
                refuse(self, Input::StoreFailed { request });
            }
        }
        for who in 0..self.opened.len() {
            if self.opened[who].gone {
                self.of(who, |connection| Input::Refused { connection, reason: "" });
                self.accept(who, None, Role::User, 1);
                self.send(who, "{}");
            }
        }
    }

    /// A text with its `<<…>>` filled in; what is not known stays as it is.
    fn filled_in(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, (inside, after))) =
            rest.split_once("<<").and_then(|(before, tail)| Some((before, tail.split_once(">>")?)))
        {
            out.push_str(before);
            match self.named(inside) {
                Some(value) => out.push_str(&value),
                None => out.extend(["<<", inside, ">>"]),
            }
            rest = after;
        }
        out.push_str(rest);
        out.truncate(out.floor_char_boundary(TEXT_BYTES.min(ALL_TEXT_BYTES.saturating_sub(self.bytes))));
        self.bytes += out.len();
        out
    }

    fn named(&self, name: &str) -> Option<String> {
        if let Some((text, count)) = name.rsplit_once('*') {
            let most = TEXT_BYTES / text.len().max(1);
            return Some(text.repeat(count.parse::<usize>().ok()?.min(most)));
        }
        let frames = || self.d.peers.values().flat_map(|peer| peer.frames.iter().rev());
        let field = |kind: &str, field: &str| {
            frames().find(|f| f["type"] == kind && f[field].is_string()).map(|f| f[field].as_str().unwrap_or("").into())
        };
        match name.split_at_checked(1)? {
            ("s", n) => self.sessions.get(n.parse::<usize>().ok()?).cloned(),
            ("m", n) => self.messages.get(n.parse::<usize>().ok()?).cloned(),
            ("a", "") => field("typing", "message_id"),
            ("e", "") => field("session_joined", "epoch"),
            _ => None,
        }
    }

    /// Learns the ids there are, and sees that bounds are kept.
    fn look(&mut self) {
        for (session, messages) in &self.d.storage.messages {
            let session = session.0.to_string();
            if !self.sessions.contains(&session) {
                self.sessions.push(session);
            }
            for message in messages {
                let message = message.id.0.to_string();
                if !self.messages.contains(&message) {
                    self.messages.push(message);
                }
            }
        }
        let counts = self.d.hub.counts();
        assert!(counts.generations <= counts.sessions && counts.connections <= 64, "{counts:?}");
    }

    /// Everything that can still happen happens; then all must be at rest, told and forgotten.
    pub(super) fn end(mut self) {
        self.d.storage.fail_writes = 0;
        self.d.storage.fail_reads = 0;
        self.d.storage.held = false;
        self.apart();
        self.settle();
        for who in 0..self.opened.len() {
            let Opened { recognized, gone, .. } = self.opened[who];
            if !recognized && !gone {
                self.accept(who, None, Role::User, TTL_SECONDS);
            }
        }
        self.settle();
        // Tokens without a verdict, also those that were held back until now.
        for _ in 0..2 {
            for (connection, _) in std::mem::take(&mut self.d.tokens_to_verify) {
                // Misuse where the script has given it.
                let _ = self.give(Input::Refused { connection, reason: "no" });
            }
        }
        self.settle();
        self.d.model.settled().unwrap_or_else(|violation| panic!("{violation}"));
        self.check_readers();
        self.check_codes();
        for who in 0..self.opened.len() {
            if !self.opened[who].gone {
                self.close(who);
            }
        }
        self.settle();
        self.d.pass(Duration::from_secs(3_600).max(self.drains_until.saturating_since(self.d.now)));
        assert_eq!(self.d.hub.counts(), Counts::default(), "what is over is forgotten");
        assert_eq!(self.d.hub.next_deadline(), None);
    }

    /// Every peer reads all, and every answer ends.
    fn settle(&mut self) {
        loop {
            for who in 0..self.opened.len() {
                if !self.opened[who].gone {
                    self.grant(who, PLENTY);
                }
            }
            if self.d.running.is_empty() {
                return;
            }
            self.end_generation(0, FinishReason::Stop, true);
        }
    }

    /// What clients get is what the public lists of codes say.
    fn check_codes(&self) {
        for peer in self.d.peers.values() {
            for frame in &peer.frames {
                let text = frame["code"].as_str().unwrap_or_default();
                if frame["type"] == "error" {
                    let code: ErrorCode = text.parse().expect("a code of the list");
                    assert_eq!((code.to_string().as_str(), frame["retryable"] == true), (text, code.retryable()));
                    assert!(!code.meaning().is_empty());
                } else if frame["type"] == "notice" {
                    assert_eq!(text.parse::<NoticeCode>().map(|code| code.to_string()), Ok(text.to_string()));
                }
            }
            let code = peer.close.as_ref().map(|(number, _)| (*number, CloseCode::from_u16(*number)));
            if let Some((number, code)) = code {
                let code = code.expect("a code of the list");
                assert!(number < 4_000 || code.reconnect() == (number < 4_500), "{code:?}");
            }
        }
        for (id, text) in self.d.storage.sessions.keys().map(|id| (id, id.to_string())) {
            assert_eq!((text.parse().map(SessionId), format!("{:?}", id.0)), (Ok(*id), text));
        }
        for message in self.d.storage.messages.values().flatten() {
            assert_eq!(message.id.to_string().parse().map(MessageId), Ok(message.id));
        }
        // For a log, and without secrets.
        let shown = format!("{:?}", self.d.hub);
        assert!(
            shown.contains("counts")
                && !self
                    .d
                    .storage
                    .messages
                    .values()
                    .flatten()
                    .any(|m| m.content.len() > 40 && shown.contains(&m.content))
        );
    }

    fn check_readers(&self) {
        for peer in self.d.peers.values() {
            let reader = &peer.reader;
            if peer.close.is_some() || reader.lied {
                continue;
            }
            assert!(!peer.paused, "everything was read, so nothing is paused");
            assert!(!reader.typing || reader.session.is_none(), "typing always ends");
            let session = self.d.storage.messages.iter().find(|(id, _)| Some(id.0.to_string()) == reader.session);
            if let Some((_, messages)) = session {
                let all = reader.seq == messages.len() as u64;
                assert!(all || reader.told_of_a_gap, "nobody misses a message unknowingly");
            }
            for (session, id, _) in &reader.acknowledged {
                let stored = self.d.storage.messages.iter().find(|(s, _)| s.0.to_string() == *session);
                let found = stored.is_some_and(|(_, messages)| messages.iter().any(|m| m.id.0.to_string() == *id));
                assert!(found || (self.deleted && stored.is_none()), "acknowledged is never lost");
            }
        }
        for Opened { id, resumes, .. } in self.opened.iter().filter(|opened| opened.resumes.is_some() && !opened.gone) {
            let answers = |frame: &&Value| frame["type"] == "session_joined" && frame["ref"].as_u64() == *resumes;
            let joined = self.d.peers[id].frames.iter().find(answers);
            assert!(joined.is_none_or(|frame| frame["resumed"] == true), "who is honest is not refused: {joined:?}");
        }
    }
}

/// A frame with a number of its own as its `id`, if it is a JSON object without one that the hub reads; and what it says.
fn numbered(text: String, sent: &mut u64) -> (String, Value) {
    /// Fewer than a frame may have.
    const FIELDS: usize = 32;
    let frame = serde_json::from_str::<Value>(&text).unwrap_or_default();
    let is_plain = |fields: &Map<String, Value>| (1..=FIELDS).contains(&fields.len()) && !fields.contains_key("id");
    match text.split_once('{').filter(|_| frame.as_object().is_some_and(is_plain)) {
        Some((_, rest)) => {
            *sent += 1;
            (format!("{{\"id\":{sent},{rest}"), frame)
        }
        None => (text, frame),
    }
}
