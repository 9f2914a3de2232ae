//! The client of the system that Causerie replaces: what it knew, what it read of it, and the order it relied on.

use std::collections::BTreeSet;

use serde_json::Value;

/// What it asks for. It asks one thing at a time, and waits for what answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Join {
        session: String,
        title: String,
    },
    Say {
        text: String,
    },
    Command {
        name: String,
    },
    /// `/clear`, which is answered as a command, and then by the session's end.
    Clear,
    /// What is left of that.
    End,
    Ping,
    /// Something that is answered by this error.
    Wrong {
        error: String,
    },
}

/// Where it is in an exchange, which everybody in the session sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Exchange {
    #[default]
    None,
    /// The user's message was shown.
    Said,
    /// The assistant is typing.
    Typing,
    /// The assistant's message, or the error in its place, was shown.
    Answered,
}

/// The old client: it takes frames one by one and says what is wrong with one.
#[derive(Clone, Debug, Default)]
pub(crate) struct OldClient {
    username: String,
    connected: bool,
    session: Option<String>,
    asked: Option<Asked>,
    exchange: Exchange,
    messages: BTreeSet<String>,
    last_timestamp: String,
}

type Checked = Result<(), String>;

impl OldClient {
    pub(crate) fn new(username: &str) -> OldClient {
        OldClient { username: username.to_owned(), ..OldClient::default() }
    }

    /// It has sent something.
    pub(crate) fn ask(&mut self, asked: Asked) -> Checked {
        match self.asked.replace(asked) {
            None => Ok(()),
            Some(before) => Err(format!("{before:?} was not answered")),
        }
    }

    /// Nothing is owed to it any more.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.connected && self.asked.is_none() && self.exchange == Exchange::None
    }

    /// Whether it would look at a frame at all.
    pub(crate) fn knows(frame: &Value) -> bool {
        let known = [
            "connection_established",
            "session_joined",
            "message",
            "typing",
            "error",
            "pong",
            "command_response",
            "session_ended",
        ];
        frame["type"].as_str().is_some_and(|kind| known.contains(&kind))
    }

    /// Takes a frame.
    pub(crate) fn take(&mut self, frame: &Value) -> Checked {
        if !OldClient::knows(frame) {
            return Ok(());
        }
        self.timestamp(frame)?;
        let kind = text(frame, "type")?;
        if !self.connected && kind != "connection_established" && kind != "error" {
            return Err("before connection_established".to_owned());
        }
        match kind {
            "connection_established" => self.established(frame),
            "session_joined" => self.joined(frame),
            "message" => self.message(frame),
            "typing" => self.typing(frame),
            "error" => self.error(frame),
            "pong" => self.answers(&Asked::Ping),
            "command_response" => self.command_response(frame),
            _ => self.ended(frame),
        }
    }

    /// RFC 3339 in UTC, and time goes on.
    fn timestamp(&mut self, frame: &Value) -> Checked {
        let stamp = text(frame, "timestamp")?;
        let whole = stamp.strip_suffix('Z').or_else(|| stamp.strip_suffix("+00:00"));
        let whole = whole.ok_or_else(|| format!("not UTC: {stamp}"))?;
        let (seconds, fraction) = whole.split_once('.').unwrap_or((whole, "0"));
        let shape: String = seconds.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        if shape != "0000-00-00T00:00:00" || fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("not RFC 3339: {stamp}"));
        }
        // Seconds: their shape is one in which text sorts as time. A message bears the time at which it was stored.
        if frame["type"] != "message" {
            if *seconds < *self.last_timestamp {
                return Err(format!("{stamp} after {}", self.last_timestamp));
            }
            self.last_timestamp = seconds.to_owned();
        }
        Ok(())
    }

    fn established(&mut self, frame: &Value) -> Checked {
        expect(!self.connected, "connected twice")?;
        expect(text(frame, "message")? == format!("Connected as {}", self.username), "greeted as somebody else")?;
        expect(!text(frame, "user_id")?.is_empty(), "no user id")?;
        self.connected = true;
        Ok(())
    }

    fn joined(&mut self, frame: &Value) -> Checked {
        let (id, title) = (uuid(frame, "session_id")?, text(frame, "session_title")?);
        self.answers(&Asked::Join { session: id.to_owned(), title: title.to_owned() })?;
        self.session = Some(id.to_owned());
        Ok(())
    }

    fn message(&mut self, frame: &Value) -> Checked {
        let (id, content) = (uuid(frame, "id")?, text(frame, "content")?);
        expect(Some(uuid(frame, "session_id")?) == self.session.as_deref(), "a message of another session")?;
        expect(!content.trim().is_empty(), "an empty message")?;
        expect(matches!(frame.get("metadata"), None | Some(Value::Null | Value::Object(_))), "odd metadata")?;
        expect(self.messages.insert(id.to_owned()), "a message twice")?;
        match text(frame, "role")? {
            "user" => {
                expect(self.exchange == Exchange::None, "a user's message inside an exchange")?;
                // Its own words come back as it sent them; somebody else's may come at any time.
                if let Some(Asked::Say { text }) = &self.asked {
                    expect(text == content, "other words than were said")?;
                    self.asked = None;
                }
                self.exchange = Exchange::Said;
            }
            "assistant" => {
                expect(self.exchange == Exchange::Typing, "an answer outside of typing")?;
                self.exchange = Exchange::Answered;
            }
            "system" => {}
            other => return Err(format!("an unknown role: {other}")),
        }
        Ok(())
    }

    fn typing(&mut self, frame: &Value) -> Checked {
        expect(self.session.is_some(), "typing outside of a session")?;
        self.exchange = match (&self.exchange, frame["is_typing"].as_bool()) {
            (Exchange::Said, Some(true)) => Exchange::Typing,
            (Exchange::Answered, Some(false)) => Exchange::None,
            (at, is_typing) => return Err(format!("typing {is_typing:?} in {at:?}")),
        };
        Ok(())
    }

    fn error(&mut self, frame: &Value) -> Checked {
        let error = text(frame, "message")?;
        if self.exchange == Exchange::Typing && error == "Failed to generate AI response" {
            self.exchange = Exchange::Answered;
            return Ok(());
        }
        self.answers(&Asked::Wrong { error: error.to_owned() })
    }

    fn command_response(&mut self, frame: &Value) -> Checked {
        expect(!text(frame, "content")?.is_empty(), "an empty answer to a command")?;
        let name = text(frame, "command")?;
        if self.asked == Some(Asked::Clear) && name == "/clear" {
            self.asked = Some(Asked::End);
            return Ok(());
        }
        self.answers(&Asked::Command { name: name.to_owned() })
    }

    fn ended(&mut self, frame: &Value) -> Checked {
        expect(!text(frame, "message")?.is_empty(), "no word about the end")?;
        expect(self.session.take().is_some(), "the end of no session")?;
        // Its owner may end it while others are in it.
        expect(self.asked != Some(Asked::Clear), "the end before the answer")?;
        self.asked.take_if(|asked| *asked == Asked::End);
        Ok(())
    }

    fn answers(&mut self, answered: &Asked) -> Checked {
        match self.asked.take() {
            Some(asked) if asked == *answered => Ok(()),
            asked => Err(format!("an answer to {answered:?}, but asked was {asked:?}")),
        }
    }
}

fn expect(fact: bool, otherwise: &str) -> Checked {
    if fact { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn text<'a>(frame: &'a Value, field: &str) -> Result<&'a str, String> {
    frame[field].as_str().ok_or_else(|| format!("`{field}` is no string"))
}

fn uuid<'a>(frame: &'a Value, field: &str) -> Result<&'a str, String> {
    let id = text(frame, field)?;
    let shape: String = id.chars().map(|c| if c.is_ascii_hexdigit() { 'x' } else { c }).collect();
    expect(shape == "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", &format!("`{field}` is no UUID: {id}"))?;
    Ok(id)
}
