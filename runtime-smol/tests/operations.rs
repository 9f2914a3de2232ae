//! Running a server for real: its figures, what administrators do over HTTP, backups, and what is forgotten with time.

use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use causerie_tests::{Client, Options, Server, WITHIN, binary};
use serde_json::{Value, json};

/// The program on a server's data.
fn causerie(data_dir: &std::path::Path, args: &[&str]) -> Output {
    let mut command = Command::new(binary::causerie());
    command.args(args).arg("--data-dir").arg(data_dir).output().expect("causerie can be started")
}

/// It ends well; what it printed.
#[track_caller]
fn succeed(data_dir: &std::path::Path, args: &[&str]) -> String {
    let output = causerie(data_dir, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// It fails and says so on stderr.
#[track_caller]
fn fail(data_dir: &std::path::Path, args: &[&str], words: &[&str]) {
    let output = causerie(data_dir, args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?}: no {word:?} in {said}");
    }
}

/// The status and the text of an answer; with a body, to a POST.
fn http(server: &Server, path: &str, token: &str, body: Option<&Value>) -> (u16, String) {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).timeout_global(Some(WITHIN));
    let agent: ureq::Agent = config.build().into();
    let bearer = format!("Bearer {token}");
    let answer = match body {
        None => agent.get(server.url(path)).header("Authorization", bearer).call(),
        Some(body) => agent.post(server.url(path)).header("Authorization", bearer).send(body.to_string()),
    };
    let mut answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

/// The JSON of an answer with status 200.
#[track_caller]
fn json_of(server: &Server, path: &str, token: &str, body: Option<&Value>) -> Value {
    let (status, text) = http(server, path, token, body);
    assert_eq!(status, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

fn admin(server: &Server) -> String {
    server.token_with("root", &["--role", "admin"])
}

fn without_model() -> Server {
    Server::start_with(Options { model: Some("none.gguf".into()), ..Options::default() })
}

fn ask(client: &mut Client, question: &str) -> Value {
    client.send(&json!({"type": "chat_message", "message": question, "sampling": {"max_tokens": 12, "seed": 1}}));
    client.expect_where("an answer", WITHIN, |f| f["type"] == "message" && f["role"] == "assistant")
}

/// The value of a sample, which is named as it stands in the text.
#[track_caller]
fn sample(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

#[test]
fn metrics_move_with_a_chat_and_are_for_those_who_may_see_them() {
    let server = Server::start();
    let key = succeed(server.data_dir().path(), &["key", "create", "--user", "prometheus", "--scope", "metrics", "x"]);
    let metrics = |token: &str| http(&server, "/metrics", token, None);
    let (_, before) = metrics(&key);
    let mut ada = server.connect("ada");
    ada.create_session("Physics");
    let answer = ask(&mut ada, "Why is the sky blue?");
    ada.send(&json!({"type": "join_session", "session_id": "00000000-0000-4000-8000-000000000000"}));
    ada.expect("error");
    let (status, text) = metrics(&admin(&server));
    assert_eq!(status, 200, "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    let usage = |name: &str| answer["usage"][name].as_f64().unwrap();
    let moved = |name: &str| sample(&text, name) - sample(&before, name);
    assert!((moved("causerie_prompt_tokens_total") - usage("prompt_tokens")).abs() < 0.5, "{text}");
    assert!((moved("causerie_completion_tokens_total") - usage("completion_tokens")).abs() < 0.5, "{text}");
    assert!((sample(&text, "causerie_answers_total{source=\"chat\"}") - 1.0).abs() < 0.5);
    assert!((moved("causerie_first_token_seconds_count") - 1.0).abs() < 0.5);
    for name in ["causerie_between_tokens_seconds_count", "causerie_storage_seconds_count"] {
        assert!(moved(name) >= 2.0, "{name}\n{text}");
    }
    assert!((sample(&text, "causerie_errors_total{code=\"session_not_found\"}") - 1.0).abs() < 0.5);
    assert!((sample(&text, "causerie_connections") - 1.0).abs() < 0.5);
    assert!(sample(&text, "causerie_sessions") >= 1.0);
    assert!(sample(&text, "causerie_kv_pages") >= 1.0);
    assert!(sample(&text, "causerie_kv_pages_limit") >= sample(&text, "causerie_kv_pages"));
    assert!(sample(&text, "causerie_http_requests_total{route=\"/metrics\",status=\"200\"}") >= 1.0);
    assert!(sample(&text, "causerie_start_time_seconds") > 1.7e9);
    assert!(!cfg!(target_os = "linux") || sample(&text, "causerie_memory_bytes") > 1e6);
    // Not for everybody, not for nobody.
    assert_eq!(metrics(&server.token("ada")).0, 403);
    assert_eq!(metrics("").0, 401);
}

#[test]
fn an_administrator_sees_and_changes_over_http_what_the_command_line_does() {
    let server = without_model();
    let token = admin(&server);
    let mut ada = server.connect("ada");
    let get = |path: &str| json_of(&server, &format!("/api/admin/{path}"), &token, None);
    let post = |path: &str, body: Value| json_of(&server, &format!("/api/admin/{path}"), &token, Some(&body));
    assert_eq!(get("figures")["connections"], 1);
    let known = get("users");
    assert!(known["users"].as_array().unwrap().iter().any(|user| user["user"] == "ada"), "{known}");

    let bounded = post("user", json!({"user": "ada", "tokens_a_day": 1000, "parallel": 2}));
    assert_eq!((&bounded["tokens_a_day"], &bounded["parallel"]), (&json!(1000), &json!(2)));
    let unbounded = post("user", json!({"user": "ada", "tokens_a_day": null}));
    assert_eq!((&unbounded["tokens_a_day"], &unbounded["parallel"]), (&json!(null), &json!(2)));
    post("user", json!({"user": "ada", "disabled": true}));
    assert_eq!(ada.expect_close().code, 1008);
    post("user", json!({"user": "ada", "disabled": false}));

    let made = post("key", json!({"user": "grace", "name": "script", "ttl": 3600}));
    let mut grace = Client::connect(server.address(), made["key"].as_str().unwrap());
    grace.expect("connection_established");
    assert_eq!(get("keys")["keys"][0]["state"], "good");
    post("revoke", json!({"key": made["prefix"]}));
    assert_eq!(grace.expect_close().code, 1008);
    assert_eq!(get("keys")["keys"][0]["state"], "revoked");

    let invited =
        post("invite", json!({"username": "linus", "ttl": 60, "session": "d4b7c0de-0000-4000-8000-000000000000"}));
    let linus = Client::connect(server.address(), invited["token"].as_str().unwrap()).expect("connection_established");
    assert_eq!(linus["message"], "Connected as linus");
    assert!(invited["path"].as_str().unwrap().starts_with("/#session=d4b7c0de"), "{invited}");
    assert_eq!(get("models")["chat"]["state"], "unavailable");
    post("reload", json!({}));

    let audit = get("audit");
    for action in ["user_changed", "key_created", "key_first_used", "key_revoked", "invited", "model_reloaded"] {
        let entry = audit["entries"].as_array().unwrap().iter().find(|entry| entry["what"] == action);
        let entry = entry.unwrap_or_else(|| panic!("no {action} in {audit}"));
        assert_eq!(entry["from"], "127.0.0.1", "{entry}");
    }
    let oldest = audit["entries"].as_array().unwrap().last().unwrap()["id"].clone();
    assert_eq!(get(&format!("audit?before={oldest}"))["entries"], json!([]));
}

#[test]
fn what_is_for_administrators_is_for_nobody_else_and_nonsense_is_refused() {
    let server = without_model();
    let (root, ada) = (admin(&server), server.token("ada"));
    for path in ["figures", "users", "keys", "audit", "models"] {
        let path = format!("/api/admin/{path}");
        assert_eq!(http(&server, &path, &ada, None).0, 403, "{path}");
        assert_eq!(http(&server, &path, "nonsense", None).0, 401, "{path}");
        assert_eq!(http(&server, &path, &root, Some(&json!({}))).0, 405, "{path}");
    }
    for (path, body, status) in [
        ("user", json!({"user": "nobody", "disabled": true}), 404),
        ("user", json!({"user": "root", "disabled": true}), 400),
        ("user", json!({"user": "root", "role": "king"}), 400),
        ("user", json!({"user": "root", "tokens_a_day": -1}), 400),
        ("user", json!({"user": "root", "unknown": 1}), 400),
        ("key", json!({"user": "ada", "name": ""}), 400),
        ("key", json!({"user": "a".repeat(129), "name": "x"}), 400),
        ("revoke", json!({"key": "ck-00000000"}), 404),
        ("invite", json!({"username": "", "ttl": 60}), 400),
        ("invite", json!({"username": "ada", "ttl": 0}), 400),
        ("invite", json!({"username": "ada", "session": "\" onload=x"}), 400),
        ("nothing", json!({}), 404),
    ] {
        let path = format!("/api/admin/{path}");
        let (got, text) = http(&server, &path, &root, Some(&body));
        assert_eq!(got, status, "{path} {body}: {text}");
        assert!([403, 404].contains(&http(&server, &path, &ada, Some(&body)).0), "{path} {body}");
    }
}

#[test]
fn a_backup_of_a_running_server_brings_everything_back_and_the_old_database_is_kept() {
    let server = without_model();
    let data = server.data_dir();
    let mut ada = server.connect("ada");
    let session = ada.create_session("Precious");
    let file = data.path().join("backup.db");
    let file = file.to_str().unwrap();
    succeed(data.path(), &["backup", file]);
    fail(data.path(), &["backup", file], &["is there already"]);
    let later = ada.create_session("Later");
    fail(data.path(), &["restore", file], &["in use by another causerie server"]);

    let data = server.stop();
    succeed(data.path(), &["restore", file]);
    let aside = fs::read_dir(data.path()).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    assert!(aside.into_iter().any(|name| name.starts_with("causerie.db.before-restore-")), "the old one is kept");
    let options = || Options { model: Some("none.gguf".into()), data_dir: Some(data.clone()), ..Options::default() };
    let server = Server::start_with(options());
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "list_sessions"}));
    let listed = ada.expect("session_list").to_string();
    assert!(listed.contains(session.as_str().unwrap()) && !listed.contains(later.as_str().unwrap()), "{listed}");
    let audit = succeed(data.path(), &["audit"]);
    assert!(audit.contains("restored"), "{audit}");
    let _ = server.stop();

    // What is no backup changes nothing.
    let before = fs::read(data.path().join("causerie.db")).unwrap();
    let broken = data.path().join("broken.db");
    let mut bytes = fs::read(file).unwrap();
    let length = bytes.len();
    // One page, of an index or a table.
    bytes[length - 4096..].fill(0xa5);
    fs::write(&broken, bytes).unwrap();
    fail(data.path(), &["restore", broken.to_str().unwrap()], &["damaged"]);
    fs::write(&broken, "no database ".repeat(1000)).unwrap();
    fail(data.path(), &["restore", broken.to_str().unwrap()], &["not a database"]);
    fail(data.path(), &["restore", data.path().join("none.db").to_str().unwrap()], &["there is no database"]);
    let other = data.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    fail(data.path(), &["restore", other.to_str().unwrap()], &["another program"]);
    assert_eq!(fs::read(data.path().join("causerie.db")).unwrap(), before);
}

#[test]
fn sessions_without_activity_are_deleted_unless_they_are_open() {
    let server = without_model();
    let mut ada = server.connect("ada");
    let [old, open, new] = ["Old", "Open", "New"].map(|title| ada.create_session(title));
    let data = server.stop();
    let database = rusqlite::Connection::open(data.path().join("causerie.db")).unwrap();
    database.execute("UPDATE sessions SET active = active - 31 * 86400 * 1000000 WHERE title != 'New'", []).unwrap();
    drop(database);

    let model = Some("none.gguf".into());
    let args = vec!["--retain-days=30".to_owned()];
    let server = Server::start_with(Options { model, data_dir: Some(data), args, ..Options::default() });
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "join_session", "session_id": open}));
    ada.expect("session_joined");
    let deadline = Instant::now() + WITHIN;
    loop {
        ada.send(&json!({"type": "list_sessions"}));
        let listed = ada.expect("session_list").to_string();
        let there = |id: &Value| listed.contains(id.as_str().unwrap());
        assert!(there(&open) && there(&new), "{listed}");
        if !there(&old) {
            break;
        }
        assert!(Instant::now() < deadline, "{listed}");
        std::thread::sleep(Duration::from_millis(200));
    }
    // The open one lives on, whoever looks.
    ada.send(&json!({"type": "chat_message", "message": "Still here", "client_id": "1"}));
    ada.expect("ack");
}
