//! What breaks, and when it works again.

use causerie_core::{Input, Instant};

use super::{Event, World};
use crate::check;
use crate::settings::{MINUTE, SECOND, Time};

/// What can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Loss,
    Stall,
    Crash,
    Drain,
    Freeze,
    StorageFails,
    StorageSlow,
    ModelGone,
}

pub(super) const ALL: [Fault; 8] = [
    Fault::Loss,
    Fault::Stall,
    Fault::Crash,
    Fault::Drain,
    Fault::Freeze,
    Fault::StorageFails,
    Fault::StorageSlow,
    Fault::ModelGone,
];

impl World {
    pub(super) fn next_fault(&mut self, fault: Fault) {
        let s = &self.settings;
        let mean: Time = match fault {
            Fault::Loss => s.loss,
            Fault::Stall => s.stall,
            Fault::Crash => s.crash,
            Fault::Drain => s.drain,
            Fault::Freeze => s.freeze,
            Fault::StorageFails => s.storage_fails,
            Fault::StorageSlow => s.storage_slow,
            Fault::ModelGone => s.model_gone,
        };
        if mean > 0 && !self.is_last() {
            self.after(mean, Event::Fault(fault));
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        self.next_fault(fault);
        // A process that stands still hears of nothing but its end.
        let deaf = self.frozen() && !matches!(fault, Fault::Loss | Fault::Stall | Fault::Crash);
        if self.calm || self.server.is_none() || deaf {
            return;
        }
        match fault {
            Fault::Loss => self.lose_one(),
            Fault::Stall => {
                let Some(id) = self.rng.pick(&self.open_links).copied() else { return };
                let until = self.now + self.rng.wait(30 * SECOND);
                self.links[id].stall(until);
                self.report.fault("connections stalled");
            }
            Fault::Crash => self.crash(),
            Fault::Drain => self.drain(),
            Fault::Freeze => self.freeze(),
            Fault::StorageFails => {
                self.storage.failing = self.rng.between(1, 10);
                self.after(20 * SECOND, Event::Mend(fault));
            }
            Fault::StorageSlow => {
                self.report.fault("times of slow storage");
                self.storage_slow = true;
                self.after(20 * SECOND, Event::Mend(fault));
            }
            Fault::ModelGone => {
                self.report.fault("times without a model");
                self.model.up = false;
                self.give(Input::BackendDown { reason: "it is gone" });
                self.after(MINUTE, Event::Mend(fault));
            }
        }
    }

    pub(super) fn mend(&mut self, fault: Fault) {
        match fault {
            Fault::StorageFails => self.storage.failing = 0,
            Fault::StorageSlow => self.storage_slow = false,
            Fault::ModelGone => self.model_loaded(),
            Fault::Loss | Fault::Stall | Fault::Crash | Fault::Drain | Fault::Freeze => {}
        }
    }

    /// A connection breaks. Its ends may hear of it at once or minutes later, and one long before the other.
    fn lose_one(&mut self) {
        let Some(id) = self.rng.pick(&self.open_links).copied() else { return };
        self.report.fault("connections lost");
        self.links[id].cut();
        let notice = |rng: &mut crate::rng::Rng| if rng.one_in(3) { rng.wait(MINUTE) } else { rng.wait(SECOND / 2) };
        let (server, client) = (notice(&mut self.rng), notice(&mut self.rng));
        self.at(self.now + server, Event::ServerNotices { link: id });
        self.at(self.now + client, Event::ClientNotices { link: id, code: 1006 });
    }

    /// The server is gone at once. What storage was asked for may have been committed, in its order, or not.
    fn crash(&mut self) {
        self.report.fault("crashes of the server");
        self.trace(|| "the server dies".to_string());
        let committed = self.rng.index(self.storage.queue.len() + 1);
        for _ in 0..committed {
            if let Some(request) = self.storage.queue.pop_front().filter(|r| r.what.is_write()) {
                self.commit(request.what);
            }
        }
        self.end_life();
        self.after(10 * SECOND, Event::Restart);
    }

    /// The server's process gets no time, as on a machine that is suspended. One that is to stop has been told when.
    fn freeze(&mut self) {
        if self.server.as_ref().is_some_and(|server| !server.draining) {
            self.report.fault("times the server stood still");
            self.frozen = (self.now, self.now + self.rng.wait(20 * SECOND));
            self.trace(|| "the server stands still".to_string());
        }
    }

    pub(super) fn frozen(&self) -> bool {
        self.now < self.frozen.1
    }

    fn end_life(&mut self) {
        self.frozen = (0, 0);
        self.storage.queue.clear();
        self.model.crash();
        self.reference.restarted();
        self.server = None;
        self.life += 1;
        self.overdrawn.clear();
        for id in std::mem::take(&mut self.open_links) {
            self.links[id].cut();
            self.links[id].server_open = false;
            self.after(5 * SECOND, Event::ClientNotices { link: id, code: 1006 });
        }
    }

    /// The server is told to stop.
    fn drain(&mut self) {
        let until = self.now + self.rng.between(1, 20) * SECOND;
        let life = self.life;
        let Some(server) = &mut self.server else { return };
        if std::mem::replace(&mut server.draining, true) {
            return;
        }
        self.report.fault("restarts in order");
        self.trace(|| "the server drains".to_string());
        self.give(Input::Drain { until: Instant::from_micros(until) });
        self.at(until + self.settings.lag + SECOND, Event::Stopped { life });
    }

    /// The time to stop has come, and gone a little: all connections must have been closed.
    pub(super) fn stopped(&mut self) {
        for id in &self.open_links {
            check!(self.links[*id].closing, "a drained server closes all connections in time: {:?}", self.links[*id]);
        }
        // Storage gets all that it was asked for before the process ends.
        while let Some(request) = self.storage.queue.pop_front() {
            if request.what.is_write() {
                self.commit(request.what);
            }
        }
        self.trace(|| "the server ends".to_string());
        self.end_life();
        self.after(2 * SECOND, Event::Restart);
    }
}
