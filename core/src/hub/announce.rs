//! What everybody in a session is told goes into its log.

use alloc::collections::BTreeMap;
use alloc::string::String;

use super::Hub;
use crate::id::SessionId;
use crate::limits;
use crate::log::{Entry, Mark};
use crate::record::Member;
use crate::slab::Key;
use crate::timer::{Owner, Reason};
use crate::transition::SessionState;
use crate::wire::frames;

impl Hub {
    /// The users of a session's connections, each once.
    pub(super) fn participants(&self, key: Key) -> impl Iterator<Item = (&str, &str)> {
        let users: BTreeMap<&str, &str> = self.sessions[key]
            .readers
            .iter()
            .filter_map(|id| self.member(*id))
            .map(|member| (member.user_id.as_str(), member.username.as_str()))
            .collect();
        users.into_iter()
    }

    /// Tells the others that a user came or went.
    pub(super) fn tell_presence(&mut self, key: Key, user: Key, member: &Member, joined: bool) {
        let session = &self.sessions[key];
        if session.state == SessionState::Ended {
            return;
        }
        let id = session.record.id;
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
        let except = except.map(|user| self.users[user].member.user_id.as_str().into());
        let session = &mut self.sessions[key];
        write(&mut self.frame, session.record.id);
        let frame = self.frame.as_str().into();
        let before = seq.map_or(session.record.last_seq, |seq| seq - 1);
        session.log_after(before).push(Entry { frame, seq, except, mark }, log_bytes);
        let forgotten = (self.now + limits::LOG_KEPT, Reason::LogForgotten);
        self.timers.set(self.now, Owner::Session(key), &mut session.armed, Some(forgotten));
        self.session_ready(key);
    }
}
