//! One WebSocket of the load: a task that reads it, and the half to write to.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use async_tungstenite::{WebSocketReceiver, WebSocketSender, client_async};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use serde_json::Value;
use smol::channel::Sender;
use smol::stream::StreamExt;
use smol::{Async, LocalExecutor};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

/// Connections from one address: the system has some 28,000 ports for them by default.
const PER_ADDRESS: usize = 8_000;

/// What came of a socket.
#[derive(Debug)]
pub struct Event {
    /// Which socket.
    pub index: usize,
    /// What.
    pub what: What,
    /// When it was read.
    pub at: Instant,
}

/// What a frame meant, as far as a load cares.
#[derive(Debug)]
pub enum What {
    /// The server knows who this is.
    Established,
    /// In the session with this id.
    Joined(String),
    /// The answer to a ping.
    Pong,
    /// A part of an answer.
    Delta,
    /// A whole one, of so many tokens.
    Answer(u64),
    /// There is no room for an answer now; after this time there may be.
    Later(Duration),
    /// Any other error frame, or the end.
    Broken(String),
}

/// The half to write to.
#[derive(Debug)]
pub struct Socket(WebSocketSender<Async<TcpStream>>);

impl Socket {
    /// Opens one; what comes of it goes to `events`.
    ///
    /// # Errors
    /// When there is no connection to be had, or no WebSocket on it.
    pub async fn open(
        executor: &LocalExecutor<'static>,
        server: SocketAddr,
        token: &str,
        index: usize,
        events: Sender<Event>,
    ) -> Result<Socket, Box<dyn Error>> {
        let stream = Async::new(dial(server, index / PER_ADDRESS)?)?;
        let mut request = format!("ws://{server}/ws/chat").into_client_request()?;
        request.headers_mut().insert("Authorization", format!("Bearer {token}").parse()?);
        let (socket, _) = client_async(request, stream).await?;
        let (sender, receiver) = socket.split();
        executor.spawn(read(receiver, index, events)).detach();
        Ok(Socket(sender))
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, frame: &Value) -> Result<(), tungstenite::Error> {
        self.0.send(Message::text(frame.to_string())).await
    }
}

/// Connects from the loopback address of this number.
fn dial(server: SocketAddr, number: usize) -> Result<TcpStream, Box<dyn Error>> {
    let IpAddr::V4(address) = server.ip() else { return Err("the server must listen on IPv4".into()) };
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    if address.is_loopback() {
        let from = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(number)?);
        bind(&socket, &SocketAddr::from((from, 0)))?;
    }
    connect(&socket, &server)?;
    Ok(socket.into())
}

async fn read(mut receiver: WebSocketReceiver<Async<TcpStream>>, index: usize, events: Sender<Event>) {
    loop {
        let what = match receiver.next().await {
            Some(Ok(Message::Text(text))) => match understood(&text) {
                Some(what) => what,
                None => continue,
            },
            Some(Ok(Message::Close(frame))) => What::Broken(format!("closed: {frame:?}")),
            Some(Ok(_)) => continue,
            Some(Err(error)) => What::Broken(error.to_string()),
            None => return,
        };
        if events.send(Event { index, what, at: Instant::now() }).await.is_err() {
            return;
        }
    }
}

/// What a frame means here, if anything.
fn understood(text: &str) -> Option<What> {
    let frame: Value = serde_json::from_str(text).ok()?;
    match frame["type"].as_str()? {
        "connection_established" => Some(What::Established),
        "session_joined" => Some(What::Joined(frame["session_id"].as_str()?.to_owned())),
        "pong" => Some(What::Pong),
        "message_delta" => Some(What::Delta),
        "message" if frame["role"] == "assistant" => {
            Some(What::Answer(frame["usage"]["completion_tokens"].as_u64().unwrap_or(0)))
        }
        "error" => Some(match frame["retry_after_ms"].as_u64() {
            Some(wait) if frame["code"] == "overloaded" => What::Later(Duration::from_millis(wait)),
            _ => What::Broken(text.to_owned()),
        }),
        _ => None,
    }
}
