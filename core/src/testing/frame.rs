//! A server's frame, read and checked for its shape.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::rule::{Breach, Rule, require};
use crate::code::{ErrorCode, NoticeCode};
use crate::id::Uuid;
use crate::limits;
use crate::wire::decode;
use crate::wire::json::{self, Field, Value};

/// What a field holds.
#[derive(Clone, Copy, Debug)]
enum Of {
    Text,
    /// At most so many bytes.
    Short(usize),
    Id,
    /// RFC 3339, UTC.
    Time,
    Whole,
    Bool,
    Array,
}

use Of::{Array, Bool, Id, Short, Text, Time, Whole};

/// The fields that a frame of a type has in any case.
type Shape = (&'static str, &'static [(&'static str, Of)]);

const TITLE: Of = Short(limits::TITLE_BYTES);

/// Every type of frame. Others pass: a client passes over what it does not know.
const SHAPES: &[Shape] = &[
    ("connection_established", &[("message", Text), ("user_id", Text), ("username", Text), ("timestamp", Time)]),
    (
        "session_joined",
        &[
            ("session_id", Id),
            ("session_title", TITLE),
            ("timestamp", Time),
            ("epoch", Short(limits::FIELD_BYTES)),
            ("seq", Whole),
            ("resumed", Bool),
            ("owner", Text),
            ("participants", Array),
        ],
    ),
    (
        "message",
        &[
            ("id", Id),
            ("role", Text),
            ("content", Short(limits::ANSWER_BYTES)),
            ("timestamp", Time),
            ("session_id", Id),
            ("seq", Whole),
        ],
    ),
    (
        "message_delta",
        &[("session_id", Id), ("message_id", Id), ("offset", Whole), ("content", Short(limits::DELTA_BYTES))],
    ),
    ("typing", &[("session_id", Id), ("is_typing", Bool), ("timestamp", Time)]),
    ("error", &[("message", Text), ("timestamp", Time), ("code", Text), ("retryable", Bool)]),
    ("pong", &[("timestamp", Time)]),
    ("ack", &[("session_id", Id), ("message_id", Id), ("seq", Whole), ("timestamp", Time)]),
    ("command_response", &[("command", Text), ("content", Text), ("timestamp", Time)]),
    (
        "presence",
        &[
            ("session_id", Id),
            ("user_id", Text),
            ("username", Text),
            ("event", Text),
            ("participants", Array),
            ("timestamp", Time),
        ],
    ),
    ("session_left", &[("session_id", Id), ("timestamp", Time)]),
    ("session_ended", &[("session_id", Id), ("message", Text), ("timestamp", Time)]),
    ("session_deleted", &[("session_id", Id), ("timestamp", Time)]),
    ("session_renamed", &[("session_id", Id), ("session_title", TITLE), ("timestamp", Time)]),
    (
        "invited",
        &[
            ("session_id", Id),
            ("session_title", TITLE),
            ("username", Short(limits::USERNAME_BYTES)),
            ("by", Text),
            ("timestamp", Time),
        ],
    ),
    ("notice", &[("code", Text), ("message", Text), ("timestamp", Time)]),
    ("session_list", &[("sessions", Array), ("timestamp", Time)]),
    ("history_page", &[("session_id", Id), ("messages", Array), ("more", Bool), ("timestamp", Time)]),
];

/// A frame, or an object in one.
pub(super) struct Frame<'a> {
    fields: Vec<Field<'a>>,
}

impl<'a> Frame<'a> {
    /// Reads a whole frame, whose required fields are there and of their kinds afterwards.
    pub(super) fn read(text: &'a str) -> Result<Frame<'a>, Breach> {
        let frame = Frame::object(text)?;
        let kind = frame.text("type")?;
        if let Some((_, fields)) = SHAPES.iter().find(|(known, _)| *known == kind) {
            for (name, of) in *fields {
                frame.check(name, *of)?;
            }
        }
        if kind == "error" {
            frame.check_error()?;
        }
        Ok(frame)
    }

    /// Reads an object that is part of a frame.
    pub(super) fn object(text: &'a str) -> Result<Frame<'a>, Breach> {
        let fields = json::fields(text).map_err(|e| {
            Breach::new(Rule::Shape, "one JSON object", format!("{:?} at byte {}", e.problem, e.offset))
        })?;
        for (i, (name, _)) in fields.iter().enumerate() {
            require(fields[..i].iter().all(|(other, _)| other != name), Rule::Shape, || {
                ("each field once".into(), format!("`{name}` twice"))
            })?;
        }
        Ok(Frame { fields })
    }

    fn check(&self, name: &str, of: Of) -> Result<(), Breach> {
        match of {
            Text => self.text(name).map(drop),
            Short(limit) => self.short(name, limit).map(drop),
            Id => self.id(name).map(drop),
            Whole => self.number(name).map(drop),
            Bool => self.boolean(name).map(drop),
            Array => self.array(name).map(drop),
            Time => {
                let text = self.text(name)?;
                require(is_utc(text), Rule::Shape, || ("a time of RFC 3339 in UTC".into(), text.into()))
            }
        }
    }

    fn check_error(&self) -> Result<(), Breach> {
        let code = self.text("code")?;
        let retryable = self.boolean("retryable")?;
        let known = code.parse::<ErrorCode>();
        let expected = || ErrorCode::ALL.iter().map(|c| c.as_str()).collect::<Vec<_>>().join(", ");
        require(known.is_ok(), Rule::ErrorCode, || (expected(), code.into()))?;
        let says = known.is_ok_and(ErrorCode::retryable);
        require(says == retryable, Rule::ErrorCode, || {
            (format!("`{code}` is retryable: {says}"), retryable.to_string())
        })?;
        match self.get("retry_after_ms") {
            None => Ok(()),
            Some(_) => {
                self.number("retry_after_ms")?;
                require(retryable, Rule::ErrorCode, || {
                    ("no `retry_after_ms` where trying again is useless".into(), code.into())
                })
            }
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// A field whose name is a known one of a frame that was read.
    pub(super) fn text(&self, name: &str) -> Result<&str, Breach> {
        match self.get(name) {
            Some(Value::String(text)) => Ok(text),
            other => Err(wrong(name, "a string", other)),
        }
    }

    fn short(&self, name: &str, limit: usize) -> Result<&str, Breach> {
        let text = self.text(name)?;
        require(text.len() <= limit, Rule::Limit, || {
            (format!("`{name}` of at most {limit} bytes"), format!("{} bytes", text.len()))
        })?;
        Ok(text)
    }

    pub(super) fn maybe_text(&self, name: &str) -> Result<Option<&str>, Breach> {
        self.get(name).map(|_| self.text(name)).transpose()
    }

    pub(super) fn id(&self, name: &str) -> Result<Uuid, Breach> {
        let text = self.text(name)?;
        decode::uuid(text).ok_or_else(|| Breach::new(Rule::Shape, format!("`{name}` is a UUID"), text))
    }

    pub(super) fn maybe_id(&self, name: &str) -> Result<Option<Uuid>, Breach> {
        self.get(name).map(|_| self.id(name)).transpose()
    }

    pub(super) fn number(&self, name: &str) -> Result<u64, Breach> {
        match self.get(name) {
            Some(Value::Number(text)) => text
                .parse()
                .map_err(|_| Breach::new(Rule::Shape, format!("`{name}` is a whole number"), text.to_string())),
            other => Err(wrong(name, "a number", other)),
        }
    }

    pub(super) fn boolean(&self, name: &str) -> Result<bool, Breach> {
        match self.get(name) {
            Some(Value::Bool(value)) => Ok(*value),
            other => Err(wrong(name, "a boolean", other)),
        }
    }

    /// The items of an array that are objects themselves.
    pub(super) fn array(&self, name: &str) -> Result<Vec<Frame<'a>>, Breach> {
        let text = match self.get(name) {
            Some(Value::Array(text)) => *text,
            other => return Err(wrong(name, "an array", other)),
        };
        let items = json::items(text).map_err(|e| Breach::new(Rule::Shape, "an array", format!("{:?}", e.problem)))?;
        items
            .into_iter()
            .map(|item| match item {
                Value::Object(text) => Frame::object(text),
                other => Err(wrong(name, "an array of objects", Some(&other))),
            })
            .collect()
    }

    /// The text of a nested object, or nothing.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        match self.get(name) {
            Some(Value::Object(text)) => Some(text),
            _ => None,
        }
    }

    /// The client's own `id` of the frame that this one answers.
    pub(super) fn reference(&self) -> Result<Option<Reference>, Breach> {
        match self.get("ref") {
            None => Ok(None),
            Some(value) => match Reference::of(value) {
                Some(reference) => Ok(Some(reference)),
                None => Err(wrong("ref", "a string or a number", Some(value))),
            },
        }
    }

    pub(super) fn notice(&self) -> Option<NoticeCode> {
        self.text("code").ok()?.parse().ok()
    }
}

fn wrong(name: &str, expected: &str, got: Option<&Value<'_>>) -> Breach {
    Breach::new(Rule::Shape, format!("`{name}` is {expected}"), got.map_or("nothing", Value::kind))
}

/// `2026-02-28T23:59:59.000001Z`, with or without a fraction.
fn is_utc(text: &str) -> bool {
    let bytes = text.as_bytes();
    let pattern = b"0000-00-00T00:00:00";
    let fits = |(at, p): (usize, &u8)| match bytes.get(at) {
        Some(b) if *p == b'0' => b.is_ascii_digit(),
        other => other == Some(p),
    };
    let Some(rest) = bytes.get(pattern.len()..) else { return false };
    let Some((b'Z', fraction)) = rest.split_last() else { return false };
    let fraction = match fraction {
        [] => true,
        [b'.', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    pattern.iter().enumerate().all(fits) && fraction
}

/// A client's own `id` of a frame: a number as it was written, or a string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reference {
    Number(String),
    Text(String),
}

impl Reference {
    /// `None` for one that is none, or too long, and so is not echoed.
    pub(super) fn of(value: &Value<'_>) -> Option<Reference> {
        match value {
            Value::Number(text) if text.len() <= limits::REF_BYTES => Some(Reference::Number(text.to_string())),
            Value::String(text) if text.len() <= limits::REF_BYTES => Some(Reference::Text(Cow::to_string(text))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::kind::ServerKind;

    #[test]
    fn times() {
        for good in ["2026-02-28T23:59:59Z", "2026-02-28T23:59:59.000001Z"] {
            assert!(is_utc(good), "{good}");
        }
        for bad in [
            "2026-02-28T23:59:59",
            "2026-02-28 23:59:59Z",
            "2026-02-28T23:59:59.Z",
            "",
            "Z",
            "2026-02-28T23:59:59+01:00",
        ] {
            assert!(!is_utc(bad), "{bad}");
        }
    }

    #[test]
    fn every_type_of_frame_has_its_shape() {
        let shapes: Vec<_> = SHAPES.iter().map(|(kind, _)| *kind).collect();
        for kind in ServerKind::ALL {
            assert!(shapes.contains(&kind.as_str()), "{}", kind.as_str());
        }
        assert_eq!(shapes.len(), ServerKind::ALL.len());
    }

    #[test]
    fn a_frame_without_its_fields_is_none() {
        let check = |text: &str, rule: Rule| assert_eq!(Frame::read(text).err().map(|b| b.rule), Some(rule), "{text}");
        check("[]", Rule::Shape);
        check(r#"{"x":1}"#, Rule::Shape);
        check(r#"{"type":"pong"}"#, Rule::Shape);
        check(r#"{"type":"pong","timestamp":"now"}"#, Rule::Shape);
        check(r#"{"type":"pong","type":"pong","timestamp":"2026-02-28T23:59:59Z"}"#, Rule::Shape);
        let error = |code: &str, retryable: bool| {
            format!(
                r#"{{"type":"error","message":"m","timestamp":"2026-02-28T23:59:59Z","code":"{code}","retryable":{retryable}}}"#
            )
        };
        check(&error("nothing_like_it", false), Rule::ErrorCode);
        check(&error("overloaded", false), Rule::ErrorCode);
        assert!(Frame::read(&error("overloaded", true)).is_ok());
        assert!(Frame::read(r#"{"type":"from the future"}"#).is_ok());
    }
}
