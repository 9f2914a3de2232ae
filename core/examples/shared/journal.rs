//! Changes of storage as lines of JSON: what is appended to the journal, and what the tables are made of again.

use causerie_core::{
    FinishReason, Member, MessageId, MessageRecord, MessageRole, SessionId, SessionRecord, UnixMicros, Usage, Write,
};
use serde_json::{Value, json};

/// A change as it stands in the journal; `None` for one that a later core asks for and this program does not know.
pub(crate) fn encode(write: Write<'_>) -> Option<String> {
    let value = match write {
        Write::CreateSession(record) => json!({
            "do": "create", "session": record.id.to_string(), "title": record.title, "system": record.system,
            "owner": record.owner, "username": record.members.first()?.username, "created": record.created.0,
        }),
        Write::Message(record) => json!({
            "do": "message", "session": record.session.to_string(), "id": record.id.to_string(), "seq": record.seq,
            "parent": record.parent.map(|id| id.to_string()), "role": role_name(record.role),
            "user_id": record.author.as_ref().map(|a| &a.user_id), "username": record.author.as_ref().map(|a| &a.username),
            "content": record.content, "created": record.created.0, "client_id": record.client_id,
            "finish": record.finish_reason.map(finish_name),
            "usage": record.usage.map(|u| [u.prompt_tokens, u.cached_tokens, u.completion_tokens]),
        }),
        Write::Invite { session, username } => {
            json!({ "do": "invite", "session": session.to_string(), "username": username })
        }
        Write::Member { session, user_id, username } => {
            json!({ "do": "member", "session": session.to_string(), "user_id": user_id, "username": username })
        }
        Write::Continue { session, message } => {
            json!({ "do": "continue", "session": session.to_string(), "message": message.to_string() })
        }
        Write::EndSession { session, at } => json!({ "do": "end", "session": session.to_string(), "at": at.0 }),
        Write::RenameSession { session, title } => {
            json!({ "do": "rename", "session": session.to_string(), "title": title })
        }
        Write::DeleteSession { session } => json!({ "do": "delete", "session": session.to_string() }),
        _ => return None,
    };
    Some(format!("{value}\n"))
}

/// A change that was read back.
#[derive(Debug)]
pub(crate) enum Change {
    Create(SessionRecord),
    Message(MessageRecord),
    Invite(SessionId, String),
    Member(SessionId, Member),
    Continue(SessionId, MessageId),
    End(SessionId, UnixMicros),
    Rename(SessionId, String),
    Delete(SessionId),
}

/// Reads a line; `None` if it is not one of [`encode`]'s.
pub(crate) fn decode(line: &str) -> Option<Change> {
    let value: Value = serde_json::from_str(line).ok()?;
    let session = SessionId(value["session"].as_str()?.parse().ok()?);
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    Some(match value["do"].as_str()? {
        "create" => Change::Create(SessionRecord {
            id: session,
            title: text("title")?,
            system: text("system"),
            owner: text("owner")?,
            created: UnixMicros(value["created"].as_u64()?),
            ended: None,
            last_seq: 0,
            last_message: None,
            members: vec![Member { user_id: text("owner")?, username: text("username")? }],
            invited: Vec::new(),
        }),
        "message" => Change::Message(message(session, &value)?),
        "invite" => Change::Invite(session, text("username")?),
        "member" => Change::Member(session, Member { user_id: text("user_id")?, username: text("username")? }),
        "continue" => Change::Continue(session, MessageId(value["message"].as_str()?.parse().ok()?)),
        "end" => Change::End(session, UnixMicros(value["at"].as_u64()?)),
        "rename" => Change::Rename(session, text("title")?),
        "delete" => Change::Delete(session),
        _ => return None,
    })
}

fn message(session: SessionId, value: &Value) -> Option<MessageRecord> {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let id = |name: &str| value[name].as_str().and_then(|id| id.parse().ok()).map(MessageId);
    let tokens = |of: usize| value["usage"][of].as_u64().and_then(|n| u32::try_from(n).ok());
    let usage = |prompt_tokens| Some(Usage { prompt_tokens, cached_tokens: tokens(1)?, completion_tokens: tokens(2)? });
    Some(MessageRecord {
        id: id("id")?,
        session,
        seq: value["seq"].as_u64()?,
        parent: id("parent"),
        role: *ROLES.iter().find(|role| value["role"] == role_name(**role))?,
        author: text("user_id").zip(text("username")).map(|(user_id, username)| Member { user_id, username }),
        content: text("content")?,
        created: UnixMicros(value["created"].as_u64()?),
        client_id: text("client_id"),
        finish_reason: FINISHES.into_iter().find(|finish| value["finish"] == finish_name(*finish)),
        usage: tokens(0).and_then(usage),
    })
}

const ROLES: [MessageRole; 3] = [MessageRole::User, MessageRole::Assistant, MessageRole::System];

fn role_name(role: MessageRole) -> &'static str {
    match role {
        MessageRole::User => "user",
        MessageRole::Assistant => "assistant",
        MessageRole::System => "system",
    }
}

const FINISHES: [FinishReason; 4] =
    [FinishReason::Stop, FinishReason::Length, FinishReason::Stopped, FinishReason::Error];

fn finish_name(finish: FinishReason) -> &'static str {
    match finish {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Stopped => "stopped",
        FinishReason::Error => "error",
    }
}
