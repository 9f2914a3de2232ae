//! The tables, and how a database gets from any older version of them to the newest.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::{StoreError, StoreOptions};

/// "Caus" in ASCII, in the header of the file (`PRAGMA application_id`): says whose database it is.
const APPLICATION_ID: i64 = 0x4361_7573;

/// How long to wait for another program that has the database locked, such as a backup, before a job fails.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What the write-ahead log is cut back to after a checkpoint, in bytes: a burst must not leave its size behind.
const WAL_BYTES: i64 = 16 << 20;

/// Prepared statements that are kept: more than this program has.
const STATEMENTS: usize = 128;

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
    // 2: people who have signed in, with what they may do (no role: what their token says; no quota: no bound), their API
    // keys (only the SHA-256 of the secret), what they used by day (days since 1970-01-01, UTC), and who did what when.
    "CREATE TABLE users (
        key          INTEGER PRIMARY KEY,
        user_id      TEXT    NOT NULL UNIQUE,
        username     TEXT    NOT NULL,
        role         TEXT    CHECK (role IN ('user', 'admin')),
        disabled     INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
        tokens_a_day INTEGER CHECK (tokens_a_day >= 0),
        parallel     INTEGER CHECK (parallel >= 0),
        created      INTEGER NOT NULL,
        seen         INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX users_by_name ON users (username);

    CREATE TABLE api_keys (
        key     INTEGER PRIMARY KEY,
        hash    BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
        prefix  TEXT    NOT NULL UNIQUE,
        name    TEXT    NOT NULL,
        user    INTEGER NOT NULL REFERENCES users (key) ON DELETE CASCADE,
        scope   TEXT    NOT NULL CHECK (scope IN ('user', 'admin', 'metrics')),
        created INTEGER NOT NULL,
        expires INTEGER,
        used    INTEGER,
        revoked INTEGER
    ) STRICT;
    CREATE INDEX api_keys_by_user ON api_keys (user);

    CREATE TABLE usage (
        user       INTEGER NOT NULL REFERENCES users (key) ON DELETE CASCADE,
        day        INTEGER NOT NULL,
        answers    INTEGER NOT NULL DEFAULT 0,
        prompt     INTEGER NOT NULL DEFAULT 0,
        cached     INTEGER NOT NULL DEFAULT 0,
        completion INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (user, day)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX usage_by_day ON usage (day);

    CREATE TABLE audit (
        key     INTEGER PRIMARY KEY,
        at      INTEGER NOT NULL,
        actor   TEXT    NOT NULL,
        action  TEXT    NOT NULL,
        subject TEXT    NOT NULL,
        source  TEXT    NOT NULL
    ) STRICT;
    CREATE INDEX audit_by_time ON audit (at);
    CREATE INDEX sessions_by_activity ON sessions (active);",
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
pub(super) fn make_private(path: &Path) {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _ = options.open(path);
}

/// The schema version of the file, 0 of a new one.
pub(super) fn version(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
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

/// A new database that is nowhere but in memory.
#[cfg(test)]
pub(super) fn in_memory() -> rusqlite::Result<Connection> {
    let mut connection = Connection::open_in_memory()?;
    migrate(&mut connection, 0)?;
    Ok(connection)
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

#[cfg(test)]
mod tests {
    use causerie_tests::TempDir;

    use super::super::{database, keys, usage, users};
    use super::*;

    /// A database as the first version of this program left it, with something in it.
    fn first_version(path: &Path) {
        let old = Connection::open(path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.execute_batch(
            "INSERT INTO sessions (id, title, owner, created, active) VALUES (zeroblob(16), 'Old', 'u', 1, 2);
             INSERT INTO members (session, user_id, username) VALUES (1, 'u', 'ada');
             INSERT INTO messages (id, session, seq, role, author_id, author_name, content, created)
                VALUES (x'01010101010101010101010101010101', 1, 1, 'user', 'u', 'ada', 'Precious', 2);",
        )
        .unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    }

    #[test]
    fn a_database_of_the_first_version_keeps_what_is_in_it_and_learns_of_users() {
        let directory = TempDir::new();
        let path = directory.path().join("causerie.db");
        first_version(&path);
        for _ in 0..2 {
            let mut database = database::Database::open(&path).unwrap();
            let text: String = database
                .ask(|c| {
                    Ok(c.query_row("SELECT content FROM messages JOIN sessions s ON s.key = session", [], |r| {
                        r.get(0)
                    })?)
                })
                .unwrap();
            assert_eq!(text, "Precious");
            let version: i64 = database.ask(|c| Ok(c.query_row("PRAGMA user_version", [], |r| r.get(0))?)).unwrap();
            assert_eq!(version, MIGRATIONS.len() as i64);
        }
        // Somebody whose messages are older than the list of users has no bounds, and is known when they come.
        let mut database = database::Database::open(&path).unwrap();
        let now = super::super::now();
        let account = database.ask(|c| usage::account(c, "u", now)).unwrap();
        assert_eq!((account.quota, account.computed), (users::Quota::default(), 0));
        let ada = database.ask(|c| users::known(c, "ada", now)).unwrap();
        assert_eq!(database.ask(|c| users::list(c, now)).unwrap(), [ada]);
        assert_eq!(database.ask(keys::list).unwrap(), []);
    }
}
