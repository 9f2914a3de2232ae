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
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use causerie_benches::{Commands, Session};
use causerie_core::bench::{Deltas, decodes};
use causerie_core::{MessageId, SessionId, Uuid, limits::Limits};
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
    /// Asked for work and for the next deadline, alone.
    IdleOf1,
    /// The same among 1,000 sessions.
    IdleOf1000,
    /// A ping of 145 bytes to its pong.
    Ping,
    /// `typing` of 148 bytes, prolonged.
    Typing,
    /// A message of 150 bytes is decoded, and no more.
    Decode,
    /// A message of 150 bytes to the write that storage is to commit, decoding included.
    Message,
    /// The same with its commit, its answer, and the answer's commit.
    Exchange,
    /// A piece of text is encoded, and no more.
    Encode,
    /// A piece of text to one reader: input, encoding and output.
    TokenTo1,
    /// To ten readers.
    TokenTo10,
    /// To 1,000 readers.
    TokenTo1000,
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
        let commands = Commands::default();
        let readers = match self {
            Operation::TokenTo10 => 10,
            Operation::TokenTo1000 => 1_000,
            _ => 1,
        };
        let others = match self {
            Operation::IdleOf1 => 0,
            Operation::IdleOf1000 => 1_000,
            _ => 10,
        };
        // As many for the short run as for the long one: what they need to open is not counted.
        let mut session = Session::among(others, readers, 1 + RUNS[1] as usize);
        let deltas = Deltas::new(SessionId(Uuid([0x5e; 16])), MessageId(Uuid([0xae; 16])));
        let (mut out, message_bytes) = (String::new(), Limits::default().message_bytes);
        // What the first time needs, as room in buffers, is not counted.
        session.token(" word");
        session.frame(&commands.ping);
        let first = session.message(0, &commands.message);
        session.answer(first, "Tea.");
        deltas.encode(&mut out, 0, " word");
        for time in 0..times as usize {
            match self {
                Operation::IdleOf1 | Operation::IdleOf1000 => {
                    black_box(session.idle());
                }
                Operation::Ping => {
                    black_box(session.frame(&commands.ping));
                }
                Operation::Typing => {
                    black_box(session.frame(&commands.typing));
                }
                Operation::Decode => {
                    black_box(decodes(&commands.message, message_bytes));
                }
                Operation::Message => {
                    black_box(session.message(1 + time, &commands.message));
                }
                Operation::Exchange => {
                    let request = session.message(0, &commands.message);
                    session.answer(request, "Tea is good for you.");
                }
                Operation::Encode => {
                    deltas.encode(&mut out, 12_345, " word");
                    black_box(out.len());
                }
                Operation::TokenTo1 | Operation::TokenTo10 | Operation::TokenTo1000 => {
                    black_box(session.token(" word"));
                }
                Operation::Visit => {
                    black_box(session.visit());
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
