//! What storage is asked and what it answers: the core's writes and queries, owned, so that they can cross a thread.

use std::fmt;

use causerie_core::{
    GenerationId, Loaded, MessageId, MessageRecord, Query, RequestId, SessionId, SessionRecord, UnixMicros, Write,
};

use super::conversation::Conversation;
use super::usage::Account;

/// One thing for storage to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// A change; answered by [`Reply::Stored`] or [`Reply::StoreFailed`].
    Write(RequestId, OwnedWrite),
    /// A question; answered by [`Reply::Loaded`] or [`Reply::LoadFailed`]. Sees every write submitted before it.
    Load(RequestId, OwnedQuery),
    /// What the model is to answer; answered by [`Reply::Conversation`]. Sees every write submitted before it.
    Conversation {
        /// To name in the reply.
        generation: GenerationId,
        /// Of which session.
        session: SessionId,
        /// Its last message; the rest is found from parent to parent.
        leaf: MessageId,
        /// The user id of whoever asked for it.
        asker: String,
    },
}

impl Job {
    /// The text that it carries, in bytes, with an allowance for its fixed part.
    pub(super) fn bytes(&self) -> usize {
        const FIXED: usize = 64;
        FIXED
            + match self {
                Job::Write(_, write) => write.bytes(),
                Job::Load(_, query) => query.bytes(),
                Job::Conversation { asker, .. } => asker.len(),
            }
    }
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The write is committed: it survives a crash.
    Stored(RequestId),
    /// The write failed and left nothing behind; what failed and where, for the log.
    StoreFailed(RequestId, String),
    /// The answer, of the kind that the query asked for.
    Loaded(RequestId, Loaded),
    /// There is no answer; what failed and where, for the log.
    LoadFailed(RequestId, String),
    /// The conversation up to a message.
    Conversation {
        /// As in the job.
        generation: GenerationId,
        /// The conversation, or what failed and where, for the log.
        result: Result<Conversation, String>,
        /// Of whoever asked for it, if it could be read.
        account: Option<Account>,
    },
}

impl Reply {
    /// The text of messages that it carries, in bytes: the part of a reply that can be large.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Reply::Loaded(_, Loaded::Messages { messages, .. }) => messages.iter().map(|m| m.content.len()).sum(),
            Reply::Loaded(_, Loaded::Message(Some(message))) => message.content.len(),
            Reply::Conversation { result: Ok(conversation), .. } => {
                conversation.turns.iter().map(|turn| turn.content.len()).sum()
            }
            _ => 0,
        }
    }
}

/// [`Write`], owned. The variants mean the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are documented at causerie_core::Write")]
pub enum OwnedWrite {
    /// [`Write::CreateSession`]
    CreateSession(SessionRecord),
    /// [`Write::Message`]
    Message(MessageRecord),
    /// [`Write::Invite`]
    Invite { session: SessionId, username: String },
    /// [`Write::Member`]
    Member { session: SessionId, user_id: String, username: String },
    /// [`Write::Continue`]
    Continue { session: SessionId, message: MessageId },
    /// [`Write::EndSession`]
    EndSession { session: SessionId, at: UnixMicros },
    /// [`Write::RenameSession`]
    RenameSession { session: SessionId, title: String },
    /// [`Write::DeleteSession`]
    DeleteSession { session: SessionId },
}

impl OwnedWrite {
    fn bytes(&self) -> usize {
        match self {
            OwnedWrite::CreateSession(record) => {
                record.title.len() + record.system.as_ref().map_or(0, String::len) + record.owner.len()
            }
            OwnedWrite::Message(record) => record.content.len() + record.client_id.as_ref().map_or(0, String::len),
            OwnedWrite::Invite { username, .. } => username.len(),
            OwnedWrite::Member { user_id, username, .. } => user_id.len() + username.len(),
            OwnedWrite::RenameSession { title, .. } => title.len(),
            OwnedWrite::Continue { .. } | OwnedWrite::EndSession { .. } | OwnedWrite::DeleteSession { .. } => 0,
        }
    }
}

impl TryFrom<Write<'_>> for OwnedWrite {
    type Error = Unsupported;

    fn try_from(write: Write<'_>) -> Result<OwnedWrite, Unsupported> {
        Ok(match write {
            Write::CreateSession(record) => OwnedWrite::CreateSession(record.clone()),
            Write::Message(record) => OwnedWrite::Message(record.clone()),
            Write::Invite { session, username } => OwnedWrite::Invite { session, username: username.to_owned() },
            Write::Member { session, user_id, username } => {
                OwnedWrite::Member { session, user_id: user_id.to_owned(), username: username.to_owned() }
            }
            Write::Continue { session, message } => OwnedWrite::Continue { session, message },
            Write::EndSession { session, at } => OwnedWrite::EndSession { session, at },
            Write::RenameSession { session, title } => OwnedWrite::RenameSession { session, title: title.to_owned() },
            Write::DeleteSession { session } => OwnedWrite::DeleteSession { session },
            _ => return Err(Unsupported),
        })
    }
}

/// [`Query`], owned. The variants mean the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are documented at causerie_core::Query")]
pub enum OwnedQuery {
    /// [`Query::Session`]
    Session(SessionId),
    /// [`Query::Sessions`]
    Sessions { user_id: String, username: String, limit: u32 },
    /// [`Query::Messages`]
    Messages { session: SessionId, before: u64, limit: u32 },
    /// [`Query::Message`]
    Message { session: SessionId, message: MessageId },
    /// [`Query::ClientMessage`]
    ClientMessage { session: SessionId, user_id: String, client_id: String },
    /// [`Query::Totals`]
    Totals,
}

impl OwnedQuery {
    fn bytes(&self) -> usize {
        match self {
            OwnedQuery::Sessions { user_id, username, .. } => user_id.len() + username.len(),
            OwnedQuery::ClientMessage { user_id, client_id, .. } => user_id.len() + client_id.len(),
            OwnedQuery::Session(_) | OwnedQuery::Messages { .. } | OwnedQuery::Message { .. } | OwnedQuery::Totals => 0,
        }
    }
}

impl TryFrom<Query<'_>> for OwnedQuery {
    type Error = Unsupported;

    fn try_from(query: Query<'_>) -> Result<OwnedQuery, Unsupported> {
        Ok(match query {
            Query::Session(session) => OwnedQuery::Session(session),
            Query::Sessions { user_id, username, limit } => {
                OwnedQuery::Sessions { user_id: user_id.to_owned(), username: username.to_owned(), limit }
            }
            Query::Messages { session, before, limit } => OwnedQuery::Messages { session, before, limit },
            Query::Message { session, message } => OwnedQuery::Message { session, message },
            Query::ClientMessage { session, user_id, client_id } => {
                OwnedQuery::ClientMessage { session, user_id: user_id.to_owned(), client_id: client_id.to_owned() }
            }
            Query::Totals => OwnedQuery::Totals,
            _ => return Err(Unsupported),
        })
    }
}

/// The core asked for something that it learned after this storage was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported;

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this storage does not know this kind of request; build all crates from the same version")
    }
}

impl std::error::Error for Unsupported {}
