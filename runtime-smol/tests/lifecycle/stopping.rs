//! A stop lets answers end, says goodbye, and takes nothing new.

use super::*;

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

#[test]
fn while_it_stops_nothing_new_is_taken_and_everybody_is_told_when_to_come_back() {
    let server = Server::start();
    let (head, body) = http(&server, "GET", "/ready");
    assert!(head.starts_with("http/1.1 200 "), "{head} {body}");
    let token = server.token("ada");
    let mut ada = server.connect("ada");
    // A client of the base protocol, which knows no drain, hears of it as well.
    let mut old = Client::connect_base(server.address(), &server.token("bob"));
    old.expect("connection_established");
    ada.create_session("Sea");
    ask(&mut ada, "Write a very long story about the sea.", 4_000);
    ada.expect("message_delta");
    signal(server.process().id(), "TERM");
    for client in [&mut ada, &mut old] {
        let notice = client.expect("notice");
        assert_eq!(notice["code"], "server_draining");
        assert!(notice["message"].as_str().unwrap().contains("connect again"), "{notice}");
    }
    // The answer goes on for some seconds; meanwhile:
    let (head, body) = http(&server, "GET", "/ready");
    assert!(head.starts_with("http/1.1 503 ") && head.contains("\r\nretry-after: "), "{head}");
    assert!(body.contains("\"draining\":true"), "{body}");
    let (head, body) = http(&server, "POST", "/api/login");
    assert!(head.starts_with("http/1.1 503 ") && head.contains("\r\nretry-after: "), "{head}");
    assert!(body.contains("server_draining"), "{body}");
    assert!(http(&server, "GET", "/").0.starts_with("http/1.1 200 "), "what can be read can still be read");
    let mut raw = raw::Raw::tcp(server.address());
    raw.send(raw::handshake(server.address(), &token).as_bytes());
    let refused = raw.response();
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true), "{refused:?}");
    ask(&mut ada, "And the land?", 5);
    assert_eq!(ada.expect("error")["code"], "server_draining");

    assert!(!answer(&mut ada)["content"].as_str().unwrap().is_empty());
    assert_eq!((ada.expect_close().code, old.expect_close().code), (1001, 1001));
}

/// Begins a streamed completion and reads up to its first token.
fn completion(server: &Server, tokens: u32) -> (std::net::TcpStream, String) {
    let body = json!({
        "model": "",
        "messages": [{"role": "user", "content": "Write a very long story about the sea."}],
        "max_tokens": tokens,
        "stream": true,
    });
    let (body, token) = (body.to_string(), server.token("ada"));
    let mut stream = std::net::TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        server.address(),
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut text = String::new();
    let mut piece = [0; 4096];
    while !text.contains("\"content\":") {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    (stream, text)
}

#[test]
fn answers_over_http_end_before_the_server_does_or_are_told() {
    let server = Server::start();
    let (mut short, mut answered) = completion(&server, 30);
    let (mut long, mut cut) = completion(&server, 100_000);
    signal(server.process().id(), "TERM");
    // Both at once: what nobody reads waits, and cannot be ended in order.
    std::thread::scope(|scope| {
        scope.spawn(|| short.read_to_string(&mut answered).unwrap());
        scope.spawn(|| long.read_to_string(&mut cut).unwrap());
    });
    // Both are whole in HTTP's eyes: the last chunk came.
    for text in [&answered, &cut] {
        assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n0\r\n\r\n"), "{text}");
    }
    assert!(answered.contains("[DONE]") && !answered.contains("server_draining"), "{answered}");
    // A context that is full ends it, too, on a very fast machine.
    assert!(cut.contains("server_draining") || cut.contains("[DONE]"), "{cut}");
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
