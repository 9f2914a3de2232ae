//! HTTP on the one port: the page, `/health`, the API, and the way to the WebSocket.
//!
//! | path | method | what |
//! |---|---|---|
//! | `/` and the page's files | GET | the page, see [`page`](crate::page) |
//! | `/health` | GET | 200 when the model is ready, otherwise 503, and JSON that says what the server is doing |
//! | `/ready` | GET | 200 when new work is taken: the model is ready, storage is well, nobody has asked to stop |
//! | `/api/login` | POST | `{"code"}` of the printed link → `{"token", "username", "expires"}` |
//! | `/api/token` | POST | with `Authorization: Bearer` of a token of ours → a fresh one, of the same shape |
//! | `/api/search` | POST | with a token: `{"query"}` → the chats that were found |
//! | `/v1/…` | | the API of OpenAI, with a token; see `openai` |
//! | `/ws/chat` | GET | upgrade to the protocol; token in `?token=`, `Authorization` or the subprotocol `bearer.JWT` |
//!
//! Errors are `{"error": CODE, "message": TEXT}`, but for `/v1/`. docs/http.md tells all of it, and tests compare it with what is here.

mod access;
mod admin;
mod api;
mod body;
mod caller;
mod connection;
mod framing;
mod health;
mod metrics;
mod openai;
mod origin;
mod request;
mod search;
mod upgrade;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use rusqlite::Connection;
use smol::LocalExecutor;
use smol::channel::Sender;

pub(crate) use body::Body;
use connection::Counted;
pub(crate) use connection::accept;
pub(crate) use health::Health;
pub(crate) use origin::OriginPolicy;
pub(crate) use request::Bodies;

use crate::admission::Admissions;
use crate::auth::Auth;
use crate::limits;
use crate::login::LoginCodes;
use crate::metrics::Metrics;
use crate::models::Models;
use crate::page;
use crate::quota::Quotas;
use crate::socket::Arrival;
use crate::store::{AskError, JobError, Store, SubmitError};
use crate::tls::Tls;

type Response = hyper::Response<Body>;

/// What all connections share. It lives on the network thread.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) executor: Rc<LocalExecutor<'static>>,
    pub(crate) auth: Arc<Auth>,
    /// Who checks tokens and keys.
    pub(crate) admissions: Rc<Admissions>,
    /// How much each may use.
    pub(crate) quotas: Rc<Quotas>,
    pub(crate) logins: RefCell<LoginCodes>,
    /// Who the printed link logs in.
    pub(crate) operator: String,
    pub(crate) origins: OriginPolicy,
    pub(crate) health: Rc<Health>,
    /// What is counted.
    pub(crate) metrics: Rc<Metrics>,
    /// Who answers tasks of the API.
    pub(crate) models: Models,
    /// Gone when the server has stopped.
    pub(crate) store: Weak<Store>,
    /// The drive's inbox.
    pub(crate) arrivals: Sender<Arrival>,
    /// Bytes of a client's WebSocket message: the core's limit.
    pub(crate) message_bytes: usize,
    /// TCP connections open.
    pub(crate) open: Cell<usize>,
    /// Certificate and key, where HTTPS is spoken.
    pub(crate) tls: Option<Arc<Tls>>,
    /// TLS handshakes under way.
    pub(crate) handshakes: Cell<usize>,
    /// Bytes of bodies that are being read.
    pub(crate) bodies: Bodies,
    /// Each request is logged, whatever the level.
    pub(crate) log_requests: bool,
}

async fn answer(counted: &Rc<Counted>, request: Request<Incoming>) -> Response {
    let site = &counted.site;
    let asked = metrics::route(request.uri().path());
    let mut response = route(counted, request).await.unwrap_or_else(Refusal::answer);
    if let Some(Code(code)) = response.extensions().get() {
        site.metrics.error(code);
    }
    site.metrics.requested(asked, response.status().as_u16());
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if site.health.draining() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn route(counted: &Rc<Counted>, request: Request<Incoming>) -> Result<Response, Refusal> {
    let site = &counted.site;
    framing::check(&request)?;
    let host = site.origins.check_host(request.headers());
    host.map_err(|foreign| Refusal::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", foreign.to_string()))?;
    let path = request.uri().path();
    let reads = READ.split(", ").any(|method| method == request.method().as_str());
    // The API refuses new work itself, in its own form.
    if site.health.draining() && !reads && !path.starts_with("/v1/") {
        return Err(Refusal::draining());
    }
    match path {
        "/health" => {
            allow(&request, READ)?;
            Ok(health::answer(site))
        }
        "/ready" => {
            allow(&request, READ)?;
            Ok(health::ready(site))
        }
        "/api/login" => {
            allow(&request, "POST")?;
            api::login(counted, request).await
        }
        "/api/token" => {
            allow(&request, "POST")?;
            api::token(counted, &request).await
        }
        "/api/search" => {
            allow(&request, "POST")?;
            search::answer(counted, request).await
        }
        "/metrics" => {
            allow(&request, READ)?;
            metrics::answer(counted, &request).await
        }
        path if path.starts_with("/api/admin/") => admin::route(counted, request).await,
        "/ws/chat" => {
            allow(&request, "GET")?;
            upgrade::answer(counted, request).await
        }
        path if path.starts_with("/v1/") => Ok(openai::route(counted, request).await),
        path => match page::asset(path) {
            Some(asset) => {
                allow(&request, READ)?;
                Ok(asset.answer(request.headers()))
            }
            None => {
                let what =
                    format!("nothing is at {path:?}: the page is at /, the chat at /ws/chat, the state at /health");
                Err(Refusal::new(StatusCode::NOT_FOUND, "not_found", what))
            }
        },
    }
}

/// The methods of what can only be looked at.
const READ: &str = "GET, HEAD";

/// `methods` is as in the header `Allow`.
fn allow<B>(request: &Request<B>, methods: &'static str) -> Result<(), Refusal> {
    let method = request.method().as_str();
    if methods.split(", ").any(|allowed| allowed == method) {
        return Ok(());
    }
    let what = format!("{method} is not possible here, only {methods}");
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", what);
    Err(refusal.with(header::ALLOW, methods))
}

/// Refuses what pages of others ask for: see [`OriginPolicy`].
fn check_origin<B>(site: &Site, request: &Request<B>) -> Result<(), Refusal> {
    let check = site.origins.check_origin(request.headers());
    check.map_err(|foreign| Refusal::new(StatusCode::FORBIDDEN, "foreign_origin", foreign.to_string()))
}

/// Asks storage.
async fn ask<T: Send + 'static>(
    counted: &Counted,
    question: impl FnOnce(&mut Connection) -> Result<T, JobError> + Send + 'static,
) -> Result<T, Refusal> {
    let asked = counted.site.store.upgrade().map(|store| store.ask(question));
    let answer = match asked {
        Some(asked) => asked.await,
        None => Err(AskError::Submit(SubmitError::Stopped)),
    };
    answer.map_err(|error| {
        tracing::error!(%error, "storage did not answer");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "storage_failed", error.to_string())
    })
}

/// An answer that is no: `{"error": CODE, "message": TEXT}`.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    headers: Vec<(HeaderName, &'static str)>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into(), headers: Vec::new() }
    }

    /// New work is not taken any more: another server will soon be there, or this one again.
    fn draining() -> Refusal {
        let message = "the server is stopping and takes nothing new: try again in a moment";
        let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "server_draining", message);
        refusal.with(header::RETRY_AFTER, limits::RETRY_AFTER)
    }

    /// An answer that would have gone on for longer than the server does.
    fn cut() -> Refusal {
        let message = "the server stops before the end of this answer: ask again in a moment";
        Refusal { message: message.to_owned(), ..Refusal::draining() }
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Refusal {
        self.headers.push((name, value));
        self
    }

    fn answer(self) -> Response {
        let mut response = json(self.status, &serde_json::json!({ "error": self.code, "message": self.message }));
        for (name, value) in self.headers {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response.extensions_mut().insert(Code(self.code));
        response
    }
}

/// Goes with an answer that is no, for the log and the metrics.
#[derive(Clone, Copy, Debug)]
struct Code(&'static str);

fn json(status: StatusCode, body: &serde_json::Value) -> Response {
    let mut response = hyper::Response::new(Body::from(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
