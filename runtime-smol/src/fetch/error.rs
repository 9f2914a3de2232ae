//! Why a model could not be fetched.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a model could not be fetched.
#[derive(Debug)]
#[non_exhaustive]
pub enum FetchError {
    /// The file that was named is not there.
    NoFile {
        /// Its path.
        path: PathBuf,
    },
    /// It is not on this machine, and the network may not be used.
    Offline {
        /// What is missing.
        what: String,
    },
    /// A file of ours could not be made, written or renamed.
    File {
        /// What was being done, as in "cannot write".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server was not reached, or the connection was cut too often.
    Network {
        /// What was asked for.
        url: String,
        /// What went wrong.
        why: String,
        /// What was received before, in bytes.
        received: u64,
    },
    /// The server answered with something else than the file.
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// What was received is not the file that was wanted. It has been deleted.
    Wrong {
        /// From where.
        from: String,
        /// Whether it is the `size` or the `SHA-256`.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// The answer of the Hub's API makes no sense.
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// Which of a repository's files is meant is not clear.
    NoChoice {
        /// The repository.
        repository: String,
        /// The files that could be meant.
        files: Vec<String>,
    },
    /// The Python package could not be had.
    Package {
        /// Its name, or several.
        package: String,
        /// What went wrong, as pip or the system said it.
        why: String,
    },
    /// Both sources of a known model failed.
    AllSources {
        /// Its name.
        name: &'static str,
        /// Of Hugging Face.
        first: Box<FetchError>,
        /// Of the package.
        second: Box<FetchError>,
    },
    /// Somebody asked to stop.
    Cancelled,
}

impl FetchError {
    /// Whether it was the source that failed, and not this machine or its user.
    pub(super) fn another_source_may_help(&self) -> bool {
        match self {
            FetchError::Network { .. }
            | FetchError::Status { .. }
            | FetchError::Wrong { .. }
            | FetchError::Answer { .. }
            | FetchError::Package { .. } => true,
            FetchError::NoFile { .. }
            | FetchError::Offline { .. }
            | FetchError::File { .. }
            | FetchError::NoChoice { .. }
            | FetchError::AllSources { .. }
            | FetchError::Cancelled => false,
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::NoFile { path } => {
                write!(f, "there is no file {}; name a GGUF file that exists", path.display())
            }
            FetchError::Offline { what } => write!(
                f,
                "{what} is not on this machine, and --offline forbids fetching it; run `causerie pull` once with a \
                 network, or name a file with --model"
            ),
            FetchError::File { doing, path, source } => {
                write!(f, "cannot {doing} {}: {source}", path.display())?;
                match source.kind() {
                    io::ErrorKind::StorageFull => {
                        f.write_str("; free some space and run it again, it goes on from there")
                    }
                    io::ErrorKind::PermissionDenied => f.write_str("; set CAUSERIE_CACHE_DIR to a writable directory"),
                    _ => Ok(()),
                }
            }
            FetchError::Network { url, why, received: 0 } => write!(f, "cannot reach {url}: {why}"),
            FetchError::Network { url, why, received } => write!(
                f,
                "the transfer of {url} broke off after {received} bytes: {why}; run it again, it goes on from there"
            ),
            FetchError::Status { url, status } => {
                write!(f, "{url} answers with HTTP status {status}")?;
                match status {
                    401 | 403 => f.write_str(": it may need a token in HF_TOKEN, or your consent on its page"),
                    404 => f.write_str(": check the names of the repository and the file"),
                    429 => f.write_str(": too many requests; try again later"),
                    _ => Ok(()),
                }
            }
            FetchError::Wrong { from, what, expected, got } => write!(
                f,
                "what {from} gave is not the file that was wanted: its {what} is {got} and should be {expected}; it was \
                 deleted"
            ),
            FetchError::Answer { url, why } => write!(f, "cannot make sense of the answer of {url}: {why}"),
            FetchError::NoChoice { repository, files } if files.is_empty() => {
                write!(f, "the repository {repository} has no GGUF files; look for one whose name ends in -GGUF")
            }
            FetchError::NoChoice { repository, files } => {
                write!(
                    f,
                    "the repository {repository} has several GGUF files; name one, as in --hf {repository}:FILE:"
                )?;
                files.iter().try_for_each(|file| write!(f, "\n  {file}"))
            }
            FetchError::Package { package, why } => write!(f, "cannot get the Python package {package}: {why}"),
            FetchError::AllSources { name, first, second } => write!(
                f,
                "the model {name} cannot be had from anywhere: {first}; {second}. Connect to a network and run \
                 `causerie pull {name}`, or name a GGUF file with --model"
            ),
            FetchError::Cancelled => f.write_str("stopped; run it again, it goes on from there"),
        }
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FetchError::File { source, .. } => Some(source),
            _ => None,
        }
    }
}
