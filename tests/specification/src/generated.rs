//! The parts of `docs/protocol.md` that are made from the code: what stands between `<!-- generated: NAME -->` and
//! `<!-- end -->`.

use std::fmt::Write as _;

use causerie_core::{CloseCode, ErrorCode, NoticeCode};

use super::bounds::{limits_table, met_by_clients};
use super::fields::fields;
use super::table::{ANSWERS, ANY, OF_ANSWERS, OF_CLOSES};
use super::{keep, read, schemas};

#[test]
fn the_generated_parts_are_up_to_date() {
    let text = read("protocol.md");
    let mut anew = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("<!-- generated: ") {
        let (name, after) = after.split_once(" -->").expect("a marker ends");
        let (_, after) = after.split_once("<!-- end -->").unwrap_or_else(|| panic!("`{name}` has an end"));
        let _ = write!(anew, "{before}<!-- generated: {name} -->\n{}<!-- end -->", part(name));
        rest = after;
    }
    anew.push_str(rest);
    keep("protocol.md", &anew, |a, b| a == b);
}

fn part(name: &str) -> String {
    match name.split_once(' ') {
        Some((side @ ("client" | "server"), kind)) => frame(side, kind),
        Some(("object", object)) => shared_object(object),
        Some(("states", of)) => states(of),
        _ => match name {
            "errors" => errors(),
            "notices" => notices(),
            "closes" => closes(),
            "limits" => limits_table(&|name| met_by_clients(name)),
            "inner limits" => limits_table(&|name| !met_by_clients(name)),
            other => panic!("nobody generates `{other}`"),
        },
    }
}

fn frame(side: &str, kind: &str) -> String {
    let schema = &schemas()[usize::from(side == "server")].1;
    let definition = &schema["$defs"][kind];
    assert!(definition.is_object(), "{side} sends no `{kind}`");
    let mut text = fields(definition);
    if let Some(answers) = ANSWERS.iter().find(|a| side == "client" && a.frame == kind) {
        let by = match answers.by {
            [] => "nothing, if all is well".to_string(),
            by => list(by.iter().copied()),
        };
        let _ = write!(text, "\nAnswered by: {by}. Errors: ");
        let errors = list(answers.errors.iter().map(|code| code.as_str()));
        let _ = writeln!(text, "{}.", if errors.is_empty() { "none of its own" } else { &errors });
    }
    text
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn shared_object(name: &str) -> String {
    let all = schemas();
    let definition = all.iter().map(|(_, schema)| &schema["$defs"][name]).find(|d| d.is_object());
    fields(definition.unwrap_or_else(|| panic!("there is no object `{name}`")))
}

/// Where a code can come.
fn occurs(code: ErrorCode) -> String {
    let mut places = Vec::new();
    if ANY.contains(&code) {
        places.push("any frame".to_string());
    }
    places.extend(ANSWERS.iter().filter(|a| a.errors.contains(&code)).map(|a| format!("`{}`", a.frame)));
    if OF_ANSWERS.contains(&code) {
        places.push("in the place of an answer".to_string());
    }
    if OF_CLOSES.contains(&code) {
        places.push("before a close".to_string());
    }
    places.join(", ")
}

fn errors() -> String {
    let mut text = String::from("| `code` | retryable | meaning | answers |\n|---|---|---|---|\n");
    for code in ErrorCode::ALL {
        let places = occurs(*code);
        assert!(!places.is_empty(), "`{code}` answers nothing");
        let _ = writeln!(
            text,
            "| `{code}` | {} | {} | {places} |",
            if code.retryable() { "yes" } else { "no" },
            code.meaning(),
        );
    }
    text
}

fn notices() -> String {
    let mut text = String::from("| `code` | meaning |\n|---|---|\n");
    for code in NoticeCode::ALL {
        let _ = writeln!(text, "| `{code}` | {} |", code.meaning());
    }
    text
}

fn closes() -> String {
    let source = include_str!("../../../core/src/code.rs");
    let mut text = String::from("| code | meaning | connect again? |\n|---|---|---|\n");
    for code in CloseCode::ALL {
        let line = format!("    {code:?} = {},", code.as_u16());
        let at = source.lines().position(|l| l == line).unwrap_or_else(|| panic!("`{line}` stands in code.rs"));
        let meaning = doc_before(source, at);
        let again = match (code, code.reconnect()) {
            (CloseCode::Policy, _) => "with a fresh token",
            (_, true) => "yes",
            (_, false) => "no",
        };
        let _ = writeln!(text, "| {} | {meaning} | {again} |", code.as_u16());
    }
    text
}

/// The documentation above a line of Rust, as one line without links.
pub(crate) fn doc_before(source: &str, line: usize) -> String {
    let lines: Vec<&str> = source.lines().collect();
    let from = lines[..line].iter().rposition(|l| !l.trim_start().starts_with("///")).map_or(0, |last| last + 1);
    let doc = lines[from..line].iter().map(|l| l.trim_start().trim_start_matches('/').trim());
    without_links(&doc.collect::<Vec<_>>().join(" "))
}

/// ``[`a`](b)`` and ``[`a`]`` become `` `a` ``.
fn without_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[`") {
        let (name, after) = after.split_once("`]").expect("a link ends");
        let _ = write!(out, "{before}`{name}`");
        rest = match after.strip_prefix('(') {
            Some(target) => target.split_once(')').expect("a target ends").1,
            None => after,
        };
    }
    out + rest
}

/// A state graph for Mermaid, from the crate's documentation, which a test of the core compares with its tables.
fn states(of: &str) -> String {
    let first = match of {
        "connection" => "Connecting",
        "session" => "Loading",
        "answer" => "Running",
        other => panic!("`{other}` has no states"),
    };
    let source = include_str!("../../../core/src/lib.rs");
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! ")).skip_while(|l| !l.starts_with(first));
    let rows = rows.take_while(|line| line.contains("-->"));
    let mut text = format!("```mermaid\nstateDiagram-v2\n    [*] --> {first}\n");
    for row in rows {
        let (from, rest) = row.split_once(" --").expect("from");
        let (event, rest) = rest.split_once("--> ").expect("event");
        let to = rest.split_whitespace().next().expect("to");
        let _ = writeln!(text, "    {from} --> {to}: {event}");
    }
    text + "```\n"
}
