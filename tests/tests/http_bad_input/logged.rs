//! What goes wrong is one line of the log, with its code; and no line is more than what the server says.

use std::time::{Duration, Instant};

use causerie_tests::{Client, Options, Server, WITHIN};
use serde_json::{Value, json};

use crate::document::limit;
use crate::exchange::{Answer, bearer, request};

fn server(format: &str, level: &str) -> Server {
    let args = ["--log-requests", "--log-format", format, "--log", level].map(str::to_owned).to_vec();
    Server::start_with(Options { model: Some("/nowhere/at-all.gguf".into()), args, ..Options::default() })
}

/// The lines of the log that bear the id of a request, once its own is among them.
fn lines_of(server: &Server, id: &str) -> Vec<Value> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let text = server.process().output().text();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_request =
            |line: &Value| line["spans"].as_array().is_some_and(|spans| spans.iter().any(|s| s["id"] == id));
        let lines: Vec<_> = lines.filter(of_request).collect();
        if lines.iter().any(|line| line["fields"]["message"] == "answered a request") {
            return lines;
        }
        assert!(Instant::now() < deadline, "no line of {id} in {text}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A method, a path, headers and a body; the status and the code of the answer.
type Wrong<'a> = (&'a str, &'a str, &'a [&'a str], &'a [u8], u16, &'a str);

#[test]
fn what_is_refused_is_one_line_of_the_log_with_its_code() {
    let server = server("json", "causerie=info,warn");
    let other = Server::start_with(Options { model: Some("/nowhere/at-all.gguf".into()), ..Options::default() });
    let (user, foreign) = (bearer(&server.token("ada")), bearer(&other.token("ada")));
    let upgrade = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="];
    let page = "Origin: https://elsewhere.example";
    let large = vec![b' '; limit("HTTP_BODY_BYTES") + 1];
    let requests: [Wrong<'_>; 15] = [
        ("GET", "/nothing", &[], b"", 404, "not_found"),
        ("BREW", "/health", &[], b"", 405, "method_not_allowed"),
        ("GET", "/v1/models", &[], b"", 401, "invalid_api_key"),
        ("GET", "/v1/models", &[&foreign], b"", 401, "invalid_api_key"),
        ("POST", "/api/token", &[&foreign], b"", 401, "invalid_token"),
        ("GET", "/metrics", &[&user], b"", 403, "not_allowed"),
        ("POST", "/api/login", &[], b"{\"code\":\"x\"}", 401, "wrong_code"),
        ("POST", "/api/login", &[], b"{", 400, "invalid_json"),
        ("POST", "/api/login", &[], &large, 413, "body_too_large"),
        ("POST", "/api/login", &["Content-Type: text/plain"], b"{}", 415, "unsupported_media_type"),
        ("POST", "/api/login", &[page], b"{}", 403, "foreign_origin"),
        ("POST", "/v1/chat/completions", &[&user], b"[]", 400, "invalid_type"),
        (
            "POST",
            "/v1/chat/completions",
            &[&user],
            b"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
            503,
            "model_unavailable",
        ),
        ("GET", "/ws/chat", &[], b"", 426, "upgrade_required"),
        ("GET", "/ws/chat", &[page, upgrade[0], upgrade[1], upgrade[2]], b"", 403, "foreign_origin"),
    ];
    for (number, (method, path, headers, body, status, code)) in requests.into_iter().enumerate() {
        let id = format!("X-Request-Id: request-{number}");
        let mut headers = [headers, &[id.as_str()]].concat();
        if headers.contains(&upgrade[0]) {
            headers.push("Connection: Upgrade");
        }
        let answer: Answer = request(&server, method, path, &headers, body);
        assert_eq!(answer.refusal(), (status, code.to_owned()), "{method} {path}");
        let lines = lines_of(&server, &format!("request-{number}"));
        // A token or a code that is none stands in the audit log, which the log repeats.
        let (audit, lines): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line["fields"]["message"] == "audit");
        assert!(audit.len() <= usize::from(status == 401), "{method} {path}: {audit:?}");
        let [line] = lines.as_slice() else { panic!("{method} {path} is logged more than once: {lines:?}") };
        assert_eq!((&line["fields"]["status"], &line["fields"]["code"]), (&json!(status), &json!(code)), "{line}");
        assert_eq!(line["level"], "INFO");
    }
    // What went well has no code.
    let _ = request(&server, "GET", "/", &["X-Request-Id: well"], b"");
    assert_eq!(lines_of(&server, "well")[0]["fields"].get("code"), None);
    // What is wrong with the server itself is said once, whoever asks how often.
    let text = server.process().output().text();
    assert_eq!(text.matches("there is no file /nowhere/at-all.gguf").count(), 1, "{text}");
}

#[test]
fn what_people_write_never_speaks_in_the_log() {
    for format in ["json", "text"] {
        let server = server(format, "trace");
        // It would clear a terminal, and be a line of its own.
        let evil = "\u{1b}[2J\r\nforged-line \u{7}\u{9b}31m\u{202e}";
        let mut ada = Client::connect(server.address(), &server.token("ada"));
        ada.expect("connection_established");
        ada.send(&json!({"type": "create_session", "title": evil, "system": evil}));
        ada.send(&json!({"type": "chat_message", "message": evil, "id": evil}));
        ada.expect("error");
        ada.send(&json!({"type": evil}));
        ada.send(&json!({"type": "join_session", "session_id": evil}));
        ada.expect("error");
        let user = bearer(&server.token("ada"));
        for body in [
            json!({"model": evil, "messages": [{"role": "user", "content": evil}]}),
            json!({"messages": [{"role": evil, "name": evil, "content": evil}], evil: evil, "user": evil}),
            json!({"messages": [{"role": "user", "content": evil}], "stop": evil, "tools": [{"type": evil}]}),
        ] {
            let answer = request(&server, "POST", "/v1/chat/completions", &[&user], body.to_string().as_bytes());
            assert!(answer.status >= 400, "{answer:?}");
        }
        let login = request(&server, "POST", "/api/login", &[], json!({"code": evil}).to_string().as_bytes());
        assert_eq!(login.status, 401);
        let _ = request(&server, "GET", "/", &["X-Request-Id: the-last"], b"");
        let told = |line: &str| line.contains("the-last").then_some(());
        server.process().output().wait_for(WITHIN, told).expect("the last line");
        let text = server.process().output().text();
        let bad = |line: &&str| line.chars().any(|c| c.is_control() || c == '\u{202e}') || line.starts_with("forged");
        let bad: Vec<_> = text.lines().filter(bad).collect();
        assert_eq!(bad, Vec::<&str>::new(), "{format}");
    }
}
