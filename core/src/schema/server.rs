//! The fields of the server's frames. What may be left out is never `null`.
//!
//! `timestamp`s are RFC 3339 in UTC with microseconds. `ref` is the `id` of the client's frame that is answered.

use alloc::string::String;
use alloc::vec::Vec;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

use super::part::{FinishReason, FrameId, Participant, PresenceEvent, Role, SessionEntry, Speaker, Timings, Usage};
use crate::code::{ErrorCode, NoticeCode};
use crate::id::{MessageId, SessionId};
use crate::limits;

/// The token is good: the first frame of every connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ConnectionEstablished {
    /// "Connected as NAME".
    pub message: String,
    /// The token's `sub`.
    pub user_id: String,
    /// The name that others see.
    pub username: String,
    /// What the user may do.
    pub role: Role,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// The connection is in a session now: the answer to `create_session` and `join_session`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct SessionJoined {
    /// What it answers.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<FrameId>,
    /// Which session.
    pub session_id: SessionId,
    /// Its title.
    pub session_title: String,
    /// This life of the server: to be told in `since`.
    pub epoch: String,
    /// The `seq` of the session's last message, 0 when it has none.
    pub seq: u64,
    /// Whether exactly what the client misses follows. Otherwise it must take the history anew.
    pub resumed: bool,
    /// The user id of the session's owner.
    pub owner: String,
    /// The message from which the conversation goes on, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message: Option<MessageId>,
    /// Who is in the session, each user once, this one included.
    #[schemars(length(max = limits::MEMBERS))]
    pub participants: Vec<Participant>,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// A message that is stored. An assistant's comes whole, after its deltas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Message {
    /// Which session.
    pub session_id: SessionId,
    /// Its id.
    pub id: MessageId,
    /// Its place in the session: without gaps, from 1.
    #[schemars(range(min = 1))]
    pub seq: u64,
    /// The message that it follows or answers; the first one has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<MessageId>,
    /// Who speaks.
    pub role: Speaker,
    /// The text.
    pub content: String,
    /// The author's user id, of a user's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The author's name, of a user's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The author's own id of it, if they gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Why it ended, of an assistant's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<FinishReason>,
    /// What it took, of an assistant's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// How fast it was, of an assistant's message that comes live and not from storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
    /// When it was stored.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// A piece of the answer that is being generated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct MessageDelta {
    /// Which session.
    pub session_id: SessionId,
    /// The id that the answer will have.
    pub message_id: MessageId,
    /// Where the piece begins, in bytes (UTF-8) of the answer: as many as the pieces before it have.
    #[schemars(range(max = limits::ANSWER_BYTES))]
    pub offset: u64,
    /// The piece: whole characters.
    #[schemars(length(min = 1, max = limits::DELTA_BYTES), extend("x-max-bytes" = limits::DELTA_BYTES))]
    pub content: String,
}

/// Somebody types or has stopped: the assistant (`role`, `message_id`) or a user (`user_id`, `username`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = [{ "required": ["role", "message_id"] }, { "required": ["user_id", "username"] }]))]
#[non_exhaustive]
pub struct Typing {
    /// Which session.
    pub session_id: SessionId,
    /// Whether they type.
    pub is_typing: bool,
    /// `assistant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Speaker>,
    /// The id that the answer will have, if it gets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// The message that is answered, when the answer begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<MessageId>,
    /// Which user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Their name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// A message is stored and will not be lost, or the wish for another answer is taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Ack {
    /// What it answers.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<FrameId>,
    /// Which session.
    pub session_id: SessionId,
    /// The client's own id of the message, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The message's id; after `regenerate`, that of the message to be answered.
    pub message_id: MessageId,
    /// The message's place in the session.
    #[schemars(range(min = 1))]
    pub seq: u64,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// What the client asked is refused, or an answer failed. The connection lives on unless a close follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Error {
    /// What it answers.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<FrameId>,
    /// Of a failed answer: in which session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// For people.
    pub message: String,
    /// For programs: an [`ErrorCode`]; new ones may come.
    #[schemars(schema_with = "error_code")]
    pub code: String,
    /// Whether the same frame may succeed later.
    pub retryable: bool,
    /// When, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The answer that failed after some deltas: drop them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// More about the reason, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// The answer to `ping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Pong {
    /// What it answers.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<FrameId>,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// The answer to a command, for its asker alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct CommandResponse {
    /// What it answers.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<FrameId>,
    /// The session that the connection is in, if it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// The command, in lower case.
    pub command: String,
    /// The answer, for people.
    pub content: String,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// Another user has come into the session or is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Presence {
    /// Which session.
    pub session_id: SessionId,
    /// Who.
    pub user_id: String,
    /// Their name.
    pub username: String,
    /// What they did.
    pub event: PresenceEvent,
    /// Who is in the session now, each user once.
    #[schemars(length(max = limits::MEMBERS))]
    pub participants: Vec<Participant>,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// A page of the session's messages: the answer to `history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct HistoryPage {
    /// What it answers.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<FrameId>,
    /// Which session.
    pub session_id: SessionId,
    /// As `message` frames, by rising `seq`.
    #[serde(serialize_with = "with_type")]
    #[schemars(schema_with = "messages")]
    pub messages: Vec<Message>,
    /// Whether there are older ones.
    pub more: bool,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// The user's sessions: the answer to `list_sessions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct SessionList {
    /// What it answers.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<FrameId>,
    /// The most recently active first.
    #[schemars(length(max = limits::LISTED_SESSIONS))]
    pub sessions: Vec<SessionEntry>,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// A user may join a session: to its owner, and to that user on all their connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Invited {
    /// What it answers.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<FrameId>,
    /// Which session.
    pub session_id: SessionId,
    /// Its title.
    pub session_title: String,
    /// Who may join.
    pub username: String,
    /// Who let them: a name.
    pub by: String,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// A session has another title.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct SessionRenamed {
    /// What it answers, if the asker is not in the session.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<FrameId>,
    /// Which session.
    pub session_id: SessionId,
    /// Its title from now on.
    pub session_title: String,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// The connection has left the session: the answer to `leave_session`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct SessionLeft {
    /// What it answers.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<FrameId>,
    /// Which session.
    pub session_id: SessionId,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// The session takes no more messages, and nobody is in it any more. Its messages are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct SessionEnded {
    /// What it answers, if the asker is not in the session.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<FrameId>,
    /// Which session.
    pub session_id: SessionId,
    /// "Session ended by NAME".
    pub message: String,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// The session and all its messages are gone, and nobody is in it any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct SessionDeleted {
    /// What it answers, if the asker is not in the session.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<FrameId>,
    /// Which session.
    pub session_id: SessionId,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// Something that the client should know, and that went wrong for nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Notice {
    /// What it answers.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<FrameId>,
    /// Which session it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// For programs: a [`NoticeCode`]; new ones may come.
    #[schemars(schema_with = "notice_code")]
    pub code: String,
    /// For people.
    pub message: String,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: String,
}

/// Codes that are known, and any others that may come.
fn open_list(known: &[&str]) -> Schema {
    json_schema!({ "type": "string", "anyOf": [{ "enum": known }, { "pattern": "^[a-z][a-z_]*$" }] })
}

fn error_code(_: &mut SchemaGenerator) -> Schema {
    open_list(&ErrorCode::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>())
}

fn notice_code(_: &mut SchemaGenerator) -> Schema {
    open_list(&NoticeCode::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>())
}

/// The messages of a page are whole frames.
#[derive(Serialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    message: &'a Message,
}

fn with_type<S: Serializer>(messages: &[Message], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(messages.iter().map(|message| Frame { kind: "message", message }))
}

fn messages(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": limits::PAGE_MESSAGES, "items": { "$ref": "#/$defs/message" } })
}
