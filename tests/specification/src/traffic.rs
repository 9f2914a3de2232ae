//! Real traffic fits the schemas, and the schemas refuse what the hub refuses.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use causerie_core::ErrorCode;
use causerie_core::limits::{self, Limits};
use causerie_core::schema::{ClientFrame, ServerFrame};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::driver::Driver;
use super::driver::scenario::{Op, live_watched};
use super::schemas;

static CLIENT: LazyLock<Validator> = LazyLock::new(|| validator(&schemas()[0].1));
static SERVER: LazyLock<Validator> = LazyLock::new(|| validator(&schemas()[1].1));

fn validator(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).expect("the schema is one")
}

/// A frame of the server fits the schema and the types, and the types lose nothing of it.
#[track_caller]
pub(crate) fn check_server(frame: &Value) {
    let faults: Vec<String> = SERVER.iter_errors(frame).map(|error| error.to_string()).collect();
    assert!(faults.is_empty(), "{frame}: {faults:?}");
    let typed: ServerFrame = serde_json::from_value(frame.clone()).unwrap_or_else(|error| panic!("{frame}: {error}"));
    let back = serde_json::to_value(&typed).expect("a frame is JSON");
    assert!(same(&back, frame), "{back}\n{frame}");
}

/// A frame of a client fits the schema and the types.
#[track_caller]
pub(crate) fn check_client(frame: &Value) {
    let faults: Vec<String> = CLIENT.iter_errors(frame).map(|error| error.to_string()).collect();
    assert!(faults.is_empty(), "{frame}: {faults:?}");
    let typed: ClientFrame = serde_json::from_value(frame.clone()).unwrap_or_else(|error| panic!("{frame}: {error}"));
    let back = serde_json::to_value(&typed).expect("a frame is JSON");
    assert!(same(&back, frame), "{back}\n{frame}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_that_any_life_sends_fits_the_schema(ops in prop::collection::vec(any::<[u8; 4]>().prop_map(Op::from), 0..300)) {
        live_watched(ops, check_server);
    }
}

/// The seeds of the fuzz target `hub` reach nearly every frame there is.
#[test]
fn all_that_the_fuzzers_seeds_send_fits_the_schema() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/hub");
    for seed in std::fs::read_dir(folder).expect("the corpus is in the repository") {
        let data = std::fs::read(seed.expect("a file").path()).expect("a file");
        live_watched(data.as_chunks::<4>().0.iter().map(|four| Op::from(*four)), check_server);
    }
}

/// Every frame with every field, at the limits where a field has some.
fn largest() -> Vec<Value> {
    let id = "00000000-0000-4000-8000-000000000000";
    let text = |bytes: usize| "x".repeat(bytes);
    let message = text(Limits::default().message_bytes);
    let sampling = json!({
        "temperature": 5, "top_k": u32::MAX, "top_p": 1, "min_p": 1, "repetition_penalty": 10,
        "max_tokens": limits::MAX_TOKENS, "seed": limits::MAX_INTEGER,
        "stop": vec![text(limits::STOP_BYTES); limits::STOP_STRINGS],
    });
    let since = json!({ "epoch": text(limits::FIELD_BYTES), "seq": limits::MAX_INTEGER, "message_id": id,
                        "offset": limits::MAX_INTEGER });
    let client_id = text(limits::CLIENT_ID_BYTES);
    let mut frames = vec![
        json!({ "type": "join_session", "session_id": id, "since": since }),
        json!({ "type": "chat_message", "message": message, "client_id": client_id, "parent": id, "sampling": sampling }),
        json!({ "type": "ping" }),
        json!({ "type": "create_session", "title": text(limits::TITLE_BYTES), "system": message }),
        json!({ "type": "leave_session" }),
        json!({ "type": "stop_generation", "message_id": id }),
        json!({ "type": "regenerate", "message_id": id, "sampling": sampling }),
        json!({ "type": "edit_message", "message_id": id, "message": message, "client_id": client_id, "sampling": sampling }),
        json!({ "type": "history", "before": limits::MAX_INTEGER, "limit": limits::MAX_INTEGER }),
        json!({ "type": "typing", "is_typing": true }),
        json!({ "type": "invite", "username": text(limits::USERNAME_BYTES) }),
        json!({ "type": "rename_session", "title": text(limits::TITLE_BYTES), "session_id": id }),
        json!({ "type": "delete_session", "session_id": id }),
        json!({ "type": "list_sessions", "limit": limits::MAX_INTEGER }),
        json!({ "type": "authenticate", "token": text(limits::TOKEN_BYTES) }),
    ];
    for frame in &mut frames {
        frame["id"] = json!(text(limits::REF_BYTES));
    }
    frames
}

/// What the decoder says of a frame that is not one of the protocol.
fn refuses(frame: &Value) -> Option<ErrorCode> {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    d.send(ann, frame);
    let code = d.read(ann).iter().find_map(|f| f["code"].as_str()?.parse::<ErrorCode>().ok())?;
    let of_decoder = [
        ErrorCode::UnknownType,
        ErrorCode::InvalidField,
        ErrorCode::TitleTooLong,
        ErrorCode::UsernameTooLong,
        ErrorCode::TokenTooLong,
        ErrorCode::MessageTooLong,
        ErrorCode::EmptyMessage,
    ];
    of_decoder.contains(&code).then_some(code)
}

#[test]
fn limits_in_the_schema_are_the_hubs() {
    for frame in largest() {
        check_client(&frame);
        assert_eq!(refuses(&frame), None, "{}", short(&frame));
        let beyond =
            paths(&frame).into_iter().filter_map(|path| Some((path.clone(), one_more(frame.pointer(&path)?)?)));
        for (path, value) in beyond {
            let mut frame = frame.clone();
            *frame.pointer_mut(&path).expect("it is there") = value;
            assert!(!CLIENT.is_valid(&frame), "{path} of {}", short(&frame));
            assert!(refuses(&frame).is_some(), "{path} of {}", short(&frame));
        }
    }
}

fn short(frame: &Value) -> String {
    frame.to_string().chars().take(300).collect()
}

/// Whether two trees are equal, numbers by their value: 5 is 5.0.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| same(value, other)))
        }
        _ => a == b,
    }
}

/// The value beyond one that is at its limit; `None` for those that have no such limit.
fn one_more(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) if text.starts_with('x') => Some(json!(format!("{text}x"))),
        Value::Number(number) => Some(json!(number.as_u64().expect("a whole one") + 1)),
        Value::Array(items) => Some(json!([&items[..], &items[..1]].concat())),
        _ => None,
    }
}

/// Every place in a tree, as JSON pointers.
fn paths(value: &Value) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, value)| (i.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    let below = |(name, value): (String, &Value)| {
        let deeper = paths(value).into_iter().map(|path| format!("/{name}{path}")).collect::<Vec<_>>();
        std::iter::once(format!("/{name}")).chain(deeper)
    };
    inner.into_iter().flat_map(below).collect()
}

/// What the schema refuses the hub refuses, and the other way round: each field missing, null and of other types.
#[test]
fn the_schema_and_the_hub_refuse_the_same() {
    let values = [json!(null), json!(true), json!(-1), json!(1.5), json!(1e300), json!("x"), json!([]), json!({})];
    let mut judged = BTreeSet::new();
    for frame in largest() {
        for path in paths(&frame) {
            let (parent, name) = path.rsplit_once('/').expect("it begins with a slash");
            let mut missing = frame.clone();
            if let Some(fields) = missing.pointer_mut(parent).and_then(Value::as_object_mut) {
                fields.remove(name);
                judged.insert(agree(&missing, &path));
            }
            for value in &values {
                let mut wrong = frame.clone();
                *wrong.pointer_mut(&path).expect("it is there") = value.clone();
                judged.insert(agree(&wrong, &path));
            }
        }
    }
    assert_eq!(judged.len(), 2, "both verdicts occur");
}

/// Whether the frame is one, on which both must agree.
#[track_caller]
fn agree(frame: &Value, path: &str) -> bool {
    let (valid, refused) = (CLIENT.is_valid(frame), refuses(frame));
    // A session by another name than a UUID is not found, as the base protocol has it.
    let known = frame["type"] == "join_session" && path == "/session_id" && frame["session_id"].is_string();
    assert!(
        known || valid == refused.is_none(),
        "{path}: the schema says {valid}, the hub {refused:?}: {}",
        short(frame)
    );
    valid
}

#[test]
fn a_slow_client_gets_frames_of_the_schema_too() {
    let mut d = Driver { watch: Some(check_server), ..Driver::default() };
    let (ann, bob) = (d.user("Ann"), d.slow_user("Bob", 0));
    let session = d.session(ann);
    d.grant(bob, 10_000);
    d.share(ann, &session, bob, "Bob");
    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    d.answer(&"A long answer. ".repeat(3_000));
    d.pass(Duration::from_secs(1));
    d.grant(bob, 1_000_000);
    assert!(d.read_types(bob).iter().filter(|kind| *kind == "message_delta").count() > 1);
}
