//! Bounds of how often.

use std::time::Duration;

use causerie_core::FinishReason;
use serde_json::json;

use crate::{answer, say, with};

#[test]
fn frames_a_second() {
    let mut d = with(|l| l.frames_per_second = 10);
    let ann = d.user("Ann");
    let ping = json!({ "type": "ping", "id": 7 });
    for _ in 0..20 {
        assert_eq!(answer(&mut d, ann, &ping)["type"], "pong");
    }
    let refused = answer(&mut d, ann, &ping);
    assert_eq!((&refused["code"], &refused["ref"]), (&json!("too_many_frames"), &json!(7)));
    let wait = refused["retry_after_ms"].as_u64().expect("a time");
    d.pass(Duration::from_millis(wait - 1));
    assert_eq!(answer(&mut d, ann, &ping)["code"], "too_many_frames");
    d.pass(Duration::from_millis(1));
    assert_eq!(answer(&mut d, ann, &ping)["type"], "pong");
}

#[test]
fn messages_a_minute_whatever_the_connection() {
    let mut d = with(|l| l.messages_per_minute = 6);
    let ann = d.user("Ann");
    let session = d.session(ann);
    for _ in 0..3 {
        assert_eq!(answer(&mut d, ann, &say("Hello"))["type"], "ack");
        d.finish(FinishReason::Stop);
        d.read(ann);
    }
    let refused = answer(&mut d, ann, &say("Hello"));
    assert_eq!((&refused["code"], &refused["retry_after_ms"]), (&json!("rate_limited"), &json!(10_000)));
    d.close(ann);
    let ann = d.user("Ann");
    d.send(ann, &json!({ "type": "join_session", "session_id": session }));
    d.read(ann);
    assert_eq!(answer(&mut d, ann, &say("Hello"))["code"], "rate_limited", "connecting anew gains nothing");
    d.pass(Duration::from_secs(10));
    assert_eq!(answer(&mut d, ann, &say("Hello"))["type"], "ack");
}

#[test]
fn sessions_a_minute() {
    let mut d = with(|l| l.sessions_per_minute = 2);
    let ann = d.user("Ann");
    d.session(ann);
    d.session(ann);
    let refused = answer(&mut d, ann, &json!({ "type": "create_session" }));
    assert_eq!((&refused["code"], &refused["retry_after_ms"]), (&json!("too_many_sessions"), &json!(30_000)));
    let bob = d.user("Bob");
    d.session(bob);
    d.pass(Duration::from_secs(30));
    d.session(ann);
}
