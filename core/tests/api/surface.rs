//! The public interface as text, so that a change of it is seen in review: `docs/api/core.txt`.
//!
//! Written anew by `UPDATE=1 cargo test -p causerie-core --test api`. What is there is read from the sources, which is enough
//! because rustfmt lays them out alike and the lint `unreachable_pub` lets nothing be `pub` that nobody can reach. The
//! features' modules are left out: they follow the frames and the tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules behind features.
const FEATURES: [&str; 5] = ["bench.rs", "schema", "schema.rs", "testing", "testing.rs"];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("a folder of sources").map(|entry| entry.expect("an entry").path());
    for path in entries.filter(|path| path.file_name().is_some_and(|name| !FEATURES.iter().any(|left| name == *left))) {
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
}

/// A source without comments, tests and blank lines.
fn code(text: &str) -> Vec<&str> {
    let text = text.split_once("\n#[cfg(test)]\nmod tests").map_or(text, |(code, _)| code);
    let is_code = |line: &&str| !line.trim_start().starts_with("//") && !line.trim().is_empty();
    text.lines().map(|line| line.split(" // ").next().unwrap_or(line)).filter(is_code).collect()
}

/// The lines of one item at the margin: up to a line that ends it.
fn item<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let one_line = lines[0].ends_with(';') || lines[0].ends_with('}');
    let end = lines.iter().position(|line| *line == "}" || *line == "};" || *line == ");").unwrap_or(lines.len() - 1);
    lines[..=if one_line { 0 } else { end }].to_vec()
}

/// The name after `struct`, `enum` and the like, or after `for` in an `impl`.
fn name(text: &str) -> &str {
    text.split([' ', '<', '(', ';', '{', ':']).find(|part| !part.is_empty()).unwrap_or_default()
}

/// What a file adds to the interface. `known` are the names of public types.
fn interface(lines: &[&str], known: &BTreeSet<&str>) -> Vec<String> {
    let mut found = Vec::new();
    let mut attributes: Vec<&str> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let item = item(&lines[at..]);
        at += if line.starts_with("#[") { 1 } else { item.len() };
        if line.starts_with("#[") {
            attributes.push(line);
            continue;
        }
        let declared = line.starts_with("pub ") && !line.starts_with("pub use");
        if declared || line.starts_with("codes! {") {
            found.extend(attributes.iter().map(|attribute| (*attribute).to_owned()));
            found.extend(without_private(&item));
        } else if line.starts_with("impl") {
            found.extend(implementation(&item, known));
        }
        attributes.clear();
    }
    found
}

/// An item with its private parts as two dots.
fn without_private(item: &[&str]) -> Vec<String> {
    let private = |line: &str| {
        let field = line.strip_prefix("    ").is_some_and(|line| !line.starts_with([' ', '}', ')']));
        item[0].starts_with("pub struct") && field && !line.starts_with("    pub ")
    };
    let mut shown: Vec<String> = Vec::new();
    for line in item.iter().filter(|line| !line.trim_start().starts_with("#[")) {
        match line.split_once("(pub(crate)") {
            Some((start, _)) => shown.push(format!("{start}(..);")),
            None if private(line) => shown.push("    ..".to_owned()),
            None => shown.push((*line).to_owned()),
        }
    }
    shown.dedup();
    shown
}

/// An `impl` of a public type: its header and its public functions, each on one line.
fn implementation(item: &[&str], known: &BTreeSet<&str>) -> Vec<String> {
    let header = item[0].trim_end_matches(['{', '}', ' ']);
    let of = header.split(" for ").last().unwrap_or_default().trim_start_matches("impl").trim_start();
    if !known.contains(name(of)) {
        return Vec::new();
    }
    let begins = |line: &str| line.starts_with("    pub fn ") || line.starts_with("    pub const ");
    let mut functions = Vec::new();
    for at in (0..item.len()).filter(|at| begins(item[*at])) {
        let end = item[at..].iter().position(|line| line.ends_with('{') || line.ends_with(';')).unwrap_or(0);
        let whole: Vec<&str> = item[at..=at + end].iter().map(|line| line.trim()).collect();
        let must_use = if item[at - 1].contains("must_use") { "#[must_use] " } else { "" };
        functions.push(format!("    {must_use}{}", whole.join(" ").trim_end_matches(['{', ' '])));
    }
    if header.contains(" for ") || !functions.is_empty() {
        functions.insert(0, header.to_owned());
    }
    functions
}

/// The whole interface.
fn surface() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    paths.sort();
    let texts: Vec<String> = paths.iter().map(|path| fs::read_to_string(path).expect("a source")).collect();
    let files: Vec<Vec<&str>> = texts.iter().map(|text| code(text)).collect();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for line in files.iter().flatten() {
        known.extend(["pub struct ", "pub enum "].iter().find_map(|start| line.strip_prefix(start)).map(name));
    }
    known.extend(["ErrorCode", "NoticeCode"]); // made by a macro
    let mut surface = String::from("# causerie-core without features; see core/tests/api/surface.rs\n");
    for (path, lines) in paths.iter().zip(&files) {
        let found = interface(lines, &known);
        if !found.is_empty() {
            let file = path.strip_prefix(&root).expect("below the root").display();
            surface += &format!("\n## {file}\n{}\n", found.join("\n"));
        }
    }
    surface
}

#[test]
fn the_interface_is_the_one_that_was_reviewed() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api/core.txt");
    // A published package has no documentation beside it.
    if !file.parent().is_some_and(Path::exists) {
        return;
    }
    let surface = surface();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &surface).expect("the file can be written");
    }
    let reviewed = fs::read_to_string(&file).expect("docs/api/core.txt");
    let added: Vec<&str> = surface.lines().filter(|line| !reviewed.lines().any(|known| known == *line)).collect();
    let gone: Vec<&str> = reviewed.lines().filter(|line| !surface.lines().any(|known| known == *line)).collect();
    assert!(
        surface == reviewed,
        "the public interface has changed: new {added:#?}, gone {gone:#?}. If it is meant, run this test with UPDATE=1, \
         commit docs/api/core.txt, and say in CHANGELOG.md what integrators must do"
    );
}
