//! A chat server on tokio: one task for the hub, one for each answer, one for each connection, and a thread for storage.
//!
//! ```text
//! cargo run -p causerie-tokio -- 127.0.0.1:8080 chat.jsonl
//! ```
//!
//! Then connect WebSocket clients to `ws://127.0.0.1:8080/ws/chat?token=NAME` and send, say,
//! `{"type":"create_session"}` and `{"type":"chat_message","message":"Hello"}`. The model is an echo; Ctrl-C lets running
//! answers end.
//!
//! What is not about tokio is in `../shared/`, and is the same in the example `threads`.

#[path = "../../shared/mod.rs"]
mod shared;

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::mpsc as blocking;
use std::time::Instant;

use causerie_core::{ConnectionId, Violation};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

use shared::peer::{self, GRACE};
use shared::server::{EVENTS, Event, Order, Server, Task, WORD};
use shared::storage::Storage;

type Socket = WebSocketStream<TcpStream>;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let journal = arguments.next().unwrap_or_else(|| "chat.jsonl".to_owned());
    runtime()?.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening on ws://{}/ws/chat?token=NAME; what is said is kept in {journal}", listener.local_addr()?);
        let (events, inbox) = mpsc::channel(EVENTS);
        let stop = events.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                let _ = stop.send(Event::Stop).await;
            }
        });
        serve(listener, Path::new(&journal), events, inbox).await
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Serves until [`Event::Stop`] has come and all is said and stored.
async fn serve(
    listener: TcpListener,
    journal: &Path,
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
) -> io::Result<()> {
    let storage = Storage::open(journal)?;
    let (jobs, jobs_inbox) = blocking::channel();
    let replies = events.clone();
    // Files block, so storage has a thread. Who cannot tell the hub any more ends: the server stops.
    let storage = std::thread::spawn(move || {
        storage.run(&jobs_inbox, |reply| drop(replies.blocking_send(Event::Storage(reply))));
    });
    let said = events.clone();
    let start = move |task| drop(tokio::spawn(answer(task, said.clone())));
    let accepting = tokio::spawn(accept(listener, events));
    run(Server::new(jobs, Box::new(start)), inbox).await;
    accepting.abort();
    tokio::task::spawn_blocking(|| storage.join())
        .await
        .map_err(io::Error::other)?
        .map_err(|_| io::Error::other("storage panicked"))
}

/// The loop: wait for an event, or until the hub's next deadline.
async fn run(mut server: Server, mut inbox: mpsc::Receiver<Event>) {
    while !server.is_done() {
        let event = match server.patience() {
            Some(patience) => timeout(patience, inbox.recv()).await,
            None => Ok(inbox.recv().await),
        };
        match event {
            Ok(Some(event)) => server.take(Some(event)),
            Ok(None) => return,
            Err(_elapsed) => server.take(None),
        }
    }
}

/// The model: says its words, unless it is cancelled, and how it went.
async fn answer(task: Task, events: mpsc::Sender<Event>) {
    let (generation, begun) = (task.generation, Instant::now());
    let mut said = 0;
    for word in &task.words {
        sleep(WORD).await;
        let text = word.clone();
        if task.cancelled.load(Ordering::Relaxed) || events.send(Event::Said { generation, text }).await.is_err() {
            break;
        }
        said += 1;
    }
    let _ = events.send(task.ended(said, WORD, begun)).await;
}

async fn accept(listener: TcpListener, events: mpsc::Sender<Event>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, events.clone()))),
            // Too many files are open, say; it will pass.
            Err(_) => sleep(WORD).await,
        }
    }
}

/// One connection, from its handshake to its end.
async fn connection(stream: TcpStream, events: mpsc::Sender<Event>) {
    let Ok((stream, raw)) = twice(stream) else { return };
    let Ok(Some((token, socket))) = timeout(GRACE, handshake(stream)).await else { return };
    let (orders, orders_inbox) = mpsc::unbounded_channel();
    let (pause, paused) = watch::channel(false);
    let outbox = Box::new(move |order| match order {
        Order::PauseReading => drop(pause.send(true)),
        Order::ResumeReading => drop(pause.send(false)),
        order => drop(orders.send(order)),
    });
    let (opened, id) = oneshot::channel();
    let opened = Box::new(move |result| {
        let _ = opened.send(result);
    });
    if events.send(Event::Opened { token, outbox, opened }).await.is_err() {
        return;
    }
    let Ok(Ok(connection)) = id.await else { return };
    let (sink, stream) = socket.split();
    let mut reading = pin!(read(stream, raw, connection, paused, &events));
    let writing = pin!(write(sink, connection, orders_inbox, &events));
    tokio::select! {
        () = &mut reading => {}
        // The last frame is written. The peer says goodbye, too, or it does not in time.
        () = writing => drop(timeout(GRACE, reading).await),
    }
    let _ = events.send(Event::Closed { connection }).await;
}

/// The socket again, beneath the WebSocket.
fn twice(stream: TcpStream) -> io::Result<(TcpStream, TcpStream)> {
    let stream = stream.into_std()?;
    let raw = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, TcpStream::from_std(raw)?))
}

async fn handshake(stream: TcpStream) -> Option<(Option<String>, Socket)> {
    stream.set_nodelay(true).ok()?;
    let mut token = None;
    #[allow(clippy::result_large_err, reason = "tungstenite asks for this type")]
    let look = |request: &Request, response: Response| {
        token = peer::token(request.uri().query());
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async_with_config(stream, look, Some(peer::config())).await.ok()?;
    Some((token, socket))
}

/// Reads until the peer or the socket is gone.
async fn read(
    mut stream: SplitStream<Socket>,
    mut raw: TcpStream,
    connection: ConnectionId,
    mut paused: watch::Receiver<bool>,
    events: &mpsc::Sender<Event>,
) {
    loop {
        if paused.wait_for(|paused| !paused).await.is_err() {
            return;
        }
        let event = match stream.next().await {
            None => return,
            Some(Ok(Message::Text(text))) => Event::Frame { connection, text },
            Some(Ok(Message::Binary(_))) => Event::Violated { connection, violation: Violation::Binary },
            Some(Ok(_)) => continue,
            Some(Err(error)) => {
                let Some(violation) = peer::violation(&error) else { return };
                let _ = events.send(Event::Violated { connection, violation }).await;
                // Nothing after it can be understood. It is read all the same, until the connection is closed: a peer
                // whose bytes are refused would not get to see why.
                let _ = tokio::io::copy(&mut raw, &mut tokio::io::sink()).await;
                return;
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// Writes what the hub sends, and tells it what left the queue, up to the close frame or an error.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    connection: ConnectionId,
    mut orders: mpsc::UnboundedReceiver<Order>,
    events: &mpsc::Sender<Event>,
) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Frame(text) => {
                let bytes = text.len() as u32;
                if sink.send(Message::Text(text)).await.is_err() {
                    return;
                }
                let _ = events.send(Event::Written { connection, bytes }).await;
            }
            Order::Close { code, reason } => {
                let _ = sink.send(Message::Close(Some(CloseFrame { code: code.into(), reason }))).await;
                return;
            }
            Order::PauseReading | Order::ResumeReading => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::visitors;
    use std::net::SocketAddr;

    /// Runs a server on a thread while `visit` visits it, and stops it.
    fn with_server<T>(journal: &Path, visit: impl FnOnce(SocketAddr) -> T) -> T {
        let runtime = runtime().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (events, inbox) = mpsc::channel(EVENTS);
        let (stop, journal) = (events.clone(), journal.to_owned());
        let server = std::thread::spawn(move || runtime.block_on(serve(listener, &journal, events, inbox)));
        let seen = visit(address);
        stop.blocking_send(Event::Stop).unwrap_or_else(|_| panic!("the hub runs"));
        server.join().expect("no panic").expect("the server stops when all is said");
        seen
    }

    #[test]
    fn people_talk_lose_their_connection_and_find_everything_after_a_restart() {
        let journal = visitors::journal("tokio");
        let session = with_server(&journal, |address| {
            let session = visitors::talk(address);
            visitors::misbehave(address);
            session
        });
        with_server(&journal, |address| visitors::remember(address, &session));
        std::fs::remove_file(journal).expect("the journal was written");
    }
}
