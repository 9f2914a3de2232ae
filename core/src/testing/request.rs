//! What a client may send, as values that become JSON text: [`Request`], [`ClientFrame`], [`Damage`].

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::place::Place;
use crate::id::{MessageId, SessionId, Uuid};
use crate::wire::encode::push_string;

/// What is there to be named when a frame is put together: requests name sessions, messages and users by numbers, so that
/// they make sense in every script, also in one that was made smaller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Sessions.
    pub sessions: &'a [SessionId],
    /// Messages, of any session.
    pub messages: &'a [MessageId],
    /// Names of users.
    pub users: &'a [&'a str],
    /// Where the client was when its last connection was lost.
    pub place: Option<&'a Place>,
}

impl Known<'_> {
    fn pick<T: Copy>(from: &[T], which: u8) -> Option<T> {
        from.get(usize::from(which) % from.len().max(1)).copied()
    }

    /// One of the sessions; one that does not exist where there is none.
    fn session(&self, which: u8) -> Uuid {
        Known::pick(self.sessions, which).map_or(absent(which), |id| id.0)
    }

    fn message(&self, which: u8) -> Uuid {
        Known::pick(self.messages, which).map_or(absent(which), |id| id.0)
    }

    fn user(&self, which: u8) -> &str {
        Known::pick(self.users, which).unwrap_or("nobody")
    }
}

/// An id that nothing has.
fn absent(which: u8) -> Uuid {
    let mut bytes = [0; 16];
    (bytes[6], bytes[8], bytes[15]) = (0x40, 0x80, which);
    Uuid(bytes)
}

/// A frame of the protocol, within all limits where its texts are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// `ping`
    Ping,
    /// `create_session`
    CreateSession {
        /// Its title.
        title: Option<String>,
        /// Its system prompt.
        system: Option<String>,
    },
    /// `join_session`
    JoinSession {
        /// Which of the sessions.
        session: u8,
        /// Whether to go on from the place where the client was, if it is in that session.
        resume: bool,
    },
    /// `leave_session`
    LeaveSession,
    /// `chat_message`
    ChatMessage {
        /// The text.
        message: String,
        /// A number that makes the `client_id`: few of them, so that some are repeated.
        client_id: Option<u8>,
        /// Which of the messages it follows, if not the last.
        parent: Option<u8>,
    },
    /// `edit_message`
    EditMessage {
        /// Which of the messages.
        edited: u8,
        /// The text.
        message: String,
        /// As in `chat_message`.
        client_id: Option<u8>,
    },
    /// `regenerate`
    Regenerate {
        /// Which of the messages, if not the last.
        message: Option<u8>,
    },
    /// `stop_generation`
    StopGeneration,
    /// `history`
    History {
        /// Messages with a smaller `seq`.
        before: Option<u16>,
        /// How many.
        limit: Option<u16>,
    },
    /// `typing`
    Typing {
        /// Whether it begins.
        is_typing: bool,
    },
    /// `invite`
    Invite {
        /// Which of the users.
        user: u8,
    },
    /// `rename_session`
    RenameSession {
        /// Which of the sessions, if not the client's own.
        session: Option<u8>,
        /// The title.
        title: String,
    },
    /// `delete_session`
    DeleteSession {
        /// Which of the sessions, if not the client's own.
        session: Option<u8>,
    },
    /// `list_sessions`
    ListSessions {
        /// How many.
        limit: Option<u16>,
    },
    /// `authenticate`
    Authenticate {
        /// The token, which the core does not look into.
        token: String,
    },
}

/// Fields of a frame, in order: name and JSON text.
type Fields = Vec<(&'static str, String)>;

fn quoted(text: &str) -> String {
    let mut json = String::new();
    push_string(&mut json, text);
    json
}

impl Request {
    fn fields(&self, known: &Known<'_>) -> Fields {
        let id = |id: Uuid| quoted(&id.to_string());
        let mut fields: Fields = Vec::from([("type", quoted(self.kind()))]);
        let mut put = |name, value: Option<String>| fields.extend(value.map(|value| (name, value)));
        match self {
            Request::Ping | Request::LeaveSession | Request::StopGeneration => {}
            Request::CreateSession { title, system } => {
                put("title", title.as_deref().map(quoted));
                put("system", system.as_deref().map(quoted));
            }
            Request::JoinSession { session, resume } => {
                let place = known.place.filter(|_| *resume);
                put("session_id", Some(id(place.map_or(known.session(*session), |place| place.session.0))));
                put("since", place.map(Place::since));
            }
            Request::ChatMessage { message, client_id, parent } => {
                put("message", Some(quoted(message)));
                put("client_id", client_id.map(|number| quoted(&format!("c{number}"))));
                put("parent", parent.map(|which| id(known.message(which))));
            }
            Request::EditMessage { edited, message, client_id } => {
                put("message_id", Some(id(known.message(*edited))));
                put("message", Some(quoted(message)));
                put("client_id", client_id.map(|number| quoted(&format!("c{number}"))));
            }
            Request::Regenerate { message } => put("message_id", message.map(|which| id(known.message(which)))),
            Request::History { before, limit } => {
                put("before", before.map(|n| n.to_string()));
                put("limit", limit.map(|n| n.to_string()));
            }
            Request::Typing { is_typing } => put("is_typing", Some(is_typing.to_string())),
            Request::Invite { user } => put("username", Some(quoted(known.user(*user)))),
            Request::RenameSession { session, title } => {
                put("session_id", session.map(|which| id(known.session(which))));
                put("title", Some(quoted(title)));
            }
            Request::DeleteSession { session } => put("session_id", session.map(|which| id(known.session(which)))),
            Request::ListSessions { limit } => put("limit", limit.map(|n| n.to_string())),
            Request::Authenticate { token } => put("token", Some(quoted(token))),
        }
        fields
    }

    /// The frame's `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Request::Ping => "ping",
            Request::CreateSession { .. } => "create_session",
            Request::JoinSession { .. } => "join_session",
            Request::LeaveSession => "leave_session",
            Request::ChatMessage { .. } => "chat_message",
            Request::EditMessage { .. } => "edit_message",
            Request::Regenerate { .. } => "regenerate",
            Request::StopGeneration => "stop_generation",
            Request::History { .. } => "history",
            Request::Typing { .. } => "typing",
            Request::Invite { .. } => "invite",
            Request::RenameSession { .. } => "rename_session",
            Request::DeleteSession { .. } => "delete_session",
            Request::ListSessions { .. } => "list_sessions",
            Request::Authenticate { .. } => "authenticate",
        }
    }
}

/// What a client sends: a frame as it should be, or one with something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFrame {
    /// What it is meant to be.
    pub request: Request,
    /// Whether it has an `id`.
    pub named: bool,
    /// What is wrong with it.
    pub damage: Option<Damage>,
}

/// What is wrong with a frame. Fields are counted from the first, `type`, and around.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// A field is missing.
    Missing(u8),
    /// A field is something else: a piece of JSON text, as `null`, or of what is none.
    Instead(u8, String),
    /// A field comes twice, with another value the second time.
    Twice(u8, String),
    /// A field is an array in arrays, this many.
    Nested(u8, u8),
    /// A string field has so many bytes more.
    Longer(u8, u16),
    /// The text ends early: at this byte, or before the character that it is in.
    Cut(u16),
    /// One character is another one.
    Changed(u16, char),
    /// It is altogether another text.
    Other(String),
}

impl ClientFrame {
    /// A frame as it should be, with an `id`.
    pub fn named(request: Request) -> ClientFrame {
        ClientFrame { request, named: true, damage: None }
    }

    /// Its text. `id` is the number that it carries if it is [`named`](ClientFrame::named).
    pub fn to_json(&self, id: u64, known: &Known<'_>) -> String {
        let mut fields = self.request.fields(known);
        if self.named {
            fields.push(("id", id.to_string()));
        }
        if let Some(damage) = &self.damage {
            damage.fields(&mut fields);
        }
        let mut json = String::from("{");
        for (i, (name, value)) in fields.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(json, "{comma}\"{name}\":{value}").expect("writing to a String does not fail");
        }
        json.push('}');
        match &self.damage {
            Some(damage) => damage.text(json),
            None => json,
        }
    }
}

impl Damage {
    fn fields(&self, fields: &mut Fields) {
        let at = |which: &u8| usize::from(*which) % fields.len().max(1);
        match self {
            Damage::Missing(which) => drop(fields.remove(at(which))),
            Damage::Instead(which, json) => {
                let at = at(which);
                fields[at].1.clone_from(json);
            }
            Damage::Twice(which, json) => {
                let name = fields[at(which)].0;
                fields.push((name, json.clone()));
            }
            Damage::Nested(which, depth) => {
                let (at, depth) = (at(which), usize::from(*depth));
                fields[at].1 = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            }
            Damage::Longer(which, bytes) => {
                let at = at(which);
                if fields[at].1.starts_with('"') {
                    fields[at].1.insert_str(1, &"x".repeat(usize::from(*bytes)));
                }
            }
            Damage::Cut(_) | Damage::Changed(..) | Damage::Other(_) => {}
        }
    }

    fn text(&self, mut json: String) -> String {
        match self {
            Damage::Cut(at) => json.truncate(json.floor_char_boundary(usize::from(*at) % (json.len() + 1))),
            Damage::Changed(at, with) => {
                let at = json.floor_char_boundary(usize::from(*at) % json.len());
                json.remove(at);
                json.insert(at, *with);
            }
            Damage::Other(text) => json.clone_from(text),
            _ => {}
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_and_what_can_be_wrong_with_it() {
        let known = Known { users: &["Ann"], ..Known::default() };
        let frame =
            |damage| ClientFrame { request: Request::Invite { user: 3 }, named: true, damage }.to_json(7, &known);
        assert_eq!(frame(None), r#"{"type":"invite","username":"Ann","id":7}"#);
        for (damage, text) in [
            (Damage::Missing(4), r#"{"type":"invite","id":7}"#),
            (Damage::Instead(1, "null".into()), r#"{"type":"invite","username":null,"id":7}"#),
            (Damage::Twice(2, "8".into()), r#"{"type":"invite","username":"Ann","id":7,"id":8}"#),
            (Damage::Nested(2, 2), r#"{"type":"invite","username":"Ann","id":[[]]}"#),
            (Damage::Longer(1, 2), r#"{"type":"invite","username":"xxAnn","id":7}"#),
            (Damage::Cut(6), r#"{"type"#),
            (Damage::Changed(0, 'ä'), r#"ä"type":"invite","username":"Ann","id":7}"#),
            (Damage::Other("?".into()), "?"),
        ] {
            assert_eq!(frame(Some(damage)), text);
        }
    }
}
