//! Every frame of the protocol with every field it has: what the field takes, and every way in which it can be wrong.

use serde_json::{Map, Value, json};

/// What has no session, no message and no user.
pub(crate) const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// What a field takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Takes {
    /// The frame's type.
    Type,
    /// Text of at most so many bytes; longer text has this code.
    Text(usize, &'static str),
    /// The id of something; what is none has this code.
    Uuid(&'static str),
    /// A whole number of at most so much.
    Integer(u64),
    /// A number within these bounds.
    Decimal(f64, f64),
    /// True or false.
    Flag,
    /// An object, whose fields have rows of their own.
    Object,
    /// A string or several.
    Strings,
    /// The client's own id of the frame.
    Reference,
}

use Takes::{Decimal, Flag, Integer, Object, Reference, Strings, Text, Type, Uuid};

/// One field of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Its name, behind that of the object that it is in.
    pub(crate) path: &'static [&'static str],
    /// What it takes.
    pub(crate) takes: Takes,
    /// The error when it is missing, if there is one.
    pub(crate) missing: Option<&'static str>,
}

const fn field(path: &'static [&'static str], takes: Takes) -> Field {
    Field { path, takes, missing: None }
}

const fn required(path: &'static [&'static str], takes: Takes) -> Field {
    Field { path, takes, missing: Some("invalid_field") }
}

/// The greatest whole number that every reader of JSON keeps exactly.
const EXACT: u64 = (1 << 53) - 1;

const SAMPLING: &[Field] = &[
    field(&["sampling"], Object),
    field(&["sampling", "temperature"], Decimal(0.0, 5.0)),
    field(&["sampling", "top_k"], Integer(u32::MAX as u64)),
    field(&["sampling", "top_p"], Decimal(0.0, 1.0)),
    field(&["sampling", "min_p"], Decimal(0.0, 1.0)),
    field(&["sampling", "repetition_penalty"], Decimal(0.1, 10.0)),
    field(&["sampling", "max_tokens"], Integer(32_768)),
    field(&["sampling", "seed"], Integer(EXACT)),
    field(&["sampling", "stop"], Strings),
];

/// Every type with its own fields; all have `type` and `id` besides.
const FRAMES: &[(&str, &[&[Field]])] = &[
    (
        "join_session",
        &[&[
            // To the base protocol, what can be no session's id is a session that is not there.
            Field { path: &["session_id"], takes: Uuid("session_not_found"), missing: Some("invalid_field") },
            field(&["since"], Object),
            required(&["since", "epoch"], Text(256, "invalid_field")),
            required(&["since", "seq"], Integer(EXACT)),
            field(&["since", "message_id"], Uuid("invalid_field")),
            field(&["since", "offset"], Integer(EXACT)),
        ]],
    ),
    (
        "chat_message",
        &[
            &[
                Field { path: &["message"], takes: Text(32_768, "message_too_long"), missing: Some("empty_message") },
                field(&["client_id"], Text(128, "invalid_field")),
                field(&["parent"], Uuid("invalid_field")),
            ],
            SAMPLING,
        ],
    ),
    ("ping", &[]),
    (
        "create_session",
        &[&[field(&["title"], Text(256, "title_too_long")), field(&["system"], Text(32_768, "message_too_long"))]],
    ),
    ("leave_session", &[]),
    ("stop_generation", &[&[field(&["message_id"], Uuid("invalid_field"))]]),
    ("regenerate", &[&[field(&["message_id"], Uuid("invalid_field"))], SAMPLING]),
    (
        "edit_message",
        &[
            &[
                required(&["message_id"], Uuid("invalid_field")),
                Field { path: &["message"], takes: Text(32_768, "message_too_long"), missing: Some("empty_message") },
                field(&["client_id"], Text(128, "invalid_field")),
            ],
            SAMPLING,
        ],
    ),
    ("history", &[&[field(&["before"], Integer(EXACT)), field(&["limit"], Integer(EXACT))]]),
    ("typing", &[&[required(&["is_typing"], Flag)]]),
    ("invite", &[&[required(&["username"], Text(128, "username_too_long"))]]),
    (
        "rename_session",
        &[&[required(&["title"], Text(256, "title_too_long")), field(&["session_id"], Uuid("invalid_field"))]],
    ),
    ("delete_session", &[&[field(&["session_id"], Uuid("invalid_field"))]]),
    ("list_sessions", &[&[field(&["limit"], Integer(EXACT))]]),
    ("authenticate", &[&[required(&["token"], Text(8_192, "token_too_long"))]]),
];

/// The types of all frames.
pub(crate) fn kinds() -> Vec<&'static str> {
    FRAMES.iter().map(|(kind, _)| *kind).collect()
}

/// All fields of a frame.
pub(crate) fn fields(kind: &str) -> Vec<Field> {
    let (_, own) = FRAMES.iter().find(|(k, _)| *k == kind).expect("a frame of the protocol");
    let common = [required(&["type"], Type), field(&["id"], Reference)];
    own.iter().copied().flatten().copied().chain(common).collect()
}

/// A frame with all its fields, as it should be; the session and the message are those named.
pub(crate) fn good(kind: &str, session: &str, message: &str) -> Value {
    let mut frame = json!({ "type": kind, "id": "q" });
    for field in fields(kind) {
        let value = match (field.path, field.takes) {
            (["type" | "id"], _) => continue,
            (["session_id"], _) => json!(session),
            ([.., "message_id" | "parent"], _) => json!(message),
            (_, Text(..)) => json!("words"),
            (_, Flag) => json!(true),
            (_, Object) => json!({}),
            (_, Strings) => json!(["words"]),
            _ => json!(1),
        };
        *field.path.iter().fold(&mut frame, |at, name| &mut at[*name]) = value;
    }
    frame
}

/// What must come of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Comes {
    /// The field is taken; whether the frame makes sense otherwise is another matter.
    Taken,
    /// An error with this code, which is about this field.
    Refused(&'static str),
}

use Comes::{Refused, Taken};

/// What a frame that lacks a field, or has null there, comes to.
pub(crate) fn without(field: &Field) -> Comes {
    field.missing.map_or(Taken, Refused)
}

/// Values as JSON text, and what each of them comes to.
pub(crate) fn values(takes: Takes) -> Vec<(String, Comes)> {
    let quoted = |length: usize| format!("\"{}\"", "x".repeat(length));
    let mut values: Vec<(String, Comes)> = Vec::new();
    let mut add = |text: &str, comes| values.push((text.to_string(), comes));
    // Of another type. Nobody takes all of them.
    let takes_text = matches!(takes, Type | Text(..) | Uuid(_) | Reference | Strings);
    let takes_number = matches!(takes, Integer(_) | Decimal(..) | Reference);
    for (text, is_own) in [
        ("true", takes == Flag),
        ("false", takes == Flag),
        ("[]", takes == Strings),
        ("{}", matches!(takes, Object)),
        ("7", takes_number),
        ("\"7\"", takes_text),
        ("[true]", false),
        ("[[[[[[[[[[]]]]]]]]]]", false),
        ("{\"a\":{\"b\":[{}]}}", matches!(takes, Object)),
    ] {
        if !is_own {
            add(text, Refused("invalid_field"));
        }
    }
    let deep = format!("{}{}", "[".repeat(16), "]".repeat(16));
    add(&deep, Refused("too_deeply_nested"));
    match takes {
        Type => {
            add("\"words\"", Refused("unknown_type"));
            add("\"\"", Refused("unknown_type"));
            add(&quoted(256), Refused("unknown_type"));
            add(&quoted(257), Refused("invalid_field"));
        }
        Text(limit, code) => {
            add(&quoted(limit), Taken);
            add(&quoted(limit + 1), Refused(code));
            add(&quoted(150_000), Refused(code));
            // Bytes count, not characters.
            add(&format!("\"{}\"", "ä".repeat(limit / 2 + 1)), Refused(code));
            add("\"\\u0000\\ud800\\uffff\\ud83d\\ude00\"", Taken);
        }
        Uuid(code) => {
            add(&format!("\"{NOBODY}\""), Taken);
            for odd in
                ["", "7", &NOBODY[1..], &format!("{NOBODY}0"), &NOBODY.replace('-', "0"), &NOBODY.replace('8', "g")]
            {
                add(&format!("\"{odd}\""), Refused(code));
            }
            add(&quoted(150_000), Refused("invalid_field"));
        }
        Integer(most) => {
            add(&most.to_string(), Taken);
            add(&(most + 1).to_string(), Refused("invalid_field"));
            for odd in ["-1", "-0", "1.5", "1.0", "1e2", "1e400", "-1e400", "9007199254740993", "18446744073709551616"]
            {
                add(odd, Refused("invalid_field"));
            }
            add(&"9".repeat(400), Refused("invalid_field"));
        }
        Decimal(least, most) => {
            add(&least.to_string(), Taken);
            add(&most.to_string(), Taken);
            for odd in [least - 0.01, most + 0.01, -1e300, 1e300] {
                add(&odd.to_string(), Refused("invalid_field"));
            }
            add("1e400", Refused("invalid_field"));
            add("-1e400", Refused("invalid_field"));
        }
        Flag => add("\"true\"", Refused("invalid_field")),
        Object => {
            add("[{}]", Refused("invalid_field"));
            let wide: Vec<String> = (0..65).map(|i| format!("\"f{i}\":0")).collect();
            add(&format!("{{{}}}", wide.join(",")), Refused("invalid_json"));
        }
        Strings => {
            add("[\"a\",\"b\"]", Taken);
            add("[]", Taken);
            for odd in ["[null]", "[1]", "[[\"a\"]]", "[{}]", "[\"\"]", "\"\""] {
                add(odd, Refused("invalid_field"));
            }
            add(&format!("[{}]", ["\"a\""; 8].join(",")), Taken);
            add(&format!("[{}]", ["\"a\""; 9].join(",")), Refused("invalid_field"));
            add(&format!("[{}]", quoted(64)), Taken);
            add(&format!("[{}]", quoted(65)), Refused("invalid_field"));
        }
        Reference => {
            add("1.5e300", Taken);
            add(&quoted(128), Taken);
            add(&quoted(129), Refused("invalid_field"));
            add(&"9".repeat(128), Taken);
            add(&"9".repeat(129), Refused("invalid_field"));
        }
    }
    values
}

/// What is done to a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    /// It is left out.
    Missing,
    /// Its value is this JSON text.
    Is(&'a str),
    /// It comes twice: with this JSON text, and then as it should be.
    FirstIs(&'a str),
    /// It comes twice: as it should be, and then with this JSON text.
    LastIs(&'a str),
}

/// A frame's text with one field changed.
pub(crate) fn changed(frame: &Value, path: &[&str], change: Change<'_>) -> String {
    fn object(fields: &Map<String, Value>, path: &[&str], change: Change<'_>) -> String {
        let mut parts = Vec::new();
        for (name, value) in fields {
            let mut add = |value: &str| parts.push(format!("{}:{value}", json!(name)));
            match path {
                [only] if name == only => match change {
                    Change::Missing => {}
                    Change::Is(text) => add(text),
                    Change::FirstIs(text) => {
                        add(text);
                        add(&value.to_string());
                    }
                    Change::LastIs(text) => {
                        add(&value.to_string());
                        add(text);
                    }
                },
                [first, rest @ ..] if name == first => {
                    add(&object(value.as_object().expect("an object has fields"), rest, change));
                }
                _ => add(&value.to_string()),
            }
        }
        format!("{{{}}}", parts.join(","))
    }
    object(frame.as_object().expect("a frame is an object"), path, change)
}
