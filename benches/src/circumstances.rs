//! What measurements of a whole server are told, and what their records say besides the figures.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::{Machine, commit, model_file, program, today};

/// Other work takes so much of a core when figures are no longer to be trusted.
const BUSY: f64 = 0.5;

/// Which server is measured, and how: options of a command.
#[derive(Clone, Debug, clap::Args)]
pub struct Subject {
    /// The server to measure [default: the `causerie` beside this program]
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,

    /// The model that it loads [default: the default model]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,

    /// Threads that compute [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// Write the figures as JSON, and as Markdown beside it, to this directory
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
}

impl Subject {
    /// The server's program.
    ///
    /// # Errors
    /// When it is not there, with what to do about it.
    pub fn program(&self) -> Result<PathBuf, Box<dyn Error>> {
        program(self.server.clone())
    }

    /// The model's file.
    ///
    /// # Errors
    /// [`ModelMissing`](crate::ModelMissing) if none was named and the default one is not there.
    pub fn model(&self) -> Result<PathBuf, Box<dyn Error>> {
        Ok(self.model.clone().map_or_else(model_file, Ok)?)
    }

    /// Here and now, with this model; warns when the machine is busy.
    #[must_use]
    pub fn circumstances(&self, model: &Path) -> Circumstances {
        let machine = Machine::this();
        if machine.load_average.is_some_and(|load| load > BUSY) {
            println!("Other work keeps this machine busy (load average above {BUSY}): its figures will be worse.");
        }
        let model = model.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let threads = self.threads.unwrap_or(machine.cores);
        Circumstances { date: today(), machine, threads, model, commit: commit() }
    }

    /// Writes `DATE-NAME.json` and the same as Markdown, if a record was wished.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn record<R: Serialize + fmt::Display>(
        &self,
        date: &str,
        name: &str,
        title: &str,
        report: &R,
    ) -> Result<(), Box<dyn Error>> {
        let Some(directory) = &self.record else { return Ok(()) };
        std::fs::create_dir_all(directory)?;
        let path = directory.join(format!("{date}-{name}.json"));
        std::fs::write(&path, format!("{:#}\n", serde_json::to_value(report)?))?;
        std::fs::write(path.with_extension("md"), format!("# {title}, {date}\n\n{report}"))?;
        println!("Written: {} and the same as Markdown", path.display());
        Ok(())
    }
}

/// Under which figures were measured.
#[derive(Clone, Debug, Serialize)]
pub struct Circumstances {
    /// The day, in UTC.
    pub date: String,
    /// Where.
    pub machine: Machine,
    /// That compute.
    pub threads: usize,
    /// Its file's name.
    pub model: String,
    /// Of the sources; `None` where git knows nothing of them.
    pub commit: Option<String>,
}

/// The first line of a report, but for the number of rounds.
impl fmt::Display for Circumstances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Circumstances { machine, threads, model, .. } = self;
        write!(f, "{}, {} cores; {model}; {threads} threads", machine.processor, machine.cores)
    }
}

impl Circumstances {
    /// Which sources, in a word.
    #[must_use]
    pub fn sources(&self) -> &str {
        self.commit.as_deref().unwrap_or("of no commit")
    }
}

/// A command's end: says what failed.
#[must_use]
pub fn exit_code(outcome: Result<(), Box<dyn Error>>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Report {
        #[serde(flatten)]
        circumstances: Circumstances,
        figure: u32,
    }

    impl fmt::Display for Report {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            writeln!(f, "{}: {}", self.circumstances, self.figure)
        }
    }

    #[test]
    fn a_record_has_the_circumstances_beside_the_figures() {
        let directory = std::env::temp_dir().join(format!("causerie-record-{}", std::process::id()));
        let subject = Subject { server: None, model: None, threads: Some(3), record: Some(directory.clone()) };
        let circumstances = subject.circumstances(Path::new("somewhere/tiny.gguf"));
        let report = Report { circumstances, figure: 7 };
        subject.record("2026-01-02", "name", "Title", &report).expect("the directory is ours");
        let read = |name: &str| std::fs::read_to_string(directory.join(name)).expect("it was written");
        let value: serde_json::Value = serde_json::from_str(&read("2026-01-02-name.json")).expect("it is JSON");
        assert_eq!((&value["figure"], &value["threads"], &value["model"]), (&7.into(), &3.into(), &"tiny.gguf".into()));
        let text = read("2026-01-02-name.md");
        assert!(text.starts_with("# Title, 2026-01-02\n\n") && text.ends_with("tiny.gguf; 3 threads: 7\n"), "{text}");
        std::fs::remove_dir_all(directory).expect("the directory is ours");
    }
}
