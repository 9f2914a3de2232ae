//! A chat server of blocking threads: one for the hub, one for storage, one for each answer, two for each connection.
//!
//! ```text
//! cargo run --example threads -- 127.0.0.1:8080 chat.jsonl
//! ```
//!
//! Then connect WebSocket clients to `ws://127.0.0.1:8080/ws/chat?token=NAME` and send, say,
//! `{"type":"create_session"}` and `{"type":"chat_message","message":"Hello"}`. The model is an echo; Enter lets
//! running answers end.
//!
//! What is not about threads is in `shared/`, and is the same in the example `tokio`.

mod shared;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use causerie_core::{ConnectionId, Violation};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Error, Message, WebSocket};

use shared::peer::{self, GRACE};
use shared::server::{EVENTS, Event, Order, Server, Task, WORD};
use shared::storage::Storage;

type Socket = WebSocket<Shared>;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let journal = arguments.next().unwrap_or_else(|| "chat.jsonl".to_owned());
    let (address, events, hub) = serve(&address, Path::new(&journal))?;
    println!("listening on ws://{address}/ws/chat?token=NAME; what is said is kept in {journal}; Enter stops");
    io::stdin().read_line(&mut String::new())?;
    let _ = events.send(Event::Stop);
    hub.join().map_err(|_| io::Error::other("the hub's thread panicked"))
}

/// Starts all threads. Gives where it listens, the way to its hub, and the hub's thread, which ends after [`Event::Stop`].
fn serve(address: &str, journal: &Path) -> io::Result<(SocketAddr, SyncSender<Event>, thread::JoinHandle<()>)> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    let storage = Storage::open(journal)?;
    let (events, inbox) = sync_channel(EVENTS);
    let (jobs, jobs_inbox) = channel();

    let replies = events.clone();
    // Who cannot tell the hub any more ends: the server stops.
    thread::spawn(move || storage.run(&jobs_inbox, |reply| drop(replies.send(Event::Storage(reply)))));
    let said = events.clone();
    let start = move |task| {
        let said = said.clone();
        thread::spawn(move || answer(&task, &said));
    };
    let server = Server::new(jobs, Box::new(start));
    let hub = thread::spawn(move || run(server, &inbox));
    let arrivals = events.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let events = arrivals.clone();
            thread::spawn(move || connection(stream, &events));
        }
    });
    Ok((address, events, hub))
}

/// The loop: wait for an event, or until the hub's next deadline.
fn run(mut server: Server, inbox: &Receiver<Event>) {
    while !server.is_done() {
        let event = match server.patience() {
            Some(patience) => inbox.recv_timeout(patience),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match event {
            Ok(event) => server.take(Some(event)),
            Err(RecvTimeoutError::Timeout) => server.take(None),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The model: says its words, unless it is cancelled, and how it went.
fn answer(task: &Task, events: &SyncSender<Event>) {
    let (generation, begun) = (task.generation, Instant::now());
    let mut said = 0;
    for word in &task.words {
        thread::sleep(WORD);
        if task.cancelled.load(Ordering::Relaxed)
            || events.send(Event::Said { generation, text: word.clone() }).is_err()
        {
            break;
        }
        said += 1;
    }
    let _ = events.send(task.ended(said, WORD, begun));
}

/// One connection: this thread reads, another one writes.
fn connection(stream: TcpStream, events: &SyncSender<Event>) {
    let Ok((token, mut reader, writer)) = handshake(stream) else { return };
    let (orders, orders_inbox) = channel();
    let gate = Arc::new(Gate::default());
    let outbox = Box::new({
        let gate = Arc::clone(&gate);
        move |order| match order {
            Order::PauseReading => gate.set(Way::Shut),
            Order::ResumeReading => gate.set(Way::Open),
            order => drop(orders.send(order)),
        }
    });
    let (opened, id) = channel();
    let opened = Box::new(move |result| {
        let _ = opened.send(result);
    });
    if events.send(Event::Opened { token, outbox, opened }).is_err() {
        return;
    }
    let Ok(Ok(connection)) = id.recv() else { return };
    let written = events.clone();
    let leaving = Arc::clone(&gate);
    let writing = thread::spawn(move || write(writer, connection, &orders_inbox, &leaving, &written));
    read(&mut reader, connection, &gate, events);
    // The hub forgets the way to the writer, whose queue ends with that.
    let _ = events.send(Event::Closed { connection });
    let _ = writing.join();
}

/// Two ends of one WebSocket: who reads answers pings, too, so both write.
///
/// Gives the token, who reads and who writes.
fn handshake(stream: TcpStream) -> io::Result<(Option<String>, Socket, Socket)> {
    stream.set_read_timeout(Some(GRACE))?;
    stream.set_nodelay(true)?;
    let stream = Shared { stream: Arc::new(stream), writing: Arc::default() };
    let mut token = None;
    #[allow(clippy::result_large_err, reason = "tungstenite asks for this type")]
    let look = |request: &Request, response: Response| {
        token = peer::token(request.uri().query());
        Ok(response)
    };
    let reader = tungstenite::accept_hdr_with_config(stream.clone(), look, Some(peer::config()));
    let reader = reader.map_err(|error| io::Error::other(error.to_string()))?;
    stream.stream.set_read_timeout(None)?;
    let writer = WebSocket::from_raw_socket(stream, Role::Server, Some(peer::config()));
    Ok((token, reader, writer))
}

/// Reads until the peer or the socket is gone.
fn read(socket: &mut Socket, connection: ConnectionId, gate: &Gate, events: &SyncSender<Event>) {
    loop {
        gate.wait();
        let event = match socket.read() {
            Ok(Message::Text(text)) => Event::Frame { connection, text },
            Ok(Message::Binary(_)) => Event::Violated { connection, violation: Violation::Binary },
            Ok(_) => continue,
            Err(error) => match peer::violation(&error) {
                Some(violation) => {
                    // Nothing after it can be understood. The hub says so to the peer, who may not leave by itself.
                    let _ = events.send(Event::Violated { connection, violation });
                    return socket.get_ref().discard();
                }
                None => return,
            },
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

/// Writes what the hub sends, and tells it what left the queue, until the hub has forgotten the connection.
fn write(
    mut socket: Socket,
    connection: ConnectionId,
    orders: &Receiver<Order>,
    gate: &Gate,
    events: &SyncSender<Event>,
) {
    while let Ok(order) = orders.recv() {
        let sent = match order {
            Order::Frame(text) => {
                let bytes = text.len() as u32;
                socket.send(Message::Text(text)).map(|()| drop(events.send(Event::Written { connection, bytes })))
            }
            Order::Close { code, reason } => {
                let said = socket.send(Message::Close(Some(CloseFrame { code: code.into(), reason })));
                // The peer says goodbye, too, and the hub forgets the connection; or it does not in time.
                match orders.recv_timeout(GRACE) {
                    Err(RecvTimeoutError::Disconnected) => return,
                    _ => said.and(Err(Error::AlreadyClosed)),
                }
            }
            Order::PauseReading | Order::ResumeReading => Ok(()),
        };
        if sent.is_err() {
            // Whoever reads from it now reads its end, and does not wait at the gate.
            gate.set(Way::Out);
            let _ = socket.get_ref().stream.shutdown(Shutdown::Both);
        }
    }
}

/// One socket for two [`WebSocket`]s. Each hands over whole frames at once, so a lock for each write keeps them whole.
#[derive(Clone)]
struct Shared {
    stream: Arc<TcpStream>,
    writing: Arc<Mutex<()>>,
}

impl Shared {
    /// Reads what still comes, so that the peer gets to see why it was closed, for a bounded time.
    fn discard(&self) {
        let until = Instant::now() + GRACE;
        let _ = self.stream.set_read_timeout(Some(GRACE));
        let mut rest = [0; 4_096];
        while Instant::now() < until && (&*self.stream).read(&mut rest).is_ok_and(|n| n > 0) {}
    }
}

impl Read for Shared {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (&*self.stream).read(into)
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _one_at_a_time = lock(&self.writing);
        (&*self.stream).write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Holds the reader back while the hub has no room for more.
#[derive(Default)]
struct Gate {
    way: Mutex<Way>,
    moved: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Way {
    #[default]
    Open,
    Shut,
    /// The connection is over.
    Out,
}

impl Gate {
    fn set(&self, to: Way) {
        let mut way = lock(&self.way);
        if *way != Way::Out {
            *way = to;
        }
        self.moved.notify_all();
    }

    fn wait(&self) {
        let mut way = lock(&self.way);
        while *way == Way::Shut {
            way = self.moved.wait(way).expect("no thread panics with it");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics with it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::visitors;

    #[test]
    fn people_talk_lose_their_connection_and_find_everything_after_a_restart() {
        let journal = visitors::journal("threads");
        let (address, events, hub) = serve("127.0.0.1:0", &journal).expect("a server");
        let session = visitors::talk(address);
        visitors::misbehave(address);
        events.send(Event::Stop).unwrap_or_else(|_| panic!("the hub runs"));
        hub.join().expect("the hub stops when all is said");

        let (address, events, hub) = serve("127.0.0.1:0", &journal).expect("a server");
        visitors::remember(address, &session);
        events.send(Event::Stop).unwrap_or_else(|_| panic!("the hub runs"));
        hub.join().expect("the hub stops when all is said");
        std::fs::remove_file(journal).expect("the journal was written");
    }
}
