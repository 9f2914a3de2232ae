//! What others than the hub ask of storage: about users, keys and the like.
//!
//! A question is a function over the database, and its answer comes to whoever asked. It stands in the queue like a
//! job and sees every write before it; it is done alone, and what it writes it commits itself.

use std::fmt;
use std::path::Path;

use rusqlite::Connection;

use super::error::JobError;
use super::thread::Queued;
use super::{Store, SubmitError};

/// A question on its way, with the place where its answer goes.
pub(super) struct Question(Ask);

/// Gives its answer away by itself.
type Ask = Box<dyn FnOnce(&mut Connection, &Path) + Send>;

impl Question {
    pub(super) fn answer(self, connection: &mut Connection, path: &Path) {
        (self.0)(connection, path);
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Question")
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskError {
    /// It was not asked: too much is waiting, or the thread has ended.
    Submit(SubmitError),
    /// What failed and where, for the log.
    Failed(String),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Submit(error) => error.fmt(f),
            AskError::Failed(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for AskError {}

impl Store {
    /// Asks at once, and gives a future of the answer that borrows nothing. The question is done even if nobody waits for
    /// its answer.
    pub(crate) fn ask<T, Q>(&self, question: Q) -> impl Future<Output = Result<T, AskError>> + use<T, Q>
    where
        T: Send + 'static,
        Q: FnOnce(&mut Connection) -> Result<T, JobError> + Send + 'static,
    {
        let (sender, answer) = smol::channel::bounded(1);
        let question = Question(Box::new(move |connection, path| {
            let _ = sender.try_send(question(connection).map_err(|error| error.at(path)));
        }));
        let submitted = self.enqueue(Queued::Question(question));
        async move {
            submitted.map_err(AskError::Submit)?;
            let answer = answer.recv().await.map_err(|_| AskError::Submit(SubmitError::Stopped))?;
            answer.map_err(AskError::Failed)
        }
    }

    /// Whether the database can be read: for who asks whether the server is well.
    pub fn check(&self) -> impl Future<Output = Result<(), AskError>> + 'static {
        self.ask(|connection| Ok(connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?))
    }
}

#[cfg(test)]
mod tests {
    use causerie_tests::TempDir;

    use super::*;

    #[test]
    fn a_question_is_answered_and_one_that_fails_says_what_and_where() {
        let directory = TempDir::new();
        let (replies, _taken) = smol::channel::unbounded();
        let store = Store::open(&directory.path().join("causerie.db"), replies).unwrap();
        assert_eq!(smol::block_on(store.check()), Ok(()));
        let failing = store.ask(|connection| Ok(connection.execute("DELETE FROM nothing", [])?));
        let Err(AskError::Failed(why)) = smol::block_on(failing) else { panic!("there is no such table") };
        assert!(why.contains("nothing") && why.contains("causerie.db"), "{why}");
        // Nobody waits, and it is done all the same.
        drop(store.ask(|connection| Ok(connection.execute_batch("PRAGMA user_version")?)));
        let answer = store.ask(|connection| Ok(connection.query_row("SELECT 7", [], |row| row.get::<_, i64>(0))?));
        drop(store);
        assert_eq!(smol::block_on(answer), Ok(7), "what was asked before the end is answered");
    }
}
