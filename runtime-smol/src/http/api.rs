//! `/api/login` and `/api/token`: how a browser gets its tokens.

use std::time::{Duration, Instant};

use causerie_core::Role;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use smol::Timer;
use smol::future::or;

use super::{Refusal, Response, Site, check_origin, json as json_response};
use crate::auth::{Handshake, IssueError};
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
    let username = &site.operator;
    let token = site.auth.issue_renewable(username, Role::Admin, limits::TOKEN_TIME, limits::LOGIN_RENEWED);
    let token = token.map_err(|error| cannot_issue(&error))?;
    Ok(issued(&token, username, limits::TOKEN_TIME))
}

/// A living token that came from a login becomes a fresh one of the same person.
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
    let (token, ttl) = site.auth.renew(&claims, limits::TOKEN_TIME).map_err(|error| match error {
        IssueError::NotRenewable | IssueError::RenewalOver => {
            Refusal::new(StatusCode::FORBIDDEN, "not_renewable", error.to_string())
        }
        _ => cannot_issue(&error),
    })?;
    Ok(issued(&token, &claims.username, ttl))
}

fn cannot_issue(error: &IssueError) -> Refusal {
    tracing::warn!(%error, "cannot issue a token");
    Refusal::new(StatusCode::CONFLICT, "cannot_issue", error.to_string())
}

fn issued(token: &str, username: &str, ttl: Duration) -> Response {
    json_response(StatusCode::OK, &json!({ "token": token, "username": username, "expires_in": ttl.as_secs() }))
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
