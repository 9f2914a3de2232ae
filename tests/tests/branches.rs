//! Branches with the real server, database and model: another answer, an edited question, going on from an earlier place.

use causerie_tests::{Client, Options, Server, WITHIN};
use serde_json::{Value, json};

fn is_answer(frame: &Value) -> bool {
    frame["type"] == "message" && frame["role"] == "assistant"
}

/// Sends what is answered by few tokens, always the same; gives its `ack` and the answer.
fn ask(client: &mut Client, mut frame: Value) -> (Value, Value) {
    frame["sampling"] = json!({"temperature": 0, "max_tokens": 12});
    client.send(&frame);
    let ack = client.expect("ack");
    (ack, client.expect_where("an answer", WITHIN, is_answer))
}

fn prompt_tokens(answer: &Value) -> u64 {
    answer["usage"]["prompt_tokens"].as_u64().expect("usage has numbers")
}

/// The texts of a session's messages with their parents' texts, as the history has them.
fn tree(client: &mut Client) -> Vec<(String, String)> {
    client.send(&json!({"type": "history", "limit": 100}));
    let page = client.expect("history_page");
    let messages = page["messages"].as_array().expect("an array");
    let text = |id: &Value| {
        let found = messages.iter().find(|m| !id.is_null() && m["id"] == *id);
        found.map_or("", |m| m["content"].as_str().expect("text")).to_owned()
    };
    messages.iter().map(|m| (text(&m["id"]), text(&m["parent"]))).collect()
}

#[test]
fn each_branch_is_a_conversation_of_its_own() {
    let server = Server::start();
    let (mut ada, mut bob) = (server.connect("ada"), server.connect("bob"));
    let session = ada.create_session("Colours");
    ada.invite("bob");
    bob.send(&json!({"type": "join_session", "session_id": session}));
    bob.expect("session_joined");

    let (first, blue) = ask(&mut ada, json!({"type": "chat_message", "message": "Name one colour of the sea."}));
    let (second, more) = ask(&mut ada, json!({"type": "chat_message", "message": "And of the evening sky?"}));

    // Another answer to the same conversation: the very same text, without a bit of chance.
    let (stepped_back, again) = ask(&mut ada, json!({"type": "regenerate", "message_id": blue["id"]}));
    assert_eq!((&stepped_back["message_id"], &stepped_back["seq"]), (&first["message_id"], &json!(1)));
    assert_eq!((&again["parent"], &again["content"]), (&blue["parent"], &blue["content"]));
    assert_eq!(prompt_tokens(&again), prompt_tokens(&blue), "what was said later is not part of it");

    // The same question after it meets the same words.
    let repeated = ask(&mut ada, json!({"type": "chat_message", "message": "And of the evening sky?"}));
    assert_eq!(repeated.1["content"], more["content"]);

    // Edited: the old question and its answer are not in the prompt; only its author may.
    let edit = json!({"type": "edit_message", "message_id": second["message_id"], "message": "Hm?", "client_id": "e"});
    bob.send(&edit);
    assert_eq!(bob.expect("error")["code"], "not_author");
    let (edited, hm) = ask(&mut ada, edit.clone());
    assert!(prompt_tokens(&hm) < prompt_tokens(&more), "{hm}");
    ada.send(&edit);
    assert_eq!(ada.expect("ack")["message_id"], edited["message_id"], "sent twice, stored once");

    // And from an earlier place on.
    let from = json!({"type": "chat_message", "message": "Thanks.", "parent": blue["id"]});
    let (_, thanks) = ask(&mut bob, from);
    let text = |frame: &Value| frame["content"].as_str().expect("text").to_owned();
    let pair = |text: &str, parent: &str| (text.to_owned(), parent.to_owned());
    let (sea, sky) = ("Name one colour of the sea.", "And of the evening sky?");
    let expected = [
        pair(sea, ""),
        pair(&text(&blue), sea),
        pair(sky, &text(&blue)),
        pair(&text(&more), sky),
        pair(&text(&again), sea),
        pair(sky, &text(&again)),
        pair(&text(&repeated.1), sky),
        pair("Hm?", &text(&blue)),
        pair(&text(&hm), "Hm?"),
        pair("Thanks.", &text(&blue)),
        pair(&text(&thanks), "Thanks."),
    ];
    assert_eq!(tree(&mut ada), expected);
    assert_eq!(tree(&mut bob), expected, "the other one sees the same");

    // Where it goes on is known after a restart, too.
    let data_dir = server.stop();
    let server = Server::start_with(Options { data_dir: Some(data_dir), ..Options::default() });
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "join_session", "session_id": session}));
    assert_eq!(ada.expect("session_joined")["last_message"], thanks["id"]);
    let (_, last) = ask(&mut ada, json!({"type": "regenerate"}));
    assert_eq!((&last["parent"], &last["content"]), (&thanks["parent"], &thanks["content"]));
}

#[test]
fn another_answer_goes_on_after_a_lost_connection() {
    let server = Server::start();
    let mut ada = server.connect("ada");
    ada.send(&json!({"type": "create_session", "title": "The sea"}));
    let joined = ada.expect("session_joined");
    let (_, short) = ask(&mut ada, json!({"type": "chat_message", "message": "Tell me a long story about the sea."}));
    ada.send(&json!({"type": "regenerate", "message_id": short["id"],
                     "sampling": {"temperature": 1.0, "seed": 3, "max_tokens": 150}}));
    let typing = ada.expect_where("typing", WITHIN, |f| f["type"] == "typing" && f["is_typing"] == true);
    assert_eq!(typing["parent"], short["parent"]);
    let mut text = String::new();
    while text.len() < 60 {
        let delta = ada.expect("message_delta");
        assert_eq!((&delta["message_id"], &delta["offset"]), (&typing["message_id"], &json!(text.len())));
        text.push_str(delta["content"].as_str().expect("text"));
    }
    drop(ada);

    let mut ada = server.connect("ada");
    let since = json!({"epoch": joined["epoch"], "seq": short["seq"], "message_id": typing["message_id"], "offset": text.len()});
    ada.send(&json!({"type": "join_session", "session_id": joined["session_id"], "since": since}));
    assert_eq!(ada.expect("session_joined")["resumed"], true);
    let frames = ada.collect_until("the answer", is_answer);
    for delta in frames.iter().filter(|f| f["type"] == "message_delta") {
        assert_eq!(delta["offset"], json!(text.len()));
        text.push_str(delta["content"].as_str().expect("text"));
    }
    let answer = &frames[frames.len() - 1];
    assert_eq!((&answer["content"], &answer["parent"]), (&json!(text), &short["parent"]));
}
