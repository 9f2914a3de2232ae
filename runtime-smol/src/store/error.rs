//! What can go wrong with a database, in words for the one who runs it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use causerie_core::{MessageId, SessionId};
use rusqlite::ErrorCode;

/// Why a database could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory of the database could not be made.
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The lock file beside the database could not be opened or locked.
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process runs on this database.
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// A newer Causerie has migrated this database further than this one knows.
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The latest schema version that is known here.
        known: i64,
    },
    /// A SQLite database, but of some other program.
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// SQLite could not do what was asked of it.
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The storage thread could not be started.
    Thread(io::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Directory { path, source } => {
                write!(f, "cannot create the data directory {}: {source}; name another with --data-dir", path.display())
            }
            StoreError::Lock { path, source } => {
                write!(f, "cannot lock {}: {source}; the data directory must be writable", path.display())
            }
            StoreError::InUse { path } => write!(
                f,
                "the database {} is in use by another causerie server; stop that one, or give this one a --data-dir of \
                 its own",
                path.display()
            ),
            StoreError::Newer { path, found, known } => write!(
                f,
                "the database {} has schema version {found}, and this causerie knows versions up to {known}: it was \
                 last used by a newer one; run that one, or name another --data-dir",
                path.display()
            ),
            StoreError::Foreign { path } => write!(
                f,
                "{} is a database of another program and was left alone; name another --data-dir",
                path.display()
            ),
            StoreError::Sqlite { path, doing, source } => {
                write!(f, "cannot {doing} the database {}: {}", path.display(), Trouble(source))
            }
            StoreError::Thread(source) => write!(f, "cannot start the storage thread: {source}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StoreError::Directory { source, .. } | StoreError::Lock { source, .. } | StoreError::Thread(source) => {
                Some(source)
            }
            StoreError::Sqlite { source, .. } => Some(source),
            StoreError::InUse { .. } | StoreError::Newer { .. } | StoreError::Foreign { .. } => None,
        }
    }
}

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubmitError {
    /// The queue is full; try again when replies have come.
    Busy,
    /// The storage thread has ended, which only a fault of this program can cause.
    Stopped,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SubmitError::Busy => "storage is overloaded: its queue is full; try again in a moment",
            SubmitError::Stopped => "the storage thread has ended; restart the server",
        })
    }
}

impl std::error::Error for SubmitError {}

/// Why one job failed.
#[derive(Debug)]
pub(crate) enum JobError {
    NoSession(SessionId),
    NoMessage { session: SessionId, message: MessageId },
    Sequence { session: SessionId, expected: u64, got: u64 },
    Range { what: &'static str, got: u64 },
    Corrupt { what: &'static str, got: String },
    Sqlite(rusqlite::Error),
}

impl JobError {
    /// SQLite's kind of error, if it is one of SQLite's.
    pub(super) fn code(&self) -> Option<ErrorCode> {
        match self {
            JobError::Sqlite(error) => error.sqlite_error_code(),
            _ => None,
        }
    }

    /// The message of a reply, which says where as well.
    pub(super) fn at(&self, database: &Path) -> String {
        format!("{self} (in {})", database.display())
    }
}

impl From<rusqlite::Error> for JobError {
    fn from(error: rusqlite::Error) -> JobError {
        JobError::Sqlite(error)
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::NoSession(session) => write!(f, "there is no session {}", session.0),
            JobError::NoMessage { session, message } => {
                write!(f, "there is no message {} in session {}", message.0, session.0)
            }
            JobError::Sequence { session, expected, got } => {
                write!(f, "the next message of session {} has seq {expected}, not {got}", session.0)
            }
            JobError::Range { what, got } => write!(f, "{what} {got} is beyond what a database can hold"),
            JobError::Corrupt { what, got } => write!(f, "the database holds an unknown {what}: {got:?}"),
            JobError::Sqlite(error) => Trouble(error).fmt(f),
        }
    }
}

/// An error of SQLite, with what to do about it.
struct Trouble<'a>(&'a rusqlite::Error);

impl fmt::Display for Trouble<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = match self.0.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => "; free some space, what was stored before is safe",
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => "; make the file and its directory writable",
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "; another program holds it, end that one",
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                "; restore it from a backup, or move it away and start anew"
            }
            Some(ErrorCode::CannotOpen) => "; check that the path exists and may be read and written",
            Some(ErrorCode::SystemIoFailure) => "; look into the system's log for the disk",
            _ => "",
        };
        write!(f, "{}{advice}", self.0)
    }
}
