//! Clients that are not ours: Python's `websockets`, Node's `ws`, Node's own WebSocket and Chromium's, each through the
//! whole protocol against the real server with the real model. Their programs are in `tests/clients`.
//!
//! What they need is installed under the target directory, at versions that are written down. Where that cannot be done
//! these tests say so and pass, unless `CAUSERIE_REQUIRE_CLIENTS=1` is set.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use causerie_tests::foreign::{available, place, run};
use causerie_tests::{Browser, Process, Server, WITHIN};
use serde_json::{Value, json};

/// Where the clients' programs are.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Whether everything is there that a list names: then the list lies beside it.
fn is_installed(list: &Path, place: &Path) -> bool {
    let name = list.file_name().expect("a list is a file");
    std::fs::read(place.join(name)).is_ok_and(|installed| installed == std::fs::read(list).unwrap_or_default())
}

fn copy(from: &Path, to: &Path) {
    let name = from.file_name().expect("it is a file");
    std::fs::copy(from, to.join(name)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

/// Python with what `requirements.txt` names.
fn python() -> Result<Command, String> {
    let place = place("python");
    let list = sources().join("python/requirements.txt");
    run(Command::new("python3").arg("--version"))?;
    if !is_installed(&list, &place) {
        // Not a virtual environment: not every system's Python comes with what makes one.
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--no-deps", "--requirement"]).arg(&list);
        run(pip.arg("--target").arg(&place))?;
        copy(&list, &place);
    }
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", place).arg(sources().join("python/client.py"));
    Ok(python)
}

/// Node's client, with nothing but Node.
fn node() -> Result<Command, String> {
    // Node 20 has it behind a flag; later versions know the flag and need it no more, earlier ones refuse it.
    const FLAG: &str = "--experimental-websocket";
    run(Command::new("node").args([FLAG, "--version"]))?;
    let mut node = Command::new("node");
    node.arg(FLAG).arg(sources().join("node/client.mjs")).arg("built-in");
    Ok(node)
}

/// Node's client with what `package-lock.json` names.
fn node_with_ws() -> Result<Command, String> {
    let place = place("node");
    let from = sources().join("node");
    run(Command::new("node").arg("--version"))?;
    if !is_installed(&from.join("package-lock.json"), &place.join("installed")) {
        for name in ["package.json", "package-lock.json", ".npmrc"] {
            copy(&from.join(name), &place);
        }
        run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&place))?;
        std::fs::create_dir_all(place.join("installed")).map_err(|error| error.to_string())?;
        copy(&from.join("package-lock.json"), &place.join("installed"));
    }
    // Imports are looked for beside the program that makes them.
    for name in ["client.mjs", "scenario.mjs"] {
        copy(&from.join(name), &place);
    }
    let mut node = Command::new("node");
    node.arg(place.join("client.mjs")).arg("ws");
    Ok(node)
}

/// Gives a client's program a server, stops the server when the program is ready for it, and waits for its end.
fn check(client: Result<Command, String>) {
    let Some(mut client) = available(client) else { return };
    let server = Server::start();
    let url = format!("ws://{}/ws/chat", server.address());
    let mut client = Process::start(client.args([url, server.token("ada")]));
    let ready = client.output().wait_for(WITHIN, |line| (line == "ready to drain").then_some(()));
    assert!(ready.is_some(), "the client did not get through:\n{}", client.output().text());
    drop(server.stop());
    let deadline = Instant::now() + WITHIN;
    let status = loop {
        match client.ended() {
            Some(status) => break status,
            None => assert!(Instant::now() < deadline, "the client did not see the server's end"),
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    assert!(status.success(), "the client ended with {status}:\n{}", client.output().text());
}

#[test]
fn python_websockets() {
    check(python());
}

#[test]
fn node_ws() {
    check(node_with_ws());
}

#[test]
fn node_built_in() {
    check(node());
}

#[test]
fn chromium() {
    let Some(browser) = available(Browser::start(800, 600).map_err(|missing| missing.to_string())) else { return };
    let server = Server::start();
    browser.open(&server.url("/"));
    let source = std::fs::read_to_string(sources().join("node/scenario.mjs")).expect("it is in the repository");
    // The page lets no foreign module in; a script of the driver's is no module.
    let source = source.replace("export ", "");
    let script = format!(
        "{source}
        const [url, token] = arguments;
        window.test = scenario(url, token, (...args) => new WebSocket(...args), (socket) => socket.close());
        window.drained = drained;
        return Object.keys(window.test.parts);"
    );
    let names = browser.run(&script, json!([format!("ws://{}/ws/chat", server.address()), server.token("ada")]));
    let names = names.as_array().expect("an array of names");
    assert!(names.len() >= 5, "{names:?}");
    let say = ".then(() => 'well', (error) => `${error}`)";
    for name in names {
        let said = browser.run(&format!("return window.test.parts[arguments[0]](){say}"), json!([name]));
        assert_eq!(said, "well", "{name}");
    }
    let connected = "return window.test.connect().then((chat) => { window.end = window.drained(chat); return true; })";
    assert_eq!(browser.run(connected, json!([])), Value::Bool(true));
    drop(server.stop());
    assert_eq!(browser.run(&format!("return window.end{say}"), json!([])), "well");
}
