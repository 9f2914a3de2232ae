//! What people have used, by day.

use causerie_core::{UnixMicros, Usage};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::clock;
use super::database::relaxed;
use super::error::JobError;
use super::users::Quota;

/// What one person has used in one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Answers that were made.
    pub(crate) answers: u64,
    /// Tokens of their prompts.
    pub(crate) prompt: u64,
    /// Of those, found in the cache.
    pub(crate) cached: u64,
    /// Tokens of the answers.
    pub(crate) completion: u64,
}

impl Used {
    /// Four columns from one on.
    pub(super) fn read(row: &Row<'_>, from: usize) -> rusqlite::Result<Used> {
        let count = |at: usize| row.get::<_, i64>(from + at).map(i64::unsigned_abs);
        Ok(Used { answers: count(0)?, prompt: count(1)?, cached: count(2)?, completion: count(3)? })
    }

    /// What quotas count: tokens that had to be computed.
    pub(crate) fn computed(&self) -> u64 {
        (self.prompt - self.cached.min(self.prompt)).saturating_add(self.completion)
    }
}

/// What one person may use, and has used today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Whose.
    pub(crate) user_id: String,
    pub(crate) quota: Quota,
    /// Tokens computed for them today.
    pub(crate) computed: u64,
}

/// The account of a user id; one without bounds for somebody who is not known.
pub(crate) fn account(connection: &Connection, user_id: &str, now: UnixMicros) -> Result<Account, JobError> {
    let found = connection
        .prepare_cached(
            "SELECT u.tokens_a_day, u.parallel, coalesce(d.answers, 0), coalesce(d.prompt, 0), coalesce(d.cached, 0),
                    coalesce(d.completion, 0)
             FROM users u LEFT JOIN usage d ON d.user = u.key AND d.day = ?2 WHERE u.user_id = ?1",
        )?
        .query_row(params![user_id, clock::day(now)], |row| {
            let tokens_a_day = row.get::<_, Option<i64>>(0)?.map(i64::unsigned_abs);
            let parallel = row.get::<_, Option<u32>>(1)?;
            Ok((Quota { tokens_a_day, parallel }, Used::read(row, 2)?.computed()))
        })
        .optional()?;
    let (quota, computed) = found.unwrap_or_default();
    Ok(Account { user_id: user_id.to_owned(), quota, computed })
}

/// Adds one answer to what a user has used today. One who is not known, because a message of theirs is older than the
/// list of users, is counted nowhere.
pub(crate) fn add(connection: &mut Connection, user_id: &str, usage: Usage, now: UnixMicros) -> Result<(), JobError> {
    relaxed(connection, |connection| insert(connection, user_id, usage, now))
}

fn insert(connection: &Connection, user_id: &str, usage: Usage, now: UnixMicros) -> Result<(), JobError> {
    connection
        .prepare_cached(
            "INSERT INTO usage (user, day, answers, prompt, cached, completion)
             SELECT key, ?2, 1, ?3, ?4, ?5 FROM users WHERE user_id = ?1
             ON CONFLICT (user, day) DO UPDATE SET answers = answers + 1, prompt = prompt + excluded.prompt,
                cached = cached + excluded.cached, completion = completion + excluded.completion",
        )?
        .execute(params![
            user_id,
            clock::day(now),
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.completion_tokens
        ])?;
    Ok(())
}
