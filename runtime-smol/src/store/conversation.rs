//! What the model is to answer: the path from a message back to the root of its tree.
//!
//! Where a person's message follows another person's, it came while that one was being answered, or it is another version
//! of one that did. The answer, stored later, is no ancestor of it; it is put between the two all the same, or the model
//! would forget what it has said. Which one, if there are several, [`causerie_core::Output::Generate`] says.

use causerie_core::{MessageId, MessageRole, SessionId};
use rusqlite::{Connection, OptionalExtension};

use super::error::JobError;
use super::{read, write};

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

impl Conversation {
    /// Bytes of its texts.
    pub(crate) fn bytes(&self) -> usize {
        let turns = self.turns.iter().map(|turn| turn.content.len());
        turns.sum::<usize>() + self.system.as_ref().map_or(0, String::len)
    }
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

/// The answer to a person's message (1) that stands before another person's message (2) that follows it: of those stored
/// before any answer to (2), the first that was stored after (2), or else the last before it.
const BETWEEN: &str = "
    SELECT a.key FROM messages a, (SELECT seq FROM messages WHERE key = ?2) follower
    WHERE a.parent = ?1 AND a.role = 'assistant'
      AND a.seq < ifnull((SELECT min(seq) FROM messages WHERE parent = ?2 AND role = 'assistant'), a.seq + 1)
    ORDER BY a.seq < follower.seq, abs(a.seq - follower.seq) LIMIT 1";

/// Walks from `leaf` to the root. The newest messages are kept; the leaf always is, however long.
pub(super) fn load(connection: &Connection, session: SessionId, leaf: MessageId) -> Result<Conversation, JobError> {
    let (key, system): (i64, Option<String>) = connection
        .prepare_cached("SELECT key, system FROM sessions WHERE id = ?1")?
        .query_row([session.0.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or(JobError::NoSession(session))?;
    let mut next = Some(write::message_key(connection, session, key, leaf)?);
    let mut step =
        connection.prepare_cached("SELECT parent, role, author_name, content FROM messages WHERE key = ?1")?;
    let mut between = connection.prepare_cached(BETWEEN)?;
    let mut turns: Vec<ConversationTurn> = Vec::new();
    let mut bytes = 0;
    // The person's message that was taken last, when nothing has been found to stand before it yet.
    let mut follower = None;
    while let Some(message) = next {
        if turns.len() == CONVERSATION_MESSAGES {
            break;
        }
        let (parent, role, username, content): (Option<i64>, String, Option<String>, String) =
            step.query_row([message], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        let role = read::role(&role)?;
        if role == MessageRole::User
            && let Some(follower) = follower.take()
            && let Some(answer) = between.query_row([message, follower], |row| row.get(0)).optional()?
        {
            next = Some(answer);
            continue;
        }
        bytes += content.len();
        if bytes > CONVERSATION_BYTES && !turns.is_empty() {
            break;
        }
        turns.push(ConversationTurn { role, username, content });
        follower = (role == MessageRole::User).then_some(message);
        next = parent;
    }
    turns.reverse();
    Ok(Conversation { system, turns, cut: next.is_some() })
}
