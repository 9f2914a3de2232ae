//! `/api/login` and `/api/token`: how a browser gets its tokens.

use std::time::{Duration, Instant};

use causerie_core::Role;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{Counted, Refusal, Response, caller, check_origin, json as json_response, request};
use crate::admission::Visitor;
use crate::auth::{Claims, IssueError};
use crate::limits;
use crate::store::audit::{Action, Deed};

#[derive(Deserialize)]
struct Login {
    code: String,
}

/// A code of the printed link becomes a token of the operator's.
pub(super) async fn login(counted: &Counted, request: Request<Incoming>) -> Result<Response, Refusal> {
    let site = &counted.site;
    check_origin(site, &request)?;
    let body = request::body(&counted.site, request, limits::HTTP_BODY_BYTES).await?;
    let login: Login = serde_json::from_slice(&body).map_err(|error| {
        let message = format!("the body is to be {{\"code\": \"...\"}}: {error}");
        Refusal::new(StatusCode::BAD_REQUEST, "invalid_json", message)
    })?;
    let redeemed = site.logins.borrow_mut().redeem(&login.code, Instant::now());
    let username = &site.operator;
    if let Err(wrong) = redeemed {
        site.admissions.refuse("a wrong login code", counted.source());
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "wrong_code", wrong.to_string()));
    }
    let token = site.auth.issue_renewable(username, Role::Admin, limits::TOKEN_TIME, limits::LOGIN_RENEWED);
    let token = token.map_err(|error| cannot_issue(&error))?;
    let (actor, subject) = (username.clone(), String::new());
    site.admissions.remember(Deed { actor, action: Action::Login, subject, source: counted.source() });
    Ok(issued(&token, username, limits::TOKEN_TIME))
}

/// A living token that came from a login becomes a fresh one of the same person.
pub(super) async fn token<B>(counted: &Counted, request: &Request<B>) -> Result<Response, Refusal> {
    let site = &counted.site;
    check_origin(site, request)?;
    let Visitor { claims, said, .. } = caller::bearer(counted, request.headers()).await?;
    let claims = Claims { role: said, ..claims };
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
