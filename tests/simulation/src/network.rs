//! One connection through a network that delays, stands still and breaks. Within a connection order is kept, between
//! connections it is not.

use std::collections::VecDeque;
use std::rc::Rc;

use causerie_core::testing::ClientId;
use causerie_core::{ConnectionId, Violation};

use crate::frame::Frame;
use crate::rng::Rng;
use crate::settings::{SECOND, Time};

/// What goes to the server.
#[derive(Debug)]
pub enum Up {
    Text(String),
    Violated(Violation),
}

/// What goes to a client.
#[derive(Debug)]
pub enum Down {
    Frame(Rc<Frame>),
    Close(u16, String),
}

#[derive(Debug)]
pub struct Link {
    pub connection: ConnectionId,
    pub client: usize,
    /// The client's end, as the reference model names it.
    pub peer: ClientId,
    pub opened: Time,
    /// On the way, with the time of arrival.
    pub up: VecDeque<(Time, Up)>,
    pub down: VecDeque<(Time, Down)>,
    latency: Time,
    stalled_until: Time,
    /// When the last that is on the way arrives.
    up_free: Time,
    down_free: Time,
    /// Nothing passes any more, whether the two ends know it or not.
    pub cut: bool,
    pub server_open: bool,
    pub client_open: bool,
    /// The server reads no more for now.
    pub paused: bool,
    /// The server has said that it closes.
    pub closing: bool,
    /// When the client's token expires, as the server knows it.
    pub expires: Option<Time>,
    /// Bytes that the client's end holds without reading them.
    pub window: u32,
    /// Bytes a second that the client reads, 0 for all.
    pub rate: u64,
    /// The client reads nothing before.
    pub reading_from: Time,
    /// Bytes read and not granted again yet.
    pub consumed: u32,
    /// Bytes that the hub may send, by our own count.
    pub credit: i64,
    /// When there was no more credit last.
    pub short_at: Option<Time>,
    /// When the server last heard of the client.
    pub heard: Time,
    /// When the server got the frames of the last second.
    arrivals: VecDeque<Time>,
    /// The most frames that it got within a second: after a stall they come all at once.
    pub most_a_second: usize,
}

impl Link {
    pub fn new(connection: ConnectionId, client: usize, peer: ClientId, now: Time, latency: Time) -> Link {
        Link {
            connection,
            client,
            peer,
            opened: now,
            up: VecDeque::new(),
            down: VecDeque::new(),
            latency,
            stalled_until: 0,
            up_free: 0,
            down_free: 0,
            cut: false,
            server_open: true,
            client_open: true,
            paused: false,
            closing: false,
            expires: None,
            window: 65_536,
            rate: 0,
            reading_from: 0,
            consumed: 0,
            credit: 0,
            short_at: None,
            heard: now,
            arrivals: VecDeque::new(),
            most_a_second: 0,
        }
    }

    /// The server gets a frame.
    pub fn arrived(&mut self, now: Time) {
        self.heard = now;
        while self.arrivals.front().is_some_and(|at| at + SECOND <= now) {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(now);
        self.most_a_second = self.most_a_second.max(self.arrivals.len());
    }

    /// Puts something on its way to the server; when it arrives.
    pub fn send_up(&mut self, now: Time, rng: &mut Rng, what: Up) -> Time {
        self.up_free = self.travel(now, rng).max(self.up_free);
        self.up.push_back((self.up_free, what));
        self.up_free
    }

    /// Puts something on its way to the client; when it arrives.
    pub fn send_down(&mut self, now: Time, rng: &mut Rng, what: Down) -> Time {
        self.down_free = self.travel(now, rng).max(self.down_free);
        self.down.push_back((self.down_free, what));
        self.down_free
    }

    /// When something sent now arrives, were it alone.
    pub fn travel(&self, now: Time, rng: &mut Rng) -> Time {
        now.max(self.stalled_until) + self.latency + rng.wait(self.latency / 4 + 1)
    }

    pub fn stall(&mut self, until: Time) {
        self.stalled_until = until;
    }

    /// The network breaks: what is on its way is lost.
    pub fn cut(&mut self) {
        self.cut = true;
        self.up.clear();
        self.down.clear();
    }
}
