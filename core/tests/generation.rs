//! Answers: streamed, stopped, failed, queued, and alone.

mod driver;

use causerie_core::{FinishReason, GenerationFailure, GenerationNotice, Input};
use driver::{Driver, limits};
use serde_json::{Value, json};

fn only(frames: &[Value], kind: &str) -> Vec<Value> {
    frames.iter().filter(|f| f["type"] == kind).cloned().collect()
}

fn contents(frames: &[Value]) -> Vec<&str> {
    frames.iter().filter_map(|f| f["content"].as_str()).collect()
}

fn types(frames: &[Value]) -> Vec<&str> {
    frames.iter().filter_map(|f| f["type"].as_str()).collect()
}

#[test]
fn streamed_by_byte_offsets_then_whole() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    let session = d.session(ann);
    let sampling = json!({ "temperature": 0.5, "top_k": 40, "max_tokens": 9, "seed": 7, "stop": ["END"] });
    d.send(ann, &json!({ "type": "chat_message", "message": "Hi", "id": 1, "client_id": "c1", "sampling": sampling }));
    let asked = d.running[0].sampling.clone();
    assert_eq!((asked.temperature, asked.top_k, asked.max_tokens, asked.seed), (Some(0.5), Some(40), Some(9), Some(7)));
    assert_eq!((asked.stop, asked.top_p), (vec!["END".to_string()], None));
    for text in ["Grü", "ß", "", " \"Gott\"\n"] {
        d.token(text);
    }
    d.finish(FinishReason::Length);
    let frames = d.read(ann);
    let expected = ["ack", "message", "typing", "message_delta", "message_delta", "message_delta", "message", "typing"];
    assert_eq!(types(&frames), expected);
    let ack = &frames[0];
    assert_eq!(
        (&ack["ref"], &ack["client_id"], &ack["seq"], &ack["session_id"]),
        (&json!(1), &json!("c1"), &json!(1), &json!(session))
    );
    assert_eq!(ack["message_id"], frames[1]["id"]);
    assert_eq!(
        (&frames[1]["user_id"], &frames[1]["username"], &frames[1]["client_id"]),
        (&json!("id-Ann"), &json!("Ann"), &json!("c1"))
    );
    assert_eq!((&frames[2]["role"], &frames[2]["is_typing"]), (&json!("assistant"), &json!(true)));
    let deltas = only(&frames, "message_delta");
    assert_eq!(deltas.iter().map(|f| f["offset"].as_u64()).collect::<Vec<_>>(), [Some(0), Some(4), Some(6)]);
    let answer = &frames[6];
    assert_eq!(contents(&deltas).concat(), answer["content"].as_str().expect("text"));
    assert!(deltas.iter().all(|f| f["message_id"] == answer["id"] && f["session_id"] == json!(session)));
    assert_eq!(
        (&answer["finish_reason"], &answer["seq"], &answer["parent"]),
        (&json!("length"), &json!(2), &frames[1]["id"])
    );
    assert_eq!(answer["usage"], json!({ "prompt_tokens": 7, "cached_tokens": 3, "completion_tokens": 2 }));
    let timings = ["first_token_ms", "tokens_per_second"].map(|name| answer["timings"][name].as_f64());
    assert_eq!(timings, [Some(12.5), Some(200.0)]);
    assert_eq!(d.hub.counts().generations, 0);
}

/// Storage must be able to put the conversation together: see `SessionRecord::append`.
#[test]
fn an_answer_belongs_to_its_question_and_people_go_on_from_the_last_one() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    let ask = |d: &mut Driver, text: &str| d.send(ann, &json!({ "type": "chat_message", "message": text }));
    ask(&mut d, "one");
    ask(&mut d, "two");
    d.answer("to one");
    ask(&mut d, "three");
    d.fail(GenerationFailure::Internal); // no answer to two
    d.answer("to three");
    ask(&mut d, "four");
    let stored = d.storage.messages.values().next().expect("a session");
    let content = |id| stored.iter().find(|m| m.id == id).map(|m| m.content.as_str());
    let parents: Vec<_> = stored.iter().map(|m| (m.content.as_str(), m.parent.and_then(content))).collect();
    let expected = [
        ("one", None),
        ("two", Some("one")),
        ("to one", Some("one")),
        ("three", Some("two")),
        ("to three", Some("three")),
        ("four", Some("to three")),
    ];
    assert_eq!(parents, expected);
}

#[test]
fn stopped_with_the_text_so_far() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    let stop = |d: &mut Driver, frame: Value| {
        d.send(ann, &frame);
        d.read(ann)
    };
    assert_eq!(stop(&mut d, json!({ "type": "stop_generation", "id": "s" }))[0]["code"], "nothing_to_stop");
    d.send(ann, &json!({ "type": "chat_message", "message": "Count" }));
    d.token("1 2 ");
    let id = only(&d.read(ann), "message_delta")[0]["message_id"].clone();
    let other = json!({ "type": "stop_generation", "message_id": "00000000-0000-4000-8000-000000000000" });
    assert_eq!(stop(&mut d, other)[0]["code"], "nothing_to_stop");
    assert!(!d.running[0].cancelled);
    assert_eq!(stop(&mut d, json!({ "type": "stop_generation", "message_id": id })), [] as [Value; 0]);
    assert!(d.running[0].cancelled);
    // Twice is once: the driver asserts that nothing is cancelled twice.
    assert_eq!(stop(&mut d, json!({ "type": "stop_generation" })), [] as [Value; 0]);
    d.token("3");
    d.finish(FinishReason::Stopped);
    let frames = d.read(ann);
    assert_eq!(types(&frames), ["message_delta", "message", "typing"]);
    assert_eq!((&frames[1]["content"], &frames[1]["finish_reason"]), (&json!("1 2 3"), &json!("stopped")));
    let stored = d.storage.messages.values().next().expect("a session");
    assert_eq!((stored[1].content.as_str(), stored[1].finish_reason), ("1 2 3", Some(FinishReason::Stopped)));
}

#[test]
fn a_failure_after_some_text_names_the_message_to_drop() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    let check = |d: &mut Driver, text: &str, failure, code: &str, retryable: bool| {
        d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
        d.token(text);
        d.fail(failure);
        let frames = d.read(ann);
        let error = &only(&frames, "error")[0];
        assert_eq!((&error["code"], &error["retryable"]), (&json!(code), &json!(retryable)));
        assert_eq!(error["message"], "Failed to generate AI response");
        let streamed = only(&frames, "message_delta");
        assert_eq!(error["message_id"], streamed.first().map_or(Value::Null, |f| f["message_id"].clone()));
        assert_eq!(frames.last().map(|f| f["is_typing"].clone()), Some(json!(false)));
        error.clone()
    };
    check(&mut d, "", GenerationFailure::Unavailable, "ai_unavailable", true);
    check(&mut d, "Half an ans", GenerationFailure::Internal, "generation_failed", true);
    check(&mut d, "", GenerationFailure::Overloaded, "overloaded", true);
    let failure = GenerationFailure::TooLong { prompt_tokens: 9_000, context: 2_048 };
    let error = check(&mut d, "", failure, "context_exceeded", false);
    assert_eq!(error["detail"], "the message has 9000 tokens, the model's context 2048");
    let error = check(&mut d, "", GenerationFailure::Quota { tokens_a_day: 500 }, "quota_exceeded", false);
    assert_eq!(error["detail"], "the 500 tokens of this day are used; the next begins at midnight, UTC");
    let stored = d.storage.messages.values().next().expect("a session");
    assert!(stored.iter().all(|m| m.content == "Hello"), "nothing that failed is stored");
    assert_eq!(stored.len(), 5);
}

#[test]
fn without_a_model_messages_are_stored_and_answered_with_an_error() {
    let mut d = Driver::without_model(limits());
    let ann = d.user("Ann");
    d.session(ann);
    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    let frames = d.read(ann);
    assert_eq!(types(&frames), ["ack", "message", "typing", "error", "typing"]);
    assert_eq!(frames[3]["code"], "ai_unavailable");
    assert_eq!(frames[3]["detail"], "no model is loaded yet");
    d.give(Input::BackendUp { model: "m" });
    d.send(ann, &json!({ "type": "chat_message", "message": "And now?" }));
    d.answer("Yes");
    assert_eq!(contents(&only(&d.read(ann), "message")), ["And now?", "Yes"]);
    d.give(Input::BackendDown { reason: "the file is gone" });
    d.send(ann, &json!({ "type": "chat_message", "message": "And now?" }));
    assert_eq!(only(&d.read(ann), "error")[0]["detail"], "the file is gone");
}

#[test]
fn messages_during_an_answer_are_told_at_once_and_answered_in_order() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    d.send(ann, &json!({ "type": "chat_message", "message": "one" }));
    d.token("answer ");
    d.send(bob, &json!({ "type": "chat_message", "message": "two" }));
    assert_eq!(contents(&only(&d.read(ann), "message")), ["one", "two"]);
    d.answer("to one");
    d.answer("answer to two");
    let frames = d.read(bob);
    assert_eq!(contents(&only(&frames, "message")), ["one", "two", "answer to one", "answer to two"]);
    let ends: Vec<_> = only(&frames, "typing").iter().map(|f| f["is_typing"].clone()).collect();
    assert_eq!(ends, [true, false, true, false]);
    let stored = d.storage.messages.values().next().expect("a session");
    let parents: Vec<_> = stored.iter().map(|m| m.parent.and_then(|p| stored.iter().position(|m| m.id == p))).collect();
    assert_eq!(parents, [None, Some(0), Some(0), Some(1)]);
    // The next message follows the last of the log.
    d.send(ann, &json!({ "type": "chat_message", "message": "three" }));
    let stored = d.storage.messages.values().next().expect("a session");
    assert_eq!(stored[4].parent, Some(stored[3].id));
}

#[test]
fn an_answer_goes_on_when_everybody_has_left() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    let session = d.session(ann);
    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    d.token("Good ");
    d.close(ann);
    d.token("day");
    // Somebody who joins in the middle gets the text so far at once, and then the rest.
    let ann = d.user("Ann");
    d.send(ann, &json!({ "type": "join_session", "session_id": session }));
    let frames = d.read(ann);
    assert_eq!(types(&frames), ["session_joined", "typing", "message_delta"]);
    assert_eq!(
        (&frames[1]["is_typing"], &frames[2]["offset"], &frames[2]["content"]),
        (&json!(true), &json!(0), &json!("Good day"))
    );
    d.token(", Ann");
    d.close(ann);
    d.finish(FinishReason::Stop);
    assert_eq!(d.hub.counts().sessions, 0);
    let ann = d.user("Ann");
    d.send(ann, &json!({ "type": "join_session", "session_id": session }));
    d.read(ann);
    d.send(ann, &json!({ "type": "history" }));
    assert_eq!(d.read_one(ann)["messages"][1]["content"], "Good day, Ann");
}

#[test]
fn the_end_of_a_session_waits_for_its_answer() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    d.send(bob, &json!({ "type": "chat_message", "message": "And me?" }));
    d.token("Good ");
    d.send(ann, &json!({ "type": "chat_message", "message": "/clear" }));
    assert!(d.running[0].cancelled);
    d.send(bob, &json!({ "type": "chat_message", "message": "Too late?" }));
    assert_eq!(d.read(bob).last().map(|f| f["code"].clone()), Some(json!("session_ended")));
    d.finish(FinishReason::Stopped);
    assert_eq!(d.read_types(bob), ["message", "typing", "session_ended"]);
    let frames = d.read(ann);
    assert_eq!(frames.last().map(|f| f["message"].clone()), Some(json!("Session ended by Ann")));
    assert_eq!(d.running.len(), 0, "what waited is not answered");
    d.send(ann, &json!({ "type": "join_session", "session_id": session }));
    let refused = d.read_one(ann);
    assert_eq!(
        (&refused["code"], &refused["message"]),
        (&json!("session_ended"), &json!("Session not found or access denied"))
    );
    assert_eq!(d.hub.counts().sessions, 0);
}

#[test]
fn trimmed_context_is_told() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    d.read(ann);
    let generation = d.generation();
    d.give(Input::GenerationNotice { generation, notice: GenerationNotice::ContextTrimmed { messages: 4 } });
    let notice = d.read_one(ann);
    assert_eq!((&notice["type"], &notice["code"]), (&json!("notice"), &json!("context_trimmed")));
    assert_eq!(notice["message"], "The 4 oldest messages no longer fit into the model's context");
}
