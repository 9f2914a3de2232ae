//! `/api/admin/…`: what the admin page shows and does; for administrators, by their token or a key of scope `admin`.
//!
//! | path | method | what |
//! |---|---|---|
//! | `/api/admin/figures` | GET | counts and times as they are now |
//! | `/api/admin/users` | GET | those who were here, with quotas and what they have used today |
//! | `/api/admin/user` | POST | `{"user", "role"?, "disabled"?, "tokens_a_day"?, "parallel"?}`: what is named is changed, `null` is no bound |
//! | `/api/admin/keys` | GET | API keys, without their secrets |
//! | `/api/admin/key` | POST | `{"user", "name", "scope"?, "ttl"?}` → `{"key"}`, the secret, once; `ttl` in seconds |
//! | `/api/admin/revoke` | POST | `{"key"}`: the beginning of a key, which is useless from now on |
//! | `/api/admin/audit` | GET | the newest entries; `?before=ID` those before one |
//! | `/api/admin/models` | GET | the models and their state |
//! | `/api/admin/model` | POST | `{"load": MODEL}` beside the chat's, `{"unload": MODEL}`, or `{"chat": MODEL}`: it becomes the chat's |
//! | `/api/admin/reload` | POST | `{}`: the chat's model is loaded anew |
//! | `/api/admin/invite` | POST | `{"username", "ttl"?, "session"?}` → `{"token", "username", "expires_in", "path"}` |

mod deeds;
mod lists;

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::de::DeserializeOwned;

use super::{Counted, READ, Refusal, Response, Site, allow, caller, json as json_response, metrics, request};
use crate::limits;

/// Answers what is below `/api/admin/`.
pub(super) async fn route(counted: &Rc<Counted>, request: Request<Incoming>) -> Result<Response, Refusal> {
    let path = request.uri().path().to_owned();
    let site = &counted.site;
    let name = path.strip_prefix("/api/admin/").unwrap_or_default();
    let is_list = matches!(name, "figures" | "users" | "keys" | "audit" | "models");
    if !is_list && !matches!(name, "user" | "key" | "revoke" | "reload" | "model" | "invite") {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "not_found", format!("nothing is at {path:?}")));
    }
    allow(&request, if is_list { READ } else { "POST" })?;
    let admin = caller::admin(counted, &request).await?;
    let answer = match name {
        "figures" => site.metrics.figures(metrics::now(site)),
        "users" => lists::users(counted).await?,
        "keys" => lists::keys(counted).await?,
        "audit" => lists::audit(counted, request.uri().query()).await?,
        "models" => lists::models(site),
        "user" => deeds::user(counted, &admin, body(site, request).await?).await?,
        "key" => deeds::key(counted, &admin, body(site, request).await?).await?,
        "revoke" => deeds::revoke(counted, &admin, body(site, request).await?).await?,
        "model" => deeds::model(counted, &admin, &body(site, request).await?)?,
        "reload" => deeds::reload(counted, &admin).await?,
        _ => deeds::invite(counted, &admin, &body(site, request).await?)?,
    };
    Ok(json_response(StatusCode::OK, &answer))
}

/// The body of a request, as JSON.
async fn body<T: DeserializeOwned>(site: &Site, request: Request<Incoming>) -> Result<T, Refusal> {
    let body = request::body(site, request, limits::HTTP_BODY_BYTES).await?;
    serde_json::from_slice(&body).map_err(|error| {
        Refusal::new(StatusCode::BAD_REQUEST, "invalid_json", format!("the body is not as it must be: {error}"))
    })
}
