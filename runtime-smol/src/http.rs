//! HTTP on the one port: the page, `/health`, the API, and the way to the WebSocket.
//!
//! | path | method | what |
//! |---|---|---|
//! | `/` and the page's files | GET | the page, see [`page`](crate::page) |
//! | `/health` | GET | 200 when the model is ready, otherwise 503, and JSON that says what the server is doing |
//! | `/api/login` | POST | `{"code"}` of the printed link → `{"token", "username", "expires"}` |
//! | `/api/token` | POST | with `Authorization: Bearer` of a token of ours → a fresh one, of the same shape |
//! | `/ws/chat` | GET | upgrade to the protocol; token in `?token=`, `Authorization` or the subprotocol `bearer.JWT` |
//!
//! Errors are `{"error": CODE, "message": TEXT}`.

mod api;
mod health;
mod origin;
mod upgrade;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use smol::channel::Sender;
use smol::future::or;
use smol::io::AsyncWriteExt;
use smol::net::{TcpListener, TcpStream};
use smol::{LocalExecutor, Timer};
use smol_hyper::rt::{FuturesIo, SmolTimer};

pub(crate) use health::Health;
pub(crate) use origin::OriginPolicy;

use crate::auth::Auth;
use crate::limits;
use crate::login::LoginCodes;
use crate::page;
use crate::socket::Arrival;

type Response = hyper::Response<Full<Bytes>>;

/// What all connections share. It lives on the network thread.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) executor: Rc<LocalExecutor<'static>>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) logins: RefCell<LoginCodes>,
    /// Who the printed link logs in.
    pub(crate) operator: String,
    pub(crate) origins: OriginPolicy,
    pub(crate) health: Rc<Health>,
    /// The drive's inbox.
    pub(crate) arrivals: Sender<Arrival>,
    /// Bytes of a client's WebSocket message: the core's limit.
    pub(crate) message_bytes: usize,
    /// TCP connections open.
    pub(crate) open: Cell<usize>,
}

/// Accepts connections until the future is dropped.
pub(crate) async fn accept(site: Rc<Site>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if site.open.get() < limits::SOCKETS => {
                let connection = connection(site.clone(), stream);
                site.executor.spawn(connection).detach();
            }
            Ok((stream, _)) => refuse(stream).await,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; is the limit of open files (ulimit -n) too low?");
                Timer::after(limits::ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Counts one TCP connection for as long as it lives.
#[derive(Debug)]
struct Counted(Rc<Site>);

impl Counted {
    fn new(site: Rc<Site>) -> Counted {
        site.open.set(site.open.get() + 1);
        Counted(site)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

async fn connection(site: Rc<Site>, stream: TcpStream) {
    let counted = Rc::new(Counted::new(site));
    if let Err(error) = tune(&stream) {
        tracing::debug!(%error, "a connection was gone before it was served");
        return;
    }
    let service = service_fn(|request| {
        let counted = counted.clone();
        async move { Ok::<_, Infallible>(answer(&counted, request).await) }
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(SmolTimer::new())
            .header_read_timeout(limits::HTTP_HEADER_TIME)
            .max_headers(limits::HTTP_HEADERS)
            .max_buf_size(limits::HTTP_HEADER_BYTES)
            .half_close(false)
            .serve_connection(FuturesIo::new(stream), service)
            .with_upgrades()
    );
    let served = or(async { Some(serving.as_mut().await) }, async {
        Timer::after(limits::HTTP_CONNECTION_TIME).await;
        None
    });
    if let Some(Err(error)) = served.await {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    // A streamed token is a small write that must not wait for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_send_buffer_size(stream, limits::SEND_BUFFER_BYTES)?;
    Ok(())
}

/// There is no room for this connection: a fixed answer, if the kernel takes it at once.
async fn refuse(mut stream: TcpStream) {
    const FULL: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 30\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let answered = async { drop(stream.write_all(FULL).await) };
    let late = async {
        Timer::after(limits::ACCEPT_PAUSE).await;
    };
    or(answered, late).await;
}

async fn answer(counted: &Rc<Counted>, request: Request<Incoming>) -> Response {
    let site = &counted.0;
    let mut response = route(counted, request).await.unwrap_or_else(Refusal::answer);
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if site.health.draining() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn route(counted: &Rc<Counted>, request: Request<Incoming>) -> Result<Response, Refusal> {
    let site = &counted.0;
    let host = site.origins.check_host(request.headers());
    host.map_err(|foreign| Refusal::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", foreign.to_string()))?;
    match request.uri().path() {
        "/health" => {
            allow(&request, READ)?;
            Ok(health::answer(site))
        }
        "/api/login" => {
            allow(&request, "POST")?;
            api::login(site, request).await
        }
        "/api/token" => {
            allow(&request, "POST")?;
            api::token(site, &request)
        }
        "/ws/chat" => {
            allow(&request, "GET")?;
            upgrade::answer(counted, request)
        }
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

    fn with(mut self, name: HeaderName, value: &'static str) -> Refusal {
        self.headers.push((name, value));
        self
    }

    fn answer(self) -> Response {
        let mut response = json(self.status, &serde_json::json!({ "error": self.code, "message": self.message }));
        for (name, value) in self.headers {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response {
    let mut response = hyper::Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
