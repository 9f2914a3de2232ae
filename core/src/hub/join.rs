//! Sessions come into memory, from storage or new, for what somebody wants of them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Action, Hub, Purpose};
use crate::id::{ConnectionId, SessionId};
use crate::limits;
use crate::record::SessionRecord;
use crate::refusal::{Code, Refusal};
use crate::session::{Access, Asker, Errand, Session, Unavailable, Wish, Work};
use crate::slab::Key;
use crate::timer::Owner;
use crate::transition::{self, ConnectionEvent, SessionEvent, SessionState};

/// The title of a session whose creator gave none.
const UNTITLED: &str = "New chat";

impl Hub {
    /// Does what a connection wants of a session, as soon as the session is in memory.
    pub(super) fn run_errand(&mut self, id: SessionId, asker: Asker, wish: Wish) {
        if matches!(wish, Wish::Join { .. }) {
            self.begin_join(asker.connection);
        }
        let known = self.session_keys.get(&id).copied();
        match known {
            Some(key) if self.is_at_hand(key, asker.connection) => self.fulfil(key, asker, wish),
            _ => self.wait_for_session(id, known, Errand { asker, wish }),
        }
    }

    /// Whether a session is in memory, and nobody waits for it before this connection. Who is in the session has nothing
    /// waiting there, so their frames keep their order.
    fn is_at_hand(&self, key: Key, id: ConnectionId) -> bool {
        let idle = |s: &Session| s.is_known() && (s.errands.is_empty() || self.session_of(id) == Some(key));
        self.sessions.get(key).is_some_and(idle)
    }

    /// Puts an errand in line, for a session that storage is asked for if nobody has.
    fn wait_for_session(&mut self, id: SessionId, known: Option<Key>, errand: Errand) {
        let waiting = known.and_then(|key| self.sessions.get(key)).map_or(0, |session| session.errands.len());
        if waiting >= limits::ERRANDS {
            self.overloaded(&errand.asker, "Too many requests wait for this session to be loaded");
        } else if known.is_none() && !self.has_room() {
            self.overloaded(&errand.asker, "Too many sessions are in use: try again soon");
        } else if errand.is_join() || self.admit_request(&errand.asker) {
            let key = known.unwrap_or_else(|| self.load_session(id));
            self.sessions[key].errands.push_back(errand);
            return;
        }
        self.give_up_errand(&errand);
    }

    fn load_session(&mut self, id: SessionId) -> Key {
        let key = self.sessions.insert(Session::loading(id));
        self.session_keys.insert(id, key);
        let request = self.request(Purpose::LoadSession { session: key });
        self.actions.push_back(Action::LoadSession { request, session: id });
        key
    }

    /// The session is in memory: may the asker have what they wish?
    fn fulfil(&mut self, key: Key, asker: Asker, wish: Wish) {
        // They may be gone, if the session had to be loaded first.
        let Some(member) = self.member(asker.connection).cloned() else { return };
        let session = &self.sessions[key];
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
        if errand.is_join() {
            self.join_failed(errand.asker.connection);
        }
    }

    fn denied(&mut self, asker: &Asker) {
        self.session_not_found(asker);
        self.join_failed(asker.connection);
    }

    fn begin_join(&mut self, id: ConnectionId) {
        transition::go(transition::CONNECTION, &mut self.connections[id.0].state, ConnectionEvent::Join);
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
        if !self.has_room() {
            return self.overloaded(&asker, "Too many sessions are in use: try again soon");
        }
        let user = self.user_served(asker.connection);
        let user = &mut self.users[user];
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
        let session = &mut self.sessions[key];
        if stored {
            transition::go(transition::SESSION, &mut session.state, SessionEvent::Created);
            session.record.system = None;
            self.attach(key, asker, None);
        } else {
            session.unavailable = Some(Unavailable::NotFound);
            self.storage_failed(asker);
            self.join_failed(asker.connection);
        }
        self.run_errands(key);
    }

    /// Storage has answered for a session: `None` when there is none such, an error when it could not.
    pub(super) fn session_loaded(&mut self, key: Key, loaded: Result<Option<SessionRecord>, ()>) {
        let session = &mut self.sessions[key];
        match loaded {
            // More messages than numbers that clients can count with: no storage of ours has that.
            Ok(Some(record)) if record.last_seq > limits::MAX_INTEGER => {
                session.unavailable = Some(Unavailable::StorageFailed);
            }
            Ok(Some(record)) if record.id == session.record.id => {
                // Only storage and the model need it, and it may be as long as a message.
                session.record = SessionRecord { system: None, ..record };
                transition::go(transition::SESSION, &mut session.state, SessionEvent::Loaded);
            }
            Ok(_) => session.unavailable = Some(Unavailable::NotFound),
            Err(()) => session.unavailable = Some(Unavailable::StorageFailed),
        }
        self.run_errands(key);
    }

    /// Whether somebody has waited for a session and can be served now.
    pub(super) fn has_errands_to_run(&self, key: Key) -> bool {
        self.sessions.get(key).is_some_and(Session::has_errands_to_run)
    }

    /// Serves those who have waited for a session, or turns them away: a few a call, and [`poll`](Hub::poll) goes on with
    /// the rest.
    pub(super) fn run_errands(&mut self, key: Key) {
        for _ in 0..limits::ERRANDS_AT_ONCE {
            let Some(session) = self.sessions.get_mut(key) else { return };
            let unavailable = session.unavailable;
            let Some(errand) = session.errands.pop_front() else { break };
            if !errand.is_join() {
                self.request_done(&errand.asker);
            }
            match unavailable {
                None => self.fulfil(key, errand.asker, errand.wish),
                Some(why) => {
                    match why {
                        Unavailable::NotFound => self.session_not_found(&errand.asker),
                        Unavailable::StorageFailed => self.storage_failed(&errand.asker),
                    }
                    self.give_up_errand(&errand);
                }
            }
        }
        match self.sessions.get(key) {
            Some(session) if !session.errands.is_empty() => self.session_ready(key),
            Some(session) if session.unavailable.is_some() => self.forget_session(key),
            _ => self.drop_if_unused(key),
        }
    }

    /// Removes a session that nobody waits for from memory.
    fn forget_session(&mut self, key: Key) {
        let mut session = self.sessions.remove(key).expect("who has it forgotten has just seen it");
        self.timers.set(self.now, Owner::Session(key), &mut session.armed, None);
        self.session_keys.remove(&session.record.id);
    }

    /// A session that nobody uses is in storage and need not be in memory.
    pub(super) fn drop_if_unused(&mut self, key: Key) {
        let Some(session) = self.sessions.get(key) else { return };
        if session.is_known() && session.is_unused() {
            self.forget_session(key);
        }
    }

    pub(super) fn storage_failed(&mut self, asker: &Asker) {
        self.refuse(asker, &storage_failure());
    }
}

pub(super) fn storage_failure() -> Refusal {
    Refusal::new(Code::StorageFailed, "Storage failed: nothing was saved, try again").after(1_000)
}
