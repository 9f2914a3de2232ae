//! What the model is to answer: the path from a message back to the root of its tree.
//!
//! Where a person's message follows another person's, it came while that one was being answered. The answer, stored
//! later, is no ancestor of it; it is put between the two all the same, or the model would forget what it has said.

use causerie_core::{MessageId, MessageRole, SessionId};
use rusqlite::{Connection, OptionalExtension, params};

use super::error::JobError;
use super::read;

/// Messages in one conversation: far more than any context holds; what is older is left out.
pub const CONVERSATION_MESSAGES: usize = 4096;

/// Bytes of text in one conversation: some four bytes a token for a context of a million; what is older is left out.
pub const CONVERSATION_BYTES: usize = 4 << 20;

/// A conversation from its first message, or the oldest one within the limits, to the one that is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// The session's system prompt.
    pub system: Option<String>,
    /// At least one, the oldest first.
    pub turns: Vec<ConversationTurn>,
    /// Whether older messages were left out because of [`CONVERSATION_MESSAGES`] or [`CONVERSATION_BYTES`].
    pub cut: bool,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationTurn {
    /// Who speaks.
    pub role: MessageRole,
    /// The name of the person who wrote it, of a user's message.
    pub username: Option<String>,
    /// The text.
    pub content: String,
}

/// Walks from `leaf` to the root. The newest messages are kept; the leaf always is, however long.
pub(super) fn load(connection: &Connection, session: SessionId, leaf: MessageId) -> Result<Conversation, JobError> {
    let (key, system): (i64, Option<String>) = connection
        .prepare_cached("SELECT key, system FROM sessions WHERE id = ?1")?
        .query_row([session.0.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or(JobError::NoSession(session))?;
    let mut next: Option<i64> = connection
        .prepare_cached("SELECT key FROM messages WHERE id = ?1 AND session = ?2")?
        .query_row(params![leaf.0.0, key], |row| row.get(0))
        .optional()?;
    if next.is_none() {
        return Err(JobError::NoMessage { session, message: leaf });
    }
    let mut step =
        connection.prepare_cached("SELECT parent, role, author_name, content FROM messages WHERE key = ?1")?;
    let mut answer = connection
        .prepare_cached("SELECT key FROM messages WHERE parent = ?1 AND role = 'assistant' ORDER BY seq LIMIT 1")?;
    let mut turns: Vec<ConversationTurn> = Vec::new();
    let mut bytes = 0;
    // The person's message whose answer `next` is, where the path does not lead through that answer.
    let mut answered = None;
    while let Some(message) = next {
        if turns.len() == CONVERSATION_MESSAGES {
            break;
        }
        let (parent, role, username, content): (Option<i64>, String, Option<String>, String) =
            step.query_row([message], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        let role = read::role(&role)?;
        let follower = turns.last().map(|turn| turn.role);
        if answered.is_none() && (role, follower) == (MessageRole::User, Some(MessageRole::User)) {
            answered = Some(message);
            next = answer.query_row([message], |row| row.get(0)).optional()?.or(next);
            continue;
        }
        bytes += content.len();
        if bytes > CONVERSATION_BYTES && !turns.is_empty() {
            break;
        }
        turns.push(ConversationTurn { role, username, content });
        next = parent;
        if role == MessageRole::User {
            answered = None;
        }
    }
    turns.reverse();
    Ok(Conversation { system, turns, cut: next.is_some() })
}
