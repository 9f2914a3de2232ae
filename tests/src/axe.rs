//! axe-core, which finds what keeps people from using a page: installed by npm under the target directory, at the version in
//! `tests/clients/axe`.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::{Browser, foreign};

/// The script of axe-core.
///
/// # Errors
/// Why it cannot be had.
///
/// # Panics
/// When the files that name its version are gone.
pub fn script() -> Result<String, String> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/axe");
    let files = ["package.json", "package-lock.json", ".npmrc"].map(|name| from.join(name));
    let place = foreign::place("axe");
    foreign::once(&place, &files, |place| {
        for file in &files {
            let name = file.file_name().expect("it is a file");
            std::fs::copy(file, place.join(name)).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        foreign::run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(place)).map(drop)
    })?;
    let script = place.join("node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(&script).map_err(|error| format!("{}: {error}", script.display()))
}

/// Asserts that axe-core finds nothing wrong with what is seen now.
///
/// # Panics
/// When it does, with what.
#[track_caller]
pub fn assert_accessible(browser: &Browser, axe: &str, what: &str) {
    let run = "return axe.run(document, {resultTypes: ['violations']}).then(({violations}) => violations.map((one) =>
        [one.id, one.help, ...one.nodes.slice(0, 3).map((node) => node.target.join(' ') + ': ' + node.failureSummary)]))";
    let script = format!("if (!window.axe) {{ {axe}\n window.axe = window.axe ?? axe; }} {run}");
    let violations = browser.run(&script, json!([]));
    assert_eq!(violations, json!([]), "{what}");
}
