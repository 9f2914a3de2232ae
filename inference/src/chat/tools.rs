//! Tools in a conversation: what the model called and what came of it; and how a model is told of them whose template
//! says nothing of tools, or asks for another form of calls than the one that is read.

use std::borrow::Cow;

use serde_json::{Value as Json, json};

use super::{Speaker, Turn};

/// What a call begins with, in what the model says.
pub const CALL_OPEN: &str = "<tool_call>";

/// What a call ends with.
pub const CALL_CLOSE: &str = "</tool_call>";

/// A step of a conversation in which tools may be called.
///
/// The form of a call is always `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, which Hermes began. A template
/// that asks for this form (Qwen, SmolLM3, Hermes) writes the tools itself; and calls and results too if it takes them,
/// which SmolLM3's does not. For a template that knows no tools, or another form of calls (Llama's JSON without marks,
/// Mistral's `[TOOL_CALLS]`), everything is text: the tools stand in the system's words, with the request for the form
/// above, and calls and results in the words of the assistant and the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Something is said.
    Said(Turn),
    /// The model calls tools.
    Called {
        /// What it says before that; often nothing.
        content: String,
        /// In the order of the calls.
        calls: Vec<ToolCall>,
    },
    /// A tool has done what it was called for.
    Result {
        /// [`ToolCall::id`] of the call.
        call: String,
        /// What came of it: any text.
        content: String,
    },
}

impl From<Turn> for Step {
    fn from(turn: Turn) -> Self {
        Self::Said(turn)
    }
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// By which the result says what it is of.
    pub id: String,
    /// The tool's.
    pub name: String,
    /// JSON, as the model wrote it; what is no JSON is shown to the model as it is. Empty for none.
    pub arguments: String,
}

impl ToolCall {
    /// In the form that templates take, in which arguments are no text.
    pub(super) fn as_json(&self) -> Json {
        let arguments = match self.arguments.trim() {
            "" => json!({}),
            text => serde_json::from_str(text).unwrap_or_else(|_| Json::from(text)),
        };
        json!({ "type": "function", "id": self.id, "function": { "name": self.name, "arguments": arguments } })
    }

    fn write(&self, said: &mut String) {
        if !said.is_empty() {
            said.push('\n');
        }
        let name = Json::from(self.name.as_str());
        let arguments = if self.arguments.trim().is_empty() { "{}" } else { &self.arguments };
        said.push_str(&format!("{CALL_OPEN}\n{{\"name\": {name}, \"arguments\": {arguments}}}\n{CALL_CLOSE}"));
    }
}

/// A borrowed [`Step`].
#[derive(Clone, Copy)]
pub(super) enum Item<'a> {
    Said(&'a Turn),
    Called { content: &'a str, calls: &'a [ToolCall] },
    Result { call: &'a str, content: &'a str },
}

impl<'a> Item<'a> {
    pub(super) fn of_turn(turn: &'a Turn) -> Self {
        Self::Said(turn)
    }

    pub(super) fn of_step(step: &'a Step) -> Self {
        match step {
            Step::Said(turn) => Self::Said(turn),
            Step::Called { content, calls } => Self::Called { content, calls },
            Step::Result { call, content } => Self::Result { call, content },
        }
    }

    pub(super) fn role(self) -> Speaker {
        match self {
            Self::Said(turn) => turn.role,
            Self::Called { .. } => Speaker::Assistant,
            Self::Result { .. } => Speaker::User,
        }
    }

    /// Whether it says nothing to the model.
    pub(super) fn is_empty(self) -> bool {
        match self {
            Self::Said(turn) => turn.content.trim().is_empty(),
            Self::Called { content, calls } => calls.is_empty() && content.trim().is_empty(),
            // That nothing came of a call is worth knowing.
            Self::Result { .. } => false,
        }
    }

    /// As text, where the template does not write it.
    pub(super) fn text(self) -> Cow<'a, str> {
        match self {
            Self::Said(turn) => Cow::Borrowed(&turn.content),
            Self::Called { content, calls } => {
                let mut said = content.to_owned();
                calls.iter().for_each(|call| call.write(&mut said));
                Cow::Owned(said)
            }
            Self::Result { content, .. } => Cow::Owned(format!("<tool_response>\n{content}\n</tool_response>")),
        }
    }
}

/// What a model is told of tools where its template tells it nothing: the words that Hermes, Qwen and SmolLM2 were
/// trained with.
pub(super) fn instruction(tools: &[Json]) -> String {
    let signatures: Vec<String> = tools.iter().map(Json::to_string).collect();
    format!(
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n\
         You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n{}\n</tools>\n\n\
         For each function call, return a json object with function name and arguments within \
         {CALL_OPEN}{CALL_CLOSE} XML tags:\n{CALL_OPEN}\n{{\"name\": <function-name>, \"arguments\": <args-json-object>}}\n{CALL_CLOSE}",
        signatures.join("\n")
    )
}
