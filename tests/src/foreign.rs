//! Programs in other languages, and what they need: installed under the target directory, at versions that are written down.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory for what is installed: `TARGET/clients/NAME`.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn place(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let target = test.ancestors().nth(3).expect("cargo puts tests into TARGET/PROFILE/deps");
    let place = target.join("clients").join(name);
    std::fs::create_dir_all(&place).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    place
}

/// Runs a program to its end and gives what it wrote.
///
/// # Errors
/// Its last words when it fails, or why it could not be started.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?} cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?} ended with {}: {}\n{}", output.status, said.trim_end(), errors.trim_end()))
}

/// Something to run, or `None` with the reason on stderr.
///
/// # Panics
/// When there is none, and `CAUSERIE_REQUIRE_CLIENTS=1` says that there must be.
pub fn available<T>(what: Result<T, String>) -> Option<T> {
    match what {
        Ok(what) => Some(what),
        Err(missing) => {
            let required = std::env::var_os("CAUSERIE_REQUIRE_CLIENTS").is_some_and(|value| value == "1");
            assert!(!required, "{missing}");
            eprintln!("skipped: {missing}");
            None
        }
    }
}

/// Runs `install` unless what it makes of these files and folders lies in the place already.
///
/// # Errors
/// Those of `install`.
///
/// # Panics
/// When one of them cannot be read.
pub fn once(
    place: &Path,
    sources: &[PathBuf],
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<(), String> {
    let mut known = Vec::new();
    for source in sources {
        take(source, &mut known);
    }
    let stamp = place.join("installed");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == known) {
        return Ok(());
    }
    install(place)?;
    std::fs::write(&stamp, known).map_err(|error| format!("{}: {error}", stamp.display()))
}

/// Everything that stands in a file or a folder.
fn take(source: &Path, known: &mut Vec<u8>) {
    if source.is_dir() {
        let entries = std::fs::read_dir(source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        for path in paths {
            take(&path, known);
        }
    } else {
        known.extend(source.to_string_lossy().as_bytes());
        known.extend(std::fs::read(source).unwrap_or_else(|error| panic!("{}: {error}", source.display())));
    }
}
