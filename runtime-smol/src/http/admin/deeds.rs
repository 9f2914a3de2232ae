//! What an administrator does. Each deed is in the audit log.

use std::time::Duration;

use causerie_core::{Role, UnixMicros};
use hyper::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::super::{Counted, Refusal, ask};
use super::lists;
use crate::admission::Visitor;
use crate::auth::{IssueError, NAME_BYTES};
use crate::limits;
use crate::models::ModelError;
use crate::socket::Arrival;
use crate::store::audit::{self, Action, Deed};
use crate::store::keys::{self, KEY_NAME_BYTES, NewKey, Scope, Secret};
use crate::store::users::{self, UserChange};
use crate::store::{self, together};

/// What is to become different about somebody. A field that is there and null means something else than none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    user: String,
    #[serde(default, deserialize_with = "there")]
    role: Option<Option<RoleName>>,
    disabled: Option<bool>,
    #[serde(default, deserialize_with = "there")]
    tokens_a_day: Option<Option<u64>>,
    #[serde(default, deserialize_with = "there")]
    parallel: Option<Option<u32>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RoleName {
    User,
    Admin,
}

fn there<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A deed of an administrator's, from where their request came.
fn deed(counted: &Counted, admin: &Visitor, action: Action, subject: String) -> Deed {
    Deed { actor: admin.claims.username.clone(), action, subject, source: counted.source() }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "invalid_field", message)
}

fn not_found(message: String) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "not_found", message)
}

/// A name that a user can have.
fn name(name: &str, what: &str, limit: usize) -> Result<String, Refusal> {
    let name = name.trim();
    if name.is_empty() || name.len() > limit || name.chars().any(char::is_control) {
        return Err(invalid(format!("{what} has 1 to {limit} bytes on one line, and this one has {}", name.len())));
    }
    Ok(name.to_owned())
}

/// Changes somebody's role, quota or standing.
pub(super) async fn user(counted: &Counted, admin: &Visitor, asked: User) -> Result<Value, Refusal> {
    let who = name(&asked.user, "a user's name", NAME_BYTES)?;
    if asked.disabled == Some(true) && (who == admin.claims.username || who == admin.claims.sub) {
        return Err(invalid("nobody can disable themselves: ask another administrator"));
    }
    let role = |name| match name {
        RoleName::User => Role::User,
        RoleName::Admin => Role::Admin,
    };
    let change = UserChange {
        role: asked.role.map(|name| name.map(role)),
        disabled: asked.disabled,
        tokens_a_day: asked.tokens_a_day,
        parallel: asked.parallel,
    };
    let mut deed = deed(counted, admin, Action::UserChanged, String::new());
    let missing = not_found(format!("nobody called {who:?} has been here, or several were: use the user id"));
    let changed = ask(counted, move |connection| {
        together(connection, |connection| {
            let now = store::now();
            let Some(user) = users::find(connection, &who, now)? else { return Ok(None) };
            let user = users::change(connection, &user, &change, now)?;
            deed.subject = user.to_string();
            audit::add(connection, &deed, now)?;
            Ok(Some((user, users::outcasts(connection)?)))
        })
    });
    let (user, outcasts) = changed.await?.ok_or(missing)?;
    // It fails only when the server has ended.
    let _ = counted.site.arrivals.send(Arrival::Outcast(outcasts)).await;
    Ok(lists::user(&user))
}

/// What a key is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    user: String,
    name: String,
    scope: Option<ScopeName>,
    /// In seconds.
    ttl: Option<u32>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ScopeName {
    User,
    Admin,
    Metrics,
}

/// Makes a key.
pub(super) async fn key(counted: &Counted, admin: &Visitor, asked: Key) -> Result<Value, Refusal> {
    let owner = name(&asked.user, "a user's name", NAME_BYTES)?;
    let scope = match asked.scope {
        None | Some(ScopeName::User) => Scope::User,
        Some(ScopeName::Admin) => Scope::Admin,
        Some(ScopeName::Metrics) => Scope::Metrics,
    };
    let now = store::now();
    let expires = asked.ttl.map(|ttl| UnixMicros(now.0.saturating_add(u64::from(ttl) * 1_000_000)));
    let new = NewKey { name: name(&asked.name, "a key's name", KEY_NAME_BYTES)?, scope, expires };
    let secret = Secret::new().map_err(|error| {
        tracing::error!(%error, "no key: the system gives no randomness");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "no_randomness", "the system gives no randomness")
    })?;
    let mut deed = deed(counted, admin, Action::KeyCreated, String::new());
    let made = ask(counted, move |connection| {
        together(connection, |connection| {
            let key = keys::create(connection, &users::known(connection, &owner, now)?, &secret, &new, now)?;
            deed.subject = key.to_string();
            audit::add(connection, &deed, now)?;
            Ok((key, secret))
        })
    });
    let (key, secret) = made.await?;
    Ok(json!({ "key": secret.reveal(), "prefix": key.prefix, "user": key.username }))
}

/// Which key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revoke {
    key: String,
}

/// Revokes a key.
pub(super) async fn revoke(counted: &Counted, admin: &Visitor, asked: Revoke) -> Result<Value, Refusal> {
    let mut deed = deed(counted, admin, Action::KeyRevoked, String::new());
    let missing = not_found(format!("there is no key {:?}", asked.key));
    let revoked = ask(counted, move |connection| {
        together(connection, |connection| {
            let now = store::now();
            let Some(key) = keys::revoke(connection, &asked.key, now)? else { return Ok(None) };
            deed.subject = key.to_string();
            audit::add(connection, &deed, now)?;
            Ok(Some((key, users::outcasts(connection)?)))
        })
    });
    let (key, outcasts) = revoked.await?.ok_or(missing)?;
    let _ = counted.site.arrivals.send(Arrival::Outcast(outcasts)).await;
    Ok(json!({ "key": key.prefix, "state": "revoked" }))
}

/// What is to become of a model: a file's name, as `/v1/models` has it, or as `causerie pull` takes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub(super) enum ModelWish {
    /// Load it beside the chat's.
    Load(String),
    /// Let it go.
    Unload(String),
    /// Make it the chat's.
    Chat(String),
}

/// Loads a model, lets one go, or makes one the chat's.
pub(super) fn model(counted: &Counted, admin: &Visitor, wish: &ModelWish) -> Result<Value, Refusal> {
    let models = &counted.site.models;
    let (action, done, name) = match wish {
        ModelWish::Load(name) => {
            (Action::ModelLoaded, "loading", models.source(name).and_then(|source| models.load(source)))
        }
        ModelWish::Unload(name) => (Action::ModelUnloaded, "unloading", models.unload(name).map(|()| name.clone())),
        ModelWish::Chat(name) => {
            (Action::ModelChanged, "chat", models.source(name).and_then(|source| models.switch_chat(source)))
        }
    };
    let name = name.map_err(|error| {
        let (status, code) = match &error {
            ModelError::NotLoaded(_) | ModelError::NotHere(_) => (StatusCode::NOT_FOUND, "model_not_found"),
            ModelError::Name(_) => (StatusCode::BAD_REQUEST, "invalid_model"),
            ModelError::Loaded(_) | ModelError::Chats(_) | ModelError::Busy => (StatusCode::CONFLICT, "model_in_use"),
            ModelError::TooMany | ModelError::Memory { .. } | ModelError::Thread(_) => {
                (StatusCode::CONFLICT, "no_room_for_model")
            }
        };
        Refusal::new(status, code, error.to_string())
    })?;
    counted.site.admissions.remember(deed(counted, admin, action, name.clone()));
    Ok(json!({ done: name }))
}

/// Loads the chat's model anew.
pub(super) async fn reload(counted: &Counted, admin: &Visitor) -> Result<Value, Refusal> {
    counted.site.admissions.remember(deed(counted, admin, Action::ModelReloaded, "the chat's model".to_owned()));
    let _ = counted.site.arrivals.send(Arrival::Reload).await;
    Ok(json!({ "reloading": true }))
}

/// For whom a token is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Invite {
    username: String,
    /// In seconds; [`limits::INVITATION_TIME`] if there is none.
    ttl: Option<u32>,
    /// The session that the link leads to.
    session: Option<String>,
}

/// Makes a token for somebody, and the link that signs them in with it.
pub(super) fn invite(counted: &Counted, admin: &Visitor, asked: &Invite) -> Result<Value, Refusal> {
    let session = asked.session.as_deref();
    if session.is_some_and(|id| id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')) {
        return Err(invalid("the session is to be a session's id"));
    }
    let ttl = asked.ttl.map_or(limits::INVITATION_TIME, |seconds| Duration::from_secs(seconds.into()));
    let token = counted.site.auth.issue(&asked.username, Role::User, ttl).map_err(|error| match error {
        IssueError::Username { .. } | IssueError::Ttl { .. } => invalid(error.to_string()),
        _ => Refusal::new(StatusCode::CONFLICT, "cannot_issue", error.to_string()),
    })?;
    let username = asked.username.trim();
    let subject = format!("{username} for {} s", ttl.as_secs());
    counted.site.admissions.remember(deed(counted, admin, Action::Invited, subject));
    let session = session.map(|session| format!("session={session}&")).unwrap_or_default();
    let path = format!("/#{session}token={token}");
    Ok(json!({ "token": token, "username": username, "expires_in": ttl.as_secs(), "path": path }))
}
