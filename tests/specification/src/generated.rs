//! The parts of `docs/protocol.md` that are made from the code: what stands between `<!-- generated: NAME -->` and
//! `<!-- end -->`.

use std::fmt::Write as _;

use causerie_core::limits::{self, Limits};
use causerie_core::{CloseCode, ErrorCode, NoticeCode};
use serde_json::Value;

use super::{keep, read, schemas};

/// A client's frame, what answers it, and the errors that may answer it instead, besides [`ANY`].
pub(crate) struct Answers {
    pub(crate) frame: &'static str,
    pub(crate) by: &'static [&'static str],
    pub(crate) errors: &'static [ErrorCode],
}

/// Errors that may answer any frame.
pub(crate) const ANY: &[ErrorCode] = &[
    ErrorCode::FrameTooLarge,
    ErrorCode::InvalidJson,
    ErrorCode::TooDeeplyNested,
    ErrorCode::UnknownType,
    ErrorCode::InvalidField,
    ErrorCode::BinaryFrame,
    ErrorCode::TooManyFrames,
];

/// Errors in the place of an answer of the model: to everybody in the session, and without `ref`.
pub(crate) const OF_ANSWERS: &[ErrorCode] = &[
    ErrorCode::AiUnavailable,
    ErrorCode::ContextExceeded,
    ErrorCode::GenerationFailed,
    ErrorCode::Overloaded,
    ErrorCode::StorageFailed,
    ErrorCode::ServerDraining,
];

/// Errors that come before a close.
pub(crate) const OF_CLOSES: &[ErrorCode] =
    &[ErrorCode::AuthenticationFailed, ErrorCode::TooManyConnections, ErrorCode::FrameTooLarge];

use ErrorCode as E;

/// What answers what.
pub(crate) const ANSWERS: &[Answers] = &[
    Answers {
        frame: "join_session",
        by: &["session_joined"],
        errors: &[E::SessionNotFound, E::SessionEnded, E::Overloaded, E::StorageFailed],
    },
    Answers {
        frame: "chat_message",
        by: &["ack", "command_response", "session_ended"],
        errors: &[
            E::NotInSession,
            E::EmptyMessage,
            E::MessageTooLong,
            E::MessageNotFound,
            E::SessionEnded,
            E::RateLimited,
            E::Overloaded,
            E::ServerDraining,
            E::StorageFailed,
        ],
    },
    Answers { frame: "ping", by: &["pong"], errors: &[] },
    Answers {
        frame: "create_session",
        by: &["session_joined"],
        errors: &[E::TitleTooLong, E::MessageTooLong, E::TooManySessions, E::ServerDraining, E::StorageFailed],
    },
    Answers { frame: "leave_session", by: &["session_left"], errors: &[E::NotInSession] },
    Answers { frame: "stop_generation", by: &[], errors: &[E::NotInSession, E::NothingToStop] },
    Answers {
        frame: "regenerate",
        by: &["ack"],
        errors: &[
            E::NotInSession,
            E::MessageNotFound,
            E::SessionEnded,
            E::RateLimited,
            E::Overloaded,
            E::ServerDraining,
            E::StorageFailed,
        ],
    },
    Answers {
        frame: "edit_message",
        by: &["ack"],
        errors: &[
            E::NotInSession,
            E::EmptyMessage,
            E::MessageTooLong,
            E::MessageNotFound,
            E::NotAuthor,
            E::SessionEnded,
            E::RateLimited,
            E::Overloaded,
            E::ServerDraining,
            E::StorageFailed,
        ],
    },
    Answers { frame: "history", by: &["history_page"], errors: &[E::NotInSession, E::Overloaded, E::StorageFailed] },
    Answers { frame: "typing", by: &[], errors: &[E::NotInSession] },
    Answers {
        frame: "invite",
        by: &["invited"],
        errors: &[
            E::NotInSession,
            E::UsernameTooLong,
            E::NotOwner,
            E::TooManyMembers,
            E::SessionEnded,
            E::Overloaded,
            E::StorageFailed,
        ],
    },
    Answers {
        frame: "rename_session",
        by: &["session_renamed"],
        errors: &[
            E::NotInSession,
            E::TitleTooLong,
            E::SessionNotFound,
            E::NotOwner,
            E::SessionEnded,
            E::Overloaded,
            E::StorageFailed,
        ],
    },
    Answers {
        frame: "delete_session",
        by: &["session_deleted"],
        errors: &[E::NotInSession, E::SessionNotFound, E::NotOwner, E::SessionEnded, E::Overloaded, E::StorageFailed],
    },
    Answers { frame: "list_sessions", by: &["session_list"], errors: &[E::Overloaded, E::StorageFailed] },
    Answers {
        frame: "authenticate",
        by: &["notice"],
        errors: &[E::TokenTooLong, E::AuthenticationFailed, E::WrongUser, E::Overloaded],
    },
];

#[test]
fn the_generated_parts_are_up_to_date() {
    let text = read("protocol.md");
    let mut anew = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("<!-- generated: ") {
        let (name, after) = after.split_once(" -->").expect("a marker ends");
        let (_, after) = after.split_once("<!-- end -->").unwrap_or_else(|| panic!("`{name}` has an end"));
        let _ = write!(anew, "{before}<!-- generated: {name} -->\n{}<!-- end -->", part(name));
        rest = after;
    }
    anew.push_str(rest);
    keep("protocol.md", &anew, |a, b| a == b);
}

fn part(name: &str) -> String {
    match name.split_once(' ') {
        Some((side @ ("client" | "server"), kind)) => frame(side, kind),
        Some(("object", object)) => shared_object(object),
        Some(("states", of)) => states(of),
        _ => match name {
            "errors" => errors(),
            "notices" => notices(),
            "closes" => closes(),
            "limits" => limits_table(&|name| met_by_clients(name)),
            "inner limits" => limits_table(&|name| !met_by_clients(name)),
            other => panic!("nobody generates `{other}`"),
        },
    }
}

fn frame(side: &str, kind: &str) -> String {
    let schema = &schemas()[usize::from(side == "server")].1;
    let definition = &schema["$defs"][kind];
    assert!(definition.is_object(), "{side} sends no `{kind}`");
    let mut text = fields(definition);
    if let Some(answers) = ANSWERS.iter().find(|a| side == "client" && a.frame == kind) {
        let by = match answers.by {
            [] => "nothing, if all is well".to_string(),
            by => list(by.iter().copied()),
        };
        let _ = write!(text, "\nAnswered by: {by}. Errors: ");
        let errors = list(answers.errors.iter().map(|code| code.as_str()));
        let _ = writeln!(text, "{}.", if errors.is_empty() { "none of its own" } else { &errors });
    }
    text
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn shared_object(name: &str) -> String {
    let all = schemas();
    let definition = all.iter().map(|(_, schema)| &schema["$defs"][name]).find(|d| d.is_object());
    fields(definition.unwrap_or_else(|| panic!("there is no object `{name}`")))
}

/// A table of an object's fields: those that must be there first.
fn fields(definition: &Value) -> String {
    let properties = definition["properties"].as_object().expect("an object has properties");
    let required: Vec<&str> =
        definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut names: Vec<&String> = properties.keys().filter(|name| *name != "type").collect();
    // `id` and `ref` are the same everywhere.
    names.retain(|name| !["id", "ref"].contains(&name.as_str()) || !is_frame_id(&properties[*name]));
    names.sort_by_key(|name| (!required.contains(&name.as_str()), name.as_str()));
    if names.is_empty() {
        return "No fields of its own.\n".into();
    }
    let mut text = String::from("| field | type | | meaning |\n|---|---|---|---|\n");
    for name in names {
        let property = &properties[name];
        let nullable = property["type"].as_array().is_some_and(|kinds| kinds.contains(&"null".into()));
        let must = match (required.contains(&name.as_str()), nullable) {
            (true, false) => "required",
            (true, true) => "required, may be null",
            (false, _) => "",
        };
        let meaning = property["description"].as_str().unwrap_or_default();
        let _ = writeln!(text, "| `{name}` | {} | {must} | {meaning} |", type_of(property));
    }
    text
}

fn is_frame_id(property: &Value) -> bool {
    property.to_string().contains("#/$defs/FrameId")
}

/// A field's type and bounds, for people.
fn type_of(property: &Value) -> String {
    if let Some(target) = property["$ref"].as_str() {
        let name = target.rsplit('/').next().expect("a name");
        return match name {
            "Uuid" => "UUID".into(),
            "message" => "`message`".into(),
            "FrameId" => "string or number".into(),
            object => format!("[{object}](#{})", object.to_lowercase()),
        };
    }
    if let Some(choices) = property["oneOf"].as_array().or(property["anyOf"].as_array()) {
        let consts: Vec<String> = choices.iter().filter_map(|c| Some(format!("`{}`", c["const"].as_str()?))).collect();
        if !consts.is_empty() {
            return consts.join(", ");
        }
        if property["type"] == "string" {
            return "string: a code".into();
        }
        let kinds = choices.iter().filter(|c| c["type"] != "null").map(type_of).collect::<Vec<_>>();
        return kinds.join(", or ");
    }
    let kind = match &property["type"] {
        Value::Array(kinds) => kinds.iter().find(|k| *k != "null").and_then(Value::as_str).unwrap_or_default(),
        kind => kind.as_str().unwrap_or_default(),
    };
    match kind {
        "array" => {
            let most = property["maxItems"].as_u64().map_or(String::new(), |most| format!("at most {most} "));
            format!("array of {most}{}", type_of(&property["items"]))
        }
        "string" if property["format"] == "date-time" => "time".into(),
        "string" => match (property["minLength"].as_u64(), property["x-max-bytes"].as_u64()) {
            (None | Some(0), None) => "string".into(),
            (None | Some(0), Some(most)) => format!("string, at most {most} bytes"),
            (Some(least), most) => format!("string, {least} to {} bytes", most.expect("both bounds")),
        },
        "integer" | "number" => {
            let bounds = match (&property["minimum"], &property["maximum"]) {
                (Value::Null, _) => String::new(),
                (least, Value::Null) => format!(" from {least}"),
                (least, most) => format!(", {least} to {most}"),
            };
            format!("{kind}{}", bounds.replace(&limits::MAX_INTEGER.to_string(), "2<sup>53</sup>−1"))
        }
        other => other.into(),
    }
}

/// Where a code can come.
fn occurs(code: ErrorCode) -> String {
    let mut places = Vec::new();
    if ANY.contains(&code) {
        places.push("any frame".to_string());
    }
    places.extend(ANSWERS.iter().filter(|a| a.errors.contains(&code)).map(|a| format!("`{}`", a.frame)));
    if OF_ANSWERS.contains(&code) {
        places.push("in the place of an answer".to_string());
    }
    if OF_CLOSES.contains(&code) {
        places.push("before a close".to_string());
    }
    places.join(", ")
}

fn errors() -> String {
    let mut text = String::from("| `code` | retryable | meaning | answers |\n|---|---|---|---|\n");
    for code in ErrorCode::ALL {
        let places = occurs(*code);
        assert!(!places.is_empty(), "`{code}` answers nothing");
        let _ = writeln!(
            text,
            "| `{code}` | {} | {} | {places} |",
            if code.retryable() { "yes" } else { "no" },
            code.meaning(),
        );
    }
    text
}

fn notices() -> String {
    let mut text = String::from("| `code` | meaning |\n|---|---|\n");
    for code in NoticeCode::ALL {
        let _ = writeln!(text, "| `{code}` | {} |", code.meaning());
    }
    text
}

fn closes() -> String {
    let source = include_str!("../../../core/src/code.rs");
    let mut text = String::from("| code | meaning | connect again? |\n|---|---|---|\n");
    for code in CloseCode::ALL {
        let line = format!("    {code:?} = {},", code.as_u16());
        let at = source.lines().position(|l| l == line).unwrap_or_else(|| panic!("`{line}` stands in code.rs"));
        let meaning = doc_before(source, at);
        let again = match (code, code.reconnect()) {
            (CloseCode::Policy, _) => "with a fresh token",
            (_, true) => "yes",
            (_, false) => "no",
        };
        let _ = writeln!(text, "| {} | {meaning} | {again} |", code.as_u16());
    }
    text
}

/// The documentation above a line of Rust, as one line without links.
fn doc_before(source: &str, line: usize) -> String {
    let lines: Vec<&str> = source.lines().collect();
    let from = lines[..line].iter().rposition(|l| !l.trim_start().starts_with("///")).map_or(0, |last| last + 1);
    let doc = lines[from..line].iter().map(|l| l.trim_start().trim_start_matches('/').trim());
    without_links(&doc.collect::<Vec<_>>().join(" "))
}

/// ``[`a`](b)`` and ``[`a`]`` become `` `a` ``.
fn without_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[`") {
        let (name, after) = after.split_once("`]").expect("a link ends");
        let _ = write!(out, "{before}`{name}`");
        rest = match after.strip_prefix('(') {
            Some(target) => target.split_once(')').expect("a target ends").1,
            None => after,
        };
    }
    out + rest
}

/// Every bound of `limits.rs`: its name and value.
fn all_limits() -> Vec<(&'static str, String)> {
    let l = Limits::default();
    let seconds = |time: std::time::Duration| format!("{} s", time.as_secs());
    let range = |range: &std::ops::RangeInclusive<f64>| format!("{} to {}", range.start(), range.end());
    macro_rules! constants {
        ($($name:ident)+) => { vec![$((stringify!($name), limits::$name.to_string()),)+] };
    }
    let mut all = vec![
        ("connections", l.connections.to_string()),
        ("connections_per_user", l.connections_per_user.to_string()),
        ("frame_bytes", l.frame_bytes.to_string()),
        ("message_bytes", l.message_bytes.to_string()),
        ("frames_per_second", l.frames_per_second.to_string()),
        ("messages_per_minute", l.messages_per_minute.to_string()),
        ("sessions_per_minute", l.sessions_per_minute.to_string()),
        ("queued_messages", l.queued_messages.to_string()),
        ("queued_generations", l.queued_generations.to_string()),
        ("generations_per_user", l.generations_per_user.to_string()),
        ("handshake", seconds(l.handshake)),
        ("idle", seconds(l.idle)),
        ("log_bytes", l.log_bytes.to_string()),
        ("LOG_KEPT", seconds(limits::LOG_KEPT)),
        ("EXPIRY_NOTICE", seconds(limits::EXPIRY_NOTICE)),
        ("TYPING", seconds(limits::TYPING)),
        ("DRAIN_GRACE", seconds(limits::DRAIN_GRACE)),
        ("TEMPERATURE", range(&limits::TEMPERATURE)),
        ("PROBABILITY", range(&limits::PROBABILITY)),
        ("REPETITION_PENALTY", range(&limits::REPETITION_PENALTY)),
    ];
    all.extend(constants! {
        NESTING FIELDS FIELD_BYTES REF_BYTES CLIENT_ID_BYTES TITLE_BYTES USERNAME_BYTES TOKEN_BYTES MEMBERS
        PAGE_MESSAGES PAGE_MESSAGES_DEFAULT PAGE_BYTES LISTED_SESSIONS COMMAND_SESSIONS ANSWER_BYTES DELTA_BYTES
        HELD_FRAMES REPLIES REPLY_BYTES PAUSED_FACTOR REQUESTS_PER_CONNECTION QUEUED_CHANGES ERRANDS FETCHED_MESSAGES
        LOG_ENTRIES POLL_PIECES MAX_TOKENS MAX_INTEGER STOP_STRINGS STOP_BYTES CLOSE_REASON_BYTES
    });
    all
}

/// Bounds of what goes on inside; the others are met by what a client sends, asks or waits for.
fn met_by_clients(name: &str) -> bool {
    let inner = [
        "connections",
        "log_bytes",
        "PAUSED_FACTOR",
        "FETCHED_MESSAGES",
        "LOG_ENTRIES",
        "LOG_KEPT",
        "POLL_PIECES",
        "CLOSE_REASON_BYTES",
        "HELD_FRAMES",
        "REPLIES",
        "REPLY_BYTES",
        "DRAIN_GRACE",
    ];
    !inner.contains(&name)
}

/// A line of `limits.rs` that declares a bound: its name.
fn declared(line: &str) -> Option<&str> {
    let name =
        line.strip_prefix("pub const ").or_else(|| line.strip_prefix("    pub ").filter(|l| !l.contains("fn ")))?;
    Some(name.split_once(':')?.0)
}

fn limits_table(wanted: &dyn Fn(&str) -> bool) -> String {
    let source = include_str!("../../../core/src/limits.rs");
    let values = all_limits();
    let mut text = String::from("| name | value | meaning, and what is answered beyond |\n|---|---|---|\n");
    for (at, line) in source.lines().enumerate() {
        let Some(name) = declared(line).filter(|name| wanted(name)) else { continue };
        let value = values.iter().find(|(known, _)| *known == name);
        let (_, value) = value.unwrap_or_else(|| panic!("`{name}` of limits.rs has no row: add it to `all_limits`"));
        let _ = writeln!(text, "| `{name}` | {value} | {} |", doc_before(source, at));
    }
    text
}

#[test]
fn every_limit_has_its_row_and_every_row_its_limit() {
    let source = include_str!("../../../core/src/limits.rs");
    let mut declared: Vec<&str> = source.lines().filter_map(declared).collect();
    let mut rows: Vec<&str> = all_limits().iter().map(|(name, _)| *name).collect();
    declared.sort_unstable();
    rows.sort_unstable();
    assert_eq!(rows, declared);
}

/// A state graph for Mermaid, from the crate's documentation, which a test of the core compares with its tables.
fn states(of: &str) -> String {
    let first = match of {
        "connection" => "Connecting",
        "session" => "Loading",
        "answer" => "Running",
        other => panic!("`{other}` has no states"),
    };
    let source = include_str!("../../../core/src/lib.rs");
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! ")).skip_while(|l| !l.starts_with(first));
    let rows = rows.take_while(|line| line.contains("-->"));
    let mut text = format!("```mermaid\nstateDiagram-v2\n    [*] --> {first}\n");
    for row in rows {
        let (from, rest) = row.split_once(" --").expect("from");
        let (event, rest) = rest.split_once("--> ").expect("event");
        let to = rest.split_whitespace().next().expect("to");
        let _ = writeln!(text, "    {from} --> {to}: {event}");
    }
    text + "```\n"
}
