//! `causerie run` in pipes.

use super::*;

#[test]
fn an_argument_and_a_pipe_are_one_prompt() {
    let flags = ["run", "--max-tokens", "8", "--temperature", "0"];
    let whole = succeed(with_model(&flags).arg("Repeat this:\n\nblue whales"), "");
    assert_eq!(succeed(with_model(&flags).arg("Repeat this:"), "blue whales\n"), whole);
    assert_ne!(succeed(with_model(&flags).arg("Repeat this:"), ""), whole);
    fail(with_model(&flags).arg("-"), 2, &["prompt is empty"]);
}

#[test]
fn json_has_the_text_and_what_it_took_and_stderr_is_quiet_unless_asked() {
    let flags = ["run", "--max-tokens", "6", "--temperature", "0", "Name a colour."];
    let plain = run(with_model(&flags).arg("-v"), "");
    assert!(text(&plain.stderr).contains("tokens of prompt"), "{}", text(&plain.stderr));
    let output = run(with_model(&flags).args(["--format", "json"]), "");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(format!("{}\n", json["text"].as_str().unwrap()), text(&plain.stdout));
    assert_eq!((&json["finish_reason"], &json["usage"]["completion_tokens"]), (&"length".into(), &6.into()));
    assert!(
        json["usage"]["prompt_tokens"].as_u64() > Some(5) && json["timings"]["first_token_ms"].as_f64() > Some(0.0)
    );
    assert!(text(&output.stdout).lines().count() == 1, "one line, for jq and the like");
}

#[test]
fn an_answer_has_the_form_that_is_asked_for() {
    let scratch = Scratch::new();
    let schema = scratch.join("person.json");
    fs::write(
        &schema,
        r#"{"type":"object","properties":{"name":{"type":"string","maxLength":12},
        "age":{"type":"integer","maximum":120}},"required":["name","age"],"additionalProperties":false}"#,
    )
    .unwrap();
    let schema = schema.to_str().unwrap();
    let flags = ["run", "--temperature", "0", "--seed", "1", "--json-schema", schema, "Invent a person."];
    let json: serde_json::Value = serde_json::from_str(&succeed(&mut with_model(&flags), "")).unwrap();
    assert!(json["name"].is_string() && json["age"].is_u64(), "{json}");
    let yes_or_no = ["run", "--temperature", "0", "--regex", "yes|no", "Is a whale a fish?"];
    assert!(["yes\n", "no\n"].contains(&succeed(&mut with_model(&yes_or_no), "").as_str()));
    let grammar = scratch.join("form.lark");
    fs::write(&grammar, "start: \"red\" | \"blue\"\n").unwrap();
    let lark = ["run", "--temperature", "0", "--grammar", grammar.to_str().unwrap(), "Name a colour."];
    assert!(["red\n", "blue\n"].contains(&succeed(&mut with_model(&lark), "").as_str()));
    // Half a form is of no use to whoever reads it.
    let cut = run(with_model(&flags).args(["--max-tokens", "3"]), "");
    assert_eq!(cut.status.code(), Some(1));
    assert!(text(&cut.stderr).contains("before its form was complete"), "{}", text(&cut.stderr));
    fail(&mut with_model(&["run", "--regex", "(", "Hi"]), 2, &["the grammar is not usable"]);
    fail(&mut with_model(&["run", "--json-schema", "/nowhere.json", "Hi"]), 2, &["/nowhere.json"]);
    fail(&mut with_model(&["run", "--regex", "a", "--json-schema", schema, "Hi"]), 2, &["cannot be used with"]);
    fs::write(&grammar, "x".repeat(32 * 1024 + 1)).unwrap();
    fail(with_model(&["run", "--grammar"]).arg(&grammar).arg("Hi"), 2, &["32769 bytes", "32768 at most"]);
}
