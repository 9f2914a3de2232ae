//! `/api/search`: the chats of whoever asks, by what was said in them.
//!
//! What somebody looks for stands in a body, not in an address, so that no proxy's log has it.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Counted, Refusal, Response, ask, caller, check_origin, json as json_response, request};
use crate::admission::Visitor;
use crate::limits;
use crate::store::search::{Hit, Search, search};

#[derive(Deserialize)]
struct Posted {
    query: String,
}

/// The chats in whose title and messages all words of the query stand.
pub(super) async fn answer(counted: &Counted, request: Request<Incoming>) -> Result<Response, Refusal> {
    check_origin(&counted.site, &request)?;
    let Visitor { claims, .. } = caller::bearer(counted, request.headers()).await?;
    let body = request::body(&counted.site, request, limits::HTTP_BODY_BYTES).await?;
    let Posted { query } = serde_json::from_slice(&body).map_err(|error| {
        let message = format!("the body is to be {{\"query\": \"...\"}}: {error}");
        Refusal::new(StatusCode::BAD_REQUEST, "invalid_json", message)
    })?;
    let words = words(&query)?;
    let asked = Search { user_id: claims.sub, username: claims.username, words };
    let found = ask(counted, move |connection| search(connection, &asked)).await?;
    let hits: Vec<Value> = found.hits.iter().map(hit).collect();
    Ok(json_response(StatusCode::OK, &json!({ "found": hits, "more": found.more })))
}

/// What is looked for.
fn words(query: &str) -> Result<Vec<String>, Refusal> {
    let invalid = |what: String| Refusal::new(StatusCode::BAD_REQUEST, "invalid_field", what);
    let length = query.chars().count();
    if length > limits::SEARCH_CHARACTERS {
        let most = limits::SEARCH_CHARACTERS;
        return Err(invalid(format!("\"query\" has {length} characters, of at most {most}")));
    }
    let words: Vec<String> = query.split_whitespace().map(str::to_owned).collect();
    if words.is_empty() {
        return Err(invalid("\"query\" has no word to look for".to_owned()));
    }
    Ok(words)
}

fn hit(Hit { session, title, owner, excerpt }: &Hit) -> Value {
    json!({ "session_id": session.0.to_string(), "session_title": title, "owner": owner, "excerpt": excerpt })
}
