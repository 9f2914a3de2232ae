//! `/api/login` and `/api/token`: how a browser gets its tokens.

use std::time::Instant;

use causerie_core::Role;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use smol::Timer;
use smol::future::or;

use super::{Refusal, Response, Site, check_origin, json as json_response};
use crate::auth::Handshake;
use crate::limits;

#[derive(Deserialize)]
struct Login {
    code: String,
}

/// A code of the printed link becomes a token of the operator's.
pub(super) async fn login(site: &Site, request: Request<Incoming>) -> Result<Response, Refusal> {
    check_origin(site, &request)?;
    let body = body(request).await?;
    let login: Login = serde_json::from_slice(&body).map_err(|error| {
        let message = format!("the body is to be {{\"code\": \"...\"}}: {error}");
        Refusal::new(StatusCode::BAD_REQUEST, "invalid_json", message)
    })?;
    let redeemed = site.logins.borrow_mut().redeem(&login.code, Instant::now());
    redeemed.map_err(|wrong| Refusal::new(StatusCode::UNAUTHORIZED, "wrong_code", wrong.to_string()))?;
    issue(site, &site.operator, Role::Admin)
}

/// A living token becomes a fresh one of the same person.
pub(super) fn token<B>(site: &Site, request: &Request<B>) -> Result<Response, Refusal> {
    check_origin(site, request)?;
    let unauthorized = |message: String| {
        let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "invalid_token", message);
        refusal.with(header::WWW_AUTHENTICATE, "Bearer")
    };
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let old = Handshake::read(None, [], authorization).token;
    let old = old.ok_or_else(|| unauthorized("there is no token: send Authorization: Bearer JWT".to_owned()))?;
    let claims = site.auth.verify(&old).map_err(|error| unauthorized(error.to_string()))?;
    issue(site, &claims.username, claims.role)
}

fn issue(site: &Site, username: &str, role: Role) -> Result<Response, Refusal> {
    let token = site.auth.issue(username, role, limits::TOKEN_TIME).map_err(|error| {
        tracing::warn!(%error, username, "cannot issue a token");
        Refusal::new(StatusCode::CONFLICT, "cannot_issue", error.to_string())
    })?;
    let body = json!({ "token": token, "username": username, "expires_in": limits::TOKEN_TIME.as_secs() });
    Ok(json_response(StatusCode::OK, &body))
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let read = async { Some(Limited::new(request.into_body(), limits::HTTP_BODY_BYTES).collect().await) };
    let late = async {
        Timer::after(limits::HTTP_BODY_TIME).await;
        None
    };
    match or(read, late).await {
        Some(Ok(body)) => Ok(body.to_bytes()),
        Some(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let message = format!("the body is longer than {} bytes", limits::HTTP_BODY_BYTES);
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message))
        }
        Some(Err(error)) => {
            let message = format!("the body did not come whole: {error}");
            Err(Refusal::new(StatusCode::BAD_REQUEST, "body_lost", message))
        }
        None => {
            let message = format!("the body did not come within {} s", limits::HTTP_BODY_TIME.as_secs());
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "body_late", message))
        }
    }
}
