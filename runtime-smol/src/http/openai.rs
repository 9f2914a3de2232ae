//! `/v1/…`: the API of OpenAI, as its clients speak it (<https://platform.openai.com/docs/api-reference>).
//!
//! | path | method | what |
//! |---|---|---|
//! | `/v1/models`, `/v1/models/NAME` | GET | the models |
//! | `/v1/chat/completions` | POST | the next message of a conversation |
//! | `/v1/completions` | POST | how texts go on |
//! | `/v1/responses` | POST | the next message of a conversation, as items; nothing is stored |
//! | `/v1/embeddings` | POST | what texts mean, as vectors |
//!
//! Along the way of a request: `cors` lets pages in that may ask, `fields` reads the JSON, `models` finds the model;
//! `messages`, `sampling`, `tools` and `format` make a task of it; `choices` has the model do it, several times if
//! `n` says so; `reply` makes messages of what comes, for which `calls` finds the calls of tools; and `sse` sends them
//! piece by piece. What is wrong is an [`error`] in OpenAI's form. Nothing of a request is kept.

mod calls;
mod chat;
mod choices;
mod completions;
mod cors;
mod embeddings;
mod error;
mod fields;
mod format;
mod input;
mod messages;
mod models;
mod reply;
mod responses;
mod sampling;
mod sse;
mod tools;

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use causerie_inference::scheduler::Usage;
use hyper::body::Incoming;
use hyper::header;
use hyper::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};

use super::{Counted, READ, Refusal, Response, allow, caller, check_origin, request};
use crate::limits;
use error::ApiError;

/// Answers what is below `/v1/`.
pub(super) async fn route(counted: &Rc<Counted>, request: Request<Incoming>) -> Response {
    // A page that may not ask is not told more than that.
    if let Err(foreign) = check_origin(&counted.site, &request) {
        return ApiError::from(foreign).answer();
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = if request.method() == Method::OPTIONS && origin.is_some() {
        cors::preflight(&request)
    } else {
        answer(counted, request).await.unwrap_or_else(ApiError::answer)
    };
    cors::allow(origin, response.headers_mut());
    response
}

async fn answer(counted: &Rc<Counted>, request: Request<Incoming>) -> Result<Response, ApiError> {
    let site = &counted.site;
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/v1/models" => {
            allow(&request, READ)?;
            caller::bearer(counted, request.headers()).await?;
            Ok(models::list(site))
        }
        "/v1/chat/completions" => chat::answer(counted, &posted(counted, request).await?).await,
        "/v1/completions" => completions::answer(counted, &posted(counted, request).await?).await,
        "/v1/embeddings" => embeddings::answer(counted, &posted(counted, request).await?).await,
        "/v1/responses" => responses::answer(counted, &posted(counted, request).await?).await,
        path => {
            if let Some(name) = path.strip_prefix("/v1/models/").filter(|name| !name.is_empty() && !name.ends_with("/"))
            {
                allow(&request, READ)?;
                caller::bearer(counted, request.headers()).await?;
                return models::one(site, name);
            }
            if let Some(id) = path.strip_prefix("/v1/responses/") {
                allow(&request, "GET, DELETE")?;
                caller::bearer(counted, request.headers()).await?;
                return Err(responses::stored(id));
            }
            let message = format!("nothing is at {path:?}");
            Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", message))
        }
    }
}

/// The JSON of a request that bears a token, and whose it is.
async fn posted(counted: &Rc<Counted>, request: Request<Incoming>) -> Result<Posted, ApiError> {
    allow(&request, "POST")?;
    let visitor = caller::bearer(counted, request.headers()).await?;
    if counted.site.health.draining() {
        return Err(Refusal::draining().into());
    }
    let body = request::body(&counted.site, request, limits::API_BODY_BYTES).await?;
    let body = serde_json::from_slice(&body).map_err(|error| {
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_json", format!("the body is no JSON: {error}"))
    })?;
    Ok(Posted { body, user_id: visitor.claims.sub })
}

/// What somebody asks.
#[derive(Debug)]
struct Posted {
    body: Value,
    user_id: String,
}

/// What all answers say of themselves.
#[derive(Clone, Debug)]
struct Made {
    id: String,
    created: u64,
    model: String,
}

impl Made {
    /// Now, by a model of this name.
    fn new(prefix: &str, model: String) -> Made {
        Made { id: id(prefix), created: now(), model }
    }

    /// An object of this type, without its contents.
    fn object(&self, object: &str) -> Map<String, Value> {
        let Made { id, created, model } = self;
        let fields = json!({
            "id": id, "object": object, "created": created, "model": model, "system_fingerprint": FINGERPRINT,
        });
        let Value::Object(fields) = fields else { unreachable!("it is written as an object") };
        fields
    }
}

/// Answers of one version to one seed are the same.
const FINGERPRINT: &str = concat!("fp_causerie_", env!("CARGO_PKG_VERSION"));

/// Seconds since 1970-01-01T00:00:00Z.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A name that nothing else has.
fn id(prefix: &str) -> String {
    let mut random = [0; 12];
    // Without randomness the names are no names, which is no reason not to answer.
    let _ = getrandom::fill(&mut random);
    random.iter().fold(prefix.to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": { "cached_tokens": usage.cached_tokens },
        "completion_tokens_details": { "reasoning_tokens": 0 },
    })
}
