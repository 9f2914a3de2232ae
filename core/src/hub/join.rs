//! Connections enter and leave sessions.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Action, Hub, Purpose};
use crate::connection::Reader;
use crate::id::{ConnectionId, MessageId, SessionId};
use crate::limits;
use crate::log::{Cursor, Entry, Mark};
use crate::record::{Member, SessionRecord};
use crate::refusal::{Code, Refusal};
use crate::session::{Access, Asker, Errand, OwnedSince, Session, Wish, Work};
use crate::slab::Key;
use crate::timer::{Owner, Reason};
use crate::transition::{self, ConnectionEvent, SessionEvent, SessionState};
use crate::wire::frames::{self, Context};

/// The title of a session whose creator gave none.
const UNTITLED: &str = "New chat";

impl Hub {
    /// Does what a connection wants of a session, as soon as the session is in memory.
    pub(super) fn run_errand(&mut self, id: SessionId, asker: Asker, wish: Wish) {
        if matches!(wish, Wish::Join { .. }) {
            self.begin_join(asker.connection);
        }
        let key = match self.session_keys.get(&id) {
            Some(&key) => key,
            None => {
                let key = self.sessions.insert(Session::loading(id));
                self.session_keys.insert(id, key);
                let request = self.request(Purpose::LoadSession { session: key });
                self.actions.push_back(Action::LoadSession { request, session: id });
                key
            }
        };
        let Some(session) = self.sessions.get_mut(key) else { return };
        if matches!(session.state, SessionState::Loading | SessionState::Creating) {
            let connection = asker.connection;
            let own = session.errands.iter().filter(|e| e.asker.connection == connection).count();
            let errand = Errand { asker, wish };
            if own < usize::from(limits::REQUESTS_PER_CONNECTION) && session.errands.len() < limits::ERRANDS {
                session.errands.push_back(errand);
            } else {
                self.overloaded(&errand.asker, "Too many requests wait for this session to be loaded");
                self.give_up_errand(&errand);
            }
            return;
        }
        self.fulfil(key, asker, wish);
    }

    /// The session is in memory: may the asker have what they wish?
    fn fulfil(&mut self, key: Key, asker: Asker, wish: Wish) {
        let (Some(session), Some(member)) = (
            self.sessions.get_mut(key),
            self.connections
                .get(asker.connection.0)
                .and_then(|c| c.user)
                .and_then(|u| self.users.get(u))
                .map(|u| u.member.clone()),
        ) else {
            return;
        };
        let access = session.access(&member);
        let gone = session.record.ended.is_some() || session.state == SessionState::Ended;
        match wish {
            Wish::Join { since } => match access {
                Access::Denied => self.denied(&asker),
                _ if gone => {
                    self.refuse_with(&asker, Code::SessionEnded, "Session not found or access denied");
                    self.join_failed(asker.connection);
                }
                Access::Member => self.attach(key, &asker, since.as_ref()),
                Access::Invited => self.add_work(key, Work::Join { asker, member, since }),
            },
            Wish::Rename { .. } | Wish::Delete if access != Access::Member => self.session_not_found(&asker),
            Wish::Rename { .. } | Wish::Delete if session.record.owner != member.user_id => {
                self.refuse_with(&asker, Code::NotOwner, "Only the session's owner can do this");
            }
            Wish::Rename { title } => self.add_work(key, Work::Rename { asker, title }),
            Wish::Delete => self.begin_end(key, Work::Delete { asker }),
        }
        self.drop_if_unused(key);
    }

    /// What was wished is refused; who wished to join goes on where it was.
    fn give_up_errand(&mut self, errand: &Errand) {
        if matches!(errand.wish, Wish::Join { .. }) {
            self.join_failed(errand.asker.connection);
        }
    }

    fn denied(&mut self, asker: &Asker) {
        self.session_not_found(asker);
        self.join_failed(asker.connection);
    }

    fn begin_join(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id.0) {
            transition::go(transition::CONNECTION, &mut connection.state, ConnectionEvent::Join);
        }
    }

    /// A connection that wanted to join goes on where it was.
    pub(super) fn join_failed(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id.0) else { return };
        let event = match connection.reader {
            Some(_) => ConnectionEvent::JoinFailedInSession,
            None => ConnectionEvent::JoinFailed,
        };
        if transition::go(transition::CONNECTION, &mut connection.state, event) {
            self.connection_ready(id);
        }
    }

    pub(super) fn create(&mut self, asker: Asker, title: Option<&str>, system: Option<String>) {
        let (now, rate) = (self.now, self.session_rate());
        if self.draining.is_some() {
            return self.refuse_with(&asker, Code::ServerDraining, "The server is about to stop");
        }
        let Some(user) = self.connections.get(asker.connection.0).and_then(|c| c.user) else { return };
        let Some(user) = self.users.get_mut(user) else { return };
        if let Err(wait) = user.created_sessions.take(rate, now) {
            let each = self.limits.sessions_per_minute;
            let refusal = Refusal::new(Code::TooManySessions, format!("More than {each} new sessions a minute"));
            return self.refuse(&asker, &refusal.after(wait));
        }
        let member = user.member.clone();
        let title = title.unwrap_or(UNTITLED).to_string();
        let record = SessionRecord {
            id: SessionId(self.rng.uuid()),
            title,
            system: system.filter(|s| !s.trim().is_empty()),
            owner: member.user_id.clone(),
            created: self.wall(),
            ended: None,
            last_seq: 0,
            last_message: None,
            members: Vec::from([member]),
            invited: Vec::new(),
        };
        self.begin_join(asker.connection);
        let id = record.id;
        let session = self.sessions.insert(Session::new(SessionState::Creating, record));
        self.session_keys.insert(id, session);
        let request = self.request(Purpose::CreateSession { session, asker });
        self.actions.push_back(Action::Create { request, session });
    }

    /// A new session is stored, or could not be.
    pub(super) fn created(&mut self, key: Key, asker: &Asker, stored: bool) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if stored {
            transition::go(transition::SESSION, &mut session.state, SessionEvent::Created);
            session.record.system = None;
            self.attach(key, asker, None);
            self.run_errands(key);
        } else {
            self.storage_failed(asker);
            self.join_failed(asker.connection);
            for errand in self.forget_session(key) {
                self.session_not_found(&errand.asker);
                self.give_up_errand(&errand);
            }
        }
    }

    /// Storage has answered for a session: `None` when there is none such, an error when it could not.
    pub(super) fn session_loaded(&mut self, key: Key, loaded: Result<Option<SessionRecord>, ()>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        match loaded {
            Ok(Some(record)) if record.id == session.record.id => {
                // Only storage and the model need it, and it may be as long as a message.
                session.record = SessionRecord { system: None, ..record };
                transition::go(transition::SESSION, &mut session.state, SessionEvent::Loaded);
                self.run_errands(key);
            }
            Ok(_) => {
                for errand in self.forget_session(key) {
                    self.session_not_found(&errand.asker);
                    self.give_up_errand(&errand);
                }
            }
            Err(()) => {
                for errand in self.forget_session(key) {
                    self.storage_failed(&errand.asker);
                    self.give_up_errand(&errand);
                }
            }
        }
    }

    fn run_errands(&mut self, key: Key) {
        while let Some(errand) = self.sessions.get_mut(key).and_then(|s| s.errands.pop_front()) {
            self.fulfil(key, errand.asker, errand.wish);
        }
        self.drop_if_unused(key);
    }

    /// Removes a session from memory and gives back who still waits for it.
    fn forget_session(&mut self, key: Key) -> Vec<Errand> {
        let Some(mut session) = self.sessions.remove(key) else { return Vec::new() };
        self.timers.set(self.now, Owner::Session(key), &mut session.armed, None);
        self.session_keys.remove(&session.record.id);
        session.errands.into_iter().collect()
    }

    /// A session that nobody uses is in storage and need not be in memory.
    pub(super) fn drop_if_unused(&mut self, key: Key) {
        let Some(session) = self.sessions.get(key) else { return };
        if !matches!(session.state, SessionState::Loading | SessionState::Creating) && session.is_unused() {
            self.forget_session(key);
        }
    }

    /// Puts a connection into a session whose member it is, and tells everybody. It leaves the one it was in.
    pub(super) fn attach(&mut self, key: Key, asker: &Asker, since: Option<&OwnedSince>) {
        let id = asker.connection;
        let Some(connection) = self.connections.get(id.0).filter(|c| c.is_open()) else { return };
        let Some(user) = connection.user else { return };
        let again = connection.reader.is_some_and(|r| r.session == key);
        if again {
            self.unread(id);
        } else {
            self.detach(id, true);
        }
        let Some(member) = self.users.get(user).map(|u| u.member.clone()) else { return };
        let present = again || self.participants(key).any(|(user_id, _)| user_id == member.user_id);
        let now = self.wall();
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Entrance { cursor, resumed, typing, failed } = entrance(session, since, &self.epoch);
        if session.readers.is_empty() {
            // Most sessions have one reader, for whom a vector would take room for four.
            session.readers.reserve_exact(1);
        }
        session.readers.push(id);
        session.log().laggards = true;
        let typist = cursor.partial.filter(|_| typing).map(|message| session.typist(message));
        let record = session.record.clone();
        if let Some(connection) = self.connections.get_mut(id.0) {
            transition::go(transition::CONNECTION, &mut connection.state, ConnectionEvent::Attached);
            connection.reader = Some(Reader { session: key, cursor, live: false, fetching: None });
        }
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
        if self.session_of(id).is_none() {
            return;
        }
        if self.connections.get(id.0).is_some_and(|c| c.typing_until.is_some()) {
            self.set_typing(id, false);
        }
        let Some((key, user)) = self.unread(id) else { return };
        if let Some(user) = user
            && tell
            && let Some(member) = self.users.get(user).map(|u| u.member.clone())
            && self.participants(key).all(|(user_id, _)| user_id != member.user_id)
        {
            self.tell_presence(key, user, &member, false);
        }
        self.drop_if_unused(key);
    }

    /// A connection reads a session no more: which one, and whose connection.
    fn unread(&mut self, id: ConnectionId) -> Option<(Key, Option<Key>)> {
        let connection = self.connections.get_mut(id.0)?;
        let Reader { session: key, .. } = connection.reader.take()?;
        transition::go(transition::CONNECTION, &mut connection.state, ConnectionEvent::Detached);
        self.sessions.get_mut(key)?.readers.retain(|r| *r != id);
        Some((key, connection.user))
    }

    pub(super) fn leave(&mut self, asker: &Asker) {
        let Some(key) = self.session_of(asker.connection) else { return self.not_in_session(asker) };
        let session = self.sessions.get(key).map(|s| s.record.id);
        let now = self.wall();
        self.detach(asker.connection, true);
        self.reply(asker.connection, |out| {
            frames::session_left(out, Context { reference: asker.reference.as_deref(), session }, now);
        });
    }

    /// The users of a session's connections, each once.
    pub(super) fn participants(&self, key: Key) -> impl Iterator<Item = (&str, &str)> {
        let readers = self.sessions.get(key).map_or(&[][..], |s| &s.readers);
        let users: BTreeMap<&str, &str> = readers
            .iter()
            .filter_map(|id| self.member(*id))
            .map(|member| (member.user_id.as_str(), member.username.as_str()))
            .collect();
        users.into_iter()
    }

    fn tell_presence(&mut self, key: Key, user: Key, member: &Member, joined: bool) {
        let Some(id) = self.sessions.get(key).filter(|s| s.state != SessionState::Ended).map(|s| s.record.id) else {
            return;
        };
        let now = self.wall();
        let mut frame = String::new();
        frames::presence(&mut frame, id, now, member, joined, self.participants(key));
        self.append(key, None, Some(user), Mark::Presence, |out, _| *out = frame);
    }

    /// Adds a frame that is no message to a session's log.
    pub(super) fn announce(&mut self, key: Key, except: Option<Key>, write: impl FnOnce(&mut String, SessionId)) {
        self.append(key, None, except, Mark::Plain, write);
    }

    pub(super) fn append(
        &mut self,
        key: Key,
        seq: Option<u64>,
        except: Option<Key>,
        mark: Mark,
        write: impl FnOnce(&mut String, SessionId),
    ) {
        let log_bytes = self.limits.log_bytes;
        // By id: a user who went away and comes back is another one to the hub, and still the same to everybody.
        let except = except.and_then(|user| self.users.get(user)).map(|user| user.member.user_id.as_str().into());
        let Some(session) = self.sessions.get_mut(key) else { return };
        write(&mut self.frame, session.record.id);
        let frame = self.frame.as_str().into();
        let before = seq.map_or(session.record.last_seq, |seq| seq - 1);
        session.log_after(before).push(Entry { frame, seq, except, mark }, log_bytes);
        let forgotten = (self.now + limits::LOG_KEPT, Reason::LogForgotten);
        self.timers.set(self.now, Owner::Session(key), &mut session.armed, Some(forgotten));
        self.session_ready(key);
    }

    pub(super) fn storage_failed(&mut self, asker: &Asker) {
        self.refuse(asker, &storage_failure());
    }
}

pub(super) fn storage_failure() -> Refusal {
    Refusal::new(Code::StorageFailed, "Storage failed: nothing was saved, try again").after(1_000)
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
    let known = since.and_then(|since| resume(session, since, epoch));
    known.unwrap_or_else(|| {
        let seq = session.record.last_seq;
        let cursor = session.log().tip(seq);
        Entrance { cursor, resumed: false, typing: cursor.partial.is_some(), failed: None }
    })
}

fn resume(session: &mut Session, since: &OwnedSince, epoch: &str) -> Option<Entrance> {
    if since.epoch != epoch || since.seq > session.record.last_seq {
        return None;
    }
    session.log();
    let log = session.log.as_deref()?;
    let mut cursor = log.cursor_after(since.seq);
    let mut failed = None;
    let mut typing = cursor.partial.is_some();
    if let Some((message, offset)) = since.partial {
        let offset = usize::try_from(offset).ok()?;
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
