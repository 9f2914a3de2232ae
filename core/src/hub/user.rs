//! Who is here, and whose rates are remembered for a while after they have left.

use alloc::vec::Vec;

use super::Hub;
use crate::bucket::Bucket;
use crate::code::CloseCode;
use crate::connection::User;
use crate::event::Identity;
use crate::id::ConnectionId;
use crate::limits;
use crate::record::Member;
use crate::refusal::{Code, Refusal};
use crate::session::Asker;
use crate::slab::Key;
use crate::timer::{Owner, Reason};
use crate::transition::{self, ConnectionEvent};
use crate::wire::frames;

impl Hub {
    /// The token of a new connection is good.
    pub(super) fn recognize(&mut self, id: ConnectionId, identity: Identity) {
        let Identity { user_id, username, role, expires } = identity;
        // Both go out in frames and are kept with every message: nobody else is to pay for a long one.
        for (what, text, most) in
            [("id", &user_id, limits::USER_ID_BYTES), ("username", &username, limits::USERNAME_BYTES)]
        {
            if text.len() > most {
                let message = alloc::format!("The user's {what} has {} bytes, more than {most}", text.len());
                self.refuse_with(&Asker { connection: id, reference: None }, Code::AuthenticationFailed, &message);
                return self.close(id, CloseCode::Policy, message.into());
            }
        }
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
        self.has_come(key, id);
        let member = self.users[key].member.clone();
        let now = self.wall();
        let connection = &mut self.connections[id.0];
        transition::go(transition::CONNECTION, &mut connection.state, ConnectionEvent::Authenticated);
        connection.user = Some(key);
        connection.role = role;
        connection.expires = expires;
        self.reply(id, |out| frames::connection_established(out, &member.user_id, &member.username, role, now));
        self.tell_of_drain_begun(id);
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

    /// A connection is a user's from now on.
    fn has_come(&mut self, key: Key, id: ConnectionId) {
        let user = &mut self.users[key];
        if user.connections.is_empty() {
            self.remembered.remove(&(user.recovered(), key));
        }
        user.connections.push(id);
        self.timers.set(self.now, Owner::User(key), &mut user.armed, None);
    }

    /// A connection is no longer its user's. A user without connections is forgotten, but not before the rate limits
    /// have recovered: connecting anew gains nothing.
    ///
    /// No more than [`limits::REMEMBERED_USERS`] are remembered so. Beyond, those are forgotten whose rates would recover
    /// the soonest, so the least is forgiven: to get rid of their own limits, somebody must let as many others use up
    /// theirs.
    pub(super) fn forget_user(&mut self, id: ConnectionId) {
        let Some(key) = self.connections.get(id.0).and_then(|c| c.user) else { return };
        let Some(user) = self.users.get_mut(key) else { return };
        user.connections.retain(|c| *c != id);
        if !user.connections.is_empty() {
            return;
        }
        let recovered = user.recovered();
        self.timers.set(self.now, Owner::User(key), &mut user.armed, Some((recovered, Reason::UserForgotten)));
        self.remembered.insert((recovered, key));
        if self.remembered.len() > limits::REMEMBERED_USERS
            && let Some(&(_, soonest)) = self.remembered.first()
        {
            self.forget(soonest);
        }
    }

    pub(super) fn user_deadline(&mut self, key: Key) {
        self.users[key].armed = None;
        self.forget(key);
    }

    /// Nothing is known any more of a user who has no connection.
    fn forget(&mut self, key: Key) {
        let Some(mut user) = self.users.remove(key) else { return };
        self.timers.set(self.now, Owner::User(key), &mut user.armed, None);
        self.remembered.remove(&(user.recovered(), key));
        self.user_keys.remove(&user.member.user_id);
        self.user_names.remove(&(user.member.username, key));
    }
}
