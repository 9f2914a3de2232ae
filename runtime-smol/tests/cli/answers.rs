//! Answers in the terminal.

use super::*;

#[test]
fn run_streams_an_answer_and_repeats_it_for_a_seed() {
    let ask = |args: &[&str]| succeed(with_model(&["run", "--max-tokens", "24"]).args(args), "");
    let first = ask(&["--seed", "7", "--temperature", "0.9", "Name a colour."]);
    assert!(first.trim().len() > 3 && first.ends_with('\n'), "{first:?}");
    assert!(!first.contains("<|im"), "{first:?}");
    assert_eq!(ask(&["--seed", "7", "--temperature", "0.9", "Name a colour."]), first);
    let others: Vec<String> =
        (8..12).map(|seed| ask(&["--seed", &seed.to_string(), "--temperature", "0.9", "Name a colour."])).collect();
    assert!(others.iter().any(|other| *other != first), "every seed says {first:?}");
}

#[test]
fn an_answer_is_the_same_whether_it_is_guessed_or_not() {
    let ask = |when: &str| {
        let question = "Repeat this: the sun rose over the hills, and the farmer walked to his field.";
        succeed(&mut with_model(&["run", "--max-tokens", "40", "--seed", "3", "--speculate", when, question]), "")
    };
    let answer = ask("off");
    assert!(answer.contains("farmer"), "{answer:?}");
    assert_eq!(ask("on"), answer);
    assert_eq!(ask("auto"), answer);
    fail(&mut with_model(&["run", "--speculate", "maybe", "Hi"]), 2, &["--speculate", "auto", "off", "on"]);
}

#[test]
fn keys_and_values_are_kept_as_is_said() {
    let of_run = ["run", "--max-tokens", "40", "--seed", "3", "--kv", "q8", "What is gravity?"];
    let said = succeed(&mut with_model(&of_run), "");
    assert!(said.contains("ravity"), "{said:?}");
    let of_logits = ["logits", "--tokens", "1,4093,198", "--top", "1"];
    let logits = |kv: &str| succeed(with_model(&of_logits).args(["--kv", kv]), "");
    assert_ne!(logits("q8"), logits("bf16"));
    assert_eq!(logits("q8"), succeed(with_model(&of_logits).env("CAUSERIE_KV", "q8"), ""));
    fail(&mut with_model(&["run", "--kv", "q4", "Hi"]), 2, &["--kv", "bf16", "q8"]);
}

#[test]
fn run_reads_its_prompt_from_a_pipe() {
    let flags = ["run", "--max-tokens", "8", "--temperature", "0"];
    let by_argument = succeed(with_model(&flags).arg("What is the capital of France?"), "");
    assert_eq!(succeed(&mut with_model(&flags), "What is the capital of France?\n"), by_argument);
    assert_eq!(succeed(with_model(&flags).arg("-"), "What is the capital of France?"), by_argument);
    fail(with_model(&flags).arg(" "), 2, &["prompt is empty"]);
    fail(with_model(&flags).args(["--temperature", "99", "Hi"]), 2, &["--temperature"]);
    fail(&mut with_model(&["run", "--max-tokens", "0", "Hi"]), 2, &["--max-tokens"]);
    fail(&mut with_model(&["run", "--top-p", "7", "Hi"]), 2, &["top_p is 7", "0 to 1"]);
}

#[test]
fn an_answer_that_is_cut_says_so_and_a_prompt_that_is_too_long_is_refused() {
    let output = run(&mut with_model(&["run", "--max-tokens", "3", "Tell a long story."]), "");
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("cut after 3 tokens"), "{}", text(&output.stderr));
    let long = "word ".repeat(9000);
    let output = run(&mut with_model(&["run", "-"]), &long);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("room for"), "{}", text(&output.stderr));
}

#[test]
fn a_reader_that_leaves_in_the_middle_of_an_answer_ends_it() {
    let mut child = with_model(&["run", "--max-tokens", "1000", "Tell a very long story about the sea."])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0]).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_an_answer() {
    let mut child =
        with_model(&["run", "--max-tokens", "2000", "--seed", "1", "Tell a very long story about the sea."])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0]).unwrap();
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with('\n'), "{rest:?}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn logits_are_json_of_the_reference_shape() {
    let flags = ["logits", "--tokens", "1,4093,198", "--top", "2", "--greedy", "3"];
    let json: serde_json::Value = serde_json::from_str(&succeed(&mut with_model(&flags), "")).unwrap();
    assert_eq!(json["arch"], "llama");
    assert_eq!(json["tokens"], serde_json::json!([1, 4093, 198]));
    let positions = json["positions"].as_array().unwrap();
    assert_eq!(positions.len(), 3);
    for position in positions {
        let top = position["top"].as_array().unwrap();
        assert_eq!(top.len(), 2);
        let [first, second] = [0, 1].map(|i| top[i][1].as_f64().unwrap());
        assert!(first >= second && position["logsumexp"].as_f64().unwrap() > first, "{position}");
    }
    let greedy = json["greedy"].as_array().unwrap();
    assert_eq!((greedy.len(), &greedy[0]), (3, &positions[2]["top"][0][0]));
    fail(&mut with_model(&["logits", "--tokens", "1,x"]), 2, &["--tokens"]);
    fail(&mut with_model(&["logits", "--tokens", "4294967295"]), 2, &["unknown", "below 49152"]);
}

#[test]
fn bench_is_json_with_the_peers_keys() {
    let flags =
        ["bench", "--json", "--prompt", "16", "--generate", "4", "--streams", "2,3", "--repeat", "1", "--threads", "1"];
    let json: serde_json::Value = serde_json::from_str(&succeed(&mut with_model(&flags), "")).unwrap();
    let mut keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["decode_tps", "load_s", "prefill_tps", "streams", "threads"]);
    assert_eq!(json["threads"], 1);
    for number in
        [&json["load_s"], &json["prefill_tps"], &json["decode_tps"], &json["streams"]["2"], &json["streams"]["3"]]
    {
        assert!(number.as_f64().is_some_and(|number| number > 0.0), "{json}");
    }
    fail(&mut with_model(&["bench", "--prompt", "999999"]), 2, &["999999", "out of range"]);
}
