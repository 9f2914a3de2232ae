//! Resuming a whole conversation: a client is cut after every frame, comes back at every later moment, and must end up
//! with what those have who were there all the time. `resume_exhaustive` does the same for every byte of an answer.
//!
//! `driver::reader` checks every frame on the way: messages once and in order, deltas without gap, `typing` by turns.

mod driver;

use causerie_core::{ConnectionId, FinishReason, GenerationFailure, Role};
use driver::reader::Reader;
use driver::{Driver, Peer, limits};
use serde_json::{Value, json};
use std::ops::Range;
use std::time::Duration;

/// What happens in the conversation, step by step.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ask,
    Say(&'static str),
    /// The model is done; storage is not.
    Finish,
    Stored,
    Fail,
    /// Storage loses it instead.
    NotStored,
    Rename,
}

use Step::{Ask, Fail, Finish, NotStored, Rename, Say, Stored};

#[rustfmt::skip]
/// An answer, one that fails after some text, one without text, one that storage loses, and one more.
const CONVERSATION: [Step; 30] = [
    Ask, Stored, Say("Grü"), Say("ße"), Say(" 語"), Say("\"\n"), Finish, Stored,
    Ask, Stored, Say("ver"), Say("loren"), Fail, Rename, Stored,
    Ask, Stored, Finish, Stored,
    Ask, Stored, Say("half"), Finish, NotStored,
    Ask, Stored, Say("😀"), Say("."), Finish, Stored,
];

/// The circumstances under which a client comes back.
#[derive(Clone, Copy, Debug)]
struct Circumstances {
    log_bytes: usize,
    /// Bytes that it can take at each step; all that there is when the conversation is over.
    credit: u32,
    /// Everybody leaves before it comes back, so that the session is in storage alone where no answer is under way.
    alone: bool,
}

struct Talk {
    d: Driver,
    ann: ConnectionId,
    session: String,
    epoch: Value,
    circumstances: Circumstances,
    /// Those who came back.
    back: Vec<ConnectionId>,
}

impl Talk {
    fn new(circumstances: Circumstances) -> Talk {
        let mut limits = limits();
        limits.log_bytes = circumstances.log_bytes;
        limits.connections_per_user = 1_000;
        let mut d = Driver::new(limits);
        let ann = d.user("Ann");
        d.send(ann, &json!({ "type": "create_session", "title": "Tea" }));
        let joined = d.peers[&ann].frames.last().expect("session_joined").clone();
        let session = joined["session_id"].as_str().expect("an id").to_string();
        d.storage.held = !circumstances.alone;
        Talk { d, ann, session, epoch: joined["epoch"].clone(), circumstances, back: Vec::new() }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Ask => self.d.send(self.ann, &json!({ "type": "chat_message", "message": "Und?" })),
            Say(text) => self.d.token(text),
            Finish => self.d.finish(FinishReason::Stop),
            Fail => self.d.fail(GenerationFailure::Internal),
            Rename => self.d.send(self.ann, &json!({ "type": "rename_session", "title": "Kaffee" })),
            // Storage was told before that this one fails.
            Stored | NotStored => {
                self.d.release_storage();
                self.d.storage.held = !self.circumstances.alone;
            }
        }
        for id in self.back.clone() {
            self.d.grant(id, self.circumstances.credit);
        }
    }

    /// Some steps of the conversation.
    fn run(&mut self, steps: Range<usize>) {
        for i in steps {
            // Whether a write fails is decided when it is asked for.
            self.d.storage.fail_writes = usize::from(matches!(CONVERSATION.get(i + 1), Some(NotStored)));
            self.apply(CONVERSATION[i]);
        }
    }

    /// Somebody who has got `frames` comes back on a new connection.
    fn resume(&mut self, frames: &[Value]) -> ConnectionId {
        let mut known = Reader::default();
        for frame in frames {
            known.take(frame, &self.d.storage);
        }
        let mut since = json!({ "epoch": self.epoch, "seq": known.seq });
        if let Some((id, text)) = &known.answer {
            since["message_id"] = json!(id);
            since["offset"] = json!(text.len());
        }
        let id = self.d.hub.connect(self.d.now).expect("room for a connection");
        let reader = Reader { seq: known.seq, answer: known.answer, ..Reader::default() };
        self.d.peers.insert(id, Peer { credit: Some(0), reader, ..Peer::default() });
        self.d.grant(id, self.circumstances.credit);
        self.d.authenticate(id, "Ann", Role::User, Duration::from_secs(1_800));
        self.d.send(id, &json!({ "type": "join_session", "session_id": self.session, "since": since }));
        self.back.push(id);
        id
    }
}

/// Everything that somebody gets who is there from the beginning, and how much of it after each step.
fn reference(alone: bool) -> (Vec<Value>, Vec<usize>) {
    let mut talk = Talk::new(Circumstances { log_bytes: 1 << 20, credit: 0, alone });
    let mut lengths = Vec::new();
    for until in 0..CONVERSATION.len() {
        talk = Talk::new(talk.circumstances);
        talk.run(0..until + 1);
        lengths.push(talk.d.peers[&talk.ann].frames.len());
    }
    (talk.d.peers[&talk.ann].frames.clone(), lengths)
}

fn texts<'a>(frames: impl IntoIterator<Item = &'a Value>) -> Vec<&'a Value> {
    frames.into_iter().filter(|f| f["type"] == "message").map(|f| &f["content"]).collect()
}

fn every_cut_at_every_moment(circumstances: Circumstances) {
    let (whole, lengths) = reference(circumstances.alone);
    let joined = whole.iter().position(|f| f["type"] == "session_joined").expect("it joined");
    let end = texts(&whole).len() as u64;
    for (moment, length) in lengths.iter().enumerate() {
        let mut talk = Talk::new(circumstances);
        talk.run(0..moment + 1);
        if circumstances.alone {
            leave_alone(&mut talk);
        }
        let cuts: Vec<usize> = (joined + 1..=*length).collect();
        let ids: Vec<_> = cuts.iter().map(|cut| talk.resume(&whole[..*cut])).collect();
        if circumstances.alone {
            come_back(&mut talk);
        }
        // The rest of the conversation, and then all the credit and all of storage's answers.
        talk.run(moment + 1..CONVERSATION.len());
        talk.d.release_storage();
        for (cut, id) in cuts.into_iter().zip(ids) {
            talk.d.grant(id, 1 << 30);
            let peer = &talk.d.peers[&id];
            let about = format!("{circumstances:?}, cut after {:?}, back after step {moment}", whole[cut - 1]["type"]);
            let joined = peer.frames.iter().find(|f| f["type"] == "session_joined").expect("it joined again");
            assert_eq!(joined["resumed"], true, "{about}");
            assert!(!peer.reader.typing && peer.reader.answer.is_none(), "{about}");
            assert_eq!((peer.reader.seq, peer.reader.told_of_a_gap), (end, false), "{about}");
            let before = texts(&whole[..cut]);
            let all: Vec<_> = before.into_iter().chain(texts(&peer.frames)).collect();
            assert_eq!(all, texts(&whole), "{about}");
        }
    }
}

/// Nobody is left; if nothing is under way the session is only in storage.
fn leave_alone(talk: &mut Talk) {
    talk.d.send(talk.ann, &json!({ "type": "leave_session" }));
}

/// Ann goes on talking.
fn come_back(talk: &mut Talk) {
    let session = talk.session.clone();
    let reader = &mut talk.d.peers.get_mut(&talk.ann).expect("Ann").reader;
    (reader.answer, reader.typing) = (None, false);
    talk.d.send(talk.ann, &json!({ "type": "join_session", "session_id": session }));
}

#[test]
fn every_cut_at_every_moment_with_credit() {
    every_cut_at_every_moment(Circumstances { log_bytes: 1 << 20, credit: 1 << 20, alone: false });
}

#[test]
fn every_cut_at_every_moment_for_slow_readers() {
    for credit in [0, 40, 300] {
        every_cut_at_every_moment(Circumstances { log_bytes: 1 << 20, credit, alone: false });
    }
}

#[test]
fn every_cut_at_every_moment_when_the_log_forgets() {
    for (log_bytes, credit) in [(1, 1 << 20), (900, 1 << 20), (1_500, 300), (3_000, 40)] {
        every_cut_at_every_moment(Circumstances { log_bytes, credit, alone: false });
    }
}

#[test]
fn every_cut_at_every_moment_when_nobody_was_there() {
    for (log_bytes, credit) in [(1 << 20, 1 << 20), (1 << 20, 40), (900, 300)] {
        every_cut_at_every_moment(Circumstances { log_bytes, credit, alone: true });
    }
}

/// A second device of somebody who is there already is announced to nobody, so nothing enters the empty log.
#[test]
fn a_second_device_that_comes_back_to_an_empty_log_gets_what_only_storage_has() {
    let mut limits = limits();
    limits.log_bytes = 1;
    let mut d = Driver::new(limits);
    let ann = d.user("Ann");
    let session = d.session(ann);
    let epoch = d.peers[&ann].frames.last().expect("session_joined")["epoch"].clone();
    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    d.answer("Good day");
    let phone = d.user("Ann");
    d.peers.get_mut(&phone).expect("a peer").reader.seq = 0;
    d.send(phone, &json!({ "type": "join_session", "session_id": session, "since": { "epoch": epoch, "seq": 0 } }));
    assert_eq!(texts(&d.read(phone)), ["Hello", "Good day"]);
}

/// Comings, goings and titles are no messages, so they are in no storage.
#[test]
fn who_falls_behind_the_log_still_hears_who_is_there_and_the_title() {
    let mut limits = limits();
    limits.log_bytes = 4_000;
    let mut d = Driver::new(limits);
    let ann = d.user("Ann");
    let session = d.session(ann);
    d.send(ann, &json!({ "type": "invite", "username": "Bob" }));
    let bob = d.slow_user("Bob", 1);
    d.send(bob, &json!({ "type": "join_session", "session_id": session }));
    assert_eq!(d.read(bob)[0]["type"], "session_joined");
    let eve = d.user("Eve");
    d.share(ann, &session, eve, "Eve");
    for title in ["Coffee", "Cocoa"] {
        d.send(ann, &json!({ "type": "rename_session", "title": title }));
    }
    d.send(eve, &json!({ "type": "leave_session" }));
    // Bob caused the last of these himself, from another device.
    let phone = d.user("Bob");
    d.send(phone, &json!({ "type": "join_session", "session_id": session }));
    for _ in 0..20 {
        d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
        d.answer("Good day");
    }
    d.grant(bob, 1 << 30);
    let frames = d.read(bob);
    let titles: Vec<_> = frames.iter().filter_map(|f| f.get("session_title")).collect();
    assert_eq!(titles, ["Cocoa"]);
    let there = frames.iter().rfind(|f| f["type"] == "presence").map(|f| f["participants"].clone());
    let both = json!([{ "user_id": "id-Ann", "username": "Ann" }, { "user_id": "id-Bob", "username": "Bob" }]);
    assert_eq!(there, Some(both));
    assert_eq!(texts(&frames).len(), 40);
}
