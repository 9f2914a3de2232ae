//! Script in names, titles and messages is data: it is stored and given back as it came, in JSON.

use causerie_tests::{Client, Options, Server};
use serde_json::json;

const SCRIPTS: [&str; 7] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "[x](javascript:alert(1))",
    "'; DROP TABLE messages; --",
    "${7*7}{{7*7}}</script>\\u003cscript>",
];

#[test]
fn what_people_write_comes_back_byte_by_byte() {
    let server = Server::start_with(Options { model: Some("/nowhere/at-all.gguf".into()), ..Options::default() });
    for (number, script) in SCRIPTS.into_iter().enumerate() {
        let name = format!("{number}{script}");
        let mut ada = Client::connect(server.address(), &server.token(&name));
        assert_eq!(ada.expect("connection_established")["username"], json!(name));
        ada.send(&json!({"type": "create_session", "title": script, "system": script}));
        let joined = ada.expect("session_joined");
        assert_eq!(joined["session_title"], json!(script));
        assert_eq!(joined["participants"][0]["username"], json!(name));
        ada.send(&json!({"type": "chat_message", "message": script, "id": script}));
        assert_eq!(ada.expect("ack")["ref"], json!(script));

        // From the database, to somebody who was not there.
        let mut again = Client::connect(server.address(), &server.token(&name));
        again.send(&json!({"type": "join_session", "session_id": joined["session_id"]}));
        assert_eq!(again.expect("session_joined")["session_title"], json!(script));
        again.send(&json!({"type": "history", "limit": 10}));
        let message = again.expect("history_page")["messages"][0].clone();
        assert_eq!((&message["content"], &message["username"]), (&json!(script), &json!(name)), "{message}");
    }
}
