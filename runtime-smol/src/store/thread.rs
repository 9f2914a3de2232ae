//! The storage thread: takes what is queued, does it in one transaction, answers after the commit.

use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use prometheus_client::metrics::histogram::Histogram;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::error::JobError;
use super::job::{Job, Reply};
use super::question::Question;
use super::{clock, conversation, read, usage, write};

/// Jobs in one transaction: enough that a commit's fsync is shared by many, few enough that nobody waits long for it.
const BATCH_JOBS: usize = 256;

/// Bytes of text in replies that wait for a commit; when there are more, the transaction ends early. A few pages of
/// history, so that many who ask at once do not have all their pages in memory at once.
const UNSENT_BYTES: usize = 4 << 20;

/// What stands in the queue.
#[derive(Debug)]
pub(super) enum Queued {
    /// Of the hub.
    Job(Job),
    /// Of somebody else.
    Question(Question),
}

pub(super) struct Worker {
    connection: Connection,
    path: PathBuf,
    queue: Receiver<Queued>,
    books: Books,
    replies: smol::channel::Sender<Reply>,
}

/// What the thread tells about its work.
pub(super) struct Books {
    /// Of the jobs that are not done.
    pub(super) queued_bytes: Arc<AtomicUsize>,
    /// Jobs and questions that are not done.
    pub(super) waiting: Arc<AtomicUsize>,
    /// What commits and questions take.
    pub(super) latency: Option<Histogram>,
}

impl Books {
    fn observe(&self, begun: Instant) {
        if let Some(latency) = &self.latency {
            latency.observe(begun.elapsed().as_secs_f64());
        }
    }
}

impl Worker {
    pub(super) fn new(
        connection: Connection,
        path: &Path,
        queue: Receiver<Queued>,
        books: Books,
        replies: smol::channel::Sender<Reply>,
    ) -> Worker {
        Worker { connection, path: path.to_owned(), queue, books, replies }
    }

    /// Works until the queue's other end is dropped and nothing is left in it.
    pub(super) fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_JOBS);
        while let Ok(first) = self.queue.recv() {
            let mut question = None;
            for queued in std::iter::once(first).chain(self.queue.try_iter().take(BATCH_JOBS - 1)) {
                match queued {
                    Queued::Job(job) => batch.push(job),
                    Queued::Question(asked) => {
                        question = Some(asked);
                        break;
                    }
                }
            }
            let mut left = batch.as_slice();
            while !left.is_empty() {
                let begun = Instant::now();
                let replies = self.answer(left);
                self.books.observe(begun);
                left = left.get(replies.len()..).unwrap_or_default();
                for reply in replies {
                    // Waits while the receiver has enough to do. It is gone only when the store is being dropped; the
                    // writes still queued are done all the same.
                    let _ = self.replies.send_blocking(reply);
                }
            }
            self.books.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
            let bytes: usize = batch.drain(..).map(|job| job.bytes()).sum();
            self.books.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            if let Some(question) = question {
                let begun = Instant::now();
                question.answer(&mut self.connection, &self.path);
                self.books.observe(begun);
                self.books.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!("closing the database {}: {error}", self.path.display());
        }
    }

    /// Replies to the first jobs of a batch, at least to one, in order, given only when the writes among them are on
    /// the disk.
    fn answer(&mut self, batch: &[Job]) -> Vec<Reply> {
        // What waits for no commit is answered as it is read.
        if let Some(job @ (Job::Load(..) | Job::Conversation { .. })) = batch.first() {
            return vec![read(&self.connection, &self.path, job)];
        }
        match self.together(batch) {
            Ok(replies) => replies,
            // A large write may have taken the last of the space from small ones, or a deletion may make some.
            Err(error) if batch.len() > 1 && error.code() == Some(ErrorCode::DiskFull) => until_full(batch, |job| {
                self.together(slice::from_ref(job))
                    .ok()
                    .and_then(|mut replies| replies.pop())
                    .unwrap_or_else(|| self.without_writing(job, &error))
            }),
            Err(error) => until_full(batch, |job| self.without_writing(job, &error)),
        }
    }

    /// The first jobs in one transaction, committed. An error means that nothing of it was done.
    fn together(&mut self, batch: &[Job]) -> Result<Vec<Reply>, JobError> {
        let mut transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut replies = Vec::with_capacity(batch.len());
        let mut unsent = 0;
        for job in batch {
            let Job::Write(request, change) = job else {
                let reply = read(&transaction, &self.path, job);
                unsent += reply.bytes();
                replies.push(reply);
                if unsent >= UNSENT_BYTES {
                    break;
                }
                continue;
            };
            let savepoint = transaction.savepoint()?;
            // Dropped without a commit, a savepoint is rolled back.
            let outcome = write::apply(&savepoint, change).and_then(|()| Ok(savepoint.commit()?));
            match outcome {
                Ok(()) => replies.push(Reply::Stored(*request)),
                // On some errors SQLite has rolled the whole transaction back, with the writes before this one.
                Err(error) if transaction.is_autocommit() => return Err(error),
                Err(error) => replies.push(Reply::StoreFailed(*request, error.at(&self.path))),
            }
        }
        transaction.commit()?;
        Ok(replies)
    }

    /// The reply to a job when there can be no transaction: writes have failed, reads may still succeed.
    fn without_writing(&self, job: &Job, error: &JobError) -> Reply {
        match job {
            Job::Write(request, _) => Reply::StoreFailed(*request, error.at(&self.path)),
            Job::Load(..) | Job::Conversation { .. } => read(&self.connection, &self.path, job),
        }
    }
}

/// Answers the first jobs, at least one, until the replies hold [`UNSENT_BYTES`].
fn until_full(batch: &[Job], mut answer: impl FnMut(&Job) -> Reply) -> Vec<Reply> {
    let mut unsent = 0;
    let mut replies = Vec::with_capacity(batch.len());
    for job in batch {
        let reply = answer(job);
        unsent += reply.bytes();
        replies.push(reply);
        if unsent >= UNSENT_BYTES {
            break;
        }
    }
    replies
}

/// Answers a job that changes nothing.
fn read(connection: &Connection, path: &Path, job: &Job) -> Reply {
    match job {
        Job::Write(request, _) => Reply::StoreFailed(*request, format!("not written (in {})", path.display())),
        Job::Load(request, query) => match read::load(connection, query) {
            Ok(loaded) => Reply::Loaded(*request, loaded),
            Err(error) => Reply::LoadFailed(*request, error.at(path)),
        },
        Job::Conversation { generation, session, leaf, asker } => {
            let loaded = conversation::load(connection, *session, *leaf)
                .and_then(|conversation| Ok((conversation, usage::account(connection, asker, clock::now())?)));
            let (result, account) = match loaded {
                Ok((conversation, account)) => (Ok(conversation), Some(account)),
                Err(error) => (Err(error.at(path)), None),
            };
            Reply::Conversation { generation: *generation, result, account }
        }
    }
}
