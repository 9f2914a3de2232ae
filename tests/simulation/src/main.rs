//! `simulate`: world after world, each from its own seed, until the time is up or something is wrong.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use causerie_simulation::report::{Failure, Report};
use causerie_simulation::settings::SECOND;
use causerie_simulation::{Options, simulate};
use clap::Parser;

/// Simulates a server and the people who use it, and checks all that they see.
///
/// Without --seed, seeds are tried one after the other from --first on. A seed that fails is shown with the command that
/// fails again.
#[derive(Parser)]
struct Arguments {
    /// Only this world
    #[arg(long)]
    seed: Option<u64>,
    /// The first of many seeds
    #[arg(long, default_value_t = 1, conflicts_with = "seed")]
    first: u64,
    /// So many worlds, where --minutes does not end it before
    #[arg(long, conflicts_with = "seed")]
    worlds: Option<u64>,
    /// Simulated hours of each world
    #[arg(long, default_value_t = 12)]
    hours: u64,
    /// Real minutes after which no further world begins
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// People in each world, who have one to three devices each
    #[arg(long, default_value_t = 1_000)]
    users: usize,
    /// Worlds at once; as many as there are processors
    #[arg(long)]
    jobs: Option<usize>,
    /// Show all that happens from this simulated second on (with --seed)
    #[arg(long, requires = "seed")]
    trace: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let (report, failure) = match arguments.seed {
        Some(seed) => {
            let trace = arguments.trace.map(|seconds| seconds * SECOND);
            match simulate(Options { seed, users: arguments.users, hours: arguments.hours, trace }) {
                Ok(report) => (report, None),
                Err(failure) => (Report::default(), Some(failure)),
            }
        }
        None => many(&arguments, began),
    };
    println!("{}", report.table(began.elapsed()));
    let Some(failure) = failure else { return ExitCode::SUCCESS };
    eprintln!("\n{failure}\n\nThe same again:");
    eprintln!(
        "cargo run --release -p causerie-simulation -- --seed {} --hours {} --users {}",
        failure.seed, arguments.hours, arguments.users
    );
    ExitCode::FAILURE
}

/// Worlds on all processors until the time is up.
fn many(arguments: &Arguments, began: Instant) -> (Report, Option<Failure>) {
    let jobs = arguments.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let time = Duration::from_secs_f64(arguments.minutes.max(0.0) * 60.0);
    let end = arguments.worlds.map_or(u64::MAX, |worlds| arguments.first.saturating_add(worlds));
    let (next, stop) = (AtomicU64::new(arguments.first), AtomicBool::new(false));
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (tell, next, stop) = (tell.clone(), &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) && began.elapsed() < time {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let options = Options { seed, users: arguments.users, hours: arguments.hours, trace: None };
                    let result = simulate(options);
                    stop.fetch_or(result.is_err(), Ordering::Relaxed);
                    if tell.send(result).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        let (mut sum, mut failure) = (Report::default(), None);
        for result in told {
            match result {
                Ok(report) => {
                    sum.add(&report);
                    let (seconds, hours) = (began.elapsed().as_secs(), sum.connection_hours());
                    eprintln!("{seconds:>5} s  {:>5} worlds  {hours:>10.0} connection-hours", sum.worlds);
                }
                // The smallest seed, whichever came first.
                Err(new) => {
                    if failure.as_ref().is_none_or(|old: &Failure| new.seed < old.seed) {
                        failure = Some(new);
                    }
                }
            }
        }
        (sum, failure)
    })
}
