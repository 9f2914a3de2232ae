//! The command line.
//!
//! What was asked for goes to stdout and can be piped; everything else (progress, logs, questions) goes to stderr.
//! Exit codes: 0 all is well, 1 something failed and stderr says what, 2 the command line makes no sense, 130
//! interrupted with Ctrl-C, 143 and 129 ended in a conversation by SIGTERM and SIGHUP. A reader of stdout that goes away early, as `head` does, is no failure.

mod audit;
mod backup;
mod chat;
mod completions;
mod config;
mod doctor;
mod examples;
mod failure;
mod interrupt;
mod key;
mod local;
mod measure;
mod models;
mod operator;
mod output;
mod private;
mod progress;
mod pull;
mod run;
mod sampling;
mod serve;
mod source;
mod token;
mod tokenize;
mod user;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{CommonOptions, ServeOptions, SettleError, Settled, settle};
use crate::logging;
pub use failure::Failure;
pub use serve::{ServeError, serve};

/// A self-hosted, shared AI chat in one process. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "causerie", version, after_help = examples::PROGRAM, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: ServeOptions,

    #[command(flatten)]
    common: CommonOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the chat: the page and the WebSocket on one port
    #[command(after_help = examples::SERVE)]
    Serve(Box<ServeOptions>),
    /// Talk in the terminal, with a model of your own or on a server
    Chat(Box<chat::ChatOptions>),
    /// One answer to stdout
    Run(Box<run::RunOptions>),
    /// Make a token (JWT) for somebody, on stdout; works while the server runs
    #[command(after_help = examples::TOKEN)]
    Token(token::TokenOptions),
    /// API keys: make, list, revoke; works while the server runs
    #[command(after_help = examples::KEY)]
    Key(key::KeyOptions),
    /// Who has been here: list, roles and quotas, disable; works while the server runs
    #[command(after_help = examples::USER)]
    User(user::UserOptions),
    /// Who signed in and what administrators did
    #[command(after_help = examples::AUDIT)]
    Audit(audit::AuditOptions),
    /// Copy the database into a file; works while the server runs
    #[command(after_help = examples::BACKUP)]
    Backup(backup::BackupOptions),
    /// Put a copy of the database into its place, and keep the old one beside it
    #[command(after_help = examples::RESTORE)]
    Restore(backup::RestoreOptions),
    /// Fetch a model into the cache
    #[command(after_help = examples::PULL)]
    Pull(pull::PullOptions),
    /// List the models in the cache
    #[command(after_help = examples::MODELS)]
    Models,
    /// Show each setting of the server and where it comes from
    #[command(after_help = examples::CONFIG)]
    Config(Box<config::ShowOptions>),
    /// What the model expects after each token, as JSON
    #[command(after_help = examples::LOGITS)]
    Logits(Box<measure::LogitsFlags>),
    /// How fast the engine is on this machine
    #[command(after_help = examples::BENCH)]
    Bench(Box<measure::BenchFlags>),
    /// Whether this machine has what a server needs, and what to do where it has not
    Doctor(Box<doctor::DoctorOptions>),
    /// A script that makes your shell complete commands and flags
    #[command(after_help = completions::EXAMPLES)]
    Completions(completions::CompletionsOptions),
    /// Text on stdin, a JSON array of token ids on stdout
    #[command(after_help = examples::TOKENIZE)]
    Tokenize(tokenize::TokenizeOptions),
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let settled = match settle(&Cli::command(), &arguments) {
        Ok(settled) => settled,
        Err(SettleError::Usage(error)) => error.exit(),
        Err(SettleError::Setting(error)) => return Failure::Usage(error.to_string()).report(),
    };
    let cli = Cli::from_arg_matches(&settled.matches).unwrap_or_else(|error| error.exit());
    let command = cli.command.unwrap_or(Command::Serve(Box::new(cli.serve)));
    let default = if matches!(command, Command::Serve(_)) { "causerie=info,warn" } else { "warn" };
    logging::start(cli.common.log.as_deref().unwrap_or(default), cli.common.log_format);
    match run_command(&command, &settled) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run_command(command: &Command, settled: &Settled) -> Result<(), Failure> {
    match command {
        Command::Serve(options) => serve(options).map_err(Failure::of),
        Command::Chat(options) => chat::chat(options),
        Command::Run(options) => run::run(options),
        Command::Token(options) => token::token(options),
        Command::Key(options) => key::key(options),
        Command::User(options) => user::user(options),
        Command::Audit(options) => audit::audit(options),
        Command::Backup(options) => backup::backup(options),
        Command::Restore(options) => backup::restore(options),
        Command::Pull(options) => pull::pull(options),
        Command::Models => models::models(),
        Command::Config(options) => config::show(options, settled, &Cli::command()),
        Command::Logits(options) => measure::logits(options),
        Command::Bench(options) => measure::bench(options),
        Command::Doctor(options) => doctor::doctor(options),
        Command::Completions(options) => completions::completions(options),
        Command::Tokenize(options) => tokenize::tokenize(options),
    }
}
