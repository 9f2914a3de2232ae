//! HTTP on the one port, as a socket sees it: a real server, without a model.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use causerie_tests::{Options, Server, WITHIN};
use serde_json::Value;

fn server() -> Server {
    Server::start_with(Options { model: Some("/nowhere/at-all.gguf".into()), ..Options::default() })
}

/// An answer as it came.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    fn code(&self) -> (u16, String) {
        (self.status, self.json()["error"].as_str().unwrap_or_default().to_owned())
    }
}

/// Sends bytes and reads until the server closes.
fn exchange(server: &Server, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    stream.write_all(request).unwrap();
    let mut text = Vec::new();
    // A server that refuses a request in the middle may reset the rest of it.
    let _ = stream.read_to_end(&mut text);
    parse(&text)
}

fn parse(text: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer { status: status.expect("a status"), head: head.to_owned(), body: body.to_owned() }
}

/// A request of the usual shape.
fn request(server: &Server, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", server.address());
    if !headers.iter().any(|header| header.starts_with("Connection:")) {
        text += "Connection: close\r\n";
    }
    for header in headers {
        text += &format!("{header}\r\n");
    }
    text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    exchange(server, text.as_bytes())
}

fn get(server: &Server, path: &str) -> Answer {
    request(server, "GET", path, &[], "")
}

#[test]
fn the_page_comes_with_all_its_files_and_a_strict_policy() {
    let server = server();
    let page = get(&server, "/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.body.contains("Causerie"));
    let policy = page.header("content-security-policy").expect("a policy");
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));

    let names = page.body.split('"').filter(|name| name.ends_with(".js") || name.ends_with(".css"));
    let names: Vec<&str> = names.collect();
    assert!(names.len() >= 2, "{names:?}");
    for name in names {
        let file = get(&server, &format!("/{name}"));
        let kind = if name.ends_with(".js") { "text/javascript; charset=utf-8" } else { "text/css; charset=utf-8" };
        assert_eq!((file.status, file.header("content-type")), (200, Some(kind)), "{name}");
    }
}

#[test]
fn a_file_that_the_browser_has_is_not_sent_again() {
    let server = server();
    let etag = get(&server, "/").header("etag").expect("an ETag").to_owned();
    let again = request(&server, "GET", "/", &[&format!("If-None-Match: \"other\", W/{etag}")], "");
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let other = request(&server, "GET", "/", &["If-None-Match: \"other\""], "");
    assert_eq!(other.status, 200);
    let head = request(&server, "HEAD", "/", &[], "");
    assert_eq!((head.status, head.body.as_str(), head.header("etag")), (200, "", Some(etag.as_str())));
}

#[test]
fn health_says_that_there_is_no_model_and_why() {
    let server = server();
    let health = get(&server, "/health");
    assert_eq!((health.status, health.header("content-type")), (503, Some("application/json")));
    let health = server_says(&server, "unavailable");
    assert!(health["message"].as_str().unwrap().contains("/nowhere/at-all.gguf"), "{health}");
}

/// Waits until `/health` has a status.
fn server_says(server: &Server, status: &str) -> Value {
    let deadline = std::time::Instant::now() + WITHIN;
    loop {
        let health = get(server, "/health").json();
        if health["status"] == status {
            return health;
        }
        assert!(std::time::Instant::now() < deadline, "{health}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn wrong_paths_and_methods_are_told_what_is_right() {
    let server = server();
    for path in ["/nothing", "/app.js/", "/../Cargo.toml", "/ws", "//", "/health/"] {
        assert_eq!(get(&server, path).code(), (404, "not_found".to_owned()), "{path}");
    }
    for (method, path, allowed) in [
        ("POST", "/", "GET, HEAD"),
        ("DELETE", "/health", "GET, HEAD"),
        ("GET", "/api/login", "POST"),
        ("PUT", "/api/token", "POST"),
        ("POST", "/ws/chat", "GET"),
    ] {
        let answer = request(&server, method, path, &[], "");
        assert_eq!(answer.code(), (405, "method_not_allowed".to_owned()), "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
}

#[test]
fn what_is_no_http_or_too_large_ends_its_own_connection_alone() {
    let server = server();
    let host = server.address();
    let long = format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(exchange(&server, long.as_bytes()).status, 431);
    let many = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{}\r\n", "A: b\r\n".repeat(1_000));
    assert_eq!(exchange(&server, many.as_bytes()).status, 431);
    assert_eq!(exchange(&server, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").status, 400);
    let body = request(&server, "POST", "/api/login", &[], &"x".repeat(5_000));
    assert_eq!(body.code(), (413, "body_too_large".to_owned()));
    assert_eq!(get(&server, "/").status, 200);
}

#[test]
fn requests_share_a_connection() {
    let server = server();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    let one = format!("HEAD / HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
    let last = one.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    stream.write_all(format!("{one}{one}{last}").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3, "{text}");
}

#[test]
fn a_slow_request_hinders_nobody_and_is_given_up() {
    let server = server();
    let mut slow = TcpStream::connect(server.address()).unwrap();
    slow.write_all(b"GET / HT").unwrap();
    assert_eq!(get(&server, "/").status, 200);
    slow.set_read_timeout(Some(WITHIN)).unwrap();
    let mut text = Vec::new();
    slow.read_to_end(&mut text).expect("the server ends it");
}

#[test]
fn other_hosts_and_origins_are_refused() {
    let server = server();
    let rebound = b"GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(&server, rebound).code(), (421, "wrong_host".to_owned()));
    let code = r#"{"code":"0"}"#;
    let foreign = request(&server, "POST", "/api/login", &["Origin: http://evil.example"], code);
    assert_eq!(foreign.code(), (403, "foreign_origin".to_owned()));
    let own = format!("Origin: http://{}", server.address());
    assert_eq!(request(&server, "POST", "/api/login", &[&own], code).code(), (401, "wrong_code".to_owned()));
}

#[test]
fn the_login_link_works_once_and_its_token_can_be_renewed() {
    let server = server();
    let (_, code) = server.login_link().split_once("#login=").unwrap();
    let body = format!(r#"{{"code":"{code}"}}"#);
    let login = request(&server, "POST", "/api/login", &["Content-Type: application/json"], &body);
    assert_eq!((login.status, login.header("cache-control")), (200, Some("no-store")), "{}", login.body);
    let login = login.json();
    assert_eq!(login["username"], "admin");

    let again = request(&server, "POST", "/api/login", &[], &body);
    assert_eq!(again.code(), (401, "wrong_code".to_owned()));

    let bearer = format!("Authorization: Bearer {}", login["token"].as_str().unwrap());
    let renewed = request(&server, "POST", "/api/token", &[&bearer], "");
    assert_eq!(renewed.status, 200, "{}", renewed.body);
    assert_eq!(renewed.json()["username"], "admin");
    // It is a token of the same person: the chat greets them by name.
    let mut client = causerie_tests::Client::connect(server.address(), renewed.json()["token"].as_str().unwrap());
    assert_eq!(client.expect("connection_established")["message"], "Connected as admin");
}

#[test]
fn the_token_of_an_invitation_is_not_renewed() {
    let server = server();
    let bearer = format!("Authorization: Bearer {}", server.token("ada"));
    let answer = request(&server, "POST", "/api/token", &[&bearer], "");
    assert_eq!(answer.code(), (403, "not_renewable".to_owned()));
    assert!(answer.json()["message"].as_str().unwrap().contains("login link"), "{}", answer.body);
}

#[test]
fn no_token_is_given_for_a_bad_one() {
    let server = server();
    for headers in [&[][..], &["Authorization: Bearer abc"], &["Authorization: Basic YTpi"]] {
        let answer = request(&server, "POST", "/api/token", headers, "");
        assert_eq!(answer.code(), (401, "invalid_token".to_owned()), "{headers:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let answer = request(&server, "POST", "/api/login", &[], "{}");
    assert_eq!(answer.code(), (400, "invalid_json".to_owned()));
}

#[test]
fn a_plain_request_to_the_chat_is_told_to_upgrade() {
    let server = server();
    let plain = get(&server, "/ws/chat");
    assert_eq!(plain.code(), (426, "upgrade_required".to_owned()));
    assert_eq!((plain.header("upgrade"), plain.header("sec-websocket-version")), (Some("websocket"), Some("13")));
    let upgrade =
        ["Upgrade: websocket", "Connection: Upgrade, close", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short"];
    assert_eq!(request(&server, "GET", "/ws/chat", &upgrade, "").code(), (400, "invalid_handshake".to_owned()));
    let old = ["Upgrade: websocket", "Connection: Upgrade, close", "Sec-WebSocket-Version: 8"];
    assert_eq!(request(&server, "GET", "/ws/chat", &old, "").status, 426);
    let foreign = [
        "Upgrade: websocket",
        "Connection: Upgrade, close",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Origin: https://evil.example",
    ];
    assert_eq!(request(&server, "GET", "/ws/chat", &foreign, "").code(), (403, "foreign_origin".to_owned()));
}

#[test]
fn each_request_has_an_id_which_is_sent_back_and_logged_without_secrets() {
    let env = vec![("CAUSERIE_LOG_FORMAT".to_owned(), "json".to_owned())];
    let args = vec!["--log-requests".to_owned()];
    let model = Some("/nowhere/at-all.gguf".into());
    let server = Server::start_with(Options { model, env, args, ..Options::default() });
    let token = server.token("ada");
    let answer = request(&server, "GET", &format!("/health?token={token}"), &["X-Request-Id: from-proxy.1"], "");
    assert_eq!(answer.header("x-request-id"), Some("from-proxy.1"));
    let own = get(&server, "/nothing").header("x-request-id").expect("an id").to_owned();
    assert_ne!(get(&server, "/nothing").header("x-request-id"), Some(own.as_str()));
    let refused = request(&server, "GET", "/health", &["X-Request-Id: not a plain one"], "");
    assert_ne!(refused.header("x-request-id"), Some("not a plain one"));
    let body = r#"{"code":"0123456789abcdef"}"#;
    let bearer = format!("Authorization: Bearer {token}");
    request(&server, "POST", "/api/login?code=0123456789abcdef", &[&bearer], body);
    // The chat's own, too.
    let mut ada = server.connect("ada");
    let session = ada.create_session("Secret title");
    ada.send(&serde_json::json!({"type": "chat_message", "message": "Xanadu", "session_id": session}));
    ada.expect("ack");

    let line = |id: &str| {
        let line = server.process().output().wait_for(WITHIN, |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["spans"][0]["id"] == id && line["fields"]["message"] == "answered a request").then_some(line)
        });
        line.unwrap_or_else(|| panic!("no line with {id}"))
    };
    let logged = line("from-proxy.1");
    let fields = &logged["fields"];
    assert_eq!(
        (&logged["level"], &fields["method"], &fields["path"]),
        (&"INFO".into(), &"GET".into(), &"/health".into())
    );
    assert_eq!(fields["status"], 503);
    assert!(fields["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{logged}");
    assert_eq!(line(&own)["fields"]["status"], 404);
    let log = server.process().output().text();
    for secret in [token.as_str(), "0123456789abcdef", "token=", "Secret title", "Xanadu"] {
        assert!(
            !log.lines().filter(|line| line.starts_with('{')).any(|line| line.contains(secret)),
            "{secret} in {log}"
        );
    }
}

#[test]
fn requests_are_not_logged_unless_it_is_asked_for() {
    let server = server();
    get(&server, "/nothing");
    drop(server.connect("ada"));
    assert!(!server.process().output().text().contains("answered a request"));
    let env = vec![("CAUSERIE_LOG".to_owned(), "causerie=debug".to_owned())];
    let model = Some("/nowhere/at-all.gguf".into());
    let server = Server::start_with(Options { model, env, ..Options::default() });
    let id = get(&server, "/nothing").header("x-request-id").expect("an id").to_owned();
    let said = server
        .process()
        .output()
        .wait_for(WITHIN, |line| (line.contains("answered a request") && line.contains(&id)).then_some(()));
    assert!(said.is_some(), "no line with {id}");
    // A WebSocket's own id stands beside that of its request.
    drop(server.connect("ada"));
    let open = |line: &str| {
        (line.contains("a WebSocket is open") && line.contains("request{") && line.contains("connection="))
            .then_some(())
    };
    assert!(server.process().output().wait_for(WITHIN, open).is_some());
}
