//! The command line.
//!
//! What was asked for goes to stdout and can be piped; everything else (progress, logs, questions) goes to stderr.
//! Exit codes: 0 all is well, 1 something failed and stderr says what, 2 the command line makes no sense, 130
//! interrupted with Ctrl-C. A reader of stdout that goes away early, as `head` does, is no failure.

mod chat;
mod failure;
mod interrupt;
mod local;
mod measure;
mod models;
mod output;
mod progress;
mod pull;
mod run;
mod serve;
mod source;
mod token;
mod tokenize;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::ServeOptions;
use crate::logging;
pub use failure::Failure;
pub use serve::{ServeError, serve};

const EXAMPLES: &str = "\
Examples:
  causerie                                          serve on http://127.0.0.1:8080 and print a link that logs you in
  causerie serve --listen 0.0.0.0:8080              let others in your network join
  causerie token --user grace --ttl 12h             a token for grace, to send to her
  causerie chat                                     talk in the terminal, without a server
  causerie run \"Why is the sky blue?\"               one answer on stdout
  causerie serve --hf bartowski/SmolLM2-360M-Instruct-GGUF

Environment:
  CAUSERIE_LOG   what is logged, as in debug or causerie=debug,info
  NO_COLOR       no colours

Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted";

/// A self-hosted, shared AI chat in one process. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "causerie", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: ServeOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the chat: the page and the WebSocket on one port
    Serve(Box<ServeOptions>),
    /// Talk in the terminal, without a server
    Chat(Box<chat::ChatOptions>),
    /// One answer to stdout
    Run(Box<run::RunOptions>),
    /// Make a token (JWT) for somebody, on stdout; works while the server runs
    Token(token::TokenOptions),
    /// Fetch a model into the cache
    Pull(pull::PullOptions),
    /// List the models in the cache
    Models,
    /// What the model expects after each token, as JSON
    Logits(Box<measure::LogitsFlags>),
    /// How fast the engine is on this machine
    Bench(Box<measure::BenchFlags>),
    /// Text on stdin, a JSON array of token ids on stdout
    Tokenize(tokenize::TokenizeOptions),
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command.unwrap_or(Command::Serve(Box::new(cli.serve)));
    logging::start(if matches!(command, Command::Serve(_)) { "causerie=info,warn" } else { "warn" });
    let outcome = match &command {
        Command::Serve(options) => serve(options).map_err(Failure::of),
        Command::Chat(options) => chat::chat(options),
        Command::Run(options) => run::run(options),
        Command::Token(options) => token::token(options),
        Command::Pull(options) => pull::pull(options),
        Command::Models => models::models(),
        Command::Logits(options) => measure::logits(options),
        Command::Bench(options) => measure::bench(options),
        Command::Tokenize(options) => tokenize::tokenize(options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
