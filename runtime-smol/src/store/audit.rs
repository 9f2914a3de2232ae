//! Who did what, when, to what, from where: sign-ins and what administrators do.

use causerie_core::UnixMicros;
use rusqlite::{Connection, params};

use super::clock::{column, time};
use super::error::JobError;

/// Bytes of each text of an entry; what is longer is cut.
const TEXT_BYTES: usize = 512;

/// Entries in one answer.
pub(crate) const LISTED_ENTRIES: u32 = 1_000;

/// Entries that are kept, whatever their age: some 20 MiB. The oldest go first.
const KEPT_ENTRIES: i64 = 100_000;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A printed link logged a browser in.
    Login,
    /// Somebody came for the first time.
    FirstSignIn,
    /// A token or key was refused; the subject says why.
    SignInRefused,
    /// A key was made.
    KeyCreated,
    /// A key was used for the first time.
    KeyFirstUsed,
    /// A key was revoked.
    KeyRevoked,
    /// Somebody's role, quota or standing was changed.
    UserChanged,
    /// A token was made for somebody.
    Invited,
    /// The model was to be loaded anew.
    ModelReloaded,
    /// A model was loaded beside the chat's.
    ModelLoaded,
    /// One was let go.
    ModelUnloaded,
    /// Another one was made the chat's.
    ModelChanged,
    /// The database was copied.
    BackedUp,
    /// The database was replaced by a copy.
    Restored,
    /// Sessions without activity were deleted.
    Expired,
}

impl Action {
    /// How it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Action::Login => "login",
            Action::FirstSignIn => "first_sign_in",
            Action::SignInRefused => "sign_in_refused",
            Action::KeyCreated => "key_created",
            Action::KeyFirstUsed => "key_first_used",
            Action::KeyRevoked => "key_revoked",
            Action::UserChanged => "user_changed",
            Action::Invited => "invited",
            Action::ModelReloaded => "model_reloaded",
            Action::ModelLoaded => "model_loaded",
            Action::ModelUnloaded => "model_unloaded",
            Action::ModelChanged => "model_changed",
            Action::BackedUp => "backed_up",
            Action::Restored => "restored",
            Action::Expired => "sessions_expired",
        }
    }
}

/// What is to be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deed {
    /// Who did it: a username, or a name in parentheses for what is nobody.
    pub(crate) actor: String,
    /// What.
    pub(crate) action: Action,
    /// About what or whom.
    pub(crate) subject: String,
    /// From which address, or `command line`.
    pub(crate) source: String,
}

/// What was remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its row: later ones are larger.
    pub(crate) key: i64,
    /// When.
    pub(crate) at: UnixMicros,
    /// As in [`Deed`].
    pub(crate) actor: String,
    /// The name of an [`Action`], perhaps of a later version.
    pub(crate) action: String,
    /// As in [`Deed`].
    pub(crate) subject: String,
    /// As in [`Deed`].
    pub(crate) source: String,
}

/// Remembers it.
pub(crate) fn add(connection: &Connection, deed: &Deed, now: UnixMicros) -> Result<(), JobError> {
    let cut = |text: &'_ str| text[..text.floor_char_boundary(TEXT_BYTES)].to_owned();
    let (actor, subject, source) = (cut(&deed.actor), cut(&deed.subject), cut(&deed.source));
    connection
        .prepare_cached("INSERT INTO audit (at, actor, action, subject, source) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![column(now), actor, deed.action.name(), subject, source])?;
    Ok(())
}

/// The newest entries first, of those before a row.
pub(crate) fn list(connection: &Connection, before: Option<i64>, limit: u32) -> Result<Vec<Entry>, JobError> {
    let mut list = connection.prepare_cached(
        "SELECT key, at, actor, action, subject, source FROM audit WHERE key < ?1 ORDER BY key DESC LIMIT ?2",
    )?;
    let entries = list.query_map(params![before.unwrap_or(i64::MAX), limit.min(LISTED_ENTRIES)], |row| {
        Ok(Entry {
            key: row.get(0)?,
            at: time(row.get(1)?),
            actor: row.get(2)?,
            action: row.get(3)?,
            subject: row.get(4)?,
            source: row.get(5)?,
        })
    })?;
    Ok(entries.collect::<Result<_, _>>()?)
}

/// Forgets what is older than a time, and what is more than [`KEPT_ENTRIES`].
pub(super) fn prune(connection: &Connection, before: UnixMicros) -> Result<(), JobError> {
    let sql = "DELETE FROM audit WHERE at < ?1 OR key <= (SELECT max(key) FROM audit) - ?2";
    connection.prepare_cached(sql)?.execute(params![column(before), KEPT_ENTRIES])?;
    Ok(())
}
