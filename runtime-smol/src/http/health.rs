//! `/health` and `/ready`: what the server is doing, for people, load balancers and scripts.

use std::cell::{Cell, RefCell};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use serde_json::json;
use smol::channel::{Receiver, Sender};

use super::{Response, Site, json as json_response};
use crate::limits;
use crate::worker::Status;

/// What `/health` tells, kept up to date by the drive.
#[derive(Debug)]
pub(crate) struct Health {
    started: Instant,
    /// The same, by the wall clock.
    since: SystemTime,
    status: RefCell<Status>,
    draining: Cell<bool>,
    connections: Cell<usize>,
    /// Answers over HTTP that are being made or sent.
    answers: Cell<usize>,
    /// Closed when those that are still being made are to end.
    cut: (Sender<()>, Receiver<()>),
    /// When storage failed, if it has not succeeded since.
    storage_failed: Cell<Option<Instant>>,
}

impl Health {
    /// Of a server that has just begun.
    pub(crate) fn new() -> Health {
        Health {
            started: Instant::now(),
            since: SystemTime::now(),
            status: RefCell::new(Status::Starting),
            draining: Cell::new(false),
            connections: Cell::new(0),
            answers: Cell::new(0),
            cut: smol::channel::bounded(1),
            storage_failed: Cell::new(None),
        }
    }

    /// When the server started, in seconds since 1970-01-01T00:00:00Z.
    pub(crate) fn since(&self) -> u64 {
        self.since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// The model's state has changed.
    pub(crate) fn set_status(&self, status: Status) {
        self.status.replace(status);
    }

    /// What the chat's model is doing.
    pub(crate) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The server takes no new work any more.
    pub(crate) fn set_draining(&self) {
        self.draining.set(true);
    }

    /// Whether it does not.
    pub(crate) fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Storage has done a write, or could not.
    pub(crate) fn set_storage(&self, well: bool) {
        self.storage_failed.set((!well).then(Instant::now));
    }

    fn storage_is_well(&self) -> bool {
        self.storage_failed.get().is_none_or(|at| at.elapsed() >= limits::STORAGE_ILL_TIME)
    }

    /// How many answers over HTTP are being made or sent.
    pub(crate) fn answers(&self) -> usize {
        self.answers.get()
    }

    /// The time of a stop is nearly over: answers over HTTP are to end now.
    pub(crate) fn cut_answers(&self) {
        self.cut.0.close();
    }

    /// Waits for that.
    pub(super) async fn until_cut(&self) {
        // Nothing is ever sent: this is its end.
        let _ = self.cut.1.recv().await;
    }

    /// One more of them, or one less.
    pub(super) fn count_answer(&self, begins: bool) {
        let answers = self.answers.get();
        self.answers.set(if begins { answers + 1 } else { answers.saturating_sub(1) });
    }

    /// How many WebSockets are open.
    pub(crate) fn set_connections(&self, connections: usize) {
        self.connections.set(connections);
    }
}

/// Whether new work is taken, and what is in its way.
pub(super) fn ready(site: &Site) -> Response {
    let health = &site.health;
    let model = matches!(&*health.status.borrow(), Status::Ready { .. });
    let (storage, draining) = (health.storage_is_well(), health.draining());
    let ready = model && storage && !draining;
    let body = json!({ "ready": ready, "model": model, "storage": storage, "draining": draining });
    let mut response = json_response(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &body);
    if !ready {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(limits::RETRY_AFTER));
    }
    response
}

pub(super) fn answer(site: &Site) -> Response {
    let health = &site.health;
    let status = health.status.borrow();
    let mut body = match &*status {
        Status::Starting => json!({ "status": "starting", "message": "the server is starting" }),
        Status::Fetching { model, done, total } => {
            let mut body = json!({
                "status": "fetching",
                "message": format!("the model {model} is being fetched"),
                "model": model,
                "bytes": done,
            });
            if let Some(total) = total.filter(|&total| total > 0) {
                body["total_bytes"] = json!(total);
                body["percent"] = json!(done.saturating_mul(100) / total);
            }
            body
        }
        Status::Loading { model } => json!({
            "status": "loading",
            "message": format!("the model {model} is being loaded"),
            "model": model,
        }),
        Status::Ready { model, context } => json!({ "status": "ready", "model": model, "context": context }),
        Status::Unavailable { reason } => json!({
            "status": "unavailable",
            "message": reason,
            "retry_s": limits::MODEL_LOOK.as_secs(),
        }),
    };
    let ready = matches!(&*status, Status::Ready { .. }) && !health.draining();
    if health.draining() {
        body["status"] = json!("draining");
        body["message"] = json!("the server is stopping");
    }
    body["version"] = json!(env!("CARGO_PKG_VERSION"));
    body["uptime_s"] = json!(health.started.elapsed().as_secs());
    body["connections"] = json!(health.connections.get());
    json_response(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &body)
}
