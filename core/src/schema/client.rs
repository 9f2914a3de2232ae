//! The fields of a client's frames. A field that may be left out may also be `null`.

use alloc::string::String;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::part::{FrameId, Sampling, Since};
use crate::id::{MessageId, SessionId};
use crate::limits;

/// Enters a session; a connection is in one at a time. With `since` it goes on exactly where it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JoinSession {
    /// The client's own id of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
    /// Which session.
    pub session_id: SessionId,
    /// What the client knows of it already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
}

/// Says something, or runs a command if it begins with `/`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChatMessage {
    /// The client's own id of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
    /// The text; not only white space.
    #[schemars(length(min = 1, max = default_message_bytes()), extend("x-max-bytes" = default_message_bytes()))]
    pub message: String,
    /// The client's own id of the message: repeating it is safe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::CLIENT_ID_BYTES), extend("x-max-bytes" = limits::CLIENT_ID_BYTES))]
    pub client_id: Option<String>,
    /// The message that this one follows; otherwise the conversation's last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<MessageId>,
    /// How its answer is to be sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
}

/// Asks for a `pong`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ping {
    /// The client's own id of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
}

/// Makes a session and enters it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateSession {
    /// The client's own id of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
    /// Shown to people; "New chat" where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::TITLE_BYTES), extend("x-max-bytes" = limits::TITLE_BYTES))]
    pub title: Option<String>,
    /// Instructions to the model, for the whole session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = default_message_bytes()), extend("x-max-bytes" = default_message_bytes()))]
    pub system: Option<String>,
}

/// Leaves the session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaveSession {
    /// The client's own id of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
}

/// Stops the answer that is being generated; its text so far is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StopGeneration {
    /// The client's own id of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
    /// Only if this is the answer under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
}

/// Asks for another answer beside the one there is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Regenerate {
    /// The client's own id of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
    /// An answer to be made anew, or a user's message to be answered; otherwise the conversation's last message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// How the answer is to be sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
}

/// Says something else beside an earlier message of one's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EditMessage {
    /// The client's own id of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
    /// The message to stand beside: the new one gets the same `parent`.
    pub message_id: MessageId,
    /// The text; not only white space. A `/` at its beginning is text.
    #[schemars(length(min = 1, max = default_message_bytes()), extend("x-max-bytes" = default_message_bytes()))]
    pub message: String,
    /// The client's own id of the new message: repeating it is safe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::CLIENT_ID_BYTES), extend("x-max-bytes" = limits::CLIENT_ID_BYTES))]
    pub client_id: Option<String>,
    /// How its answer is to be sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
}

/// Asks for a page of the session's messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// The client's own id of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
    /// Only messages with a smaller `seq`; otherwise the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = limits::MAX_INTEGER))]
    pub before: Option<u64>,
    /// At most this many messages; more than the server's limit counts as the limit, 0 as 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = limits::MAX_INTEGER), extend("default" = limits::PAGE_MESSAGES_DEFAULT))]
    pub limit: Option<u64>,
}

/// Tells the others that this user types, or has stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Typing {
    /// The client's own id of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
    /// Whether they type.
    pub is_typing: bool,
}

/// Lets a user join the session; for its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Invite {
    /// The client's own id of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
    /// Whom; they need not have been here before.
    #[schemars(length(min = 1, max = limits::USERNAME_BYTES), extend("x-max-bytes" = limits::USERNAME_BYTES))]
    pub username: String,
}

/// Gives a session another title; for its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RenameSession {
    /// The client's own id of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
    /// The new title; made one line.
    #[schemars(length(min = 1, max = limits::TITLE_BYTES), extend("x-max-bytes" = limits::TITLE_BYTES))]
    pub title: String,
    /// Which session; otherwise the one that the connection is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
}

/// Deletes a session and all its messages, for good; for its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeleteSession {
    /// The client's own id of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
    /// Which session; otherwise the one that the connection is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
}

/// Asks for the user's sessions, the most recently active first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListSessions {
    /// The client's own id of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
    /// At most this many; more than the server's limit counts as the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = limits::MAX_INTEGER), extend("default" = limits::LISTED_SESSIONS))]
    pub limit: Option<u64>,
}

/// Gives a fresh token, before the connection's old one expires.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Authenticate {
    /// The client's own id of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
    /// The token, of the same user.
    #[schemars(length(max = limits::TOKEN_BYTES), extend("x-max-bytes" = limits::TOKEN_BYTES))]
    pub token: String,
}

/// An operator may set it otherwise; the schema tells the default.
fn default_message_bytes() -> usize {
    limits::Limits::default().message_bytes
}
