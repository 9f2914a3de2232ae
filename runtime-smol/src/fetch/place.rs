//! The place of a file in the cache: its lock, its unfinished part, its verification, its name.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{FetchError, Progress};

/// How often a waiting process looks whether the other one is done.
const LOCK_PAUSE: Duration = Duration::from_millis(200);

/// Bytes hashed at a time: large enough that reading costs nothing beside hashing.
const HASH_BYTES: usize = 256 * 1024;

/// A file that is to come, locked against other processes for as long as this lives.
#[derive(Debug)]
pub(super) struct Place {
    target: PathBuf,
    /// The system lets go of it however the process ends; the empty file may stay.
    _lock: File,
}

/// What is known of a file beforehand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expected<'a> {
    pub(super) bytes: Option<u64>,
    /// In hexadecimal digits.
    pub(super) sha256: Option<&'a str>,
}

impl Place {
    /// Makes the directory and takes the lock, waiting for a process that has it.
    pub(super) fn take(
        target: &Path,
        progress: &mut dyn FnMut(Progress<'_>),
        cancelled: &AtomicBool,
    ) -> Result<Place, FetchError> {
        let directory = target.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(|source| failed("create", directory, source))?;
        let path = with_suffix(target, ".lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| failed("create", &path, source))?;
        let mut told = false;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Place { target: target.to_owned(), _lock: lock }),
                Err(TryLockError::WouldBlock) if !told => {
                    progress(Progress::Note("another process is fetching this file; waiting for it"));
                    told = true;
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => return Err(failed("lock", &path, source)),
            }
            if cancelled.load(Ordering::Relaxed) {
                return Err(FetchError::Cancelled);
            }
            thread::sleep(LOCK_PAUSE);
        }
    }

    /// Where the file will be.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Where its bytes are until they are all there.
    pub(super) fn part(&self) -> PathBuf {
        with_suffix(&self.target, ".part")
    }

    /// A directory of our own for a source that needs one; what an earlier process left in it is deleted.
    pub(super) fn scratch(&self) -> Result<PathBuf, FetchError> {
        let path = with_suffix(&self.target, ".tmp");
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed("delete", &path, source)),
            _ => {}
        }
        fs::create_dir(&path).map_err(|source| failed("create", &path, source))?;
        Ok(path)
    }

    /// Checks a finished file, `from` somewhere, and gives it its name. A wrong one is deleted.
    pub(super) fn settle(
        &self,
        finished: &Path,
        from: &str,
        expected: Expected<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
        cancelled: &AtomicBool,
    ) -> Result<PathBuf, FetchError> {
        progress(Progress::Verify);
        if let Err(error) = check(finished, from, expected, cancelled) {
            if matches!(error, FetchError::Wrong { .. }) {
                fs::remove_file(finished).map_err(|source| failed("delete", finished, source))?;
            }
            return Err(error);
        }
        // Its bytes reach the disk before its name does, or a power cut could leave a name without them.
        File::open(finished).and_then(|file| file.sync_all()).map_err(|source| failed("write", finished, source))?;
        fs::rename(finished, &self.target).map_err(|source| failed("create", &self.target, source))?;
        progress(Progress::Done { path: &self.target });
        Ok(self.target.clone())
    }
}

fn check(path: &Path, from: &str, expected: Expected<'_>, cancelled: &AtomicBool) -> Result<(), FetchError> {
    let wrong = |what, expected: String, got: String| FetchError::Wrong { from: from.to_owned(), what, expected, got };
    let mut file = File::open(path).map_err(|source| failed("read", path, source))?;
    let bytes = file.metadata().map_err(|source| failed("read", path, source))?.len();
    if let Some(expected) = expected.bytes.filter(|expected| *expected != bytes) {
        return Err(wrong("size", expected.to_string(), bytes.to_string()));
    }
    let Some(expected) = expected.sha256 else { return Ok(()) };
    let mut hash = Sha256::new();
    let mut buffer = vec![0; HASH_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => hash.update(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(failed("read", path, source)),
        }
        if cancelled.load(Ordering::Relaxed) {
            return Err(FetchError::Cancelled);
        }
    }
    let got: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if got.eq_ignore_ascii_case(expected) { Ok(()) } else { Err(wrong("SHA-256", expected.to_owned(), got)) }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Shorthand for an error with one of our files.
pub(super) fn failed(doing: &'static str, path: &Path, source: io::Error) -> FetchError {
    FetchError::File { doing, path: path.to_owned(), source }
}
