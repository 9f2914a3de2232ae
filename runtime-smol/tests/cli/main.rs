//! The real program, run as people and scripts run it.

mod answers;
mod asking;
mod chatting;
mod configuration;
mod doctoring;
mod fetching;
#[path = "../model/mod.rs"]
mod model;
#[path = "../scratch/mod.rs"]
mod scratch;
mod server;
mod serving;
#[cfg(target_os = "linux")]
mod terminal;
mod tokens;
mod usage;

use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use causerie::auth::{Auth, AuthOptions, secret_path};
use causerie_core::Role;
use scratch::Scratch;

/// The program with nothing of the tester's own settings.
fn causerie(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_causerie"));
    for variable in [
        "CAUSERIE_MODEL",
        "CAUSERIE_HF",
        "CAUSERIE_LOG",
        "CAUSERIE_OFFLINE",
        "CAUSERIE_DATA_DIR",
        "CAUSERIE_TOKEN",
        "CAUSERIE_JWT_SECRET_FILE",
        "HF_ENDPOINT",
        "HF_TOKEN",
        "NO_COLOR",
    ] {
        command.env_remove(variable);
    }
    command.env("CAUSERIE_CONFIG", "/dev/null").args(args).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the program writes UTF-8")
}

/// Runs it to its end with a text on stdin.
fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        child.wait_with_output().unwrap()
    })
}

#[track_caller]
fn succeed(command: &mut Command, input: &str) -> String {
    let output = run(command, input);
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// It fails with a code, nothing on stdout, and these words on stderr.
#[track_caller]
fn fail(command: &mut Command, code: i32, words: &[&str]) {
    let output = run(command, "");
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(code), ""), "{command:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{command:?}: no {word:?} in {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// `causerie run` or `chat` with the default model.
fn with_model(args: &[&str]) -> Command {
    let mut command = causerie(args);
    command.env("CAUSERIE_MODEL", model::default_model());
    command
}
