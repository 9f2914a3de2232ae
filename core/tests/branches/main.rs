//! Branches: `regenerate`, `edit_message` and `parent`.

#[path = "../driver/mod.rs"]
mod driver;
mod order;
mod trouble;

use causerie_core::{ConnectionId, GenerationFailure};
use serde_json::{Value, json};

use driver::Driver;

/// What has no message.
const NOTHING: &str = "00000000-0000-4000-8000-000000000000";

fn say(text: &str) -> Value {
    json!({ "type": "chat_message", "message": text })
}

fn regenerate(message: &Value) -> Value {
    json!({ "type": "regenerate", "message_id": message })
}

fn edit(message: &Value, text: &str) -> Value {
    json!({ "type": "edit_message", "message_id": message, "message": text })
}

/// All three, of one message.
fn all_three(message: &Value) -> [Value; 3] {
    [regenerate(message), edit(message, "x"), json!({ "type": "chat_message", "message": "x", "parent": message })]
}

/// The stored messages of the only session that has any: their texts, with their parents' texts.
fn tree(d: &Driver) -> Vec<(String, String)> {
    let all: Vec<_> = d.storage.messages.values().flatten().collect();
    let text = |id| all.iter().find(|m| m.id == id).map_or("?", |m| m.content.as_str());
    all.iter().map(|m| (m.content.clone(), m.parent.map_or("", text).to_string())).collect()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(text, parent)| (text.to_string(), parent.to_string())).collect()
}

/// The text that the conversation goes on from.
fn goes_on_from(d: &Driver) -> &str {
    let session = d.storage.sessions.values().next().expect("a session");
    let messages = &d.storage.messages[&session.id];
    messages.iter().find(|m| Some(m.id) == session.last_message).map_or("", |m| &m.content)
}

/// Sends a message and lets it be answered; the ids of both.
fn exchange(d: &mut Driver, who: ConnectionId, text: &str, answer: &str) -> (Value, Value) {
    d.send(who, &say(text));
    d.answer(answer);
    let ids: Vec<_> = d.read(who).into_iter().filter(|f| f["type"] == "message").map(|f| f["id"].clone()).collect();
    (ids[0].clone(), ids[1].clone())
}

/// Ann in a session with one question and its answer, and their ids.
fn tea() -> (Driver, ConnectionId, Value, Value) {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    let (question, answer) = exchange(&mut d, ann, "Tea?", "Green.");
    (d, ann, question, answer)
}

#[test]
fn another_answer_stands_beside_the_first_and_the_conversation_goes_on_from_it() {
    let (mut d, ann, question, answer) = tea();
    let mut frame = regenerate(&answer);
    frame["id"] = json!("r1");
    frame["sampling"] = json!({ "temperature": 0.5, "seed": 7 });
    d.send(ann, &frame);
    assert_eq!(d.running[0].sampling.seed, Some(7));
    d.answer("Black.");
    let frames = d.read(ann);
    let types: Vec<_> = frames.iter().map(|f| f["type"].as_str().expect("a type")).collect();
    assert_eq!(types, ["ack", "typing", "message_delta", "message", "typing"]);
    // The question is what is acknowledged: it is in storage, and what follows is its answer.
    assert_eq!((&frames[0]["ref"], &frames[0]["message_id"], &frames[0]["seq"]), (&json!("r1"), &question, &json!(1)));
    assert_eq!((&frames[1]["parent"], &frames[1]["message_id"]), (&question, &frames[3]["id"]));
    assert_eq!((&frames[3]["parent"], &frames[3]["seq"]), (&question, &json!(3)));
    assert_eq!(frames[4].get("parent"), None);

    exchange(&mut d, ann, "Why?", "It is stronger.");
    let expected =
        [("Tea?", ""), ("Green.", "Tea?"), ("Black.", "Tea?"), ("Why?", "Black."), ("It is stronger.", "Why?")];
    assert_eq!(tree(&d), pairs(&expected));
}

#[test]
fn an_older_answer_made_anew_takes_the_conversation_back() {
    let (mut d, ann, _, answer) = tea();
    exchange(&mut d, ann, "Why?", "It is mild.");
    d.send(ann, &regenerate(&answer));
    assert_eq!(goes_on_from(&d), "Tea?", "stored before the model is asked");
    d.answer("Black.");
    assert_eq!(goes_on_from(&d), "Black.");
    exchange(&mut d, ann, "Really?", "Yes.");
    assert_eq!(tree(&d)[4..], pairs(&[("Black.", "Tea?"), ("Really?", "Black."), ("Yes.", "Really?")]));
}

#[test]
fn without_an_id_the_last_message_is_meant_answered_or_not() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    d.send(ann, &json!({ "type": "regenerate", "id": 1 }));
    let refused = d.read_one(ann);
    assert_eq!((&refused["code"], &refused["ref"]), (&json!("message_not_found"), &json!(1)));
    assert_eq!(refused["message"], "There is no message in this session yet that could be answered");

    d.send(ann, &say("Tea?"));
    d.fail(GenerationFailure::Internal);
    d.send(ann, &json!({ "type": "regenerate" }));
    d.answer("Green.");
    d.send(ann, &json!({ "type": "regenerate" }));
    d.answer("Black.");
    assert_eq!(tree(&d), pairs(&[("Tea?", ""), ("Green.", "Tea?"), ("Black.", "Tea?")]));
    assert_eq!(d.hub.counts().waiting_messages, 0);
}

#[test]
fn a_question_may_be_named_as_well_as_an_answer_to_it_by_any_member() {
    let (mut d, ann, question, answer) = tea();
    let bob = d.user("Bob");
    let session = d.storage.sessions.keys().next().expect("a session").0.to_string();
    d.share(ann, &session, bob, "Bob");
    for (message, text) in [(&question, "Black."), (&answer, "White.")] {
        d.send(bob, &regenerate(message));
        d.answer(text);
    }
    assert_eq!(tree(&d)[2..], pairs(&[("Black.", "Tea?"), ("White.", "Tea?")]));
    let seen = |frames: Vec<Value>| {
        let told = frames.into_iter().filter(|f| f["type"] != "ack");
        told.filter(|f| f["type"] != "presence").collect::<Vec<_>>()
    };
    assert_eq!(seen(d.read(ann)), seen(d.read(bob)), "all see the same");
}

#[test]
fn an_edit_is_a_new_message_beside_the_old_one() {
    let (mut d, ann, ..) = tea();
    let (why, _) = exchange(&mut d, ann, "Why?", "It is mild.");
    let mut frame = edit(&why, "How?");
    (frame["id"], frame["client_id"], frame["sampling"]) = (json!(9), json!("e1"), json!({ "max_tokens": 3 }));
    d.send(ann, &frame);
    assert_eq!(d.running[0].sampling.max_tokens, Some(3));
    d.answer("In a pot.");
    let frames = d.read(ann);
    assert_eq!(
        (&frames[0]["type"], &frames[0]["ref"], &frames[0]["client_id"], &frames[0]["seq"]),
        (&json!("ack"), &json!(9), &json!("e1"), &json!(5))
    );
    assert_eq!((&frames[1]["content"], &frames[1]["user_id"]), (&json!("How?"), &json!("id-Ann")));
    assert_eq!(tree(&d)[4..], pairs(&[("How?", "Green."), ("In a pot.", "How?")]));
    assert_eq!(goes_on_from(&d), "In a pot.");

    // The same again, as after a lost connection: told what became of the first, and nothing twice.
    d.send(ann, &frame);
    let again = d.read_one(ann);
    assert_eq!((&again["type"], &again["message_id"]), (&json!("ack"), &frames[0]["message_id"]));
    assert_eq!((tree(&d).len(), d.running.len(), d.hub.counts().waiting_messages), (6, 0, 0));
}

#[test]
fn the_first_message_edited_is_another_beginning() {
    let (mut d, ann, question, _) = tea();
    d.send(ann, &edit(&question, "/help"));
    d.answer("With what?");
    assert_eq!(tree(&d)[2..], pairs(&[("/help", ""), ("With what?", "/help")]), "in an edit a slash is text");
}

#[test]
fn only_its_author_edits_a_message() {
    let (mut d, ann, question, answer) = tea();
    let bob = d.user("Bob");
    let session = d.storage.sessions.keys().next().expect("a session").0.to_string();
    d.share(ann, &session, bob, "Bob");
    for (who, message) in [(bob, &question), (bob, &answer), (ann, &answer)] {
        d.send(who, &edit(message, "Mine"));
        let refused = d.read_one(who);
        assert_eq!(
            (&refused["code"], &refused["message"], &refused["retryable"]),
            (&json!("not_author"), &json!("Only the author of a message can edit it"), &json!(false))
        );
    }
    assert_eq!((tree(&d).len(), d.running.len(), d.hub.counts().waiting_messages), (2, 0, 0));
}

#[test]
fn a_message_goes_on_from_its_parent() {
    let (mut d, ann, question, answer) = tea();
    exchange(&mut d, ann, "Why?", "It is mild.");
    for (parent, text, follows) in [(&answer, "How?", "Green."), (&question, "Or coffee?", "Tea?")] {
        let mut frame = say(text);
        frame["parent"] = parent.clone();
        d.send(ann, &frame);
        d.answer("So.");
        let all = tree(&d);
        assert_eq!(all[all.len() - 2..], pairs(&[(text, follows), ("So.", text)]));
    }
}

#[test]
fn messages_that_the_session_does_not_have_are_not_found() {
    let (mut d, ann, ..) = tea();
    d.session(ann);
    let elsewhere = d.storage.messages.values().flatten().next().expect("a message").id.0.to_string();
    for message in [json!(NOTHING), json!(elsewhere)] {
        for frame in all_three(&message) {
            d.send(ann, &frame);
            let refused = d.read_one(ann);
            assert_eq!(refused["code"], "message_not_found", "{frame}");
            let text = format!("There is no message {} in this session", message.as_str().expect("an id"));
            assert_eq!(refused["message"], json!(text));
        }
    }
    assert_eq!((tree(&d).len(), d.running.len(), d.hub.counts().waiting_messages), (2, 0, 0));
    d.send(ann, &json!({ "type": "edit_message", "message": "x" }));
    assert_eq!(d.read_one(ann)["message"], "Field `message_id` is missing");
    for field in ["x", ""] {
        for frame in all_three(&json!(field)) {
            d.send(ann, &frame);
            assert_eq!(d.read_one(ann)["code"], "invalid_field", "{frame}");
        }
    }
    d.send(ann, &edit(&json!(elsewhere), " "));
    assert_eq!(d.read_one(ann)["code"], "empty_message");
}
