//! The core works without std: the program in `examples/freestanding` is linked with nothing but the core, runs, and what
//! its people read is right.

#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Builds the program for this machine and gives what it writes.
fn output() -> String {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/freestanding");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(&package).args(["run", "--quiet", "--target-dir"]).arg(env!("CARGO_TARGET_TMPDIR"));
    // What measures or checks the tests themselves needs std.
    for flags in
        ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"]
    {
        cargo.env_remove(flags);
    }
    let ran = cargo.output().expect("cargo starts");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{}:\n{err}\n{out}", ran.status);
    out.into_owned()
}

/// The frames that somebody got.
fn read_by(name: &str, output: &str) -> Vec<Value> {
    let frames = output.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(" < "));
    frames.map(|frame| serde_json::from_str(frame).expect("a frame is JSON")).collect()
}

#[test]
fn a_conversation_without_std() {
    // A published package holds no other package: there the program is missing.
    if Path::new(env!("CARGO_MANIFEST_DIR")).join(".cargo_vcs_info.json").exists() {
        return;
    }
    let output = output();
    let mut answers = Vec::new();
    for name in ["Ann", "Bob"] {
        let frames = read_by(name, &output);
        let of = |kind: &'static str| frames.iter().filter(move |frame| frame["type"] == kind);
        let streamed: String = of("message_delta").map(|frame| frame["content"].as_str().expect("text")).collect();
        let said: Vec<&Value> = of("message").collect();
        assert_eq!(said.iter().map(|frame| &frame["seq"]).collect::<Vec<_>>(), [1, 2], "{name}: {output}");
        assert_eq!(said[1]["content"], streamed, "{name}");
        assert_eq!(of("error").count(), 0, "{name}: {output}");
        answers.push(streamed);
    }
    assert_eq!(answers[0], answers[1]);
    let resumed = |name| read_by(name, &output).iter().filter(|frame| frame["resumed"] == true).count();
    assert_eq!((resumed("Ann"), resumed("Bob")), (0, 1), "Bob lost a connection: {output}");
    assert!(output.trim_end().ends_with(" 0 at the end"), "all memory was given back: {output}");
}
