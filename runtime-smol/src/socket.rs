//! One WebSocket: a task that reads and a task that writes, and the way to both from the drive.
//!
//! Bytes become [`Arrival`]s for the hub, [`Outgoing`]s become bytes; what they say is the hub's business. RFC 6455 is
//! tungstenite's: pings are answered there. Here are the limits in time and space, and the closing.

mod link;
mod mailbox;
mod watched;

use std::cell::Cell;
use std::future::poll_fn;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_tungstenite::{WebSocketReceiver, WebSocketSender, WebSocketStream};
use causerie_core::{CloseCode, ConnectionId, SessionId, Violation};
use smol::channel::Sender;
use smol::future::{or, yield_now};
use smol::stream::StreamExt;
use smol::{LocalExecutor, Timer};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Bytes, Error, Message, Utf8Bytes};

use link::Link;
use mailbox::{Bell, Mailbox};
use watched::Watched;

use crate::admission::Visitor;
use crate::limits;
use crate::store::users::Outcasts;
use crate::stream::Stream;

/// What a socket tells the drive.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A WebSocket is open. The answer is its handle, or `None` when the hub is full.
    Opened {
        /// What the token of the handshake says, or why it is refused. Boxed: every other arrival is much smaller.
        identity: Box<Result<Visitor, String>>,
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
    /// An administrator wants the model loaded anew.
    Reload,
    /// Nothing has happened in these sessions for so many days: those that are not in memory are deleted.
    Expire {
        /// Which.
        sessions: Vec<SessionId>,
        /// How many days.
        days: u32,
    },
    /// These may no longer be here: their connections are closed.
    Outcast(Outcasts),
    /// The socket is gone, whatever the reason.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
}

/// What the writer is to write.
#[derive(Debug)]
enum Outgoing {
    /// A text frame, shared with all its other recipients.
    Frame(Utf8Bytes),
    /// A ping of RFC 6455.
    Ping,
    /// The end, after all that was given before.
    Close { code: u16, reason: Utf8Bytes },
}

/// The drive's end of one socket. Dropping it ends the connection when all that was given before is written.
#[derive(Debug)]
pub(crate) struct Outbox(Rc<Flow>);

/// More than [`limits::OUTBOX_FRAMES`] wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overfull;

/// What the drive and the two tasks of one socket tell each other.
#[derive(Debug)]
struct Flow {
    /// Shared with whoever reads and writes it.
    link: Link,
    /// [`Outbox::send`] bounds it.
    outgoing: Mailbox<Outgoing>,
    /// A ping is in `outgoing`: there is never more than one.
    pinging: Cell<bool>,
    paused: Cell<bool>,
    /// A close frame is on its way, and when its time is over: frames of the peer are read for the closing handshake alone.
    closing: Cell<Option<Instant>>,
    /// The peer's bytes make no frames any more.
    violated: Cell<bool>,
    resume: Bell,
    /// Rung when `closing` is set.
    close: Bell,
    /// Since when nothing has come, while something is waited for.
    heard: Cell<Option<Instant>>,
    /// The last moment at which the peer took bytes that had to wait for it.
    taken: Cell<Option<Instant>>,
}

impl Outbox {
    /// Queues a frame. Sharing, not copying: `frame` may be in many outboxes.
    pub(crate) fn send(&self, frame: Utf8Bytes) -> Result<(), Overfull> {
        if self.0.outgoing.len() >= limits::OUTBOX_FRAMES {
            return Err(Overfull);
        }
        // When the tasks are gone nobody takes it; then `Closed` is on its way to the drive.
        self.0.outgoing.put(Outgoing::Frame(frame));
        Ok(())
    }

    /// Closes the socket when all that was given before is written, or [`limits::CLOSE_DEADLINE`] is over.
    pub(crate) fn close(&self, code: u16, reason: Utf8Bytes) {
        self.0.closing.set(Some(Instant::now() + limits::CLOSE_DEADLINE));
        self.0.close.ring();
        self.resume();
        self.0.outgoing.put(Outgoing::Close { code, reason });
    }

    /// Ends the connection at once, whatever waits: both tasks see its end.
    pub(crate) fn abort(&self) {
        self.resume();
        self.0.shut(Shutdown::Both);
    }

    /// Reads no further frame until [`Outbox::resume`].
    pub(crate) fn pause(&self) {
        self.0.paused.set(!self.0.is_closing());
    }

    /// Reads on.
    pub(crate) fn resume(&self) {
        self.0.paused.set(false);
        self.0.resume.ring();
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.0.outgoing.close();
    }
}

impl Flow {
    fn new(link: Link) -> Flow {
        Flow {
            link,
            outgoing: Mailbox::new(),
            pinging: Cell::new(false),
            paused: Cell::new(false),
            closing: Cell::new(None),
            violated: Cell::new(false),
            resume: Bell::default(),
            close: Bell::default(),
            heard: Cell::new(None),
            taken: Cell::new(None),
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.get().is_some()
    }

    fn shut(&self, how: Shutdown) {
        // It fails when the connection is gone already.
        let _ = self.link.shut(how);
    }

    async fn until_reading(&self) {
        while self.paused.get() {
            self.resume.rung().await;
        }
    }

    /// When the peer is to be given up, if nothing more comes and it takes nothing.
    fn silent_at(&self) -> Option<Instant> {
        let heard = self.heard.get()?;
        Some(self.taken.get().map_or(heard, |taken| taken.max(heard)) + limits::PEER_SILENCE)
    }

    /// All that happens to a socket by time: pings go out, and a silent peer and a late close are ended. One timer for
    /// all of it, since each costs some hundred bytes.
    async fn watch(&self) -> ReadEnd {
        let mut ping = Instant::now() + limits::PING_INTERVAL;
        let mut timer = Timer::never();
        loop {
            let ends = [self.silent_at(), self.closing.get()].into_iter().flatten().min();
            timer.set_at(ends.map_or(ping, |at| at.min(ping)));
            or(
                async {
                    (&mut timer).await;
                },
                self.close.rung(),
            )
            .await;
            let now = Instant::now();
            if self.closing.get().is_some_and(|at| at <= now) {
                self.shut(Shutdown::Both);
                return ReadEnd::Gone;
            }
            if self.silent_at().is_some_and(|at| at <= now) {
                return ReadEnd::Gone;
            }
            if ping <= now {
                ping = now + limits::PING_INTERVAL;
                if !self.pinging.replace(true) {
                    self.outgoing.put(Outgoing::Ping);
                }
            }
        }
    }
}

/// What is logged of a connection bears its id. Made where it is needed: it would take some hundred bytes of each idle one.
pub(crate) fn span(connection: ConnectionId) -> tracing::Span {
    tracing::error_span!("connection", id = %connection)
}

/// What of a connection is the same for all of them.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) executor: Rc<LocalExecutor<'static>>,
    pub(crate) arrivals: Sender<Arrival>,
    /// A message of more bytes is a violation.
    pub(crate) message_bytes: usize,
}

/// Makes a WebSocket of a connection at the end of its handshake, and tells the drive of it. `early` is what the peer sent
/// right behind its handshake; `held` is let go when the connection has ended.
pub(crate) async fn open(
    door: Door,
    stream: Stream,
    early: Vec<u8>,
    identity: Result<Visitor, String>,
    held: impl Sized + 'static,
) {
    let config = WebSocketConfig::default()
        .read_buffer_size(limits::READ_BUFFER_BYTES)
        .write_buffer_size(limits::WRITE_BUFFER_BYTES)
        .max_frame_size(Some(door.message_bytes))
        .max_message_size(Some(door.message_bytes));
    let flow = Rc::new(Flow::new(stream.into()));
    let stream = Watched::new(flow.clone());
    let socket = WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await;
    let (mut sender, receiver) = socket.split();

    let (answer, answered) = smol::channel::bounded(1);
    let opened = Arrival::Opened { identity: Box::new(identity), outbox: Outbox(flow.clone()), answer };
    if door.arrivals.send(opened).await.is_err() {
        return;
    }
    let Ok(Some(connection)) = answered.recv().await else {
        let close = close_frame(CloseCode::TryAgainLater.as_u16(), "the server is full: try again in a minute".into());
        or(async { drop(sender.close(Some(close)).await) }, sleep(limits::CLOSE_TIME)).await;
        return;
    };
    tracing::debug!(%connection, "a WebSocket is open"); // in the span of its request, so that both ids stand together
    let executor = door.executor.clone();
    // In a task of its own, which knows nothing of its beginning: there are 10,000 of them, nearly always asleep.
    executor.spawn(run(door, sender, receiver, connection, flow, held)).detach();
}

/// Runs one WebSocket to the end of its TCP connection. What is rare is on the heap, and futures are awaited where they
/// are made: in a variable they would take their room twice.
async fn run(
    door: Door,
    sender: WebSocketSender<Watched>,
    mut receiver: WebSocketReceiver<Watched>,
    connection: ConnectionId,
    flow: Rc<Flow>,
    held: impl Sized + 'static,
) {
    let Door { executor, arrivals, message_bytes } = door;
    let writer = executor.spawn(write(sender, arrivals.clone(), connection, flow.clone()));
    let end = or(
        read(&mut receiver, &arrivals, connection, &flow, message_bytes),
        // The writer ends only when the socket is broken or the peer does not answer a close; dropping its task ends it.
        or(
            async {
                writer.await;
                ReadEnd::Gone
            },
            flow.watch(),
        ),
    )
    .await;
    let _ = arrivals.send(Arrival::Closed { connection }).await;
    if end == ReadEnd::Closed {
        // The server ends TCP first (RFC 6455, section 7.1.1), and what the peer sent behind its close is thrown away.
        flow.shut(Shutdown::Write);
        Box::pin(or(linger(&flow), sleep(limits::CLOSE_TIME))).await;
    }
    drop(held);
}

#[derive(PartialEq, Eq)]
enum ReadEnd {
    /// Both sides have sent a close frame.
    Closed,
    /// Lost, silent for too long, or of no use after a violation.
    Gone,
}

async fn read(
    receiver: &mut WebSocketReceiver<Watched>,
    arrivals: &Sender<Arrival>,
    connection: ConnectionId,
    flow: &Flow,
    limit: usize,
) -> ReadEnd {
    let mut closed = false;
    loop {
        flow.until_reading().await;
        flow.heard.set(Some(Instant::now()));
        let next = receiver.next().await;
        flow.heard.set(None);
        let arrival = match next {
            None | Some(Err(_)) if closed => return ReadEnd::Closed,
            None => return ReadEnd::Gone,
            Some(Ok(Message::Text(text))) => Arrival::Frame { connection, text },
            Some(Ok(Message::Binary(_))) => Arrival::Violated { connection, violation: Violation::Binary },
            // Pings are answered, and a close is too, by reading on.
            Some(Ok(message)) => {
                closed |= message.is_close();
                continue;
            }
            Some(Err(error)) => {
                let Some(violation) = violation_of(&error, limit) else { return ReadEnd::Gone };
                span(connection).in_scope(|| tracing::debug!(%error, "the peer broke the WebSocket protocol"));
                flow.violated.set(true);
                if flow.is_closing() || arrivals.send(Arrival::Violated { connection, violation }).await.is_err() {
                    return ReadEnd::Gone;
                }
                // The peer is still there and must be told what it did.
                Box::pin(or(linger(flow), sleep(limits::PEER_SILENCE))).await;
                return ReadEnd::Gone;
            }
        };
        // A pause that came meanwhile holds this one back too.
        flow.until_reading().await;
        if !flow.is_closing() && arrivals.send(arrival).await.is_err() {
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
async fn linger(flow: &Flow) {
    let mut buffer = [0; 4096];
    let mut left = limits::LINGER_BYTES;
    while left > 0 {
        match poll_fn(|context| flow.link.poll_read(context, &mut buffer)).await {
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
) {
    let mut written = 0u32;
    // When there is no more, the drive has dropped the outbox: it wants no more of this connection.
    while let Some(outgoing) = flow.outgoing.next().await {
        let message = match outgoing {
            Outgoing::Frame(text) => {
                written = written.saturating_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
                Message::Text(text)
            }
            Outgoing::Ping => {
                flow.pinging.set(false);
                Message::Ping(Bytes::new())
            }
            Outgoing::Close { code, reason } => return Box::pin(close(sender, code, reason, flow)).await,
        };
        if sender.send(message).await.is_err() {
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

/// Sends a close frame and gives the peer its time to answer.
async fn close(mut sender: WebSocketSender<Watched>, code: u16, reason: Utf8Bytes, flow: Rc<Flow>) {
    if sender.close(Some(close_frame(code, reason))).await.is_ok() {
        if flow.violated.get() {
            // The peer's own close frame would not be understood: it is to see the end at once.
            flow.shut(Shutdown::Write);
        }
        sleep(limits::CLOSE_TIME).await;
    }
}

fn close_frame(code: u16, reason: Utf8Bytes) -> CloseFrame {
    CloseFrame { code: code.into(), reason }
}

async fn sleep(time: Duration) {
    Timer::after(time).await;
}
