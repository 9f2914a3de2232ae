//! A server's frame as clients read it: by a JSON reader that is not ours.

use causerie_core::{MessageId, SessionId, Uuid};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

/// What kind of frame it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    ConnectionEstablished,
    SessionJoined,
    SessionLeft,
    SessionRenamed,
    SessionDeleted,
    SessionEnded,
    SessionList,
    Message,
    MessageDelta,
    Typing,
    Presence,
    Ack,
    Pong,
    Error,
    Notice,
    Invited,
    HistoryPage,
    CommandResponse,
}

/// All the fields that some frame has.
#[derive(Clone, Debug, Deserialize)]
pub struct Frame {
    #[serde(rename = "type")]
    pub kind: Kind,
    #[serde(default, deserialize_with = "session")]
    pub session_id: Option<SessionId>,
    #[serde(default, deserialize_with = "message")]
    pub id: Option<MessageId>,
    #[serde(default, deserialize_with = "message")]
    pub message_id: Option<MessageId>,
    #[serde(default, deserialize_with = "message")]
    pub parent: Option<MessageId>,
    #[serde(rename = "ref")]
    pub reference: Option<u64>,
    pub role: Option<String>,
    #[serde(default)]
    pub content: String,
    pub seq: Option<u64>,
    pub offset: Option<u64>,
    pub epoch: Option<String>,
    pub resumed: Option<bool>,
    pub is_typing: Option<bool>,
    pub code: Option<String>,
    pub client_id: Option<String>,
    pub user_id: Option<String>,
    pub session_title: Option<String>,
    pub participants: Option<Vec<Participant>>,
    pub messages: Option<Vec<Frame>>,
    pub retry_after_ms: Option<u64>,
    /// As it was sent.
    #[serde(skip)]
    pub text: Box<str>,
}

/// Somebody who is in a session.
#[derive(Clone, Debug, Deserialize)]
pub struct Participant {
    pub user_id: String,
}

impl Frame {
    /// Reads a frame, or panics because no client could.
    pub fn read(text: &str) -> Frame {
        match serde_json::from_str::<Frame>(text) {
            Ok(frame) => Frame { text: text.into(), ..frame },
            Err(error) => panic!("a client cannot read {text}: {error}"),
        }
    }
}

fn uuid<'de, D: Deserializer<'de>>(from: D) -> Result<Uuid, D::Error> {
    let text = String::deserialize(from)?;
    let digits: String = text.split('-').collect();
    match u128::from_str_radix(&digits, 16) {
        Ok(value) if digits.len() == 32 && text.len() == 36 => Ok(Uuid(value.to_be_bytes())),
        _ => Err(D::Error::custom(format!("not a UUID: {text}"))),
    }
}

fn session<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SessionId>, D::Error> {
    uuid(from).map(|id| Some(SessionId(id)))
}

fn message<'de, D: Deserializer<'de>>(from: D) -> Result<Option<MessageId>, D::Error> {
    uuid(from).map(|id| Some(MessageId(id)))
}
