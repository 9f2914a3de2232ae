//! What the hub's outputs do: to sockets, storage, tokens and the model.

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;

use causerie_core::{
    CloseCode, ConnectionId, GenerationFailure, GenerationId, Output, RequestId, Role, Sampling, SessionId, Write,
};
use tungstenite::Utf8Bytes;

use crate::admission::Visitor;
use crate::auth::{Auth, Claims};
use crate::http::Health;
use crate::metrics::{Metrics, Whence};
use crate::quota::{Permit, Quotas};
use crate::socket::{Outbox, span};
use crate::store::expiry;
use crate::store::usage::Account;
use crate::store::users::Outcasts;
use crate::store::{self, Conversation, Job, OwnedQuery, OwnedWrite, Store};
use crate::worker::{self, Event, Generate, Worker};

/// Everything but the hub.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(super) health: Rc<Health>,
    pub(super) worker: Worker,
    store: Rc<Store>,
    auth: Arc<Auth>,
    quotas: Rc<Quotas>,
    pub(super) metrics: Rc<Metrics>,
    sockets: HashMap<ConnectionId, Socket>,
    /// Generations whose conversation storage is still reading.
    reading: HashMap<GenerationId, Reading>,
    /// Of generations that have begun and whose author is known.
    permits: HashMap<GenerationId, Permit>,
    /// What the hub is to be told when its outputs are drained; never more than one call of `Hub::poll` puts out.
    pub(super) followups: VecDeque<Followup>,
}

/// One connection.
#[derive(Debug)]
struct Socket {
    outbox: Outbox,
    /// Their user id, once they were let in.
    user_id: Option<String>,
    /// Their role by the database, which counts whatever a later token says.
    role: Option<Role>,
    /// The key that they came with.
    key: Option<i64>,
}

/// A generation before it goes to the worker.
#[derive(Debug)]
struct Reading {
    session: SessionId,
    sampling: Sampling,
}

/// The outcome of an output that needed no waiting.
#[derive(Debug)]
pub(super) enum Followup {
    Verified { connection: ConnectionId, verified: Result<Claims, String> },
    StoreFailed(RequestId),
    LoadFailed(RequestId),
    Generation(Event),
}

impl Outside {
    pub(crate) fn new(
        health: Rc<Health>,
        worker: Worker,
        store: Rc<Store>,
        auth: Arc<Auth>,
        quotas: Rc<Quotas>,
        metrics: Rc<Metrics>,
    ) -> Outside {
        let (sockets, reading, permits) = (HashMap::new(), HashMap::new(), HashMap::new());
        Outside { health, worker, store, auth, quotas, metrics, sockets, reading, permits, followups: VecDeque::new() }
    }

    pub(super) fn add(&mut self, connection: ConnectionId, outbox: Outbox, visitor: Option<&Visitor>) {
        let user_id = visitor.map(|visitor| visitor.claims.sub.clone());
        let role = visitor.and_then(|visitor| visitor.role);
        let key = visitor.and_then(|visitor| visitor.key).map(|(key, _)| key);
        self.sockets.insert(connection, Socket { outbox, user_id, role, key });
        self.health.set_connections(self.sockets.len());
    }

    /// The socket is gone.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.sockets.remove(&connection);
        self.health.set_connections(self.sockets.len());
    }

    /// Closes the connections of those who may no longer be here. When they come again they are told why.
    pub(super) fn cast_out(&self, outcasts: &Outcasts) {
        for socket in self.sockets.values() {
            let disabled = socket.user_id.as_ref().is_some_and(|user_id| outcasts.users.contains(user_id));
            let revoked = socket.key.is_some_and(|key| outcasts.keys.contains(&key));
            if disabled || revoked {
                let why = if disabled { "this account is disabled" } else { "this API key was revoked" };
                socket.outbox.close(CloseCode::Policy.as_u16(), Utf8Bytes::from_static(why));
            }
        }
    }

    /// Deletes a session that is not in memory, if nothing has happened in it for so many days.
    pub(super) fn expire(&self, session: SessionId, days: u32) {
        self.worker.forget(session);
        // In the queue before anything that the hub may ask about this session from now on.
        drop(self.store.ask(move |connection| {
            let deleted = expiry::expire(connection, session, days, store::now());
            match &deleted {
                Ok(true) => tracing::info!(session = %session.0, days, "a session without activity was deleted"),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "a session without activity could not be deleted"),
            }
            deleted
        }));
    }

    /// To be called with every event of the worker: it keeps the books.
    pub(super) fn note(&mut self, event: &Event) {
        self.worker.note(event);
        match event {
            Event::Text { generation, .. } => self.metrics.said(*generation),
            Event::Generated { generation, usage, timings, .. } => {
                self.metrics.fell_silent(*generation);
                self.metrics.answered(Whence::Chat, *usage);
                self.metrics.began(f64::from(timings.first_token_ms) / 1000.0);
                if let Some(permit) = self.permits.remove(generation) {
                    permit.spend(*usage);
                }
            }
            Event::Failed { generation, .. } => {
                self.metrics.fell_silent(*generation);
                drop(self.permits.remove(generation));
            }
            Event::Status(_) | Event::Notice { .. } => {}
        }
    }

    /// Ends a connection without ceremony; `Arrival::Closed` follows when its tasks have seen it.
    pub(super) fn drop_connection(&mut self, connection: ConnectionId) {
        span(connection).in_scope(|| tracing::warn!("a connection that does not keep to its limits is dropped"));
        self.with_socket(connection, Outbox::abort);
        self.forget(connection);
    }

    /// Does one output of the hub.
    pub(super) fn perform(&mut self, output: Output<'_>) {
        match output {
            Output::Send { to, frame } => self.send(to, frame),
            Output::Close { connection, code, reason } => {
                self.with_socket(connection, |outbox| outbox.close(code, Utf8Bytes::from(reason)));
            }
            Output::PauseReading { connection } => self.with_socket(connection, Outbox::pause),
            Output::ResumeReading { connection } => self.with_socket(connection, Outbox::resume),
            Output::Authenticate { connection, token } => {
                let role = self.sockets.get(&connection).and_then(|socket| socket.role);
                let verified = self.auth.verify(token).map_err(|error| error.to_string());
                let verified = verified.map(|claims| Claims { role: role.unwrap_or(claims.role), ..claims });
                self.followups.push_back(Followup::Verified { connection, verified });
            }
            Output::Store { request, write } => {
                if let Write::DeleteSession { session } = write {
                    self.worker.forget(session);
                }
                if !self.submit(OwnedWrite::try_from(write).map(|write| Job::Write(request, write))) {
                    self.followups.push_back(Followup::StoreFailed(request));
                }
            }
            Output::Load { request, query } => {
                if !self.submit(OwnedQuery::try_from(query).map(|query| Job::Load(request, query))) {
                    self.followups.push_back(Followup::LoadFailed(request));
                }
            }
            Output::Generate { generation, session, prompt, asker, sampling } => {
                let job = Job::Conversation { generation, session, leaf: prompt, asker: asker.to_owned() };
                if self.submit(Ok::<_, &str>(job)) {
                    self.reading.insert(generation, Reading { session, sampling: sampling.clone() });
                } else {
                    self.failed(generation, GenerationFailure::Overloaded);
                }
            }
            Output::Cancel { generation } => self.cancel(generation),
            Output::ReloadModel => self.worker.reload(),
            other => tracing::error!(?other, "the core asks for what this runtime does not know"),
        }
    }

    fn with_socket(&self, connection: ConnectionId, act: impl FnOnce(&Outbox)) {
        // It is absent when its `Closed` is on its way.
        if let Some(socket) = self.sockets.get(&connection) {
            act(&socket.outbox);
        }
    }

    fn send(&mut self, to: &[ConnectionId], frame: &str) {
        self.metrics.sent(frame);
        // One copy, out of the hub; every recipient shares it.
        let frame = Utf8Bytes::from(frame);
        let mut overfull = Vec::new();
        for &connection in to {
            if self.sockets.get(&connection).is_some_and(|socket| socket.outbox.send(frame.clone()).is_err()) {
                overfull.push(connection);
            }
        }
        for connection in overfull {
            self.drop_connection(connection);
        }
    }

    fn submit<E: Display>(&self, job: Result<Job, E>) -> bool {
        let submitted = match job {
            Ok(job) => self.store.submit(job).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        submitted
            .inspect_err(|reason| tracing::error!(%reason, "storage did not take a job; clients were told"))
            .is_ok()
    }

    /// Storage has read what the model is to answer.
    pub(super) fn conversation(
        &mut self,
        generation: GenerationId,
        result: Result<Conversation, String>,
        account: Option<Account>,
    ) {
        // It is absent when somebody has stopped the generation meanwhile.
        let Some(Reading { session, sampling }) = self.reading.remove(&generation) else { return };
        match result {
            Ok(conversation) => {
                match account.map(|account| self.quotas.begin(account)).transpose() {
                    Ok(permit) => self.permits.extend(permit.map(|permit| (generation, permit))),
                    Err(exceeded) => return self.failed(generation, (&exceeded).into()),
                }
                let generate = Generate { generation, session, conversation, sampling };
                if let Err(failure) = self.worker.generate(generate) {
                    self.failed(generation, failure);
                }
            }
            Err(reason) => {
                tracing::error!(%reason, "storage could not read a conversation; its people were told");
                self.failed(generation, GenerationFailure::Internal);
            }
        }
    }

    fn cancel(&mut self, generation: GenerationId) {
        if self.reading.remove(&generation).is_none() {
            return self.worker.cancel(generation);
        }
        self.followups.push_back(Followup::Generation(worker::stopped_unheard(generation)));
    }

    fn failed(&mut self, generation: GenerationId, failure: GenerationFailure) {
        self.followups.push_back(Followup::Generation(Event::Failed { generation, failure }));
    }
}
