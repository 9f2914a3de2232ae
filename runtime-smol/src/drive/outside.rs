//! What the hub's outputs do: to sockets, storage, tokens and the model.

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;

use causerie_core::{ConnectionId, GenerationFailure, GenerationId, Output, RequestId, Sampling, SessionId, Write};
use tungstenite::Utf8Bytes;

use crate::auth::{Auth, Claims};
use crate::http::Health;
use crate::socket::Outbox;
use crate::store::{Conversation, Job, OwnedQuery, OwnedWrite, Store};
use crate::worker::{self, Event, Generate, Worker};

/// Everything but the hub.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(super) health: Rc<Health>,
    pub(super) worker: Worker,
    store: Store,
    auth: Arc<Auth>,
    sockets: HashMap<ConnectionId, Outbox>,
    /// Generations whose conversation storage is still reading.
    reading: HashMap<GenerationId, Reading>,
    /// What the hub is to be told when its outputs are drained; never more than one call of `Hub::poll` puts out.
    pub(super) followups: VecDeque<Followup>,
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
    pub(crate) fn new(health: Rc<Health>, worker: Worker, store: Store, auth: Arc<Auth>) -> Outside {
        let (sockets, reading, followups) = (HashMap::new(), HashMap::new(), VecDeque::new());
        Outside { health, worker, store, auth, sockets, reading, followups }
    }

    pub(super) fn add(&mut self, connection: ConnectionId, outbox: Outbox) {
        self.sockets.insert(connection, outbox);
        self.health.set_connections(self.sockets.len());
    }

    /// The socket is gone.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.sockets.remove(&connection);
        self.health.set_connections(self.sockets.len());
    }

    /// Ends a connection without ceremony; `Arrival::Closed` follows when its tasks have seen it.
    pub(super) fn drop_connection(&mut self, connection: ConnectionId) {
        tracing::warn!(?connection, "a connection that does not keep to its limits is dropped");
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
                let verified = self.auth.verify(token).map_err(|error| error.to_string());
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
            Output::Generate { generation, session, prompt, sampling } => {
                let job = Job::Conversation { generation, session, leaf: prompt };
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
        if let Some(outbox) = self.sockets.get(&connection) {
            act(outbox);
        }
    }

    fn send(&mut self, to: &[ConnectionId], frame: &str) {
        // One copy, out of the hub; every recipient shares it.
        let frame = Utf8Bytes::from(frame);
        let mut overfull = Vec::new();
        for &connection in to {
            if self.sockets.get(&connection).is_some_and(|outbox| outbox.send(frame.clone()).is_err()) {
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
    pub(super) fn conversation(&mut self, generation: GenerationId, result: Result<Conversation, String>) {
        // It is absent when somebody has stopped the generation meanwhile.
        let Some(Reading { session, sampling }) = self.reading.remove(&generation) else { return };
        match result {
            Ok(conversation) => {
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
