//! The two engines, each measured in processes of its own.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::Isa;
use crate::job::{Job, Reply};

/// The peer's side: it gets a job as we do.
const PEER_SCRIPT: &str = include_str!("../../../peers/llama.py");
/// What a process writes when its time begins to count; for others it counts from their start.
const TIME_BEGINS: &str = "imported";
/// Bytes of what a process complains about that are kept: the end of it, as the reason comes last.
const COMPLAINT: usize = 2_000;

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) enum Engine {
    /// This program, started anew, with the kernels of an instruction set, or the fastest.
    Causerie(Option<Isa>),
    /// llama.cpp in a Python that has llama-cpp-python.
    LlamaCpp(OsString),
}

/// What a job gave, and how long after the process' start.
pub(crate) struct Done {
    pub(crate) reply: Reply,
    pub(crate) after: Duration,
}

/// Why a process gave nothing.
#[derive(Debug)]
pub(crate) enum EngineError {
    /// It could not be started or spoken to.
    Process { program: OsString, error: io::Error },
    /// It ended without an answer.
    Ended { status: ExitStatus, complaint: String },
    /// It answered what is no answer.
    Answer { line: String, error: serde_json::Error },
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { program, error } => write!(f, "{} cannot be run: {error}", program.display()),
            Self::Ended { status, complaint } => write!(f, "it ended without an answer ({status}): {complaint}"),
            Self::Answer { line, error } => write!(f, "its answer cannot be read ({error}): {line}"),
        }
    }
}

impl std::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Process { error, .. } => Some(error),
            Self::Ended { .. } => None,
            Self::Answer { error, .. } => Some(error),
        }
    }
}

impl Engine {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Engine::Causerie(_) => "causerie",
            Engine::LlamaCpp(_) => "llama.cpp",
        }
    }

    fn command(&self) -> io::Result<Command> {
        Ok(match self {
            Engine::Causerie(isa) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("--child");
                if let Some(isa) = isa {
                    command.env("CAUSERIE_ISA", isa.name());
                }
                command
            }
            Engine::LlamaCpp(python) => {
                let mut command = Command::new(python);
                command.args(["-c", PEER_SCRIPT]);
                command
            }
        })
    }

    /// Does a job in a new process.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(crate) fn run(&self, job: &Job) -> Result<Done, EngineError> {
        let mut command = self.command().map_err(|error| EngineError::Process { program: "compare".into(), error })?;
        let program = command.get_program().to_owned();
        let failed = |error| EngineError::Process { program: program.clone(), error };
        let job = serde_json::to_string(job).expect("a job has no maps with other keys than strings");

        let mut began = Instant::now();
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
        let mut stderr = child.stderr.take().expect("stderr was asked for");
        let complaint = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes); // what could be read is shown
            let text = String::from_utf8_lossy(&bytes).trim().to_owned();
            text.char_indices().rev().nth(COMPLAINT - 1).map_or(text.clone(), |(at, _)| text[at..].to_owned())
        });
        // A process that has ended already does not take its job: its status and complaint say more than this error.
        let _ = writeln!(child.stdin.take().expect("stdin was asked for"), "{job}");
        let mut answer = None;
        for line in BufReader::new(child.stdout.take().expect("stdout was asked for")).lines() {
            match line.map_err(failed)?.as_str() {
                TIME_BEGINS => began = Instant::now(),
                line => answer = Some((line.to_owned(), began.elapsed())),
            }
        }
        let status = child.wait().map_err(failed)?;
        let complaint = complaint.join().unwrap_or_default();
        match answer {
            Some((line, after)) if status.success() => match serde_json::from_str(&line) {
                Ok(reply) => Ok(Done { reply, after }),
                Err(error) => Err(EngineError::Answer { line, error }),
            },
            _ => Err(EngineError::Ended { status, complaint }),
        }
    }
}
