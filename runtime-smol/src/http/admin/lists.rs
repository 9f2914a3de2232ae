//! What an administrator looks at.

use causerie_core::UnixMicros;
use serde_json::{Value, json};

use super::super::{Counted, Refusal, Site, ask};
use crate::store;
use crate::store::audit::{self, Entry};
use crate::store::keys::{self, Key};
use crate::store::users::{self, User};

/// Entries of the audit log in one answer.
const ENTRIES: u32 = 100;

/// Seconds since 1970, as JavaScript's dates want them but for the factor.
fn seconds(at: UnixMicros) -> f64 {
    at.0 as f64 / 1e6
}

/// Somebody, as the page shows them.
pub(super) fn user(user: &User) -> Value {
    json!({
        "user": user.username,
        "user_id": user.user_id,
        "role": user.role.map(users::role_name),
        "disabled": user.disabled,
        "tokens_a_day": user.quota.tokens_a_day,
        "parallel": user.quota.parallel,
        "answers_today": user.today.answers,
        "tokens_today": user.today.computed(),
        "since": seconds(user.created),
        "seen": seconds(user.seen),
    })
}

/// Those who were here, the last first.
pub(super) async fn users(counted: &Counted) -> Result<Value, Refusal> {
    let known = ask(counted, |connection| users::list(connection, store::now())).await?;
    Ok(json!({ "users": known.iter().map(user).collect::<Vec<_>>() }))
}

/// The keys, the newest first.
pub(super) async fn keys(counted: &Counted) -> Result<Value, Refusal> {
    let known = ask(counted, |connection| keys::list(connection)).await?;
    let now = store::now();
    let key = |key: &Key| {
        json!({
            "key": key.prefix,
            "user": key.username,
            "name": key.name,
            "scope": key.scope.name(),
            "state": key.state(now),
            "created": seconds(key.created),
            "expires": key.expires.map(seconds),
            "used": key.used.map(seconds),
        })
    };
    Ok(json!({ "keys": known.iter().map(key).collect::<Vec<_>>() }))
}

/// The newest entries of the audit log, or those before one.
pub(super) async fn audit(counted: &Counted, query: Option<&str>) -> Result<Value, Refusal> {
    let before = query.and_then(|query| query.strip_prefix("before=")).and_then(|before| before.parse().ok());
    let entries = ask(counted, move |connection| audit::list(connection, before, ENTRIES)).await?;
    let entry = |entry: &Entry| {
        json!({
            "id": entry.key,
            "at": seconds(entry.at),
            "who": entry.actor,
            "what": entry.action,
            "about": entry.subject,
            "from": entry.source,
        })
    };
    Ok(json!({ "entries": entries.iter().map(entry).collect::<Vec<_>>() }))
}

/// The models, and what the chat's is doing.
pub(super) fn models(site: &Site) -> Value {
    let status = site.health.status();
    let chat = json!({ "state": status.state(), "message": status.to_string() });
    json!({ "models": site.models.names(), "chat": chat, "loaded": site.models.list() })
}
