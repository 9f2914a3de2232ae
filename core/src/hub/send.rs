//! Frames go out: broadcasts encoded once, laggards from their own place.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Action, Hub, Purpose};
use crate::action::{Output, RequestId};
use crate::code::NoticeCode;
use crate::connection::{Connection, Reader, User};
use crate::generation::Generation;
use crate::id::{ConnectionId, MessageId, SessionId};
use crate::limits;
use crate::log::{Cursor, Step};
use crate::record::{MessageRecord, MessageRole};
use crate::refusal::{Code, Refusal};
use crate::slab::{Key, Slab};
use crate::transition::{self, ConnectionEvent};
use crate::wire::frames::{self, Context};

impl Hub {
    /// Puts out a session's next frame to all its live readers. Returns whether there may be more.
    pub(super) fn broadcast(&mut self, key: Key, sink: &mut dyn FnMut(Output<'_>)) -> bool {
        let Some(session) = self.sessions.get_mut(key) else { return false };
        let log = session.log.as_deref_mut().expect("what is to be said is in the log");
        if log.is_behind(&log.shared) {
            // More was logged between two calls of poll than the log holds: everybody goes on alone.
            for &id in &session.readers {
                if let Some(reader) = self.connections.get_mut(id.0).and_then(|c| c.reader.as_mut())
                    && reader.live
                {
                    (reader.live, reader.cursor) = (false, log.shared);
                }
            }
            (log.shared, log.laggards) = (log.first_cursor(), true);
            return true;
        }
        let before = log.shared;
        let mut cursor = before;
        let live = session.generation.as_ref().map(|g| (g.message, g.text.as_str()));
        let (frame, except, last) = match log.step(&mut cursor, live) {
            Step::Wait | Step::Fetch => return false,
            Step::Frame { frame, except, last } => (frame, except, last),
            Step::Delta { message, offset, text } => {
                let generation = session.generation.as_deref();
                write_delta(&mut self.frame, session.record.id, generation, message, offset, text);
                (self.frame.as_str(), None, false)
            }
        };
        self.recipients.clear();
        let mut laggards = false;
        for &id in &session.readers {
            let connection = &mut self.connections[id.0];
            let Some(reader) = connection.reader.as_mut().filter(|r| r.live) else {
                laggards = true;
                continue;
            };
            // Replies that wait for credit come first: an acknowledgement precedes its message.
            if connection.credit <= 0 || !connection.replies.is_empty() {
                (reader.live, reader.cursor) = (false, before);
                laggards = true;
                continue;
            }
            if except.is_none() || except != user_id(&self.users, connection) {
                connection.credit -= frame.len() as i64;
                self.recipients.push(id);
            }
        }
        if !self.recipients.is_empty() {
            sink(Output::Send { to: &self.recipients, frame });
        }
        (log.shared, log.laggards) = (cursor, laggards);
        if last {
            self.release_readers(key);
        }
        true
    }

    /// A session has said all for now: readers that were ahead or behind may be where everybody is.
    pub(super) fn caught_up(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.ready = false;
        if !session.log.as_ref().is_some_and(|log| log.laggards) {
            return;
        }
        for index in 0..session.readers.len() {
            let id = self.sessions[key].readers[index];
            let Connection { credit, reader, .. } = &self.connections[id.0];
            if *credit > 0 && reader.is_some_and(|r| !r.live && r.fetching.is_none()) {
                self.connection_ready(id);
            }
        }
    }

    /// The session's last frame is out to its live readers, who are in no session now.
    fn release_readers(&mut self, key: Key) {
        let live = |id: &ConnectionId| self.connections[id.0].reader.is_some_and(|reader| reader.live);
        let released: Vec<ConnectionId> = self.sessions[key].readers.iter().copied().filter(live).collect();
        for id in released {
            self.detach(id, false);
        }
    }

    /// Puts out what waits for one connection, as far as its credit and `pieces` go.
    pub(super) fn flush(&mut self, id: ConnectionId, pieces: &mut usize, sink: &mut dyn FnMut(Output<'_>)) {
        self.serve_held(id, pieces);
        let Some(connection) = self.connections.get_mut(id.0) else { return };
        let closing = connection.closing.is_some();
        while (connection.credit > 0 || closing)
            && *pieces > 0
            && let Some(frame) = connection.replies.pop()
        {
            *pieces -= 1;
            connection.credit -= frame.len() as i64;
            sink(Output::Send { to: &[id], frame: &frame });
        }
        if closing && connection.replies.is_empty() && *pieces == 0 {
            return self.connection_ready(id);
        }
        if connection.replies.is_empty()
            && let Some(closing) = connection.closing.take()
        {
            *pieces -= 1;
            transition::go(transition::CONNECTION, &mut connection.state, ConnectionEvent::CloseSent);
            let (code, reason) = *closing;
            let reason = &reason[..reason.floor_char_boundary(limits::CLOSE_REASON_BYTES)];
            sink(Output::Close { connection: id, code: code.as_u16(), reason });
            return;
        }
        let more = if connection.replies.is_empty() {
            self.follow(id, pieces, sink)
        } else {
            closing || connection.credit > 0
        };
        self.resume_if_room(id);
        let waiting = self.connections.get(id.0).is_some_and(Connection::may_serve_held);
        if more || waiting {
            self.connection_ready(id);
        }
    }

    /// Brings one reader nearer to where everybody is. Returns whether it can go on at once.
    fn follow(&mut self, id: ConnectionId, pieces: &mut usize, sink: &mut dyn FnMut(Output<'_>)) -> bool {
        while *pieces > 0 {
            *pieces -= 1;
            let connection = &mut self.connections[id.0];
            let Some(reader) = connection.reader.as_mut().filter(|r| !r.live && r.fetching.is_none()) else {
                return false;
            };
            let session = &self.sessions[reader.session];
            let log = session.kept_log();
            if connection.credit <= 0 {
                return false;
            }
            // At the same place in an empty log, one may still lack what has fallen out of it.
            if !log.must_fetch(&reader.cursor) && reader.cursor.meets(&log.shared) {
                reader.live = true;
                return false;
            }
            if reader.cursor.next > log.shared.next {
                // Joined after frames that are still to be broadcast; `caught_up` calls again.
                return false;
            }
            let live = session.generation.as_ref().map(|g| (g.message, g.text.as_str()));
            let (frame, except, last) = match log.step(&mut reader.cursor, live) {
                Step::Wait => return false,
                Step::Fetch => {
                    self.fetch(id);
                    return false;
                }
                Step::Frame { frame, except, last } => (frame, except, last),
                // Not beyond the live readers: `poll` serves a connection after they have all of the text.
                Step::Delta { message, offset, text } => {
                    let generation = session.generation.as_deref();
                    write_delta(&mut self.frame, session.record.id, generation, message, offset, text);
                    (self.frame.as_str(), None, false)
                }
            };
            if except.is_none() || except != user_id(&self.users, connection) {
                connection.credit -= frame.len() as i64;
                sink(Output::Send { to: &[id], frame });
            }
            if last {
                self.detach(id, false);
                return false;
            }
        }
        true
    }

    /// Asks storage for messages that the log no longer has.
    fn fetch(&mut self, id: ConnectionId) {
        let Reader { session: key, cursor, .. } = *self.reader(id);
        let session = &self.sessions[key];
        let (session_id, stored) = (session.record.id, session.kept_log().stored_seq());
        if cursor.seq >= stored {
            // Only frames that are no messages have fallen out.
            self.reenter(id, cursor);
            return;
        }
        let limit = u64::from(limits::FETCHED_MESSAGES).min(stored - cursor.seq);
        let before = cursor.seq + limit + 1;
        let request = self.request(Purpose::Fetch { connection: id });
        self.reader(id).fetching = Some(request);
        if self.requests.len() > self.limits.requests {
            // Storage is asked for no more: as if it could not answer.
            self.requests.remove(&request);
            return self.fetched(request, id, Err(()));
        }
        // `limit` is at most FETCHED_MESSAGES, a u32.
        let limit = limit as u32;
        self.actions.push_back(Action::LoadMessages { request, session: session_id, before, limit });
    }

    /// Messages for a reader that fell behind, from storage; after a failure it is told that some are missing.
    pub(super) fn fetched(&mut self, request: RequestId, id: ConnectionId, messages: Result<&[MessageRecord], ()>) {
        let now = self.wall();
        // They may be gone, or have joined anew.
        let Some(connection) = self.connections.get_mut(id.0) else { return };
        let Some(reader) = connection.reader.as_mut().filter(|r| r.fetching == Some(request)) else { return };
        reader.fetching = None;
        let Reader { session: key, mut cursor, .. } = *reader;
        let session = &self.sessions[key];
        let (session_id, stored, known) = (session.record.id, session.kept_log().stored_seq(), cursor.seq);
        for record in messages.unwrap_or_default().iter().take(limits::FETCHED_MESSAGES as usize) {
            if record.seq == cursor.seq + 1 {
                self.send_stored(id, key, record, &mut cursor);
                cursor.seq = record.seq;
            }
        }
        if cursor.seq == known {
            cursor.seq = stored;
            self.reply(id, |out| {
                let context = Context { reference: None, session: Some(session_id) };
                frames::notice(
                    out,
                    context,
                    now,
                    NoticeCode::MessagesMissing,
                    "Some messages could not be read: ask for the history",
                );
            });
        }
        if cursor.seq >= stored {
            self.reenter(id, cursor);
        } else {
            self.reader(id).cursor = cursor;
        }
        self.connection_ready(id);
    }

    /// The place of a connection that is in a session.
    pub(super) fn reader(&mut self, id: ConnectionId) -> &mut Reader {
        self.connections[id.0].reader.as_mut().expect("who is served as a reader is in a session")
    }

    /// One message from storage, after the rest of its deltas if the reader has had some of them.
    fn send_stored(&mut self, id: ConnectionId, key: Key, record: &MessageRecord, cursor: &mut Cursor) {
        let session = record.session;
        if cursor.partial == Some(record.id) {
            let mut offset = record.content.floor_char_boundary(cursor.offset);
            while offset < record.content.len() {
                let end = record.content.floor_char_boundary(record.content.len().min(offset + limits::DELTA_BYTES));
                let text = &record.content[offset..end];
                self.reply(id, |out| frames::message_delta(out, session, record.id, offset, text));
                offset = end;
            }
        }
        if record.role == MessageRole::Assistant
            && let Some(message) = cursor.partial.filter(|message| *message != record.id)
        {
            // Answers come one after the other, so the one that the reader has begun to get failed.
            if !cursor.over {
                self.tell_failure(id, session, message, cursor.offset > 0);
            }
            self.tell_typing(id, key, message, false);
            (cursor.partial, cursor.offset, cursor.over) = (None, 0, false);
        }
        self.reply(id, |out| frames::message(out, record, None));
        if cursor.partial == Some(record.id) {
            self.tell_typing(id, key, record.id, false);
            (cursor.partial, cursor.offset, cursor.over) = (None, 0, false);
        }
    }

    fn tell_typing(&mut self, id: ConnectionId, key: Key, message: MessageId, is_typing: bool) {
        let now = self.wall();
        let session = &self.sessions[key];
        let (session, typist) = (session.record.id, session.typist(message));
        self.reply(id, |out| frames::typing(out, session, now, &typist, is_typing));
    }

    /// The answer that a reader has begun to get does not come.
    pub(super) fn tell_failure(&mut self, id: ConnectionId, session: SessionId, message: MessageId, streamed: bool) {
        let now = self.wall();
        let refusal = Refusal::new(Code::GenerationFailed, super::generate::FAILED);
        let context = Context { reference: None, session: Some(session) };
        self.reply(id, |out| frames::error(out, context, now, &refusal, streamed.then_some(message), None));
    }

    /// Puts a reader that fell behind, and has got to `cursor`, at the log's first entry, told whether the assistant types
    /// there.
    fn reenter(&mut self, id: ConnectionId, mut cursor: Cursor) {
        let key = self.reader(id).session;
        let session = &self.sessions[key];
        let log = session.kept_log();
        let (session_id, first) = (session.record.id, log.first_cursor());
        for frame in log.missed(&cursor, user_id(&self.users, &self.connections[id.0])) {
            self.reply(id, |out| {
                out.clear();
                out.push_str(&frame);
            });
        }
        cursor.next = cursor.next.max(first.next);
        if cursor.next == first.next && cursor.partial != first.partial {
            if let Some(message) = cursor.partial {
                if !cursor.over {
                    // It is neither in storage nor in the log, so it failed.
                    self.tell_failure(id, session_id, message, cursor.offset > 0);
                }
                self.tell_typing(id, key, message, false);
            }
            if let Some(message) = first.partial {
                self.tell_typing(id, key, message, true);
            }
            (cursor.partial, cursor.offset, cursor.over) = (first.partial, 0, false);
        }
        self.reader(id).cursor = cursor;
        self.connection_ready(id);
    }
}

/// A part of the answer under way, or of one that is over, for somebody who lacks it.
fn write_delta(
    out: &mut String,
    session: SessionId,
    generation: Option<&Generation>,
    message: MessageId,
    offset: usize,
    text: &str,
) {
    match generation.filter(|generation| generation.message == message) {
        Some(generation) => frames::next_delta(out, &generation.beginning, offset, text),
        None => frames::message_delta(out, session, message, offset, text),
    }
}

fn user_id<'a>(users: &'a Slab<User>, connection: &Connection) -> Option<&'a str> {
    connection.user.and_then(|key| users.get(key)).map(|user| user.member.user_id.as_str())
}
