//! `GET /v1/models`, and which model a request means.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::super::{Response, Site, json as json_response};
use super::error::ApiError;
use super::fields::Fields;
use crate::fetch::KnownModel;
use crate::limits;
use crate::worker::{Asker, Status, TaskFailure};

/// What the chat's model is called by those who do not care.
const DEFAULT: &str = "default";

/// All models.
pub(super) fn list(site: &Site) -> Response {
    let models: Vec<Value> = site.models.names().iter().map(|name| model(site, name)).collect();
    json_response(StatusCode::OK, &json!({ "object": "list", "data": models }))
}

/// One of them.
pub(super) fn one(site: &Site, name: &str) -> Result<Response, ApiError> {
    let (name, _) = by_name(site, name)?;
    Ok(json_response(StatusCode::OK, &model(site, &name)))
}

fn model(site: &Site, name: &str) -> Value {
    json!({ "id": name, "object": "model", "created": site.health.since(), "owned_by": "causerie" })
}

/// The model that a request names in its field `model`, and its own name.
pub(super) fn find(site: &Site, fields: &Fields<'_>) -> Result<(String, Asker), ApiError> {
    by_name(site, fields.string("model")?.unwrap_or_default())
}

/// By its file's name, by the name of a model that is known, or the chat's by [`DEFAULT`] or none.
fn by_name(site: &Site, name: &str) -> Result<(String, Asker), ApiError> {
    let name = if name == DEFAULT { "" } else { name };
    if let Some(asker) = site.models.find(name) {
        let chat = || site.models.names().into_iter().next().unwrap_or_else(|| DEFAULT.to_owned());
        return Ok((if name.is_empty() { chat() } else { name.to_owned() }, asker));
    }
    let known = KnownModel::from_name(name).and_then(|known| known.file.strip_suffix(".gguf"));
    if let Some((file, asker)) = known.and_then(|file| Some((file, site.models.find(file)?))) {
        return Ok((file.to_owned(), asker));
    }
    let names = site.models.names();
    if names.is_empty() && !matches!(site.health.status(), Status::Ready { .. }) {
        let failure = TaskFailure::Unavailable(site.health.status().to_string());
        return Err(ApiError::from_failure(failure, "model"));
    }
    let shown: String = name.chars().take(limits::API_SHOWN_CHARS).collect();
    let message = format!("there is no model {shown:?} here; there is {}", names.join(", "));
    Err(ApiError::new(StatusCode::NOT_FOUND, "model_not_found", message).about("model"))
}
