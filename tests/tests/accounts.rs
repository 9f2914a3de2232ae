//! Users, API keys, roles, quotas and the audit log: the command line beside a real, running server.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use causerie_tests::{Client, Options, Server, WITHIN, binary};
use serde_json::{Value, json};

/// The program on a server's data.
fn causerie(server: &Server, args: &[&str]) -> Output {
    let mut command = Command::new(binary::causerie());
    command.args(args).arg("--data-dir").arg(server.data_dir().path());
    command.output().expect("causerie can be started")
}

/// What it printed, without the end of the last line.
#[track_caller]
fn succeed(server: &Server, args: &[&str]) -> String {
    let output = causerie(server, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the program writes UTF-8").trim_end().to_owned()
}

/// The status and the JSON of an answer.
fn get(server: &Server, path: &str, token: &str) -> (u16, Value) {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).timeout_global(Some(WITHIN));
    let agent: ureq::Agent = config.build().into();
    let request = agent.get(server.url(path)).header("Authorization", &format!("Bearer {token}"));
    let mut answer = request.call().unwrap_or_else(|error| panic!("GET {path}: {error}"));
    let body = answer.body_mut().read_to_string().unwrap_or_default();
    (answer.status().as_u16(), serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

fn ask(client: &mut Client, question: &str) -> Value {
    client.send(&json!({"type": "chat_message", "message": question, "sampling": {"max_tokens": 8, "seed": 1}}));
    client.expect_where("an answer or an error", WITHIN, |f| {
        f["type"] == "error" || (f["type"] == "message" && f["role"] == "assistant")
    })
}

#[test]
fn a_key_opens_the_api_and_the_chat_until_it_is_revoked() {
    let server = Server::start();
    let secret = succeed(&server, &["key", "create", "--user", "grace", "her script"]);
    assert!(secret.starts_with("ck-") && !secret.contains('\n'), "{secret}");
    assert_eq!(get(&server, "/v1/models", &secret).0, 200);

    let mut grace = Client::connect(server.address(), &secret);
    assert_eq!(grace.expect("connection_established")["message"], "Connected as grace");
    let session = grace.create_session("By key");
    // The same name is the same person, whatever they show.
    let mut by_token = server.connect("grace");
    by_token.send(&json!({"type": "list_sessions"}));
    let sessions = by_token.expect("session_list");
    assert_eq!(sessions["sessions"][0]["session_id"], session, "{sessions}");

    let listed = succeed(&server, &["key", "list"]);
    let line = listed.lines().nth(1).unwrap();
    for part in [&secret[..11], "grace", "good", "her script"] {
        assert!(line.contains(part), "{part} is missing in {listed}");
    }
    assert!(!listed.contains(&secret[12..]), "a list shows no secret");

    succeed(&server, &["key", "revoke", &secret[..11]]);
    assert_eq!(grace.expect_close().code, 1008);
    let (status, refused) = get(&server, "/v1/models", &secret);
    assert_eq!(status, 401, "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("revoked"), "{refused}");
    assert!(succeed(&server, &["key", "list"]).contains("revoked"));
    assert_eq!(get(&server, "/v1/models", "ck-00000000-nonsense").0, 401);

    let _linus = server.connect("linus");
    let audit = succeed(&server, &["audit"]);
    for action in ["key_created", "key_first_used", "key_revoked", "sign_in_refused", "first_sign_in"] {
        assert!(audit.contains(action), "{action} is missing in\n{audit}");
    }
    assert!(!audit.contains(&secret[12..]), "{audit}");
}

#[test]
fn a_key_ends_with_its_time_and_one_for_the_metrics_opens_nothing_else() {
    let server = Server::start_with(Options { model: Some("none.gguf".into()), ..Options::default() });
    let short = succeed(&server, &["key", "create", "--user", "ada", "--ttl", "1s", "short"]);
    let deadline = Instant::now() + WITHIN;
    loop {
        let (status, answer) = get(&server, "/v1/models", &short);
        if status == 401 {
            assert!(answer["error"]["message"].as_str().unwrap().contains("expired"), "{answer}");
            break;
        }
        assert!(Instant::now() < deadline, "the key goes on working: {status} {answer}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let metrics = succeed(&server, &["key", "create", "--user", "prometheus", "--scope", "metrics", "scraper"]);
    assert_eq!(get(&server, "/v1/models", &metrics).0, 403);
    let mut client = Client::connect(server.address(), &metrics);
    assert_eq!(client.expect("error")["code"], "authentication_failed");
}

#[test]
fn a_disabled_user_is_out_within_a_moment_and_stays_out() {
    let server = Server::start();
    let mut ada = server.connect("ada");
    let mut grace = server.connect("grace");
    succeed(&server, &["user", "disable", "ada"]);
    assert_eq!(ada.expect_close().code, 1008);
    let token = server.token("ada");
    let mut again = Client::connect(server.address(), &token);
    let refused = again.expect("error");
    assert_eq!(refused["code"], "authentication_failed");
    assert!(refused.to_string().contains("disabled"), "{refused}");
    assert_eq!(get(&server, "/v1/models", &token).0, 403);
    // Others are not disturbed, and it can be undone.
    grace.create_session("Still here");
    let users = succeed(&server, &["user", "list"]);
    assert!(users.lines().any(|line| line.contains("ada") && line.contains("disabled")), "{users}");
    succeed(&server, &["user", "enable", "ada"]);
    let _ada = server.connect("ada");
}

#[test]
fn a_quota_ends_with_a_clear_error_and_counts_what_was_used() {
    let server = Server::start();
    let mut ada = server.connect("ada");
    ada.create_session("Physics");
    assert_eq!(ask(&mut ada, "Why is the sky blue?")["type"], "message");
    succeed(&server, &["user", "set", "ada", "--tokens-a-day", "10"]);
    let refused = ask(&mut ada, "And the sea?");
    assert_eq!((&refused["code"], &refused["retryable"]), (&json!("quota_exceeded"), &json!(false)), "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("10 tokens of this day"), "{refused}");
    let users = succeed(&server, &["user", "list"]);
    let today: u64 =
        users.lines().find(|line| line.contains("ada")).unwrap().split_whitespace().nth(5).unwrap().parse().unwrap();
    assert!(today > 10, "{users}");
    // Others have a quota of their own, and none is the end of it.
    let mut grace = server.connect("grace");
    grace.create_session("Physics");
    assert_eq!(ask(&mut grace, "Why is the sky blue?")["type"], "message");
    succeed(&server, &["user", "set", "ada", "--tokens-a-day", "none", "--parallel", "0"]);
    assert_eq!(ask(&mut ada, "And now?")["code"], "overloaded");
    succeed(&server, &["user", "set", "ada", "--parallel", "none"]);
    assert_eq!(ask(&mut ada, "And now?")["type"], "message");
}

#[test]
fn an_answer_made_anew_is_counted_against_who_wanted_it() {
    let server = Server::start();
    let (mut ada, mut bob) = (server.connect("ada"), server.connect("bob"));
    let session = ada.create_session("Physics");
    ada.invite("bob");
    bob.send(&json!({ "type": "join_session", "session_id": session }));
    bob.expect("session_joined");
    let answer = ask(&mut ada, "Why is the sky blue?");
    succeed(&server, &["user", "set", "ada", "--tokens-a-day", "1"]);
    let again = json!({ "type": "regenerate", "message_id": answer["id"], "sampling": { "max_tokens": 8 } });
    bob.send(&again);
    let anew = bob.expect_where("an answer", WITHIN, |frame| {
        frame["type"] == "message" && frame["parent"] == answer["parent"] && frame["id"] != answer["id"]
    });
    assert_eq!(anew["role"], "assistant", "{anew}");
    succeed(&server, &["user", "set", "bob", "--tokens-a-day", "1"]);
    bob.send(&again);
    assert_eq!(bob.expect("error")["code"], "quota_exceeded");
}

#[test]
fn a_role_given_by_an_administrator_counts_whatever_the_token_says() {
    let server = Server::start_with(Options { model: Some("none.gguf".into()), ..Options::default() });
    let reload = |client: &mut Client| {
        client.create_session("Reload");
        client.send(&json!({"type": "chat_message", "message": "/reload"}));
        client.expect("command_response").to_string()
    };
    let before = reload(&mut server.connect("ada"));
    succeed(&server, &["user", "set", "ada", "--role", "admin"]);
    assert_ne!(reload(&mut server.connect("ada")), before, "an administrator may");
    succeed(&server, &["user", "set", "root", "--role", "user"]);
    let root = server.token_with("root", &["--role", "admin"]);
    let mut root = Client::connect(server.address(), &root);
    root.expect("connection_established");
    let refused = reload(&mut root);
    assert!(refused.contains("admin"), "{refused}");
}

#[test]
fn commands_that_make_no_sense_say_why() {
    let server = Server::start_with(Options { model: Some("none.gguf".into()), ..Options::default() });
    for (args, code, words) in [
        (&["key", "revoke", "ck-12345678"][..], 1, "there is no key"),
        (&["key", "create", "--user", "", "name"][..], 2, "a user's name"),
        (&["key", "create", "--user", "ada", " "][..], 2, "a key's name"),
        (&["user", "set", "ada"][..], 2, "--tokens-a-day"),
        (&["user", "set", "ada", "--parallel", "many"][..], 2, "whole number"),
        (&["audit", "-n", "0"][..], 2, "1..="),
    ] {
        let output = causerie(&server, args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
}
