//! `POST /v1/completions` (<https://platform.openai.com/docs/api-reference/completions>): texts that go on.

use std::rc::Rc;

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::super::{Counted, Response, Site, json as json_response};
use super::calls::Piece;
use super::choices::Choices;
use super::error::ApiError;
use super::fields::Fields;
use super::input::{self, Input};
use super::reply::Reply;
use super::sse::{EventStream, Gone};
use super::{Made, Posted, models, sampling, usage};
use crate::limits;
use crate::worker::{Asker, Task, TaskInput};

/// The field that an answer goes on from.
const INPUT: &str = "prompt";

/// Tokens of an answer when the client does not say, as OpenAI has it.
const DEFAULT_TOKENS: u32 = 16;

/// The most `logprobs`, as OpenAI has it.
const MAX_LOGPROBS: u32 = 5;

/// What is asked.
struct Completion {
    made: Made,
    asker: Asker,
    tasks: Vec<Task>,
    /// Answers to each prompt.
    each: usize,
    /// What each answer begins with: its prompt, if it is to be repeated.
    echoes: Vec<String>,
    logprobs: bool,
    stream: bool,
    include_usage: bool,
}

/// Answers a request.
pub(super) async fn answer(counted: &Rc<Counted>, posted: &Posted) -> Result<Response, ApiError> {
    let site = &counted.site;
    let mut completion = Completion::read(site, &Fields::of_request(&posted.body)?)?;
    let tasks = std::mem::take(&mut completion.tasks);
    let choices = Choices::ask(site, &posted.user_id, &completion.asker, tasks, completion.each, INPUT).await?;
    if !completion.stream {
        return whole(&completion, choices).await;
    }
    let (stream, response) = EventStream::open(counted);
    let feed = async move {
        // The client has gone: what it asked for is cancelled with `choices`.
        let _ = feed(&stream, &completion, choices).await;
    };
    site.executor.spawn(feed).detach();
    Ok(response)
}

impl Completion {
    fn read(site: &Site, fields: &Fields<'_>) -> Result<Completion, ApiError> {
        fields.refuse(&["suffix"], "texts go on at their end only")?;
        let (model, asker) = models::find(site, fields)?;
        let prompts = input::read(fields, INPUT, limits::API_CHOICES as usize)?;
        let most = limits::API_CHOICES / u32::try_from(prompts.len()).unwrap_or(u32::MAX);
        let each = fields.integer("n", 1..=most)?.unwrap_or(1);
        if fields.integer("best_of", 1..=most)?.is_some_and(|best| best != each) {
            return Err(ApiError::unsupported("best_of", "\"best_of\" is not supported beyond \"n\""));
        }
        let mut sampling = sampling::read(fields)?;
        sampling.logprobs = fields.integer("logprobs", 0..=MAX_LOGPROBS)?;
        let echo = fields.boolean("echo")?.unwrap_or(false);
        if echo && sampling.logprobs.is_some() {
            let message = "\"logprobs\" are of the answer alone, so that \"echo\" cannot be with them";
            return Err(ApiError::unsupported("echo", message));
        }
        let longest = fields.integer("max_tokens", 1..=u32::MAX)?.unwrap_or(DEFAULT_TOKENS);
        let task = Task { max_tokens: Some(longest), stop: sampling::stop(fields)?, ..Task::default() };
        let (mut tasks, mut echoes) = (Vec::new(), Vec::new());
        for prompt in prompts {
            let (input, said) = match prompt {
                Input::Text(text) => (TaskInput::Text(text.clone()), text),
                Input::Tokens(_) if echo => {
                    return Err(ApiError::unsupported("echo", "\"echo\" needs prompts that are strings"));
                }
                Input::Tokens(tokens) => (TaskInput::Tokens(tokens), String::new()),
            };
            for choice in 0..each as usize {
                let sampling = sampling::of_choice(&sampling, choice);
                tasks.push(Task { input: input.clone(), sampling, ..task.clone() });
                echoes.push(if echo { said.clone() } else { String::new() });
            }
        }
        let options = fields.object("stream_options")?;
        let include_usage = options.map_or(Ok(None), |options| options.boolean("include_usage"))?;
        Ok(Completion {
            made: Made::new("cmpl-", model),
            asker,
            tasks,
            each: each as usize,
            echoes,
            logprobs: sampling.logprobs.is_some(),
            stream: fields.boolean("stream")?.unwrap_or(false),
            include_usage: include_usage.unwrap_or(false),
        })
    }

    fn replies(&self) -> Vec<(Reply, usize)> {
        self.echoes.iter().map(|echo| (Reply::new(Vec::new(), self.logprobs), echo.chars().count())).collect()
    }

    /// The answer's object, which is the same for a piece of it.
    fn object(&self, choices: Value, usage: Option<Value>) -> Value {
        let mut object = self.made.object("text_completion");
        object.insert("choices".to_owned(), choices);
        if let Some(usage) = usage {
            object.insert("usage".to_owned(), usage);
        }
        Value::Object(object)
    }

    /// A piece of a streamed answer.
    fn chunk(&self, choice: usize, text: &str, logprobs: &Value, finish: Option<&str>) -> Value {
        let choice = json!({ "index": choice, "text": text, "logprobs": logprobs, "finish_reason": finish });
        self.object(json!([choice]), self.include_usage.then_some(Value::Null))
    }
}

/// The answer in one piece.
async fn whole(completion: &Completion, mut choices: Choices) -> Result<Response, ApiError> {
    let mut replies = completion.replies();
    while let Some(event) = choices.next().await {
        let (choice, event) = event?;
        replies[choice].0.take(event);
    }
    let choice = |(index, (mut reply, mut at)): (usize, (Reply, usize))| {
        let text = format!("{}{}", completion.echoes[index], reply.text);
        let logprobs = legacy(&reply.logprobs(), &mut at);
        json!({ "index": index, "text": text, "logprobs": logprobs, "finish_reason": reply.finish })
    };
    let all = replies.into_iter().enumerate().map(choice).collect();
    Ok(json_response(StatusCode::OK, &completion.object(all, Some(usage(choices.usage())))))
}

/// The answer piece by piece.
async fn feed(stream: &EventStream, completion: &Completion, mut choices: Choices) -> Result<(), Gone> {
    for (choice, echo) in completion.echoes.iter().enumerate().filter(|(_, echo)| !echo.is_empty()) {
        stream.data(&completion.chunk(choice, echo, &Value::Null, None)).await?;
    }
    let mut replies = completion.replies();
    while let Some(event) = stream.wait(choices.next()).await? {
        let (choice, event) = match event {
            Ok(event) => event,
            Err(error) => return stream.data(&error.body()).await,
        };
        let (reply, at) = &mut replies[choice];
        for (_, piece) in reply.take(event) {
            let Piece::Text(text) = piece else { continue };
            let logprobs = legacy(&reply.logprobs(), at);
            stream.data(&completion.chunk(choice, &text, &logprobs, None)).await?;
        }
        if let Some(finish) = reply.finish {
            let logprobs = legacy(&reply.logprobs(), at);
            stream.data(&completion.chunk(choice, "", &logprobs, Some(finish))).await?;
        }
    }
    if completion.include_usage {
        stream.data(&completion.object(json!([]), Some(usage(choices.usage())))).await?;
    }
    stream.done().await
}

/// Probabilities in the form of completions, from that of the chat; `at` is the place of the next token in the text, in
/// characters.
fn legacy(logprobs: &Value, at: &mut usize) -> Value {
    let Some(tokens) = logprobs["content"].as_array() else { return Value::Null };
    let (mut names, mut chosen, mut top, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for token in tokens {
        let each = token["top_logprobs"].as_array().into_iter().flatten();
        let each = each.map(|token| (token["token"].as_str().unwrap_or_default().to_owned(), token["logprob"].clone()));
        top.push(each.collect::<Map<_, _>>());
        offsets.push(*at);
        *at += token["token"].as_str().map_or(0, |text| text.chars().count());
        names.push(&token["token"]);
        chosen.push(&token["logprob"]);
    }
    json!({ "tokens": names, "token_logprobs": chosen, "top_logprobs": top, "text_offset": offsets })
}
