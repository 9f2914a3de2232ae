//! Deadlines, each with its reason.

use alloc::collections::BTreeSet;

use crate::id::ConnectionId;
use crate::slab::Key;
use crate::time::Instant;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Output waits: call [`Hub::poll`](crate::Hub::poll) now.
    Output,
    /// A connection still without a verdict on its token is closed.
    Handshake,
    /// A connection is told that its token is about to expire.
    TokenExpiring,
    /// A connection whose token has expired is closed.
    TokenExpired,
    /// A person's `typing` ends.
    Typing,
    /// A connection that has sent nothing for long is looked at, and closed if it is still silent.
    Idle,
    /// The rate limits of a user who is gone have recovered, so the user is forgotten.
    UserForgotten,
    /// Running generations are cut short before the server stops.
    DrainGenerations,
    /// The server stops: connections still open are closed.
    Drain,
}

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Hub,
    Connection(ConnectionId),
    User(Key),
}

/// All deadlines, at most one for each owner: the owner computes its nearest one anew when it fires.
pub(crate) struct Timers {
    armed: BTreeSet<(Instant, Reason, Owner)>,
    /// The first of `armed`, kept so that an idle look costs the same with one connection and with a million.
    first: Option<(Instant, Reason)>,
}

impl Timers {
    pub(crate) fn new() -> Timers {
        Timers { armed: BTreeSet::new(), first: None }
    }

    pub(crate) fn next(&self) -> Option<(Instant, Reason)> {
        self.first
    }

    /// Replaces the deadline that `owner` had, which it keeps in `slot`.
    pub(crate) fn set(&mut self, owner: Owner, slot: &mut Option<(Instant, Reason)>, to: Option<(Instant, Reason)>) {
        if *slot == to {
            return;
        }
        if let Some((at, reason)) = slot.take() {
            self.armed.remove(&(at, reason, owner));
        }
        if let Some((at, reason)) = to {
            self.armed.insert((at, reason, owner));
        }
        *slot = to;
        self.refresh();
    }

    /// Takes one deadline that has come. Its owner must forget it and set its next one.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Owner> {
        let (at, ..) = self.first?;
        if at > now {
            return None;
        }
        let (.., owner) = self.armed.pop_first()?;
        self.refresh();
        Some(owner)
    }

    fn refresh(&mut self) {
        self.first = self.armed.first().map(|&(at, reason, _)| (at, reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64, reason: Reason) -> Option<(Instant, Reason)> {
        Some((Instant::from_micros(micros), reason))
    }

    #[test]
    fn deadlines_come_in_order_and_one_an_owner() {
        let mut timers = Timers::new();
        let a = Owner::Connection(ConnectionId(crate::slab::Key { index: 0, generation: 0 }));
        let (mut slot_a, mut slot_hub) = (None, None);
        timers.set(a, &mut slot_a, at(50, Reason::Idle));
        timers.set(Owner::Hub, &mut slot_hub, at(20, Reason::Drain));
        assert_eq!(timers.next(), at(20, Reason::Drain));
        timers.set(a, &mut slot_a, at(10, Reason::Typing));
        assert_eq!(timers.next(), at(10, Reason::Typing));
        assert_eq!(timers.pop(Instant::from_micros(9)), None);
        assert_eq!(timers.pop(Instant::from_micros(60)), Some(a));
        assert_eq!(timers.pop(Instant::from_micros(60)), Some(Owner::Hub));
        assert_eq!((timers.pop(Instant::from_micros(60)), timers.next()), (None, None));
    }
}
