//! The page's modules that need no browser, tested by Node.js's own test runner; and what holds for its files.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use causerie_tests::Server;
use serde_json::{Value, json};

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace")
}

#[test]
fn the_modules_pass_their_tests() {
    let files = workspace().join("tests/page");
    let files: Vec<PathBuf> = std::fs::read_dir(files).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    let output = match Command::new("node").arg("--test").args(files).output() {
        Ok(output) => output,
        Err(error) => {
            let missing = format!("`node` cannot be started ({error}): install Node.js 20 or later");
            assert!(std::env::var_os("CAUSERIE_REQUIRE_BROWSER").is_none_or(|value| value != "1"), "{missing}");
            eprintln!("skipped the tests of the page's modules: {missing}");
            return;
        }
    };
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// What is fetched when it is first needed, and not with the page.
const LATER: [&str; 6] = ["colours.js", "dialogs.js", "drawer.css", "drawer.js", "export.js", "invitation.js"];

#[test]
fn the_page_names_nobody_else_and_makes_no_code_of_text() {
    for entry in std::fs::read_dir(workspace().join("runtime-smol/src/page")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue; // a library's, unchanged; its files are loaded when there is code to colour
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!text.contains(sink), "{} makes code or elements of text: {sink}", path.display());
        }
        for reference in ["src=\"http", "href=\"http", "url(http", "import 'http", "@import"] {
            assert!(!text.contains(reference), "{} loads something from elsewhere: {reference}", path.display());
        }
    }
}

/// What a GET (or another method) of `path` brings: the answer's head, and the bytes after it.
fn fetch(server: &Server, method: &str, path: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let host = server.address();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let body = all.split_off(end);
    (String::from_utf8(all).unwrap().to_ascii_lowercase(), body)
}

#[test]
fn the_first_load_is_small_and_its_modules_are_all_asked_for_at_once() {
    /// Bytes over the line, with headers: what comes before the first chat, on a slow line too.
    const LIMIT: usize = 90_000;
    /// As browsers say it to a server without TLS.
    const BROWSER: &str = "Accept-Encoding: gzip, deflate\r\n";
    let server = Server::start();
    let page = workspace().join("runtime-smol/src/page");
    let html = std::fs::read_to_string(page.join("index.html")).unwrap();
    let linked = |attribute: &str| -> Vec<&str> {
        html.split(attribute).skip(1).map(|rest| &rest[..rest.find('"').unwrap()]).collect()
    };
    let asked: BTreeSet<&str> = linked("<link rel=\"modulepreload\" href=\"").into_iter().collect();

    // What the first module leads to, module by module.
    let mut modules = BTreeSet::new();
    let mut ahead = vec!["app.js".to_owned()];
    while let Some(name) = ahead.pop() {
        let text = std::fs::read_to_string(page.join(&name)).unwrap();
        let imports = text.lines().filter(|line| line.starts_with("import ") || line.starts_with("export {"));
        ahead.extend(imports.filter_map(|line| Some(line.split_once("'./")?.1.split_once('\'')?.0.to_owned())));
        if name != "app.js" && !modules.insert(name) {
            ahead.retain(|name| !modules.contains(name));
        }
    }
    assert!(asked.iter().copied().eq(modules.iter().map(String::as_str)), "preloaded {asked:?}, needed {modules:?}");

    let mut bytes = 0;
    let others = linked(" src=\"").into_iter().chain(linked("<link rel=\"stylesheet\" href=\""));
    for name in ["", "favicon.svg", "health"].into_iter().chain(others).chain(asked.iter().copied()) {
        let (head, body) = fetch(&server, "GET", &format!("/{name}"), BROWSER);
        assert!(name == "health" || head.contains("content-encoding: gzip"), "{name}: {head}");
        bytes += head.len() + body.len();
        let length = format!("content-length: {}\r\n", body.len());
        assert!(head.contains(&length), "{name}: {head}");
        if name != "health" {
            let (head, none) = fetch(&server, "HEAD", &format!("/{name}"), BROWSER);
            assert!(head.contains(&length) && none.is_empty(), "{name}: {head}");
            let tag = head.lines().find(|line| line.starts_with("etag: ")).expect("a tag").trim_start_matches("etag: ");
            let known = format!("{BROWSER}If-None-Match: {tag}\r\n");
            let (head, none) = fetch(&server, "GET", &format!("/{name}"), &known);
            assert!(head.starts_with("http/1.1 304 ") && none.is_empty(), "{name}: {head}");
        }
    }
    assert!(bytes <= LIMIT, "the first load has {bytes} bytes, more than {LIMIT}");
    eprintln!("the first load has {bytes} bytes");

    let (head, body) = fetch(&server, "GET", "/app.js", "");
    assert!(!head.contains("content-encoding") && head.contains("vary: accept-encoding"), "{head}");
    assert_eq!(body, std::fs::read(page.join("app.js")).unwrap());
}

#[test]
fn what_comes_later_is_loaded_by_nothing_that_comes_at_once() {
    let page = workspace().join("runtime-smol/src/page");
    for entry in std::fs::read_dir(page).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for name in LATER.into_iter().chain(["vendor/"]) {
            let at_once = text
                .lines()
                .any(|line| (line.starts_with("import ") || line.contains("modulepreload")) && line.contains(name));
            assert!(!at_once, "{} loads {name} at once", path.display());
        }
    }
}

#[test]
fn chats_are_found_by_what_was_said_by_those_who_are_in_them() {
    let server = Server::start();
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "create_session", "title": "Tea <b>"}));
    let id = ada.expect("session_joined")["session_id"].as_str().unwrap_or_default().to_owned();
    let message = "Which one \u{201c}at night\u{201d}, <script>Über</script>?";
    ada.send(&json!({"type": "chat_message", "message": message, "sampling": {"max_tokens": 4}}));
    ada.expect("ack");
    let search = |user: &str, body: &str| {
        let length = body.len();
        let headers = format!(
            "Authorization: Bearer {}\r\nContent-Length: {length}\r\nContent-Type: application/json\r\n",
            server.token(user)
        );
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let host = server.address();
        write!(stream, "POST /api/search HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n{body}")
            .unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        let (head, body) = all.split_once("\r\n\r\n").expect("a head");
        (head[9..12].to_owned(), serde_json::from_str::<Value>(body).expect("JSON"))
    };
    let (status, answer) = search("ada", r#"{"query": " NIGHT über "}"#);
    assert_eq!((status.as_str(), &answer["more"]), ("200", &json!(false)), "{answer}");
    let found = answer["found"].as_array().expect("a list");
    let [chat] = found.as_slice() else { panic!("{answer}") };
    assert_eq!((&chat["session_id"], &chat["session_title"]), (&json!(id), &json!("Tea <b>")));
    assert_eq!(chat["excerpt"], message, "data, as it was written");
    // The title alone; nothing; and nothing for who is not in it.
    let (_, answer) = search("ada", r#"{"query": "tea"}"#);
    assert_eq!((&answer["found"][0]["session_id"], &answer["found"][0]["excerpt"]), (&json!(id), &Value::Null));
    assert_eq!(search("ada", r#"{"query": "coffee"}"#).1["found"], json!([]));
    assert_eq!(search("bob", r#"{"query": "night"}"#).1["found"], json!([]));
    // Until they are invited.
    ada.send(&json!({"type": "invite", "session_id": id, "username": "bob"}));
    ada.expect("invited");
    assert_eq!(search("bob", r#"{"query": "night"}"#).1["found"][0]["session_id"], json!(id));

    let long = |characters: usize| format!("{{\"query\": \"{}\"}}", "ä".repeat(characters));
    assert_eq!(search("ada", &long(200)).0, "200");
    let empty = r#"{"query": "\u00a0 \n"}"#.to_owned();
    for (body, code) in [
        (long(201), "invalid_field"),
        (empty, "invalid_field"),
        (r#"{"query": 7}"#.to_owned(), "invalid_json"),
        (r#"{"q": "x"}"#.to_owned(), "invalid_json"),
        (r#"{"query": "\ud800"}"#.to_owned(), "invalid_json"),
    ] {
        let (status, answer) = search("ada", &body);
        assert_eq!((status.as_str(), answer["error"].as_str()), ("400", Some(code)), "{body}: {answer}");
    }
}
