//! Loads a server with WebSockets from a process of its own, and tells what each of them costs it.
//!
//! ```sh
//! cargo build --release -p causerie && cargo run --release -p causerie-benches --bin load
//! cargo run --release -p causerie-benches --bin load -- --active 1000 --model SmolLM2-135M-Instruct.Q4_1.gguf
//! ```
//!
//! It opens the sockets, each in a session, waits until the server has come to rest, and compares the server's resident
//! memory with that before; then every socket is pinged, one after the other and all at once. With `--active`, further
//! clients all want answers all the time, and it tells how fairly they get them: it fails if one of them gets nothing.
//! Linux only: resident memory is read from `/proc`.

mod chat;
mod load;
mod report;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use causerie_benches::{Server, Start, program, raise_open_files};
use clap::Parser;
use smol::LocalExecutor;

use chat::Wanted;
use report::Report;

/// Opens many WebSockets to a server and tells what they cost.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Options {
    /// WebSockets that do nothing but answer pings
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    sockets: usize,

    /// Further ones that chat, each in a session of its own; needs a model
    #[arg(long, value_name = "M", default_value_t = 0)]
    active: usize,

    /// For how long they chat
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u64,

    /// Tokens of each of their answers
    #[arg(long, value_name = "N", default_value_t = 32)]
    tokens: u32,

    /// The server to start [default: the `causerie` beside this program]
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,

    /// The model that it loads [default: none]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,

    /// A server that runs already, instead of starting one
    #[arg(long, value_name = "HOST:PORT", requires_all = ["pid", "data_dir"])]
    address: Option<SocketAddr>,

    /// Its process id
    #[arg(long)]
    pid: Option<u32>,

    /// Its data directory, whose secret makes tokens
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,

    /// Fail if an idle socket costs more bytes of the server's memory
    #[arg(long, value_name = "BYTES")]
    limit: Option<u64>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the limit was kept and nobody starved.
fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    raise_open_files(options.sockets + options.active)?;
    let program = program(options.server.clone())?;
    let server = match (options.address, options.pid, &options.data_dir) {
        (Some(address), Some(pid), Some(data_dir)) => Server::running(program, address, pid, data_dir.clone()),
        _ => Server::start(program, Start { model: options.model.as_deref(), ..Start::default() })?,
    };
    let executor = Rc::new(LocalExecutor::new());
    let time = Duration::from_secs(options.seconds);
    let wanted = Wanted { clients: options.active, time, tokens: options.tokens };
    let measured = smol::block_on(executor.run(load::measure(executor.clone(), &server, options.sockets, &wanted)))?;
    let report = Report::new(measured);
    report.print();
    if let Some(path) = &options.record {
        report.write(path)?;
    }
    if let Some(limit) = options.limit.filter(|limit| report.bytes_per_socket() > *limit) {
        eprintln!("error: an idle socket costs {} bytes, more than {limit}", report.bytes_per_socket());
        return Ok(false);
    }
    if report.starved() > 0 {
        eprintln!("error: {} clients got no piece of an answer", report.starved());
        return Ok(false);
    }
    Ok(true)
}
