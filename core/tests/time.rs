//! What happens by itself: deadlines, each with its reason.

mod driver;

use causerie_core::{ConnectError, GenerationFailure, Hub, Input, Instant, Misuse, Options, Reason, Role, UnixMicros};
use driver::{Driver, START, limits};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn an_idle_hub_waits_for_nothing() {
    let mut hub =
        Hub::new(Options { seed: [0; 32], wall_clock: UnixMicros(START), server: String::new(), limits: limits() });
    assert_eq!(hub.next_deadline(), None);
    assert!(!hub.poll(&mut |output| panic!("{output:?}")));
    hub.handle(Instant::from_micros(5), Input::Timer).expect("always fine");
    assert_eq!(hub.next_deadline(), None);
}

#[test]
fn a_handshake_without_a_verdict_ends() {
    let mut d = Driver::default();
    let ann = d.connect();
    assert_eq!(d.hub.next_deadline(), Some((Instant::from_micros(10_000_000), Reason::Handshake)));
    d.pass(Duration::from_secs(9));
    assert_eq!(d.peers[&ann].close, None);
    d.pass(Duration::from_secs(1));
    assert_eq!(d.read_one(ann)["code"], "authentication_failed");
    assert_eq!(d.peers[&ann].close.as_ref().map(|c| c.0), Some(1008));
    // A verdict that comes too late is no misuse.
    d.authenticate(ann, "Ann", Role::User, Duration::from_secs(60));
    assert_eq!(d.read(ann), [] as [Value; 0]);
    d.close(ann);
    assert_eq!((d.hub.counts().connections, d.hub.next_deadline()), (0, None));
}

#[test]
fn a_token_is_about_to_expire_and_expires() {
    let mut d = Driver::default();
    let ann = d.connect();
    d.authenticate(ann, "Ann", Role::User, Duration::from_secs(100));
    d.read(ann);
    assert_eq!(d.hub.next_deadline(), Some((Instant::from_micros(40_000_000), Reason::TokenExpiring)));
    d.pass(Duration::from_secs(40));
    let notice = d.read_one(ann);
    assert_eq!((&notice["type"], &notice["code"]), (&json!("notice"), &json!("token_expiring")));
    assert_eq!(d.hub.next_deadline(), Some((Instant::from_micros(100_000_000), Reason::TokenExpired)));
    d.pass(Duration::from_secs(60));
    let frame = d.read_one(ann);
    assert_eq!((&frame["type"], &frame["code"]), (&json!("error"), &json!("authentication_failed")));
    assert_eq!(d.peers[&ann].close, Some((1008, "The token has expired".to_string())));
}

#[test]
fn a_fresh_token_on_a_living_connection() {
    let mut d = Driver::default();
    let ann = d.connect();
    d.authenticate(ann, "Ann", Role::User, Duration::from_secs(100));
    d.pass(Duration::from_secs(50));
    d.read(ann);
    let renew = json!({ "type": "authenticate", "token": "fresh", "id": "t" });
    d.send(ann, &renew);
    assert_eq!(d.tokens_to_verify, [(ann, "fresh".to_string())]);
    // A second one waits for the verdict on the first.
    d.send(ann, &renew);
    assert_eq!(d.read_one(ann)["code"], "overloaded");
    d.authenticate(ann, "Ann", Role::Admin, Duration::from_secs(200));
    let notice = d.read_one(ann);
    assert_eq!((&notice["code"], &notice["ref"]), (&json!("token_renewed"), &json!("t")));
    d.pass(Duration::from_secs(139));
    assert_eq!(d.read(ann), [] as [Value; 0]);
    d.pass(Duration::from_secs(1));
    assert_eq!(d.read_one(ann)["code"], "token_expiring", "and once more before the new one expires");

    // A refused one is told, and the connection lives until the old one expires.
    d.send(ann, &renew);
    d.give(Input::Refused { connection: ann, reason: "The signature does not fit" });
    let refused = d.read_one(ann);
    assert_eq!((&refused["code"], &refused["ref"]), (&json!("authentication_failed"), &json!("t")));
    assert_eq!(d.peers[&ann].close, None);

    // One of somebody else changes nothing.
    d.send(ann, &renew);
    d.authenticate(ann, "Bob", Role::Admin, Duration::from_secs(9_000));
    assert_eq!(d.read_one(ann)["code"], "wrong_user");
    d.pass(Duration::from_secs(60));
    assert_eq!(d.peers[&ann].close.as_ref().map(|c| c.0), Some(1008));
}

#[test]
fn a_verdict_nobody_waits_for_is_misuse() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    let refused = Input::Refused { connection: ann, reason: "x" };
    assert_eq!(d.hub.handle(d.now, refused), Err(Misuse::NotAuthenticating(ann)));
    d.close(ann);
    assert_eq!(d.hub.handle(d.now, Input::Closed { connection: ann }), Err(Misuse::UnknownConnection(ann)));
    let (request, generation) = (causerie_core::RequestId(77), causerie_core::GenerationId(77));
    assert_eq!(d.hub.handle(d.now, Input::Stored { request }), Err(Misuse::UnknownRequest(request)));
    assert_eq!(d.hub.handle(d.now, Input::LoadFailed { request }), Err(Misuse::UnknownRequest(request)));
    let token = Input::Token { generation, text: "x" };
    assert_eq!(d.hub.handle(d.now, token), Err(Misuse::UnknownGeneration(generation)));
}

#[test]
fn an_answer_to_what_was_not_put_out_yet_is_misuse() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    let create = Input::Frame { connection: ann, text: r#"{"type":"create_session"}"# };
    d.handle(create).expect("a frame may always come");
    // Storage has not heard of it, but its number can be guessed.
    let request = causerie_core::RequestId(1);
    assert_eq!(d.hub.handle(d.now, Input::StoreFailed { request }), Err(Misuse::UnknownRequest(request)));
    assert_eq!(d.hub.handle(d.now, Input::Stored { request }), Err(Misuse::UnknownRequest(request)));
    d.run();
    assert_eq!(d.read_one(ann)["type"], "session_joined", "nothing had changed");

    // Likewise of the model.
    d.storage.held = true;
    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    d.hub.handle(d.now, Input::Stored { request: causerie_core::RequestId(2) }).expect("it is being written");
    d.storage.answers.clear();
    let generation = causerie_core::GenerationId(1);
    let token = || Input::Token { generation, text: "Hi" };
    assert_eq!(d.hub.handle(d.now, token()), Err(Misuse::UnknownGeneration(generation)));
    while d.hub.poll(&mut |_| {}) {}
    assert_eq!(d.hub.handle(d.now, token()), Ok(()), "now the model was asked");
}

#[test]
fn an_answer_of_the_wrong_kind_is_misuse() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.storage.held = true;
    d.send(ann, &json!({ "type": "create_session" }));
    let request = causerie_core::RequestId(1);
    let totals = causerie_core::Loaded::Totals { sessions: 1, messages: 1 };
    assert_eq!(d.hub.handle(d.now, Input::Loaded { request, data: totals }), Err(Misuse::WrongAnswer(request)));
    assert_eq!(d.hub.handle(d.now, Input::LoadFailed { request }), Err(Misuse::WrongAnswer(request)));
    d.release_storage();
    assert_eq!(d.read_one(ann)["type"], "session_joined", "nothing had changed");
}

#[test]
fn a_silent_connection_is_closed_and_a_talking_one_is_not() {
    let mut d = Driver::new({
        let mut limits = limits();
        limits.idle = Duration::from_secs(100);
        limits
    });
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    for _ in 0..9 {
        d.pass(Duration::from_secs(11));
        d.send(bob, &json!({ "type": "ping" }));
    }
    assert_eq!(d.peers[&ann].close, None);
    d.pass(Duration::from_secs(1));
    assert_eq!(d.peers[&ann].close, Some((4000, "Idle for too long".to_string())));
    assert_eq!(d.peers[&bob].close, None);
    d.pass(Duration::from_secs(100));
    assert_eq!(d.peers[&bob].close.as_ref().map(|c| c.0), Some(4000));
}

#[test]
fn a_clock_that_goes_back_changes_nothing() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.pass(Duration::from_secs(5));
    d.now = Instant::from_micros(1);
    d.send(ann, &json!({ "type": "ping" }));
    assert_eq!(d.read_one(ann)["timestamp"], "2026-01-01T00:00:05.000000Z");
}

#[test]
fn a_drain_tells_everybody_lets_answers_end_and_closes_with_1001() {
    let mut d = Driver::default();
    let (ann, bob) = (d.user("Ann"), d.user("Bob"));
    d.session(ann);
    d.send(ann, &json!({ "type": "chat_message", "message": "one" }));
    d.send(ann, &json!({ "type": "chat_message", "message": "two" }));
    d.token("The ");
    d.read(ann);
    d.give(Input::Drain { until: d.now + Duration::from_secs(10) });
    assert_eq!(d.read_one(bob)["code"], "server_draining");
    d.read(ann);
    assert_eq!(d.hub.connect(d.now), Err(ConnectError::Draining));
    d.send(ann, &json!({ "type": "chat_message", "message": "three" }));
    let refused = d.read_one(ann);
    assert_eq!((&refused["code"], &refused["retryable"]), (&json!("server_draining"), &json!(true)));
    d.send(bob, &json!({ "type": "create_session" }));
    assert_eq!(d.read_one(bob)["code"], "server_draining");
    d.pass(Duration::from_secs(7));
    assert!(!d.running[0].cancelled, "it has time to end by itself");
    d.pass(Duration::from_secs(1));
    assert!(d.running[0].cancelled, "now it is cut, so that its text is kept");
    d.finish(causerie_core::FinishReason::Stopped);
    // What waited is refused, not left hanging.
    assert_eq!(d.read_types(ann), ["message", "typing", "typing", "error", "typing"]);
    assert_eq!(d.running.len(), 0);
    d.pass(Duration::from_secs(2));
    for who in [ann, bob] {
        assert_eq!(d.peers[&who].close, Some((1001, "The server is stopping".to_string())));
        d.close(who);
    }
    assert_eq!(d.hub.counts(), causerie_core::Counts::default());
}

#[test]
fn who_is_recognized_during_a_drain_is_greeted_before_being_told_of_it() {
    let mut d = Driver::default();
    let ann = d.connect();
    d.give(Input::Drain { until: d.now + Duration::from_secs(5) });
    assert_eq!(d.read(ann), [] as [Value; 0]);
    d.authenticate(ann, "Ann", Role::User, Duration::from_secs(60));
    assert_eq!(d.read_types(ann), ["connection_established", "notice"]);
}

#[test]
fn closing_waits_for_no_credit() {
    let mut d = Driver::default();
    let bob = d.slow_user("Bob", 0);
    d.send(bob, &json!({ "type": "ping" }));
    d.give(Input::Violated { connection: bob, violation: causerie_core::Violation::TooBig { limit: 9 } });
    assert_eq!(d.read_types(bob), ["pong", "error"]);
    assert_eq!(d.peers[&bob].close, Some((1009, "A frame has more than 9 bytes".to_string())));
    // What the peer sends before it hears of the close is passed over.
    d.send(bob, &json!({ "type": "ping" }));
    assert_eq!(d.read(bob), [] as [Value; 0]);
    d.close(bob);
}

#[test]
fn users_are_forgotten_when_their_rates_have_recovered() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    d.fail(GenerationFailure::Internal);
    d.close(ann);
    assert_eq!(d.hub.counts().users, 1);
    assert_eq!(d.hub.next_deadline().map(|(_, reason)| reason), Some(Reason::UserForgotten));
    d.pass(Duration::from_secs(60));
    assert_eq!((d.hub.counts().users, d.hub.next_deadline()), (0, None));
}
