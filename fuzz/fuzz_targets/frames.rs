//! Any text as a client's frame: no panic, answers that are JSON, and an answer that depends on what the frame says and
//! not on how it is written: another JSON writer's form of the same frame is answered the same.

#![no_main]

#[path = "../../core/tests/driver/mod.rs"]
mod driver;

use driver::Driver;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|text: &str| {
    let seen = answers(text);
    for frame in &seen {
        assert!(frame["type"].is_string(), "{frame}");
    }
    let Ok(same @ Value::Object(_)) = serde_json::from_str::<Value>(text) else { return };
    // A repeated field is written once here, so that limits on fields and bytes may be met before and not after.
    if seen.iter().any(|f| f["code"] == "invalid_json") || seen.is_empty() {
        return;
    }
    assert_eq!(seen, answers(&same.to_string()));
});

/// What Ann, in a session, gets for a frame.
fn answers(text: &str) -> Vec<Value> {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    d.send_text(ann, text);
    let frames = d.read(ann);
    if d.peers[&ann].close.is_none() {
        d.send(ann, &json!({ "type": "ping", "id": "still there" }));
        assert!(d.read(ann).iter().any(|f| f["ref"] == "still there" || f["code"] == "too_many_frames"));
    }
    frames
}
