//! Everything the hub asks of its runtime: [`Output`].

use crate::id::{ConnectionId, MessageId, SessionId};
use crate::record::{MessageRecord, SessionRecord};
use crate::time::UnixMicros;
use crate::wire::Sampling;

/// One thing for the runtime to do, given to the sink of [`Hub::poll`](crate::Hub::poll).
#[derive(Debug)]
#[non_exhaustive]
pub enum Output<'a> {
    /// Send one text frame to each of some connections. It was encoded once; share it.
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
    /// [`Input::StoreFailed`](crate::Input::StoreFailed). Writes may share a commit but take effect in this order.
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
        /// How to sample, where the client said so.
        sampling: &'a Sampling,
    },
    /// End a generation early. It still ends with [`Input::Generated`](crate::Input::Generated) (`Stopped`).
    Cancel {
        /// Which.
        generation: GenerationId,
    },
    /// An admin wants the model loaded anew; the backend goes down and up.
    ReloadModel,
    /// Read no more from this connection until [`Output::ResumeReading`].
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

/// Names one storage request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names one generation until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(pub u64);

/// A change to storage.
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

/// A question to storage.
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
    /// The last messages of a session before a `seq`.
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
    /// What was stored for a user's `client_id`, to recognize a repeated message.
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
