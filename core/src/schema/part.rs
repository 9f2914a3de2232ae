//! What frames consist of: ids, and objects inside of frames.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value};

use crate::id::{MessageId, SessionId, Uuid};
use crate::limits;
use crate::wire::decode;

/// A client's own id of a frame, echoed as `ref`: a string or a number of at most [`limits::REF_BYTES`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FrameId {
    /// A string.
    Text(String),
    /// A number; it comes back as it was written.
    Number(Number),
}

impl Serialize for FrameId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            FrameId::Text(text) => serializer.serialize_str(text),
            FrameId::Number(number) => number.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for FrameId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FrameId, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(FrameId::Text(text)),
            Value::Number(number) => Ok(FrameId::Number(number)),
            _ => Err(D::Error::custom("an id is a string or a number")),
        }
    }
}

impl JsonSchema for FrameId {
    fn schema_name() -> Cow<'static, str> {
        "FrameId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A client's own id of a frame, echoed as `ref` in what answers it.",
            "type": ["string", "number"],
            "maxLength": limits::REF_BYTES,
            "x-max-bytes": limits::REF_BYTES,
        })
    }
}

impl Serialize for Uuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        decode::uuid(&text).ok_or_else(|| D::Error::custom("a UUID has 32 hexadecimal digits and four hyphens"))
    }
}

impl JsonSchema for Uuid {
    fn schema_name() -> Cow<'static, str> {
        "Uuid".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A UUID with hyphens (RFC 9562, section 4); the server writes lower case.",
            "type": "string",
            "format": "uuid",
            "pattern": "^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$",
        })
    }
}

/// Ids are UUIDs on the wire.
macro_rules! as_uuid {
    ($($id:ident)+) => {$(
        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$id, D::Error> {
                Uuid::deserialize(deserializer).map($id)
            }
        }

        impl JsonSchema for $id {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($id).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                generator.subschema_for::<Uuid>()
            }
        }
    )+};
}

as_uuid!(SessionId MessageId);

/// The last thing that a client knows of a session: from there it wants to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Since {
    /// As `session_joined` told it. Another one is never resumed.
    #[schemars(length(max = limits::FIELD_BYTES), extend("x-max-bytes" = limits::FIELD_BYTES))]
    pub epoch: String,
    /// The `seq` of the last `message` that the client has, or that `session_joined` told if it has none since.
    #[schemars(range(max = limits::MAX_INTEGER))]
    pub seq: u64,
    /// The answer that the client has deltas of, and not yet the `message`. Counts only together with `offset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// How many bytes (UTF-8) of that answer the client has. Counts only together with `message_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = limits::MAX_INTEGER))]
    pub offset: Option<u64>,
}

/// How the client wants its answer sampled. What is left out is the server's to choose.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sampling {
    /// 0 is greedy; higher is more random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *limits::TEMPERATURE.start(), max = *limits::TEMPERATURE.end()))]
    pub temperature: Option<f64>,
    /// Only the k likeliest tokens; 0 for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = u32::MAX))]
    pub top_k: Option<u32>,
    /// Only the likeliest tokens that together have this probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *limits::PROBABILITY.start(), max = *limits::PROBABILITY.end()))]
    pub top_p: Option<f64>,
    /// Only tokens with at least this part of the likeliest one's probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *limits::PROBABILITY.start(), max = *limits::PROBABILITY.end()))]
    pub min_p: Option<f64>,
    /// Divides the logits of tokens seen lately; 1 changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *limits::REPETITION_PENALTY.start(), max = *limits::REPETITION_PENALTY.end()))]
    pub repetition_penalty: Option<f64>,
    /// At most this many tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::MAX_TOKENS))]
    pub max_tokens: Option<u32>,
    /// The same seed, prompt and sampling give the same text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = limits::MAX_INTEGER))]
    pub seed: Option<u64>,
    /// Text that ends the answer and is not part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
}

/// One stop string or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Stop {
    /// One.
    One(String),
    /// At most [`limits::STOP_STRINGS`].
    Many(Vec<String>),
}

impl JsonSchema for Stop {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Stop".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": limits::STOP_BYTES,
            "x-max-bytes": limits::STOP_BYTES,
        });
        json_schema!({ "anyOf": [one, { "type": "array", "maxItems": limits::STOP_STRINGS, "items": one }] })
    }
}

/// What a user may do beyond their own sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Role {
    /// Nothing.
    User,
    /// Administer the server.
    Admin,
}

/// Who speaks in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Speaker {
    /// A person.
    User,
    /// The model.
    Assistant,
    /// The server, or a session's instructions.
    System,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum FinishReason {
    /// The model said so, or a stop string came.
    Stop,
    /// `max_tokens`, or the context or the answer's room is full.
    Length,
    /// Somebody stopped it; the text so far is kept.
    Stopped,
    /// It broke after it had said something.
    Error,
}

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum PresenceEvent {
    /// Their first connection is in the session.
    Joined,
    /// Their last one is out of it.
    Left,
}

/// Somebody who is in a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Participant {
    /// The token's `sub`.
    pub user_id: String,
    /// Their name.
    pub username: String,
}

/// Tokens that an answer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Of the whole prompt.
    pub prompt_tokens: u32,
    /// Of those, found in the cache.
    pub cached_tokens: u32,
    /// Produced.
    pub completion_tokens: u32,
}

/// How fast an answer was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timings {
    /// From the request to its first token, in milliseconds.
    pub first_token_ms: f64,
    /// After the first token; `null` where it cannot be told.
    pub tokens_per_second: Option<f64>,
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionEntry {
    /// Its id.
    pub session_id: SessionId,
    /// Its title.
    pub session_title: String,
    /// The user id of its owner.
    pub owner: String,
    /// When it was created.
    #[schemars(extend("format" = "date-time"))]
    pub created: String,
    /// When its last message came, or it was created.
    #[schemars(extend("format" = "date-time"))]
    pub active: String,
    /// When it ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub ended: Option<String>,
    /// How many messages it has.
    pub messages: u64,
}

impl From<&str> for FrameId {
    fn from(text: &str) -> FrameId {
        FrameId::Text(text.to_string())
    }
}

impl From<u64> for FrameId {
    fn from(number: u64) -> FrameId {
        FrameId::Number(number.into())
    }
}
