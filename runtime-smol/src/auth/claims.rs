//! What a token says, once its signature is known to be good.

use causerie_core::Role;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::LEEWAY_SECONDS;
use super::error::TokenError;

/// The longest `sub` and `username`, in bytes: they are stored with every message and sent with many frames.
pub const NAME_BYTES: usize = causerie_core::limits::USERNAME_BYTES;

/// The namespace (RFC 9562, 6.5) of the user ids that we make from names: an arbitrary UUID, fixed for good.
const USERS: Uuid = Uuid::from_u128(0x6d0c_6b4e_3f0a_4d55_9a4e_7c1f_2b8d_91e3);

/// What `type` must be: the system that these tokens come from also has refresh tokens, which are for something else.
const ACCESS: &str = "access";

/// The private claim (RFC 7519, 4.3) of [`Claims::renew_until`].
const RENEW_UNTIL: &str = "renew_until";

/// Who a token is about, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The user's id. A number in the token is taken as its decimal digits.
    pub sub: String,
    /// The name that others see; the `sub` where the token has none.
    pub username: String,
    /// `admin`, or anything else and nothing: an ordinary user.
    pub role: Role,
    /// When it was issued, in seconds since 1970-01-01T00:00:00Z, if it says so.
    pub iat: Option<u64>,
    /// From when on it is no longer valid, in seconds since 1970-01-01T00:00:00Z.
    pub exp: u64,
    /// Up to when it can be renewed, in seconds since 1970-01-01T00:00:00Z: the private claim `renew_until` of tokens
    /// that come from a login link. One without it cannot be renewed at all.
    pub renew_until: Option<u64>,
}

/// The user id of a name of ours: UUIDv5, so it is known without a database and always the same.
pub fn user_id(username: &str) -> String {
    Uuid::new_v5(&USERS, username.as_bytes()).to_string()
}

/// A token of ours, as JSON.
pub(super) fn ours(claims: &Claims, issuer: Option<&str>, audience: Option<&str>) -> Value {
    let Claims { sub, username, role, iat, exp, renew_until } = claims;
    let role = match role {
        Role::Admin => "admin",
        Role::User => "user",
    };
    let mut json = json!({"sub": sub, "username": username, "role": role, "iat": iat, "exp": exp, "type": ACCESS});
    if let Some(renew_until) = renew_until {
        json[RENEW_UNTIL] = (*renew_until).into();
    }
    for (name, value) in [("iss", issuer), ("aud", audience)] {
        if let Some(value) = value {
            json[name] = value.into();
        }
    }
    json
}

/// Checks the claims of a token as of `now`, in seconds since 1970-01-01T00:00:00Z.
pub(super) fn check(
    claims: &Map<String, Value>,
    issuer: Option<&str>,
    audience: Option<&str>,
    now: u64,
) -> Result<Claims, TokenError> {
    let exp = time(claims, "exp")?.ok_or(TokenError::Missing("exp"))?;
    if exp.saturating_add(LEEWAY_SECONDS) <= now {
        return Err(TokenError::Expired);
    }
    if time(claims, "nbf")?.is_some_and(|nbf| nbf > now.saturating_add(LEEWAY_SECONDS)) {
        return Err(TokenError::NotYet);
    }
    match claims.get("type") {
        None | Some(Value::Null) => return Err(TokenError::Missing("type")),
        Some(Value::String(kind)) if kind == ACCESS => {}
        Some(_) => return Err(TokenError::NotAccess),
    }
    if issuer.is_some() && text(claims, "iss")?.as_deref() != issuer {
        return Err(TokenError::Issuer);
    }
    check_audience(claims.get("aud"), audience)?;
    let sub = match claims.get("sub") {
        Some(Value::Number(number)) if number.is_u64() || number.is_i64() => Some(number.to_string()),
        _ => text(claims, "sub")?,
    };
    let sub = sub.ok_or(TokenError::Missing("sub"))?;
    let username = text(claims, "username")?.unwrap_or_else(|| sub.clone());
    for (name, value) in [("sub", &sub), ("username", &username)] {
        if let Some(why) = name_fault(value) {
            return Err(TokenError::Claim { name, why });
        }
    }
    let role = match claims.get("role") {
        Some(Value::String(role)) if role == "admin" => Role::Admin,
        _ => Role::User,
    };
    let (iat, renew_until) = (time(claims, "iat")?, time(claims, RENEW_UNTIL)?);
    Ok(Claims { sub, username, role, iat, exp, renew_until })
}

/// What is wrong with a name or an id, if anything is.
pub(super) fn name_fault(name: &str) -> Option<&'static str> {
    if name.trim().is_empty() {
        Some("is empty")
    } else if name.len() > NAME_BYTES {
        Some("is longer than 128 bytes")
    } else if name.chars().any(char::is_control) {
        Some("has control characters")
    } else {
        None
    }
}

/// A claim that must be a string when it is there.
fn text(claims: &Map<String, Value>, name: &'static str) -> Result<Option<String>, TokenError> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(value)) => Ok(Some(value.clone())),
        Some(_) => Err(TokenError::Claim { name, why: "is not a string" }),
    }
}

/// A claim that must be a NumericDate (RFC 7519, 2) when it is there: seconds, which may have a fraction.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, TokenError> {
    let not_a_time = TokenError::Claim { name, why: "is not a number of seconds since 1970" };
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(seconds), _) => Ok(Some(seconds)),
            // `as` saturates: a time before 1970 is 0 and long past, one beyond 2^64 is never reached.
            (None, Some(seconds)) if seconds.is_finite() => Ok(Some(seconds as u64)),
            _ => Err(not_a_time),
        },
        Some(_) => Err(not_a_time),
    }
}

/// A token that is meant for others must not be taken (RFC 7519, 4.1.3).
fn check_audience(claim: Option<&Value>, wanted: Option<&str>) -> Result<(), TokenError> {
    let is_for_us = match (claim, wanted) {
        (None | Some(Value::Null), wanted) => wanted.is_none(),
        (Some(_), None) => false,
        (Some(Value::String(audience)), Some(wanted)) => audience == wanted,
        (Some(Value::Array(audiences)), Some(wanted)) => audiences.iter().any(|one| one.as_str() == Some(wanted)),
        (Some(_), Some(_)) => false,
    };
    if is_for_us { Ok(()) } else { Err(TokenError::Audience) }
}
