//! The model comes late, is loaded anew, is still on its way, or has no room.

use super::*;

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
fn a_server_without_a_model_is_not_ready_and_says_so() {
    let server = without_model();
    let (head, body) = http(&server, "GET", "/ready");
    assert!(head.starts_with("http/1.1 503 ") && head.contains("\r\nretry-after: "), "{head}");
    let ready: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(ready, json!({"ready": false, "model": false, "storage": true, "draining": false}));
}

#[test]
fn health_tells_how_far_the_model_is() {
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
