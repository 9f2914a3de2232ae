//! Counts the instructions of each operation of the protocol core, and says which rose.
//!
//! ```sh
//! cargo run --release -p causerie-benches --bin instructions
//! cargo run --release -p causerie-benches --bin instructions -- --record
//! ```
//!
//! Times on a busy machine say little about a change of a few per cent; the number of instructions is nearly the same in
//! every run. Valgrind's callgrind counts them, running this program anew for each operation: once with few repetitions
//! and once with many, so that what comes before and after falls out of the difference.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use causerie_benches::Session;
use clap::{Parser, ValueEnum};

/// Repetitions of the short and of the long run.
const RUNS: [u32; 2] = [20, 220];

/// More instructions by this much are told, in per cent.
const TOLERANCE: f64 = 2.0;

/// Counts the instructions of the protocol core's operations.
#[derive(Debug, Parser)]
#[command(name = "instructions")]
struct Options {
    /// Write what was counted to the record instead of comparing with it
    #[arg(long)]
    record: bool,

    /// Where the record is [default: benches/record/core-instructions.json]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Do one operation so many times, without counting
    #[arg(long, hide = true, num_args = 2, value_names = ["OPERATION", "TIMES"])]
    run: Option<Vec<String>>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Operation {
    /// Asked for work and for the next deadline, among 1,000 sessions.
    Idle,
    /// A ping of 145 bytes to its pong.
    Ping,
    /// `typing` of 148 bytes, prolonged.
    Typing,
    /// A message of 150 bytes, its commit, its answer, and the answer's commit.
    Exchange,
    /// A piece of text to one reader.
    TokenTo1,
    /// A piece of text to 100 readers.
    TokenTo100,
    /// A connection opens, is recognized and goes.
    Visit,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some([operation, times]) = options.run.as_deref() {
        return match (Operation::from_str(operation, false), times.parse()) {
            (Ok(operation), Ok(times)) => {
                operation.repeat(times);
                ExitCode::SUCCESS
            }
            _ => ExitCode::FAILURE,
        };
    }
    match measure(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Operation {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Prepares, and does it so many times.
    fn repeat(self, times: u32) {
        let ping = format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(122));
        let typing = format!(r#"{{"type":"typing","is_typing":true,"id":"{}"}}"#, "x".repeat(106));
        let text = "Tell me more about the tea of the mountains, ".repeat(2);
        let message = format!(r#"{{"type":"chat_message","message":"{text}","client_id":null,"id":7}}"#);
        let readers = if let Operation::TokenTo100 = self { 100 } else { 1 };
        let others = if let Operation::Idle = self { 1_000 } else { 10 };
        let mut session = Session::among(others, readers);
        // What the first time needs, as room in buffers, is not counted.
        session.token(" word");
        session.frame(&ping);
        let first = session.message(&message);
        session.answer(first, "Tea.");
        for _ in 0..times {
            match self {
                Operation::Idle => {
                    std::hint::black_box(session.idle());
                }
                Operation::Ping => {
                    std::hint::black_box(session.frame(&ping));
                }
                Operation::Typing => {
                    std::hint::black_box(session.frame(&typing));
                }
                Operation::Exchange => {
                    let request = session.message(&message);
                    session.answer(request, "Tea is good for you.");
                }
                Operation::TokenTo1 | Operation::TokenTo100 => {
                    std::hint::black_box(session.token(" word"));
                }
                Operation::Visit => {
                    std::hint::black_box(session.visit());
                }
            }
        }
    }
}

/// Whether nothing rose.
fn measure(options: &Options) -> Result<bool, Box<dyn Error>> {
    let record = Path::new(env!("CARGO_MANIFEST_DIR")).join("record/core-instructions.json");
    let record = options.file.clone().unwrap_or(record);
    let mut counted = BTreeMap::new();
    for operation in Operation::value_variants() {
        counted.insert(operation.name(), per_operation(*operation)?);
    }
    if options.record {
        std::fs::write(&record, format!("{:#}\n", serde_json::to_value(&counted)?))?;
        counted.iter().for_each(|(name, count)| println!("{name:14} {count:8}"));
        println!("recorded in {}", record.display());
        return Ok(true);
    }
    let text = std::fs::read_to_string(&record)
        .map_err(|error| format!("{}: {error}; --record makes it", record.display()))?;
    let before: BTreeMap<String, u64> = serde_json::from_str(&text)?;
    println!("{:14} {:>8} {:>8}", "instructions", "record", "now");
    let mut rose = false;
    for (name, now) in &counted {
        let Some(was) = before.get(name) else {
            println!("{name:14} {:>8} {now:8}  new: --record", "");
            continue;
        };
        let change = (*now as f64 / (*was).max(1) as f64 - 1.0) * 100.0;
        let remark = match change {
            change if change > TOLERANCE => "  MORE",
            change if change < -TOLERANCE => "  less: --record",
            _ => "",
        };
        rose |= change > TOLERANCE;
        println!("{name:14} {was:8} {now:8} {change:+6.1} %{remark}");
    }
    if rose {
        eprintln!("error: some operations take over {TOLERANCE} % more instructions than recorded: see MORE above");
    }
    Ok(!rose)
}

/// Instructions of one repetition.
fn per_operation(operation: Operation) -> Result<u64, Box<dyn Error>> {
    let [few, many] = RUNS.map(|times| count(operation, times));
    let each = |few: u64, many: u64| many.saturating_sub(few) / u64::from(RUNS[1] - RUNS[0]);
    Ok(each(few?, many?))
}

/// Instructions of a whole run of this program.
fn count(operation: Operation, times: u32) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--run", &operation.name(), &times.to_string()])
        .output()
        .map_err(|error| {
            format!("valgrind cannot be started: {error}; on Debian and Ubuntu run `apt-get install valgrind`")
        })?;
    let told = String::from_utf8_lossy(&output.stderr);
    let total = told.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    total.ok_or_else(|| format!("valgrind told no count for {}:\n{told}", operation.name()).into())
}
