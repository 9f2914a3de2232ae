//! What the server does by itself from time to time: it hears what the command line has changed in the database, and
//! forgets what is old.

use std::num::NonZeroU32;
use std::rc::Weak;

use smol::Timer;
use smol::channel::Sender;

use crate::limits;
use crate::socket::Arrival;
use crate::store::audit::{self, Action, Deed};
use crate::store::{self, AskError, Store, expiry, users};

/// Looks whether another process has changed the database, and closes the connections of those who may no longer be here.
pub(crate) async fn watch(store: Weak<Store>, arrivals: Sender<Arrival>) {
    // No version of SQLite's: the first look finds everything new.
    let mut version = -1;
    loop {
        let Some(asked) = store.upgrade().map(|store| {
            store.ask(move |connection| {
                let mut seen = version;
                Ok((users::outcasts_since(connection, &mut seen)?, seen))
            })
        }) else {
            return;
        };
        match asked.await {
            Ok((outcasts, seen)) => {
                version = seen;
                if let Some(outcasts) = outcasts
                    && arrivals.send(Arrival::Outcast(outcasts)).await.is_err()
                {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "storage could not say what has changed; it is asked again"),
        }
        Timer::after(limits::CHANGES_LOOK).await;
    }
}

/// Forgets what is old: of audit log and usage always, and sessions without activity if they are to be kept for so many days
/// alone. Those that somebody has open stay until nobody has.
pub(crate) async fn forget(store: Weak<Store>, arrivals: Sender<Arrival>, days: Option<NonZeroU32>) {
    loop {
        Timer::after(limits::EXPIRY_PAUSE).await;
        let Some(pruned) = store.upgrade().map(|store| {
            store.ask(|connection| store::together(connection, |connection| expiry::prune(connection, store::now())))
        }) else {
            return;
        };
        if let Err(error) = pruned.await {
            tracing::warn!(%error, "what is old could not be forgotten; it is tried again");
        }
        if let Some(days) = days
            && let Err(error) = expire(&store, &arrivals, days.get()).await
        {
            tracing::warn!(%error, "sessions without activity could not be deleted; it is tried again");
        }
        Timer::after(limits::EXPIRY_LOOK).await;
    }
}

/// Goes through all sessions without activity, a few at a time.
async fn expire(store: &Weak<Store>, arrivals: &Sender<Arrival>, days: u32) -> Result<(), AskError> {
    let (mut after, mut told) = (0, 0);
    loop {
        let Some(asked) = store
            .upgrade()
            .map(|store| store.ask(move |connection| expiry::candidates(connection, days, after, store::now())))
        else {
            return Ok(());
        };
        let found = asked.await?;
        let Some(&(last, _)) = found.last() else { break };
        after = last;
        told += found.len();
        let sessions = found.into_iter().map(|(_, session)| session).collect();
        if arrivals.send(Arrival::Expire { sessions, days }).await.is_err() {
            return Ok(());
        }
        Timer::after(limits::EXPIRY_PAUSE).await;
    }
    if told > 0 {
        let subject = format!("{told} sessions without activity for {days} days, less those that were open");
        let deed =
            Deed { actor: "(server)".to_owned(), action: Action::Expired, subject, source: "(server)".to_owned() };
        if let Some(store) = store.upgrade() {
            drop(store.ask(move |connection| audit::add(connection, &deed, store::now())));
        }
    }
    Ok(())
}
