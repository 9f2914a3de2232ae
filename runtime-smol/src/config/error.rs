//! What is wrong with a setting, with the place where it was given.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::layers::Origin;

/// Why settings of the environment or of the file cannot be used. Those of the command line are clap's to refuse.
#[derive(Debug)]
#[non_exhaustive]
pub enum SettingError {
    /// The file cannot be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is longer than any that is read.
    TooLong {
        /// Which.
        path: PathBuf,
        /// The longest, in bytes.
        limit: u64,
    },
    /// The file is no TOML.
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What the parser said.
        message: String,
    },
    /// The file has a key that is no setting.
    Unknown {
        /// Which file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// The key.
        key: String,
        /// A setting of a similar name.
        similar: Option<String>,
    },
    /// A value that the setting does not take.
    Value {
        /// Where it was given.
        origin: Origin,
        /// The setting.
        key: String,
        /// The value; a dash in its place where it is a secret.
        seen: String,
        /// What is wrong with it, and what is allowed.
        why: String,
    },
    /// Two settings of which there can be only one.
    Exclusive {
        /// One of them, and where it was given.
        first: (String, Origin),
        /// The other.
        second: (String, Origin),
    },
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingError::Unreadable { path, source } => {
                write!(f, "cannot read the settings in {}: {source}", path.display())
            }
            SettingError::TooLong { path, limit } => {
                write!(
                    f,
                    "{} is longer than {limit} bytes, the most that is read of a file with settings",
                    path.display()
                )
            }
            SettingError::Syntax { path, line, message } => {
                write!(f, "{}:{line}: this is no TOML: {message}", path.display())
            }
            SettingError::Unknown { path, line, key, similar } => {
                write!(f, "{}:{line}: there is no setting {key:?}", path.display())?;
                if let Some(similar) = similar {
                    write!(f, "; did you mean {similar:?}?")?;
                }
                f.write_str("\n`causerie config --example` shows all of them")
            }
            SettingError::Value { origin, key, seen, why } => write!(f, "{origin}: {key} = {seen}: {why}"),
            SettingError::Exclusive { first: (first, there), second: (second, here) } => {
                write!(f, "{first} ({there}) and {second} ({here}) exclude each other; give one of them")
            }
        }
    }
}

impl std::error::Error for SettingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SettingError::Unreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}
