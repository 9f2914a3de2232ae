//! `causerie chat` in a pipe: line by line.

use super::*;

/// A chat that keeps its things in a directory of its own, and says the likeliest.
fn chat(scratch: &Scratch, args: &[&str]) -> Command {
    let mut command = with_model(&["chat", "--max-tokens", "12"]);
    command.args(args).env("CAUSERIE_DATA_DIR", scratch.join("data"));
    command
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.is_empty()).collect()
}

#[test]
fn it_remembers_what_was_said_until_it_is_cleared() {
    let scratch = Scratch::new();
    let output = run(
        &mut chat(&scratch, &["--temperature", "0"]),
        "What is the capital of France?\n\n/nonsense\n/clear\nWhat is the capital of France?\n/help\n/exit\nnever read\n",
    );
    let (said, noted) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{noted}");
    // Forgotten, the same question has the same answer.
    let answers = lines(said);
    let (first, second) = answers.split_at(answers.len() / 2);
    assert_eq!(first, second, "{said}");
    for note in ["There is no /nonsense", "Forgotten.", "/clear ", "Ctrl-C stops an answer"] {
        assert!(noted.contains(note), "no {note:?} in {noted}");
    }
    assert!(!noted.contains('\x1b') && !said.contains('\x1b'), "colours without a terminal: {noted}");
    let told = |first: &str| {
        let input = format!("{first}\nRepeat my previous message.\n");
        succeed(&mut chat(&scratch, &["--temperature", "0"]), &input)
    };
    let last = |said: String| said.lines().last().unwrap_or_default().to_owned();
    assert_ne!(last(told("I like blue whales.")), last(told("The train to Rome is late.")), "it remembers nothing");
}

#[test]
fn sampling_instructions_and_models_are_shown_and_changed() {
    let scratch = Scratch::new();
    let input = "/set\n/set temperature 99\n/set temperature 0\n/set max-tokens 2\n/set heat 1\n/system\n\
                 /system Answer in one word.\n/system\n/system -\n/system\nName a colour.\n/set\n/model\n/model nowhere\n\
                 /join x\n/stats\n/status\n";
    let output = run(&mut chat(&scratch, &["--seed", "7"]), input);
    let (said, noted) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{noted}");
    assert!(said.split_whitespace().count() <= 2, "two tokens are two words at most: {said:?}");
    for note in [
        "* max_tokens          12 ",
        "* seed                7 ",
        "  temperature         0.2 ",
        "temperature is 99, it must be from 0 to 5",
        "temperature is 0.\n",
        "max_tokens is 2.\n",
        "There is no heat",
        "There are no instructions; /system TEXT",
        "These are the instructions from now on.\nAnswer in one word.\n",
        "(cut: the answer reached max_tokens",
        "* temperature         0 ",
        "parameters, ",
        "nowhere is not on this machine",
        "That needs a server",
        "2 tokens, ",
        "Title         Name a colour.\n",
    ] {
        assert!(noted.contains(note), "no {note:?} in {noted}");
    }
}

#[test]
fn messages_of_several_lines_are_one() {
    let scratch = Scratch::new();
    let said = "Two lines:\\\none\n\"\"\"\n/three\n\nlines\n\"\"\"\n/history\n";
    let said = succeed(&mut chat(&scratch, &["--temperature", "0"]), said);
    assert!(said.contains("you: Two lines:\none\n"), "{said}");
    assert!(said.contains("you: /three\n\nlines\n"), "{said}");
    let long = format!("{}\nHello\n/history\n", "x".repeat(32 * 1024 + 1));
    let output = run(&mut chat(&scratch, &["--temperature", "0"]), &long);
    assert!(text(&output.stderr).contains("has 32769 bytes, and 32768 are the most"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("you: Hello\n"), "{}", text(&output.stdout));
}

#[test]
fn conversations_are_saved_loaded_and_gone_on_with() {
    let scratch = Scratch::new();
    let answers = |args: &[&str], input: &str| {
        let output = run(&mut chat(&scratch, args), input);
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
    };
    let (_, noted) = answers(&["--resume"], "/save\n/load\n/load nothing\n/save ../../up\n/save a*b\n/resume\n");
    for note in ["There is no conversation", "/save NAME", "Nothing is saved yet", "There is no ", "is no name"] {
        assert!(noted.contains(note), "no {note:?} in {noted}");
    }
    let question = "My name is Ada. What is yours?";
    let first = answers(&["--temperature", "0"], &format!("/system Be kind.\n{question}\n/save ada\n")).0;
    // The last conversation goes on: the same words, instructions and sampling; and another one does not lose it.
    let (said, noted) = answers(&["--resume"], "/history\n/system\n/set\n");
    assert!(said.contains(&format!("you: {question}\n{first}")), "{said}");
    assert!(noted.contains("Be kind.") && noted.contains("* temperature         0 "), "{noted}");
    let (said, noted) =
        answers(&["--resume", "--system", "Be rude."], "/system\nHello\n/regenerate\n/edit Hi\n/history\n");
    assert!(noted.contains("Be rude.") && !noted.contains("Be kind."), "{noted}");
    let history = said.split(&format!("you: {question}")).nth(1).unwrap();
    assert!(history.contains("you: Hi\n") && !history.contains("you: Hello"), "{said}");
    let (said, noted) = answers(&[], "/sessions\n/load ada\n/history\n");
    assert!(noted.contains("ada ") && noted.contains("2 messages"), "{noted}");
    assert_eq!(said, format!("you: {question}\n{first}"));

    let file = scratch.join("data").join("chats").join("ada.json");
    let json: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(json["system"], "Be kind.");
    assert_eq!(json["messages"][0], serde_json::json!({"role": "user", "content": question}));
    fs::write(&file, "{").unwrap();
    assert!(answers(&[], "/load ada\n").1.contains("is no saved conversation"));
}

#[test]
fn every_shell_gets_completions() {
    for (shell, word) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef causerie"),
        ("fish", "complete -c causerie"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = succeed(&mut causerie(&["completions", shell]), "");
        assert!(script.contains(word) && script.contains("max-tokens"), "{shell}: {} bytes", script.len());
    }
    fail(&mut causerie(&["completions", "dos"]), 2, &["dos", "bash"]);
}
