//! Messages of OpenAI's form as the steps of a conversation.

use causerie_inference::chat::{Speaker, Step, ToolCall, Turn};
use serde_json::Value;

use super::error::ApiError;
use super::fields::{Fields, wrong_type};
use crate::limits;

/// `messages` of the chat.
pub(super) fn read(fields: &Fields<'_>) -> Result<Vec<Step>, ApiError> {
    let messages = fields.require("messages", fields.objects("messages", limits::API_MESSAGES)?)?;
    if messages.is_empty() {
        return Err(ApiError::invalid("messages", "\"messages\" is empty: there is nothing to answer"));
    }
    messages.iter().map(message).collect()
}

fn message(fields: &Fields<'_>) -> Result<Step, ApiError> {
    match fields.require("role", fields.string("role")?)? {
        "system" | "developer" => Ok(said(Speaker::System, required_content(fields)?)),
        "user" => Ok(said(Speaker::User, required_content(fields)?)),
        "assistant" => {
            let content = content(fields)?.or(fields.string("refusal")?.map(str::to_owned));
            let calls = fields.objects("tool_calls", limits::API_TOOLS)?.unwrap_or_default();
            if calls.is_empty() {
                return Ok(said(Speaker::Assistant, fields.require("content", content)?));
            }
            let calls = calls.iter().map(call).collect::<Result<_, _>>()?;
            Ok(Step::Called { content: content.unwrap_or_default(), calls })
        }
        "tool" => {
            let call = fields.require("tool_call_id", fields.string("tool_call_id")?)?.to_owned();
            Ok(Step::Result { call, content: required_content(fields)? })
        }
        "function" => Err(ApiError::unsupported(fields.param("role"), "messages of functions have the role tool now")),
        other => {
            let message =
                format!("the role {other:?} is unknown; there are system, developer, user, assistant and tool");
            Err(ApiError::invalid(fields.param("role"), message))
        }
    }
}

/// A call that was made before; a client may have forgotten its id.
fn call(fields: &Fields<'_>) -> Result<ToolCall, ApiError> {
    let function = fields.require("function", fields.object("function")?)?;
    let name = function.require("name", function.string("name")?)?.to_owned();
    let arguments = function.require("arguments", function.string("arguments")?)?.to_owned();
    Ok(ToolCall { id: fields.string("id")?.unwrap_or_default().to_owned(), name, arguments })
}

/// Something said.
pub(super) fn said(role: Speaker, content: String) -> Step {
    Step::Said(Turn { role, content })
}

fn required_content(fields: &Fields<'_>) -> Result<String, ApiError> {
    fields.require("content", content(fields)?)
}

/// `content`: a string, or parts of which all are text.
pub(super) fn content(fields: &Fields<'_>) -> Result<Option<String>, ApiError> {
    let parts = match fields.get("content") {
        None => return Ok(None),
        Some(Value::String(text)) => return Ok(Some(text.clone())),
        Some(Value::Array(_)) => fields.objects("content", limits::API_MESSAGES)?.unwrap_or_default(),
        Some(other) => return Err(wrong_type(fields.param("content"), "a string or an array of parts", other)),
    };
    let mut text = String::new();
    for part in parts {
        match part.require("type", part.string("type")?)? {
            "text" | "input_text" | "output_text" => text.push_str(part.require("text", part.string("text")?)?),
            "refusal" => text.push_str(part.require("refusal", part.string("refusal")?)?),
            other => {
                let message =
                    format!("parts of the type {other:?} are not supported: this server's models read text only");
                return Err(ApiError::unsupported(part.param("type"), message));
            }
        }
    }
    Ok(Some(text))
}

/// Puts what the model is to know at the end of the system's words.
pub(super) fn instruct(steps: &mut Vec<Step>, instruction: &str) {
    let system = steps.iter_mut().rev().find_map(|step| match step {
        Step::Said(turn) if turn.role == Speaker::System => Some(turn),
        _ => None,
    });
    match system {
        Some(system) => system.content = format!("{}\n\n{instruction}", system.content),
        None => steps.insert(0, said(Speaker::System, instruction.to_owned())),
    }
}
