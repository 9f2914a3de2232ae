//! The packages, installed as somebody would who has the repository.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use causerie_tests::foreign::{once, place, run};

/// Tests run side by side, and one of them installs.
static INSTALLING: Mutex<()> = Mutex::new(());

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace")
}

fn program(name: &str) -> PathBuf {
    root().join("tests/clients/packages").join(name)
}

/// Installs with pip what is named, each time from nothing.
fn pip(place: &Path, what: &[&Path], lists: &[&Path]) -> Result<(), String> {
    let _ = std::fs::remove_dir_all(place);
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]).arg(place);
    for list in lists {
        pip.arg("--requirement").arg(list);
    }
    run(pip.args(what)).map(drop)
}

/// Python's program, with the package installed beside what it needs.
pub(crate) fn python() -> Result<Command, String> {
    let _alone = INSTALLING.lock();
    let place = place("packages-python");
    let package = root().join("clients/python");
    let pinned = root().join("tests/clients/python/requirements.txt");
    run(Command::new("python3").arg("--version"))?;
    let sources = ["pyproject.toml", "README.md", "src/causerie"].map(|name| package.join(name));
    // Bytecode that another Python wrote beside the sources is none of the package.
    let sources: Vec<_> = sources.into_iter().chain([pinned.clone()]).collect();
    once(&place, &sources, |place| pip(place, &[&package], &[&pinned]))?;
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", place).env("PYTHONDONTWRITEBYTECODE", "1").arg(program("program.py"));
    Ok(python)
}

/// The guide's client in Python, which needs no package of ours.
pub(crate) fn guides_python() -> Result<Command, String> {
    drop(python()?);
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", place("packages-python")).arg(root().join("guide/clients/chat.py"));
    Ok(python)
}

/// The guide's client in JavaScript, on the WebSocket that Node itself has.
pub(crate) fn guides_node() -> Result<Command, String> {
    run(Command::new("node").args([FLAG, "--version"]))?;
    let mut node = Command::new("node");
    node.arg(FLAG).arg(root().join("guide/clients/chat.mjs"));
    Ok(node)
}

/// mypy on the package, as strict as it can be.
pub(crate) fn mypy() -> Result<Command, String> {
    drop(python()?);
    let _alone = INSTALLING.lock();
    let tools = place("packages-mypy");
    let list = program("mypy.txt");
    once(&tools, std::slice::from_ref(&list), |place| pip(place, &[], &[&list]))?;
    let mut mypy = Command::new("python3");
    let paths = std::env::join_paths([tools, place("packages-python")]).map_err(|error| error.to_string())?;
    mypy.env("PYTHONPATH", paths).args(["-m", "mypy", "--strict", "--no-incremental", "--cache-dir"]);
    mypy.arg(if cfg!(windows) { "nul" } else { "/dev/null" }).arg(root().join("clients/python/src"));
    Ok(mypy)
}

/// The flag of Node 20 for a WebSocket of its own; later versions know the flag and need it no more, earlier ones refuse it.
const FLAG: &str = "--experimental-websocket";

/// A folder with the JavaScript package and what is pinned, installed as npm does it.
fn npm() -> Result<PathBuf, String> {
    let _alone = INSTALLING.lock();
    let place = place("packages-javascript");
    let package = root().join("clients/javascript");
    let pinned = root().join("tests/clients/packages/node");
    run(Command::new("node").arg("--version"))?;
    let programs = ["program.mjs", "types.ts"].map(program);
    let sources: Vec<_> = [package.clone(), pinned.clone()].into_iter().chain(programs.clone()).collect();
    once(&place, &sources, |place| {
        for file in
            ["package.json", "package-lock.json", ".npmrc"].map(|name| pinned.join(name)).iter().chain(&programs)
        {
            let to = place.join(file.file_name().expect("it is a file"));
            std::fs::copy(file, &to).map_err(|error| format!("{}: {error}", to.display()))?;
        }
        let mut npm = Command::new("npm");
        run(npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(place))?;
        // Copied and not linked, so that what the package leaves out is missing here, too.
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-save", "--install-links", "--no-audit", "--no-fund"]).arg(&package);
        run(npm.current_dir(place)).map(drop)
    })?;
    Ok(place)
}

/// Node's program, with the package `ws`.
pub(crate) fn node() -> Result<Command, String> {
    let place = npm()?;
    let mut node = Command::new("node");
    // Newer ones have a WebSocket that would be taken first.
    if run(Command::new("node").args(["--no-experimental-websocket", "--version"])).is_ok() {
        node.arg("--no-experimental-websocket");
    }
    node.arg(place.join("program.mjs"));
    Ok(node)
}

/// Node's program, with the WebSocket that Node itself has.
pub(crate) fn node_built_in() -> Result<Command, String> {
    let place = npm()?;
    run(Command::new("node").args([FLAG, "--version"]))?;
    let mut node = Command::new("node");
    node.arg(FLAG).arg(place.join("program.mjs"));
    Ok(node)
}

/// The tests of the JavaScript package that need no server.
pub(crate) fn node_frames() -> Result<Command, String> {
    run(Command::new("node").arg("--version"))?;
    let mut node = Command::new("node");
    node.arg("--test").arg(program("frames.test.mjs"));
    Ok(node)
}

/// TypeScript's compiler on a program that uses all that the package declares.
pub(crate) fn typescript() -> Result<Command, String> {
    let place = npm()?;
    let mut node = Command::new("node");
    node.arg(place.join("node_modules/typescript/bin/tsc")).current_dir(place);
    node.args(["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "types.ts"]);
    Ok(node)
}
