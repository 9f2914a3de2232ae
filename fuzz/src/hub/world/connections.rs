//! Connections of a script: their people, what they send and read, and how they come back.

use causerie_core::{Identity, Input, Misuse, Role};
use serde_json::{Map, Value, json};
use std::time::Duration;

use super::{Opened, PLENTY, TTL_SECONDS, World};
use crate::driver::Peer;
use crate::driver::reader::Reader;

impl World {
    pub(super) fn open(
        &mut self,
        name: &str,
        credit: Option<u32>,
        knew: (u64, Option<(String, String)>),
    ) -> Option<usize> {
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

    pub(super) fn accept(&mut self, who: usize, name: Option<&str>, role: Role, seconds: u64) {
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

    pub(super) fn grant(&mut self, who: usize, credit: u32) {
        let Some(who) = self.number_of(who) else { return };
        let id = self.opened[who].id;
        if let Some(left) = self.d.peers.get_mut(&id).and_then(|peer| peer.credit.as_mut()) {
            *left += i64::from(credit);
        }
        self.of(who, |connection| Input::Writable { connection, credit });
    }

    /// Closes a connection; once more is misuse.
    pub(super) fn close(&mut self, who: usize) {
        let id = self.opened[who].id;
        // Nothing goes to it any more, not even what waits.
        self.of(who, |connection| Input::Closed { connection });
        self.opened[who].gone = true;
        if let Some(client) = self.d.peers.remove(&id).and_then(|peer| peer.client) {
            self.d.model.closed(client, None).expect("a lost connection is no violation");
        }
    }

    pub(super) fn send(&mut self, who: usize, text: &str) {
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
    pub(super) fn resume(&mut self, who: usize, frames: usize, offset: usize) {
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
