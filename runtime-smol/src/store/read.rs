//! The questions.

use causerie_core::{
    FinishReason, Loaded, Member, MessageId, MessageRecord, MessageRole, SessionId, SessionRecord, SessionSummary,
    UnixMicros, Usage, Uuid, limits,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::JobError;
use super::job::OwnedQuery;
use super::write::{reason_name, role_name};

/// Rows in one answer, whatever was asked for: keeps one query from filling the memory.
const ROWS: u32 = 1000;

/// Answers one question.
pub(super) fn load(connection: &Connection, query: &OwnedQuery) -> Result<Loaded, JobError> {
    match query {
        OwnedQuery::Session(id) => Ok(Loaded::Session(session(connection, *id)?)),
        OwnedQuery::Sessions { user_id, username, limit } => sessions(connection, user_id, username, *limit),
        OwnedQuery::Messages { session, before, limit } => messages(connection, *session, *before, *limit),
        OwnedQuery::Message { session, message } => one_message(connection, *session, *message),
        OwnedQuery::ClientMessage { session, user_id, client_id } => {
            client_message(connection, *session, user_id, client_id)
        }
        OwnedQuery::Totals => totals(connection),
    }
}

fn session(connection: &Connection, id: SessionId) -> Result<Option<SessionRecord>, JobError> {
    let found = connection
        .prepare_cached(
            "SELECT key, title, system, owner, created, ended, last_seq, last_message FROM sessions WHERE id = ?1",
        )?
        .query_row([id.0.0], |row| {
            let record = SessionRecord {
                id,
                title: row.get(1)?,
                system: row.get(2)?,
                owner: row.get(3)?,
                created: UnixMicros(unsigned(row, 4)?),
                ended: time(row, 5)?,
                last_seq: unsigned(row, 6)?,
                last_message: row.get::<_, Option<[u8; 16]>>(7)?.map(|id| MessageId(Uuid(id))),
                members: Vec::new(),
                invited: Vec::new(),
            };
            Ok((row.get::<_, i64>(0)?, record))
        })
        .optional()?;
    let Some((key, mut record)) = found else { return Ok(None) };
    record.members = connection
        .prepare_cached("SELECT user_id, username FROM members WHERE session = ?1 ORDER BY key")?
        .query_map([key], |row| Ok(Member { user_id: row.get(0)?, username: row.get(1)? }))?
        .collect::<Result<_, _>>()?;
    record.invited = connection
        .prepare_cached("SELECT username FROM invitations WHERE session = ?1 ORDER BY key")?
        .query_map([key], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(Some(record))
}

fn sessions(connection: &Connection, user_id: &str, username: &str, limit: u32) -> Result<Loaded, JobError> {
    let summaries = connection
        .prepare_cached(
            "SELECT id, title, owner, created, active, ended, last_seq FROM sessions
             WHERE key IN (SELECT session FROM members WHERE user_id = ?1
                           UNION ALL SELECT session FROM invitations WHERE username = ?2)
             ORDER BY active DESC, key DESC LIMIT ?3",
        )?
        .query_map(params![user_id, username, limit.min(ROWS)], |row| {
            Ok(SessionSummary {
                id: SessionId(Uuid(row.get(0)?)),
                title: row.get(1)?,
                owner: row.get(2)?,
                created: UnixMicros(unsigned(row, 3)?),
                active: UnixMicros(unsigned(row, 4)?),
                ended: time(row, 5)?,
                messages: unsigned(row, 6)?, // gapless from 1: the last one's number counts them
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(Loaded::Sessions(summaries))
}

/// What [`message`] reads.
macro_rules! select_messages {
    () => {
        "SELECT m.id, m.seq, p.id, m.role, m.author_id, m.author_name, m.content, m.created, m.client_id,
                m.finish_reason, m.prompt_tokens, m.cached_tokens, m.completion_tokens
         FROM messages m LEFT JOIN messages p ON p.key = m.parent"
    };
}

fn messages(connection: &Connection, session: SessionId, before: u64, limit: u32) -> Result<Loaded, JobError> {
    let limit = limit.min(ROWS);
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(concat!(
        select_messages!(),
        " WHERE m.session = (SELECT key FROM sessions WHERE id = ?1) AND m.seq < ?2 ORDER BY m.seq DESC LIMIT ?3"
    ))?;
    // One more than asked for tells whether there are older ones.
    let mut rows = statement.query(params![session.0.0, before, limit + 1])?;
    let mut messages = Vec::new();
    let mut bytes = 0;
    let mut more = false;
    while let Some(row) = rows.next()? {
        // Looked at where SQLite has it: a message that is not wanted is not copied.
        if let ValueRef::Text(content) = row.get_ref(CONTENT)? {
            bytes += content.len();
        }
        // The hub cuts at the same number, but counts on all that it fetches for a reader who is behind.
        let too_long = bytes > limits::PAGE_BYTES && messages.len() >= limits::FETCHED_MESSAGES as usize;
        if too_long || messages.len() == limit as usize {
            more = true;
            break;
        }
        messages.push(message(row, session)?);
    }
    messages.reverse();
    Ok(Loaded::Messages { messages, more })
}

fn one_message(connection: &Connection, session: SessionId, id: MessageId) -> Result<Loaded, JobError> {
    let mut statement = connection.prepare_cached(concat!(
        select_messages!(),
        " WHERE m.session = (SELECT key FROM sessions WHERE id = ?1) AND m.id = ?2"
    ))?;
    let mut rows = statement.query(params![session.0.0, id.0.0])?;
    Ok(Loaded::Message(rows.next()?.map(|row| message(row, session)).transpose()?))
}

/// Where [`select_messages`] has the text.
const CONTENT: usize = 6;

fn message(row: &Row<'_>, session: SessionId) -> Result<MessageRecord, JobError> {
    let author = match (row.get(4)?, row.get(5)?) {
        (Some(user_id), Some(username)) => Some(Member { user_id, username }),
        _ => None,
    };
    let usage = match (row.get(10)?, row.get(11)?, row.get(12)?) {
        (Some(prompt_tokens), Some(cached_tokens), Some(completion_tokens)) => {
            Some(Usage { prompt_tokens, cached_tokens, completion_tokens })
        }
        _ => None,
    };
    Ok(MessageRecord {
        id: MessageId(Uuid(row.get(0)?)),
        session,
        seq: unsigned(row, 1)?,
        parent: row.get::<_, Option<[u8; 16]>>(2)?.map(|id| MessageId(Uuid(id))),
        role: role(&row.get::<_, String>(3)?)?,
        author,
        content: row.get(CONTENT)?,
        created: UnixMicros(unsigned(row, 7)?),
        client_id: row.get(8)?,
        finish_reason: row.get::<_, Option<String>>(9)?.map(|name| finish_reason(&name)).transpose()?,
        usage,
    })
}

fn client_message(
    connection: &Connection,
    session: SessionId,
    user_id: &str,
    client_id: &str,
) -> Result<Loaded, JobError> {
    let found = connection
        .prepare_cached(
            "SELECT id, seq FROM messages
             WHERE session = (SELECT key FROM sessions WHERE id = ?1) AND author_id = ?2 AND client_id = ?3",
        )?
        .query_row(params![session.0.0, user_id, client_id], |row| {
            Ok((MessageId(Uuid(row.get(0)?)), unsigned(row, 1)?))
        })
        .optional()?;
    Ok(Loaded::ClientMessage(found))
}

fn totals(connection: &Connection) -> Result<Loaded, JobError> {
    // Each log is gapless from 1, so the last numbers add up to the count without a look at the messages.
    let totals = connection
        .prepare_cached("SELECT count(*), coalesce(sum(last_seq), 0) FROM sessions")?
        .query_row([], |row| Ok(Loaded::Totals { sessions: unsigned(row, 0)?, messages: unsigned(row, 1)? }))?;
    Ok(totals)
}

/// A role from its name in the database.
pub(super) fn role(name: &str) -> Result<MessageRole, JobError> {
    [MessageRole::User, MessageRole::Assistant, MessageRole::System]
        .into_iter()
        .find(|role| role_name(*role) == name)
        .ok_or_else(|| JobError::Corrupt { what: "role", got: name.to_owned() })
}

fn finish_reason(name: &str) -> Result<FinishReason, JobError> {
    [FinishReason::Stop, FinishReason::Length, FinishReason::Stopped, FinishReason::Error]
        .into_iter()
        .find(|reason| reason_name(*reason) == name)
        .ok_or_else(|| JobError::Corrupt { what: "finish reason", got: name.to_owned() })
}

/// A column that is never negative, as all ours are unless the file was tampered with.
fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<UnixMicros>> {
    match row.get::<_, Option<i64>>(column)? {
        None => Ok(None),
        Some(_) => Ok(Some(UnixMicros(unsigned(row, column)?))),
    }
}
