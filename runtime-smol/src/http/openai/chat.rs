//! `POST /v1/chat/completions` (<https://platform.openai.com/docs/api-reference/chat>).

use std::rc::Rc;

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::super::{Counted, Response, Site, json as json_response};
use super::calls::Piece;
use super::choices::Choices;
use super::error::ApiError;
use super::fields::Fields;
use super::format::Format;
use super::reply::{Call, Reply};
use super::sse::{EventStream, Gone};
use super::{Made, Posted, messages, models, sampling, tools, usage};
use crate::limits;
use crate::worker::{Asker, Task, TaskInput};

/// The field that an answer goes on from.
const INPUT: &str = "messages";

/// What is asked.
struct Chat {
    made: Made,
    asker: Asker,
    tasks: Vec<Task>,
    /// What may be called.
    names: Vec<String>,
    logprobs: bool,
    stream: bool,
    include_usage: bool,
}

/// Answers a request.
pub(super) async fn answer(counted: &Rc<Counted>, posted: &Posted) -> Result<Response, ApiError> {
    let site = &counted.site;
    let mut chat = Chat::read(site, &Fields::of_request(&posted.body)?)?;
    let tasks = std::mem::take(&mut chat.tasks);
    let each = tasks.len();
    let choices = Choices::ask(site, &posted.user_id, &chat.asker, tasks, each, INPUT).await?;
    if !chat.stream {
        return whole(&chat, choices).await;
    }
    let (stream, mut response) = EventStream::open(counted);
    choices.tell_dropped(&mut response);
    let feed = async move {
        // The client has gone: what it asked for is cancelled with `choices`.
        let _ = feed(&stream, &chat, choices).await;
    };
    site.executor.spawn(feed).detach();
    Ok(response)
}

impl Chat {
    fn read(site: &Site, fields: &Fields<'_>) -> Result<Chat, ApiError> {
        fields.refuse(&["audio", "web_search_options"], "this server's models read and write text only")?;
        if fields.boolean("store")? == Some(true) {
            return Err(ApiError::unsupported(
                "store",
                "\"store\" is not supported: nothing of a request is kept here",
            ));
        }
        let (model, asker) = models::find(site, fields)?;
        let mut steps = messages::read(fields)?;
        let tools = tools::of_chat(fields)?;
        let format = Format::read(fields.object("response_format")?, |fields| {
            fields.require("json_schema", fields.object("json_schema")?)
        })?;
        if let Some(instruction) = format.instruction() {
            messages::instruct(&mut steps, instruction);
        }
        let grammar = tools.as_ref().map_or_else(|| format.grammar(), |tools| tools.grammar(&format));
        let mut sampling = sampling::read(fields)?;
        sampling.logprobs = logprobs(fields)?;
        let longest = match fields.integer("max_completion_tokens", 1..=u32::MAX)? {
            None => fields.integer("max_tokens", 1..=u32::MAX)?,
            longest => longest,
        };
        let task = Task {
            input: TaskInput::Chat { steps, tools: tools.as_ref().map(tools::Tools::told).unwrap_or_default() },
            max_tokens: longest,
            stop: sampling::stop(fields)?,
            grammar,
            ..Task::default()
        };
        let count = fields.integer("n", 1..=limits::API_CHOICES)?.unwrap_or(1) as usize;
        let of_choice = |choice| Task { sampling: sampling::of_choice(&sampling, choice), ..task.clone() };
        let options = fields.object("stream_options")?;
        let include_usage = options.map_or(Ok(None), |options| options.boolean("include_usage"))?;
        Ok(Chat {
            made: Made::new("chatcmpl-", model),
            asker,
            tasks: (0..count).map(of_choice).collect(),
            names: tools.as_ref().map(tools::Tools::names).unwrap_or_default(),
            logprobs: sampling.logprobs.is_some(),
            stream: fields.boolean("stream")?.unwrap_or(false),
            include_usage: include_usage.unwrap_or(false),
        })
    }

    fn replies(&self, choices: &Choices) -> Vec<Reply> {
        (0..choices.len()).map(|_| Reply::new(self.names.clone(), self.logprobs)).collect()
    }

    /// A piece of a streamed answer.
    fn chunk(&self, choices: Value) -> Value {
        let mut chunk = self.made.object("chat.completion.chunk");
        chunk.insert("choices".to_owned(), choices);
        if self.include_usage {
            chunk.insert("usage".to_owned(), Value::Null);
        }
        Value::Object(chunk)
    }

    fn delta(&self, choice: usize, delta: &Value, logprobs: &Value, finish: Option<&str>) -> Value {
        self.chunk(json!([{ "index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish }]))
    }
}

/// `logprobs` and `top_logprobs`.
fn logprobs(fields: &Fields<'_>) -> Result<Option<u32>, ApiError> {
    let top = fields.integer("top_logprobs", 0..=causerie_inference::sampler::MAX_LOGPROBS)?;
    match (fields.boolean("logprobs")?.unwrap_or(false), top) {
        (true, top) => Ok(Some(top.unwrap_or(0))),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => Err(ApiError::invalid("top_logprobs", "\"top_logprobs\" needs \"logprobs\" to be true")),
    }
}

/// The answer in one piece.
async fn whole(chat: &Chat, mut choices: Choices) -> Result<Response, ApiError> {
    let mut replies = chat.replies(&choices);
    while let Some(event) = choices.next().await {
        let (choice, event) = event?;
        replies[choice].take(event);
    }
    let choice = |(index, mut reply): (usize, Reply)| {
        let logprobs = reply.logprobs();
        json!({ "index": index, "message": message(&reply), "logprobs": logprobs, "finish_reason": reply.finish })
    };
    let mut completion = chat.made.object("chat.completion");
    completion.insert("choices".to_owned(), replies.into_iter().enumerate().map(choice).collect());
    completion.insert("usage".to_owned(), usage(choices.usage()));
    let mut response = json_response(StatusCode::OK, &Value::Object(completion));
    choices.tell_dropped(&mut response);
    Ok(response)
}

fn message(reply: &Reply) -> Value {
    let mut message = Map::new();
    message.insert("role".to_owned(), json!("assistant"));
    let content = (!reply.text.is_empty() || reply.calls.is_empty()).then_some(&reply.text);
    message.insert("content".to_owned(), json!(content));
    message.insert("refusal".to_owned(), Value::Null);
    if !reply.calls.is_empty() {
        let call = |Call { id, name, arguments }: &Call| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
        message.insert("tool_calls".to_owned(), reply.calls.iter().map(call).collect());
    }
    Value::Object(message)
}

/// The answer piece by piece.
async fn feed(stream: &EventStream, chat: &Chat, mut choices: Choices) -> Result<(), Gone> {
    let mut replies = chat.replies(&choices);
    for choice in 0..replies.len() {
        let role = json!({ "role": "assistant", "content": "", "refusal": null });
        stream.data(&chat.delta(choice, &role, &Value::Null, None)).await?;
    }
    while let Some(event) = stream.wait(choices.next()).await? {
        let (choice, event) = match event {
            Ok(event) => event,
            Err(error) => return stream.data(&error.body()).await,
        };
        let reply = &mut replies[choice];
        for (call, piece) in reply.take(event) {
            let logprobs = reply.logprobs();
            stream.data(&chat.delta(choice, &delta(&piece, call, &reply.calls), &logprobs, None)).await?;
        }
        if let Some(finish) = reply.finish {
            stream.data(&chat.delta(choice, &json!({}), &reply.logprobs(), Some(finish))).await?;
        }
    }
    if chat.include_usage {
        let mut chunk = chat.chunk(json!([]));
        chunk["usage"] = usage(choices.usage());
        stream.data(&chunk).await?;
    }
    stream.done().await
}

/// A piece that has just come, of the call at `index` if it is of one.
fn delta(piece: &Piece, index: usize, calls: &[Call]) -> Value {
    match piece {
        Piece::Text(text) => json!({ "content": text }),
        Piece::Call(name) => {
            let id = calls.get(index).map(|call| &call.id);
            let function = json!({ "name": name, "arguments": "" });
            json!({ "tool_calls": [{ "index": index, "id": id, "type": "function", "function": function }] })
        }
        Piece::Arguments(json) => json!({ "tool_calls": [{ "index": index, "function": { "arguments": json } }] }),
    }
}
