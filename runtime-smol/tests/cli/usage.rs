//! Help, wrong usage, and the log.

use super::*;

#[test]
fn help_shows_every_command_and_examples() {
    let help = succeed(&mut causerie(&["--help"]), "");
    for word in ["chat", "run", "token", "pull", "models", "tokenize", "Examples:", "CAUSERIE_LOG", "Exit codes"] {
        assert!(help.contains(word), "no {word:?} in {help}");
    }
    assert!(succeed(&mut causerie(&["--version"]), "").starts_with("causerie "));
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    fail(&mut causerie(&["frobnicate"]), 2, &["frobnicate"]);
    fail(&mut causerie(&["token"]), 2, &["--user"]);
    fail(&mut causerie(&["token", "--user", "a", "--ttl", "soon"]), 2, &["soon", "as in 30m"]);
    fail(&mut causerie(&["token", "--user", "a", "--role", "god"]), 2, &["god", "admin"]);
    fail(&mut causerie(&["tokenize", "--hf", "nonsense"]), 2, &["OWNER/REPO"]);
}

#[test]
fn every_command_has_examples_in_its_help() {
    let help = succeed(&mut causerie(&["--help"]), "");
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let commands: Vec<&str> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.contains(&"doctor") && commands.len() > 10, "{commands:?}");
    for command in commands {
        let help = succeed(&mut causerie(&[command, "--help"]), "");
        assert!(help.contains("Example"), "{command} has none: {help}");
        assert!(!help.contains('\x1b'), "{command}: colours without a terminal");
    }
}
