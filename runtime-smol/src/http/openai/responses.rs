//! `POST /v1/responses` (<https://platform.openai.com/docs/api-reference/responses>).
//!
//! Nothing is stored: what refers to an earlier response is refused, and clients send the whole conversation.

mod items;
mod stream;

use std::rc::Rc;

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::super::{Counted, Response, Site, json as json_response};
use super::choices::Choices;
use super::error::ApiError;
use super::fields::Fields;
use super::format::Format;
use super::reply::{Call, Reply};
use super::sse::EventStream;
use super::{Posted, id, messages, models, now, sampling, tools};
use crate::worker::{Asker, Task, TaskInput};

/// The field that an answer goes on from.
const INPUT: &str = "input";

/// Fields of the request that the response repeats, and what they are when the request has none.
const REPEATED: [(&str, &str); 13] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("reasoning", "{\"effort\":null,\"summary\":null}"),
    ("service_tier", "\"default\""),
    ("temperature", "null"),
    ("text", "{\"format\":{\"type\":\"text\"}}"),
    ("tool_choice", "\"auto\""),
    ("tools", "[]"),
    ("top_p", "null"),
    ("truncation", "\"disabled\""),
    ("user", "null"),
];

/// What is asked.
struct Asked {
    id: String,
    created: u64,
    model: String,
    repeated: Map<String, Value>,
    asker: Asker,
    task: Option<Task>,
    /// What may be called.
    names: Vec<String>,
    stream: bool,
}

/// Answers a request.
pub(super) async fn answer(counted: &Rc<Counted>, posted: &Posted) -> Result<Response, ApiError> {
    let site = &counted.site;
    let mut asked = Asked::read(site, &Fields::of_request(&posted.body)?)?;
    let tasks = asked.task.take().into_iter().collect();
    let choices = Choices::ask(site, &posted.user_id, &asked.asker, tasks, 1, INPUT).await?;
    if !asked.stream {
        return whole(&asked, choices).await;
    }
    let (events, mut response) = EventStream::open(counted);
    choices.tell_dropped(&mut response);
    let feed = async move {
        // The client has gone: what it asked for is cancelled with `choices`.
        let _ = stream::feed(&events, &asked, choices).await;
    };
    site.executor.spawn(feed).detach();
    Ok(response)
}

/// What is asked of a response that was.
pub(super) fn stored(id: &str) -> ApiError {
    let message = format!("there is no response {id:?}: responses are not stored here");
    ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
}

impl Asked {
    fn read(site: &Site, fields: &Fields<'_>) -> Result<Asked, ApiError> {
        let kept = "responses are not stored here; send the whole conversation as \"input\"";
        fields.refuse(&["previous_response_id", "conversation", "prompt"], kept)?;
        for (name, why) in [("store", kept), ("background", "responses are made while the client waits")] {
            if fields.boolean(name)? == Some(true) {
                return Err(ApiError::unsupported(name, format!("{name:?} is not supported: {why}")));
            }
        }
        let (model, asker) = models::find(site, fields)?;
        let mut steps = items::steps(fields)?;
        let tools = tools::of_responses(fields)?;
        let text = fields.object("text")?;
        let format = text.map_or(Ok(None), |text| text.object("format"))?;
        let format = Format::read(format, |fields| Ok(fields.clone()))?;
        if let Some(instruction) = format.instruction() {
            messages::instruct(&mut steps, instruction);
        }
        let task = Task {
            input: TaskInput::Chat { steps, tools: tools.as_ref().map(tools::Tools::told).unwrap_or_default() },
            sampling: sampling::read(fields)?,
            max_tokens: fields.integer("max_output_tokens", 1..=u32::MAX)?,
            grammar: tools.as_ref().map_or_else(|| format.grammar(), |tools| tools.grammar(&format)),
            ..Task::default()
        };
        let repeated = REPEATED.iter().map(|&(name, otherwise)| {
            let otherwise = || serde_json::from_str(otherwise).expect("the table holds JSON");
            (name.to_owned(), fields.get(name).cloned().unwrap_or_else(otherwise))
        });
        Ok(Asked {
            id: id("resp_"),
            created: now(),
            model,
            repeated: repeated.collect(),
            asker,
            task: Some(task),
            names: tools.as_ref().map(tools::Tools::names).unwrap_or_default(),
            stream: fields.boolean("stream")?.unwrap_or(false),
        })
    }

    /// The response as it is at some time.
    fn object(&self, status: &str, output: &[Value]) -> Value {
        let mut response = self.repeated.clone();
        let fields = json!({
            "id": self.id, "object": "response", "created_at": self.created, "model": self.model, "status": status,
            "output": output, "error": null, "incomplete_details": null, "previous_response_id": null,
            "store": false, "background": false, "usage": null,
        });
        if let Value::Object(fields) = fields {
            response.extend(fields);
        }
        Value::Object(response)
    }

    /// The response at its end.
    fn ended(&self, reply: &Reply, output: &[Value], choices: &Choices) -> Value {
        let cut = reply.finish == Some("length");
        let mut response = self.object(if cut { "incomplete" } else { "completed" }, output);
        if cut {
            response["incomplete_details"] = json!({ "reason": "max_output_tokens" });
        }
        let usage = choices.usage();
        response["usage"] = json!({
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": { "cached_tokens": usage.cached_tokens },
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        });
        response
    }
}

/// The response in one piece.
async fn whole(asked: &Asked, mut choices: Choices) -> Result<Response, ApiError> {
    let mut reply = Reply::new(asked.names.clone(), false);
    while let Some(event) = choices.next().await {
        reply.take(event?.1);
    }
    let status = if reply.finish == Some("length") { "incomplete" } else { "completed" };
    let mut output = Vec::new();
    if !reply.text.is_empty() || reply.calls.is_empty() {
        output.push(message(&id("msg_"), status, &[part(&reply.text)]));
    }
    output.extend(reply.calls.iter().map(|call| function_call(&id("fc_"), status, call)));
    let mut response = json_response(StatusCode::OK, &asked.ended(&reply, &output, &choices));
    choices.tell_dropped(&mut response);
    Ok(response)
}

/// A message of the model as an item of the output.
fn message(id: &str, status: &str, content: &[Value]) -> Value {
    json!({ "id": id, "type": "message", "role": "assistant", "status": status, "content": content })
}

/// What a message consists of.
fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

/// A call as an item of the output.
fn function_call(id: &str, status: &str, call: &Call) -> Value {
    json!({
        "id": id, "type": "function_call", "status": status,
        "call_id": call.id, "name": call.name, "arguments": call.arguments,
    })
}
