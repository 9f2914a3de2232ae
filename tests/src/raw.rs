//! A WebSocket at the level of bytes (RFC 6455): handshakes and frames that no client library would send.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::WITHIN;

/// The bit that ends a message.
pub const FIN: u8 = 0x80;
/// Opcode: a further fragment.
pub const CONTINUATION: u8 = 0x0;
/// Opcode: text.
pub const TEXT: u8 = 0x1;
/// Opcode: bytes.
pub const BINARY: u8 = 0x2;
/// Opcode: the end.
pub const CLOSE: u8 = 0x8;
/// Opcode: ping.
pub const PING: u8 = 0x9;
/// Opcode: pong.
pub const PONG: u8 = 0xa;

/// The key of RFC 6455's example (section 1.3), and what a server makes of it.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// See [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How a payload's length is written (section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// In the second byte itself: up to 125.
    Short(u8),
    /// In two further bytes.
    U16(u16),
    /// In eight further bytes.
    U64(u64),
}

impl Length {
    /// The shortest form, which a sender must take.
    #[must_use]
    pub fn of(length: usize) -> Length {
        match length {
            n @ 0..126 => Length::Short(n as u8),
            n @ 126..65_536 => Length::U16(n as u16),
            n => Length::U64(n as u64),
        }
    }
}

/// The mask of all frames made here: one that changes every byte.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame as a client must send it. `first` holds FIN, the reserved bits and the opcode.
#[must_use]
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    frame_with(first, Length::of(payload.len()), payload)
}

/// A masked frame that says it has another length than its payload, or writes it in another form.
#[must_use]
pub fn frame_with(first: u8, length: Length, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, 0x80, length);
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A frame as only servers may send it.
#[must_use]
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, 0, Length::of(payload.len()));
    bytes.extend(payload);
    bytes
}

fn head(first: u8, masked: u8, length: Length) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        Length::Short(n) => bytes.push(masked | n),
        Length::U16(n) => {
            bytes.push(masked | 126);
            bytes.extend(n.to_be_bytes());
        }
        Length::U64(n) => {
            bytes.push(masked | 127);
            bytes.extend(n.to_be_bytes());
        }
    }
    bytes
}

/// A text message in one frame.
#[must_use]
pub fn text(text: &str) -> Vec<u8> {
    frame(FIN | TEXT, text.as_bytes())
}

/// The payload of a close frame.
#[must_use]
pub fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

/// The answer to an HTTP request, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Response {
    /// The header of a name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// What comes from the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A whole frame: its first byte and its payload.
    Frame(u8, Vec<u8>),
    /// The other end has said all (FIN).
    End,
    /// The connection broke off (RST).
    Reset,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The code of the close frame, if there was one; 1005 for an empty one.
    pub code: Option<u16>,
    /// Its reason.
    pub reason: String,
    /// The codes of the `error` frames before it.
    pub errors: Vec<String>,
    /// Whether TCP ended in order, after all that was sent, not by a reset.
    pub in_order: bool,
}

/// A TCP connection to a server, and what has come of it and is not yet taken.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    /// A TCP connection, nothing said.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    pub fn tcp(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("connecting to {address}: {error}"));
        stream.set_nodelay(true).expect("a new socket takes its options");
        stream.set_read_timeout(Some(WITHIN)).expect("the timeout is not zero");
        Raw { stream, buffer: Vec::new() }
    }

    /// A WebSocket, its greeting not yet read.
    ///
    /// # Panics
    /// When the handshake fails.
    #[must_use]
    pub fn open(address: SocketAddr, token: &str) -> Raw {
        let mut raw = Raw::tcp(address);
        raw.send(handshake(address, token).as_bytes());
        let response = raw.response();
        assert_eq!((response.status, response.header("sec-websocket-accept")), (101, Some(ACCEPT)), "{response:?}");
        raw
    }

    /// A WebSocket whose greeting is read.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn connect(address: SocketAddr, token: &str) -> Raw {
        let mut raw = Raw::open(address, token);
        raw.expect("connection_established");
        raw
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap_or_else(|error| panic!("sending: {error}"));
    }

    /// Sends bytes to a server that may have hung up, which is no failure.
    ///
    /// # Errors
    /// When it has.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends bytes in pieces of a size, each in a segment of its own if the kernel will.
    pub fn send_in_pieces(&mut self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size) {
            self.send(piece);
        }
    }

    /// Says that nothing more will be sent; reading goes on.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn end_sending(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap_or_else(|error| panic!("half-closing: {error}"));
    }

    /// The connection for a second thread, to write to.
    ///
    /// # Panics
    /// When the system has no more descriptors.
    #[must_use]
    pub fn stream(&self) -> TcpStream {
        self.stream.try_clone().expect("the system has descriptors")
    }

    /// The head of the answer to an HTTP request; what follows it is kept.
    ///
    /// # Panics
    /// When none comes.
    pub fn response(&mut self) -> Response {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let so_far = String::from_utf8_lossy(&self.buffer).into_owned();
            self.fill().unwrap_or_else(|seen| panic!("{seen:?} before an answer was whole: {so_far:?}"));
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8(head).expect("a response's head is ASCII");
        let (line, headers) = head.split_once("\r\n").expect("it ends with a line break");
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let headers = headers.lines().filter_map(|line| line.split_once(": "));
        Response {
            status: status.unwrap_or_else(|| panic!("no status line: {line:?}")),
            headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        }
    }

    /// Reads more; what came instead of bytes otherwise.
    fn fill(&mut self) -> Result<(), Seen> {
        let mut chunk = [0; 16_384];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(Seen::End),
            Ok(n) => {
                self.buffer.extend(&chunk[..n]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                Err(Seen::Reset)
            }
            Err(error) => panic!("nothing came within {WITHIN:?}: {error}"),
        }
    }

    /// The next frame, or the end.
    ///
    /// # Panics
    /// When the frame is not as a server must send it: masked, with reserved bits or opcodes, with a longer form of its
    /// length than needed, a control frame too long or in fragments, an end in the middle of it.
    pub fn see(&mut self) -> Seen {
        loop {
            if let Some((first, from, to)) = self.whole_frame() {
                let payload = self.buffer[from..to].to_vec();
                self.buffer.drain(..to);
                return Seen::Frame(first, payload);
            }
            if let Err(seen) = self.fill() {
                assert!(seen == Seen::Reset || self.buffer.is_empty(), "the end in the middle of {:?}", self.buffer);
                return seen;
            }
        }
    }

    /// A whole frame in the buffer: its first byte, and where its payload stands.
    fn whole_frame(&self) -> Option<(u8, usize, usize)> {
        let [first, second, rest @ ..] = self.buffer.as_slice() else { return None };
        assert_eq!(first & 0x70, 0, "reserved bits: {first:#x}");
        assert!(matches!(first & 0xf, CONTINUATION..=BINARY | CLOSE..=PONG), "a reserved opcode: {first:#x}");
        assert_eq!(second & 0x80, 0, "a server does not mask");
        assert!(first & 0x8 == 0 || (first & FIN != 0 && *second < 126), "a control frame: {first:#x} {second}");
        let (length, from) = match second {
            126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
            127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).expect("a length"), 10),
            short => (usize::from(*short), 2),
        };
        let shortest = match Length::of(length) {
            Length::Short(n) => n,
            Length::U16(_) => 126,
            Length::U64(_) => 127,
        };
        assert_eq!(*second, shortest, "{length} in its shortest form");
        (self.buffer.len() >= from + length).then_some((*first, from, from + length))
    }

    /// The next text message of a type, passing over other frames, pings and pongs too.
    ///
    /// # Panics
    /// When the connection ends first.
    pub fn expect(&mut self, kind: &str) -> Value {
        self.expect_where(kind, |frame| frame["type"] == kind)
    }

    /// The next text message that `wanted` accepts, passing over other frames. `what` names it in the failure.
    ///
    /// # Panics
    /// When the connection ends first.
    pub fn expect_where(&mut self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        loop {
            match self.see() {
                Seen::Frame(first, payload) if first == FIN | TEXT => {
                    let value: Value = serde_json::from_slice(&payload).expect("frames are JSON");
                    if wanted(&value) {
                        return value;
                    }
                }
                Seen::Frame(first, payload) => assert_ne!(first, FIN | CLOSE, "closed before {what}: {payload:?}"),
                seen => panic!("{seen:?} before {what}"),
            }
        }
    }

    /// Reads to the end.
    ///
    /// # Panics
    /// When it stays open for longer than [`WITHIN`].
    pub fn ending(&mut self) -> Ending {
        let deadline = Instant::now() + WITHIN;
        let mut ending = Ending { code: None, reason: String::new(), errors: Vec::new(), in_order: false };
        loop {
            match self.see() {
                Seen::Frame(first, payload) if first == FIN | CLOSE => {
                    assert_eq!(ending.code, None, "closed once");
                    ending.code = Some(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code)));
                    let reason = payload.get(2..).unwrap_or_default();
                    ending.reason = String::from_utf8(reason.to_vec()).expect("a close reason is UTF-8");
                }
                Seen::Frame(first, payload) => {
                    assert_eq!(ending.code, None, "nothing comes after the close frame: {first:#x}");
                    let frame: Value = serde_json::from_slice(&payload).unwrap_or_default();
                    if first == FIN | TEXT && frame["type"] == "error" {
                        ending.errors.push(frame["code"].as_str().unwrap_or_default().to_owned());
                    }
                }
                seen => {
                    ending.in_order = seen == Seen::End;
                    return ending;
                }
            }
            assert!(Instant::now() < deadline, "the connection was still open after {WITHIN:?}");
        }
    }

    /// Whether nothing comes for so long.
    pub fn is_silent(&mut self, time: Duration) -> bool {
        self.buffer.is_empty() && self.peek(time).is_none()
    }

    /// Whether the other end ends the connection, in order or not, within so long, saying nothing more.
    pub fn has_ended(&mut self, time: Duration) -> bool {
        self.peek(time) == Some(0)
    }

    /// How many bytes, at most one, can be read within so long: 0 at the end.
    fn peek(&mut self, time: Duration) -> Option<usize> {
        self.stream.set_read_timeout(Some(time)).expect("the timeout is not zero");
        let peeked = match self.stream.peek(&mut [0]) {
            Ok(n) => Some(n),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(_) => Some(0),
        };
        self.stream.set_read_timeout(Some(WITHIN)).expect("the timeout is not zero");
        peeked
    }
}

/// The request of a good handshake, with the token in the query.
#[must_use]
pub fn handshake(address: SocketAddr, token: &str) -> String {
    format!(
        "GET /ws/chat?token={token} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}
