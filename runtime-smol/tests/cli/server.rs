//! `causerie chat --server`: the terminal as a client of the real server.

use super::*;

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use causerie_tests::{Options, Server, WITHIN};
use serde_json::{Value, json};

/// A client with a directory of its own.
fn chat(scratch: &Scratch, server: &str, args: &[&str]) -> Command {
    let mut command = causerie(&["chat", "--server", server]);
    command.args(args).env("CAUSERIE_DATA_DIR", scratch.join("data")).env("NO_COLOR", "1");
    command
}

#[test]
fn a_login_link_is_enough_and_the_commands_are_those_of_home() {
    let server = Server::start();
    let scratch = Scratch::new();
    let link = server.login_link().to_owned();
    let input = "What is the capital of France?\n/set max_tokens 6\n/regenerate\n/edit What is the capital of Italy?\n\
                 /rename Capitals\n/who\n/sessions\n/stats\n/dance\n/load x\n/history\n/save capitals\n";
    let output = run(&mut chat(&scratch, &link, &["--temperature", "0"]), input);
    let (said, noted) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{noted}");
    // Which words it begins with is nearly a tie between two, which each kernel's rounding decides in its own way.
    assert!(said.lines().next().is_some_and(|line| !line.trim().is_empty()), "{said}");
    // What was said in the end: the branch that was edited, with its answer.
    let history = said.split_once("admin: ").expect("a history").1;
    assert!(history.starts_with("What is the capital of Italy?\n") && history.lines().count() > 1, "{said}");
    assert!(!history.contains("capital of France?"), "{said}");
    for note in [
        "is called \"Capitals\" now",
        "admin\n",
        "*  1  Capitals (5 messages)",
        "Model: SmolLM2",
        "Unknown command: /dance",
        "conversations on this machine",
        "(cut: the answer",
    ] {
        assert!(noted.contains(note), "no {note:?} in {noted}");
    }
    let saved = fs::read(scratch.join("data").join("chats").join("capitals.json")).unwrap();
    let saved: Value = serde_json::from_slice(&saved).unwrap();
    assert_eq!((&saved["title"], saved["messages"].as_array().unwrap().len()), (&json!("Capitals"), 2));
    assert_eq!(saved["messages"][0]["name"], "admin");

    // The link works once; the login stays, and so does the conversation.
    let base = server.url("");
    let again = succeed(&mut chat(&scratch, &base, &["--resume", "--max-tokens", "4"]), "/edit And of Spain?\n");
    assert!(again.starts_with("admin: What is the capital of Italy?\n"), "{again}");
    let stranger = Scratch::new();
    fail(&mut chat(&stranger, &link, &[]), 1, &["login code is wrong"]);
    fail(&mut chat(&stranger, &base, &[]), 2, &["who are you", "--server", "causerie token"]);
    fail(chat(&stranger, &base, &[]).env("CAUSERIE_TOKEN", "a.b.c"), 1, &[&base]);
    fail(&mut chat(&stranger, "ftp://h", &[]), 2, &["ftp:// is not spoken"]);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fail(chat(&stranger, &nobody.to_string(), &[]).env("CAUSERIE_TOKEN", "a.b.c"), 1, &["refused"]);
}

#[cfg(target_os = "linux")]
#[test]
fn others_are_heard_while_one_types_and_ctrl_c_stops_the_answer() {
    use terminal::{PROMPT, Terminal};
    let server = Server::start();
    let scratch = Scratch::new();
    let mut ada = chat(&scratch, &server.url(""), &["--max-tokens", "2000"]);
    let mut ada = Terminal::start(ada.env("CAUSERIE_TOKEN", server.token("ada")));
    ada.see("as ada.");
    ada.answer(PROMPT, "/new Tea\r");
    ada.see("a new conversation: \"Tea\"");
    ada.answer(PROMPT, "/invite bob\r");
    ada.see("bob may come in");

    let mut bob = server.connect("bob");
    bob.send(&json!({"type": "list_sessions"}));
    ada.answer(PROMPT, "/who\r");
    ada.see("ada");
    ada.see(PROMPT);
    // Bob is invited, and not in the list before he comes: he asks for the one that he was told of.
    let id = bob_joins(&server, &mut bob);
    ada.see("bob is here");
    ada.keys.write_all(b"Half a li").unwrap();
    bob.expect_where("ada types", WITHIN, |frame| frame["type"] == "typing" && frame["username"] == "ada");
    bob.send(&json!({"type": "typing", "is_typing": true}));
    ada.see("bob is typing");
    bob.send(&json!({"type": "chat_message", "message": "Say hello!", "sampling": {"max_tokens": 4}}));
    ada.see("bob: Say hello!");
    ada.see("assistant, to bob:");
    bob.expect_where("the answer", WITHIN, |frame| frame["type"] == "message" && frame["role"] == "assistant");
    // The line that was begun is still there.
    ada.keys.write_all(b"ne. Write a long story about a lighthouse keeper and a whale, with ten chapters.\r").unwrap();
    let heard =
        bob.expect_where("what ada says", WITHIN, |frame| frame["type"] == "message" && frame["role"] == "user");
    assert_eq!(
        heard["content"],
        "Half a line. Write a long story about a lighthouse keeper and a whale, with ten chapters."
    );
    bob.expect("message_delta");
    ada.keys.write_all(b"\x03").unwrap();
    let answer = bob.expect_where("the answer", WITHIN, |f| f["type"] == "message" && f["role"] == "assistant");
    assert_eq!((&answer["finish_reason"], &answer["session_id"]), (&json!("stopped"), &id));
    ada.see("(stopped)");
    ada.answer(PROMPT, "\x03");
    let (code, rest) = ada.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("\"Tea\" stays on the server"), "{rest}");
}

/// Joins the one session that there is, by the id that ada's own connection tells.
fn bob_joins(server: &Server, bob: &mut causerie_tests::Client) -> Value {
    let mut other = server.connect("ada");
    other.send(&json!({"type": "list_sessions"}));
    let id = other.expect("session_list")["sessions"][0]["session_id"].clone();
    other.close();
    bob.send(&json!({"type": "join_session", "session_id": id}));
    bob.expect("session_joined");
    id
}

/// What stands between a client and its server, and cuts the first connection after so many bytes of the server's.
fn cut_after(server: SocketAddr, bytes: usize) -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let was_cut = Arc::new(AtomicBool::new(false));
    let cut = Arc::clone(&was_cut);
    thread::spawn(move || {
        let mut left = Some(bytes);
        for client in listener.incoming().flatten() {
            let upstream = TcpStream::connect(server).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            thread::spawn(move || drop(std::io::copy(&mut from, &mut to)));
            let (limit, cut) = (left.take(), Arc::clone(&cut));
            thread::spawn(move || {
                let (mut from, mut to) = (upstream, client);
                match limit {
                    Some(bytes) => {
                        let _ = std::io::copy(&mut (&mut from).take(bytes as u64), &mut to);
                        cut.store(true, Ordering::Relaxed);
                    }
                    None => drop(std::io::copy(&mut from, &mut to)),
                }
                let _ = to.shutdown(Shutdown::Both);
                let _ = from.shutdown(Shutdown::Both);
            });
        }
    });
    (address, was_cut)
}

#[test]
fn a_connection_that_breaks_in_the_middle_of_an_answer_costs_not_a_byte() {
    let server = Server::start();
    let token = server.token("ada");
    let scratch = Scratch::new();
    // Within the answer: what comes before it is some 1,500 bytes, and each piece of it some 150.
    let (proxy, was_cut) = cut_after(server.address(), 4000);
    let args = ["--max-tokens", "80", "--seed", "3"];
    let mut command = chat(&scratch, &proxy.to_string(), &args);
    let output = run(command.env("CAUSERIE_TOKEN", &token), "Tell me a long story about the sea.\n");
    let (said, noted) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && was_cut.load(Ordering::Relaxed), "{noted}");
    assert!(noted.contains("(connection lost: "), "{noted}");
    let mut client = server.connect("ada");
    client.send(&json!({"type": "list_sessions"}));
    let id = client.expect("session_list")["sessions"][0]["session_id"].clone();
    client.send(&json!({"type": "join_session", "session_id": id}));
    client.send(&json!({"type": "history"}));
    let page = client.expect("history_page");
    let messages = page["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 2, "the message was stored once: {page}");
    assert_eq!(said.trim_end(), messages[1]["content"].as_str().unwrap().trim_end());
    assert!(said.len() > 200, "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_that_is_started_anew_is_found_again() {
    use terminal::{PROMPT, Terminal};
    let server = Server::start();
    let (address, token) = (server.address(), server.token_with("ada", &["--ttl", "1h"]));
    let scratch = Scratch::new();
    let mut command = chat(&scratch, &server.url(""), &["--max-tokens", "4"]);
    let mut ada = Terminal::start(command.env("CAUSERIE_TOKEN", token));
    ada.answer(PROMPT, "Hello\r");
    ada.see(PROMPT);
    let data_dir = server.stop();
    ada.see("(connection lost");
    let _server = Server::start_with(Options { data_dir: Some(data_dir), listen: Some(address), ..Options::default() });
    ada.see("(connected again)");
    ada.keys.write_all(b"/history\r").unwrap();
    ada.see("ada: Hello");
    ada.answer(PROMPT, "Good bye\r");
    ada.answer(PROMPT, "/status\r");
    ada.see("Messages: 4");
    ada.answer(PROMPT, "/exit\r");
    assert_eq!(ada.end().0, Some(0));
}

#[test]
fn over_tls_a_certificate_of_ones_own_is_believed_where_it_is_named() {
    let scratch = Scratch::new();
    let (cert, key) = (scratch.join("cert.pem"), scratch.join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let args = vec![format!("--tls-cert={}", cert.display()), format!("--tls-key={}", key.display())];
    let server = Server::start_with(Options { model: Some("/nowhere/at-all.gguf".into()), args, ..Options::default() });
    let link = server.login_link().to_owned();
    assert!(link.starts_with("https://"), "{link}");
    fail(&mut chat(&scratch, &link, &[]), 1, &["certificate"]);
    let ca = ["--ca-file", cert.to_str().unwrap()];
    let output = run(&mut chat(&scratch, &link, &ca), "Hello\n/who\n");
    let noted = text(&output.stderr);
    assert!(output.status.success() && noted.ends_with("admin\n"), "{noted}");
    // There is no model: the answer's place is taken by why, and what to do.
    assert!(noted.contains("Failed to generate AI response") && noted.contains("/regenerate asks again"), "{noted}");
    // The WebSocket by itself, without a login before it.
    let wss = format!("wss://{}", server.address());
    let mut untrusting = chat(&scratch, &wss, &[]);
    fail(untrusting.env("CAUSERIE_TOKEN", server.token("ada")), 1, &["certificate", "--ca-file"]);
    let mut trusting = chat(&scratch, &wss, &ca);
    let said = run(trusting.env("CAUSERIE_TOKEN", server.token("ada")), "/who\n");
    assert!(text(&said.stderr).contains("ada, in no conversation yet"), "{}", text(&said.stderr));
    fail(&mut chat(&scratch, &wss, &["--ca-file", key.to_str().unwrap()]), 1, &["key.pem"]);
}
