//! The one loop: everything that happens becomes an input of the hub, everything the hub puts out is done.
//!
//! ```text
//! sockets ─ Arrival ─┐                                    ┌─ frames, close ─▶ sockets
//! storage ─ Reply ───┼─▶ Hub::handle ─▶ Hub::poll ─▶ Output ─ jobs ────────▶ storage
//! worker ── Event ───┤                                    └─ commands ─────▶ worker
//! time ── deadline ──┘
//! ```
//!
//! One task owns the hub: there is no lock around it. It never waits for anybody: what it gives away goes into bounded
//! queues, and a full queue is an answer (the write failed, the generation is refused, the slow connection is dropped).

mod clock;
mod outside;

use std::time::Instant;

use causerie_core::{ConnectError, ConnectionId, Hub, Input, Misuse};
use smol::Timer;
use smol::channel::Receiver;
use smol::future::{or, yield_now};

pub(crate) use clock::Clock;
pub(crate) use outside::Outside;

use crate::admission::Visitor;
use crate::limits;
use crate::socket::{Arrival, Outbox};
use crate::store::Reply;
use crate::worker::{Event, Status};
use outside::Followup;

/// Where inputs come from.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) arrivals: Receiver<Arrival>,
    pub(crate) replies: Receiver<Reply>,
    pub(crate) events: Receiver<Event>,
    /// A request to stop; closed when there will be none.
    pub(crate) stop: Receiver<()>,
}

/// One thing that a source had.
enum Happened {
    Arrival(Arrival),
    Reply(Reply),
    Event(Event),
    Stop,
    Time,
}

/// The hub with all that it is joined to.
pub(crate) struct Drive {
    hub: Hub,
    outside: Outside,
    clock: Clock,
    /// When the process is to end, once it has been asked to.
    ends: Option<Instant>,
}

impl Drive {
    pub(crate) fn new(hub: Hub, outside: Outside, clock: Clock) -> Drive {
        Drive { hub, outside, clock, ends: None }
    }

    /// Runs until a request to stop has been carried out. What is left then (storage that still has jobs, the thread of
    /// the model) ends with the values that are dropped here.
    pub(crate) async fn run(mut self, sources: Sources) {
        loop {
            // Under a load that never lets up the loop never waits, and must hear of it all the same.
            if sources.stop.try_recv().is_ok() {
                self.stop();
            }
            let mut more = self.take_inputs(&sources);
            if self.hub.next_deadline().is_some_and(|(at, _)| at <= self.clock.now()) {
                self.give(Input::Timer);
            }
            more |= self.drain_outputs();
            self.outside.metrics.set_counts(self.hub.counts());
            if self.is_done() {
                return;
            }
            if more {
                // The sockets, which put in and take out, have their turn.
                yield_now().await;
            } else {
                let happened = self.wait(&sources).await;
                self.happened(happened);
            }
        }
    }

    /// Takes what is there already, of each source at most [`limits::INPUTS_PER_TURN`]. Whether any was.
    fn take_inputs(&mut self, sources: &Sources) -> bool {
        let mut any = false;
        for _ in 0..limits::INPUTS_PER_TURN {
            let reply = sources.replies.try_recv().map(Happened::Reply).ok();
            let event = sources.events.try_recv().map(Happened::Event).ok();
            let arrival = sources.arrivals.try_recv().map(Happened::Arrival).ok();
            if reply.is_none() && event.is_none() && arrival.is_none() {
                break;
            }
            any = true;
            for happened in [reply, event, arrival].into_iter().flatten() {
                self.happened(happened);
            }
        }
        any
    }

    /// Waits for the first thing to happen on any source, or for the next deadline.
    async fn wait(&self, sources: &Sources) -> Happened {
        let deadline = async {
            let at = self.hub.next_deadline().map(|(at, _)| self.clock.moment(at));
            // Nothing happens here when the last answer over HTTP ends.
            let look = self.ends.map(|ends| ends.min(Instant::now() + limits::DRAIN_LOOK));
            match at.into_iter().chain(look).min() {
                Some(at) => drop(Timer::at(at).await),
                None => std::future::pending().await,
            }
            Happened::Time
        };
        let replies = received(&sources.replies, Happened::Reply);
        let events = received(&sources.events, Happened::Event);
        let arrivals = received(&sources.arrivals, Happened::Arrival);
        let stop = received(&sources.stop, |()| Happened::Stop);
        or(or(replies, events), or(arrivals, or(stop, deadline))).await
    }

    fn happened(&mut self, happened: Happened) {
        match happened {
            Happened::Arrival(arrival) => self.arrived(arrival),
            Happened::Reply(reply) => self.replied(reply),
            Happened::Event(event) => self.worked(event),
            Happened::Stop => self.stop(),
            Happened::Time => {}
        }
    }

    fn arrived(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Opened { identity, outbox, answer } => {
                let connected = self.connect(*identity, outbox);
                let _ = answer.try_send(connected.ok());
            }
            Arrival::Frame { connection, text } => {
                // Only a peer that was told to wait and goes on by what the queues between us hold can be `Paused`.
                if let Err(Misuse::Paused(_)) =
                    self.hub.handle(self.clock.now(), Input::Frame { connection, text: &text })
                {
                    self.outside.drop_connection(connection);
                }
            }
            Arrival::Violated { connection, violation } => self.give(Input::Violated { connection, violation }),
            Arrival::Written { connection, bytes } => self.give(Input::Writable { connection, credit: bytes }),
            Arrival::Reload => self.outside.worker.reload(),
            Arrival::Expire { sessions, days } => {
                // What is in memory is in somebody's hands; it is looked at again another time.
                for session in sessions.into_iter().filter(|&session| !self.hub.holds(session)) {
                    self.outside.expire(session, days);
                }
            }
            Arrival::Outcast(outcasts) => self.outside.cast_out(&outcasts),
            Arrival::Closed { connection } => {
                self.outside.forget(connection);
                self.give(Input::Closed { connection });
            }
        }
    }

    fn connect(&mut self, identity: Result<Visitor, String>, outbox: Outbox) -> Result<ConnectionId, ConnectError> {
        let connection = self.hub.connect(self.clock.now())?;
        self.outside.add(connection, outbox, identity.as_ref().ok());
        match identity {
            Ok(visitor) => {
                let identity = self.clock.identity(visitor.claims);
                self.give(Input::Authenticated { connection, identity });
            }
            Err(reason) => self.give(Input::Refused { connection, reason: &reason }),
        }
        self.give(Input::Writable { connection, credit: limits::OUTBOX_CREDIT_BYTES });
        Ok(connection)
    }

    fn replied(&mut self, reply: Reply) {
        match reply {
            Reply::Stored(request) => {
                self.outside.health.set_storage(true);
                self.give(Input::Stored { request });
            }
            Reply::StoreFailed(request, reason) => {
                tracing::error!(code = "storage_failed", %reason, "storage could not write; clients were told");
                self.outside.health.set_storage(false);
                self.give(Input::StoreFailed { request });
            }
            Reply::Loaded(request, data) => self.give(Input::Loaded { request, data }),
            Reply::LoadFailed(request, reason) => {
                tracing::error!(code = "storage_failed", %reason, "storage could not read; clients were told");
                self.give(Input::LoadFailed { request });
            }
            Reply::Conversation { generation, result, account } => {
                self.outside.conversation(generation, result, account);
            }
        }
    }

    fn worked(&mut self, event: Event) {
        self.outside.note(&event);
        match event {
            Event::Status(status) => {
                match &status {
                    // What is asked while a model is read waits for it in the worker's queue: it is a matter of seconds.
                    Status::Loading { model } | Status::Ready { model, .. } => self.give(Input::BackendUp { model }),
                    Status::Starting | Status::Fetching { .. } | Status::Unavailable { .. } => {
                        self.give(Input::BackendDown { reason: &status.to_string() });
                    }
                }
                self.outside.health.set_status(status);
            }
            Event::Text { generation, text } => self.give(Input::Token { generation, text: &text }),
            Event::Notice { generation, notice } => self.give(Input::GenerationNotice { generation, notice }),
            Event::Generated { generation, reason, usage, timings } => {
                self.give(Input::Generated { generation, reason, usage, timings });
            }
            Event::Failed { generation, failure } => self.give(Input::GenerationFailed { generation, failure }),
        }
    }

    /// Gives the hub one input. Misuse is a fault of this program: it is logged, and the server goes on.
    fn give(&mut self, input: Input<'_>) {
        if let Err(misuse) = self.hub.handle(self.clock.now(), input) {
            tracing::warn!(%misuse, "the core refused an input");
        }
    }

    /// Does what the hub puts out, and tells it what could not be done. Whether there may be more.
    fn drain_outputs(&mut self) -> bool {
        let mut more = true;
        for _ in 0..limits::POLLS_PER_TURN {
            let Drive { hub, outside, .. } = self;
            more = hub.poll(&mut |output| outside.perform(output));
            while let Some(followup) = self.outside.followups.pop_front() {
                more = true;
                self.follow_up(followup);
            }
            if !more {
                break;
            }
        }
        more
    }

    fn follow_up(&mut self, followup: Followup) {
        match followup {
            Followup::Verified { connection, verified: Ok(claims) } => {
                let identity = self.clock.identity(claims);
                self.give(Input::Authenticated { connection, identity });
            }
            Followup::Verified { connection, verified: Err(reason) } => {
                self.give(Input::Refused { connection, reason: &reason });
            }
            Followup::StoreFailed(request) => self.give(Input::StoreFailed { request }),
            Followup::LoadFailed(request) => self.give(Input::LoadFailed { request }),
            Followup::Generation(event) => self.worked(event),
        }
    }

    fn stop(&mut self) {
        if self.ends.is_some() {
            return;
        }
        let running = self.hub.counts().generations;
        tracing::info!(running, "stopping: running answers have some seconds to end; a second signal stops at once");
        self.ends = Some(Instant::now() + limits::DRAIN_TIME);
        self.outside.health.set_draining();
        let grace = if running > 0 { limits::DRAIN_TIME - limits::DRAIN_CLOSE_TIME } else { limits::DRAIN_IDLE_TIME };
        self.give(Input::Drain { until: self.clock.now() + grace });
    }

    /// Whether a stop was asked for, and nothing is left to do for it or the time is over.
    fn is_done(&self) -> bool {
        let Some(ends) = self.ends else { return false };
        if Instant::now() + limits::DRAIN_CLOSE_TIME >= ends {
            self.outside.health.cut_answers();
        }
        let left = self.hub.counts();
        if left.connections + left.generations + left.requests + self.outside.health.answers() == 0 {
            return true;
        }
        let late = Instant::now() >= ends;
        if late {
            tracing::warn!(?left, "stopped before all was done");
        }
        late
    }
}

/// The next of a source; never, when the source has ended.
async fn received<T>(source: &Receiver<T>, happened: fn(T) -> Happened) -> Happened {
    match source.recv().await {
        Ok(one) => happened(one),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::Duration;

    use causerie_tests::TempDir;
    use smol::LocalExecutor;

    use super::*;
    use crate::auth::{Auth, AuthOptions};
    use crate::config::EngineOptions;
    use crate::fetch::{FetchOptions, ModelSource};
    use crate::http::Health;
    use crate::metrics::Metrics;
    use crate::quota::Quotas;
    use crate::store::Store;
    use crate::worker::{Worker, WorkerOptions};

    /// A drive without a model, and its sources less the arrivals and the stop.
    fn drive(data: &TempDir) -> (Drive, Receiver<Reply>, Receiver<Event>) {
        let (event, events) = smol::channel::bounded(limits::WORKER_EVENTS);
        let (reply, replies) = smol::channel::unbounded();
        let auth = AuthOptions { data_dir: data.path().to_owned(), ..AuthOptions::default() };
        let worker = WorkerOptions {
            source: ModelSource::File(data.path().join("none.gguf")),
            fetch: FetchOptions::from_environment(true).unwrap(),
            engine: EngineOptions::default(),
            saved: None,
            load: Arc::default(),
        };
        let (clock, wall_clock) = Clock::start();
        let hub = Hub::new(causerie_core::Options {
            seed: [1; 32],
            wall_clock,
            server: "a test".to_owned(),
            limits: causerie_core::limits::Limits::default(),
        });
        let store = Rc::new(Store::open(&data.path().join("causerie.db"), reply).unwrap());
        let metrics = Rc::new(Metrics::new(Arc::default()));
        let quotas = Rc::new(Quotas::new(&store, metrics.clone()));
        let outside = Outside::new(
            Rc::new(Health::new()),
            Worker::start(worker, event).unwrap(),
            store,
            Arc::new(Auth::open(&auth).unwrap()),
            quotas,
            metrics,
        );
        (Drive::new(hub, outside, clock), replies, events)
    }

    #[test]
    fn a_stop_is_heard_under_a_load_that_never_lets_up() {
        let data = TempDir::new();
        let (mut drive, replies, events) = drive(&data);
        let connection = drive.hub.connect(drive.clock.now()).unwrap();
        drive.give(Input::Closed { connection });
        let (arrival, arrivals) = smol::channel::bounded(limits::ARRIVALS);
        let (stopper, stop) = smol::channel::bounded(1);
        stopper.try_send(()).unwrap();
        let executor = LocalExecutor::new();
        // Whenever there is room for an arrival, there is one.
        let load = executor.spawn(async move {
            let written = || Arrival::Written { connection, bytes: 1 };
            while arrival.send(written()).await.is_ok() {
                while arrival.try_send(written()).is_ok() {}
            }
        });
        let drained = or(
            async {
                drive.run(Sources { arrivals, replies, events, stop }).await;
                true
            },
            async {
                Timer::after(Duration::from_secs(30)).await;
                false
            },
        );
        assert!(smol::block_on(executor.run(drained)), "the drain has not begun");
        drop(load);
    }
}
