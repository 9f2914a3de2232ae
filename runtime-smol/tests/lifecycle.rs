//! Starting, stopping, and what happens to the model meanwhile: the real server, the real model.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use causerie_tests::{Client, Options, Process, Server, TempDir, WITHIN, binary};
use serde_json::{Value, json};

/// Waits until `/health` has a status.
fn wait_for(server: &Server, status: &str) -> Value {
    let deadline = Instant::now() + WITHIN;
    loop {
        let (code, health) = server.health();
        if health["status"] == status {
            assert_eq!(code, if status == "ready" { 200 } else { 503 }, "{health}");
            return health;
        }
        assert!(Instant::now() < deadline, "{health} is not {status}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ask(client: &mut Client, question: &str, tokens: u32) {
    client.send(&json!({"type": "chat_message", "message": question, "sampling": {"max_tokens": tokens, "seed": 1}}));
}

fn answer(client: &mut Client) -> Value {
    client.expect_where("an answer", WITHIN, |f| f["type"] == "message" && f["role"] == "assistant")
}

fn signal(process: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status();
    assert!(status.expect("kill is in every system").success());
}

#[test]
fn a_model_that_comes_later_is_picked_up() {
    let models = TempDir::new();
    let path = models.path().join("late.gguf");
    let server = Server::start_with(Options { model: Some(path.clone()), ..Options::default() });
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "create_session"}));
    ada.expect("session_joined");
    ask(&mut ada, "Is anybody there?", 5);
    assert_eq!(ada.expect("error")["code"], "ai_unavailable");

    // First one that is cut off, then the whole one: each is noticed without anybody's help.
    let whole = std::fs::read(binary::model()).unwrap();
    std::fs::write(&path, &whole[..100_000]).unwrap();
    let broken = wait_for_message(&server, "cannot be used");
    assert_eq!(broken["status"], "unavailable");
    replace(&path, &whole);
    wait_for(&server, "ready");
    ask(&mut ada, "And now?", 5);
    assert!(!answer(&mut ada)["content"].as_str().unwrap().is_empty());
}

/// In one step, as `causerie pull` does.
fn replace(path: &Path, content: &[u8]) {
    let part = path.with_extension("part");
    std::fs::write(&part, content).unwrap();
    std::fs::rename(part, path).unwrap();
}

fn wait_for_message(server: &Server, part: &str) -> Value {
    let deadline = Instant::now() + WITHIN;
    loop {
        let (_, health) = server.health();
        if health["message"].as_str().is_some_and(|message| message.contains(part)) {
            return health;
        }
        assert!(Instant::now() < deadline, "{health} does not say {part:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_reload_lets_running_answers_end_and_answers_later_ones() {
    let server = Server::start();
    let mut admin = Client::connect(server.address(), &server.token_with("root", &["--role", "admin"]));
    admin.expect("connection_established");
    let mut ada = server.connect("ada");
    for client in [&mut admin, &mut ada] {
        client.send(&json!({"type": "create_session"}));
        client.expect("session_joined");
    }
    ask(&mut ada, "Write a story about a ship.", 60);
    ada.expect("message_delta");
    admin.send(&json!({"type": "chat_message", "message": "/reload"}));
    admin.expect("command_response");
    let ended = answer(&mut ada);
    assert!(matches!(ended["finish_reason"].as_str(), Some("stop" | "length")), "{ended}");
    ask(&mut admin, "Hello?", 5);
    answer(&mut admin);
}

#[test]
fn what_is_asked_while_the_model_loads_waits_for_it() {
    let server = Server::start();
    let mut admin = Client::connect(server.address(), &server.token_with("root", &["--role", "admin"]));
    admin.send(&json!({"type": "create_session"}));
    admin.expect("session_joined");
    // Before, while and after the model is read, which takes some hundred milliseconds.
    for wait in (0..12).map(|step| step * 40) {
        admin.send(&json!({"type": "chat_message", "message": "/reload"}));
        admin.expect("command_response");
        std::thread::sleep(Duration::from_millis(wait));
        ask(&mut admin, "Hello?", 2);
        admin.expect_where("an answer, no error", WITHIN, |f| {
            assert_ne!(f["type"], "error", "{wait} ms after the reload: {f}");
            f["type"] == "message" && f["role"] == "assistant"
        });
    }
}

#[test]
fn a_message_is_answered_if_it_fits_the_context_and_else_told_its_size() {
    let server = Server::start_with(Options { args: vec!["--context=256".into()], ..Options::default() });
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "create_session"}));
    ada.expect("session_joined");
    // With what the template adds, more than three quarters of the context and less than all of it.
    ask(&mut ada, &"word ".repeat(185), 1_000);
    let answered = answer(&mut ada);
    let prompt = answered["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(prompt > 192 && prompt < 256, "{answered}");
    ask(&mut ada, &"word ".repeat(300), 1_000);
    let error = ada.expect("error");
    assert_eq!(error["code"], "context_exceeded", "{error}");
    assert!(error["detail"].as_str().unwrap().ends_with("context 256"), "{error}");
}

#[test]
fn a_stop_lets_answers_end_keeps_them_and_says_goodbye() {
    let server = Server::start();
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "create_session"}));
    let session = ada.expect("session_joined")["session_id"].clone();
    ask(&mut ada, "Write a very long story about the sea.", 4_000);
    ada.expect("message_delta");
    signal(server.process().id(), "TERM");
    assert_eq!(ada.expect("notice")["code"], "server_draining");
    // Cut off or not: what it said is the answer.
    let said = answer(&mut ada);
    assert_eq!(ada.expect_close().code, 1001);
    let text = said["content"].as_str().unwrap().to_owned();
    assert!(!text.is_empty());

    let data_dir = server.kill();
    let server = Server::start_with(Options { data_dir: Some(data_dir), ..Options::default() });
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "join_session", "session_id": session}));
    ada.expect("session_joined");
    ada.send(&json!({"type": "history"}));
    let page = ada.expect("history_page");
    assert_eq!(page["messages"].as_array().unwrap().last().unwrap()["content"], text.as_str());
}

fn without_model() -> Server {
    Server::start_with(Options { model: Some("/nowhere/at-all.gguf".into()), ..Options::default() })
}

#[test]
fn an_idle_server_stops_soon() {
    let server = without_model();
    let mut ada = server.connect("ada");
    let before = Instant::now();
    signal(server.process().id(), "INT");
    assert_eq!(ada.expect_close().code, 1001);
    let took = before.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    wait_until_refused(&server);
}

fn wait_until_refused(server: &Server) {
    let deadline = Instant::now() + WITHIN;
    while std::net::TcpStream::connect(server.address()).is_ok() {
        assert!(Instant::now() < deadline, "it still listens");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_signal_prints_another_link() {
    let server = without_model();
    let first = server.login_link().to_owned();
    signal(server.process().id(), "USR1");
    let second = server.process().output().wait_for(WITHIN, |line| {
        let link = line.split_whitespace().find(|word| word.contains("/#login="))?;
        (link != first).then(|| link.to_owned())
    });
    assert!(second.is_some(), "no other link than {first}");
}

#[test]
fn a_busy_port_is_said_with_what_to_do() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let data = TempDir::new();
    let output = Command::new(binary::causerie())
        .args(["serve", "--offline", "--listen", &address, "--data-dir"])
        .arg(data.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("{address} is in use")) && said.contains("--listen"), "{said}");
    assert!(output.stdout.is_empty());
}

#[cfg(unix)]
#[test]
fn the_data_directory_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let above = TempDir::new();
    let data = above.path().join("new/data");
    check_modes(&data);
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);

    // A directory that is there already is left as it is; what is written into it is private all the same.
    let open = above.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
    check_modes(&open);
}

#[cfg(unix)]
fn check_modes(data: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let process = Process::start(
        Command::new(binary::causerie())
            .args(["--listen", "0", "--offline", "--model", "/nowhere/at-all.gguf", "--data-dir"])
            .arg(data),
    );
    // Without a subcommand it serves as well.
    process.output().wait_for(WITHIN, |line| line.contains("/#login=").then_some(())).expect("a link");
    for file in ["jwt.secret", "causerie.db", "causerie.db-wal"] {
        let mode = std::fs::metadata(data.join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file} has mode {mode:o}");
    }
}

#[test]
fn health_tells_how_far_the_model_is() {
    use std::io::{Read, Write};

    // A source that sends a tenth of the model and then hesitates.
    let source = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", source.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in source.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 98362432\r\n\r\n");
                for _ in 0..98 {
                    let _ = stream.write_all(&[0; 100_000]);
                    std::thread::sleep(Duration::from_millis(5));
                }
                std::thread::sleep(WITHIN);
            });
        }
    });
    let directory = TempDir::new();
    let process = Process::start(
        Command::new(binary::causerie())
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(directory.path().join("data"))
            .env("CAUSERIE_CACHE_DIR", directory.path().join("cache"))
            .env("HF_ENDPOINT", endpoint),
    );
    let link = process.output().wait_for(WITHIN, |line| {
        let (address, _) = line.split_once("http://")?.1.split_once("/#login=")?;
        Some(address.to_owned())
    });
    let address = link.expect("the link comes before the model");
    let deadline = Instant::now() + WITHIN;
    loop {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        write!(stream, "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let health: Value = serde_json::from_str(body).unwrap();
        if health["status"] == "fetching" && health["percent"].as_u64().is_some_and(|percent| percent >= 5) {
            assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
            assert_eq!(health["total_bytes"], 98_362_432, "{health}");
            assert!(health["percent"].as_u64().unwrap() <= 10, "{health}");
            return;
        }
        assert!(Instant::now() < deadline, "{health}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks in a session, and gives what was found of the prompt, and the prompt.
fn cached(client: &mut Client, question: &str) -> (u64, u64) {
    ask(client, question, 20);
    let usage = answer(client)["usage"].clone();
    (usage["cached_tokens"].as_u64().unwrap(), usage["prompt_tokens"].as_u64().unwrap())
}

#[test]
fn what_was_computed_of_a_conversation_is_known_after_a_restart() {
    let server = Server::start();
    let mut ada = server.connect("ada");
    let session = ada.create_session("Long lived");
    let (known, first) = cached(&mut ada, &"What is gravity? ".repeat(30));
    assert_eq!(known, 0);
    let again = |data_dir, args: &[&str]| {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let server = Server::start_with(Options { data_dir: Some(data_dir), args, ..Options::default() });
        let mut ada = server.connect("ada");
        ada.send(&json!({"type": "join_session", "session_id": session}));
        ada.expect("session_joined");
        (server, ada)
    };
    let (server, mut ada) = again(server.stop(), &[]);
    let (known, second) = cached(&mut ada, "And what is light?");
    assert!(known > first && known < second, "{first} tokens, then {known} of {second}");

    // Another session that asks the same is not told whether somebody has asked it.
    ada.create_session("Curious");
    assert_eq!(cached(&mut ada, &"What is gravity? ".repeat(30)), (0, first));
    drop(ada);

    // A damaged file is no reason not to start, and no answer is wrong for it.
    let data_dir = server.stop();
    let file = data_dir.path().join("kv/pages.kv");
    let mut bytes = std::fs::read(&file).expect("it is in the data directory");
    let last = bytes.len() - 1;
    bytes.truncate(last);
    std::fs::write(&file, bytes).unwrap();
    let (server, mut ada) = again(data_dir, &[]);
    assert_eq!(cached(&mut ada, "And what is sound?").0, 0);
    assert!(server.process().output().text().contains("conversations are computed anew"));

    let (server, mut ada) = again(server.stop(), &["--no-kv-cache"]);
    assert_eq!(cached(&mut ada, "And what is silence?").0, 0);
    drop(server);
}

/// Pages of keys and values that are kept for the next start.
fn pages(data_dir: &TempDir) -> Option<u32> {
    let file = std::fs::read(data_dir.path().join("kv/pages.kv")).ok()?;
    Some(u32::from_le_bytes(file[60..64].try_into().unwrap()))
}

#[test]
fn what_was_computed_of_a_conversation_is_known_after_a_crash() {
    let server = Server::start();
    let mut ada = server.connect("ada");
    let session = ada.create_session("Long lived");
    let (_, first) = cached(&mut ada, &"What is gravity? ".repeat(300));
    let deadline = Instant::now() + WITHIN;
    while pages(&server.data_dir()).is_none() {
        assert!(Instant::now() < deadline, "it is saved when nothing runs");
        std::thread::sleep(Duration::from_millis(50));
    }
    let server = Server::start_with(Options { data_dir: Some(server.kill()), ..Options::default() });
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "join_session", "session_id": session}));
    ada.expect("session_joined");
    let (known, second) = cached(&mut ada, "And what is light?");
    assert!(known > first && known < second, "{first} tokens, then {known} of {second}");

    // A deleted conversation does not wait for a stop to be gone.
    ada.send(&json!({"type": "delete_session", "session_id": session}));
    ada.expect("session_deleted");
    let deadline = Instant::now() + WITHIN;
    while pages(&server.data_dir()) != Some(0) {
        assert!(Instant::now() < deadline, "it is saved without what was deleted");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_deleted_conversation_is_gone_from_what_is_kept_too() {
    let server = Server::start();
    let mut ada = server.connect("ada");
    let session = ada.create_session("Secret");
    cached(&mut ada, &"My cat is called Mathilda. ".repeat(30));
    let data_dir = server.stop();
    assert!(pages(&data_dir).is_some_and(|pages| pages > 0));
    let server = Server::start_with(Options { data_dir: Some(data_dir), ..Options::default() });
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "delete_session", "session_id": session}));
    ada.expect("session_deleted");
    assert_eq!(pages(&server.stop()), Some(0));
}
