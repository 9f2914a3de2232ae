//! The tables, and how a database gets from any older version of them to the newest.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::{StoreError, StoreOptions};

/// "Caus" in ASCII, in the header of the file (`PRAGMA application_id`): says whose database it is.
const APPLICATION_ID: i64 = 0x4361_7573;

/// How long to wait for another program that has the database locked, such as a backup, before a job fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What the write-ahead log is cut back to after a checkpoint, in bytes: a burst must not leave its size behind.
const WAL_BYTES: i64 = 16 << 20;

/// Prepared statements that are kept: more than this program has.
const STATEMENTS: usize = 64;

/// Migration `i` leads from schema version `i` to `i + 1`. Only ever append: what was released stays as it is.
const MIGRATIONS: &[&str] = &[
    // 1: sessions, who takes part, messages as a tree by `parent` and a log by `seq`. Times are microseconds since
    // 1970-01-01T00:00:00Z, ids the 16 bytes of a UUID; `key` is the short name of a row inside the database.
    "CREATE TABLE sessions (
        key          INTEGER PRIMARY KEY,
        id           BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
        title        TEXT    NOT NULL,
        system       TEXT,
        owner        TEXT    NOT NULL,
        created      INTEGER NOT NULL,
        active       INTEGER NOT NULL,
        ended        INTEGER,
        last_seq     INTEGER NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
        last_message BLOB
    ) STRICT;

    CREATE TABLE members (
        key      INTEGER PRIMARY KEY,
        session  INTEGER NOT NULL REFERENCES sessions (key) ON DELETE CASCADE,
        user_id  TEXT    NOT NULL,
        username TEXT    NOT NULL,
        UNIQUE (session, user_id)
    ) STRICT;
    CREATE INDEX members_by_user ON members (user_id, session);

    CREATE TABLE invitations (
        key      INTEGER PRIMARY KEY,
        session  INTEGER NOT NULL REFERENCES sessions (key) ON DELETE CASCADE,
        username TEXT    NOT NULL,
        UNIQUE (session, username)
    ) STRICT;
    CREATE INDEX invitations_by_name ON invitations (username, session);

    CREATE TABLE messages (
        key               INTEGER PRIMARY KEY,
        id                BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
        session           INTEGER NOT NULL REFERENCES sessions (key) ON DELETE CASCADE,
        seq               INTEGER NOT NULL CHECK (seq > 0),
        parent            INTEGER REFERENCES messages (key),
        role              TEXT    NOT NULL CHECK (role IN ('user', 'assistant', 'system')),
        author_id         TEXT,
        author_name       TEXT,
        content           TEXT    NOT NULL,
        created           INTEGER NOT NULL,
        client_id         TEXT,
        finish_reason     TEXT,
        prompt_tokens     INTEGER,
        cached_tokens     INTEGER,
        completion_tokens INTEGER,
        UNIQUE (session, seq)
    ) STRICT;
    CREATE INDEX messages_by_parent ON messages (parent);
    CREATE UNIQUE INDEX messages_by_client ON messages (session, author_id, client_id) WHERE client_id IS NOT NULL;",
];

/// Opens the file, sets the connection up, checks whose it is and migrates it.
pub(super) fn open(path: &Path, options: &StoreOptions) -> Result<Connection, StoreError> {
    let failed = |doing: &'static str| {
        move |source: rusqlite::Error| StoreError::Sqlite { path: path.to_owned(), doing, source }
    };
    make_private(path);
    let mut connection = Connection::open(path).map_err(failed("open"))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed("open"))?;
    let found = version(&connection, path)?;
    configure(&connection, options).map_err(failed("set up"))?;
    migrate(&mut connection, found).map_err(failed("migrate"))?;
    Ok(connection)
}

/// Makes the file for its owner alone where it is new: chats are in it. SQLite gives its log the same mode. Whatever
/// fails here fails in SQLite again, which says it better.
fn make_private(path: &Path) {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _ = options.open(path);
}

/// The schema version of the file, 0 of a new one.
fn version(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let number = |pragma: &str| {
        connection.query_row(pragma, [], |row| row.get::<_, i64>(0)).map_err(|source| StoreError::Sqlite {
            path: path.to_owned(),
            doing: "read",
            source,
        })
    };
    let application = number("PRAGMA application_id")?;
    let objects = number("SELECT count(*) FROM sqlite_schema")?;
    if application != APPLICATION_ID && (application != 0 || objects != 0) {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    let found = number("PRAGMA user_version")?;
    let known = MIGRATIONS.len();
    usize::try_from(found).ok().filter(|version| *version <= known).ok_or_else(|| StoreError::Newer {
        path: path.to_owned(),
        found,
        known: known as i64,
    })
}

fn configure(connection: &Connection, options: &StoreOptions) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Answers with the mode that it got, which is not WAL on file systems that cannot; those still work, more slowly.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.query_row(&format!("PRAGMA journal_size_limit = {WAL_BYTES}"), [], |_| Ok(()))?;
    if let Some(bytes) = options.max_bytes {
        let page: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let pages = bytes.div_ceil(page.unsigned_abs().max(1));
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
    }
    Ok(())
}

/// All migrations in one transaction: the database is at the newest version afterwards, or as it was.
fn migrate(connection: &mut Connection, found: usize) -> rusqlite::Result<()> {
    if found == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for migration in &MIGRATIONS[found..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()
}
