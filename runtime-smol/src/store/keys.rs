//! API keys: secrets of which only the SHA-256 is kept.
//!
//! A secret is `ck-`, eight hexadecimal digits that name it in lists, `-`, and 192 random bits in hexadecimal. It is drawn
//! by a machine and not chosen by a person, so that one round of a plain hash is enough: nobody guesses it.

use std::fmt;

use causerie_core::UnixMicros;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use super::clock::{column, time};
use super::error::JobError;
use super::users::User;

/// What a secret begins with, by which it is told from a JWT.
const MARK: &str = "ck-";

/// Random bytes of a secret behind its prefix.
const SECRET_BYTES: usize = 24;

/// The longest name of a key, in bytes: a line of a list.
pub(crate) const KEY_NAME_BYTES: usize = 128;

/// Keys in one list, the newest first.
const LISTED_KEYS: u32 = 1_000;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What its owner may do as an ordinary user: chat, and the API.
    User,
    /// All that an administrator may do.
    Admin,
    /// Read `/metrics`, and nothing else.
    Metrics,
}

impl Scope {
    /// Its name on the command line and in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Scope::User => "user",
            Scope::Admin => "admin",
            Scope::Metrics => "metrics",
        }
    }

    fn read(name: &str) -> Result<Scope, JobError> {
        [Scope::User, Scope::Admin, Scope::Metrics]
            .into_iter()
            .find(|scope| scope.name() == name)
            .ok_or_else(|| JobError::Corrupt { what: "scope of an API key", got: name.to_owned() })
    }
}

/// A secret as its owner gets it: shown once, kept nowhere.
pub(crate) struct Secret(String);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(crate) fn new() -> Result<Secret, getrandom::Error> {
        let mut random = [0; 4 + SECRET_BYTES];
        getrandom::fill(&mut random)?;
        let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Secret(format!("{MARK}{}-{}", &digits[..8], &digits[8..])))
    }

    /// The whole of it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// What names it in lists and logs.
    fn prefix(&self) -> &str {
        &self.0[..MARK.len() + 8]
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}…)", self.prefix())
    }
}

/// The SHA-256 of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHash([u8; 32]);

impl KeyHash {
    /// Of what somebody sends as a token, if it is an API key and no JWT.
    pub(crate) fn of(token: &str) -> Option<KeyHash> {
        token.starts_with(MARK).then(|| KeyHash(Sha256::digest(token.as_bytes()).into()))
    }
}

/// A key as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Its row.
    pub(crate) key: i64,
    /// The beginning of its secret, by which it is named.
    pub(crate) prefix: String,
    /// What its owner calls it.
    pub(crate) name: String,
    /// The owner's row.
    pub(super) user: i64,
    /// The owner's name.
    pub(crate) username: String,
    /// What it may do.
    pub(crate) scope: Scope,
    /// When it was made.
    pub(crate) created: UnixMicros,
    /// When it ends, if it does.
    pub(crate) expires: Option<UnixMicros>,
    /// When it was used last, to a minute.
    pub(crate) used: Option<UnixMicros>,
    /// When it was revoked.
    pub(crate) revoked: Option<UnixMicros>,
}

impl Key {
    /// Whether it is good, in a word.
    pub(crate) fn state(&self, now: UnixMicros) -> &'static str {
        match self {
            Key { revoked: Some(_), .. } => "revoked",
            Key { expires: Some(expires), .. } if *expires <= now => "expired",
            _ => "good",
        }
    }
}

/// Which it is, in a line.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) of {}, scope {}", self.prefix, self.name, self.username, self.scope.name())
    }
}

/// What a key is to be.
#[derive(Clone, Debug)]
pub(crate) struct NewKey {
    /// What its owner calls it, of at most [`KEY_NAME_BYTES`].
    pub(crate) name: String,
    /// What it may do.
    pub(crate) scope: Scope,
    /// When it ends, if it does.
    pub(crate) expires: Option<UnixMicros>,
}

const SELECT: &str =
    "SELECT k.key, k.prefix, k.name, k.user, u.username, k.scope, k.created, k.expires, k.used, k.revoked
    FROM api_keys k JOIN users u ON u.key = k.user";

type Columns = (Key, String);

/// The scope's name comes beside the key, since only SQLite's errors can be told inside a row.
fn read(row: &Row<'_>) -> rusqlite::Result<Columns> {
    let at = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(time));
    let key = Key {
        key: row.get(0)?,
        prefix: row.get(1)?,
        name: row.get(2)?,
        user: row.get(3)?,
        username: row.get(4)?,
        scope: Scope::User,
        created: time(row.get(6)?),
        expires: at(7)?,
        used: at(8)?,
        revoked: at(9)?,
    };
    Ok((key, row.get(5)?))
}

fn scoped((key, scope): Columns) -> Result<Key, JobError> {
    Ok(Key { scope: Scope::read(&scope)?, ..key })
}

/// Makes a key of a user's.
pub(crate) fn create(
    connection: &Connection,
    owner: &User,
    secret: &Secret,
    new: &NewKey,
    now: UnixMicros,
) -> Result<Key, JobError> {
    let hash: [u8; 32] = Sha256::digest(secret.reveal().as_bytes()).into();
    connection
        .prepare_cached(
            "INSERT INTO api_keys (hash, prefix, name, user, scope, created, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            hash,
            secret.prefix(),
            new.name,
            owner.key,
            new.scope.name(),
            column(now),
            new.expires.map(column)
        ])?;
    let key = connection.last_insert_rowid();
    scoped(connection.prepare_cached(&format!("{SELECT} WHERE k.key = ?1"))?.query_row([key], read)?)
}

/// Keys, the newest first.
pub(crate) fn list(connection: &Connection) -> Result<Vec<Key>, JobError> {
    let mut list = connection.prepare_cached(&format!("{SELECT} ORDER BY k.key DESC LIMIT {LISTED_KEYS}"))?;
    list.query_map([], read)?.map(|columns| scoped(columns?)).collect()
}

/// The key that a secret opens.
pub(super) fn by_hash(connection: &Connection, hash: KeyHash) -> Result<Option<Key>, JobError> {
    let sql = format!("{SELECT} WHERE k.hash = ?1");
    connection.prepare_cached(&sql)?.query_row([hash.0], read).optional()?.map(scoped).transpose()
}

/// Notes that a key was used.
pub(super) fn used(connection: &Connection, key: &Key, now: UnixMicros) -> Result<(), JobError> {
    let sql = "UPDATE api_keys SET used = ?2 WHERE key = ?1";
    connection.prepare_cached(sql)?.execute(params![key.key, column(now)])?;
    Ok(())
}

/// Revokes the key that a prefix names, with or without its mark. `None` when there is none; one that was revoked stays
/// as it is.
pub(crate) fn revoke(connection: &Connection, prefix: &str, now: UnixMicros) -> Result<Option<Key>, JobError> {
    let prefix = prefix.trim().to_ascii_lowercase();
    let prefix = if prefix.starts_with(MARK) { prefix } else { format!("{MARK}{prefix}") };
    let sql = "UPDATE api_keys SET revoked = coalesce(revoked, ?2) WHERE prefix = ?1";
    connection.prepare_cached(sql)?.execute(params![prefix, column(now)])?;
    let sql = format!("{SELECT} WHERE k.prefix = ?1");
    connection.prepare_cached(&sql)?.query_row([prefix], read).optional()?.map(scoped).transpose()
}
