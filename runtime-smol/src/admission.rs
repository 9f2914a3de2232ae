//! Who comes in: a token or an API key, checked, and what storage says about its bearer.

use std::cell::Cell;
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use causerie_core::Role;

use crate::auth::{Auth, Claims};
use crate::limits;
use crate::store::audit::{self, Action, Deed};
use crate::store::keys::{KeyHash, Scope};
use crate::store::{self, Admission, AskError, Denied, Presented, Store};

/// `exp` of what has no end of its own, in seconds since 1970-01-01T00:00:00Z: the last second of the year 9999.
const NO_END: u64 = 253_402_300_799;

/// Somebody who may come in.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    /// Who, with the role that counts here.
    pub(crate) claims: Claims,
    /// Their role as their token says, which a token that is made from it says again.
    pub(crate) said: Role,
    /// Their role by the database, whatever their token says.
    pub(crate) role: Option<Role>,
    /// With which key, and what it may do.
    pub(crate) key: Option<(i64, Scope)>,
}

impl Visitor {
    /// Whether they may chat and use the API; a key for the metrics alone may not.
    pub(crate) fn may_chat(&self) -> bool {
        !matches!(self.key, Some((_, Scope::Metrics)))
    }

    /// Whether they may read the server's figures.
    pub(crate) fn may_measure(&self) -> bool {
        self.claims.role == Role::Admin || matches!(self.key, Some((_, Scope::Metrics)))
    }
}

/// Why somebody may not.
#[derive(Clone, Debug)]
pub(crate) enum Rejection {
    /// The token or key is no good, and why, for its bearer.
    Invalid(String),
    /// Their account is disabled.
    Disabled(String),
    /// Storage does not answer.
    Unknown(String),
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::Invalid(why) | Rejection::Disabled(why) => f.write_str(why),
            Rejection::Unknown(_) => f.write_str("storage cannot say who this is: try again in a moment"),
        }
    }
}

/// The door, which all of HTTP and WebSocket share.
#[derive(Debug)]
pub(crate) struct Admissions {
    auth: Arc<Auth>,
    /// Gone when the server has stopped.
    store: Weak<Store>,
    refused: Rc<Refused>,
}

/// Refusals that were remembered in the last minute: somebody who tries all keys fills no log with it.
#[derive(Debug)]
struct Refused {
    since: Cell<Instant>,
    count: Cell<u32>,
}

impl Refused {
    /// Whether one more is to be remembered at this time.
    fn is_to_be_told(&self, now: Instant) -> bool {
        if now.duration_since(self.since.get()) >= Duration::from_secs(60) {
            self.since.set(now);
            self.count.set(0);
        }
        self.count.set(self.count.get().saturating_add(1));
        self.count.get() <= limits::AUDIT_REFUSALS_A_MINUTE
    }
}

impl Admissions {
    /// A door with these keys to tokens, and this storage.
    pub(crate) fn new(auth: Arc<Auth>, store: &Rc<Store>) -> Admissions {
        let refused = Refused { since: Cell::new(Instant::now()), count: Cell::new(0) };
        Admissions { auth, store: Rc::downgrade(store), refused: Rc::new(refused) }
    }

    /// Checks a token or key from an address. Who comes for the first time is made known; a refusal is remembered.
    pub(crate) fn admit(
        &self,
        token: &str,
        source: String,
    ) -> impl Future<Output = Result<Visitor, Rejection>> + 'static {
        let checked = match KeyHash::of(token) {
            Some(hash) => Ok((Presented::Key(hash), None)),
            None => match self.auth.verify(token) {
                Ok(claims) => {
                    let (user_id, username) = (claims.sub.clone(), claims.username.clone());
                    Ok((Presented::Token { user_id, username }, Some(claims)))
                }
                Err(error) => Err(Rejection::Invalid(error.to_string())),
            },
        };
        let (store, refused) = (self.store.clone(), self.refused.clone());
        async move {
            let outcome = match checked {
                Ok((presented, claims)) => {
                    ask(&store, presented, source.clone()).await.map(|found| visitor(found, claims))
                }
                Err(rejection) => Err(rejection),
            };
            match &outcome {
                Err(Rejection::Unknown(reason)) => tracing::error!(%reason, "storage could not say who comes"),
                Err(rejection) if refused.is_to_be_told(Instant::now()) => {
                    let (actor, subject) = ("(unknown)".to_owned(), rejection.to_string());
                    remember(&store, Deed { actor, action: Action::SignInRefused, subject, source });
                }
                Err(rejection) => tracing::debug!(%rejection, "one of many refusals, which are not all remembered"),
                Ok(_) => {}
            }
            outcome
        }
    }

    /// Writes down that somebody was refused by something else than a token or a key, unless there are too many such.
    pub(crate) fn refuse(&self, subject: &str, source: String) {
        if self.refused.is_to_be_told(Instant::now()) {
            let (actor, subject) = ("(unknown)".to_owned(), subject.to_owned());
            self.remember(Deed { actor, action: Action::SignInRefused, subject, source });
        }
    }

    /// Writes down what somebody did. It is lost, and the log says so, where storage cannot take it.
    pub(crate) fn remember(&self, deed: Deed) {
        remember(&self.store, deed);
    }
}

fn remember(store: &Weak<Store>, deed: Deed) {
    let Some(store) = store.upgrade() else { return };
    let (actor, action) = (deed.actor.clone(), deed.action.name());
    tracing::info!(%actor, action, subject = %deed.subject, source = %deed.source, "audit");
    // Done without anybody waiting for it.
    drop(store.ask(move |connection| {
        let added = audit::add(connection, &deed, store::now());
        added.inspect_err(|error| tracing::error!(%error, action, "the audit log could not be written"))
    }));
}

async fn ask(store: &Weak<Store>, presented: Presented, source: String) -> Result<Admission, Rejection> {
    let gone = || Rejection::Unknown(AskError::Submit(store::SubmitError::Stopped).to_string());
    let asked = match store.upgrade() {
        None => return Err(gone()),
        Some(store) => store.ask(move |connection| store::admit(connection, &presented, &source, store::now())),
    };
    match asked.await {
        Ok(Ok(admission)) => Ok(admission),
        Ok(Err(denied @ Denied::Disabled(_))) => Err(Rejection::Disabled(denied.to_string())),
        Ok(Err(denied)) => Err(Rejection::Invalid(denied.to_string())),
        Err(error) => Err(Rejection::Unknown(error.to_string())),
    }
}

/// Puts together what the token says and what the database knows. The database's role counts; a key never makes more of
/// its owner than it says itself.
fn visitor(Admission { user, key }: Admission, claims: Option<Claims>) -> Visitor {
    let said = claims.as_ref().map_or(Role::User, |claims| claims.role);
    let claims = match (claims, &key) {
        (Some(claims), _) => Claims { role: user.role.unwrap_or(claims.role), ..claims },
        (None, key) => {
            let is_admin = matches!(key, Some(key) if key.scope == Scope::Admin) && user.role != Some(Role::User);
            let exp = key.as_ref().and_then(|key| key.expires).map_or(NO_END, |expires| expires.0 / 1_000_000);
            Claims {
                sub: user.user_id,
                username: user.username,
                role: if is_admin { Role::Admin } else { Role::User },
                iat: None,
                exp,
                renew_until: None,
            }
        }
    };
    Visitor { claims, said, role: user.role, key: key.map(|key| (key.key, key.scope)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_refusals_a_minute_as_the_log_takes_and_one_more() {
        let begin = Instant::now();
        let refused = Refused { since: Cell::new(begin), count: Cell::new(0) };
        for _ in 0..limits::AUDIT_REFUSALS_A_MINUTE {
            assert!(refused.is_to_be_told(begin));
        }
        assert!(!refused.is_to_be_told(begin + Duration::from_secs(59)));
        assert!(refused.is_to_be_told(begin + Duration::from_secs(60)));
    }
}
