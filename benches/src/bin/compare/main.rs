//! Measures causerie and llama.cpp in turn, and prints what they do as ratios.
//!
//! ```sh
//! cargo run --release -p causerie-benches --bin compare -- --peer-python peer/bin/python
//! ```
//!
//! Each measurement has a process of its own, and both engines are measured directly after one another, who comes first
//! taking turns from run to run: so what drifts in a machine drifts for both, and the ratio of a run means more than its
//! figures.

mod child;
mod engine;
mod golden;
mod job;
mod peer;
mod plan;
mod plot;
mod report;

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use causerie_benches::{Machine, commit, model_file, today};
use causerie_inference::{Isa, MAX_THREADS};
use clap::Parser;

use engine::Engine;
use job::{About, Job, Reply, Task};
use plan::{Plan, unexpected};
use report::Report;

/// Measures causerie and llama.cpp in turn, and prints the ratios.
#[derive(Debug, Parser)]
#[command(name = "compare")]
struct Options {
    /// GGUF files to measure with [default: the default model]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    model: Vec<PathBuf>,

    /// How often each engine is measured; 0 compares nothing but what they compute
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = within(0, 1_000))]
    runs: usize,

    /// Threads that compute, of both engines [default: one a core]
    #[arg(long, value_name = "N", value_parser = within(1, MAX_THREADS))]
    threads: Option<usize>,

    /// A Python that has llama-cpp-python
    #[arg(long, value_name = "PATH", default_value = "python3")]
    peer_python: OsString,

    /// Measure causerie alone
    #[arg(long)]
    no_peer: bool,

    /// Causerie's kernels: avx2, avx512 … [default: the fastest]; for a llama.cpp that is built for the same
    #[arg(long, value_name = "NAME", value_parser = isa)]
    isa: Option<Isa>,

    /// Write a JSON file with all figures, and a plot beside it, to this directory
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,

    /// One run with short texts: shows that all works; the figures mean little
    #[arg(long)]
    quick: bool,

    /// Do one job that comes on standard input
    #[arg(long, hide = true)]
    child: bool,
}

fn within(least: usize, most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("it can be {least} to {most}")),
    }
}

fn isa(name: &str) -> Result<Isa, String> {
    let names = || Isa::available().map(Isa::name).collect::<Vec<_>>().join(", ");
    Isa::available().find(|isa| isa.name() == name).ok_or_else(|| format!("this processor has: {}", names()))
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = if options.child { child::run().map_err(Into::into) } else { compare(&options) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Result<(), Box<dyn Error>> {
    let models = if options.model.is_empty() { vec![model_file()?] } else { options.model.clone() };
    let machine = Machine::this();
    let threads = options.threads.unwrap_or(machine.cores.min(MAX_THREADS));
    let causerie = Engine::Causerie(options.isa);
    let about_causerie = about(&causerie, threads)?;
    println!("{}, {} cores, {}", machine.processor, machine.cores, machine.caches.join(", "));
    println!("{about_causerie}");
    let peer = if options.no_peer { None } else { find_peer(options, threads, &machine) };
    if machine.load_average.is_some_and(|load| load > 0.5) {
        println!("Other work keeps this machine busy (load average above 0.5): expect figures that are too low.");
    }
    let runs = if options.quick { options.runs.min(1) } else { options.runs };
    println!("threads: {threads}; runs: {runs}\n");

    let plan =
        Plan { causerie, peer: peer.as_ref().map(|(engine, _)| engine.clone()), threads, runs, quick: options.quick };
    let mut report = Report {
        date: today(),
        machine,
        threads,
        runs,
        quick: options.quick,
        causerie: about_causerie,
        commit: commit(),
        llama_cpp: peer.map(|(_, about)| about),
        models: Vec::new(),
    };
    for path in &models {
        let model = plan.measure(path)?;
        println!("{model}");
        report.models.push(model);
    }
    println!("{}", report.legend());
    if let Some(directory) = &options.record {
        write_record(directory, &report)?;
    }
    Ok(())
}

/// What an engine says of itself.
fn about(engine: &Engine, threads: usize) -> Result<About, Box<dyn Error>> {
    let job = Job { model: PathBuf::new(), threads, task: Task::About {} };
    match engine.run(&job)?.reply {
        Reply::About(about) => Ok(about),
        other => Err(unexpected(engine, &other)),
    }
}

/// The peer, if it is installed; otherwise it is said how to install it.
fn find_peer(options: &Options, threads: usize, machine: &Machine) -> Option<(Engine, About)> {
    let engine = Engine::LlamaCpp(options.peer_python.clone());
    match about(&engine, threads) {
        Ok(about) => {
            println!("{about}");
            if let Some(warning) = peer::mismatch(&about.features, options.isa, machine.amx) {
                println!("{warning}");
            }
            Some((engine, about))
        }
        Err(error) => {
            println!("\nllama.cpp is not there: {error}\n{}\n", peer::how_to_install(options.isa));
            None
        }
    }
}

fn write_record(directory: &Path, report: &Report) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(directory)?;
    let kernel = report.causerie.features.join("-");
    let path = directory.join(format!("{}-{}-{kernel}.json", report.date, report.machine.slug()));
    let json = serde_json::to_string_pretty(report)?;
    std::fs::write(&path, json + "\n")?;
    println!("Written: {}", path.display());
    if let Some(svg) = plot::svg(report) {
        let path = path.with_extension("svg");
        std::fs::write(&path, svg)?;
        println!("Written: {}", path.display());
    }
    Ok(())
}
