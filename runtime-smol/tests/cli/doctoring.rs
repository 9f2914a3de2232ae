//! `causerie doctor`.

use super::*;

fn doctor(scratch: &Scratch, args: &[&str]) -> Command {
    let mut command = with_model(&["doctor", "--listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(scratch.join("data")).args(args);
    command
}

#[test]
fn on_a_machine_that_has_all_it_says_so() {
    let scratch = Scratch::new();
    let said = succeed(&mut doctor(&scratch, &[]), "");
    for name in ["processor", "kernels", "threads", "memory", "model", "data directory", "database", "port", "clock"] {
        let line = said.lines().find(|line| line[9..].starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {said}"));
        assert!(line.starts_with("ok ") || line.starts_with("warning "), "{line}");
    }
    assert!(said.contains("the model's 98.4 MB can be read "), "{said}");
    assert!(said.contains("SHA-256 is as it should be") && said.contains("made at the first start"), "{said}");
    assert!(!scratch.join("data").exists(), "it makes nothing");
    assert!(!said.contains('\x1b'), "{said}");
}

#[test]
fn what_is_broken_is_named_with_what_to_do_and_the_exit_code_is_one() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.join("data")).unwrap();
    fs::write(scratch.join("data").join("causerie.db"), "no database, and long enough to be looked at").unwrap();
    let model = scratch.join("broken.gguf");
    fs::write(&model, "GGUF and nothing more").unwrap();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let flags = ["--json", "--listen", &address, "--model", model.to_str().unwrap()];
    let mut command = causerie(&["doctor", "--data-dir"]);
    command.arg(scratch.join("data")).args(flags);
    let output = run(&mut command, "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("3 things are broken"), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["ok"], false);
    let findings = json["findings"].as_array().unwrap();
    let broken: Vec<&str> = findings
        .iter()
        .filter(|finding| finding["level"] == "failure")
        .map(|finding| {
            assert!(finding["advice"].as_str().is_some_and(|advice| !advice.is_empty()), "{finding}");
            finding["name"].as_str().unwrap()
        })
        .collect();
    assert_eq!(broken, ["model", "database", "port"]);
    fail(&mut causerie(&["doctor", "--listen", "nowhere"]), 2, &["--listen", "HOST:PORT"]);
}
