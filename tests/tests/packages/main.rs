//! The client packages in `clients/`, installed from their folders, against the real server with the real model: every
//! operation, connections that are cut at many places, a server that dies and comes back, two languages in one session.
//! Their programs are in `tests/clients/packages`.
//!
//! Where Python or Node or what they need is missing these tests say so and pass, unless `CAUSERIE_REQUIRE_CLIENTS=1` is set.

mod generated;
mod install;
mod proxy;

use std::process::Command;
use std::time::{Duration, Instant};

use causerie_tests::foreign::available;
use causerie_tests::{Options, Process, Server, WITHIN};
use proxy::{Cut, Proxy};
use serde_json::{Value, json};

type Language = fn() -> Result<Command, String>;

/// Cuts at ever other places, from within the handshake to far behind: a connection that is never long enough for a frame
/// would never get on, so some live long.
fn many_places(number: usize) -> Cut {
    // Steps that have no common factor with the range go through all of it.
    let down = 150 + number * 397 % 4001;
    // Now and then it is the client's own words that are cut: before or after the server has understood them.
    let up = if number % 3 == 2 { 300 + number * 131 % 1009 } else { usize::MAX };
    Cut { down, up }
}

/// Starts a scenario of a program.
fn start(mut program: Command, scenario: &str, url: &str, arguments: &[&str]) -> Process {
    // What a proxy of the environment does is none of this.
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "WS_PROXY", "ws_proxy"] {
        program.env_remove(name);
    }
    Process::start(program.arg(scenario).arg(url).args(arguments))
}

/// Waits for a line that begins so, and gives the rest of it.
fn line(process: &mut Process, begin: &str) -> String {
    let deadline = Instant::now() + 2 * WITHIN;
    while Instant::now() < deadline {
        let has_ended = process.ended().is_some();
        let found =
            process.output().wait_for(Duration::from_secs(1), |line| line.strip_prefix(begin).map(str::to_owned));
        match found {
            Some(rest) => return rest,
            None if has_ended => break,
            None => {}
        }
    }
    panic!("the program did not get to `{begin}`:\n{}", process.output().text());
}

/// The line of JSON that a program ends with.
fn result(process: &mut Process) -> Value {
    let found = line(process, "{");
    let _ = line(process, "well");
    serde_json::from_str(&format!("{{{found}")).unwrap_or_else(|error| panic!("{error} in {found}"))
}

/// The messages of a session as `[seq, id, content]`, as somebody sees them whose connection is never cut.
fn messages(server: &Server, session: &Value) -> Vec<Value> {
    let mut client = server.connect("ada");
    client.send(&json!({"type": "join_session", "session_id": session}));
    client.expect("session_joined");
    client.send(&json!({"type": "history", "limit": 100}));
    let page = client.expect("history_page");
    assert_eq!(page["more"], false, "the test asks for no more than a page");
    let messages = page["messages"].as_array().expect("a page has messages");
    messages.iter().map(|m| json!([m["seq"], m["id"], m["content"]])).collect()
}

/// Every operation once, and every kind of trouble.
fn tour(language: Language) {
    let Some(program) = available(language()) else { return };
    let server = Server::start();
    let mut process = start(program, "tour", &server.url(""), &[&server.token("ada"), &server.token("bob")]);
    line(&mut process, "well");
}

/// A token that is about to expire is renewed on the living connection.
fn renew(language: Language) {
    let Some(program) = available(language()) else { return };
    let server = Server::start();
    let tokens = [server.token_with("ada", &["--ttl", "3s"]), server.token("ada")];
    let mut process = start(program, "renew", &server.url(""), &["unused", &tokens[0], &tokens[1]]);
    line(&mut process, "well");
}

/// What comes through a proxy that cuts at many places is, to the byte, what the server has; and nothing is said twice.
fn cuts(language: Language) {
    const QUESTIONS: usize = 6;
    let Some(program) = available(language()) else { return };
    let server = Server::start();
    let proxy = Proxy::start(server.address(), many_places);
    let mut process = start(program, "cuts", &proxy.url(), &[&server.token("ada"), &QUESTIONS.to_string()]);
    let result = result(&mut process);
    assert!(proxy.cuts() > 2 * QUESTIONS, "the proxy has cut {} connections only", proxy.cuts());
    let stored = messages(&server, &result["session"]);
    assert_eq!(stored.len(), 2 * QUESTIONS, "each question is stored once, and answered once");
    assert_eq!(result["seen"], json!(stored), "each message is told once, in order");
    let answers = result["answers"].as_array().expect("the program's answers");
    let is_long = |answer: &Value| answer[2].as_str().is_some_and(|text| !text.is_ascii());
    assert!(answers.iter().any(is_long), "characters of several bytes are what offsets are easily wrong about");
    for (answer, pair) in answers.iter().zip(stored.chunks(2)) {
        assert_eq!(*answer, json!([pair[0][1], pair[1][1], pair[1][2]]), "a question and its answer");
    }
}

/// A server that dies in the midst of an answer and comes back, and one that is stopped.
fn restart(language: Language) {
    let Some(program) = available(language()) else { return };
    let server = Server::start();
    let (address, url) = (server.address(), server.url(""));
    let again = |data_dir| {
        Server::start_with(Options { data_dir: Some(data_dir), listen: Some(address), ..Options::default() })
    };
    let mut process = start(program, "restart", &url, &[&server.token("ada")]);
    line(&mut process, "kill");
    let server = again(server.kill());
    line(&mut process, "stop");
    let server = again(server.stop());
    let result = result(&mut process);
    let stored = messages(&server, &result["session"]);
    assert_eq!(result["seen"], json!(stored), "each message is told once, in order, over three lives of the server");
}

#[test]
fn python_does_everything() {
    tour(install::python);
}

#[test]
fn python_renews_its_token() {
    renew(install::python);
}

#[test]
fn python_is_cut_at_many_places() {
    cuts(install::python);
}

#[test]
fn python_survives_its_server() {
    restart(install::python);
}

#[test]
fn the_python_package_is_typed() {
    let Some(mut mypy) = available(install::mypy()) else { return };
    let checked = causerie_tests::foreign::run(&mut mypy);
    assert!(checked.is_ok(), "{}", checked.unwrap_err());
}

#[test]
fn javascript_does_everything() {
    tour(install::node);
}

#[test]
fn javascript_does_everything_without_a_package() {
    tour(install::node_built_in);
}

#[test]
fn javascript_renews_its_token() {
    renew(install::node);
}

#[test]
fn javascript_is_cut_at_many_places() {
    cuts(install::node);
}

#[test]
fn javascript_survives_its_server() {
    restart(install::node);
}

#[test]
fn the_javascript_package_is_typed() {
    let Some(mut tsc) = available(install::typescript()) else { return };
    let checked = causerie_tests::foreign::run(&mut tsc);
    assert!(checked.is_ok(), "{}", checked.unwrap_err());
}

#[test]
fn javascript_takes_frames_in_any_order() {
    let Some(mut node) = available(install::node_frames()) else { return };
    let checked = causerie_tests::foreign::run(&mut node);
    assert!(checked.is_ok(), "{}", checked.unwrap_err());
}

/// Two languages in one session, both cut at many places: they see the same, and all of it.
#[test]
fn python_and_javascript_in_one_session() {
    let (Some(python), Some(node)) = (available(install::python()), available(install::node())) else { return };
    let server = Server::start();
    let proxies = [0, 1].map(|first| Proxy::start(server.address(), move |number| many_places(2 * number + first)));
    let mut ada = start(python, "pair", &proxies[0].url(), &[&server.token("ada"), "new"]);
    let session = line(&mut ada, "session ");
    let mut bob = start(node, "pair", &proxies[1].url(), &[&server.token("bob"), &session]);
    let seen = [&mut ada, &mut bob].map(|process| result(process)["seen"].take());
    let stored = messages(&server, &json!(session));
    assert_eq!(stored.len(), 16, "four questions of each, and their answers");
    assert!(seen.iter().all(|seen| *seen == json!(stored)), "{seen:?} is not {stored:?}");
}

/// The guide's clients, which have no package: what they print is the answer, wherever they are cut.
#[test]
fn clients_of_fifty_lines_are_cut_at_many_places() {
    // They wait longer before they come back than the packages do here, and an answer may be long: a few cuts are enough.
    let few =
        |number: usize| Cut { down: if number < 8 { 900 + number * 397 % 701 } else { usize::MAX }, ..many_places(0) };
    for (name, program) in [("chat.py", install::guides_python()), ("chat.mjs", install::guides_node())] {
        let Some(mut program) = available(program) else { continue };
        let server = Server::start();
        let proxy = Proxy::start(server.address(), few);
        let url = proxy.url().replace("http", "ws") + "/ws/chat";
        let question = "Écris deux vers en français sur l'été et la forêt.";
        let said = causerie_tests::foreign::run(program.args([&url, &server.token("ada"), question]));
        let said = said.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(proxy.cuts() > 1, "{name} was cut {} times only", proxy.cuts());
        let mut ada = server.connect("ada");
        ada.send(&json!({"type": "list_sessions"}));
        let sessions = ada.expect("session_list")["sessions"].take();
        // A cut before the session is known makes a second one, which stays empty.
        let used = sessions.as_array().expect("a list").iter().filter(|session| session["messages"] != 0);
        let used: Vec<_> = used.collect();
        assert_eq!(used.len(), 1, "{name}: {sessions}");
        let stored = messages(&server, &used[0]["session_id"]);
        assert_eq!(stored.len(), 2, "{name} asks once: {stored:?}");
        assert_eq!(json!(said.trim_end()), json!(stored[1][2].as_str().map(str::trim_end)), "{name}");
    }
}
