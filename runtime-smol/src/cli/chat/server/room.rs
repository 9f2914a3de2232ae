//! A session as this client knows it: what it has, what is still to come, and what to show of it.
//!
//! Pure: it takes frames and says what they mean. The rules are those of the specification, "Resuming".

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::frame::Frame;

/// Messages whose authors are remembered, to say whom an answer is for.
const AUTHORS: usize = 64;

/// A session.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) people: Vec<String>,
    epoch: String,
    /// Of the last message that is here.
    pub(super) seq: u64,
    /// The answer that is here in part, and how many bytes of it.
    partial: Option<(String, usize)>,
    /// The answer under way, and what it answers.
    pub(super) answering: Option<Answering>,
    /// One's own last message.
    pub(super) own: Option<String>,
    authors: VecDeque<(String, String)>,
    /// What was said last of messages that the model is not told any more.
    trimmed: Option<String>,
}

/// An answer under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answering {
    pub(super) id: String,
    pub(super) parent: Option<String>,
}

/// What is to be done with a piece of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// It goes on behind what is shown, or is the first one.
    Show {
        /// Nothing of the answer was shown before.
        first: bool,
    },
    /// It does not: join again, saying what is there.
    Gap,
}

/// What a whole answer adds to what was shown of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// All was shown.
    Nothing,
    /// Nothing was shown: all of it.
    All,
    /// This, from a byte on.
    From(usize),
}

impl Room {
    /// Whether what the server says of messages left out is to be shown: it says so with every answer.
    pub(super) fn trimmed(&mut self, message: Option<&str>) -> bool {
        let new = self.trimmed.as_deref() != message;
        self.trimmed = message.map(str::to_owned);
        new
    }

    /// Takes a `session_joined`. Of the same session, `resumed` decides whether what is here stays; gives from which `seq`
    /// on the history is to be shown when it does not.
    pub(super) fn enter(&mut self, joined: &Frame) -> Option<u64> {
        let id = joined.session_id.clone().unwrap_or_default();
        let again = id == self.id && !id.is_empty();
        if !again {
            *self = Room { id, ..Room::default() };
        }
        self.title = joined.session_title.clone().unwrap_or_default();
        self.people = joined.participants.iter().map(|person| person.username.clone()).collect();
        self.epoch = joined.epoch.clone().unwrap_or_default();
        if again && joined.resumed {
            return None;
        }
        let before = self.seq;
        self.partial = None;
        self.answering = None;
        self.seq = joined.seq.unwrap_or_default();
        again.then_some(before)
    }

    /// What it says when it comes back.
    pub(super) fn since(&self) -> Value {
        let mut since = json!({ "epoch": self.epoch, "seq": self.seq });
        if let Some((id, bytes)) = &self.partial {
            since["message_id"] = json!(id);
            since["offset"] = json!(bytes);
        }
        since
    }

    /// Whether a frame is about this session, or about none.
    pub(super) fn concerns(&self, frame: &Frame) -> bool {
        frame.session_id.as_ref().is_none_or(|id| *id == self.id)
    }

    /// Remembers who said something.
    pub(super) fn wrote(&mut self, message: &Frame) {
        if let (Some(id), Some(name)) = (&message.id, &message.username) {
            if self.authors.len() == AUTHORS {
                self.authors.pop_front();
            }
            self.authors.push_back((id.clone(), name.clone()));
        }
    }

    /// Who said a message, where that is known.
    pub(super) fn author(&self, id: Option<&str>) -> Option<&str> {
        let id = id?;
        self.authors.iter().rev().find(|(message, _)| message == id).map(|(_, name)| name.as_str())
    }

    /// Takes a `message_delta`.
    pub(super) fn piece(&mut self, delta: &Frame) -> Piece {
        let id = delta.message_id.clone().unwrap_or_default();
        let first = self.partial.is_none();
        let (partial, bytes) = self.partial.get_or_insert_with(|| (id.clone(), 0));
        if *partial != id || delta.offset != Some(*bytes) {
            if first {
                self.partial = None;
            }
            return Piece::Gap;
        }
        *bytes += delta.content().len();
        Piece::Show { first }
    }

    /// Takes the assistant's `message`.
    pub(super) fn whole(&mut self, message: &Frame) -> Rest {
        self.seq = message.seq.unwrap_or(self.seq);
        self.answering = None;
        match self.partial.take() {
            Some((id, bytes)) if message.id.as_ref() == Some(&id) => {
                if bytes == message.content().len() {
                    Rest::Nothing
                } else if message.content().is_char_boundary(bytes) {
                    Rest::From(bytes)
                } else {
                    Rest::All
                }
            }
            _ => Rest::All,
        }
    }

    /// Takes an `error` in the place of an answer; gives whether something was shown of it.
    pub(super) fn failed(&mut self) -> bool {
        self.answering = None;
        self.partial.take().is_some()
    }
}

/// The messages of the branch that the conversation goes on from, the oldest first: from the last message back to the
/// first by `parent`. Where a person's message follows another's, the answer between the two is put between them, as the
/// specification has it ("Branches").
pub(super) fn branch(messages: &[Frame]) -> Vec<&Frame> {
    let by_id = |id: &str| messages.iter().find(|message| message.id.as_deref() == Some(id));
    let mut path = Vec::new();
    let mut at = messages.iter().max_by_key(|message| message.seq);
    while let Some(message) = at {
        if path.len() > messages.len() {
            break; // parents in a circle are no tree of a server's
        }
        path.push(message);
        let parent = message.parent.as_deref().and_then(by_id);
        if let Some(parent) = parent
            && !message.is_assistants()
            && !parent.is_assistants()
        {
            path.extend(between(messages, parent, message));
        }
        at = parent;
    }
    path.reverse();
    path
}

/// The answer to `earlier` that stands before `later`.
fn between<'a>(messages: &'a [Frame], earlier: &Frame, later: &Frame) -> Option<&'a Frame> {
    let answers = |to: &Frame| {
        let id = to.id.clone();
        messages.iter().filter(move |message| message.is_assistants() && message.parent == id)
    };
    let answered = answers(later).filter_map(|answer| answer.seq).min().unwrap_or(u64::MAX);
    let fitting: Vec<&Frame> = answers(earlier).filter(|answer| answer.seq.is_some_and(|seq| seq < answered)).collect();
    let after = fitting.iter().filter(|answer| answer.seq > later.seq).min_by_key(|answer| answer.seq);
    after.or_else(|| fitting.iter().max_by_key(|answer| answer.seq)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(json: &Value) -> Frame {
        Frame::read(&json.to_string()).unwrap()
    }

    fn joined(seq: u64, epoch: &str, resumed: bool) -> Frame {
        frame(&json!({"type": "session_joined", "session_id": "s", "session_title": "Tea", "epoch": epoch, "seq": seq,
            "resumed": resumed, "participants": [{"user_id": "1", "username": "Ann"}]}))
    }

    fn delta(id: &str, offset: usize, content: &str) -> Frame {
        frame(&json!({"type": "message_delta", "message_id": id, "offset": offset, "content": content}))
    }

    fn answer(id: &str, seq: u64, content: &str) -> Frame {
        frame(&json!({"type": "message", "role": "assistant", "id": id, "seq": seq, "content": content}))
    }

    #[test]
    fn that_messages_were_left_out_is_shown_once_until_it_is_something_else() {
        let mut room = Room::default();
        let told = ["2 left out", "2 left out", "3 left out"].map(|message| room.trimmed(Some(message)));
        assert_eq!(told, [true, false, true]);
    }

    #[test]
    fn it_says_what_it_has_and_goes_on_behind_it() {
        let mut room = Room::default();
        assert_eq!(room.enter(&joined(3, "e", false)), None);
        assert_eq!(room.since(), json!({"epoch": "e", "seq": 3}));
        assert_eq!(room.piece(&delta("m", 0, "Grün")), Piece::Show { first: true });
        assert_eq!(room.since(), json!({"epoch": "e", "seq": 3, "message_id": "m", "offset": 5}));
        assert_eq!(room.enter(&joined(3, "e", true)), None);
        assert_eq!(room.piece(&delta("m", 5, "er")), Piece::Show { first: false });
        assert_eq!(room.whole(&answer("m", 4, "Grüner")), Rest::Nothing);
        assert_eq!(room.since(), json!({"epoch": "e", "seq": 4}));
    }

    #[test]
    fn a_gap_is_seen_and_what_is_missing_of_a_whole_answer_is_shown() {
        let mut room = Room::default();
        room.enter(&joined(1, "e", false));
        assert_eq!(room.piece(&delta("m", 4, "late")), Piece::Gap);
        assert_eq!(room.since(), json!({"epoch": "e", "seq": 1}));
        room.piece(&delta("m", 0, "one"));
        assert_eq!(room.piece(&delta("m", 4, "two")), Piece::Gap);
        assert_eq!(room.piece(&delta("n", 3, "two")), Piece::Gap);
        assert_eq!(room.whole(&answer("m", 2, "one two")), Rest::From(3));
        assert_eq!(room.whole(&answer("n", 3, "all")), Rest::All);
        room.piece(&delta("x", 0, "half"));
        assert!(room.failed() && !room.failed());
    }

    #[test]
    fn a_server_that_was_started_anew_has_the_history_read_from_where_it_was() {
        let mut room = Room::default();
        room.enter(&joined(1, "e", false));
        room.piece(&delta("m", 0, "half"));
        assert_eq!(room.enter(&joined(4, "f", false)), Some(1));
        assert_eq!(room.since(), json!({"epoch": "f", "seq": 4}));
        let mut other = joined(9, "f", false);
        other.session_id = Some("other".to_owned());
        assert_eq!(room.enter(&other), None, "another session is no return");
    }

    #[test]
    fn a_branch_is_what_leads_to_the_last_message() {
        let message = |seq: u64, role: &str, parent: u64| {
            frame(&json!({"type": "message", "id": seq.to_string(), "seq": seq, "role": role,
                "parent": (parent > 0).then(|| parent.to_string())}))
        };
        let path = |messages: &[Frame]| branch(messages).iter().filter_map(|message| message.seq).collect::<Vec<_>>();
        // 2 and 3 are versions; the conversation went on from 3.
        let versions =
            [message(1, "user", 0), message(2, "assistant", 1), message(3, "assistant", 1), message(4, "user", 3)];
        assert_eq!(path(&versions), [1, 3, 4]);
        // 2 came while 1 was being answered by 3.
        let while_answered =
            [message(1, "user", 0), message(2, "user", 1), message(3, "assistant", 1), message(4, "assistant", 2)];
        assert_eq!(path(&while_answered), [1, 3, 2, 4]);
        let circle = [message(1, "user", 2), message(2, "assistant", 1)];
        assert!(path(&circle).len() <= 3);
        assert!(path(&[]).is_empty());
    }
}
