//! The load itself, and what is measured.

use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use causerie_benches::Server;
use causerie_benches::socket::{Event, Socket, What};
use serde::Serialize;
use serde_json::json;
use smol::channel::{Receiver, unbounded};
use smol::future::or;
use smol::{LocalExecutor, Timer};

use crate::chat::{Chat, Wanted};

/// Connections of one user: the server allows 64.
const PER_USER: usize = 50;

/// Sockets that are opened before memory is measured first: whatever the first ones need is not theirs alone.
const WARM: usize = 100;

/// How long anything may take before the load gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// After the last socket is open, until memory is measured: buffers of the beginning are given back.
const REST: Duration = Duration::from_secs(3);

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) sockets: usize,
    pub(crate) open_seconds: f64,
    /// The server's resident memory, with the first sockets and with all.
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
    /// After every socket was pinged.
    pub(crate) bytes_after_pings: u64,
    /// Microseconds from a ping to its pong, one socket after the other; sorted.
    #[serde(skip)]
    pub(crate) in_turn: Vec<f64>,
    /// From the first ping to each pong when all are pinged at once; sorted.
    #[serde(skip)]
    pub(crate) at_once: Vec<f64>,
    pub(crate) chat: Option<Chat>,
}

pub(crate) async fn measure(
    executor: Rc<LocalExecutor<'static>>,
    server: &Server,
    sockets: usize,
    wanted: &Wanted,
) -> Result<Measured, Box<dyn Error>> {
    let mut load = Load::new(executor, server);
    load.grow(WARM.min(sockets / 2)).await?;
    Timer::after(REST).await;
    let (warm, bytes_before, begun) = (load.sockets.len(), server.resident()?, Instant::now());
    load.grow(sockets - warm).await?;
    let open_seconds = begun.elapsed().as_secs_f64();
    Timer::after(REST).await;
    let bytes_after = server.resident()?;
    let in_turn = load.ping_in_turn(sockets).await?;
    let at_once = load.ping_at_once().await?;
    Timer::after(REST).await;
    let bytes_after_pings = server.resident()?;
    let chat = if wanted.clients > 0 { Some(load.chat(wanted).await?) } else { None };
    let sockets = sockets - warm;
    Ok(Measured { sockets, open_seconds, bytes_before, bytes_after, bytes_after_pings, in_turn, at_once, chat })
}

pub(crate) struct Load<'a> {
    executor: Rc<LocalExecutor<'static>>,
    pub(crate) server: &'a Server,
    pub(crate) sockets: Vec<Socket>,
    events: (smol::channel::Sender<Event>, Receiver<Event>),
}

impl<'a> Load<'a> {
    fn new(executor: Rc<LocalExecutor<'static>>, server: &'a Server) -> Load<'a> {
        Load { executor, server, sockets: Vec::new(), events: unbounded() }
    }

    pub(crate) async fn next(&self) -> Result<Event, Box<dyn Error>> {
        let event = or(async { self.events.1.recv().await.map_err(|_| "all sockets are gone") }, async {
            Timer::after(PATIENCE).await;
            Err("the server does not answer")
        });
        let event = event.await?;
        match event.what {
            What::Broken(why) => Err(format!("socket {}: {why}", event.index).into()),
            _ => Ok(event),
        }
    }

    /// Opens one more socket.
    pub(crate) async fn open(&mut self, token: &str) -> Result<usize, Box<dyn Error>> {
        let index = self.sockets.len();
        let events = self.events.0.clone();
        self.sockets.push(Socket::open(&self.executor, self.server.address(), token, index, events).await?);
        let event = self.next().await?;
        match event.what {
            What::Established if event.index == index => Ok(index),
            other => Err(format!("socket {index} opened, and socket {} got {other:?}", event.index).into()),
        }
    }

    pub(crate) async fn join(&mut self, index: usize, frame: &serde_json::Value) -> Result<String, Box<dyn Error>> {
        self.sockets[index].send(frame).await?;
        match self.next().await? {
            Event { what: What::Joined(session), .. } => Ok(session),
            other => Err(format!("socket {index} was to join a session: {other:?}").into()),
        }
    }

    /// Opens so many sockets, each in a session of its user.
    async fn grow(&mut self, count: usize) -> Result<(), Box<dyn Error>> {
        let mut left = count;
        while left > 0 {
            let token = self.server.token(&format!("idle{}", self.sockets.len()))?;
            let first = self.open(&token).await?;
            let session = self.join(first, &json!({ "type": "create_session" })).await?;
            left -= 1;
            for _ in 1..PER_USER {
                if left == 0 {
                    break;
                }
                let index = self.open(&token).await?;
                self.join(index, &json!({ "type": "join_session", "session_id": session })).await?;
                left -= 1;
            }
        }
        Ok(())
    }

    /// Pings the first `count` sockets, each when the one before has its pong.
    async fn ping_in_turn(&mut self, count: usize) -> Result<Vec<f64>, Box<dyn Error>> {
        let mut times = Vec::with_capacity(count);
        for index in 0..count {
            let sent = Instant::now();
            self.sockets[index].send(&json!({ "type": "ping" })).await?;
            let event = self.next().await?;
            times.push(micros(event.at - sent));
        }
        times.sort_by(f64::total_cmp);
        Ok(times)
    }

    async fn ping_at_once(&mut self) -> Result<Vec<f64>, Box<dyn Error>> {
        let begun = Instant::now();
        for socket in &mut self.sockets {
            socket.send(&json!({ "type": "ping" })).await?;
        }
        let mut times = Vec::with_capacity(self.sockets.len());
        for _ in 0..self.sockets.len() {
            times.push(micros(self.next().await?.at - begun));
        }
        times.sort_by(f64::total_cmp);
        Ok(times)
    }
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
