//! The WebSocket to a server, on a thread of its own. It connects again by itself.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use futures_rustls::TlsConnector;
use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use smol::Timer;
use smol::channel::{self, Receiver, Sender};
use smol::future::or;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;
use smol::stream::StreamExt;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use tungstenite::{Error, Message};

use super::address::Address;
use super::frame::Frame;
use crate::cli::chat::Event;

/// From the first packet to an open WebSocket.
const CONNECT: Duration = Duration::from_secs(15);

/// A server of which nothing comes for so long is gone: it pings every 25 s.
const SILENCE: Duration = Duration::from_secs(80);

/// How long a frame may take to leave this machine.
const SEND: Duration = Duration::from_secs(30);

/// Before the second attempt; doubled before each further one, up to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(500);

/// The longest pause between attempts.
const PAUSE_MOST: Duration = Duration::from_secs(30);

/// How long the end may take.
const CLOSE: Duration = Duration::from_secs(1);

/// Frames that wait to be sent.
const ORDERS: usize = 256;

/// What happened to the connection.
#[derive(Debug)]
pub(crate) enum Happened {
    /// A frame came.
    Frame(Box<Frame>),
    /// It is lost, and tried again.
    Lost(String),
    /// It is over.
    Over(String),
}

/// What is to be done.
#[derive(Debug)]
enum Order {
    Send(String),
    /// To be used the next time.
    Token(String),
    Close,
}

/// The connection.
pub(super) struct Link {
    orders: Sender<Order>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
}

impl Link {
    /// Connects. `authority` is the file with the certificates that are believed instead of the common ones.
    pub(super) fn start(
        address: Address,
        token: String,
        authority: Option<&Path>,
        events: Sender<Event>,
    ) -> Result<Link, String> {
        let tls = if address.tls { Some(trust(authority)?) } else { None };
        let (orders, given) = channel::bounded(ORDERS);
        let (alive, ended) = channel::bounded(1);
        let line = Line { address, tls, token, orders: given, events, _alive: alive };
        thread::Builder::new()
            .name("connection".to_owned())
            .spawn(move || smol::block_on(line.hold()))
            .map_err(|error| format!("cannot start a thread for the connection: {error}"))?;
        Ok(Link { orders, ended })
    }

    /// Sends a frame, if there is a connection and it takes frames.
    pub(super) fn send(&self, frame: String) {
        let _ = self.orders.try_send(Order::Send(frame));
    }

    /// From now on this token is the one.
    pub(super) fn use_token(&self, token: String) {
        let _ = self.orders.try_send(Order::Token(token));
    }
}

impl Drop for Link {
    /// What was sent is on its way before the program ends, unless that takes long.
    fn drop(&mut self) {
        let _ = self.orders.try_send(Order::Close);
        let late = async {
            Timer::after(CLOSE).await;
        };
        smol::block_on(or(
            async {
                _ = self.ended.recv().await;
            },
            late,
        ));
    }
}

/// Which certificates are believed.
fn trust(authority: Option<&Path>) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    match authority {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let unusable = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))? {
                let certificate = certificate.map_err(|error| unusable(&error))?;
                roots.add(certificate).map_err(|error| unusable(&error))?;
            }
            if roots.is_empty() {
                return Err(unusable(&"there is no certificate in it; it is to be a PEM file"));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The other end of a [`Link`].
struct Line {
    address: Address,
    tls: Option<TlsConnector>,
    token: String,
    orders: Receiver<Order>,
    events: Sender<Event>,
    /// Goes with the thread.
    _alive: Sender<()>,
}

/// How a connection ended.
enum End {
    /// As was ordered, or nobody is there any more.
    Ordered,
    /// It may be tried again.
    Lost(String),
    /// It may not.
    Over(String),
}

/// A socket, with TLS or without.
trait Way: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Way for T {}

impl Line {
    async fn hold(mut self) {
        let mut ever = false;
        let mut pause = PAUSE;
        loop {
            let late = async {
                Timer::after(CONNECT).await;
                Err(End::Lost(format!("no answer within {} s", CONNECT.as_secs())))
            };
            let end = match or(self.connect(), late).await {
                Ok(mut socket) => {
                    ever = true;
                    pause = PAUSE;
                    self.talk(&mut socket).await
                }
                Err(end) => end,
            };
            let why = match end {
                End::Ordered => return,
                End::Lost(why) if ever => why,
                End::Lost(why) | End::Over(why) => {
                    let why = format!("{}: {why}", self.address.base());
                    let _ = self.events.send(Event::Link(Happened::Over(why))).await;
                    return;
                }
            };
            if self.events.send(Event::Link(Happened::Lost(why))).await.is_err() || !self.rest(&mut pause).await {
                return;
            }
        }
    }

    /// Waits before the next attempt; gives whether there is to be one. What was to be sent is said again later, by whoever
    /// wants it said.
    async fn rest(&mut self, pause: &mut Duration) -> bool {
        // With some randomness, so that a thousand clients do not come at once.
        let mut random = [0u8; 1];
        let _ = getrandom::fill(&mut random);
        let end = Timer::after(pause.mul_f64(0.5 + f64::from(random[0]) / 512.0));
        *pause = (*pause * 2).min(PAUSE_MOST);
        let orders = self.orders.clone();
        let mut token = None;
        let obeyed = async {
            loop {
                match orders.recv().await {
                    Ok(Order::Send(_)) => {}
                    Ok(Order::Token(fresh)) => token = Some(fresh),
                    Ok(Order::Close) | Err(_) => return false,
                }
            }
        };
        let again = or(obeyed, async {
            end.await;
            true
        })
        .await;
        if let Some(token) = token {
            self.token = token;
        }
        again
    }

    async fn connect(&self) -> Result<WebSocketStream<Box<dyn Way>>, End> {
        let lost = |error: io::Error| End::Lost(error.to_string());
        let Address { host, port, .. } = &self.address;
        let socket = TcpStream::connect((host.as_str(), *port)).await.map_err(lost)?;
        let _ = socket.set_nodelay(true); // only slower without
        let way: Box<dyn Way> = match &self.tls {
            None => Box::new(socket),
            Some(tls) => {
                let name = ServerName::try_from(host.clone()).map_err(|error| End::Over(error.to_string()))?;
                Box::new(tls.connect(name, socket).await.map_err(|error| match error.kind() {
                    // Certificates do not get better by trying again.
                    io::ErrorKind::InvalidData => End::Over(format!("{error}; --ca-file names another authority")),
                    _ => lost(error),
                })?)
            }
        };
        let mut request = self.address.socket().into_client_request().map_err(|error| End::Over(error.to_string()))?;
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token));
        let bearer = bearer.map_err(|_| End::Over("the token has characters that no token has".to_owned()))?;
        request.headers_mut().insert(AUTHORIZATION, bearer);
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("causerie.v1"));
        match async_tungstenite::client_async(request, way).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(answer)) => {
                let said = answer.body().as_deref().and_then(|body| serde_json::from_slice(body).ok());
                let said: serde_json::Value = said.unwrap_or_default();
                let why = said["message"].as_str().map_or_else(|| answer.status().to_string(), str::to_owned);
                Err(if answer.status().is_server_error() { End::Lost(why) } else { End::Over(why) })
            }
            Err(Error::Io(error)) => Err(lost(error)),
            Err(error) => Err(End::Over(format!("it speaks no WebSocket at {}: {error}", self.address.socket()))),
        }
    }

    async fn talk(&mut self, socket: &mut WebSocketStream<Box<dyn Way>>) -> End {
        enum Next {
            Order(Option<Order>),
            Came(Option<Result<Message, Error>>),
            Silence,
        }
        loop {
            let silence = async {
                Timer::after(SILENCE).await;
                Next::Silence
            };
            let order = async { Next::Order(self.orders.recv().await.ok()) };
            let came = async { Next::Came(socket.next().await) };
            let next = or(or(order, came), silence).await;
            match next {
                Next::Order(Some(Order::Send(frame))) => {
                    let late = async {
                        Timer::after(SEND).await;
                        Err(Error::Io(io::ErrorKind::TimedOut.into()))
                    };
                    if let Err(error) = or(socket.send(Message::text(frame)), late).await {
                        return End::Lost(error.to_string());
                    }
                }
                Next::Order(Some(Order::Token(token))) => self.token = token,
                Next::Order(Some(Order::Close) | None) => {
                    let late = async {
                        Timer::after(CLOSE).await;
                        Ok(())
                    };
                    let _ = or(socket.close(None), late).await;
                    return End::Ordered;
                }
                Next::Came(Some(Ok(Message::Text(text)))) => {
                    let Some(frame) = Frame::read(&text) else { continue };
                    if self.events.send(Event::Link(Happened::Frame(Box::new(frame)))).await.is_err() {
                        return End::Ordered;
                    }
                }
                Next::Came(Some(Ok(Message::Close(close)))) => {
                    let (code, reason) =
                        close.map_or((1005, String::new()), |close| (close.code.into(), close.reason.to_string()));
                    return closed(code, &reason);
                }
                Next::Came(Some(Ok(_))) => {}
                Next::Came(Some(Err(error))) => return End::Lost(error.to_string()),
                Next::Came(None) => return End::Lost("the connection broke".to_owned()),
                Next::Silence => return End::Lost(format!("nothing came for {} s", SILENCE.as_secs())),
            }
        }
    }
}

/// Whether to come back, by the table of the specification.
fn closed(code: u16, reason: &str) -> End {
    let why = if reason.is_empty() { format!("closed with {code}") } else { reason.to_owned() };
    match code {
        1002 | 1007 | 1008 | 1009 | 4500..=4999 => End::Over(why),
        _ => End::Lost(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_are_final_where_the_specification_says_so() {
        for code in [1000, 1001, 1005, 1011, 1013, 4000, 4499, 3000] {
            assert!(matches!(closed(code, ""), End::Lost(_)), "{code}");
        }
        for code in [1002, 1007, 1008, 1009, 4500, 4999] {
            assert!(matches!(closed(code, "why"), End::Over(why) if why == "why"), "{code}");
        }
    }
}
