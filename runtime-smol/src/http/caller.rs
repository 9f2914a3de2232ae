//! Who a request is from.

use causerie_core::Role;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap};

use super::{Counted, Refusal, check_origin};
use crate::admission::{Rejection, Visitor};
use crate::auth::Handshake;

/// Whose token or API key a request bears in `Authorization: Bearer` (RFC 6750, 2.1), if they may chat.
pub(super) async fn bearer(counted: &Counted, headers: &HeaderMap) -> Result<Visitor, Refusal> {
    let visitor = anybody(counted, headers).await?;
    if visitor.may_chat() { Ok(visitor) } else { Err(forbidden("this API key is for /metrics alone")) }
}

/// As [`bearer`], if they are an administrator, and ask from no page of others.
pub(super) async fn admin(counted: &Counted, request: &hyper::Request<impl Sized>) -> Result<Visitor, Refusal> {
    check_origin(&counted.site, request)?;
    let visitor = bearer(counted, request.headers()).await?;
    if visitor.claims.role == Role::Admin { Ok(visitor) } else { Err(forbidden("this is for administrators")) }
}

/// Whoever bears a token or key that is good.
pub(super) async fn anybody(counted: &Counted, headers: &HeaderMap) -> Result<Visitor, Refusal> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = Handshake::read(None, [], authorization).token;
    let token = token
        .ok_or_else(|| unauthorized("there is no token: send Authorization: Bearer TOKEN, a JWT or an API key"))?;
    let admitted = counted.site.admissions.admit(&token, counted.source()).await;
    admitted.map_err(|rejection| match rejection {
        Rejection::Invalid(why) => unauthorized(&why),
        Rejection::Disabled(why) => Refusal::new(StatusCode::FORBIDDEN, "account_disabled", why),
        Rejection::Unknown(_) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "storage_failed", rejection.to_string())
            .with(header::RETRY_AFTER, "1"),
    })
}

fn unauthorized(message: &str) -> Refusal {
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "invalid_token", message);
    refusal.with(header::WWW_AUTHENTICATE, "Bearer")
}

/// A good token that is not good for this.
pub(super) fn forbidden(message: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "not_allowed", message)
}
