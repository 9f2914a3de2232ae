//! A client's frame as a typed value: [`ClientFrame`], or [`Refused`] with the error to answer.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::json::{self, Field, Problem, SyntaxError, Value};
use super::kind::ClientKind as Kind;
use super::sampling::Sampling;
use crate::id::{MessageId, SessionId, Uuid};
use crate::limits;
use crate::refusal::Code;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ClientFrame<'a> {
    /// `None`: an id that no session can have.
    JoinSession {
        session: Option<SessionId>,
        since: Option<Since<'a>>,
    },
    ChatMessage(ChatMessage<'a>),
    Ping,
    CreateSession {
        title: Option<Cow<'a, str>>,
        system: Option<Cow<'a, str>>,
    },
    LeaveSession,
    StopGeneration {
        message: Option<MessageId>,
    },
    /// `None`: of the message that the conversation has come to.
    Regenerate {
        message: Option<MessageId>,
        sampling: Sampling,
    },
    /// What is to stand beside the message `edited`.
    EditMessage {
        edited: MessageId,
        message: ChatMessage<'a>,
    },
    History {
        before: Option<u64>,
        limit: Option<u64>,
    },
    Typing {
        is_typing: bool,
    },
    Invite {
        username: Cow<'a, str>,
    },
    RenameSession {
        session: Option<SessionId>,
        title: Cow<'a, str>,
    },
    DeleteSession {
        session: Option<SessionId>,
    },
    ListSessions {
        limit: Option<u64>,
    },
    Authenticate {
        token: Cow<'a, str>,
    },
}

/// What a client wants said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChatMessage<'a> {
    pub(crate) message: Cow<'a, str>,
    pub(crate) client_id: Option<Cow<'a, str>>,
    pub(crate) parent: Option<MessageId>,
    pub(crate) sampling: Sampling,
}

/// The last thing that a client knows of a session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Since<'a> {
    pub(crate) epoch: Cow<'a, str>,
    pub(crate) seq: u64,
    /// The assistant's message that it knows a part of, and how many bytes.
    pub(crate) partial: Option<(MessageId, u64)>,
}

/// A frame that is not one of the protocol: what to answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refused {
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// A frame's `id` as JSON text, which its answer carries as `ref`, and what the frame says.
pub(crate) type Decoded<'a> = (Option<String>, Result<ClientFrame<'a>, Refused>);

/// Reads a frame. Unknown fields are passed over; of repeated ones the last counts, as in most readers of JSON.
pub(crate) fn decode(text: &str, message_bytes: usize) -> Decoded<'_> {
    let fields = match json::fields(text) {
        Ok(fields) => Fields(fields),
        Err(error) => return (None, Err(syntax(error))),
    };
    match fields.reference() {
        Ok(reference) => (reference, frame(&fields, message_bytes)),
        Err(refused) => (None, Err(refused)),
    }
}

/// Only a frame's `id`, for an answer that does not depend on the rest.
pub(crate) fn reference(text: &str) -> Option<String> {
    Fields(json::fields(text).ok()?).reference().ok()?
}

fn frame<'a>(fields: &Fields<'a>, message_bytes: usize) -> Result<ClientFrame<'a>, Refused> {
    let Some(kind) = fields.string("type", limits::FIELD_BYTES)? else {
        return Err(missing("type"));
    };
    let Some(known) = Kind::parse(&kind) else {
        return Err(Refused { code: Code::UnknownType, message: format!("Unknown message type: {kind}") });
    };
    Ok(match known {
        Kind::JoinSession => ClientFrame::JoinSession {
            session: uuid(&fields.required("session_id", limits::FIELD_BYTES)?).map(SessionId),
            since: fields.since()?,
        },
        Kind::ChatMessage => {
            let parent = fields.message_id("parent")?;
            ClientFrame::ChatMessage(fields.chat_message(message_bytes, parent)?)
        }
        Kind::Ping => ClientFrame::Ping,
        Kind::CreateSession => ClientFrame::CreateSession {
            title: fields.title()?,
            system: fields.bounded("system", message_bytes, Code::MessageTooLong)?,
        },
        Kind::LeaveSession => ClientFrame::LeaveSession,
        Kind::StopGeneration => ClientFrame::StopGeneration { message: fields.message_id("message_id")? },
        Kind::Regenerate => {
            ClientFrame::Regenerate { message: fields.message_id("message_id")?, sampling: fields.sampling()? }
        }
        Kind::EditMessage => ClientFrame::EditMessage {
            edited: fields.message_id("message_id")?.ok_or_else(|| missing("message_id"))?,
            message: fields.chat_message(message_bytes, None)?,
        },
        Kind::History => ClientFrame::History { before: fields.integer("before")?, limit: fields.integer("limit")? },
        Kind::Typing => {
            ClientFrame::Typing { is_typing: fields.boolean("is_typing")?.ok_or_else(|| missing("is_typing"))? }
        }
        Kind::Invite => ClientFrame::Invite { username: fields.username()? },
        Kind::RenameSession => ClientFrame::RenameSession {
            session: fields.session_id()?,
            title: fields.title()?.ok_or_else(|| missing("title"))?,
        },
        Kind::DeleteSession => ClientFrame::DeleteSession { session: fields.session_id()? },
        Kind::ListSessions => ClientFrame::ListSessions { limit: fields.integer("limit")? },
        Kind::Authenticate => ClientFrame::Authenticate {
            token: fields.bounded("token", limits::TOKEN_BYTES, Code::TokenTooLong)?.ok_or_else(|| missing("token"))?,
        },
    })
}

fn syntax(error: SyntaxError) -> Refused {
    match error.problem {
        // The base protocol's text, to the letter.
        Problem::Expected(_) => Refused { code: Code::InvalidJson, message: "Invalid JSON format".to_string() },
        Problem::TooManyFields => Refused {
            code: Code::InvalidJson,
            message: format!("Invalid JSON format: more than {} fields in one object", limits::FIELDS),
        },
        Problem::TooDeep => Refused {
            code: Code::TooDeeplyNested,
            message: format!("Nested deeper than {} levels at byte {}", limits::NESTING, error.offset),
        },
    }
}

fn invalid(message: String) -> Refused {
    Refused { code: Code::InvalidField, message }
}

fn missing(name: &str) -> Refused {
    invalid(format!("Field `{name}` is missing"))
}

fn wrong(name: &str, expected: &str, got: &Value<'_>) -> Refused {
    invalid(format!("Field `{name}` must be {expected}, got {}", got.kind()))
}

/// A UUID as [`Uuid`] reads it.
pub(crate) fn uuid(text: &str) -> Option<Uuid> {
    text.parse().ok()
}

struct Fields<'a>(Vec<Field<'a>>);

impl<'a> Fields<'a> {
    /// A field that is there and not null.
    fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v).filter(|v| **v != Value::Null)
    }

    /// A string of at most `limit` bytes.
    fn bounded(&self, name: &str, limit: usize, code: Code) -> Result<Option<Cow<'a, str>>, Refused> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() > limit => {
                Err(Refused { code, message: format!("Field `{name}` has {} bytes, more than {limit}", text.len()) })
            }
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(wrong(name, "a string", other)),
        }
    }

    fn string(&self, name: &str, limit: usize) -> Result<Option<Cow<'a, str>>, Refused> {
        self.bounded(name, limit, Code::InvalidField)
    }

    fn required(&self, name: &str, limit: usize) -> Result<Cow<'a, str>, Refused> {
        self.string(name, limit)?.ok_or_else(|| missing(name))
    }

    fn boolean(&self, name: &str) -> Result<Option<bool>, Refused> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong(name, "a boolean", other)),
        }
    }

    /// A whole number that every reader of JSON keeps exactly.
    fn integer(&self, name: &str) -> Result<Option<u64>, Refused> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Number(text)) => match text.parse::<u64>() {
                Ok(value) if value <= limits::MAX_INTEGER => Ok(Some(value)),
                _ => Err(invalid(format!(
                    "Field `{name}` must be an integer from 0 to {}, got {}",
                    limits::MAX_INTEGER,
                    shortened(text)
                ))),
            },
            Some(other) => Err(wrong(name, "an integer", other)),
        }
    }

    /// A whole number from 0 to `most`.
    fn small(&self, name: &str, most: u32) -> Result<Option<u32>, Refused> {
        match self.integer(name)? {
            None => Ok(None),
            Some(value) => match u32::try_from(value) {
                Ok(value) if value <= most => Ok(Some(value)),
                _ => Err(invalid(format!("Field `{name}` must be an integer from 0 to {most}, got {value}"))),
            },
        }
    }

    fn decimal(&self, name: &str, range: &core::ops::RangeInclusive<f64>) -> Result<Option<f32>, Refused> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Number(text)) => match text.parse::<f64>() {
                Ok(value) if range.contains(&value) => Ok(Some(value as f32)),
                _ => Err(invalid(format!(
                    "Field `{name}` must be a number from {} to {}, got {}",
                    range.start(),
                    range.end(),
                    shortened(text)
                ))),
            },
            Some(other) => Err(wrong(name, "a number", other)),
        }
    }

    fn message_id(&self, name: &str) -> Result<Option<MessageId>, Refused> {
        let Some(text) = self.string(name, limits::FIELD_BYTES)? else { return Ok(None) };
        match uuid(&text) {
            Some(id) => Ok(Some(MessageId(id))),
            None => Err(invalid(format!("Field `{name}` must be a UUID, got {:?}", shortened(&text)))),
        }
    }

    fn session_id(&self) -> Result<Option<SessionId>, Refused> {
        let id = self.message_id("session_id")?;
        Ok(id.map(|MessageId(id)| SessionId(id)))
    }

    /// The client's own id of the frame, a string or a number, kept as JSON text.
    fn reference(&self) -> Result<Option<String>, Refused> {
        match self.get("id") {
            None => Ok(None),
            Some(Value::Number(text)) if text.len() <= limits::REF_BYTES => Ok(Some(text.to_string())),
            Some(Value::String(text)) if text.len() <= limits::REF_BYTES => {
                let mut json = String::with_capacity(text.len() + 2);
                super::encode::push_string(&mut json, text);
                Ok(Some(json))
            }
            Some(Value::Number(text)) => Err(too_long_id(text.len())),
            Some(Value::String(text)) => Err(too_long_id(text.len())),
            Some(other) => Err(wrong("id", "a string or a number", other)),
        }
    }

    fn chat_message(&self, message_bytes: usize, parent: Option<MessageId>) -> Result<ChatMessage<'a>, Refused> {
        // The base protocol calls a missing message an empty one.
        let message = self.bounded("message", message_bytes, Code::MessageTooLong)?.unwrap_or_default();
        Ok(ChatMessage {
            message,
            client_id: self.string("client_id", limits::CLIENT_ID_BYTES)?,
            parent,
            sampling: self.sampling()?,
        })
    }

    /// A session's title as one line, unless nothing is left of it.
    fn title(&self) -> Result<Option<Cow<'a, str>>, Refused> {
        let title = self.bounded("title", limits::TITLE_BYTES, Code::TitleTooLong)?;
        Ok(title.map(one_line).filter(|title| !title.is_empty()))
    }

    fn username(&self) -> Result<Cow<'a, str>, Refused> {
        let username = self.bounded("username", limits::USERNAME_BYTES, Code::UsernameTooLong)?;
        username.filter(|name| !name.trim().is_empty()).ok_or_else(|| missing("username"))
    }

    fn since(&self) -> Result<Option<Since<'a>>, Refused> {
        let text = match self.get("since") {
            None => return Ok(None),
            Some(Value::Object(text)) => text,
            Some(other) => return Err(wrong("since", "an object", other)),
        };
        let since = Fields(json::fields(text).expect("the frame around it was read, within the same limits"));
        let message = since.message_id("message_id")?;
        let offset = since.integer("offset")?;
        Ok(Some(Since {
            epoch: since.required("epoch", limits::FIELD_BYTES)?,
            seq: since.integer("seq")?.ok_or_else(|| missing("seq"))?,
            partial: message.zip(offset),
        }))
    }

    fn sampling(&self) -> Result<Sampling, Refused> {
        let text = match self.get("sampling") {
            None => return Ok(Sampling::default()),
            Some(Value::Object(text)) => text,
            Some(other) => return Err(wrong("sampling", "an object", other)),
        };
        let fields = Fields(json::fields(text).expect("the frame around it was read, within the same limits"));
        let max_tokens = fields.small("max_tokens", limits::MAX_TOKENS)?;
        if max_tokens == Some(0) {
            return Err(invalid("Field `max_tokens` must be at least 1, got 0".to_string()));
        }
        Ok(Sampling {
            temperature: fields.decimal("temperature", &limits::TEMPERATURE)?,
            top_k: fields.small("top_k", u32::MAX)?,
            top_p: fields.decimal("top_p", &limits::PROBABILITY)?,
            min_p: fields.decimal("min_p", &limits::PROBABILITY)?,
            repetition_penalty: fields.decimal("repetition_penalty", &limits::REPETITION_PENALTY)?,
            max_tokens,
            seed: fields.integer("seed")?,
            stop: fields.stop()?,
        })
    }

    /// One stop string or an array of them.
    fn stop(&self) -> Result<Vec<String>, Refused> {
        let values = match self.get("stop") {
            None => return Ok(Vec::new()),
            Some(text @ Value::String(_)) => Vec::from([text.clone()]),
            Some(Value::Array(text)) => {
                json::items(text).expect("the frame around it was read, within the same limits")
            }
            Some(other) => return Err(wrong("stop", "an array of strings", other)),
        };
        if values.len() > limits::STOP_STRINGS {
            let count = values.len();
            return Err(invalid(format!("Field `stop` has {count} strings, more than {}", limits::STOP_STRINGS)));
        }
        let mut stop = Vec::with_capacity(values.len());
        for value in values {
            match value {
                Value::String(text) if (1..=limits::STOP_BYTES).contains(&text.len()) => stop.push(text.into_owned()),
                Value::String(text) => {
                    let (len, most) = (text.len(), limits::STOP_BYTES);
                    return Err(invalid(format!("Field `stop` has a string of {len} bytes, not 1 to {most}")));
                }
                other => return Err(wrong("stop", "an array of strings", &other)),
            }
        }
        Ok(stop)
    }
}

/// Text without line breaks, other control characters and marks that turn the direction of what stands after it (Unicode
/// Standard Annex 9): in a list of titles, nobody's may pretend to be two, or disturb the next.
fn one_line(text: Cow<'_, str>) -> Cow<'_, str> {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || turns(c);
    if text.trim().len() == text.len() && !text.contains(breaks) {
        return text;
    }
    Cow::Owned(text.split(breaks).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "))
}

fn too_long_id(len: usize) -> Refused {
    invalid(format!("Field `id` has {len} bytes, more than {}", limits::REF_BYTES))
}

/// The beginning of what a peer wrote, short enough to be said back.
fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(40)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn uuids_are_read_as_they_are_written_and_in_either_case() {
        let mut rng = Rng::new([5; 32]);
        for _ in 0..100 {
            let id = rng.uuid();
            let text = id.to_string();
            assert_eq!((uuid(&text), uuid(&text.to_uppercase())), (Some(id), Some(id)));
            assert_eq!(
                (uuid(&text[1..]), uuid(&text.replace('-', "0")), uuid(&text.replace('-', "ä"))),
                (None, None, None)
            );
        }
    }

    #[test]
    fn a_title_is_one_line() {
        let frame = |title: &str| format!(r#"{{"type":"rename_session","title":"{title}"}}"#);
        for (sent, seen) in [("Tea  time", "Tea  time"), ("  Tea\\n\\ttime\\u202e!\\u0007", "Tea time !")] {
            let renamed = ClientFrame::RenameSession { session: None, title: Cow::Borrowed(seen) };
            assert_eq!(decode(&frame(sent), 100).1, Ok(renamed));
        }
        assert_eq!(decode(&frame(" \\n\\u2066 "), 100).1, Err(missing("title")));
    }

    #[test]
    fn frames_with_all_their_fields() {
        let id = "00000000-0000-4000-8000-00000000000a";
        let message = MessageId(uuid(id).expect("a UUID"));
        let since = Since { epoch: "e".into(), seq: 3, partial: Some((message, 12)) };
        let text = format!(
            r#"{{"since":{{"epoch":"e","seq":3,"message_id":"{id}","offset":12}},"session_id":"{id}","type":"join_session","id":"q"}}"#
        );
        let join = ClientFrame::JoinSession { session: Some(SessionId(message.0)), since: Some(since) };
        assert_eq!(decode(&text, 100), (Some("\"q\"".to_string()), Ok(join)));
        let text = r#"{"type":"list_sessions","limit":5,"limit":7}"#;
        assert_eq!(decode(text, 100), (None, Ok(ClientFrame::ListSessions { limit: Some(7) })));
    }
}
