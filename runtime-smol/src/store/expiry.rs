//! What is too old to be kept.

use causerie_core::{SessionId, UnixMicros, Uuid};
use rusqlite::{Connection, params};

use super::audit;
use super::clock::{self, column};
use super::error::JobError;

/// Days that the audit log reaches back.
const AUDIT_DAYS: u32 = 400;

/// Days that the usage of people reaches back.
const USAGE_DAYS: i64 = 400;

/// Sessions that are looked at together: their deletion takes some milliseconds each, and between them others have their
/// turn.
const SESSIONS_A_STEP: u32 = 16;

/// Forgets what is old of audit log and usage.
pub(crate) fn prune(connection: &Connection, now: UnixMicros) -> Result<(), JobError> {
    audit::prune(connection, clock::days_before(now, AUDIT_DAYS))?;
    let sql = "DELETE FROM usage WHERE day < ?1";
    connection.prepare_cached(sql)?.execute([clock::day(now) - USAGE_DAYS])?;
    Ok(())
}

/// Sessions in which nothing has happened for so many days, and the row of the last of them: some of those behind a row.
pub(crate) fn candidates(
    connection: &Connection,
    days: u32,
    after: i64,
    now: UnixMicros,
) -> Result<Vec<(i64, SessionId)>, JobError> {
    let mut list = connection
        .prepare_cached("SELECT key, id FROM sessions WHERE active < ?1 AND key > ?2 ORDER BY key LIMIT ?3")?;
    let found = list.query_map(params![column(clock::days_before(now, days)), after, SESSIONS_A_STEP], |row| {
        Ok((row.get(0)?, SessionId(Uuid(row.get(1)?))))
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Deletes a session with its messages, if still nothing has happened in it. Whether it was.
pub(crate) fn expire(
    connection: &Connection,
    session: SessionId,
    days: u32,
    now: UnixMicros,
) -> Result<bool, JobError> {
    let sql = "DELETE FROM sessions WHERE id = ?1 AND active < ?2";
    let rows = connection.prepare_cached(sql)?.execute(params![session.0.0, column(clock::days_before(now, days))])?;
    Ok(rows > 0)
}
