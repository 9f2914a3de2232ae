//! Storage: one SQLite database, on a thread of its own.
//!
//! [`Store::submit`] never waits: a job goes into a bounded queue, its [`Reply`] comes out on a channel. Writes that
//! are queued together share one commit, and none is answered before that commit is on the disk (WAL,
//! `synchronous=FULL`): what was answered with [`Reply::Stored`] survives `kill -9` and a power cut. Every write is in
//! a savepoint of its own, so one that fails takes no other with it.
//!
//! Trouble with the disk (full, read-only, locked by somebody else, broken) is an answer like any other: the reply says
//! what failed and where, the thread lives on, and the next job finds out for itself whether the trouble is over.

mod admission;
pub(crate) mod audit;
pub(crate) mod backup;
mod clock;
mod conversation;
mod database;
mod error;
pub(crate) mod expiry;
mod job;
pub(crate) mod keys;
mod question;
mod read;
mod schema;
pub(crate) mod search;
mod thread;
pub(crate) mod usage;
pub(crate) mod users;
mod write;

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

pub use conversation::{CONVERSATION_BYTES, CONVERSATION_MESSAGES, Conversation, ConversationTurn};
pub(crate) use error::JobError;
pub use error::{StoreError, SubmitError};
pub use job::{Job, OwnedQuery, OwnedWrite, Reply, Unsupported};
pub use question::AskError;

pub(crate) use admission::{Admission, Denied, Presented, admit};
pub(crate) use clock::{now, seconds_left};
pub(crate) use database::{Database, together};

use prometheus_client::metrics::histogram::Histogram;
use thread::Queued;

/// Jobs that may wait: above what the core has outstanding at once, small enough to be worked off in a second.
pub const QUEUE_JOBS: usize = 4096;

/// Bytes of text that may wait in the queue: so that many long messages cannot take the memory that few short ones may.
pub const QUEUE_BYTES: usize = 64 << 20;

/// How a database is opened.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// The size that the database may grow to, in bytes, rounded up to whole pages; writes beyond it fail as on a full
    /// disk. `None`: as large as the disk allows.
    pub max_bytes: Option<u64>,
    /// Where it is counted how long each commit and each question takes, in seconds.
    pub latency: Option<Histogram>,
}

/// A running storage thread and the way to its queue. One at a time for a database, in all processes.
///
/// Dropping it works off what is queued, then closes the database; replies that nobody has taken by then are lost.
#[derive(Debug)]
pub struct Store {
    jobs: Option<SyncSender<Queued>>,
    queued_bytes: Arc<AtomicUsize>,
    /// Jobs and questions in the queue, or being done.
    waiting: Arc<AtomicUsize>,
    replies: smol::channel::Sender<Reply>,
    thread: Option<JoinHandle<()>>,
    /// Held locked for as long as the store lives; the system lets go of it however the process ends.
    _lock: File,
}

impl Store {
    /// Opens or creates the database file at `path` and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError`] when the directory cannot be made, another process has the database open as its own, the file is
    /// not ours, it is of a newer Causerie, or SQLite cannot open or migrate it.
    pub fn open(path: &Path, replies: smol::channel::Sender<Reply>) -> Result<Store, StoreError> {
        Store::open_with(path, &StoreOptions::default(), replies)
    }

    /// As [`Store::open`], with options.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(
        path: &Path,
        options: &StoreOptions,
        replies: smol::channel::Sender<Reply>,
    ) -> Result<Store, StoreError> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .map_err(|source| StoreError::Directory { path: directory.to_owned(), source })?;
        }
        let lock = lock(path)?;
        let connection = schema::open(path, options)?;
        let (jobs, queue) = sync_channel(QUEUE_JOBS);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let waiting = Arc::new(AtomicUsize::new(0));
        let books = thread::Books {
            queued_bytes: Arc::clone(&queued_bytes),
            waiting: Arc::clone(&waiting),
            latency: options.latency.clone(),
        };
        let worker = thread::Worker::new(connection, path, queue, books, replies.clone());
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || worker.run())
            .map_err(StoreError::Thread)?;
        Ok(Store { jobs: Some(jobs), queued_bytes, waiting, replies, thread: Some(thread), _lock: lock })
    }

    /// Puts a job at the end of the queue, without waiting. Jobs are done in the order of their submission.
    ///
    /// # Errors
    /// [`SubmitError::Busy`] when [`QUEUE_JOBS`] or [`QUEUE_BYTES`] are waiting: nothing was queued, and there will be
    /// no reply.
    pub fn submit(&self, job: Job) -> Result<(), SubmitError> {
        let bytes = job.bytes();
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        // A single job that is larger than the whole limit gets through an empty queue, or it never would.
        let outcome = if before != 0 && before + bytes > QUEUE_BYTES {
            Err(SubmitError::Busy)
        } else {
            self.enqueue(Queued::Job(job))
        };
        if outcome.is_err() {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        outcome
    }

    fn enqueue(&self, queued: Queued) -> Result<(), SubmitError> {
        let Some(jobs) = &self.jobs else { return Err(SubmitError::Stopped) };
        // Before it is there, so that it is never taken off before it was put on.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        jobs.try_send(queued).map_err(|error| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => SubmitError::Busy,
                TrySendError::Disconnected(_) => SubmitError::Stopped,
            }
        })
    }

    /// Jobs and questions that are not answered yet.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.jobs = None;
        // The one who drops us may be the one who should take the replies: never wait for room in that channel.
        self.replies.close();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook, and a drop must not panic again.
            let _ = thread.join();
        }
    }
}

/// Keeps servers from starting on a database, for as long as the answer lives.
///
/// # Errors
/// When one is running.
pub(crate) fn keep_others_out(database: &Path) -> Result<File, StoreError> {
    if let Some(directory) = database.parent() {
        std::fs::create_dir_all(directory)
            .map_err(|source| StoreError::Directory { path: directory.to_owned(), source })?;
    }
    lock(database)
}

/// Takes `DATABASE.lock`, which says that a server is running on this database. SQLite's own locks would not do: they
/// come and go with each transaction.
fn lock(database: &Path) -> Result<File, StoreError> {
    let path = database.with_extension("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| StoreError::Lock { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: database.to_owned() }),
        Err(TryLockError::Error(source)) => Err(StoreError::Lock { path, source }),
    }
}
