//! Everything the hub asks of its runtime: [`Output`].

use crate::id::{ConnectionId, MessageId, SessionId};
use crate::record::{MessageRecord, SessionRecord};
use crate::time::UnixMicros;
use crate::wire::Sampling;

/// One thing for the runtime to do, given to the sink of [`Hub::poll`](crate::Hub::poll).
///
/// It borrows from the hub: copy what outlives the call. `Debug` shows people's words and tokens, so it is for tests and
/// not for logs. New kinds may come with a minor version; a runtime that meets one says so, and answers what must be
/// answered with a failure, so that nobody waits for ever.
///
/// ```
/// use causerie_core::{Input, Output};
///
/// /// What a runtime without storage and without a model does.
/// fn perform(output: Output<'_>) -> Option<Input<'static>> {
///     match output {
///         Output::Store { request, .. } => Some(Input::StoreFailed { request }),
///         Output::Load { request, .. } => Some(Input::LoadFailed { request }),
///         Output::Generate { generation, .. } => Some(Input::GenerationFailed {
///             generation,
///             failure: causerie_core::GenerationFailure::Unavailable,
///         }),
///         Output::Authenticate { connection, .. } => Some(Input::Refused { connection, reason: "nobody is known here" }),
///         Output::Send { .. } | Output::Close { .. } => None, // to the sockets
///         _ => None,
///     }
/// }
/// assert!(perform(Output::ReloadModel).is_none());
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Output<'a> {
    /// Send one text frame to each of some connections. It was encoded once: copy it once, and share the copy. What one
    /// connection is sent keeps its order.
    Send {
        /// To whom, without repeats.
        to: &'a [ConnectionId],
        /// The JSON text.
        frame: &'a str,
    },
    /// Close a connection once what was sent before is written. Afterwards the runtime gives
    /// [`Input::Closed`](crate::Input::Closed).
    Close {
        /// Which.
        connection: ConnectionId,
        /// RFC 6455 close code, or one of the protocol's own: the number of a [`CloseCode`](crate::CloseCode).
        code: u16,
        /// At most 123 bytes of UTF-8.
        reason: &'a str,
    },
    /// Verify a token that came in an `authenticate` frame; answered by
    /// [`Input::Authenticated`](crate::Input::Authenticated) or [`Input::Refused`](crate::Input::Refused).
    Authenticate {
        /// Whose.
        connection: ConnectionId,
        /// The token, opaque to the core.
        token: &'a str,
    },
    /// Commit a write; answered by [`Input::Stored`](crate::Input::Stored) or
    /// [`Input::StoreFailed`](crate::Input::StoreFailed), in any order among requests. Writes may share a commit but
    /// take effect in this order. A session has one write under way at a time.
    Store {
        /// To name in the answer.
        request: RequestId,
        /// What to write.
        write: Write<'a>,
    },
    /// Read; answered by [`Input::Loaded`](crate::Input::Loaded) or [`Input::LoadFailed`](crate::Input::LoadFailed).
    /// Sees every write given before it.
    Load {
        /// To name in the answer.
        request: RequestId,
        /// What to read.
        query: Query<'a>,
    },
    /// Let the model answer a message: the conversation is the path from the root to `prompt` in storage, after the
    /// session's system prompt. Where a user's message follows another user's in it, it came while that one was being
    /// answered, or stands beside one that did; then an answer to the earlier message stands between them: the first
    /// that was stored after the later message and before any answer to it, or else the last that was stored before the
    /// later message, if there is one. Answered by [`Input::Token`](crate::Input::Token)s and one end.
    Generate {
        /// To name in the answers.
        generation: GenerationId,
        /// Of which session.
        session: SessionId,
        /// The message to answer: the leaf of the conversation.
        prompt: MessageId,
        /// The user id of whoever asked for it, for quotas: the message's author, or who had it answered again.
        asker: &'a str,
        /// How to sample, where the client said so.
        sampling: &'a Sampling,
    },
    /// End a generation early. It still ends with [`Input::Generated`](crate::Input::Generated) (`Stopped`), and its text
    /// so far is kept. It may have ended meanwhile: then there is nothing to do.
    Cancel {
        /// Which.
        generation: GenerationId,
    },
    /// An admin wants the model loaded anew; the backend goes down and up.
    ReloadModel,
    /// Read no more from this connection until [`Output::ResumeReading`]. What was read already may still be given,
    /// within [`limits::PAUSED_FACTOR`](crate::limits::PAUSED_FACTOR).
    PauseReading {
        /// Which.
        connection: ConnectionId,
    },
    /// Read from it again.
    ResumeReading {
        /// Which.
        connection: ConnectionId,
    },
}

/// Names one storage request until it is answered. Numbers rise and are never used again in a hub's life, so a runtime may
/// use them as keys, or write them into a log: 2^64 of them last for centuries, and after that numbers begin anew, past those
/// that are still open.
///
/// ```
/// use causerie_core::RequestId;
///
/// assert!(RequestId(7) > RequestId(6));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names one generation until it ends. Numbers rise and are never used again in a hub's life, as [`RequestId`]s.
///
/// ```
/// use causerie_core::GenerationId;
///
/// assert!(GenerationId(7) > GenerationId(6));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(pub u64);

/// A change to storage: all of it or nothing. No id that a write names is unknown to storage, unless its session was
/// deleted.
///
/// ```
/// use std::collections::BTreeMap;
/// use causerie_core::{SessionId, SessionRecord, UnixMicros, Uuid, Write};
///
/// /// A part of storage in memory. `false`: the write failed and left nothing.
/// fn write(sessions: &mut BTreeMap<SessionId, SessionRecord>, write: Write<'_>) -> bool {
///     match write {
///         Write::CreateSession(record) => sessions.insert(record.id, record.clone()).is_none(),
///         Write::RenameSession { session, title } => {
///             sessions.get_mut(&session).map(|record| record.title = title.into()).is_some()
///         }
///         Write::DeleteSession { session } => sessions.remove(&session).is_some(),
///         _ => false, // and so on
///     }
/// }
/// let nobodys = SessionId(Uuid([0; 16]));
/// assert!(!write(&mut BTreeMap::new(), Write::EndSession { session: nobodys, at: UnixMicros(0) }));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Write<'a> {
    /// A new session, its owner among its members.
    CreateSession(&'a SessionRecord),
    /// A new message; its session's last `seq` and last activity follow from it.
    Message(&'a MessageRecord),
    /// A user may join from now on.
    Invite {
        /// Which session.
        session: SessionId,
        /// By name, since they may never have been here.
        username: &'a str,
    },
    /// An invited user has joined and is a member now; their invitation is used up.
    Member {
        /// Which session.
        session: SessionId,
        /// Who.
        user_id: &'a str,
        /// Under which name.
        username: &'a str,
    },
    /// The conversation goes on from a message of the session that is in storage already: what
    /// [`SessionRecord::last_message`] is from now on.
    Continue {
        /// Which session.
        session: SessionId,
        /// From which of its messages.
        message: MessageId,
    },
    /// The session takes no more messages.
    EndSession {
        /// Which.
        session: SessionId,
        /// When.
        at: UnixMicros,
    },
    /// A new title.
    RenameSession {
        /// Which.
        session: SessionId,
        /// The title.
        title: &'a str,
    },
    /// The session and all its messages, for good.
    DeleteSession {
        /// Which.
        session: SessionId,
    },
}

/// A question to storage, answered by the [`Loaded`](crate::Loaded) of the same name.
///
/// ```
/// use causerie_core::{MessageRecord, Query};
///
/// /// One session's messages by rising `seq`, and the page of them that is asked for.
/// fn page<'a>(all: &'a [MessageRecord], query: &Query<'_>) -> (&'a [MessageRecord], bool) {
///     let Query::Messages { before, limit, .. } = query else { return (&[], false) };
///     let older = &all[..all.partition_point(|message| message.seq < *before)];
///     let from = older.len().saturating_sub(*limit as usize);
///     (&older[from..], from > 0)
/// }
/// assert_eq!(page(&[], &Query::Totals), (&[][..], false));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Query<'a> {
    /// One session with its members and invitations.
    Session(SessionId),
    /// The sessions that a user is a member of or invited to, not deleted, most recently active first.
    Sessions {
        /// Whose, as a member.
        user_id: &'a str,
        /// Whose, as an invited one.
        username: &'a str,
        /// At most this many.
        limit: u32,
    },
    /// The last messages of a session before a `seq`, by rising `seq`; none, where there is no such session.
    Messages {
        /// Of which session.
        session: SessionId,
        /// Only those with a smaller `seq`; `u64::MAX` for the newest.
        before: u64,
        /// At most this many.
        limit: u32,
    },
    /// One message, if the session has it.
    Message {
        /// Of which session; a message of another one is not found.
        session: SessionId,
        /// Which.
        message: MessageId,
    },
    /// What was stored for a user's `client_id`, to recognize a repeated message. An index, in a database.
    ClientMessage {
        /// In which session.
        session: SessionId,
        /// Whose.
        user_id: &'a str,
        /// The client's own id.
        client_id: &'a str,
    },
    /// How much there is, for `/stat`.
    Totals,
}
