//! Connections come, are recognized, and go; and time passes.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Action, Hub};
use crate::bucket::Bucket;
use crate::code::{CloseCode, NoticeCode};
use crate::connection::{Connection, User};
use crate::error::{ConnectError, Misuse};
use crate::event::Identity;
use crate::id::ConnectionId;
use crate::limits;
use crate::record::Member;
use crate::refusal::{Code, Refusal};
use crate::session::Asker;
use crate::slab::Key;
use crate::time::Instant;
use crate::timer::{Owner, Reason};
use crate::transition::{self, ConnectionEvent, ConnectionState};
use crate::wire::frames;

impl Hub {
    pub(super) fn open(&mut self) -> Result<ConnectionId, ConnectError> {
        if self.draining.is_some() {
            return Err(ConnectError::Draining);
        }
        let limit = self.limits.connections;
        if self.connections.len() >= limit {
            return Err(ConnectError::Full { limit });
        }
        let id = ConnectionId(self.connections.insert(Connection::new(self.now, self.limits.handshake)));
        self.arm(id);
        Ok(id)
    }

    pub(super) fn authenticated(&mut self, id: ConnectionId, identity: Identity) -> Result<(), Misuse> {
        let connection = self.connections.get_mut(id.0).ok_or(Misuse::UnknownConnection(id))?;
        match connection.state {
            // The verdict came too late to matter.
            ConnectionState::Closing | ConnectionState::Closed => Ok(()),
            ConnectionState::Connecting => {
                self.recognize(id, identity);
                Ok(())
            }
            _ => match connection.authenticating.take() {
                Some(reference) => {
                    self.renew(&Asker { connection: id, reference: *reference }, &identity);
                    Ok(())
                }
                None => Err(Misuse::NotAuthenticating(id)),
            },
        }
    }

    fn recognize(&mut self, id: ConnectionId, identity: Identity) {
        let Identity { user_id, username, role, expires } = identity;
        let known = self.user_keys.get(&user_id).copied();
        let most = self.limits.connections_per_user;
        // Before the user is made: one who may have no connection at all would never be forgotten.
        if known.and_then(|key| self.users.get(key)).map_or(0, |user| user.connections.len()) >= most {
            let refusal = Refusal::new(
                Code::TooManyConnections,
                alloc::format!("You have {most} connections open, which is the limit: close one first"),
            );
            self.refuse(&Asker { connection: id, reference: None }, &refusal);
            self.close(id, CloseCode::TooManyConnections, "Too many connections of this user".into());
            return;
        }
        let key = known.unwrap_or_else(|| self.new_user(Member { user_id, username }));
        let user = &mut self.users[key];
        user.connections.push(id);
        self.timers.set(self.now, Owner::User(key), &mut user.armed, None);
        let member = user.member.clone();
        let now = self.wall();
        let connection = &mut self.connections[id.0];
        transition::go(transition::CONNECTION, &mut connection.state, ConnectionEvent::Authenticated);
        connection.user = Some(key);
        connection.role = role;
        connection.expires = expires;
        self.reply(id, |out| frames::connection_established(out, &member.user_id, &member.username, role, now));
        if self.draining.is_some() {
            self.tell_draining(id);
        }
        self.arm(id);
    }

    fn new_user(&mut self, member: Member) -> Key {
        let (user_id, username) = (member.user_id.clone(), member.username.clone());
        let user = User {
            member,
            connections: Vec::new(),
            messages: Bucket::default(),
            created_sessions: Bucket::default(),
            armed: None,
        };
        let key = self.users.insert(user);
        self.user_keys.insert(user_id, key);
        self.user_names.insert((username, key));
        key
    }

    /// A fresh token on a living connection.
    fn renew(&mut self, asker: &Asker, identity: &Identity) {
        let id = asker.connection;
        let connection = &mut self.connections[id.0];
        let user = connection.user.and_then(|key| self.users.get(key));
        if user.is_none_or(|user| user.member.user_id != identity.user_id) {
            self.refuse_with(asker, Code::WrongUser, "The token is another user's: open another connection for it");
            return;
        }
        connection.role = identity.role;
        connection.expires = identity.expires;
        connection.warned = false;
        self.arm(id);
        let now = self.wall();
        self.reply(id, |out| {
            let context = frames::Context { reference: asker.reference.as_deref(), session: None };
            frames::notice(out, context, now, NoticeCode::TokenRenewed, "The token was accepted");
        });
    }

    pub(super) fn refused(&mut self, id: ConnectionId, reason: &str) -> Result<(), Misuse> {
        let connection = self.connections.get_mut(id.0).ok_or(Misuse::UnknownConnection(id))?;
        match connection.state {
            ConnectionState::Closing | ConnectionState::Closed => {}
            ConnectionState::Connecting => {
                let asker = Asker { connection: id, reference: None };
                self.refuse_with(&asker, Code::AuthenticationFailed, reason);
                self.close(id, CloseCode::Policy, String::from(reason).into());
            }
            _ => match connection.authenticating.take() {
                Some(reference) => {
                    self.refuse_with(
                        &Asker { connection: id, reference: *reference },
                        Code::AuthenticationFailed,
                        reason,
                    );
                }
                None => return Err(Misuse::NotAuthenticating(id)),
            },
        }
        Ok(())
    }

    /// Lets the last frames out and then closes. The first reason counts.
    pub(super) fn close(&mut self, id: ConnectionId, code: CloseCode, reason: Cow<'static, str>) {
        let connection = &mut self.connections[id.0];
        if !transition::go(transition::CONNECTION, &mut connection.state, ConnectionEvent::Close) {
            return;
        }
        connection.closing = Some(Box::new((code, reason)));
        connection.held.clear();
        self.forget_user(id);
        self.detach(id, true);
        self.arm(id);
        self.connection_ready(id);
    }

    pub(super) fn closed(&mut self, id: ConnectionId) -> Result<(), Misuse> {
        self.connection(id)?;
        self.forget_user(id);
        self.detach(id, true);
        let mut connection = self.connections.remove(id.0).expect("it was looked up above");
        self.timers.set(self.now, Owner::Connection(id), &mut connection.armed, None);
        Ok(())
    }

    /// A connection is no longer its user's. A user without connections is forgotten, but not before the rate limits
    /// have recovered: connecting anew gains nothing.
    fn forget_user(&mut self, id: ConnectionId) {
        let Some(key) = self.connections.get(id.0).and_then(|c| c.user) else { return };
        let Some(user) = self.users.get_mut(key) else { return };
        user.connections.retain(|c| *c != id);
        if user.connections.is_empty() {
            let recovered = user.messages.empty_at().max(user.created_sessions.empty_at());
            self.timers.set(self.now, Owner::User(key), &mut user.armed, Some((recovered, Reason::UserForgotten)));
        }
    }

    fn user_deadline(&mut self, key: Key) {
        let user = self.users.remove(key).expect("a deadline goes before what it is for");
        debug_assert!(user.connections.is_empty(), "who connects again has no deadline");
        self.user_keys.remove(&user.member.user_id);
        self.user_names.remove(&(user.member.username, key));
    }

    /// Sets a connection's nearest deadline.
    pub(super) fn arm(&mut self, id: ConnectionId) {
        let idle = self.limits.idle;
        let c = &mut self.connections[id.0];
        let deadline = match c.state {
            ConnectionState::Closing | ConnectionState::Closed => None,
            ConnectionState::Connecting => Some((c.expires, Reason::Handshake)),
            _ => {
                let expiry = if c.warned {
                    (c.expires, Reason::TokenExpired)
                } else {
                    let notice = c.expires.saturating_sub(limits::EXPIRY_NOTICE);
                    (notice, Reason::TokenExpiring)
                };
                let silent = (c.last_frame + idle, Reason::Idle);
                let typing = c.typing_until.map(|at| (at, Reason::Typing));
                Some(expiry.min(silent)).map(|first| typing.map_or(first, |t| first.min(t)))
            }
        };
        self.timers.set(self.now, Owner::Connection(id), &mut c.armed, deadline);
    }

    /// Time goes on, never back: what was to happen by now happens.
    pub(super) fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while let Some(owner) = self.timers.pop(self.now) {
            match owner {
                Owner::Hub => self.hub_deadline(),
                Owner::Connection(id) => self.connection_deadline(id),
                Owner::User(key) => self.user_deadline(key),
                Owner::Session(key) => self.session_deadline(key),
            }
        }
    }

    fn connection_deadline(&mut self, id: ConnectionId) {
        let (now, idle, wall) = (self.now, self.limits.idle, self.wall());
        let c = &mut self.connections[id.0];
        c.armed = None;
        if c.state == ConnectionState::Connecting {
            self.refuse_with(
                &Asker { connection: id, reference: None },
                Code::AuthenticationFailed,
                "The token was not verified in time: connect again",
            );
            self.close(id, CloseCode::Policy, "Not authenticated in time".into());
            return;
        }
        if now >= c.expires {
            self.refuse_with(
                &Asker { connection: id, reference: None },
                Code::AuthenticationFailed,
                "The token has expired: connect again with a fresh one",
            );
            self.close(id, CloseCode::Policy, "The token has expired".into());
            return;
        }
        if now >= c.last_frame + idle {
            self.close(id, CloseCode::Idle, "Idle for too long".into());
            return;
        }
        if c.typing_until.is_some_and(|at| now >= at) {
            self.set_typing(id, false);
        }
        let c = &mut self.connections[id.0];
        if !c.warned && now >= c.expires.saturating_sub(limits::EXPIRY_NOTICE) {
            c.warned = true;
            let seconds = c.expires.saturating_since(now).as_secs();
            let text = alloc::format!("The token expires in {seconds} s: send `authenticate` with a fresh one");
            self.reply(id, |out| {
                frames::notice(out, frames::Context::default(), wall, NoticeCode::TokenExpiring, &text);
            });
        }
        self.arm(id);
    }

    /// Nothing was said in a session for long.
    fn session_deadline(&mut self, key: Key) {
        let session = &mut self.sessions[key];
        session.armed = None;
        let live = |id: &ConnectionId| {
            self.connections.get(id.0).and_then(|c| c.reader.as_ref()).is_none_or(|reader| reader.live)
        };
        if session.may_forget(session.readers.iter().all(live)) {
            session.log = None;
            return;
        }
        let later = (self.now + limits::LOG_KEPT, Reason::LogForgotten);
        self.timers.set(self.now, Owner::Session(key), &mut session.armed, Some(later));
    }

    pub(super) fn drain(&mut self, until: Instant) {
        if self.draining.is_some() {
            return;
        }
        self.draining = Some(until);
        for id in self.open_connections() {
            // Whoever is not recognized yet is told after the greeting.
            if self.connections.get(id.0).is_some_and(|c| c.user.is_some()) {
                self.tell_draining(id);
            }
        }
        let cut = until.saturating_sub(limits::DRAIN_GRACE).max(self.now);
        self.timers.set(self.now, Owner::Hub, &mut self.armed, Some((cut, Reason::DrainGenerations)));
        self.advance(self.now);
    }

    fn tell_draining(&mut self, id: ConnectionId) {
        let now = self.wall();
        self.reply(id, |out| {
            let text = "The server is about to stop: connect again soon";
            frames::notice(out, frames::Context::default(), now, NoticeCode::ServerDraining, text);
        });
    }

    fn open_connections(&self) -> Vec<ConnectionId> {
        self.connections.iter().filter(|(_, c)| c.is_open()).map(|(key, _)| ConnectionId(key)).collect()
    }

    fn hub_deadline(&mut self) {
        self.armed = None;
        let until = self.draining.expect("the hub's only deadline is that of its end");
        if !self.generations_cut {
            self.generations_cut = true;
            let running: Vec<Key> = self.generations.values().copied().collect();
            for session in running {
                self.stop_running(session);
            }
        }
        if self.now < until {
            self.timers.set(self.now, Owner::Hub, &mut self.armed, Some((until, Reason::Drain)));
            return;
        }
        for id in self.open_connections() {
            self.close(id, CloseCode::GoingAway, "The server is stopping".into());
        }
    }

    pub(super) fn writable(&mut self, id: ConnectionId, credit: u32) -> Result<(), Misuse> {
        let connection = self.connections.get_mut(id.0).ok_or(Misuse::UnknownConnection(id))?;
        connection.credit = connection.credit.saturating_add(i64::from(credit));
        let lags = connection.reader.is_some_and(|r| !r.live) || !connection.replies.is_empty();
        if connection.credit > 0 && lags {
            self.connection_ready(id);
        }
        Ok(())
    }

    /// Reads again from a connection whose queues have room.
    pub(super) fn resume_if_room(&mut self, id: ConnectionId) {
        let frame_bytes = self.limits.frame_bytes;
        if let Some(connection) = self.connections.get_mut(id.0)
            && connection.paused
            && !connection.is_busy()
            && connection.held.is_empty()
            && !connection.is_full(frame_bytes, 1)
        {
            connection.paused = false;
            self.actions.push_back(Action::ResumeReading { connection: id });
        }
    }
}
