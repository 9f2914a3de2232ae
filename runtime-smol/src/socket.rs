//! One WebSocket: a task that reads and a task that writes, and the way to both from the drive.
//!
//! Bytes become [`Arrival`]s for the hub, [`Outgoing`]s become bytes; what they say is the hub's business. RFC 6455 is
//! tungstenite's: pings are answered there. Here are the limits in time and space, and the closing.

mod mailbox;
mod watched;

use std::cell::Cell;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_tungstenite::{WebSocketReceiver, WebSocketSender, WebSocketStream};
use causerie_core::{CloseCode, ConnectionId, Violation};
use smol::channel::Sender;
use smol::future::{or, yield_now};
use smol::io::AsyncReadExt;
use smol::net::TcpStream;
use smol::stream::StreamExt;
use smol::{LocalExecutor, Timer};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Bytes, Error, Message, Utf8Bytes};

use mailbox::{Bell, Mailbox};
use watched::Watched;

use crate::auth::Claims;
use crate::limits;

/// What a socket tells the drive.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A WebSocket is open. The answer is its handle, or `None` when the hub is full.
    Opened {
        /// What the token of the handshake says, or why it is refused.
        identity: Result<Claims, String>,
        /// The way back.
        outbox: Outbox,
        /// Where to say how the hub names it.
        answer: Sender<Option<ConnectionId>>,
    },
    /// A whole text message.
    Frame {
        /// Whose.
        connection: ConnectionId,
        /// Its text.
        text: Utf8Bytes,
    },
    /// The peer broke RFC 6455 or one of its limits here.
    Violated {
        /// Who.
        connection: ConnectionId,
        /// How.
        violation: Violation,
    },
    /// Bytes of frames have gone out.
    Written {
        /// To whom.
        connection: ConnectionId,
        /// How many since the last time.
        bytes: u32,
    },
    /// The socket is gone, whatever the reason.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
}

/// What the drive gives a socket to write.
#[derive(Debug)]
enum Outgoing {
    /// A text frame, shared with all its other recipients.
    Frame(Utf8Bytes),
    /// The end, after all that was given before.
    Close { code: u16, reason: Utf8Bytes },
}

/// The drive's end of one socket. Dropping it ends the connection when all that was given before is written.
#[derive(Debug)]
pub(crate) struct Outbox {
    flow: Rc<Flow>,
    raw: TcpStream,
}

/// More than [`limits::OUTBOX_FRAMES`] wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overfull;

/// What the drive and the two tasks of one socket tell each other.
#[derive(Debug)]
struct Flow {
    /// [`Outbox::send`] bounds it.
    outgoing: Mailbox<Outgoing>,
    paused: Cell<bool>,
    /// A close frame is on its way: frames of the peer are read for the closing handshake alone.
    closing: Cell<bool>,
    /// The peer's bytes make no frames any more.
    violated: Cell<bool>,
    resume: Bell,
    /// Rung when `closing` is set.
    close: Bell,
    /// The last moment at which the peer took bytes that had to wait for it.
    taken: Rc<Cell<Option<Instant>>>,
}

impl Outbox {
    /// Queues a frame. Sharing, not copying: `frame` may be in many outboxes.
    pub(crate) fn send(&self, frame: Utf8Bytes) -> Result<(), Overfull> {
        if self.flow.outgoing.len() >= limits::OUTBOX_FRAMES {
            return Err(Overfull);
        }
        // When the tasks are gone nobody takes it; then `Closed` is on its way to the drive.
        self.flow.outgoing.put(Outgoing::Frame(frame));
        Ok(())
    }

    /// Closes the socket when all that was given before is written, or [`limits::CLOSE_DEADLINE`] is over.
    pub(crate) fn close(&self, code: u16, reason: Utf8Bytes) {
        self.flow.closing.set(true);
        self.flow.close.ring();
        self.resume();
        self.flow.outgoing.put(Outgoing::Close { code, reason });
    }

    /// Ends the connection at once, whatever waits: both tasks see its end.
    pub(crate) fn abort(&self) {
        self.resume();
        let _ = self.raw.shutdown(Shutdown::Both);
    }

    /// Reads no further frame until [`Outbox::resume`].
    pub(crate) fn pause(&self) {
        self.flow.paused.set(!self.flow.closing.get());
    }

    /// Reads on.
    pub(crate) fn resume(&self) {
        self.flow.paused.set(false);
        self.flow.resume.ring();
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.flow.outgoing.close();
    }
}

impl Flow {
    fn new() -> Flow {
        Flow {
            outgoing: Mailbox::new(),
            paused: Cell::new(false),
            closing: Cell::new(false),
            violated: Cell::new(false),
            resume: Bell::default(),
            close: Bell::default(),
            taken: Rc::new(Cell::new(None)),
        }
    }

    async fn until_reading(&self) {
        while self.paused.get() {
            self.resume.rung().await;
        }
    }

    /// Until the time of a closing is over.
    async fn closed_late(&self) {
        self.close.rung().await;
        sleep(limits::CLOSE_DEADLINE).await;
    }

    /// When a peer of which nothing more comes than came until `heard` is to be given up.
    fn silent_at(&self, heard: Instant) -> Instant {
        self.taken.get().map_or(heard, |taken| taken.max(heard)) + limits::PEER_SILENCE
    }
}

/// Runs one WebSocket from the end of its handshake to the end of its TCP connection.
///
/// `early` is what the peer sent right behind its handshake. A message of more than `limit` bytes is a violation.
pub(crate) async fn run(
    executor: &LocalExecutor<'static>,
    arrivals: Sender<Arrival>,
    stream: TcpStream,
    early: Vec<u8>,
    identity: Result<Claims, String>,
    limit: usize,
) {
    let config = WebSocketConfig::default()
        .read_buffer_size(limits::READ_BUFFER_BYTES)
        .write_buffer_size(limits::WRITE_BUFFER_BYTES)
        .max_frame_size(Some(limit))
        .max_message_size(Some(limit));
    let raw = stream.clone();
    let flow = Rc::new(Flow::new());
    let stream = Watched::new(stream, flow.taken.clone());
    let socket = WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await;
    let (mut sender, receiver) = socket.split();

    let connection = {
        // In a scope of its own: the connection is not to hold the channel of its first answer for good.
        let (answer, answered) = smol::channel::bounded(1);
        let outbox = Outbox { flow: flow.clone(), raw: raw.clone() };
        if arrivals.send(Arrival::Opened { identity, outbox, answer }).await.is_err() {
            return;
        }
        answered.recv().await
    };
    let Ok(Some(connection)) = connection else {
        let close = close_frame(CloseCode::TryAgainLater.as_u16(), "the server is full: try again in a minute".into());
        or(async { drop(sender.close(Some(close)).await) }, sleep(limits::CLOSE_TIME)).await;
        return;
    };

    let write = write(sender, arrivals.clone(), connection, flow.clone(), raw.clone());
    let write = executor.spawn(write);
    let read = async {
        let end = read(receiver, &arrivals, connection, &flow, limit).await;
        if end == ReadEnd::Violated {
            or(linger(raw.clone()), sleep(limits::PEER_SILENCE)).await;
        }
        end
    };
    let write = async {
        write.await;
        ReadEnd::Gone
    };
    let late = async {
        flow.closed_late().await;
        let _ = raw.shutdown(Shutdown::Both);
        ReadEnd::Gone
    };
    // The writer ends only when the socket is broken or the peer does not answer a close; dropping its task ends it.
    let end = or(or(read, write), late).await;
    let _ = arrivals.send(Arrival::Closed { connection }).await;
    if end == ReadEnd::Closed {
        // The server ends TCP first (RFC 6455, section 7.1.1), and what the peer sent behind its close is thrown away.
        let _ = raw.shutdown(Shutdown::Write);
        or(linger(raw), sleep(limits::CLOSE_TIME)).await;
    }
}

#[derive(PartialEq, Eq)]
enum ReadEnd {
    /// Both sides have sent a close frame.
    Closed,
    /// Lost, or silent for too long.
    Gone,
    /// The peer is still there and must be told what it did.
    Violated,
}

async fn read(
    mut receiver: WebSocketReceiver<Watched>,
    arrivals: &Sender<Arrival>,
    connection: ConnectionId,
    flow: &Flow,
    limit: usize,
) -> ReadEnd {
    let mut silence = Timer::never();
    let mut closed = false;
    loop {
        flow.until_reading().await;
        let heard = Instant::now();
        let next = or(async { Some(receiver.next().await) }, async {
            // What the peer has taken meanwhile puts the end off.
            while flow.silent_at(heard) > Instant::now() {
                silence.set_at(flow.silent_at(heard));
                (&mut silence).await;
            }
            None
        });
        let arrival = match next.await {
            None | Some(None | Some(Err(_))) if closed => return ReadEnd::Closed,
            None | Some(None) => return ReadEnd::Gone,
            Some(Some(Ok(Message::Text(text)))) => Arrival::Frame { connection, text },
            Some(Some(Ok(Message::Binary(_)))) => Arrival::Violated { connection, violation: Violation::Binary },
            // Pings are answered, and a close is too, by reading on.
            Some(Some(Ok(message))) => {
                closed |= message.is_close();
                continue;
            }
            Some(Some(Err(error))) => {
                let Some(violation) = violation_of(&error, limit) else { return ReadEnd::Gone };
                tracing::debug!(?connection, %error, "the peer broke the WebSocket protocol");
                flow.violated.set(true);
                if flow.closing.get() || arrivals.send(Arrival::Violated { connection, violation }).await.is_err() {
                    return ReadEnd::Gone;
                }
                return ReadEnd::Violated;
            }
        };
        // A pause that came meanwhile holds this one back too.
        flow.until_reading().await;
        if !flow.closing.get() && arrivals.send(arrival).await.is_err() {
            return ReadEnd::Gone;
        }
    }
}

/// What an error of tungstenite says about the peer; `None` when the connection is just gone.
fn violation_of(error: &Error, limit: usize) -> Option<Violation> {
    use tungstenite::error::ProtocolError::{ResetWithoutClosingHandshake, SendAfterClosing};
    match error {
        Error::Capacity(_) => Some(Violation::TooBig { limit: u32::try_from(limit).unwrap_or(u32::MAX) }),
        Error::Utf8(_) => Some(Violation::NotUtf8),
        Error::Protocol(ResetWithoutClosingHandshake | SendAfterClosing) => None,
        Error::Protocol(_) => Some(Violation::Framing),
        _ => None,
    }
}

/// Reads and throws away, so that the kernel does not answer a peer that still sends with a reset, which would take
/// our last frames from it.
async fn linger(mut raw: TcpStream) {
    // On the heap, and only now: in the future it would cost every connection its 4 KiB.
    let mut buffer = vec![0; 4096];
    let mut left = limits::LINGER_BYTES;
    while left > 0 {
        match raw.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(n) => left = left.saturating_sub(n as u64),
        }
        // There may always be more; the others have their turn.
        yield_now().await;
    }
}

async fn write(
    mut sender: WebSocketSender<Watched>,
    arrivals: Sender<Arrival>,
    connection: ConnectionId,
    flow: Rc<Flow>,
    raw: TcpStream,
) {
    let mut written = 0u32;
    let mut ping = Timer::interval(limits::PING_INTERVAL);
    loop {
        let next = or(async { Some(flow.outgoing.next().await) }, async {
            ping.next().await;
            None
        });
        let sent = match next.await {
            Some(Some(Outgoing::Frame(text))) => {
                written = written.saturating_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
                sender.send(Message::Text(text)).await
            }
            Some(Some(Outgoing::Close { code, reason })) => {
                if sender.close(Some(close_frame(code, reason))).await.is_ok() {
                    if flow.violated.get() {
                        // The peer's own close frame would not be understood: it is to see the end at once.
                        let _ = raw.shutdown(Shutdown::Write);
                    }
                    sleep(limits::CLOSE_TIME).await;
                }
                return;
            }
            // The drive has dropped the outbox: it wants no more of this connection.
            Some(None) => return,
            None => sender.send(Message::Ping(Bytes::new())).await,
        };
        if sent.is_err() {
            return;
        }
        if written >= limits::CREDIT_STEP_BYTES {
            if arrivals.send(Arrival::Written { connection, bytes: written }).await.is_err() {
                return;
            }
            written = 0;
        }
    }
}

fn close_frame(code: u16, reason: Utf8Bytes) -> CloseFrame {
    CloseFrame { code: code.into(), reason }
}

async fn sleep(time: Duration) {
    Timer::after(time).await;
}
