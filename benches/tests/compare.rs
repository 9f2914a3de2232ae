//! The comparison as people start it, with the real model. Figures are not looked at: machines differ.
#![cfg(target_os = "linux")] // elsewhere there is no row for memory

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

/// Rows that have a figure, whatever the sizes.
const ROWS: [&str; 10] = [
    "prefill, 64 tokens",
    "prefill, 128 tokens",
    "decode, 1 stream",
    "decode at depth 128",
    "decode, 2 streams together",
    "decode, 4 streams together",
    "load to first token",
    "memory, 8 × 512 tokens",
    "mean KL to float32, as a prompt",
    "mean KL to float32, token by token",
];

fn compare(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_compare")).args(arguments).output().expect("the program was built")
}

#[track_caller]
fn stdout_of(output: &Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A number as people read it.
fn figure(column: &str) -> f64 {
    column.replace(',', "").parse().unwrap_or_else(|_| panic!("{column:?} is no number"))
}

#[test]
fn without_the_peer_there_are_causeries_figures_and_a_record() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("record");
    let _ = std::fs::remove_dir_all(&directory); // what an earlier run left
    let record = directory.to_str().unwrap();
    let text = stdout_of(&compare(&["--quick", "--no-peer", "--threads", "2", "--record", record]));

    for row in ROWS {
        let line = text.lines().find(|line| line.starts_with(row)).unwrap_or_else(|| panic!("no {row:?} in\n{text}"));
        let mut columns =
            line[row.len()..].split_whitespace().skip_while(|column| ["tok/s", "s", "MiB"].contains(column));
        assert!(figure(columns.next().unwrap()) > 0.0, "{line}");
        assert_eq!((columns.next(), columns.next()), (Some("–"), Some("–")), "{line}");
    }

    let files: Vec<PathBuf> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [json] = &files[..] else { panic!("a record without a peer has no plot: {files:?}") };
    assert!(text.contains(&format!("Written: {}", json.display())), "{text}");
    let json: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    for key in ["date", "commit"] {
        assert!(json[key].is_string(), "{key}: {json}");
    }
    assert!(!json["machine"]["processor"].as_str().unwrap().is_empty());
    assert!(json["causerie"]["compiler"].as_str().unwrap().starts_with("rustc "), "{json}");
    assert_eq!((&json["threads"], &json["runs"], &json["llama_cpp"]), (&2.into(), &1.into(), &Value::Null));
    let [model] = &json["models"].as_array().unwrap()[..] else { panic!("one model was measured: {json}") };
    let rows = model["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 8);
    for row in rows {
        assert!(ROWS.contains(&row["what"].as_str().unwrap()), "{row}");
        assert!(row["causerie"][0].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!((&row["llama_cpp"], &row["ratio"]), (&Value::Array(Vec::new()), &Value::Null));
    }
    // A text that is computed wrongly, or another one, is much farther away.
    for row in model["accuracy"].as_array().unwrap() {
        assert!(row["causerie"]["divergence"].as_f64().unwrap() < 0.02, "{row}");
        assert!(row["causerie"]["agreement"].as_f64().unwrap() > 0.9, "{row}");
    }
}

/// In the place of a Python with llama.cpp stands causerie itself: both sides speak the same way.
#[test]
fn with_a_peer_there_are_ratios_and_a_plot() {
    use std::os::unix::fs::PermissionsExt;

    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("both");
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir(&directory).unwrap();
    let (peer, record) = (directory.join("python"), directory.join("record"));
    let script = format!("#!/bin/sh\necho imported\nexec '{}' --child\n", env!("CARGO_BIN_EXE_compare"));
    std::fs::write(&peer, script).unwrap();
    std::fs::set_permissions(&peer, std::fs::Permissions::from_mode(0o755)).unwrap();

    let (peer, record) = (peer.to_str().unwrap(), record.to_str().unwrap());
    let text = stdout_of(&compare(&["--quick", "--threads", "1", "--peer-python", peer, "--record", record]));
    for row in ROWS {
        let line = text.lines().find(|line| line.starts_with(row)).unwrap_or_else(|| panic!("no {row:?} in\n{text}"));
        let columns: Vec<&str> = line[row.len()..].split_whitespace().collect();
        let figures = columns.iter().skip_while(|column| ["tok/s", "s", "MiB"].contains(column));
        assert!(figures.take(3).all(|column| figure(column) > 0.0), "{line}");
        if row.starts_with("mean KL") {
            assert_eq!((columns[0], columns[2]), (columns[1], "1.00"), "the same engine is as exact: {line}");
        }
    }
    let files: Vec<PathBuf> = std::fs::read_dir(record).unwrap().map(|entry| entry.unwrap().path()).collect();
    let file = |extension: &str| files.iter().find(|path| path.extension().is_some_and(|found| found == extension));
    let json: Value = serde_json::from_slice(&std::fs::read(file("json").unwrap()).unwrap()).unwrap();
    for row in json["models"][0]["rows"].as_array().unwrap() {
        let ratio = row["causerie"][0].as_f64().unwrap() / row["llama_cpp"][0].as_f64().unwrap();
        assert!((row["ratio"]["median"].as_f64().unwrap() - ratio).abs() < 1e-9, "{row}");
    }
    let svg = std::fs::read_to_string(file("svg").unwrap()).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    for row in &ROWS[..8] {
        assert!(svg.contains(&format!(">{row}<")), "{row}: {svg}");
    }
}

#[test]
fn without_a_run_only_what_is_computed_is_compared() {
    let text = stdout_of(&compare(&["--quick", "--runs", "0", "--threads", "2", "--no-peer"]));
    let (accuracy, speed) = (&ROWS[8..], &ROWS[..8]);
    assert!(accuracy.iter().all(|row| text.contains(row)), "{text}");
    assert!(!speed.iter().any(|row| text.contains(row)), "{text}");
}

#[test]
fn a_peer_that_is_not_there_can_be_installed() {
    let output = compare(&["--quick", "--peer-python", "/nonexistent/python", "--model", "/nonexistent/model.gguf"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("llama.cpp is not there: /nonexistent/python cannot be run"), "{text}");
    assert!(text.contains("apt-get install clang-19") && text.contains("--peer-python peer/bin/python"), "{text}");
    // It went on without, as far as the model allowed.
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error, "/nonexistent/model.gguf: No such file or directory (os error 2)\n");
}

#[test]
fn what_cannot_be_measured_is_refused_with_the_reason() {
    let broken = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("broken.gguf");
    std::fs::write(&broken, "GGUF").unwrap();
    for (arguments, reason) in [
        (vec!["--runs", "1001"], "it can be 0 to 1000"),
        (vec!["--threads", "257"], "it can be 1 to 256"),
        (vec!["--isa", "sse9"], "this processor has: scalar"),
        (
            vec!["--no-peer", "--model", broken.to_str().unwrap()],
            "causerie, prefill, 512 tokens: it ended without an answer",
        ),
    ] {
        let output = compare(&arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(reason), "{arguments:?}: {error}");
    }
}
