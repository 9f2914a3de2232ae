//! Certificates and keys that change while the server runs: read again when their files do, or when somebody asks.
//!
//! On a thread of its own, since files may be slow. What cannot be used is told once, and what was there stays in use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::SystemTime;

use crate::auth::Auth;
use crate::limits;
use crate::tls::Tls;

/// What can be read again.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The server's certificate and its key.
    Tls(Arc<Tls>),
    /// The keys that tokens are checked with.
    Keys(Arc<Auth>),
}

impl Source {
    fn files(&self) -> Vec<&Path> {
        match self {
            Source::Tls(tls) => tls.files().to_vec(),
            Source::Keys(auth) => auth.file().into_iter().collect(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Source::Tls(_) => "the TLS certificate and its key",
            Source::Keys(_) => "the keys of tokens",
        }
    }

    fn reload(&self) {
        let reloaded = match self {
            Source::Tls(tls) => tls.reload().map_err(|error| error.to_string()),
            Source::Keys(auth) => auth.reload().map_err(|error| error.to_string()),
        };
        match reloaded {
            Ok(()) => tracing::info!("{} were read again", self.name()),
            Err(error) => tracing::error!(%error, "{} stay as they were: the new ones cannot be used", self.name()),
        }
    }
}

/// The way to the thread that reads; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Reload {
    ask: mpsc::SyncSender<()>,
}

impl Reload {
    /// Begins to look at the files of all sources.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(sources: Vec<Source>) -> io::Result<Reload> {
        // One that waits is as good as several.
        let (ask, asked) = mpsc::sync_channel(1);
        let mut watched: Vec<Watched> =
            sources.into_iter().map(Watched::new).filter(|it| !it.stamps.is_empty()).collect();
        if watched.is_empty() {
            // Nothing changes by itself; whoever asks is told so.
            return Ok(Reload { ask });
        }
        thread::Builder::new().name("reload".to_owned()).spawn(move || {
            loop {
                match asked.recv_timeout(limits::RELOAD_LOOK) {
                    Ok(()) => watched.iter_mut().for_each(Watched::reload),
                    Err(RecvTimeoutError::Timeout) => {
                        watched.iter_mut().filter(|it| it.has_changed()).for_each(Watched::reload);
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Reload { ask })
    }

    /// Reads everything again, whether it has changed or not.
    pub(crate) fn now(&self) {
        if let Err(mpsc::TrySendError::Disconnected(())) = self.ask.try_send(()) {
            tracing::info!("there is nothing to read again: no certificate, and no keys but the server's own");
        }
    }
}

/// A source, and its files as they were when it was last read.
struct Watched {
    source: Source,
    stamps: Vec<(PathBuf, Option<Stamp>)>,
}

impl Watched {
    fn new(source: Source) -> Watched {
        let stamps = source.files().into_iter().map(|path| (path.to_owned(), Stamp::of(path))).collect();
        Watched { source, stamps }
    }

    fn has_changed(&self) -> bool {
        self.stamps.iter().any(|(path, stamp)| Stamp::of(path) != *stamp)
    }

    fn reload(&mut self) {
        // Before reading: what is written meanwhile is a further change.
        for (path, stamp) in &mut self.stamps {
            *stamp = Stamp::of(path);
        }
        self.source.reload();
    }
}

/// What tells two versions of a file apart; of a link, what it leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    /// Another file under the same name, as a rename leaves it.
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let metadata = fs::metadata(path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some(Stamp { modified: metadata.modified().ok(), bytes: metadata.len(), inode })
    }
}
