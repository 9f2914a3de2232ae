//! Branches: `regenerate`, `edit_message` and `parent`.

mod driver;

use causerie_core::limits::Limits;
use causerie_core::{ConnectionId, FinishReason, GenerationFailure, Input, Loaded, Misuse, Output};
use driver::Driver;
use serde_json::{Value, json};
use std::time::Duration;

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

#[test]
fn the_answer_under_way_stands_for_its_question() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    d.send(ann, &say("Tea?"));
    d.token("Gr");
    let streaming = d.read(ann).into_iter().find(|f| f["type"] == "message_delta").expect("a delta");
    let streaming = streaming["message_id"].clone();
    d.send(ann, &regenerate(&streaming));
    let mut after = say("Why?");
    after["parent"] = streaming.clone();
    d.send(ann, &after);
    d.send(ann, &edit(&streaming, "Mine"));
    let refused = d.read(ann).pop().expect("an answer");
    assert_eq!(refused["code"], "message_not_found", "it is not stored yet");
    assert_eq!(d.running.len(), 1, "one at a time");
    d.answer("een.");
    d.answer("Black.");
    d.answer("Because.");
    let expected = [("Tea?", ""), ("Why?", "Tea?"), ("Green.", "Tea?"), ("Black.", "Tea?"), ("Because.", "Why?")];
    assert_eq!(tree(&d), pairs(&expected));
    assert_eq!(goes_on_from(&d), "Because.");
}

#[test]
fn who_speaks_while_it_is_answered_anew_takes_the_conversation_along() {
    let (mut d, ann, _, answer) = tea();
    d.send(ann, &regenerate(&answer));
    d.send(ann, &say("Quickly!"));
    d.answer("Black.");
    assert_eq!(goes_on_from(&d), "Quickly!", "an answer to what is not the last message any more");
    d.answer("Yes.");
    assert_eq!(tree(&d)[2..], pairs(&[("Quickly!", "Tea?"), ("Black.", "Tea?"), ("Yes.", "Quickly!")]));
    assert_eq!(goes_on_from(&d), "Yes.");
}

#[test]
fn a_burst_keeps_its_order_whatever_must_be_looked_up() {
    let (mut d, ann, question, answer) = tea();
    d.storage.held = true;
    let mut numbered = |mut frame: Value, id: u64| {
        frame["id"] = json!(id);
        d.send(ann, &frame);
    };
    numbered(edit(&question, "Coffee?"), 1);
    numbered(say("With milk"), 2);
    numbered(regenerate(&answer), 3);
    numbered(say("Or water"), 4);
    d.release_storage();
    let frames = d.read(ann);
    let acks: Vec<_> = frames.iter().filter(|f| f["type"] == "ack").map(|f| (&f["ref"], &f["seq"])).collect();
    let expected = [(1, 3), (2, 4), (3, 1), (4, 5)].map(|(id, seq)| (json!(id), json!(seq)));
    assert_eq!(acks, expected.iter().map(|(id, seq)| (id, seq)).collect::<Vec<_>>());
    assert_eq!(tree(&d)[2..], pairs(&[("Coffee?", ""), ("With milk", "Coffee?"), ("Or water", "Tea?")]));
    for text in ["a", "b", "c", "d"] {
        d.answer(text);
    }
    assert_eq!(tree(&d)[5..], pairs(&[("a", "Coffee?"), ("b", "With milk"), ("c", "Tea?"), ("d", "Or water")]));
}

#[test]
fn branches_count_like_messages() {
    let answer = |d: &mut Driver, who, frame: &Value| {
        d.send(who, frame);
        d.read(who).first().cloned().unwrap_or_default()
    };
    type Change = fn(&mut Limits);
    let overloaded: [(&str, Change); 3] = [
        ("Too many messages of this session wait for their answer: try again soon", |l| l.queued_generations = 2),
        ("Too many of your messages wait for their answer: try again soon", |l| l.generations_per_user = 3),
        ("More than 6 messages a minute", |l| l.messages_per_minute = 6),
    ];
    for (text, change) in overloaded {
        let mut limits = Limits::default();
        change(&mut limits);
        let mut d = Driver::new(limits);
        let ann = d.user("Ann");
        d.session(ann);
        assert_eq!(answer(&mut d, ann, &say("Tea?"))["type"], "ack");
        let question = json!(d.storage.messages.values().flatten().next().expect("a message").id.0.to_string());
        // The first is being answered, two more may wait.
        assert_eq!(answer(&mut d, ann, &regenerate(&question))["type"], "ack");
        assert_eq!(answer(&mut d, ann, &edit(&question, "x"))["type"], "ack");
        for frame in all_three(&question) {
            let refused = answer(&mut d, ann, &frame);
            assert_eq!((&refused["message"], &refused["retryable"]), (&json!(text), &json!(true)), "{frame}");
            assert!(refused["retry_after_ms"].is_u64());
        }
    }
    let mut limits = Limits::default();
    limits.queued_messages = 2;
    let mut d = Driver::new(limits);
    let ann = d.user("Ann");
    d.session(ann);
    let (question, _) = exchange(&mut d, ann, "Tea?", "Green.");
    d.storage.held = true;
    // One is with storage, two wait.
    for frame in all_three(&question) {
        assert_eq!(answer(&mut d, ann, &frame), json!(null));
    }
    for frame in all_three(&question) {
        assert_eq!(answer(&mut d, ann, &frame)["code"], "overloaded");
    }
    d.release_storage();
    assert_eq!(d.read(ann).iter().filter(|f| f["type"] == "ack").count(), 3);
}

#[test]
fn no_branches_where_there_are_no_messages() {
    let (mut d, ann, question, _) = tea();
    let stranger = d.user("Eve");
    for frame in all_three(&question) {
        d.send(stranger, &frame);
        assert_eq!(d.read_one(stranger)["code"], "not_in_session");
    }
    d.give(Input::Drain { until: d.now + Duration::from_secs(60) });
    d.read(ann);
    for frame in all_three(&question) {
        d.send(ann, &frame);
        assert_eq!(d.read_one(ann)["code"], "server_draining");
    }

    let (mut d, ann, question, _) = tea();
    d.storage.held = true;
    d.send(ann, &json!({ "type": "chat_message", "message": "/clear" }));
    d.read(ann);
    for frame in all_three(&question) {
        d.send(ann, &frame);
        assert_eq!(d.read_one(ann)["code"], "session_ended");
    }
}

#[test]
fn a_session_that_ends_first_leaves_nothing_waiting() {
    let (mut d, ann, question, _) = tea();
    d.storage.held = true;
    // One is looked up, the others wait; then the session ends.
    for (id, mut frame) in all_three(&question).into_iter().enumerate() {
        frame["id"] = json!(id);
        d.send(ann, &frame);
    }
    d.send(ann, &json!({ "type": "delete_session" }));
    d.release_storage();
    let frames = d.read(ann);
    assert_eq!(
        frames.iter().filter(|f| f["type"] == "ack").count(),
        3,
        "what was in line before is stored: {frames:#?}"
    );
    assert_eq!(frames.last().map(|f| &f["type"]), Some(&json!("session_deleted")));
    assert_eq!((d.running.len(), d.hub.counts().waiting_messages), (0, 0), "and not answered");
}

#[test]
fn a_failure_of_storage_changes_nothing_and_may_be_tried_again() {
    let (mut d, ann, question, answer) = tea();
    for frame in all_three(&question) {
        for (reads, writes) in [(1, 0), (0, 1)] {
            (d.storage.fail_reads, d.storage.fail_writes) = (reads, writes);
            d.send(ann, &frame);
            let refused = d.read_one(ann);
            assert_eq!((&refused["code"], &refused["retryable"]), (&json!("storage_failed"), &json!(true)), "{frame}");
        }
    }
    // An answer is looked up, then what it answers.
    d.storage.held = true;
    d.send(ann, &regenerate(&answer));
    d.one_answer();
    d.storage.fail_reads = 0;
    d.storage.fail_writes = 1;
    d.release_storage();
    assert_eq!(d.read_one(ann)["code"], "storage_failed");
    assert_eq!((tree(&d).len(), goes_on_from(&d)), (2, "Green."));
    assert_eq!((d.running.len(), d.hub.counts().waiting_messages), (0, 0));
    d.send(ann, &regenerate(&answer));
    assert_eq!(d.read(ann)[0]["type"], "ack");
}

#[test]
fn a_regenerated_answer_that_fails_leaves_the_old_one() {
    let (mut d, ann, question, answer) = tea();
    d.send(ann, &regenerate(&answer));
    d.token("Bl");
    d.fail(GenerationFailure::Internal);
    let frames = d.read(ann);
    assert!(frames.iter().any(|f| f["type"] == "error" && f["code"] == "generation_failed"), "{frames:#?}");
    assert_eq!(goes_on_from(&d), "Tea?");
    exchange(&mut d, ann, "Well?", "Green.");
    assert_eq!(tree(&d)[2], pairs(&[("Well?", "Tea?")])[0]);
    // Whoever comes is told where the conversation goes on.
    d.send(ann, &regenerate(&question));
    let bystander = d.user("Ann");
    let session = d.storage.sessions.keys().next().expect("a session").0.to_string();
    d.send(bystander, &json!({ "type": "join_session", "session_id": session }));
    let frames = d.read(bystander);
    assert_eq!((&frames[0]["type"], &frames[0]["last_message"]), (&json!("session_joined"), &question));
    assert_eq!((&frames[1]["type"], &frames[1]["parent"]), (&json!("typing"), &question));
}

#[test]
fn a_lost_connection_resumes_in_the_middle_of_another_answer() {
    let (mut d, ann, _, answer) = tea();
    let session = d.storage.sessions.keys().next().expect("a session").0.to_string();
    let epoch = d.peers[&ann].frames.iter().find(|f| f["type"] == "session_joined").expect("joined")["epoch"].clone();
    d.send(ann, &regenerate(&answer));
    d.token("Bla");
    let delta = d.read(ann).pop().expect("a delta");
    d.close(ann);
    d.token("ck, ");
    let ann = d.user("Ann");
    let reader = &mut d.peers.get_mut(&ann).expect("a peer").reader;
    let message = delta["message_id"].as_str().expect("an id").to_string();
    (reader.seq, reader.answer) = (2, Some((message, "Bla".to_string())));
    let since = json!({ "epoch": epoch, "seq": 2, "message_id": delta["message_id"], "offset": 3 });
    d.send(ann, &json!({ "type": "join_session", "session_id": session, "since": since }));
    d.token("very.");
    d.finish(FinishReason::Stop);
    let frames = d.read(ann);
    assert_eq!(frames[0]["resumed"], true);
    let text: String =
        frames.iter().filter(|f| f["type"] == "message_delta").filter_map(|f| f["content"].as_str()).collect();
    assert_eq!(text, "ck, very.");
    assert_eq!(tree(&d)[2], pairs(&[("Black, very.", "Tea?")])[0]);
}

#[test]
fn a_slow_reader_gets_all_branches() {
    let (mut d, ann, question, answer) = tea();
    let session = d.storage.sessions.keys().next().expect("a session").0.to_string();
    let phone = d.slow_user("Ann", 600);
    d.send(phone, &json!({ "type": "join_session", "session_id": session }));
    for n in 0..4 {
        d.send(ann, &regenerate(&answer));
        d.answer(&format!("Answer {n}"));
        d.send(ann, &edit(&question, &format!("Edit {n}")));
        d.answer("So.");
    }
    d.grant(phone, 1 << 20);
    // The driver's model has checked order, deltas and typing on the way.
    let got = d.read(phone).iter().filter(|f| f["type"] == "message").count();
    assert_eq!(got, 12);
}

#[test]
fn an_answer_of_another_kind_is_misuse() {
    let (mut d, ann, question, _) = tea();
    d.hub.handle(d.now, Input::Frame { connection: ann, text: &regenerate(&question).to_string() }).expect("a frame");
    let mut asked = None;
    while d.hub.poll(&mut |output| {
        if let Output::Load { request, .. } = output {
            asked = Some(request);
        }
    }) {}
    let request = asked.expect("a question");
    let wrong = d.hub.handle(d.now, Input::Loaded { request, data: Loaded::ClientMessage(None) });
    assert_eq!(wrong, Err(Misuse::WrongAnswer(request)));
    assert_eq!(d.hub.handle(d.now, Input::Stored { request }), Err(Misuse::WrongAnswer(request)));
    d.give(Input::Loaded { request, data: Loaded::Message(None) });
    assert_eq!(d.read_one(ann)["code"], "message_not_found");
}

/// Storage that answers with another message than it was asked for is not believed.
#[test]
fn what_was_not_asked_for_is_not_found() {
    let (mut d, ann, _, answer) = tea();
    let other = d.storage.messages.values().flatten().next().cloned();
    let text = regenerate(&answer).to_string();
    d.hub.handle(d.now, Input::Frame { connection: ann, text: &text }).expect("a frame");
    let mut asked = None;
    while d.hub.poll(&mut |output| {
        if let Output::Load { request, .. } = output {
            asked = Some(request);
        }
    }) {}
    d.give(Input::Loaded { request: asked.expect("a question"), data: Loaded::Message(other) });
    assert_eq!(d.read_one(ann)["code"], "message_not_found");
}
