//! Time passes: what was to happen by now happens.

use super::Hub;
use crate::code::{CloseCode, NoticeCode};
use crate::id::ConnectionId;
use crate::limits;
use crate::refusal::Code;
use crate::session::Asker;
use crate::slab::Key;
use crate::time::Instant;
use crate::timer::{Owner, Reason};
use crate::transition::ConnectionState;
use crate::wire::frames;

impl Hub {
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

    /// Time goes on, never back: what was to happen by now happens, as much of it as one call may do. Where that is not
    /// all, [`next_deadline`](Hub::next_deadline) stays in the past, and [`poll`](Hub::poll) and the next inputs go on.
    pub(super) fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let mut moves = limits::DEADLINE_MOVES;
        for _ in 0..limits::DEADLINES {
            match self.timers.pop(self.now, &mut moves) {
                Some(Owner::Hub) => self.drain_deadline(),
                Some(Owner::Connection(id)) => self.connection_deadline(id),
                Some(Owner::User(key)) => self.user_deadline(key),
                Some(Owner::Session(key)) => self.session_deadline(key),
                None => break,
            }
        }
        self.go_on_draining();
        self.late = self.timers.is_due(self.now) || self.has_to_drain();
    }

    /// What was to happen to a connection by now happens before it is served, also while there is so much that others
    /// wait for theirs: nobody profits from that by a token that has expired.
    pub(super) fn catch_up(&mut self, id: ConnectionId) {
        if !self.timers.is_due(self.now) {
            return;
        }
        let Some(connection) = self.connections.get_mut(id.0) else { return };
        if connection.armed.as_ref().is_some_and(|armed| self.timers.at(armed) <= self.now) {
            self.timers.set(self.now, Owner::Connection(id), &mut connection.armed, None);
            self.connection_deadline(id);
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
}
