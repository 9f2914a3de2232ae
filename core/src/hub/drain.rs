//! The server is about to stop: everybody is told, answers are cut short, connections are closed.
//!
//! Each of the three visits all connections or all generations, a few a call; none are added meanwhile.

use core::ops::Bound;

use super::Hub;
use crate::action::GenerationId;
use crate::code::{CloseCode, NoticeCode};
use crate::connection::Connection;
use crate::id::ConnectionId;
use crate::limits;
use crate::time::Instant;
use crate::timer::{Owner, Reason};
use crate::wire::frames;

/// A stop that was asked for, and how far it has come.
pub(super) struct Drain {
    until: Instant,
    /// The place of the next connection that is to be told.
    tell: u32,
    /// Behind the last generation that was looked at, to be cut short.
    cut: Bound<GenerationId>,
    all_cut: bool,
    /// The place of the next connection that is to be closed.
    close: u32,
}

/// The next thing to do for a drain.
enum Step {
    Tell,
    Cut,
    Close,
}

impl Hub {
    pub(super) fn drain(&mut self, until: Instant) {
        if self.draining.is_some() {
            return;
        }
        self.draining = Some(Drain { until, tell: 0, cut: Bound::Unbounded, all_cut: false, close: 0 });
        let cut = until.saturating_sub(limits::DRAIN_GRACE).max(self.now);
        self.timers.set(self.now, Owner::Hub, &mut self.armed, Some((cut, Reason::DrainGenerations)));
        self.advance(self.now);
    }

    /// Time to cut answers short, and later to close.
    pub(super) fn drain_deadline(&mut self) {
        self.armed = None;
        if let Some(drain) = &self.draining
            && self.now < drain.until
        {
            self.timers.set(self.now, Owner::Hub, &mut self.armed, Some((drain.until, Reason::Drain)));
        }
    }

    /// Whether a drain has something to do now.
    pub(super) fn has_to_drain(&self) -> bool {
        self.drain_step().is_some()
    }

    fn drain_step(&self) -> Option<Step> {
        let drain = self.draining.as_ref()?;
        let places = self.connections.places();
        if drain.tell < places {
            Some(Step::Tell)
        } else if !drain.all_cut && self.now >= drain.until.saturating_sub(limits::DRAIN_GRACE) {
            Some(Step::Cut)
        } else if drain.close < places && self.now >= drain.until {
            Some(Step::Close)
        } else {
            None
        }
    }

    /// Goes on with a drain, as far as one call goes.
    pub(super) fn go_on_draining(&mut self) {
        for _ in 0..limits::DRAIN_STEPS {
            let (Some(step), Some(drain)) = (self.drain_step(), &mut self.draining) else { return };
            match step {
                Step::Tell => {
                    let place = drain.tell;
                    drain.tell += 1;
                    // Whoever is not recognized yet is told after the greeting.
                    if let Some(id) = self.open_at(place).filter(|id| self.member(*id).is_some()) {
                        self.tell_draining(id);
                    }
                }
                Step::Cut => match self.generations.range((drain.cut, Bound::Unbounded)).next() {
                    Some((&generation, &session)) => {
                        drain.cut = Bound::Excluded(generation);
                        self.stop_running(session);
                    }
                    None => drain.all_cut = true,
                },
                Step::Close => {
                    let place = drain.close;
                    drain.close += 1;
                    if let Some(id) = self.open_at(place) {
                        self.close(id, CloseCode::GoingAway, "The server is stopping".into());
                    }
                }
            }
        }
    }

    /// The connection at a place, if it is open.
    fn open_at(&self, place: u32) -> Option<ConnectionId> {
        let key = self.connections.key_at(place)?;
        self.connections.get(key).is_some_and(Connection::is_open).then_some(ConnectionId(key))
    }

    /// Tells a connection that was just recognized of a drain that has begun, unless its turn to be told is still to come.
    pub(super) fn tell_of_drain_begun(&mut self, id: ConnectionId) {
        if self.draining.as_ref().is_some_and(|drain| id.0.index < drain.tell) {
            self.tell_draining(id);
        }
    }

    fn tell_draining(&mut self, id: ConnectionId) {
        let now = self.wall();
        self.reply(id, |out| {
            let text = "The server is about to stop: connect again soon";
            frames::notice(out, frames::Context::default(), now, NoticeCode::ServerDraining, text);
        });
    }
}
