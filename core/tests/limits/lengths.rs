//! Bounds of sizes and numbers in frames, and of what is said in answers.

use std::time::Duration;

use causerie_core::{FinishReason, Input, limits};
use serde_json::{Value, json};

use crate::driver::Driver;
use crate::{answer, say, with};

#[test]
fn bytes_of_a_frame() {
    let mut d = with(|l| l.frame_bytes = 100);
    let ann = d.user("Ann");
    let ping = |bytes: usize| format!("{:<bytes$}", "{\"type\":\"ping\"}");
    d.send_text(ann, &ping(100));
    assert_eq!(d.read_one(ann)["type"], "pong");
    d.send_text(ann, &ping(101));
    assert_eq!(d.read_one(ann)["code"], "frame_too_large");
    assert_eq!(d.peers[&ann].close, Some((1009, "A frame has 101 bytes, more than 100".to_string())));
}

#[test]
fn bytes_of_a_message_and_of_a_system_prompt() {
    let mut d = with(|l| l.message_bytes = 10);
    let ann = d.user("Ann");
    let create = |bytes: usize| json!({ "type": "create_session", "system": "x".repeat(bytes) });
    assert_eq!(answer(&mut d, ann, &create(10))["type"], "session_joined");
    assert_eq!(answer(&mut d, ann, &create(11))["code"], "message_too_long");
    assert_eq!(answer(&mut d, ann, &say("ääääx\n"))["type"], "ack");
    let refused = answer(&mut d, ann, &say("ääääxxx"));
    assert_eq!(refused["code"], "message_too_long");
    assert_eq!(refused["message"], "Field `message` has 11 bytes, more than 10");
}

#[test]
fn nesting() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        format!("{{\"type\":\"ping\",\"x\":{open}{close}}}")
    };
    d.send_text(ann, &nested(limits::NESTING));
    assert_eq!(d.read_one(ann)["type"], "pong");
    for levels in [limits::NESTING + 1, 50_000] {
        d.send_text(ann, &nested(levels));
        assert_eq!(d.read_one(ann)["code"], "too_deeply_nested");
    }
}

#[test]
fn lengths_of_names() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    let mut check = |field: &str, most: usize, code: &str, frame: Value| {
        for (bytes, fits) in [(most, true), (most + 1, false)] {
            let mut frame = frame.clone();
            frame[field] = json!("x".repeat(bytes));
            let seen = answer(&mut d, ann, &frame);
            d.tokens_to_verify.clear();
            assert_eq!(seen["code"] != code, fits, "{field} of {bytes} bytes: {seen}");
            assert_eq!(
                seen["message"] == format!("Field `{field}` has {bytes} bytes, more than {most}"),
                !fits,
                "{seen}"
            );
        }
    };
    check("title", limits::TITLE_BYTES, "title_too_long", json!({ "type": "rename_session" }));
    check("title", limits::TITLE_BYTES, "title_too_long", json!({ "type": "create_session" }));
    check("username", limits::USERNAME_BYTES, "username_too_long", json!({ "type": "invite" }));
    check("client_id", limits::CLIENT_ID_BYTES, "invalid_field", say("Hello"));
    check("id", limits::REF_BYTES, "invalid_field", json!({ "type": "ping" }));
    check("token", limits::TOKEN_BYTES, "token_too_long", json!({ "type": "authenticate" }));
    check("session_id", limits::FIELD_BYTES, "invalid_field", json!({ "type": "join_session" }));
}

#[test]
fn numbers_of_sampling_at_their_limits_and_beyond() {
    let mut d = with(|l| (l.queued_generations, l.generations_per_user) = (100, 100));
    let ann = d.user("Ann");
    d.session(ann);
    let mut check = |field: &str, good: &[Value], bad: &[Value]| {
        for (values, fits) in [(good, true), (bad, false)] {
            for value in values {
                let seen = answer(
                    &mut d,
                    ann,
                    &json!({ "type": "chat_message", "message": "Hi", "sampling": { field: value } }),
                );
                assert_eq!(seen["code"] == "invalid_field", !fits, "{field} {value}: {seen}");
                assert_eq!(seen["message"].as_str().is_some_and(|m| m.contains(field)), !fits, "{seen}");
            }
        }
    };
    check("temperature", &[json!(0), json!(5.0)], &[json!(5.01), json!(-0.1), json!("1")]);
    check("top_p", &[json!(0), json!(1)], &[json!(1.1), json!(-1)]);
    check("min_p", &[json!(0.05)], &[json!(2)]);
    check("repetition_penalty", &[json!(0.1), json!(10)], &[json!(0), json!(11)]);
    check("top_k", &[json!(0), json!(u32::MAX)], &[json!(1_u64 << 32), json!(1.5), json!(-1)]);
    check("max_tokens", &[json!(1), json!(limits::MAX_TOKENS)], &[json!(0), json!(limits::MAX_TOKENS + 1)]);
    check("seed", &[json!(0), json!(limits::MAX_INTEGER)], &[json!(limits::MAX_INTEGER + 1), json!(-1)]);
    let stops = |n: usize| json!(vec!["x"; n]);
    let long = "x".repeat(limits::STOP_BYTES);
    let good = [stops(limits::STOP_STRINGS), json!([long]), json!("END"), json!([])];
    let bad = [stops(limits::STOP_STRINGS + 1), json!([format!("{long}x")]), json!([""]), json!([7]), json!(7)];
    check("stop", &good, &bad);
}

#[test]
fn pages_and_lists_are_cut() {
    let mut d = with(|l| (l.messages_per_minute, l.sessions_per_minute) = (100_000, 100_000));
    let ann = d.user("Ann");
    for _ in 0..=limits::LISTED_SESSIONS {
        d.pass(Duration::from_millis(20));
        d.session(ann);
    }
    for _ in 0..51 {
        d.pass(Duration::from_millis(20));
        d.send(ann, &say("Hello"));
        d.answer("Good day");
    }
    d.read(ann);
    let page = |d: &mut Driver, limit: Value| {
        let page = answer(d, ann, &json!({ "type": "history", "limit": limit }));
        page["messages"].as_array().map(Vec::len)
    };
    assert_eq!(page(&mut d, json!(100)), Some(100));
    assert_eq!(page(&mut d, json!(101)), Some(100));
    assert_eq!(page(&mut d, json!(9_007_199_254_740_991_u64)), Some(100));
    assert_eq!(page(&mut d, Value::Null), Some(50));
    let list = answer(&mut d, ann, &json!({ "type": "list_sessions", "limit": 1_000 }));
    assert_eq!(list["sessions"].as_array().map(Vec::len), Some(limits::LISTED_SESSIONS as usize));
}

#[test]
fn bytes_of_a_page() {
    let mut d = with(|l| l.message_bytes = limits::PAGE_BYTES / 4);
    let ann = d.user("Ann");
    d.session(ann);
    for _ in 0..4 {
        let text = "x".repeat(limits::PAGE_BYTES / 4);
        d.send(ann, &say(&text));
        d.fail(causerie_core::GenerationFailure::Internal);
    }
    d.read(ann);
    let page = answer(&mut d, ann, &json!({ "type": "history" }));
    assert_eq!((page["messages"].as_array().map(Vec::len), &page["more"]), (Some(4), &json!(false)), "at the limit");
    d.send(ann, &say("x"));
    d.fail(causerie_core::GenerationFailure::Internal);
    d.read(ann);
    let page = answer(&mut d, ann, &json!({ "type": "history" }));
    assert_eq!((page["messages"].as_array().map(Vec::len), &page["more"]), (Some(4), &json!(true)), "beyond it");
    assert_eq!(page["messages"][3]["content"], "x");
}

#[test]
fn bytes_of_an_answer() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    d.send(ann, &say("Talk"));
    let text = "ä".repeat(limits::ANSWER_BYTES / 2);
    d.token(&text);
    assert!(!d.running[0].cancelled, "at the limit");
    d.token("x");
    assert!(d.running[0].cancelled, "beyond it");
    d.token("more");
    d.finish(FinishReason::Stopped);
    let frames = d.read(ann);
    let message = frames.iter().rfind(|f| f["type"] == "message").expect("the answer");
    assert_eq!((&message["finish_reason"], &message["content"]), (&json!("length"), &json!(text)));
    for delta in frames.iter().filter(|f| f["type"] == "message_delta") {
        assert!(delta["content"].as_str().is_some_and(|c| c.len() <= limits::DELTA_BYTES));
    }
}

#[test]
fn what_a_transport_reports() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.give(Input::Violated { connection: ann, violation: causerie_core::Violation::Binary });
    assert_eq!(d.read_one(ann)["code"], "binary_frame");
    assert_eq!(d.peers[&ann].close, None);
    for (violation, code) in [
        (causerie_core::Violation::TooBig { limit: 5 }, 1009),
        (causerie_core::Violation::NotUtf8, 1007),
        (causerie_core::Violation::Framing, 1002),
    ] {
        let bob = d.user("Bob");
        d.give(Input::Violated { connection: bob, violation });
        assert_eq!(d.peers[&bob].close.as_ref().map(|c| c.0), Some(code));
    }
}

#[test]
fn bytes_of_what_the_runtime_tells_people() {
    let mut d = Driver::default();
    let (at, beyond) = ("x".repeat(limits::REASON_BYTES), "x".repeat(limits::REASON_BYTES + 1));
    for reason in [&at, &beyond] {
        let ann = d.connect();
        d.give(Input::Refused { connection: ann, reason });
        assert_eq!(d.read_one(ann)["message"], at);
        d.give(Input::BackendDown { reason });
        let bob = d.user("Bob");
        let seen = answer(&mut d, bob, &say("/stat"));
        assert!(seen["content"].as_str().is_some_and(|text| text.contains(&format!("none ({at})\n"))), "{seen}");
        d.give(Input::BackendUp { model: reason });
        let seen = answer(&mut d, bob, &say("/stat"));
        assert!(seen["content"].as_str().is_some_and(|text| text.contains(&format!("Model: {at}\n"))), "{seen}");
    }
}
