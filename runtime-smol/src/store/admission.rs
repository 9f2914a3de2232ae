//! Who may come in: a token or a key, and what the database says about its bearer.

use std::fmt;

use causerie_core::UnixMicros;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::audit::{self, Action, Deed};
use super::database::relaxed;
use super::error::JobError;
use super::keys::{self, Key, KeyHash};
use super::users::{self, SEEN_STEP_MICROS, User};

/// What somebody shows.
#[derive(Clone, Debug)]
pub(crate) enum Presented {
    /// A token that is good: its user id and its name.
    Token { user_id: String, username: String },
    /// A key, which may be anything.
    Key(KeyHash),
}

/// Somebody who may come in.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    /// Who.
    pub(crate) user: User,
    /// With which key.
    pub(crate) key: Option<Key>,
}

/// Why somebody may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// An administrator has closed this account.
    Disabled(String),
    /// There is no such key.
    UnknownKey,
    /// The key was revoked.
    Revoked(String),
    /// The key's time is over.
    Expired(String),
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denied::Disabled(name) => {
                write!(f, "the account of {name} is disabled: ask an administrator of this server")
            }
            Denied::UnknownKey => f.write_str("this server knows no such API key: make one with `causerie key create`"),
            Denied::Revoked(prefix) => write!(f, "the API key {prefix} was revoked: ask for another one"),
            Denied::Expired(prefix) => write!(f, "the API key {prefix} has expired: ask for another one"),
        }
    }
}

/// Lets somebody in or not. Who comes for the first time is made known, and so is the first use of a key.
pub(crate) fn admit(
    connection: &mut Connection,
    presented: &Presented,
    source: &str,
    now: UnixMicros,
) -> Result<Result<Admission, Denied>, JobError> {
    // Nearly always nothing is written, and the lock is taken only when something is. If another process has written
    // meanwhile, what was read is too old to write on, and is read again with the lock.
    let visit = Visit { presented, source, now, noted: true };
    relaxed(connection, |connection| match visit.attempt(connection, TransactionBehavior::Deferred) {
        Err(error) if error.code() == Some(ErrorCode::DatabaseBusy) => {
            visit.attempt(connection, TransactionBehavior::Immediate)
        }
        // Nobody is kept out because the disk is full.
        Err(error) if matches!(error.code(), Some(ErrorCode::DiskFull | ErrorCode::ReadOnly)) => {
            Visit { noted: false, ..visit }.attempt(connection, TransactionBehavior::Deferred)
        }
        outcome => outcome,
    })
}

/// Somebody at the door.
#[derive(Clone, Copy)]
struct Visit<'a> {
    presented: &'a Presented,
    /// From which address.
    source: &'a str,
    now: UnixMicros,
    /// Whether it is written that they were here.
    noted: bool,
}

impl Visit<'_> {
    fn attempt(
        self,
        connection: &mut Connection,
        behavior: TransactionBehavior,
    ) -> Result<Result<Admission, Denied>, JobError> {
        let transaction = connection.transaction_with_behavior(behavior)?;
        let admitted = match self.presented {
            Presented::Token { user_id, username } => self.by_token(&transaction, user_id, username)?,
            Presented::Key(hash) => self.by_key(&transaction, *hash)?,
        };
        transaction.commit()?;
        Ok(admitted)
    }

    fn by_token(
        self,
        connection: &Connection,
        user_id: &str,
        username: &str,
    ) -> Result<Result<Admission, Denied>, JobError> {
        let (user, is_new) = if self.noted {
            users::seen(connection, user_id, username, self.now)?
        } else {
            let known = users::by_id(connection, user_id, self.now)?;
            (known.unwrap_or_else(|| User::unknown(user_id, username, self.now)), false)
        };
        if user.disabled {
            return Ok(Err(Denied::Disabled(user.username)));
        }
        if is_new {
            self.remember(connection, Action::FirstSignIn, &user, user.user_id.clone())?;
        }
        Ok(Ok(Admission { user, key: None }))
    }

    fn remember(self, connection: &Connection, action: Action, user: &User, subject: String) -> Result<(), JobError> {
        let deed = Deed { actor: user.username.clone(), action, subject, source: self.source.to_owned() };
        audit::add(connection, &deed, self.now)
    }

    fn by_key(self, connection: &Connection, hash: KeyHash) -> Result<Result<Admission, Denied>, JobError> {
        let now = self.now;
        let Some(key) = keys::by_hash(connection, hash)? else { return Ok(Err(Denied::UnknownKey)) };
        if key.revoked.is_some() {
            return Ok(Err(Denied::Revoked(key.prefix)));
        }
        if key.expires.is_some_and(|expires| expires <= now) {
            return Ok(Err(Denied::Expired(key.prefix)));
        }
        let user = users::by_key(connection, key.user, now)?;
        if user.disabled {
            return Ok(Err(Denied::Disabled(user.username)));
        }
        if self.noted && key.used.is_none() {
            self.remember(connection, Action::KeyFirstUsed, &user, format!("{} ({})", key.prefix, key.name))?;
        }
        if self.noted && key.used.is_none_or(|used| now.0.saturating_sub(used.0) >= SEEN_STEP_MICROS) {
            keys::used(connection, &key, now)?;
        }
        Ok(Ok(Admission { user, key: Some(key) }))
    }
}
