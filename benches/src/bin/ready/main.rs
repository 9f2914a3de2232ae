//! From a server's start to what people wait for: that it listens, that its model is ready, the first token of an answer, and
//! the page's first paint in a browser.
//!
//! ```sh
//! cargo build --release -p causerie && cargo run --release -p causerie-benches --bin ready -- --record benches/record
//! ```
//!
//! The model's file is in the page cache. `new` starts with an empty data directory, `again` with one in which conversations
//! are stored and their keys and values saved, as after a restart. The page is loaded in headless Chromium, if there is one.

mod page;
mod report;
mod start;

use std::error::Error;
use std::process::ExitCode;

use causerie_benches::{Server, Start, Subject, exit_code};
use clap::Parser;

use report::Report;

/// Measures how long a server's start and its page take.
#[derive(Debug, Parser)]
#[command(name = "ready")]
struct Options {
    #[command(flatten)]
    subject: Subject,

    /// How often each way of starting, and the page, is measured
    #[arg(long, value_name = "N", default_value_t = 10)]
    rounds: usize,

    /// Conversations that are stored and saved before starting `again`
    #[arg(long, value_name = "N", default_value_t = 8)]
    conversations: usize,

    /// Leave the page out
    #[arg(long)]
    no_page: bool,
}

fn main() -> ExitCode {
    exit_code(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (program, model) = (options.subject.program()?, options.subject.model()?);
    let circumstances = options.subject.circumstances(&model);
    let threads = circumstances.threads.to_string();
    let starts = start::Starts {
        program: &program,
        model: &model,
        arguments: &["--threads", &threads],
        conversations: options.conversations,
        rounds: options.rounds,
    };
    let (new, again) = starts.measure()?;
    let page = if options.no_page {
        None
    } else {
        let start = Start { model: Some(&model), ..Start::default() };
        page::measure(&Server::start(program.clone(), start)?, options.rounds)?
    };
    let report = Report { circumstances, conversations: options.conversations, new, again, page };
    println!("{report}");
    report.record(&options.subject)
}
