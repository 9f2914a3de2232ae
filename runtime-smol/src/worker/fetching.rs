//! A model being fetched, on a thread of its own, so that the inference thread can say so.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use smol::channel::Sender;

use super::{Command, Event, Status, WorkerOptions};
use crate::fetch::{self, Progress};
use crate::limits;

/// The running thread. Its outcome comes as [`Command::Fetched`].
pub(super) struct Fetching {
    cancelled: Arc<AtomicBool>,
}

impl Fetching {
    pub(super) fn start(
        options: &WorkerOptions,
        outcome: SyncSender<Command>,
        events: Sender<Event>,
    ) -> io::Result<Fetching> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let flag = cancelled.clone();
        let WorkerOptions { source, fetch: options, .. } = options.clone();
        std::thread::Builder::new().name("fetch".to_owned()).spawn(move || {
            let mut report = Report { model: source.to_string(), events, due: Instant::now(), logged: 0 };
            let fetched =
                catch_unwind(AssertUnwindSafe(|| fetch::fetch(&source, &options, &mut |p| report.progress(p), &flag)));
            let fetched = match fetched {
                Ok(fetched) => fetched.map_err(|error| error.to_string()),
                Err(_) => Err("fetching the model has failed (the log says where)".to_owned()),
            };
            // It fails when the inference thread has ended: then nobody wants the model.
            let _ = outcome.send(Command::Fetched(fetched));
        })?;
        Ok(Fetching { cancelled })
    }

    /// Ends the thread within seconds. What it has stays for the next time.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

/// Tells the progress: to the drive for `/health`, and to the log in steps of a tenth.
struct Report {
    model: String,
    events: Sender<Event>,
    /// When the drive is told next.
    due: Instant,
    /// The last tenth that the log has.
    logged: u64,
}

impl Report {
    fn progress(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Begin { file, bytes, from, to } => {
                let size =
                    bytes.map_or_else(|| "of unknown size".to_owned(), |bytes| format!("{} MB", bytes / 1_000_000));
                tracing::info!("fetching the model {file} ({size}) from {from} to {}", to.display());
                self.logged = 0;
                self.tell(0, bytes);
            }
            Progress::Received { done, total } => {
                let tenth = total.filter(|&total| total > 0).map_or(0, |total| done.saturating_mul(10) / total);
                if tenth > self.logged {
                    self.logged = tenth;
                    tracing::info!("{} % of the model fetched", tenth * 10);
                }
                if self.due <= Instant::now() {
                    self.due = Instant::now() + limits::FETCH_PROGRESS;
                    self.tell(done, total);
                }
            }
            Progress::Note(note) => tracing::warn!("{note}"),
            Progress::Verify => tracing::info!("verifying the model"),
            Progress::Done { path } => tracing::info!("the model is at {}", path.display()),
        }
    }

    fn tell(&self, done: u64, total: Option<u64>) {
        // One that is lost because the drive is behind is followed by another.
        let _ = self.events.try_send(Event::Status(Status::Fetching { model: self.model.clone(), done, total }));
    }
}
