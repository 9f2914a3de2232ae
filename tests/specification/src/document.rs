//! What `docs/protocol.md` says beside its generated parts.

use std::path::Path;

use causerie_core::schema::{ClientFrame, ServerFrame};
use causerie_core::{CloseCode, ErrorCode, NoticeCode};
use serde_json::json;

use super::read;
use super::table::{ANSWERS, ANY, OF_CLOSES};

/// The headings of a section's frames: those of the third level with a name in backticks.
fn headings(text: &str, section: &str) -> Vec<String> {
    let (_, after) = text.split_once(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("a section `{section}`"));
    let body = after.split("\n## ").next().expect("a first part");
    let names = body.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    names.map(String::from).collect()
}

#[test]
fn every_frame_has_its_heading_and_every_heading_its_frame() {
    let text = read("protocol.md");
    assert_eq!(headings(&text, "Client frames"), ClientFrame::TYPES);
    assert_eq!(headings(&text, "Server frames"), ServerFrame::TYPES);
    for (side, kinds) in [("client", ClientFrame::TYPES), ("server", ServerFrame::TYPES)] {
        for kind in kinds {
            let block = format!("### `{kind}`\n");
            let marker = format!("<!-- generated: {side} {kind} -->");
            let at = text.find(&marker).unwrap_or_else(|| panic!("the fields of the {side}'s `{kind}`"));
            assert!(
                text[..at].rfind(&block).is_some_and(|heading| !text[heading + 4..at].contains("### ")),
                "{marker}"
            );
        }
    }
}

#[test]
fn the_table_of_answers_names_each_frame_once_in_order() {
    assert_eq!(ANSWERS.iter().map(|a| a.frame).collect::<Vec<_>>(), ClientFrame::TYPES);
    for answers in ANSWERS {
        assert!(answers.by.iter().all(|kind| ServerFrame::TYPES.contains(kind)), "{}", answers.frame);
        assert!(answers.errors.iter().all(|code| !ANY.contains(code)), "{}", answers.frame);
    }
    assert!(OF_CLOSES.iter().all(|code| ErrorCode::ALL.contains(code)));
}

/// What stands in backticks and looks like a code or a frame is one.
#[test]
fn no_name_in_the_text_is_invented() {
    let text = read("protocol.md");
    let schemas = super::schemas();
    let fields = schemas.iter().flat_map(|(_, schema)| schema["$defs"].as_object().expect("definitions"));
    let fields: Vec<String> = fields
        .filter_map(|(_, definition)| definition["properties"].as_object())
        .flat_map(|properties| properties.keys().cloned())
        .collect();
    let known = |name: &str| {
        ClientFrame::TYPES.contains(&name)
            || ServerFrame::TYPES.contains(&name)
            || name.parse::<ErrorCode>().is_ok()
            || name.parse::<NoticeCode>().is_ok()
            || fields.iter().any(|field| field == name)
            || text.contains(&format!("| `{name}` | "))
    };
    let names = text.split('`').skip(1).step_by(2).filter(|name| name.contains('_'));
    for name in names.filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')) {
        assert!(known(name), "`{name}` is no frame, field, code or limit");
    }
}

/// Where the text says with what the server closes, it is a code of the list.
#[test]
fn close_codes_in_the_text_are_in_the_list() {
    let text = read("protocol.md");
    let mut count = 0;
    for phrase in ["close ", "closed ", "closed with ", "closes with "] {
        for (at, _) in text.match_indices(phrase) {
            let code = text[at + phrase.len()..].split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            let Ok(code) = code.parse::<u16>() else { continue };
            assert!(CloseCode::from_u16(code).is_some(), "{phrase}{code}");
            count += 1;
        }
    }
    assert!(count >= 10, "{count}");
}

/// The source of all tests, of the core and of the whole server.
fn sources(folder: &Path, all: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&std::fs::read_to_string(&path).expect("source is UTF-8"));
        }
    }
}

/// Each row of the table of bad input names tests that there are.
#[test]
fn every_row_of_bad_input_has_its_test() {
    let text = read("protocol.md");
    let (_, section) = text.split_once("\n## Bad input\n").expect("the section");
    let section = section.split("\n## ").next().expect("a first part");
    let mut tests = String::new();
    for folder in ["core/src", "core/tests", "tests/tests", "tests/specification"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder), &mut tests);
    }
    let mut rows = 0;
    for row in section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what ")) {
        let names = row.trim_end_matches(" |").rsplit(" | ").next().expect("a last cell");
        for name in names.split(", ") {
            assert!(tests.contains(&format!("fn {name}(")), "there is no test `{name}`: {row}");
        }
        rows += 1;
    }
    assert!(rows >= 30, "{rows}");
}

/// The examples of frames in the text are JSON.
#[test]
fn json_blocks_are_json() {
    let text = read("protocol.md");
    for block in text.split("```json\n").skip(1) {
        let (json, _) = block.split_once("```").expect("a block ends");
        let parsed = serde_json::from_str::<serde_json::Value>(json);
        assert!(parsed.is_ok_and(|value| value != json!(null)), "{json}");
    }
}
