//! Settings by flag, environment, file and default, as the program itself sees them.

use serde_json::Value;

use super::*;

/// What `causerie config --json` says of a setting.
#[track_caller]
fn setting(command: &mut Command, key: &str) -> Value {
    let shown: Value = serde_json::from_str(&succeed(command.arg("--json"), "")).expect("JSON");
    let found = shown["settings"].as_array().expect("settings").iter().find(|setting| setting["key"] == key);
    found.unwrap_or_else(|| panic!("no setting {key} in {shown}")).clone()
}

/// Every setting, with a value that it takes and that is not its default.
fn samples(keys: &[String]) -> Vec<(&str, Value)> {
    let sample = |key: &str| match key {
        "listen" => "127.0.0.1:9".into(),
        "user" | "jwt-issuer" | "jwt-audience" => "ada".into(),
        "allow-origin" => vec!["https://chat.example"].into(),
        "also" => vec!["gemma3-270m"].into(),
        "data-dir" | "kv-cache-dir" | "model" | "jwt-secret-file" | "jwt-public-key" | "jwt-jwks" | "tls-cert"
        | "tls-key" => "/some/where".into(),
        "hf" => "gemma3-270m".into(),
        "threads" | "context" | "parallel" | "retain-days" => "3".into(),
        "no-kv-cache" | "offline" | "log-requests" | "load-on-demand" => true.into(),
        "speculate" => "off".into(),
        "kv" => "q8".into(),
        "log" => "error".into(),
        "log-format" => "json".into(),
        new => panic!("{new} is a new setting: give it a value here"),
    };
    keys.iter().map(|key| (key.as_str(), sample(key))).collect()
}

/// All settings of `serve`, from its own help, so that one without a variable is found.
fn keys_of_the_help() -> Vec<String> {
    let help = succeed(&mut causerie(&["serve", "--help"]), "");
    let flags = help.lines().filter_map(|line| line.trim_start().trim_start_matches("-h, ").strip_prefix("--"));
    let keys = flags.map(|flag| flag.split(|c: char| !c.is_ascii_lowercase() && c != '-').next().unwrap().to_owned());
    keys.filter(|key| !matches!(key.as_str(), "help" | "config" | "version")).collect()
}

#[test]
fn every_setting_can_be_given_by_flag_variable_and_file() {
    let scratch = Scratch::new();
    let file = scratch.join("c.toml");
    let keys = keys_of_the_help();
    assert!(keys.len() > 15, "{keys:?}");
    for (key, value) in samples(&keys) {
        let variable = format!("CAUSERIE_{}", key.to_uppercase().replace('-', "_"));
        let text = match &value {
            Value::Array(items) => items[0].as_str().unwrap().to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let flag = if value == true { format!("--{key}") } else { format!("--{key}={text}") };
        let shown = setting(causerie(&["config", &flag]).env_remove(&variable), key);
        assert_eq!((&shown["value"], &shown["flag"]), (&value, &Value::from(format!("--{key}"))), "{shown}");

        let shown = setting(causerie(&["config"]).env(&variable, &text), key);
        assert_eq!((&shown["value"], &shown["variable"]), (&value, &Value::from(variable.clone())), "{shown}");

        fs::write(&file, format!("# a line\n{key} = {value}\n")).unwrap();
        let shown = setting(causerie(&["config"]).env("CAUSERIE_CONFIG", &file).env_remove(&variable), key);
        let from = (&shown["value"], &shown["file"], &shown["line"]);
        assert_eq!(from, (&value, &Value::from(file.to_str().unwrap()), &Value::from(2)), "{shown}");
    }
}

#[test]
fn the_flag_goes_before_the_variable_and_the_variable_before_the_file() {
    let scratch = Scratch::new();
    let file = scratch.join("c.toml");
    fs::write(&file, "user = \"in-file\"\nmodel = \"/in/file.gguf\"\n").unwrap();
    let user = |command: &mut Command| setting(command, "user")["value"].as_str().unwrap().to_owned();
    let with_file = |args: &[&str]| {
        let mut command = causerie(args);
        command.env("CAUSERIE_CONFIG", &file);
        command
    };
    assert_eq!(user(&mut causerie(&["config"])), "admin");
    assert_eq!(user(&mut with_file(&["config"])), "in-file");
    assert_eq!(user(with_file(&["config"]).env("CAUSERIE_USER", "")), "in-file", "an empty variable says nothing");
    assert_eq!(user(with_file(&["config"]).env("CAUSERIE_USER", "in-variable")), "in-variable");
    assert_eq!(user(with_file(&["config", "--user", "flag"]).env("CAUSERIE_USER", "in-variable")), "flag");
    // A nearer one of those that exclude each other, too.
    let mut both = with_file(&["config", "--hf", "gemma3-270m"]);
    assert_eq!(setting(both.env("CAUSERIE_MODEL", "/in/variable.gguf"), "model")["value"], Value::Null);
    fail(
        with_file(&["config"]).env("CAUSERIE_MODEL", "/a.gguf").env("CAUSERIE_HF", "gemma3-270m"),
        2,
        &["model (CAUSERIE_MODEL)", "hf (CAUSERIE_HF)", "exclude each other"],
    );
}

#[test]
fn the_users_own_file_is_found_and_a_named_one_must_be_there() {
    let scratch = Scratch::new();
    let own = scratch.join("config/causerie/causerie.toml");
    fs::create_dir_all(own.parent().unwrap()).unwrap();
    fs::write(&own, "user = \"ada\"\n").unwrap();
    let mut command = causerie(&["config"]);
    command.env_remove("CAUSERIE_CONFIG").env("XDG_CONFIG_HOME", scratch.join("config"));
    let shown = succeed(&mut command, "");
    assert!(shown.contains("causerie.toml:1  ada\n") && shown.contains(own.to_str().unwrap()), "{shown}");
    command.env("XDG_CONFIG_HOME", scratch.join("elsewhere"));
    assert!(succeed(&mut command, "").contains("without a file"));
    fail(&mut causerie(&["config", "--config", "/nowhere/c.toml"]), 2, &["/nowhere/c.toml", "No such file"]);
    // It holds for other commands as well.
    let data = scratch.join("data");
    fs::write(&own, format!("data-dir = {:?}\n", data.display().to_string())).unwrap();
    let mut token = causerie(&["token", "--user", "ada"]);
    succeed(token.env("CAUSERIE_CONFIG", &own), "");
    assert!(secret_path(&data).exists());
}

#[test]
fn what_is_wrong_is_named_by_place_value_and_what_is_right() {
    let scratch = Scratch::new();
    let file = scratch.join("c.toml");
    fs::write(&file, "\nlisten = \"nowhere\"\n").unwrap();
    let place = format!("{}:2", file.display());
    fail(causerie(&["serve"]).env("CAUSERIE_CONFIG", &file), 2, &[&place, "listen", "\"nowhere\"", "HOST:PORT"]);
    fs::write(&file, "\nlissten = \"8080\"\n").unwrap();
    fail(&mut causerie(&["serve", "--config", file.to_str().unwrap()]), 2, &[&place, "did you mean \"listen\"?"]);
    fail(causerie(&["serve"]).env("CAUSERIE_KV", "q9"), 2, &["CAUSERIE_KV: kv = \"q9\"", "one of bf16, q8"]);
    fail(&mut causerie(&["serve", "--kv", "q9"]), 2, &["--kv", "q9", "bf16"]);
}

#[test]
fn the_example_is_a_file_that_says_what_holds_without_it() {
    let scratch = Scratch::new();
    let file = scratch.join("c.toml");
    let example = succeed(&mut causerie(&["config", "--example"]), "");
    for key in keys_of_the_help() {
        assert!(example.contains(&format!("\n#{key} = ")), "no {key} in {example}");
    }
    assert!(example.lines().all(|line| line.chars().count() <= 130), "{example}");
    // As it comes it changes nothing; with its defaults uncommented neither.
    let shown = |text: &str| {
        fs::write(&file, text).unwrap();
        let shown = succeed(causerie(&["config", "--json"]).env("CAUSERIE_CONFIG", &file), "");
        let shown: Value = serde_json::from_str(&shown).unwrap();
        shown["settings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| (it["key"].clone(), it["value"].clone()))
            .collect::<Vec<_>>()
    };
    let plain = shown("");
    assert_eq!(shown(&example), plain);
    let defaults: Vec<&str> =
        plain.iter().filter(|(_, v)| v.is_string()).map(|(key, _)| key.as_str().unwrap()).collect();
    let uncommented = |line: &str| {
        let key = line.trim_start_matches('#').split(" = ").next().unwrap();
        defaults.contains(&key).then(|| line.trim_start_matches('#').to_owned() + "\n")
    };
    let uncommented: String = example.lines().filter_map(uncommented).collect();
    assert_eq!(uncommented.lines().count(), defaults.len(), "{uncommented}");
    assert_eq!(shown(&uncommented), plain);
}
