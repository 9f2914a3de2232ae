//! Chats with Causerie and with llama.cpp's `llama-server` in turn: several people at once, over sockets, as people chat.
//!
//! ```sh
//! cargo build --release -p causerie
//! cargo run --release -p causerie-benches --bin chats -- --llama-server PATH --record benches/record
//! ```
//!
//! Everybody asks at the same moment, reads the streamed answer, and asks the next question when it is whole. Each server is
//! a process of its own and so is this load; both get the same model file, the same threads and the same questions, and take
//! turns from round to round who comes first, so that the ratio of a round means more than its figures.

mod causerie;
mod llama;
mod measured;
mod people;
mod report;
mod sse;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use causerie_benches::{Subject, exit_code};
use clap::Parser;

use measured::Measured;
use people::{CONVERSATIONS, Plan};
use report::{Report, Round};

/// Chats with Causerie and llama-server in turn, and prints the ratios.
#[derive(Debug, Parser)]
#[command(name = "chats")]
struct Options {
    /// llama.cpp's server, built as `--how-to-build` says; without it causerie is measured alone
    #[arg(long, value_name = "PROGRAM")]
    llama_server: Option<PathBuf>,

    /// Print how to build a llama-server that is at its best, and end
    #[arg(long)]
    how_to_build: bool,

    #[command(flatten)]
    subject: Subject,

    /// People who chat at once, each in a session of their own
    #[arg(long, value_name = "N", default_value_t = CONVERSATIONS.len(), value_parser = at_most(CONVERSATIONS.len()))]
    people: usize,

    /// Questions that each of them asks
    #[arg(long, value_name = "N", default_value_t = CONVERSATIONS[0].len(), value_parser = at_most(CONVERSATIONS[0].len()))]
    questions: usize,

    /// Tokens of an answer at most
    #[arg(long, value_name = "N", default_value_t = 128)]
    tokens: u32,

    /// How often each server is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_most(1_000))]
    rounds: usize,

    /// Whether causerie guesses ahead: auto, off, on
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    speculate: String,
}

fn at_most(most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("it can be 1 to {most}")),
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.how_to_build {
        println!("{}", llama::HOW_TO_BUILD);
        return ExitCode::SUCCESS;
    }
    exit_code(run(&options))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (program, model) = (options.subject.program()?, options.subject.model()?);
    let plan = Plan { people: options.people, questions: options.questions, tokens: options.tokens };
    let peer = options.llama_server.as_deref();
    let llama_server = peer.map(llama::version).transpose()?;
    let circumstances = options.subject.circumstances(&model);
    let threads = circumstances.threads;
    println!("{circumstances}; {plan}");
    match &llama_server {
        Some(version) => println!("causerie and {version}, in turn"),
        None => println!("causerie alone: for a comparison give --llama-server, which --how-to-build helps to"),
    }
    let ours = || causerie::measure(&program, &model, threads, &options.speculate, &plan);
    let theirs = |peer: &Path| llama::measure(peer, &model, threads, &plan);
    let mut rounds = Vec::new();
    for number in 0..options.rounds {
        // Who comes first takes turns.
        let early = if number % 2 == 0 { Some(ours()?) } else { None };
        let peer = peer.map(theirs).transpose()?;
        let causerie = early.map_or_else(ours, Ok)?;
        let round = Round { causerie, llama_server: peer };
        println!("round {}: {round}", number + 1);
        rounds.push(round);
    }
    let report = Report::new(circumstances, plan, options.speculate.clone(), llama_server, rounds);
    println!("\n{report}");
    report.record(&options.subject)
}

/// Runs a future to its end on this thread.
fn block_on<T>(
    measure: impl AsyncFnOnce(std::rc::Rc<smol::LocalExecutor<'static>>) -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let executor = std::rc::Rc::new(smol::LocalExecutor::new());
    smol::block_on(executor.run(measure(executor.clone())))
}
