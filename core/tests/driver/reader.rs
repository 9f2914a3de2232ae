//! The reference model of what one client sees: every frame it gets must fit what it got before and what is stored.

use std::collections::BTreeMap;

use serde_json::Value;

use super::storage::Storage;

/// A client that believes nothing.
#[derive(Default)]
pub struct Reader {
    /// The session it is in, by the frames it got.
    pub session: Option<String>,
    /// The last message's `seq`.
    pub seq: u64,
    /// The answer under way: its id and the text so far.
    pub answer: Option<(String, String)>,
    /// Whether the assistant types.
    pub typing: bool,
    /// How often each `ref` was answered.
    pub answered: BTreeMap<String, usize>,
    /// Messages acknowledged to it: session, id, seq.
    pub acknowledged: Vec<(String, String, u64)>,
    /// It was told that storage could not give it some messages.
    pub told_of_a_gap: bool,
    /// It said that it knew what it cannot know, so what it gets need not fit.
    pub lied: bool,
}

impl Reader {
    /// When all is over and everything was read, it has all that there is, or knows that it has not. `deleted`: sessions
    /// were, and their messages with them.
    pub fn check_at_rest(&self, storage: &Storage, deleted: bool) {
        assert!(!self.typing || self.session.is_none(), "typing always ends");
        let session = storage.messages.iter().find(|(id, _)| Some(id.0.to_string()) == self.session);
        if let Some((_, messages)) = session {
            let all = self.seq == messages.len() as u64;
            assert!(all || self.told_of_a_gap, "nobody misses a message unknowingly");
        }
        for (session, id, _) in &self.acknowledged {
            let stored = storage.messages.iter().find(|(s, _)| s.0.to_string() == *session);
            let found = stored.is_some_and(|(_, messages)| messages.iter().any(|m| m.id.0.to_string() == *id));
            assert!(found || (deleted && stored.is_none()), "acknowledged is never lost");
        }
    }
}

fn text<'a>(frame: &'a Value, field: &str) -> &'a str {
    frame[field].as_str().unwrap_or_else(|| panic!("`{field}` is a string: {frame}"))
}

fn number(frame: &Value, field: &str) -> u64 {
    frame[field].as_u64().unwrap_or_else(|| panic!("`{field}` is a number: {frame}"))
}

impl Reader {
    /// Takes a frame, or panics because it cannot be.
    pub fn take(&mut self, frame: &Value, storage: &Storage) {
        if let Some(reference) = frame.get("ref") {
            *self.answered.entry(reference.to_string()).or_default() += 1;
        }
        if self.lied {
            return;
        }
        match text(frame, "type") {
            "session_joined" => self.joined(frame),
            // A deletion may also be told to its asker, who is elsewhere.
            kind @ ("session_left" | "session_ended" | "session_deleted")
                if self.session.as_deref() == frame["session_id"].as_str() =>
            {
                assert!(!self.typing || kind == "session_left", "typing ends before the session");
                self.session = None;
            }
            "message" => self.message(frame, storage),
            "message_delta" => self.delta(frame),
            "typing" if frame["role"] == "assistant" => self.typing(frame),
            "error" => {
                if let Some(id) = frame["message_id"].as_str() {
                    // A slow reader may have got nothing of it yet.
                    let dropped = self.answer.take();
                    assert!(dropped.is_none_or(|(streamed, _)| streamed == id), "only what failed is dropped");
                } else if frame["ref"].is_null() {
                    // An answer of which there is no byte needs no name.
                    self.answer.take_if(|(_, streamed)| streamed.is_empty());
                }
            }
            "notice" if frame["code"] == "messages_missing" => self.told_of_a_gap = true,
            "ack" => self.ack(frame, storage),
            "typing" | "presence" => self.of_my_session(frame),
            _ => {}
        }
    }

    fn of_my_session(&self, frame: &Value) {
        assert_eq!(self.session.as_deref(), frame["session_id"].as_str(), "a frame of a session it is not in: {frame}");
    }

    fn joined(&mut self, frame: &Value) {
        self.session = Some(text(frame, "session_id").to_string());
        if frame["resumed"] == true {
            return;
        }
        (self.answer, self.typing, self.told_of_a_gap) = (None, false, false);
        self.seq = number(frame, "seq");
    }

    fn message(&mut self, frame: &Value, storage: &Storage) {
        self.of_my_session(frame);
        let seq = number(frame, "seq");
        let missing = std::mem::take(&mut self.told_of_a_gap);
        assert!(seq == self.seq + 1 || (missing && seq > self.seq), "each message once and in order: {frame}");
        self.seq = seq;
        let stored = storage.messages.iter().find(|(id, _)| id.0.to_string() == text(frame, "session_id"));
        // A slow reader may get what was deleted meanwhile.
        if let Some((_, messages)) = stored {
            let record = &messages[self.seq as usize - 1];
            assert_eq!(
                (record.id.0.to_string(), record.content.as_str()),
                (text(frame, "id").to_string(), text(frame, "content"))
            );
        }
        if frame["role"] == "assistant" {
            // Who reads from storage gets the message alone.
            if let Some((id, streamed)) = self.answer.take() {
                assert_eq!(
                    (id.as_str(), streamed.as_str()),
                    (text(frame, "id"), text(frame, "content")),
                    "deltas are the message"
                );
            }
        }
    }

    fn delta(&mut self, frame: &Value) {
        self.of_my_session(frame);
        assert!(self.typing, "text comes while the assistant types: {frame}");
        let (id, so_far) = self.answer.get_or_insert_with(|| (text(frame, "message_id").to_string(), String::new()));
        assert_eq!((id.as_str(), so_far.len() as u64), (text(frame, "message_id"), number(frame, "offset")));
        assert!(!text(frame, "content").is_empty());
        so_far.push_str(text(frame, "content"));
    }

    fn typing(&mut self, frame: &Value) {
        self.of_my_session(frame);
        let is_typing = frame["is_typing"].as_bool().expect("a boolean");
        assert_ne!(self.typing, is_typing, "typing begins and ends by turns: {frame}");
        self.typing = is_typing;
        assert!(is_typing || self.answer.is_none(), "an answer ends before its typing does");
    }

    fn ack(&mut self, frame: &Value, storage: &Storage) {
        let (session, id, seq) = (text(frame, "session_id"), text(frame, "message_id"), number(frame, "seq"));
        if let Some((_, messages)) = storage.messages.iter().find(|(id, _)| id.0.to_string() == session) {
            assert_eq!(messages[seq as usize - 1].id.0.to_string(), id, "acknowledged is stored");
        }
        self.acknowledged.push((session.to_string(), id.to_string(), seq));
    }
}
