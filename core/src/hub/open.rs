//! Connections come, are judged by their tokens, and go.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;

use super::{Action, Hub};
use crate::code::{CloseCode, NoticeCode};
use crate::connection::Connection;
use crate::error::{ConnectError, Misuse};
use crate::event::Identity;
use crate::id::ConnectionId;
use crate::limits;
use crate::refusal::Code;
use crate::session::Asker;
use crate::timer::Owner;
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
        self.catch_up(id);
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
        self.catch_up(id);
        let reason = limits::cut(reason, limits::REASON_BYTES);
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
        // Its user is named in what others are told of that, so is known until then.
        self.detach(id, true);
        self.forget_user(id);
        self.arm(id);
        self.connection_ready(id);
    }

    pub(super) fn closed(&mut self, id: ConnectionId) -> Result<(), Misuse> {
        self.connection(id)?;
        // Its user is named in what others are told of that, so is known until then.
        self.detach(id, true);
        self.forget_user(id);
        let mut connection = self.connections.remove(id.0).expect("it was looked up above");
        self.timers.set(self.now, Owner::Connection(id), &mut connection.armed, None);
        Ok(())
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
