//! What one client knows, as its program keeps it, from another JSON reader than the core's. Frames are compared with
//! what storage really holds, which the reference model cannot know: who may be in a session, what a message is, whether
//! who tells the truth is resumed. Their order is checked again on the way, by a second reading of the specification.

use std::collections::BTreeSet;

use causerie_core::{MessageId, MessageRole, SessionId};

use crate::check;
use crate::frame::{Frame, Kind};
use crate::storage::Storage;

/// A client's knowledge of its session. It outlives connections, so that the client can resume.
#[derive(Debug, Default)]
pub struct View {
    /// The session that it is in, by the frames that it got, or was in when its connection was lost.
    pub session: Option<SessionId>,
    pub epoch: String,
    /// The last message's `seq`.
    pub seq: u64,
    /// The answer under way, as far as it has come.
    pub answer: Option<(MessageId, String)>,
    pub typing: bool,
    /// It has the whole answer of this turn, and only the end of `typing` is missing.
    over: bool,
    /// It was told that storage could not give it some messages.
    pub told_of_a_gap: bool,
    /// Who is there, but for itself.
    pub participants: BTreeSet<String>,
    pub title: String,
}

/// The last thing that a client knew when it asked to go on from there.
#[derive(Clone, Debug)]
pub struct Since {
    pub epoch: String,
    /// It was made up, so a refusal is as good as any answer.
    pub invented: bool,
}

/// How a join ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    Anew,
    Resumed,
    /// It could not go on: the server has lived again, what it said was made up, or storage has left it with a gap.
    Denied,
}

impl View {
    /// The connection is gone; what was known is kept.
    pub fn lose(&mut self) {
        self.typing = false;
    }

    fn forget(&mut self) {
        *self = View::default();
    }

    fn of_my_session(&self, frame: &Frame) {
        check!(self.session == frame.session_id, "a frame of a session that it is not in: {frame:?}, knowing {self:?}");
    }

    /// `session_joined`, in answer to a join with `since` or without.
    pub fn joined(&mut self, frame: &Frame, since: Option<&Since>, me: &str, storage: &Storage) -> Joined {
        let (Some(session), Some(seq), Some(resumed)) = (frame.session_id, frame.seq, frame.resumed) else {
            panic!("not as specified: {frame:?}")
        };
        let epoch = frame.epoch.clone().unwrap_or_default();
        let stored = storage.sessions.get(&session);
        let record = stored.map(|s| &s.record);
        check!(
            record.is_some_and(|r| r.members.iter().any(|m| m.user_id == me)),
            "{me} is in {session:?} without being its member"
        );
        let joined = match since {
            None => Joined::Anew,
            Some(_) if resumed => Joined::Resumed,
            Some(since) => {
                // A part of an answer, and not what was said before it: the gap cannot be closed in order any more.
                let gap = self.told_of_a_gap && self.answer.is_some();
                let deniable = since.invented || since.epoch != epoch || gap;
                check!(deniable, "who tells the truth can go on: {frame:?}, {self:?}");
                Joined::Denied
            }
        };
        check!(since.is_some() || !resumed, "nobody asked to resume: {frame:?}");
        check!(!resumed || since.is_some_and(|s| s.epoch == epoch), "another life of the server: {frame:?}");
        if !resumed {
            self.forget();
            self.seq = seq;
        }
        check!(self.seq <= seq, "it knows more than there is: {frame:?}, {self:?}");
        (self.typing, self.over) = (false, false);
        (self.session, self.epoch) = (Some(session), epoch);
        self.title = frame.session_title.clone().unwrap_or_default();
        self.present(frame, me);
        joined
    }

    fn present(&mut self, frame: &Frame, me: &str) {
        let there = frame.participants.iter().flatten().map(|p| p.user_id.clone());
        self.participants = there.filter(|id| id != me).collect();
    }

    /// Any other frame about a session, for a client of user `me`.
    pub fn take(&mut self, frame: &Frame, me: &str, storage: &Storage) {
        match frame.kind {
            Kind::Message => self.message(frame, storage),
            Kind::MessageDelta => self.delta(frame),
            Kind::Typing => self.typing(frame, me),
            Kind::Presence => {
                self.of_my_session(frame);
                check!(frame.user_id.as_deref() != Some(me), "nobody is told of themselves: {frame:?}");
                self.present(frame, me);
            }
            Kind::SessionRenamed if frame.session_id == self.session => {
                self.title = frame.session_title.clone().unwrap_or_default();
            }
            Kind::SessionLeft | Kind::SessionEnded | Kind::SessionDeleted if frame.session_id == self.session => {
                check!(!self.typing || frame.kind == Kind::SessionLeft, "typing ends before the session: {frame:?}");
                self.forget();
            }
            Kind::Notice if frame.code.as_deref() == Some("messages_missing") => self.told_of_a_gap = true,
            Kind::Error => {
                let failed = frame.reference.is_none() && FAILURES.contains(&frame.code.as_deref().unwrap_or_default());
                check!(!failed || !self.over, "who has an answer is not told that it failed: {frame:?}, {self:?}");
                if let Some(id) = frame.message_id {
                    self.of_my_session(frame);
                    // A slow reader may have got nothing of it yet.
                    let dropped = self.answer.take();
                    check!(
                        dropped.is_none_or(|(streamed, _)| streamed == id),
                        "only what failed is dropped: {frame:?}"
                    );
                }
            }
            Kind::Ack => {
                let stored = frame.session_id.and_then(|id| storage.sessions.get(&id));
                let record = stored.and_then(|s| s.message(frame.message_id?));
                check!(record.is_some_and(|r| Some(r.seq) == frame.seq), "acknowledged is stored: {frame:?}");
            }
            Kind::HistoryPage => page(frame, storage),
            _ => {}
        }
    }

    fn message(&mut self, frame: &Frame, storage: &Storage) {
        self.of_my_session(frame);
        let seq = frame.seq.unwrap_or_default();
        let missing = std::mem::take(&mut self.told_of_a_gap);
        check!(
            seq == self.seq + 1 || (missing && seq > self.seq),
            "each message once and in order: {frame:?}, knowing {self:?}"
        );
        self.seq = seq;
        as_stored(frame, storage);
        self.over |= self.typing && frame.role.as_deref() == Some("assistant");
        if frame.role.as_deref() == Some("assistant")
            && let Some((id, streamed)) = self.answer.take()
        {
            check!(
                Some(id) == frame.id && streamed == frame.content,
                "the deltas are the message: {streamed:?} of {id:?}, {frame:?}"
            );
        }
    }

    fn delta(&mut self, frame: &Frame) {
        self.of_my_session(frame);
        check!(self.typing, "text comes while the assistant types: {frame:?}, knowing {self:?}");
        let Some(id) = frame.message_id else { panic!("not as specified: {frame:?}") };
        let (known, so_far) = self.answer.get_or_insert_with(|| (id, String::new()));
        check!(
            *known == id && Some(so_far.len() as u64) == frame.offset && !frame.content.is_empty(),
            "deltas follow each other: {frame:?} after {} bytes of {known:?}",
            so_far.len()
        );
        so_far.push_str(&frame.content);
    }

    fn typing(&mut self, frame: &Frame, me: &str) {
        self.of_my_session(frame);
        if frame.role.as_deref() != Some("assistant") {
            check!(frame.user_id.as_deref() != Some(me), "nobody is told of themselves: {frame:?}");
            return;
        }
        let is_typing = frame.is_typing == Some(true);
        check!(self.typing != is_typing, "typing begins and ends by turns: {frame:?}, knowing {self:?}");
        (self.typing, self.over) = (is_typing, false);
        check!(is_typing || self.answer.is_none(), "an answer ends before its typing: {frame:?}, knowing {self:?}");
    }
}

/// What the errors say that stand in the place of an answer.
const FAILURES: [&str; 3] = ["generation_failed", "ai_unavailable", "context_exceeded"];

fn as_stored(frame: &Frame, storage: &Storage) {
    let stored = frame.session_id.and_then(|id| storage.sessions.get(&id));
    let record = stored.and_then(|s| s.message(frame.id?));
    let same = record.is_some_and(|r| {
        let role = match r.role {
            MessageRole::User => "user",
            MessageRole::Assistant => "assistant",
            MessageRole::System => "system",
        };
        Some(r.seq) == frame.seq
            && r.content == frame.content
            && r.parent == frame.parent
            && Some(role) == frame.role.as_deref()
            && r.author.as_ref().map(|a| &a.user_id) == frame.user_id.as_ref()
            && r.client_id == frame.client_id
    });
    check!(same, "a message is as it is stored: {frame:?}, {record:?}");
}

fn page(frame: &Frame, storage: &Storage) {
    let messages = frame.messages.as_deref().unwrap_or_default();
    for message in messages {
        as_stored(message, storage);
    }
    check!(
        messages.windows(2).all(|pair| pair[0].seq.map(|seq| seq + 1) == pair[1].seq),
        "a page has no gaps: {frame:?}"
    );
}
