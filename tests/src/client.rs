//! A small, blocking WebSocket client that says what it expects.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tungstenite::{Message, WebSocket};

use crate::WITHIN;

/// One connection to `/ws/chat`.
#[derive(Debug)]
pub struct Client {
    socket: WebSocket<TcpStream>,
    /// Frames that came while another one was waited for, in order, for the message of a failed expectation.
    passed: Vec<String>,
}

/// How a connection ended: the close code and reason, or 1006 when it just broke off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// RFC 6455, section 7.4, or one of the protocol's own.
    pub code: u16,
    /// What the server said about it.
    pub reason: String,
}

/// Frames passed over that a failed expectation shows.
const SHOWN: usize = 30;

/// Bytes of each of them.
const SHOWN_BYTES: usize = 500;

impl Client {
    /// Connects with the token in the subprotocol, as the page does.
    ///
    /// # Panics
    /// When the handshake fails.
    #[must_use]
    pub fn connect(address: SocketAddr, token: &str) -> Client {
        let mut request = request(format!("ws://{address}/ws/chat"));
        let offered = format!("causerie.v1, bearer.{token}");
        let offered = HeaderValue::from_str(&offered).expect("a token is made of URL-safe characters");
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offered);
        Client::open(address, request)
    }

    /// Connects as clients of the base protocol do: the token in the query, no subprotocol.
    ///
    /// # Panics
    /// When the handshake fails.
    #[must_use]
    pub fn connect_base(address: SocketAddr, token: &str) -> Client {
        Client::open(address, request(format!("ws://{address}/ws/chat?token={token}")))
    }

    fn open(address: SocketAddr, request: tungstenite::handshake::client::Request) -> Client {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("connecting to {address}: {error}"));
        stream.set_nodelay(true).expect("a new socket takes its options");
        let (socket, _) = tungstenite::client(request, stream).unwrap_or_else(|error| panic!("handshake: {error}"));
        Client { socket, passed: Vec::new() }
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn send(&mut self, frame: &Value) {
        self.send_message(Message::text(frame.to_string()));
    }

    /// Makes a session, joins it, and gives its id.
    ///
    /// # Panics
    /// When the server does not.
    pub fn create_session(&mut self, title: &str) -> Value {
        self.send(&json!({"type": "create_session", "title": title}));
        self.expect("session_joined")["session_id"].clone()
    }

    /// Lets another user into the session that this one owns and is in.
    ///
    /// # Panics
    /// When the server does not.
    pub fn invite(&mut self, username: &str) {
        self.send(&json!({"type": "invite", "username": username}));
        self.expect("invited");
    }

    /// Sends any text, or binary, or a ping: what a frame must not be, too.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn send_message(&mut self, message: Message) {
        self.socket.send(message).unwrap_or_else(|error| panic!("sending: {error}"));
    }

    /// The next frame; `None` when none came in time.
    ///
    /// # Panics
    /// When the connection ends first, or the frame is not JSON.
    pub fn next(&mut self, within: Duration) -> Option<Value> {
        match self.read(within) {
            Ok(frame) => frame,
            Err(closed) => panic!("the server closed the connection: {closed:?}\n{}", self.history()),
        }
    }

    /// Waits for a frame of a type, up to [`WITHIN`], and passes over all others.
    ///
    /// # Panics
    /// When it does not come.
    pub fn expect(&mut self, kind: &str) -> Value {
        self.expect_within(kind, WITHIN)
    }

    /// The same with another patience.
    ///
    /// # Panics
    /// When it does not come.
    pub fn expect_within(&mut self, kind: &str, within: Duration) -> Value {
        self.expect_where(kind, within, |frame| frame["type"] == kind)
    }

    /// Waits for a frame that `wanted` accepts, and passes over all others. `what` names it in the failure.
    ///
    /// # Panics
    /// When it does not come.
    pub fn expect_where(&mut self, what: &str, within: Duration, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(frame) = self.next(left) else { panic!("no {what} came within {within:?}\n{}", self.history()) };
            if wanted(&frame) {
                self.passed.clear();
                return frame;
            }
            self.pass(&frame);
        }
    }

    /// All frames up to and with the first that `last` accepts.
    ///
    /// # Panics
    /// When that one does not come within [`WITHIN`].
    pub fn collect_until(&mut self, what: &str, mut last: impl FnMut(&Value) -> bool) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            let frame = self.expect_where(what, WITHIN, |_| true);
            frames.push(frame);
            if last(&frames[frames.len() - 1]) {
                return frames;
            }
        }
    }

    /// Waits for the server to end the connection, passing over frames.
    ///
    /// # Panics
    /// When it stays open.
    pub fn expect_close(&mut self) -> Closed {
        let deadline = Instant::now() + WITHIN;
        loop {
            match self.read(deadline.saturating_duration_since(Instant::now())) {
                Err(closed) => return closed,
                Ok(Some(frame)) => self.pass(&frame),
                Ok(None) => panic!("the connection was still open after {WITHIN:?}\n{}", self.history()),
            }
        }
    }

    /// Closes in order, as a browser does when its page goes away.
    pub fn close(mut self) {
        let _ = self.socket.close(None);
        let _ = self.read(Duration::from_secs(1));
    }

    fn read(&mut self, within: Duration) -> Result<Option<Value>, Closed> {
        let deadline = Instant::now() + within;
        loop {
            // A timeout of zero would mean none at all.
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.get_ref().set_read_timeout(Some(left)).expect("the timeout is not zero");
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let frame = serde_json::from_str(&text);
                    return Ok(Some(frame.unwrap_or_else(|error| panic!("not JSON: {error}: {text}"))));
                }
                Ok(Message::Close(Some(frame))) => {
                    let _ = self.socket.flush(); // answers the close
                    return Err(Closed { code: frame.code.into(), reason: frame.reason.to_string() });
                }
                Ok(Message::Close(None)) => return Err(Closed { code: 1005, reason: String::new() }),
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if is_timeout(&error) => {
                    if Instant::now() >= deadline {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(Closed { code: 1006, reason: error.to_string() }),
            }
        }
    }

    /// Remembers a frame that nobody waited for: its beginning.
    fn pass(&mut self, frame: &Value) {
        let mut text = frame.to_string();
        if text.len() > SHOWN_BYTES {
            text.truncate(text.floor_char_boundary(SHOWN_BYTES));
            text.push('…');
        }
        self.passed.push(text);
    }

    fn history(&self) -> String {
        let from = self.passed.len().saturating_sub(SHOWN);
        format!("{} frames were passed over, the last of them:\n{}", self.passed.len(), self.passed[from..].join("\n"))
    }
}

fn request(url: String) -> tungstenite::handshake::client::Request {
    url.into_client_request().expect("the address of a local server is a URL")
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
