//! Any text as a client's frame, against a JSON reader that is not ours.
//!
//! What is JSON for one is for the other. What a frame says arrives: text, ids and numbers are in storage and in what the
//! model is asked, as the other reader reads them. The frame written anew (without spaces, and with every character
//! escaped) does the same, to the last byte of every answer: what the decoder accepts decodes the same in any form, and
//! what the encoder writes is read back as it was meant.

use causerie_core::limits;
use causerie_core::{ErrorCode, MessageRecord, Sampling, SessionRecord, Uuid};
use serde_json::{Map, Value, json};

use crate::driver::{Driver, limits as default_limits};

/// Everything that a frame does.
#[derive(Debug, PartialEq)]
struct Effects {
    /// What its sender gets.
    frames: Vec<Value>,
    /// The last session and message that are stored.
    session: Option<SessionRecord>,
    message: Option<MessageRecord>,
    /// How the model is asked to answer.
    sampling: Option<Sampling>,
    tokens: Vec<String>,
    closed: bool,
}

/// Sends a frame, and compares what it does with what it says.
///
/// # Panics
/// When a hub reads it otherwise than it is written.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let effects = effects_of(&text);
    let oracle = serde_json::from_str::<Value>(&text);
    check_syntax(&text, oracle.as_ref(), &effects);
    let Ok(Value::Object(fields)) = oracle else { return };
    check_references(&fields, &effects);
    check_lists(&fields);
    check_content(&fields, &effects);
    // A repeated field is written once here, so that limits on fields and bytes may be met before and not after; and where
    // a limit on levels was met stands in its error.
    if is_refused(&effects) {
        return;
    }
    let frame = Value::Object(fields);
    assert_eq!(effects, effects_of(&frame.to_string()), "written without spaces");
    let escaped = escaped(&frame);
    if escaped.len() <= default_limits().frame_bytes {
        assert_eq!(effects, effects_of(&escaped), "written with every character escaped");
    }
}

/// Ann is in a session, where she has had an answer; she sends a frame.
fn effects_of(text: &str) -> Effects {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    d.send(ann, &json!({ "type": "chat_message", "message": "Hello" }));
    d.answer("Hello Ann");
    d.read(ann);
    let before: usize = d.storage.messages.values().map(Vec::len).sum();
    let sessions: Vec<_> = d.storage.sessions.keys().copied().collect();
    d.send_text(ann, text);
    let mut frames = d.read(ann);
    // It says a number back as it was written, which no other form keeps.
    for frame in frames.iter_mut().filter(|frame| frame["code"] == "invalid_field") {
        frame["message"].take();
    }
    let closed = d.peers[&ann].close.is_some();
    if !closed {
        d.send(ann, &json!({ "type": "ping", "id": "still there" }));
        assert!(d.read(ann).iter().any(|f| f["ref"] == "still there"), "it lives on");
    }
    let after: usize = d.storage.messages.values().map(Vec::len).sum();
    let last = d.storage.messages.values().flatten().filter(|_| after > before).max_by_key(|m| m.seq);
    Effects {
        frames,
        session: d.storage.sessions.values().find(|s| !sessions.contains(&s.id)).cloned(),
        message: last.cloned(),
        sampling: d.running.first().map(|running| running.sampling.clone()),
        tokens: d.tokens_to_verify.iter().map(|(_, token)| token.clone()).collect(),
        closed,
    }
}

/// Whether a frame was refused before anybody looked at what it says.
fn is_refused(effects: &Effects) -> bool {
    effects.closed
        || effects.frames.iter().any(|frame| frame["code"] == "invalid_json" || frame["code"] == "too_deeply_nested")
}

/// Whether both readers agree on what is a JSON object.
fn check_syntax(text: &str, oracle: Result<&Value, &serde_json::Error>, effects: &Effects) {
    for frame in &effects.frames {
        assert!(frame["type"].is_string(), "{frame}");
    }
    let is_refused = is_refused(effects);
    match oracle {
        Ok(Value::Object(fields)) => {
            let is_large = |value: &Value| value.as_object().is_some_and(|fields| fields.len() > limits::FIELDS);
            let (levels, any_large) = (levels(fields.values()), any(fields.values(), &is_large));
            let too_large = levels > limits::NESTING || fields.len() > limits::FIELDS || any_large;
            // Repeated fields count, and the other reader does not show them.
            let repeated =
                effects.frames.iter().any(|f| f["message"].as_str().is_some_and(|m| m.contains("more than")));
            assert!(is_refused == too_large || repeated || effects.closed, "{text}: {:?}", effects.frames);
        }
        Ok(_) => assert!(is_refused, "no object: {text}"),
        Err(error) => {
            // A lone surrogate is no character; here it becomes U+FFFD.
            let is_surrogate = ["surrogate", "hex escape"].iter().any(|what| error.to_string().contains(what));
            assert!(is_refused || is_surrogate, "{error}: {text}");
        }
    }
}

fn levels<'a>(values: impl Iterator<Item = &'a Value>) -> usize {
    1 + values
        .map(|value| match value {
            Value::Array(items) => levels(items.iter()),
            Value::Object(fields) => levels(fields.values()),
            _ => 0,
        })
        .max()
        .unwrap_or_default()
}

fn any<'a>(mut values: impl Iterator<Item = &'a Value>, is: &dyn Fn(&Value) -> bool) -> bool {
    values.any(|value| {
        is(value)
            || match value {
                Value::Array(items) => any(items.iter(), is),
                Value::Object(fields) => any(fields.values(), is),
                _ => false,
            }
    })
}

/// A frame's `id` comes back in what answers it, and only there.
fn check_references(fields: &Map<String, Value>, effects: &Effects) {
    for reference in effects.frames.iter().filter_map(|frame| frame.get("ref")) {
        assert_eq!(Some(reference), fields.get("id"));
    }
}

/// The public lists and ids read what they have written, and say of the rest what it is not.
fn check_lists(fields: &Map<String, Value>) {
    for text in fields.values().filter_map(Value::as_str) {
        match text.parse::<Uuid>() {
            Ok(id) => assert_eq!(id.to_string(), text.to_ascii_lowercase()),
            Err(error) => assert!(error.to_string().contains("UUID")),
        }
        match text.parse::<ErrorCode>() {
            Ok(code) => assert_eq!(code.as_str(), text),
            Err(error) => assert!(error.to_string().contains("no code")),
        }
    }
}

/// What is stored and asked for is what the frame says.
fn check_content(fields: &Map<String, Value>, effects: &Effects) {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    match text("type") {
        Some("chat_message") => {
            let Some(message) = &effects.message else { return };
            assert_eq!(Some(message.content.as_str()), text("message"));
            assert_eq!(message.client_id.as_deref(), text("client_id"));
            let said = fields.get("sampling").unwrap_or(&Value::Null);
            assert_eq!(effects.sampling, Some(sampling(said)), "{said}");
        }
        Some("create_session") => {
            let Some(session) = &effects.session else { return };
            let title = text("title").map(words).filter(|words| !words.is_empty());
            assert_eq!(words(&session.title), title.unwrap_or_else(|| words("New chat")));
            assert_eq!(session.system.as_deref(), text("system").filter(|system| !system.trim().is_empty()));
        }
        Some("authenticate") => assert!(effects.tokens.iter().all(|token| Some(token.as_str()) == text("token"))),
        _ => assert!(effects.tokens.is_empty()),
    }
}

/// What is left of a title, whatever becomes of the space in it.
fn words(title: &str) -> String {
    let is_kept = |c: &char| {
        !(c.is_control() || c.is_whitespace() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
    };
    title.chars().filter(is_kept).collect()
}

fn sampling(said: &Value) -> Sampling {
    let decimal = |name: &str| said[name].as_f64().map(|number| number as f32);
    let small = |name: &str| said[name].as_u64().and_then(|number| u32::try_from(number).ok());
    let stop = match &said["stop"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(several) => several.iter().filter_map(|s| s.as_str().map(str::to_string)).collect(),
        _ => Vec::new(),
    };
    let mut sampling = Sampling::default();
    sampling.temperature = decimal("temperature");
    sampling.top_k = small("top_k");
    sampling.top_p = decimal("top_p");
    sampling.min_p = decimal("min_p");
    sampling.repetition_penalty = decimal("repetition_penalty");
    sampling.max_tokens = small("max_tokens");
    sampling.seed = said["seed"].as_u64();
    sampling.stop = stop;
    sampling
}

/// A value with every character of its strings as an escape (RFC 8259, section 7).
fn escaped(value: &Value) -> String {
    let string = |text: &str| -> String {
        let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}"));
        format!("\"{}\"", units.collect::<String>())
    };
    match value {
        Value::String(text) => string(text),
        Value::Array(items) => format!("[ {} ]", items.iter().map(escaped).collect::<Vec<_>>().join("\t,\r\n")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{} : {}", string(name), escaped(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(" , "))
        }
        other => other.to_string(),
    }
}
