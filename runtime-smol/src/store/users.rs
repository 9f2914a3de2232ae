//! People: made known when they first sign in, with what they may do and how much.

use std::fmt;

use causerie_core::{Role, UnixMicros};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::clock::{self, column, time};
use super::error::JobError;
use super::usage::Used;

/// People in one list: what a page can show. Who was here last comes first.
pub(crate) const LISTED_USERS: u32 = 1_000;

/// How long a person may be here before it is written again that they were: a request a second is no reason for a write
/// a second.
pub(super) const SEEN_STEP_MICROS: u64 = 60_000_000;

/// Somebody who has signed in, or of whom an administrator has spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Their row.
    pub(super) key: i64,
    /// What tokens call them: `sub`.
    pub(crate) user_id: String,
    /// Under which name they were here last.
    pub(crate) username: String,
    /// What they may do, whatever their token says; `None`: what it says.
    pub(crate) role: Option<Role>,
    /// Whether they may not sign in.
    pub(crate) disabled: bool,
    /// How much they may use.
    pub(crate) quota: Quota,
    /// When they became known.
    pub(crate) created: UnixMicros,
    /// When they were here last, to a minute.
    pub(crate) seen: UnixMicros,
    /// What they have used today.
    pub(crate) today: Used,
}

/// How they stand, in a line.
impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = |bound: Option<u64>| bound.map_or_else(|| "any number of".to_owned(), |bound| bound.to_string());
        write!(
            f,
            "{}: {}, {} tokens a day, {} answers at once{}",
            self.username,
            self.role.map_or("role as the token says", role_name),
            bound(self.quota.tokens_a_day),
            bound(self.quota.parallel.map(u64::from)),
            if self.disabled { ", disabled" } else { "" }
        )
    }
}

impl User {
    /// One without a row, who may do what anybody may.
    pub(super) fn unknown(user_id: &str, username: &str, now: UnixMicros) -> User {
        User {
            key: 0,
            user_id: user_id.to_owned(),
            username: username.to_owned(),
            role: None,
            disabled: false,
            quota: Quota::default(),
            created: now,
            seen: now,
            today: Used::default(),
        }
    }
}

/// Bounds of one person's use; `None`: no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Tokens computed in a day (UTC): those of prompts that were not in the cache, and those of answers.
    pub(crate) tokens_a_day: Option<u64>,
    /// Answers under way at once, in chats and over the API.
    pub(crate) parallel: Option<u32>,
}

/// What is to become different about a person; `None`: what is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserChange {
    /// Their role; `Some(None)`: what their token says.
    pub(crate) role: Option<Option<Role>>,
    /// Whether they may not sign in.
    pub(crate) disabled: Option<bool>,
    /// [`Quota::tokens_a_day`].
    pub(crate) tokens_a_day: Option<Option<u64>>,
    /// [`Quota::parallel`].
    pub(crate) parallel: Option<Option<u32>>,
}

const SELECT: &str =
    "SELECT u.key, u.user_id, u.username, u.role, u.disabled, u.tokens_a_day, u.parallel, u.created, u.seen,
        coalesce(d.answers, 0), coalesce(d.prompt, 0), coalesce(d.cached, 0), coalesce(d.completion, 0)
    FROM users u LEFT JOIN usage d ON d.user = u.key AND d.day = ?1";

fn read(row: &Row<'_>) -> rusqlite::Result<User> {
    let role: Option<String> = row.get(3)?;
    Ok(User {
        key: row.get(0)?,
        user_id: row.get(1)?,
        username: row.get(2)?,
        role: role.map(|role| if role == "admin" { Role::Admin } else { Role::User }),
        disabled: row.get(4)?,
        quota: Quota {
            tokens_a_day: row.get::<_, Option<i64>>(5)?.map(i64::unsigned_abs),
            parallel: row.get::<_, Option<i64>>(6)?.map(|parallel| u32::try_from(parallel).unwrap_or(u32::MAX)),
        },
        created: time(row.get(7)?),
        seen: time(row.get(8)?),
        today: Used::read(row, 9)?,
    })
}

/// How a role is written.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Admin => "admin",
    }
}

/// Those who were here last.
pub(crate) fn list(connection: &Connection, now: UnixMicros) -> Result<Vec<User>, JobError> {
    let sql = format!("{SELECT} ORDER BY u.seen DESC, u.key LIMIT {LISTED_USERS}");
    let mut list = connection.prepare_cached(&sql)?;
    let users = list.query_map([clock::day(now)], read)?.collect::<Result<_, _>>()?;
    Ok(users)
}

/// Somebody by their user id.
pub(super) fn by_id(connection: &Connection, user_id: &str, now: UnixMicros) -> Result<Option<User>, JobError> {
    let sql = format!("{SELECT} WHERE u.user_id = ?2");
    Ok(connection.prepare_cached(&sql)?.query_row(params![clock::day(now), user_id], read).optional()?)
}

/// Somebody by their row.
pub(super) fn by_key(connection: &Connection, key: i64, now: UnixMicros) -> Result<User, JobError> {
    let sql = format!("{SELECT} WHERE u.key = ?2");
    Ok(connection.prepare_cached(&sql)?.query_row(params![clock::day(now), key], read)?)
}

/// Somebody by their user id, or by a name that they alone have.
pub(crate) fn find(connection: &Connection, who: &str, now: UnixMicros) -> Result<Option<User>, JobError> {
    if let Some(user) = by_id(connection, who, now)? {
        return Ok(Some(user));
    }
    let sql = format!("{SELECT} WHERE u.username = ?2 LIMIT 2");
    let mut found = connection.prepare_cached(&sql)?;
    let mut named = found.query_map(params![clock::day(now), who], read)?.collect::<Result<Vec<_>, _>>()?;
    Ok(if named.len() == 1 { named.pop() } else { None })
}

/// Makes somebody known, or notes that they were here: the person, and whether they are new.
pub(super) fn seen(
    connection: &Connection,
    user_id: &str,
    username: &str,
    now: UnixMicros,
) -> Result<(User, bool), JobError> {
    if let Some(mut user) = by_id(connection, user_id, now)? {
        if user.username != username || now.0.saturating_sub(user.seen.0) >= SEEN_STEP_MICROS {
            let sql = "UPDATE users SET username = ?2, seen = ?3 WHERE key = ?1";
            connection.prepare_cached(sql)?.execute(params![user.key, username, column(now)])?;
            username.clone_into(&mut user.username);
            user.seen = now;
        }
        return Ok((user, false));
    }
    connection
        .prepare_cached("INSERT INTO users (user_id, username, created, seen) VALUES (?1, ?2, ?3, ?3)")?
        .execute(params![user_id, username, column(now)])?;
    let key = connection.last_insert_rowid();
    Ok((by_key(connection, key, now)?, true))
}

/// The person of a name of ours, made known if they have never been here.
pub(crate) fn known(connection: &Connection, who: &str, now: UnixMicros) -> Result<User, JobError> {
    match find(connection, who, now)? {
        Some(user) => Ok(user),
        None => Ok(seen(connection, &crate::auth::user_id(who), who, now)?.0),
    }
}

/// Makes something different about somebody, and says how they are now.
pub(crate) fn change(
    connection: &Connection,
    user: &User,
    change: &UserChange,
    now: UnixMicros,
) -> Result<User, JobError> {
    let role = change.role.unwrap_or(user.role).map(role_name);
    let tokens = change.tokens_a_day.unwrap_or(user.quota.tokens_a_day);
    let parallel = change.parallel.unwrap_or(user.quota.parallel);
    connection
        .prepare_cached("UPDATE users SET role = ?2, disabled = ?3, tokens_a_day = ?4, parallel = ?5 WHERE key = ?1")?
        .execute(params![
            user.key,
            role,
            change.disabled.unwrap_or(user.disabled),
            tokens.map(|tokens| i64::try_from(tokens).unwrap_or(i64::MAX)),
            parallel,
        ])?;
    by_key(connection, user.key, now)
}

/// Who may not sign in, and which keys are no longer good: by user id and by the keys' rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcasts {
    /// User ids of people who are disabled.
    pub(crate) users: Vec<String>,
    /// Rows of keys that were revoked.
    pub(crate) keys: Vec<i64>,
}

/// All of them.
pub(crate) fn outcasts(connection: &Connection) -> Result<Outcasts, JobError> {
    let mut users = connection.prepare_cached("SELECT user_id FROM users WHERE disabled")?;
    let users = users.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut keys = connection.prepare_cached("SELECT key FROM api_keys WHERE revoked IS NOT NULL")?;
    let keys = keys.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(Outcasts { users, keys })
}

/// As [`outcasts`], if another process has written to the database since `version`, which is what SQLite's
/// `data_version` was then.
pub(crate) fn outcasts_since(connection: &Connection, version: &mut i64) -> Result<Option<Outcasts>, JobError> {
    let is: i64 = connection.query_row("PRAGMA data_version", [], |row| row.get(0))?;
    if std::mem::replace(version, is) == is {
        return Ok(None);
    }
    outcasts(connection).map(Some)
}
