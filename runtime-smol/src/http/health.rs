//! `/health`: what the server is doing, for people, load balancers and scripts.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use hyper::StatusCode;
use serde_json::json;

use super::{Response, Site, json as json_response};
use crate::worker::Status;

/// What `/health` tells, kept up to date by the drive.
#[derive(Debug)]
pub(crate) struct Health {
    started: Instant,
    status: RefCell<Status>,
    draining: Cell<bool>,
    connections: Cell<usize>,
}

impl Health {
    /// Of a server that has just begun.
    pub(crate) fn new() -> Health {
        Health {
            started: Instant::now(),
            status: RefCell::new(Status::Starting),
            draining: Cell::new(false),
            connections: Cell::new(0),
        }
    }

    /// The model's state has changed.
    pub(crate) fn set_status(&self, status: Status) {
        self.status.replace(status);
    }

    /// The server takes no new work any more.
    pub(crate) fn set_draining(&self) {
        self.draining.set(true);
    }

    /// Whether it does not.
    pub(crate) fn draining(&self) -> bool {
        self.draining.get()
    }

    /// How many WebSockets are open.
    pub(crate) fn set_connections(&self, connections: usize) {
        self.connections.set(connections);
    }
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
        Status::Ready { model } => json!({ "status": "ready", "model": model }),
        Status::Unavailable { reason } => json!({
            "status": "unavailable",
            "message": reason,
            "retry_s": crate::limits::MODEL_LOOK.as_secs(),
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
