//! The changes, each inside a savepoint of the caller's.

use causerie_core::{FinishReason, MessageId, MessageRecord, MessageRole, SessionId, SessionRecord};
use rusqlite::{Connection, OptionalExtension, params};

use super::error::JobError;
use super::job::OwnedWrite;

/// Makes one change. After an error the caller rolls back what was done of it.
pub(super) fn apply(connection: &Connection, write: &OwnedWrite) -> Result<(), JobError> {
    match write {
        OwnedWrite::CreateSession(record) => create_session(connection, record),
        OwnedWrite::Message(record) => message(connection, record),
        OwnedWrite::Invite { session, username } => invite(connection, *session, username),
        OwnedWrite::Member { session, user_id, username } => member(connection, *session, user_id, username),
        OwnedWrite::Continue { session, message } => {
            let key = session_key(connection, *session)?;
            message_key(connection, *session, key, *message)?;
            let sql = "UPDATE sessions SET last_message = ?2 WHERE key = ?1";
            connection.prepare_cached(sql)?.execute(params![key, message.0.0])?;
            Ok(())
        }
        OwnedWrite::EndSession { session, at } => {
            let at = integer("time", at.0)?;
            let sql = "UPDATE sessions SET ended = coalesce(ended, ?2) WHERE id = ?1";
            changed(connection.prepare_cached(sql)?.execute(params![session.0.0, at])?, *session)
        }
        OwnedWrite::RenameSession { session, title } => {
            let sql = "UPDATE sessions SET title = ?2 WHERE id = ?1";
            changed(connection.prepare_cached(sql)?.execute(params![session.0.0, title])?, *session)
        }
        OwnedWrite::DeleteSession { session } => {
            let sql = "DELETE FROM sessions WHERE id = ?1";
            changed(connection.prepare_cached(sql)?.execute(params![session.0.0])?, *session)
        }
    }
}

fn create_session(connection: &Connection, record: &SessionRecord) -> Result<(), JobError> {
    let created = integer("time", record.created.0)?;
    let ended = record.ended.map(|at| integer("time", at.0)).transpose()?;
    connection
        .prepare_cached(
            "INSERT INTO sessions (id, title, system, owner, created, active, ended) VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)",
        )?
        .execute(params![record.id.0.0, record.title, record.system, record.owner, created, ended])?;
    for who in &record.members {
        member(connection, record.id, &who.user_id, &who.username)?;
    }
    for username in &record.invited {
        invite(connection, record.id, username)?;
    }
    Ok(())
}

fn message(connection: &Connection, record: &MessageRecord) -> Result<(), JobError> {
    let session = session_key(connection, record.session)?;
    let seq = integer("seq", record.seq)?;
    let created = integer("time", record.created.0)?;
    let parent = record.parent.map(|parent| message_key(connection, record.session, session, parent)).transpose()?;
    // The log stays gapless whatever was lost before: a message that is not the next one is refused.
    let next = connection
        .prepare_cached(
            // As SessionRecord::append has it: an answer to an earlier message is not where the conversation goes on.
            "UPDATE sessions SET last_seq = ?2, active = max(active, ?4),
                    last_message = CASE WHEN ?5 AND last_message IS NOT ?6 THEN last_message ELSE ?3 END
             WHERE key = ?1 AND last_seq = ?2 - 1",
        )?
        .execute(params![
            session,
            seq,
            record.id.0.0,
            created,
            record.role == MessageRole::Assistant,
            record.parent.map(|parent| parent.0.0),
        ])?;
    if next == 0 {
        let last: i64 = connection
            .prepare_cached("SELECT last_seq FROM sessions WHERE key = ?1")?
            .query_row([session], |row| row.get(0))?;
        return Err(JobError::Sequence { session: record.session, expected: last.unsigned_abs() + 1, got: record.seq });
    }
    connection
        .prepare_cached(
            "INSERT INTO messages (id, session, seq, parent, role, author_id, author_name, content, created, client_id,
                                   finish_reason, prompt_tokens, cached_tokens, completion_tokens)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            record.id.0.0,
            session,
            seq,
            parent,
            role_name(record.role),
            record.author.as_ref().map(|author| &author.user_id),
            record.author.as_ref().map(|author| &author.username),
            record.content,
            created,
            record.client_id,
            record.finish_reason.map(reason_name),
            record.usage.map(|usage| usage.prompt_tokens),
            record.usage.map(|usage| usage.cached_tokens),
            record.usage.map(|usage| usage.completion_tokens),
        ])?;
    Ok(())
}

fn invite(connection: &Connection, session: SessionId, username: &str) -> Result<(), JobError> {
    let session = session_key(connection, session)?;
    connection
        .prepare_cached("INSERT INTO invitations (session, username) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![session, username])?;
    Ok(())
}

fn member(connection: &Connection, session: SessionId, user_id: &str, username: &str) -> Result<(), JobError> {
    let session = session_key(connection, session)?;
    connection
        .prepare_cached(
            "INSERT INTO members (session, user_id, username) VALUES (?1, ?2, ?3)
             ON CONFLICT (session, user_id) DO UPDATE SET username = excluded.username",
        )?
        .execute(params![session, user_id, username])?;
    connection
        .prepare_cached("DELETE FROM invitations WHERE session = ?1 AND username = ?2")?
        .execute(params![session, username])?;
    Ok(())
}

/// The row of a session.
pub(super) fn session_key(connection: &Connection, session: SessionId) -> Result<i64, JobError> {
    connection
        .prepare_cached("SELECT key FROM sessions WHERE id = ?1")?
        .query_row([session.0.0], |row| row.get(0))
        .optional()?
        .ok_or(JobError::NoSession(session))
}

/// The row of a message of a session.
pub(super) fn message_key(
    connection: &Connection,
    session: SessionId,
    session_key: i64,
    message: MessageId,
) -> Result<i64, JobError> {
    connection
        .prepare_cached("SELECT key FROM messages WHERE id = ?1 AND session = ?2")?
        .query_row(params![message.0.0, session_key], |row| row.get(0))
        .optional()?
        .ok_or(JobError::NoMessage { session, message })
}

/// The changes to one session's row are none when there is no such session.
fn changed(rows: usize, session: SessionId) -> Result<(), JobError> {
    if rows == 0 { Err(JobError::NoSession(session)) } else { Ok(()) }
}

/// SQLite's integers are signed.
fn integer(what: &'static str, value: u64) -> Result<i64, JobError> {
    i64::try_from(value).map_err(|_| JobError::Range { what, got: value })
}

/// How a role is written in the database.
pub(super) fn role_name(role: MessageRole) -> &'static str {
    match role {
        MessageRole::User => "user",
        MessageRole::Assistant => "assistant",
        MessageRole::System => "system",
    }
}

/// How the end of a generation is written in the database.
pub(super) fn reason_name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Stopped => "stopped",
        FinishReason::Error => "error",
    }
}
