//! What a server says: one flat shape for all of its frames, since fields have the same meaning in each.

use serde::Deserialize;

/// A frame; what it does not have is none, and what is unknown is passed over.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Frame {
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Which of our frames it answers.
    #[serde(rename = "ref")]
    pub(super) answers: Option<u64>,
    pub(super) session_id: Option<String>,
    pub(super) session_title: Option<String>,
    pub(super) epoch: Option<String>,
    pub(super) seq: Option<u64>,
    pub(super) resumed: bool,
    pub(super) participants: Vec<Participant>,
    pub(super) id: Option<String>,
    pub(super) role: Option<String>,
    pub(super) content: Option<String>,
    pub(super) user_id: Option<String>,
    pub(super) username: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) parent: Option<String>,
    pub(super) finish_reason: Option<String>,
    pub(super) message_id: Option<String>,
    pub(super) offset: Option<usize>,
    pub(super) is_typing: bool,
    pub(super) event: Option<String>,
    pub(super) by: Option<String>,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) messages: Vec<Frame>,
    pub(super) more: bool,
    pub(super) sessions: Vec<Listed>,
}

/// Somebody in a session.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Participant {
    pub(super) username: String,
}

/// A session of a list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Listed {
    pub(super) session_id: String,
    pub(super) session_title: String,
    pub(super) messages: u64,
    pub(super) ended: Option<String>,
}

impl Frame {
    /// Reads one; `None` for what is no frame of ours.
    pub(super) fn read(text: &str) -> Option<Frame> {
        // A list would be taken for the fields in their order.
        if !text.trim_start().starts_with('{') {
            return None;
        }
        match serde_json::from_str(text) {
            Ok(frame) => Some(frame),
            Err(error) => {
                tracing::debug!(%error, "a frame cannot be read");
                None
            }
        }
    }

    /// Text that there is, or none of it.
    pub(super) fn content(&self) -> &str {
        self.content.as_deref().unwrap_or_default()
    }

    /// Whether the model said it.
    pub(super) fn is_assistants(&self) -> bool {
        self.role.as_deref() == Some("assistant")
    }

    /// What an error says, for people.
    pub(super) fn complaint(&self) -> String {
        let message = self.message.as_deref().unwrap_or("the server says no");
        match &self.detail {
            Some(detail) => format!("{message}: {detail}"),
            None => message.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_and_what_is_unknown_is_passed_over() {
        let text = r#"{"type":"message_delta","offset":5,"message_id":"m","content":"x","new":[1.5],"session_id":"s"}"#;
        let frame = Frame::read(text).unwrap();
        assert_eq!((frame.kind.as_str(), frame.offset, frame.content()), ("message_delta", Some(5), "x"));
        let page = r#"{"type":"history_page","ref":7,"more":true,"messages":[{"type":"message","seq":1,"role":"assistant",
            "usage":{"prompt_tokens":1}}]}"#;
        let page = Frame::read(page).unwrap();
        assert_eq!((page.answers, page.messages[0].seq), (Some(7), Some(1)));
        assert!(page.messages[0].is_assistants());
        assert!(Frame::read("[]").is_none() && Frame::read("{\"seq\":-1}").is_none() && Frame::read("").is_none());
    }
}
