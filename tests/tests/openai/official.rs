//! OpenAI's clients for Python and Node, and LangChain's: their programs are in `tests/clients/openai`, with the versions of
//! what they need. Where that cannot be had these tests say so and pass, unless `CAUSERIE_REQUIRE_CLIENTS=1` is set.

use std::path::{Path, PathBuf};
use std::process::Command;

use causerie_tests::foreign::{available, once, place, run};

use super::Api;

fn sources(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/openai").join(language)
}

/// Runs a client's program to its end.
fn check(client: Result<Command, String>) {
    let Some(mut client) = available(client) else { return };
    let api = Api::start();
    // A proxy of this machine knows nothing of a server on it.
    client.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    let said = run(client.args([api.server.url("/v1"), api.token.clone()])).unwrap_or_else(|error| panic!("{error}"));
    assert!(said.lines().count() >= 9, "not all of it was tried:\n{said}");
}

#[test]
fn python_and_langchain() {
    let list = sources("python").join("requirements.txt");
    let place = place("openai-python");
    let installed = run(Command::new("python3").arg("--version")).and_then(|_| {
        once(&place, std::slice::from_ref(&list), |place| {
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--no-deps", "--requirement"]).arg(&list);
            run(pip.arg("--target").arg(place)).map(drop)
        })
    });
    check(installed.map(|()| {
        let mut python = Command::new("python3");
        python.env("PYTHONPATH", &place).arg(sources("python").join("client.py"));
        python
    }));
}

#[test]
fn node() {
    let place = place("openai-node");
    let files = ["package.json", "package-lock.json", ".npmrc"].map(|name| sources("node").join(name));
    let installed = run(Command::new("node").arg("--version")).and_then(|_| {
        once(&place, &files, |place| {
            for file in &files {
                let to = place.join(file.file_name().expect("it is a file"));
                std::fs::copy(file, to).map_err(|error| format!("{}: {error}", file.display()))?;
            }
            run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(place)).map(drop)
        })
    });
    check(installed.map(|()| {
        // Imports are looked for beside the program that makes them.
        let program = place.join("client.mjs");
        std::fs::copy(sources("node").join("client.mjs"), &program).expect("the place is ours");
        let mut node = Command::new("node");
        node.arg(program);
        node
    }));
}
