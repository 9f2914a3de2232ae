//! A session in which nobody says anything for long forgets its recent frames, and nobody notices.

mod driver;

use causerie_core::{Reason, limits};
use driver::Driver;
use serde_json::json;

#[test]
fn who_comes_back_after_long_silence_gets_what_was_missed_from_storage() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    let session = d.session(ann);
    d.send(ann, &json!({ "type": "invite", "username": "Bob" }));
    d.send(bob, &json!({ "type": "join_session", "session_id": session }));
    let joined = d.read(bob).into_iter().find(|f| f["type"] == "session_joined").expect("joined");
    d.close(bob);
    d.send(ann, &json!({ "type": "chat_message", "message": "Anybody?" }));
    d.answer("Not any more.");
    d.read(ann);
    assert!(
        d.hub
            .next_deadline()
            .is_some_and(|(at, reason)| { reason == Reason::LogForgotten && at == d.now + limits::LOG_KEPT })
    );
    d.pass(2 * limits::LOG_KEPT);
    assert!(d.hub.next_deadline().is_some_and(|(_, reason)| reason != Reason::LogForgotten), "forgotten once");

    let bob = d.user("Bob");
    let since = json!({ "epoch": joined["epoch"], "seq": joined["seq"] });
    d.send(bob, &json!({ "type": "join_session", "session_id": session, "since": since }));
    let frames = d.read(bob);
    assert_eq!((&frames[0]["type"], &frames[0]["resumed"]), (&json!("session_joined"), &json!(true)));
    let messages: Vec<_> = frames.iter().filter(|f| f["type"] == "message").collect();
    assert_eq!(messages.len(), 2, "{frames:#?}");
    assert_eq!((&messages[0]["content"], &messages[0]["seq"]), (&json!("Anybody?"), &json!(1)));
    assert_eq!((&messages[1]["content"], &messages[1]["seq"]), (&json!("Not any more."), &json!(2)));
    assert_eq!(d.read_types(ann), ["presence"], "Bob is back");

    // And it goes on for both.
    d.send(bob, &json!({ "type": "chat_message", "message": "Here I am" }));
    d.answer("Welcome back.");
    let heard = d.read_types(ann);
    assert_eq!(heard, ["message", "typing", "message_delta", "message", "typing"]);
    assert_eq!(d.read_types(bob), ["ack", "message", "typing", "message_delta", "message", "typing"]);
}

#[test]
fn nothing_is_forgotten_that_somebody_has_not_read() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    let session = d.session(ann);
    let bob = d.slow_user("Bob", 10_000);
    d.send(ann, &json!({ "type": "invite", "username": "Bob" }));
    d.send(bob, &json!({ "type": "join_session", "session_id": session }));
    while d.peers[&bob].credit.is_some_and(|credit| credit > 0) {
        d.send(ann, &json!({ "type": "rename_session", "title": "x".repeat(200) }));
    }
    d.read(bob);
    d.send(ann, &json!({ "type": "rename_session", "title": "The last one" }));
    d.pass(3 * limits::LOG_KEPT);
    assert_eq!(d.read_types(bob), [""; 0]);
    d.grant(bob, 50_000);
    let frames = d.read(bob);
    assert_eq!((&frames[0]["type"], &frames[0]["session_title"]), (&json!("session_renamed"), &json!("The last one")));
}

#[test]
fn a_session_that_is_being_answered_forgets_nothing() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    d.send(ann, &json!({ "type": "chat_message", "message": "Think for long." }));
    d.token("Well");
    d.pass(3 * limits::LOG_KEPT);
    d.answer(", no.");
    assert_eq!(d.read_types(ann), ["ack", "message", "typing", "message_delta", "message_delta", "message", "typing"]);
}
