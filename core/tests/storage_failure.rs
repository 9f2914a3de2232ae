//! Storage that is slow, fails, or comes back: nothing is acknowledged that is not stored, and the session lives on.

mod driver;

use causerie_core::FinishReason;
use driver::Driver;
use serde_json::{Value, json};

fn types(frames: &[Value]) -> Vec<&str> {
    frames.iter().filter_map(|f| f["type"].as_str()).collect()
}

fn say(d: &mut Driver, who: causerie_core::ConnectionId, text: &str) {
    d.send(who, &json!({ "type": "chat_message", "message": text, "id": text, "client_id": text }));
}

/// Ann has asked something and got her answer.
fn after_an_answer() -> (Driver, causerie_core::ConnectionId) {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    say(&mut d, ann, "Hello");
    d.answer("Good day");
    d.read(ann);
    (d, ann)
}

#[test]
fn a_message_is_acknowledged_and_told_when_it_is_committed() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    d.storage.held = true;
    say(&mut d, ann, "Hello");
    assert_eq!((d.read(ann), d.read(bob)), (vec![], vec![]));
    d.release_storage();
    assert_eq!(types(&d.read(ann)), ["ack", "message", "typing"]);
    assert_eq!(types(&d.read(bob)), ["message", "typing"]);
}

#[test]
fn a_failed_write_leaves_no_gap() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    d.storage.held = true;
    for text in ["one", "two", "three"] {
        say(&mut d, ann, text);
    }
    d.storage.fail_writes = 1;
    d.release_storage();
    let frames = d.read(ann);
    let refused: Vec<_> = frames.iter().filter(|f| f["type"] == "error").collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (&refused[0]["ref"], &refused[0]["code"], &refused[0]["retryable"]),
        (&json!("one"), &json!("storage_failed"), &json!(true))
    );
    let acks: Vec<_> = frames.iter().filter(|f| f["type"] == "ack").map(|f| (&f["ref"], f["seq"].as_u64())).collect();
    assert_eq!(acks, [(&json!("two"), Some(1)), (&json!("three"), Some(2))]);
    let told: Vec<_> = d.read(bob).iter().filter(|f| f["type"] == "message").map(|f| f["seq"].as_u64()).collect();
    assert_eq!(told, [Some(1), Some(2)]);
}

#[test]
fn an_answer_that_cannot_be_stored_was_never_given() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    say(&mut d, ann, "Hello");
    d.token("Good day");
    d.read(ann);
    d.storage.fail_writes = 1;
    d.finish(FinishReason::Stop);
    let frames = d.read(ann);
    assert_eq!(types(&frames), ["error", "typing"]);
    assert_eq!((&frames[0]["code"], &frames[1]["is_typing"]), (&json!("storage_failed"), &json!(false)));
    assert!(frames[0]["message_id"].is_string(), "the streamed text is to be dropped");
    say(&mut d, ann, "Again");
    d.answer("Good day");
    let seqs: Vec<_> = d.read(ann).iter().filter(|f| f["type"] == "message").map(|f| f["seq"].as_u64()).collect();
    assert_eq!(seqs, [Some(2), Some(3)]);
}

#[test]
fn a_repeated_client_id_gets_the_first_ack_and_nothing_twice() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.share(ann, &session, bob, "Bob");
    say(&mut d, ann, "Hello");
    let first = d.read(ann)[0].clone();
    d.answer("Good day");
    d.read(ann);
    d.read(bob);
    // On another connection, after the session was dropped from memory.
    d.close(ann);
    d.close(bob);
    let ann = d.user("Ann");
    d.send(ann, &json!({ "type": "join_session", "session_id": session }));
    d.read(ann);
    say(&mut d, ann, "Hello");
    let again = d.read_one(ann);
    assert_eq!(
        (&again["type"], &again["message_id"], &again["seq"]),
        (&json!("ack"), &first["message_id"], &first["seq"])
    );
    assert_eq!((d.running.len(), d.storage.messages.values().next().map(Vec::len)), (0, Some(2)));
    // Two at once, before the first is stored.
    d.storage.held = true;
    say(&mut d, ann, "Twice");
    say(&mut d, ann, "Twice");
    d.release_storage();
    let acks: Vec<_> =
        d.read(ann).into_iter().filter(|f| f["type"] == "ack").map(|f| f["message_id"].clone()).collect();
    assert_eq!((acks.len(), &acks[0]), (2, &acks[1]));
    // The same id of somebody else is another message.
    let bob = d.user("Bob");
    d.send(bob, &json!({ "type": "join_session", "session_id": session }));
    d.read(bob);
    say(&mut d, bob, "Twice");
    assert_eq!(types(&d.read(bob))[..2], ["ack", "message"]);
}

#[test]
fn a_client_id_that_cannot_be_looked_up_is_refused() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    d.storage.fail_reads = 1;
    say(&mut d, ann, "Hello");
    assert_eq!(d.read_one(ann)["code"], "storage_failed");
    say(&mut d, ann, "Hello");
    assert_eq!(types(&d.read(ann)), ["ack", "message", "typing"]);
}

#[test]
fn sessions_that_cannot_be_stored_loaded_or_changed() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    d.storage.fail_writes = 1;
    d.send(ann, &json!({ "type": "create_session", "id": "c" }));
    let refused = d.read_one(ann);
    assert_eq!((&refused["code"], &refused["ref"]), (&json!("storage_failed"), &json!("c")));
    assert_eq!(d.hub.counts().sessions, 0);
    let session = d.session(ann);
    for frame in [
        json!({ "type": "invite", "username": "Bob" }),
        json!({ "type": "rename_session", "title": "Other" }),
        json!({ "type": "delete_session" }),
        json!({ "type": "chat_message", "message": "/clear" }),
    ] {
        d.storage.fail_writes = 1;
        d.send(ann, &frame);
        let frames = d.read(ann);
        assert_eq!(frames.last().map(|f| f["code"].clone()), Some(json!("storage_failed")), "{frame}");
    }
    assert_eq!(d.read(bob), [] as [Value; 0]);
    say(&mut d, ann, "It lives on");
    assert_eq!(types(&d.read(ann)), ["ack", "message", "typing"]);
    d.answer("It does");
    d.send(ann, &json!({ "type": "invite", "username": "Bob" }));
    d.read(ann);
    d.read(bob);
    let join = json!({ "type": "join_session", "session_id": session });
    d.storage.fail_writes = 1;
    d.send(bob, &join);
    assert_eq!(d.read_one(bob)["code"], "storage_failed");
    d.close(ann);
    d.storage.fail_reads = 1;
    d.send(bob, &join);
    assert_eq!(d.read_one(bob)["code"], "storage_failed");
    for frame in [json!({ "type": "list_sessions" }), json!({ "type": "chat_message", "message": "/stat" })] {
        d.storage.fail_reads = 1;
        d.send(bob, &frame);
        assert_eq!(d.read_one(bob)["code"], "storage_failed", "{frame}");
    }
    d.send(bob, &join);
    assert_eq!(d.read_one(bob)["type"], "session_joined");
}

#[test]
fn a_change_that_is_refused_late_does_not_disturb_a_join() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    let others = d.session(bob);
    d.close(bob);
    d.storage.held = true;
    d.send(ann, &json!({ "type": "rename_session", "session_id": others, "title": "Mine" }));
    d.send(
        ann,
        &json!({ "type": "rename_session", "session_id": "00000000-0000-4000-8000-000000000000", "title": "x" }),
    );
    d.send(ann, &json!({ "type": "create_session", "id": "new" }));
    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    d.one_answer();
    d.one_answer();
    assert_eq!(types(&d.read(ann)), ["error", "error"], "and the frames behind the join still wait for it");
    d.release_storage();
    let frames = d.read(ann);
    assert_eq!(types(&frames)[..2], ["session_joined", "ack"]);
    assert_ne!(frames[1]["session_id"], json!(session), "said in the new session");
}

#[test]
fn who_leaves_before_the_commit_still_has_their_message_stored() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    d.storage.held = true;
    say(&mut d, ann, "Last words");
    d.close(ann);
    d.release_storage();
    d.answer("Noted");
    let stored = d.storage.messages.values().next().expect("a session");
    assert_eq!(stored.iter().map(|m| m.content.as_str()).collect::<Vec<_>>(), ["Last words", "Noted"]);
    assert_eq!(d.hub.counts().sessions, 0);
}

#[test]
fn who_leaves_while_joining_or_creating_leaves_nothing_in_memory() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    let session = d.session(ann);
    d.close(ann);
    let ann = d.user("Ann");
    d.storage.held = true;
    d.send(ann, &json!({ "type": "join_session", "session_id": session }));
    d.close(ann);
    let ann = d.user("Ann");
    d.send(ann, &json!({ "type": "create_session" }));
    d.send(ann, &json!({ "type": "ping" }));
    d.close(ann);
    d.release_storage();
    let counts = d.hub.counts();
    assert_eq!((counts.connections, counts.sessions, counts.requests, counts.generations), (0, 0, 0, 0));
}

#[test]
fn questions_that_wait_while_the_end_of_their_session_fails_are_answered_after_all() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    say(&mut d, ann, "one");
    say(&mut d, ann, "two");
    d.token("to on");
    d.read(ann);
    d.storage.held = true;
    d.send(ann, &json!({ "type": "chat_message", "message": "/clear", "id": "end" }));
    d.finish(FinishReason::Stopped); // the answer under way is stopped and stored, and then the end
    d.storage.fail_writes = 1;
    d.release_storage();
    d.answer("to two");
    let frames = d.read(ann);
    let refused = frames.iter().find(|f| f["type"] == "error").expect("nobody was told");
    assert_eq!((&refused["ref"], &refused["code"]), (&json!("end"), &json!("storage_failed")));
    let answers: Vec<_> = frames.iter().filter(|f| f["role"] == "assistant" && f["type"] == "message").collect();
    let said: Vec<_> = answers.iter().map(|a| (a["content"].as_str(), a["finish_reason"].as_str())).collect();
    assert_eq!(said, [(Some("to on"), Some("stopped")), (Some("to two"), Some("stop"))]);
    assert_eq!(d.hub.counts().generations, 0);
}

#[test]
fn the_history_of_a_session_that_is_being_deleted_is_refused_and_not_empty() {
    let (mut d, ann) = after_an_answer();
    d.storage.held = true;
    d.send(ann, &json!({ "type": "delete_session", "id": "delete" }));
    d.send(ann, &json!({ "type": "history", "id": "history" }));
    let refused = d.read(ann);
    assert_eq!((&refused[0]["ref"], &refused[0]["code"]), (&json!("history"), &json!("session_ended")));
    d.release_storage();
    assert_eq!(types(&d.read(ann)), ["session_deleted"]);
}

#[test]
fn the_history_of_a_session_whose_deletion_failed_is_there() {
    let (mut d, ann) = after_an_answer();
    d.storage.fail_writes = 1;
    d.send(ann, &json!({ "type": "delete_session", "id": "delete" }));
    d.send(ann, &json!({ "type": "history", "id": "history" }));
    let frames = d.read(ann);
    assert_eq!(types(&frames), ["error", "history_page"]);
    assert_eq!(frames[1]["messages"].as_array().map(Vec::len), Some(2));
}
