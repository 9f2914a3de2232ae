//! How a command ends when it does not end well.

use std::fmt;
use std::io;
use std::process::ExitCode;

use super::output::harmless;

/// The exit code after Ctrl-C, as shells have it: 128 and the number of SIGINT.
pub(super) const INTERRUPTED: u8 = 130;

/// Why a command ends early.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// Something failed; the text says what, and what to do.
    Failed(String),
    /// The command line is fine by itself but not here; exit code 2.
    Usage(String),
    /// Whoever read stdout has gone: nothing is wrong.
    OutputClosed,
    /// Ctrl-C.
    Interrupted,
}

impl Failure {
    /// A failure with the words of an error.
    pub(crate) fn of(error: impl fmt::Display) -> Failure {
        Failure::Failed(error.to_string())
    }

    /// Says on stderr what there is to say, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Failure::Failed(message) => {
                say(message);
                ExitCode::FAILURE
            }
            Failure::Usage(message) => {
                say(message);
                ExitCode::from(2)
            }
            Failure::OutputClosed => ExitCode::SUCCESS,
            Failure::Interrupted => ExitCode::from(INTERRUPTED),
        }
    }
}

/// A line for people, on stderr. `eprintln!` would panic where that is closed.
pub(crate) fn say(message: &str) {
    use std::io::Write;
    let _ = writeln!(io::stderr().lock(), "causerie: {}", harmless(message));
}

/// For writing to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Failed(format!("cannot write to stdout: {error}")),
        }
    }
}
