//! What the protocol core costs, each figure apart and beside its goal.
//!
//! ```sh
//! cargo run --release -p causerie-benches --bin cost
//! cargo run --release -p causerie-benches --bin cost -- --record FILE.json
//! ```
//!
//! Every figure is measured in many short rounds, all figures in turn, so that whatever else the machine does meets all of
//! them alike. The least of the rounds says what the work takes, the median how it went today. The program fails when the
//! least is above its goal. Bytes of idle sessions and connections are counted by a test (`core/tests/size.rs`),
//! instructions by `instructions`.

mod figure;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

use figure::{Figure, figures};

/// Measures what the protocol core costs.
#[derive(Debug, Parser)]
#[command(name = "cost")]
struct Options {
    /// Rounds of each figure
    #[arg(long, value_name = "N", default_value_t = 200)]
    rounds: u32,

    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut figures = figures();
    for _ in 0..options.rounds.max(1) {
        figures.iter_mut().for_each(Figure::round);
    }
    println!("{:58} {:>8} {:>8} {:>8}", "nanoseconds", "goal", "least", "median");
    let rows: Vec<Row> = rows(&figures);
    rows.iter().for_each(Row::print);
    if let Some(path) = &options.record {
        let record = json!({
            "processor": processor(),
            "version": env!("CARGO_PKG_VERSION"),
            "rounds": options.rounds,
            "nanoseconds": rows.iter().map(Row::json).collect::<Vec<_>>(),
        });
        if let Err(error) = std::fs::write(path, format!("{record:#}\n")) {
            eprintln!("error: {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    let missed = rows.iter().filter(|row| row.missed()).count();
    if missed > 0 {
        eprintln!("error: {missed} figures are above their goal");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// A line of the table.
struct Row {
    name: String,
    goal: Option<f64>,
    least: f64,
    median: f64,
}

impl Row {
    fn missed(&self) -> bool {
        self.goal.is_some_and(|goal| self.least > goal)
    }

    fn print(&self) {
        let goal = self.goal.map_or(String::new(), |goal| format!("{goal:.0}"));
        let remark = if self.missed() { "  ABOVE" } else { "" };
        println!("{:58} {goal:>8} {:8.1} {:8.1}{remark}", self.name, self.least, self.median);
    }

    fn json(&self) -> serde_json::Value {
        let tenth = |nanos: f64| (nanos * 10.0).round() / 10.0;
        json!({ "what": self.name, "goal": self.goal, "least": tenth(self.least), "median": tenth(self.median) })
    }
}

/// What was measured, and what follows from it: a reader's part of a token, and a command without its decoding.
fn rows(figures: &[Figure]) -> Vec<Row> {
    let mut rows: Vec<Row> = figures
        .iter()
        .map(|figure| Row {
            name: figure.name.clone(),
            goal: figure.goal,
            least: figure.least(),
            median: figure.median(),
        })
        .collect();
    let of =
        |name: &str| figures.iter().find(|figure| figure.name == name).map(|figure| (figure.least(), figure.median()));
    let mut derived = |name: &str, goal: f64, more: &str, less: &str, parts: f64| {
        if let (Some(more), Some(less)) = (of(more), of(less)) {
            let (least, median) = ((more.0 - less.0) / parts, (more.1 - less.1) / parts);
            rows.push(Row { name: name.to_owned(), goal: Some(goal), least, median });
        }
    };
    let token = figure::token;
    derived("a token: each reader from the 2nd to the 10th", 10.0, &token(10), &token(1), 9.0);
    derived("a token: each reader from the 11th to the 1,000th", 10.0, &token(1_000), &token(10), 990.0);
    for command in figure::COMMANDS {
        let name = format!("{command} to its actions, without decoding");
        derived(&name, 250.0, &figure::command(command), &figure::decoding(command), 1.0);
    }
    rows
}

/// What the system calls the processor.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}
