//! What a client has sent, and which frames may answer it.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};

use super::frame::{Frame, Reference};
use super::place::Since;
use crate::code::NoticeCode;
use crate::id::Uuid;
use crate::wire::decode;
use crate::wire::json::{self, Field, Value};

/// A frame that a client has sent.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) reference: Option<Reference>,
    pub(super) ask: Ask,
    /// The session that it concerns, as far as that is known.
    pub(super) concerns: Option<Uuid>,
    /// The largest `seq` of it that a client knew of when this was sent.
    pub(super) known_seq: u64,
}

/// What a frame asks for, as far as its answer depends on it.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Join {
        session: Option<Uuid>,
        since: Option<Since>,
    },
    Create,
    Leave,
    Say(Said),
    /// A chat message that begins with `/`.
    Command,
    /// Of this message, or of the conversation's last.
    Regenerate {
        message: Option<Uuid>,
    },
    Ping,
    Invite,
    Rename {
        session: Option<Uuid>,
    },
    Delete {
        session: Option<Uuid>,
    },
    List,
    History {
        before: Option<u64>,
        limit: Option<u64>,
    },
    Authenticate,
    /// Silence is the answer, if it is done.
    Quiet,
    /// Nothing that the protocol has.
    Unknown,
}

/// A message that somebody wants to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) content: String,
    pub(super) client_id: Option<String>,
    pub(super) branch: Branch,
}

/// Where a message is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Branch {
    /// Where the conversation is.
    On,
    /// After this one; after what it answers, if it is an answer under way.
    After(Uuid),
    /// Beside this one, with the same parent.
    Beside(Uuid),
}

impl Question {
    /// Reads what a client sends, which may be anything; `None` for what is no frame and so gets no answer of its own.
    pub(super) fn read(text: &str) -> Option<Question> {
        let fields = json::fields(text).ok()?;
        let get = |name: &str| get(&fields, name);
        let reference = get("id").and_then(Reference::of);
        let id = |name| string(get(name)).and_then(|text| decode::uuid(&text));
        let ask = match string(get("type")).as_deref() {
            Some("join_session") => {
                let since = match get("since") {
                    Some(Value::Object(text)) => Since::read(text),
                    _ => None,
                };
                Ask::Join { session: id("session_id"), since }
            }
            Some("create_session") => Ask::Create,
            Some("leave_session") => Ask::Leave,
            Some("chat_message") => {
                let content = string(get("message")).unwrap_or_default();
                match content.trim().strip_prefix('/') {
                    Some(_) => Ask::Command,
                    None => Ask::Say(Said {
                        content,
                        client_id: string(get("client_id")),
                        branch: id("parent").map_or(Branch::On, Branch::After),
                    }),
                }
            }
            Some("edit_message") => Ask::Say(Said {
                content: string(get("message")).unwrap_or_default(),
                client_id: string(get("client_id")),
                branch: id("message_id").map_or(Branch::On, Branch::Beside),
            }),
            Some("regenerate") => Ask::Regenerate { message: id("message_id") },
            Some("ping") => Ask::Ping,
            Some("invite") => Ask::Invite,
            Some("rename_session") => Ask::Rename { session: id("session_id") },
            Some("delete_session") => Ask::Delete { session: id("session_id") },
            Some("list_sessions") => Ask::List,
            Some("history") => Ask::History { before: whole(get("before")), limit: whole(get("limit")) },
            Some("authenticate") => Ask::Authenticate,
            Some("stop_generation" | "typing") => Ask::Quiet,
            _ => Ask::Unknown,
        };
        Some(Question { reference, ask, concerns: None, known_seq: 0 })
    }

    /// Whether a frame of this type may be the answer. An `error` always may.
    pub(super) fn may_be_answered_by(&self, kind: &str, frame: &Frame<'_>) -> bool {
        let of_session = |wanted: Option<Uuid>| wanted.is_none() || frame.id("session_id").ok() == wanted;
        match (&self.ask, kind) {
            (_, "error")
            | (Ask::Create, "session_joined")
            | (Ask::Leave, "session_left")
            | (Ask::Command, "command_response")
            | (Ask::Regenerate { .. }, "ack")
            | (Ask::Ping, "pong")
            | (Ask::Invite, "invited")
            | (Ask::List, "session_list")
            | (Ask::History { .. }, "history_page") => true,
            (Ask::Join { session, .. }, "session_joined") => session.is_some() && of_session(*session),
            (Ask::Say(said), "ack") => frame.maybe_text("client_id").is_ok_and(|id| id == said.client_id.as_deref()),
            (Ask::Rename { session }, "session_renamed") | (Ask::Delete { session }, "session_deleted") => {
                of_session(*session)
            }
            (Ask::Authenticate, "notice") => frame.notice() == Some(NoticeCode::TokenRenewed),
            _ => false,
        }
    }

    /// Whether a `session_joined` says nothing that this frame does not ask for.
    pub(super) fn explains(&self, kind: &str, frame: &Frame<'_>) -> bool {
        kind != "session_joined"
            || frame.boolean("resumed").is_ok_and(|resumed| !resumed)
            || matches!(&self.ask, Ask::Join { since: Some(since), .. } if frame.text("epoch").is_ok_and(|epoch| epoch == since.epoch))
    }

    /// Whether silence is an answer too: what was asked is seen in the session, or changes nothing that anybody sees.
    pub(super) fn may_stay_unanswered(&self) -> bool {
        matches!(self.ask, Ask::Quiet | Ask::Rename { .. } | Ask::Delete { .. })
    }

    /// Whether it need not be remembered if it has no `id`: at most an `error` comes, and that could be any frame's.
    pub(super) fn gets_no_answer_of_its_own(&self) -> bool {
        matches!(self.ask, Ask::Quiet | Ask::Unknown)
    }

    /// Whether it puts the client into a session.
    pub(super) fn enters(&self) -> bool {
        matches!(self.ask, Ask::Join { .. } | Ask::Create)
    }
}

/// A field that is there and not null; of repeated ones the last counts.
pub(super) fn get<'a, 'f>(fields: &'f [Field<'a>], name: &str) -> Option<&'f Value<'a>> {
    fields.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value).filter(|value| **value != Value::Null)
}

pub(super) fn string(value: Option<&Value<'_>>) -> Option<String> {
    match value {
        Some(Value::String(text)) => Some(Cow::to_string(text)),
        _ => None,
    }
}

pub(super) fn whole(value: Option<&Value<'_>>) -> Option<u64> {
    match value {
        Some(Value::Number(text)) => text.parse().ok(),
        _ => None,
    }
}
