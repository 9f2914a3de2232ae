//! What the hub knows of one connection.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::action::RequestId;
use crate::bucket::Bucket;
use crate::code::CloseCode;
use crate::event::Role;
use crate::id::ConnectionId;
use crate::limits;
use crate::log::Cursor;
use crate::queue::Frames;
use crate::record::Member;
use crate::slab::Key;
use crate::time::Instant;
use crate::timer::Armed;
use crate::transition::ConnectionState;

/// One connection. Most are idle most of the time, so what only some need at some time is a word when it is not there.
pub(crate) struct Connection {
    pub(crate) state: ConnectionState,
    /// Since the token was accepted.
    pub(crate) user: Option<Key>,
    pub(crate) role: Role,
    /// When the token expires; before there is a verdict on it, by when there must be one.
    pub(crate) expires: Instant,
    /// Whether it was told that its token is about to expire.
    pub(crate) warned: bool,
    pub(crate) last_frame: Instant,
    /// Bytes of text that its transport can take; may fall below zero by one frame.
    pub(crate) credit: i64,
    /// Frames for it alone.
    pub(crate) replies: Frames,
    /// Its own frames that wait until it is known or has its session.
    pub(crate) held: Frames,
    pub(crate) paused: bool,
    pub(crate) reader: Option<Reader>,
    /// Storage reads in flight for it.
    pub(crate) requests: u16,
    pub(crate) frames: Bucket,
    pub(crate) typing_until: Option<Instant>,
    /// The `id` of an `authenticate` frame without its verdict yet.
    pub(crate) authenticating: Option<Box<Option<String>>>,
    pub(crate) closing: Option<Box<(CloseCode, Cow<'static, str>)>>,
    pub(crate) armed: Option<Armed>,
    /// Whether it stands in the hub's queue of connections with something to do.
    pub(crate) ready: bool,
}

/// A connection's place in a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    pub(crate) session: Key,
    /// Its own place while not live; the session's shared one holds while it is.
    pub(crate) cursor: Cursor,
    /// At the session's shared cursor, with credit: served by the broadcast.
    pub(crate) live: bool,
    /// The messages that are on their way from storage. After it joined again an answer may come that it did not ask for.
    pub(crate) fetching: Option<RequestId>,
}

impl Connection {
    /// One that opens now, and whose token must be judged within `handshake`.
    pub(crate) fn new(now: Instant, handshake: Duration) -> Connection {
        Connection {
            state: ConnectionState::Connecting,
            user: None,
            role: Role::User,
            expires: now + handshake,
            warned: false,
            last_frame: now,
            credit: 0,
            replies: Frames::default(),
            held: Frames::default(),
            paused: false,
            reader: None,
            requests: 0,
            frames: Bucket::default(),
            typing_until: None,
            authenticating: None,
            closing: None,
            armed: None,
            ready: false,
        }
    }

    /// Whether its frames must wait.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.state, ConnectionState::Connecting | ConnectionState::Joining)
    }

    /// Whether it is open for anything but its end.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.state, ConnectionState::Closing | ConnectionState::Closed)
    }

    /// Whether a frame that was held can be served now: its answer has room.
    pub(crate) fn may_serve_held(&self) -> bool {
        let room = self.replies.len() < limits::REPLIES && self.replies.bytes() < limits::REPLY_BYTES;
        !self.held.is_empty() && self.is_open() && !self.is_busy() && room
    }

    /// How full its queues are, against `factor` times their limits.
    pub(crate) fn is_full(&self, frame_bytes: usize, factor: usize) -> bool {
        self.replies.len() >= limits::REPLIES * factor
            || self.replies.bytes() >= limits::REPLY_BYTES * factor
            || self.held.len() >= limits::HELD_FRAMES * factor
            || self.held.bytes() >= frame_bytes * factor
    }
}

/// One user, while connected.
pub(crate) struct User {
    pub(crate) member: Member,
    pub(crate) connections: Vec<ConnectionId>,
    pub(crate) messages: Bucket,
    pub(crate) created_sessions: Bucket,
    pub(crate) armed: Option<Armed>,
}

impl User {
    /// When nothing of their rates is used up any more.
    pub(crate) fn recovered(&self) -> Instant {
        self.messages.empty_at().max(self.created_sessions.empty_at())
    }
}
