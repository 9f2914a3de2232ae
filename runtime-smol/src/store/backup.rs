//! A copy of the database, made while it is in use, and a copy put in its place.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;
use super::{clock, schema};

/// Why there is no copy, or why it was not put in place.
#[derive(Debug)]
pub(crate) enum BackupError {
    /// There is a file already, and it stays.
    Exists(PathBuf),
    /// There is nothing to copy.
    Missing(PathBuf),
    /// The copy is damaged; what SQLite found first.
    Damaged { path: PathBuf, what: String },
    /// The database or the copy cannot be opened, is of another program, of a newer version, or is in use.
    Store(StoreError),
    /// The system refuses.
    System { doing: &'static str, path: PathBuf, source: io::Error },
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupError::Exists(path) => {
                write!(f, "{} is there already and was left alone; name another file", path.display())
            }
            BackupError::Missing(path) => write!(f, "there is no database at {}", path.display()),
            BackupError::Damaged { path, what } => {
                write!(f, "{} is damaged, and nothing was changed: {what}; take another backup", path.display())
            }
            BackupError::Store(error) => error.fmt(f),
            BackupError::System { doing, path, source } => write!(f, "cannot {doing} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for BackupError {}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> BackupError {
        BackupError::Store(error)
    }
}

/// Copies the database as it is at one moment into a new file, which is there when it is whole, and gives its size in bytes.
/// Whoever has the database open goes on meanwhile.
///
/// # Errors
/// When the file exists, or something cannot be read or written; what was begun is removed.
pub(crate) fn backup(database: &Path, to: &Path) -> Result<u64, BackupError> {
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let source = open(database)?;
    let part = beside(to, ".part");
    copy(&source, database, &part)?;
    rename(&part, to)?;
    let size = fs::metadata(to).map_err(system("look at", to))?.len();
    Ok(size)
}

/// Checks a copy and puts it into the place of the database, which is kept under another name: that name, if there was a
/// database. The caller sees to it that no server runs.
///
/// # Errors
/// When the copy is damaged, of another program or of a newer version: then nothing was changed.
pub(crate) fn restore(from: &Path, database: &Path) -> Result<Option<PathBuf>, BackupError> {
    let source = open(from)?;
    let sqlite = |source| StoreError::Sqlite { path: from.to_owned(), doing: "check", source };
    let found: String = source.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(sqlite)?;
    if found != "ok" {
        return Err(BackupError::Damaged { path: from.to_owned(), what: found });
    }
    let part = beside(database, ".restoring");
    copy(&source, from, &part)?;
    let aside = database.exists().then(|| beside(database, &format!(".before-restore-{}", clock::now().0 / 1_000_000)));
    if let Some(aside) = &aside {
        // The log and its index belong to the old one.
        for suffix in ["", "-wal", "-shm"] {
            let old = beside(database, suffix);
            if old.exists() {
                rename(&old, &beside(aside, suffix))?;
            }
        }
    }
    rename(&part, database)?;
    Ok(aside)
}

/// A database of ours, to be read.
fn open(path: &Path) -> Result<Connection, BackupError> {
    if !path.exists() {
        return Err(BackupError::Missing(path.to_owned()));
    }
    let sqlite = |source| StoreError::Sqlite { path: path.to_owned(), doing: "open", source };
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(sqlite)?;
    connection.busy_timeout(schema::BUSY_TIMEOUT).map_err(sqlite)?;
    if schema::version(&connection, path)? == 0 {
        return Err(BackupError::Store(StoreError::Foreign { path: path.to_owned() }));
    }
    Ok(connection)
}

/// Writes a compact copy into a new file for its owner alone, and waits until it is on the disk.
fn copy(source: &Connection, name: &Path, part: &Path) -> Result<(), BackupError> {
    if part.exists() {
        // Of an attempt that was cut off.
        fs::remove_file(part).map_err(system("remove", part))?;
    }
    schema::make_private(part);
    let target = part.to_string_lossy();
    let copied = source.execute("VACUUM INTO ?1", [target.as_ref()]);
    let synced = copied
        .map_err(|source| BackupError::Store(StoreError::Sqlite { path: name.to_owned(), doing: "copy", source }));
    let synced = synced.and_then(|_| File::open(part).and_then(|file| file.sync_all()).map_err(system("write", part)));
    if synced.is_err() {
        let _ = fs::remove_file(part);
    }
    synced
}

fn rename(from: &Path, to: &Path) -> Result<(), BackupError> {
    fs::rename(from, to).map_err(system("rename", from))?;
    // The name is to survive a power cut, too, where the system can see to it.
    if let Some(directory) = to.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
    Ok(())
}

/// A path with something behind it.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn system(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::System { doing, path, source }
}
