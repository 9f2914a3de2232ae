//! A client's frame arrives.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use super::{Action, Hub, Purpose};
use crate::error::Misuse;
use crate::id::{ConnectionId, SessionId};
use crate::limits;
use crate::record::Member;
use crate::refusal::{Code, Refusal};
use crate::session::{Asker, OwnedSince, Wish, Work};
use crate::slab::Key;
use crate::transition::SessionState;
use crate::wire::decode::{self, ClientFrame, Since};
use crate::wire::frames;

impl Hub {
    pub(super) fn frame(&mut self, id: ConnectionId, text: &str) -> Result<(), Misuse> {
        self.catch_up(id);
        let (rate, now, frame_bytes) = (self.frame_rate(), self.now, self.limits.frame_bytes);
        let connection = self.connections.get_mut(id.0).ok_or(Misuse::UnknownConnection(id))?;
        if !connection.is_open() {
            // The peer had not heard of the close yet.
            return Ok(());
        }
        if connection.is_full(frame_bytes, limits::PAUSED_FACTOR) {
            return Err(Misuse::Paused(id));
        }
        connection.last_frame = now;
        if text.len() > frame_bytes {
            self.frame_too_large(id, format!("A frame has {} bytes, more than {frame_bytes}", text.len()));
            return Ok(());
        }
        if let Err(wait) = connection.frames.take(rate, now) {
            let each = self.limits.frames_per_second;
            let refusal = Refusal::new(Code::TooManyFrames, format!("More than {each} frames a second")).after(wait);
            self.refuse(&Asker { connection: id, reference: decode::reference(text) }, &refusal);
            return Ok(());
        }
        if connection.is_busy() || !connection.held.is_empty() {
            connection.held.push(text);
            self.pause_if_full(id);
        } else {
            self.serve(id, text);
        }
        Ok(())
    }

    /// Serves the frames that were held, each a piece of work, until one makes the connection busy again.
    pub(super) fn serve_held(&mut self, id: ConnectionId, pieces: &mut usize) {
        while *pieces > 0
            && let Some(connection) = self.connections.get_mut(id.0)
            && connection.may_serve_held()
            && let Some(text) = connection.held.pop()
        {
            *pieces -= 1;
            self.serve(id, &text);
        }
        self.resume_if_room(id);
    }

    fn serve(&mut self, id: ConnectionId, text: &str) {
        let (reference, decoded) = decode::decode(text, self.limits.message_bytes);
        let asker = Asker { connection: id, reference };
        match decoded {
            Ok(frame) => self.dispatch(asker, frame),
            Err(refused) => self.refuse_with(&asker, refused.code, &refused.message),
        }
    }

    fn dispatch(&mut self, asker: Asker, frame: ClientFrame<'_>) {
        match frame {
            ClientFrame::Ping => self.ping(&asker),
            ClientFrame::JoinSession { session: Some(session), since } => {
                self.run_errand(session, asker, Wish::Join { since: since.map(owned) });
            }
            ClientFrame::JoinSession { session: None, .. } => self.session_not_found(&asker),
            ClientFrame::CreateSession { title, system } => {
                self.create(asker, title.as_deref(), system.map(Cow::into_owned));
            }
            ClientFrame::LeaveSession => self.leave(&asker),
            ClientFrame::ChatMessage(message) => self.chat(asker, message),
            ClientFrame::StopGeneration { message } => self.stop(&asker, message),
            ClientFrame::Typing { is_typing } => self.person_types(&asker, is_typing),
            ClientFrame::Invite { username } => self.invite(asker, username.into_owned()),
            ClientFrame::RenameSession { session, title } => {
                self.change(asker, session, Wish::Rename { title: title.into_owned() });
            }
            ClientFrame::DeleteSession { session } => self.change(asker, session, Wish::Delete),
            ClientFrame::ListSessions { limit } => {
                let most = limits::LISTED_SESSIONS;
                let limit = limit.map_or(most, |n| u32::try_from(n).unwrap_or(most).min(most));
                self.list_sessions(asker, None, limit);
            }
            ClientFrame::History { before, limit } => self.history(asker, before, limit),
            ClientFrame::Authenticate { token } => self.authenticate(asker, token.into_owned()),
            ClientFrame::Regenerate { message, sampling } => self.regenerate(asker, message, sampling),
            ClientFrame::EditMessage { edited, message } => self.edit(asker, edited, message),
        }
    }

    fn ping(&mut self, asker: &Asker) {
        let now = self.wall();
        self.reply(asker.connection, |out| {
            frames::pong(out, frames::Context { reference: asker.reference.as_deref(), session: None }, now);
        });
    }

    pub(super) fn session_not_found(&mut self, asker: &Asker) {
        self.refuse_with(asker, Code::SessionNotFound, "Session not found or access denied");
    }

    pub(super) fn not_in_session(&mut self, asker: &Asker) {
        self.refuse_with(asker, Code::NotInSession, "Not connected to a session");
    }

    /// Whose connection it is that is served, or that takes part in a session: there is nobody who does before being
    /// recognized, and a user is forgotten only after all their connections have gone.
    pub(super) fn user_served(&self, id: ConnectionId) -> Key {
        self.connections[id.0].user.expect("only who is recognized is served")
    }

    pub(super) fn member_served(&self, id: ConnectionId) -> &Member {
        &self.users[self.user_served(id)].member
    }

    /// Who a connection is, if it is still there and recognized.
    pub(super) fn member(&self, id: ConnectionId) -> Option<&Member> {
        let user = self.connections.get(id.0).and_then(|connection| connection.user);
        user.and_then(|key| self.users.get(key)).map(|user| &user.member)
    }

    /// A change of a session, of the connection's own one where it names none.
    fn change(&mut self, asker: Asker, session: Option<SessionId>, wish: Wish) {
        let own = self.session_of(asker.connection).and_then(|key| self.sessions.get(key)).map(|s| s.record.id);
        match session.or(own) {
            Some(session) => self.run_errand(session, asker, wish),
            None => self.not_in_session(&asker),
        }
    }

    fn invite(&mut self, asker: Asker, username: String) {
        let Some(key) = self.session_of(asker.connection) else { return self.not_in_session(&asker) };
        let (session, member) = (&self.sessions[key], self.member_served(asker.connection));
        if session.record.owner != member.user_id {
            return self.refuse_with(&asker, Code::NotOwner, "Only the session's owner can invite");
        }
        let on_the_way = session.in_flight.iter().map(|i| &i.work).chain(&session.work);
        let on_the_way = on_the_way.filter(|work| matches!(work, Work::Invite { .. })).count();
        if session.record.members.len() + session.record.invited.len() + on_the_way >= limits::MEMBERS {
            let message = format!("The session has {} people, which is the limit", limits::MEMBERS);
            return self.refuse_with(&asker, Code::TooManyMembers, &message);
        }
        let by = member.username.clone();
        self.add_work(key, Work::Invite { asker, username, by });
    }

    /// Puts a change of a session in line for storage.
    pub(super) fn add_work(&mut self, key: Key, work: Work) {
        let session = &mut self.sessions[key];
        let waiting = session.work.len() - session.queued_messages();
        if session.state != SessionState::Ended && waiting < limits::QUEUED_CHANGES {
            session.work.push_back(work);
            return self.pump(key);
        }
        let refusal = if session.state == SessionState::Ended {
            Refusal::new(Code::SessionEnded, "The session has ended")
        } else {
            Refusal::new(Code::Overloaded, "Too many changes of this session wait for storage").after(1_000)
        };
        self.give_up_work(&work, &refusal);
    }

    pub(super) fn overloaded(&mut self, asker: &Asker, message: &str) {
        self.refuse(asker, &Refusal::new(Code::Overloaded, message).after(1_000));
    }

    /// Counts a storage read of a connection, or refuses it.
    pub(super) fn admit_request(&mut self, asker: &Asker) -> bool {
        if self.requests.len() >= self.limits.requests {
            self.overloaded(asker, "Too many requests wait for storage: try again soon");
            return false;
        }
        let connection = &mut self.connections[asker.connection.0];
        if connection.requests >= limits::REQUESTS_PER_CONNECTION {
            self.overloaded(asker, "Too many of your requests wait for storage");
            return false;
        }
        connection.requests += 1;
        true
    }

    pub(super) fn list_sessions(&mut self, asker: Asker, command: Option<String>, limit: u32) {
        let Member { user_id, username } = self.member_served(asker.connection).clone();
        if self.admit_request(&asker) {
            let request = self.request(Purpose::Sessions { asker, command });
            self.actions.push_back(Action::LoadSessions { request, user_id, username, limit });
        }
    }

    fn history(&mut self, asker: Asker, before: Option<u64>, limit: Option<u64>) {
        let Some(key) = self.session_of(asker.connection) else { return self.not_in_session(&asker) };
        if self.sessions[key].is_being_deleted() {
            // Storage may have deleted its messages by now, or not.
            return self.refuse_with(&asker, Code::SessionEnded, "The session is being deleted");
        }
        let session = self.sessions[key].record.id;
        if self.admit_request(&asker) {
            let most = limits::PAGE_MESSAGES;
            let limit = limit.unwrap_or(u64::from(limits::PAGE_MESSAGES_DEFAULT)).clamp(1, u64::from(most));
            let limit = u32::try_from(limit).unwrap_or(most);
            let before = before.unwrap_or(u64::MAX);
            let request = self.request(Purpose::History { asker, session });
            self.actions.push_back(Action::LoadMessages { request, session, before, limit });
        }
    }

    fn authenticate(&mut self, asker: Asker, token: String) {
        let connection = &mut self.connections[asker.connection.0];
        if connection.authenticating.is_some() {
            return self.overloaded(&asker, "Another token of yours is being verified");
        }
        connection.authenticating = Some(Box::new(asker.reference));
        self.actions.push_back(Action::Authenticate { connection: asker.connection, token });
    }

    /// The session that a connection is in.
    pub(super) fn session_of(&self, id: ConnectionId) -> Option<Key> {
        self.connections.get(id.0)?.reader.map(|r| r.session)
    }

    fn person_types(&mut self, asker: &Asker, is_typing: bool) {
        let Some(key) = self.session_of(asker.connection) else { return self.not_in_session(asker) };
        if self.sessions.get(key).is_some_and(|s| s.state == SessionState::Ended) {
            return;
        }
        self.set_typing(asker.connection, is_typing);
    }

    /// Tells the others that a person types or has stopped; telling it again only prolongs it.
    pub(super) fn set_typing(&mut self, id: ConnectionId, is_typing: bool) {
        let until = is_typing.then(|| self.now + limits::TYPING);
        let connection = &mut self.connections[id.0];
        let before = core::mem::replace(&mut connection.typing_until, until);
        if connection.is_open() {
            self.arm(id);
        }
        if before.is_some() == is_typing {
            return;
        }
        // Only who is in a session types, and who leaves it ends that first.
        let (user, session) = (self.user_served(id), self.reader(id).session);
        let member = self.users[user].member.clone();
        let now = self.wall();
        self.announce(session, Some(user), |out, session| {
            frames::typing(out, session, now, &frames::Typist::User(&member), is_typing);
        });
    }
}

fn owned(since: Since<'_>) -> OwnedSince {
    OwnedSince { epoch: since.epoch.into_owned(), seq: since.seq, partial: since.partial }
}
