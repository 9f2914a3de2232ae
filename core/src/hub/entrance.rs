//! How a connection enters a session, anew or where it was, and how it leaves.

use alloc::format;
use alloc::string::String;

use super::Hub;
use crate::connection::Reader;
use crate::id::{ConnectionId, MessageId};
use crate::log::Cursor;
use crate::session::{Asker, OwnedSince, Session};
use crate::slab::Key;
use crate::transition::{self, ConnectionEvent};
use crate::wire::frames::{self, Context};

impl Hub {
    /// Puts a connection into a session whose member it is, and tells everybody. It leaves the one it was in.
    pub(super) fn attach(&mut self, key: Key, asker: &Asker, since: Option<&OwnedSince>) {
        let id = asker.connection;
        let Some(connection) = self.connections.get(id.0).filter(|c| c.is_open()) else { return };
        let user = connection.user.expect("only who is recognized asks for a session");
        let again = connection.reader.is_some_and(|r| r.session == key);
        let most = self.limits.connections_per_session;
        if !again && self.sessions.get(key).is_some_and(|s| s.readers.len() >= most) {
            let message = format!("The session has {most} connections, which is the limit: try again later");
            self.overloaded(asker, &message);
            return self.join_failed(id);
        }
        if again {
            self.unread(id, key);
        } else {
            self.detach(id, true);
        }
        // Whoever is open has not been forgotten.
        let member = self.users[user].member.clone();
        let present = again || self.participants(key).any(|(user_id, _)| user_id == member.user_id);
        let now = self.wall();
        let session = &mut self.sessions[key];
        let Entrance { cursor, resumed, typing, failed } = entrance(session, since, &self.epoch);
        if session.readers.is_empty() {
            // Most sessions have one reader, for whom a vector would take room for four.
            session.readers.reserve_exact(1);
        }
        session.readers.push(id);
        session.log().laggards = true;
        let typist = cursor.partial.filter(|_| typing).map(|message| session.typist(message));
        let record = session.record.clone();
        let connection = &mut self.connections[id.0];
        transition::go(transition::CONNECTION, &mut connection.state, ConnectionEvent::Attached);
        connection.reader = Some(Reader { session: key, cursor, live: false, fetching: None });
        let mut joined = String::new();
        frames::session_joined(
            &mut joined,
            asker.reference.as_deref(),
            now,
            frames::Joined { session: &record, epoch: &self.epoch, resumed, participants: self.participants(key) },
        );
        self.reply(id, |out| *out = joined);
        if let Some(message) = failed {
            self.tell_failure(id, record.id, message, true);
        }
        if let Some(typist) = typist {
            self.reply(id, |out| frames::typing(out, record.id, now, &typist, true));
        }
        if !present {
            self.tell_presence(key, user, &member, true);
        }
        self.session_ready(key);
        self.connection_ready(id);
    }

    /// Takes a connection out of its session, if it is in one.
    pub(super) fn detach(&mut self, id: ConnectionId, tell: bool) {
        let Some(key) = self.session_of(id) else { return };
        if self.connections[id.0].typing_until.is_some() {
            self.set_typing(id, false);
        }
        self.unread(id, key);
        // A connection that goes has left its session before its user is forgotten.
        let user = self.user_served(id);
        let member = self.users[user].member.clone();
        if tell && self.participants(key).all(|(user_id, _)| user_id != member.user_id) {
            self.tell_presence(key, user, &member, false);
        }
        self.drop_if_unused(key);
    }

    /// A connection reads the session that it is in no more.
    fn unread(&mut self, id: ConnectionId, key: Key) {
        let connection = &mut self.connections[id.0];
        connection.reader = None;
        transition::go(transition::CONNECTION, &mut connection.state, ConnectionEvent::Detached);
        self.sessions[key].readers.retain(|r| *r != id);
    }

    pub(super) fn leave(&mut self, asker: &Asker) {
        let Some(key) = self.session_of(asker.connection) else { return self.not_in_session(asker) };
        let session = Some(self.sessions[key].record.id);
        let now = self.wall();
        self.detach(asker.connection, true);
        self.reply(asker.connection, |out| {
            frames::session_left(out, Context { reference: asker.reference.as_deref(), session }, now);
        });
    }
}

/// How a client goes on.
struct Entrance {
    cursor: Cursor,
    resumed: bool,
    /// Whether it is to be told that the assistant types there.
    typing: bool,
    /// The answer that it knows a part of and that failed meanwhile.
    failed: Option<MessageId>,
}

/// Where a client begins: where it was, if it can be told without a gap what came since; otherwise with what comes now.
fn entrance(session: &mut Session, since: Option<&OwnedSince>, epoch: &str) -> Entrance {
    session.log();
    since.filter(|since| since.epoch == epoch).and_then(|since| resume(session, since)).unwrap_or_else(|| {
        let cursor = session.kept_log().tip(session.record.last_seq);
        Entrance { cursor, resumed: false, typing: cursor.partial.is_some(), failed: None }
    })
}

/// Goes on after what a client knows from this life of the server.
fn resume(session: &Session, since: &OwnedSince) -> Option<Entrance> {
    if since.seq > session.record.last_seq {
        return None;
    }
    let log = session.kept_log();
    let mut cursor = log.cursor_after(since.seq);
    let mut failed = None;
    let mut typing = cursor.partial.is_some();
    if let Some((message, offset)) = since.partial {
        // An offset beyond all memory is beyond any text, too.
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let running = session.generation.as_ref().filter(|g| g.message == message).map(|g| g.text.as_str());
        let text = running.or_else(|| log.answer(message));
        if text.is_some_and(|text| !text.is_char_boundary(offset)) {
            return None;
        }
        // Who has a part of an answer has had all that came before it.
        if !log.skip_to_answer(&mut cursor, message) {
            return None;
        }
        if cursor.seq < log.stored_seq() || cursor.partial == Some(message) {
            (cursor.partial, cursor.offset, typing) = (Some(message), offset, true);
        } else {
            failed = Some(message);
        }
    }
    Some(Entrance { cursor, resumed: true, typing, failed })
}
