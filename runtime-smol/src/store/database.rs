//! The database beside a server, or without one: for the command line.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use super::error::{JobError, StoreError};
use super::{StoreOptions, schema};

/// A connection of a second process: SQLite lets several in, one of them writing at a time.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
    path: PathBuf,
}

impl Database {
    /// Opens or creates the database, up to date.
    ///
    /// # Errors
    /// As [`Store::open`](super::Store::open), save that a running server is none.
    pub(crate) fn open(path: &Path) -> Result<Database, StoreError> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .map_err(|source| StoreError::Directory { path: directory.to_owned(), source })?;
        }
        let connection = schema::open(path, &StoreOptions::default())?;
        Ok(Database { connection, path: path.to_owned() })
    }

    /// Does something in one transaction: all of it or nothing.
    ///
    /// # Errors
    /// What failed and where, for people.
    pub(crate) fn ask<T>(&mut self, question: impl FnOnce(&Connection) -> Result<T, JobError>) -> Result<T, String> {
        together(&mut self.connection, question).map_err(|error| error.at(&self.path))
    }
}

/// Does something whose writes may be lost in a power cut, though not in a crash of this program, and so need no wait for
/// the disk: that somebody was here, what they have used.
pub(super) fn relaxed<T>(
    connection: &mut Connection,
    question: impl FnOnce(&mut Connection) -> Result<T, JobError>,
) -> Result<T, JobError> {
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let answer = question(connection);
    connection.pragma_update(None, "synchronous", "FULL")?;
    answer
}

/// A question in one transaction that writes.
pub(crate) fn together<T>(
    connection: &mut Connection,
    question: impl FnOnce(&Connection) -> Result<T, JobError>,
) -> Result<T, JobError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let answer = question(&transaction)?;
    transaction.commit()?;
    Ok(answer)
}
