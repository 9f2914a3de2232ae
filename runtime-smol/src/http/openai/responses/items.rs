//! The items of `input` as the steps of a conversation.

use causerie_inference::chat::{Speaker, Step, ToolCall};
use serde_json::Value;

use super::super::error::ApiError;
use super::super::fields::{Fields, wrong_type};
use super::super::messages::{content, said};
use crate::limits;

/// `instructions` and `input`.
pub(super) fn steps(fields: &Fields<'_>) -> Result<Vec<Step>, ApiError> {
    let system = fields.string("instructions")?;
    let mut steps: Vec<Step> = system.map(|text| said(Speaker::System, text.to_owned())).into_iter().collect();
    match fields.require("input", fields.get("input"))? {
        Value::String(text) => steps.push(said(Speaker::User, text.clone())),
        Value::Array(_) => {
            for item in fields.objects("input", limits::API_MESSAGES)?.unwrap_or_default() {
                steps.extend(read(&item)?);
            }
        }
        other => return Err(wrong_type("input".to_owned(), "a string or an array of items", other)),
    }
    if steps.iter().all(|step| matches!(step, Step::Said(turn) if turn.role == Speaker::System)) {
        return Err(ApiError::invalid("input", "\"input\" is empty: there is nothing to answer"));
    }
    Ok(steps)
}

/// `None`: an item that says nothing to a model of this server.
fn read(item: &Fields<'_>) -> Result<Option<Step>, ApiError> {
    match item.string("type")?.unwrap_or("message") {
        "message" => {
            let role = match item.require("role", item.string("role")?)? {
                "system" | "developer" => Speaker::System,
                "user" => Speaker::User,
                "assistant" => Speaker::Assistant,
                other => {
                    let message =
                        format!("the role {other:?} is unknown; there are system, developer, user and assistant");
                    return Err(ApiError::invalid(item.param("role"), message));
                }
            };
            Ok(Some(said(role, item.require("content", content(item)?)?)))
        }
        "function_call" => {
            let id = item.string("call_id")?.unwrap_or_default().to_owned();
            let name = item.require("name", item.string("name")?)?.to_owned();
            let arguments = item.require("arguments", item.string("arguments")?)?.to_owned();
            Ok(Some(Step::Called { content: String::new(), calls: vec![ToolCall { id, name, arguments }] }))
        }
        "function_call_output" => {
            let call = item.require("call_id", item.string("call_id")?)?.to_owned();
            let content = item.require("output", item.string("output")?)?.to_owned();
            Ok(Some(Step::Result { call, content }))
        }
        // Of another model's thoughts nothing is known here.
        "reasoning" => Ok(None),
        other => {
            let message =
                format!("items of the type {other:?} are not supported: there are messages and calls of functions");
            Err(ApiError::unsupported(item.param("type"), message))
        }
    }
}
