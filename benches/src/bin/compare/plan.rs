//! What is measured of a model, and in which order.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use causerie_benches::{Spread, number};

use crate::engine::Engine;
use crate::golden::{Accuracy, Golden};
use crate::job::{Job, Reply, Task};
use crate::report::{AccuracyRow, ModelReport, Row};

/// Tokens of a step when a text's logits are computed as a prompt's: enough for the kernels that prompts get.
const TEXT_STEP: usize = 128;

/// What is measured of each model.
pub(crate) struct Plan {
    pub(crate) causerie: Engine,
    /// Left out if it is not installed.
    pub(crate) peer: Option<Engine>,
    pub(crate) threads: usize,
    pub(crate) runs: usize,
    pub(crate) quick: bool,
}

impl Plan {
    /// Measures one model.
    ///
    /// # Errors
    /// If the file cannot be read, or a process gives no answer.
    pub(crate) fn measure(&self, path: &Path) -> Result<ModelReport, Box<dyn Error>> {
        let bytes = std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.len();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let tasks = if self.runs == 0 { Vec::new() } else { Task::rows(self.quick) };
        let mut figures: Vec<[Vec<f64>; 2]> = tasks.iter().map(|_| Default::default()).collect();
        for run in 0..self.runs {
            for (task, figures) in tasks.iter().zip(&mut figures) {
                let job = Job { model: path.to_owned(), threads: self.threads, task: task.clone() };
                let mut turns = [Some((0, &self.causerie)), self.peer.as_ref().map(|peer| (1, peer))];
                if run % 2 == 1 {
                    turns.reverse();
                }
                for (column, engine) in turns.into_iter().flatten() {
                    let figure = self.figure(engine, &job)?;
                    let (what, unit) = (task.to_string(), task.unit());
                    let shown = number(figure, unit.digits());
                    progress(&format!(
                        "{}/{}  {what:<32}{:<12}{shown:>12} {}",
                        run + 1,
                        self.runs,
                        engine.name(),
                        unit.name()
                    ));
                    figures[column].push(figure);
                }
            }
        }
        let rows = tasks.iter().zip(figures);
        let rows = rows.map(|(task, [ours, theirs])| Row::new(task.to_string(), task.unit(), ours, theirs)).collect();
        Ok(ModelReport { file, bytes, rows, accuracy: self.accuracy(path)? })
    }

    /// One figure, in the task's unit.
    fn figure(&self, engine: &Engine, job: &Job) -> Result<f64, Box<dyn Error>> {
        let done = engine.run(job).map_err(|error| format!("{}, {}: {error}", engine.name(), job.task))?;
        Ok(match &done.reply {
            Reply::Rates(rates) => Spread::of(rates).ok_or_else(|| unexpected(engine, &done.reply))?.median,
            Reply::FirstToken {} => done.after.as_secs_f64(),
            Reply::Memory(memory) => memory.after.saturating_sub(memory.before) as f64 / f64::from(1 << 20),
            Reply::About(_) | Reply::Scores(_) => return Err(unexpected(engine, &done.reply)),
        })
    }

    /// Compares both engines with the truth, computing texts as prompts are and token by token.
    fn accuracy(&self, path: &Path) -> Result<Vec<AccuracyRow>, Box<dyn Error>> {
        let mut texts = Golden::of(path)?;
        if self.quick {
            texts.truncate(1);
        }
        if texts.is_empty() {
            progress("no float32 reference is known for this model: accuracy is not measured");
            return Ok(Vec::new());
        }
        let ways = [("as a prompt", TEXT_STEP), ("token by token", 1)];
        let mut rows = Vec::new();
        for (way, step) in ways {
            progress(&format!("logits of {} texts, {way}", texts.len()));
            let accuracy = |engine: &Engine| self.accuracy_of(engine, path, &texts, step);
            let (causerie, llama_cpp) = (accuracy(&self.causerie)?, self.peer.as_ref().map(accuracy).transpose()?);
            rows.push(AccuracyRow { way: way.to_owned(), causerie, llama_cpp });
        }
        Ok(rows)
    }

    fn accuracy_of(
        &self,
        engine: &Engine,
        path: &Path,
        texts: &[Golden],
        step: usize,
    ) -> Result<Accuracy, Box<dyn Error>> {
        let mut scores = Vec::new();
        for text in texts {
            let task = Task::Scores { step, tokens: text.tokens.clone(), wanted: text.wanted() };
            let job = Job { model: path.to_owned(), threads: self.threads, task };
            match engine.run(&job).map_err(|error| format!("{}, {}: {error}", engine.name(), job.task))?.reply {
                Reply::Scores(of_text) => scores.push(of_text),
                other => return Err(unexpected(engine, &other)),
            }
        }
        let missing = || format!("{} did not give all the logits that were asked for", engine.name());
        Ok(Accuracy::of(texts, &scores).ok_or_else(missing)?)
    }
}

/// Says what is going on, beside the table.
fn progress(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

pub(crate) fn unexpected(engine: &Engine, reply: &Reply) -> Box<dyn Error> {
    format!("{} gave another answer than was asked for: {reply:?}", engine.name()).into()
}
