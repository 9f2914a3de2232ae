//! How much each person may use: answers at once, and tokens a day.
//!
//! The bounds and what was used today are storage's; what runs now is counted here, for chats and the API together. An
//! answer is let in or not when it begins, so that those under way may go beyond the day's bound by what they say.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::{Rc, Weak};

use causerie_core::{GenerationFailure, Usage};

use crate::metrics::{Metrics, Whence};
use crate::store::usage::{self, Account};
use crate::store::{self, AskError, Store};

/// What is running, by user id, and the way to what was used.
#[derive(Debug)]
pub(crate) struct Quotas {
    running: RefCell<HashMap<String, u32>>,
    /// Gone when the server has stopped.
    store: Weak<Store>,
    /// Where answers of the API are counted; those of chats count themselves.
    metrics: Rc<Metrics>,
}

/// Why an answer is not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// The tokens of this day are used.
    Tokens {
        /// How many there are in a day.
        a_day: u64,
        /// Until the next day.
        retry_s: u64,
    },
    /// So many answers are under way already.
    Parallel {
        /// How many there may be.
        limit: u32,
    },
    /// Storage does not say.
    Unknown(AskError),
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exceeded::Tokens { a_day, retry_s } => {
                write!(f, "the {a_day} tokens of this day are used; the next begins in {retry_s} s, at midnight, UTC")
            }
            Exceeded::Parallel { limit } => write!(f, "{limit} answers of yours are under way; wait for one to end"),
            Exceeded::Unknown(_) => f.write_str("storage cannot say what you may use: try again in a moment"),
        }
    }
}

impl From<&Exceeded> for GenerationFailure {
    fn from(exceeded: &Exceeded) -> GenerationFailure {
        match exceeded {
            Exceeded::Tokens { a_day, .. } => GenerationFailure::Quota { tokens_a_day: *a_day },
            Exceeded::Parallel { .. } | Exceeded::Unknown(_) => GenerationFailure::Overloaded,
        }
    }
}

/// An answer that may be made; it counts as running until this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    quotas: Rc<Quotas>,
    user_id: String,
    whence: Whence,
}

impl Quotas {
    /// With nothing running.
    pub(crate) fn new(store: &Rc<Store>, metrics: Rc<Metrics>) -> Quotas {
        Quotas { running: RefCell::default(), store: Rc::downgrade(store), metrics }
    }

    /// Lets an answer of somebody begin, whose account was just read.
    pub(crate) fn begin(self: &Rc<Quotas>, account: Account) -> Result<Permit, Exceeded> {
        if let Some(a_day) = account.quota.tokens_a_day
            && account.computed >= a_day
        {
            return Err(Exceeded::Tokens { a_day, retry_s: store::seconds_left(store::now()) });
        }
        let mut running = self.running.borrow_mut();
        let now = running.get(&account.user_id).copied().unwrap_or(0);
        if let Some(limit) = account.quota.parallel
            && now >= limit
        {
            return Err(Exceeded::Parallel { limit });
        }
        running.insert(account.user_id.clone(), now + 1);
        Ok(Permit { quotas: self.clone(), user_id: account.user_id, whence: Whence::Chat })
    }

    /// As [`Quotas::begin`], reading the account first: for the API.
    pub(crate) async fn admit(self: &Rc<Quotas>, user_id: &str) -> Result<Permit, Exceeded> {
        let user_id = user_id.to_owned();
        let account = match self.store.upgrade() {
            None => return Err(Exceeded::Unknown(AskError::Submit(store::SubmitError::Stopped))),
            Some(store) => store.ask(move |connection| usage::account(connection, &user_id, store::now())),
        };
        let permit = self.begin(account.await.map_err(Exceeded::Unknown)?)?;
        Ok(permit.of_the_api())
    }
}

impl Permit {
    fn of_the_api(mut self) -> Permit {
        self.whence = Whence::Api;
        self
    }

    /// The answer has ended and has cost this.
    pub(crate) fn spend(self, usage: Usage) {
        if matches!(self.whence, Whence::Api) {
            self.quotas.metrics.answered(Whence::Api, usage);
        }
        let Some(store) = self.quotas.store.upgrade() else { return };
        let user_id = self.user_id.clone();
        drop(store.ask(move |connection| {
            let added = usage::add(connection, &user_id, usage, store::now());
            added.inspect_err(|error| tracing::error!(%error, "what an answer has cost could not be written"))
        }));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut running = self.quotas.running.borrow_mut();
        if let Some(count) = running.get_mut(&self.user_id) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.user_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use causerie_tests::TempDir;

    use super::*;
    use crate::store::users::Quota;

    fn account(computed: u64, tokens_a_day: Option<u64>, parallel: Option<u32>) -> Account {
        Account { user_id: "ada".to_owned(), quota: Quota { tokens_a_day, parallel }, computed }
    }

    #[test]
    fn as_many_answers_at_once_as_allowed_and_one_more() {
        let directory = TempDir::new();
        let store = Rc::new(Store::open(&directory.path().join("causerie.db"), smol::channel::unbounded().0).unwrap());
        let quotas = Rc::new(Quotas::new(&store, Rc::new(Metrics::new(Arc::default()))));
        let two = || quotas.begin(account(0, None, Some(2)));
        let (first, second) = (two().unwrap(), two().unwrap());
        assert_eq!(two().unwrap_err(), Exceeded::Parallel { limit: 2 });
        assert!(quotas.begin(Account { user_id: "grace".to_owned(), ..account(0, None, Some(1)) }).is_ok());
        drop(first);
        two().unwrap().spend(Usage::default());
        drop(second);
        assert!(quotas.running.borrow().is_empty());
        assert!(quotas.begin(account(0, None, Some(0))).is_err(), "nobody may is a bound, too");
    }

    #[test]
    fn the_last_token_of_a_day_and_the_next_one() {
        let directory = TempDir::new();
        let store = Rc::new(Store::open(&directory.path().join("causerie.db"), smol::channel::unbounded().0).unwrap());
        let quotas = Rc::new(Quotas::new(&store, Rc::new(Metrics::new(Arc::default()))));
        assert!(quotas.begin(account(99, Some(100), None)).is_ok());
        let refused = quotas.begin(account(100, Some(100), None)).unwrap_err();
        assert!(matches!(refused, Exceeded::Tokens { a_day: 100, retry_s: 1..=86_400 }), "{refused:?}");
        assert_eq!(GenerationFailure::from(&refused), GenerationFailure::Quota { tokens_a_day: 100 });
    }
}
