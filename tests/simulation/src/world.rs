//! One world: a server, its storage and its model, a network, and the people who use it; and the order of events.

mod backing;
mod deeds;
mod faults;
mod people;
mod rest;
mod serving;

use std::cell::Cell;
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

use causerie_core::{ConnectionId, GenerationId, Hub, Reason, RequestId, testing};

use crate::client::{Client, NATURES, Nature};
use crate::model::Model;
use crate::network::Link;
use crate::report::Report;
use crate::rng::Rng;
use crate::settings::{MINUTE, SECOND, Settings, Time};
use crate::storage::{Answer, Storage};

use faults::Fault;

thread_local! {
    static NOW: Cell<Time> = const { Cell::new(0) };
}

/// The simulated time of this thread's world, for messages about what went wrong.
pub fn now() -> Time {
    NOW.with(Cell::get)
}

/// Something that happens at its time.
#[derive(Debug)]
enum Event {
    /// A client does something.
    Deed {
        client: usize,
    },
    Connect {
        client: usize,
    },
    /// Frames arrive at the server, or at the client.
    Up {
        link: usize,
    },
    Down {
        link: usize,
    },
    /// The client's end of a connection can take more.
    Credit {
        link: usize,
        bytes: u32,
    },
    /// A token was looked at.
    Verdict {
        link: usize,
        token: Token,
    },
    /// One end notices that the connection is gone.
    ServerNotices {
        link: usize,
    },
    ClientNotices {
        link: usize,
        code: u16,
    },
    /// The first request in storage's queue takes effect.
    StorageTurn {
        life: u64,
    },
    StorageAnswers {
        life: u64,
        request: RequestId,
        answer: Answer,
    },
    ModelSays {
        life: u64,
        generation: GenerationId,
    },
    ModelLoaded {
        life: u64,
    },
    /// The runtime gets round to the hub's outputs.
    Poll {
        life: u64,
    },
    Fault(Fault),
    Mend(Fault),
    Restart,
    Stopped {
        life: u64,
    },
    /// Everything is to come to rest, so that it can be looked at.
    Calm,
    /// Is it at rest?
    Rest {
        tries: u32,
    },
}

impl Event {
    /// Whether it needs the server's process, which may stand still. Whatever waits for that keeps its order.
    fn is_for_the_server(&self) -> bool {
        match self {
            Event::Up { .. }
            | Event::Credit { .. }
            | Event::Verdict { .. }
            | Event::ServerNotices { .. }
            | Event::StorageTurn { .. }
            | Event::StorageAnswers { .. }
            | Event::ModelSays { .. }
            | Event::ModelLoaded { .. }
            | Event::Poll { .. }
            | Event::Connect { .. }
            | Event::Mend(_)
            | Event::Stopped { .. }
            | Event::Calm => true,
            Event::Deed { .. }
            | Event::Down { .. }
            | Event::ClientNotices { .. }
            | Event::Fault(_)
            | Event::Restart
            | Event::Rest { .. } => false,
        }
    }
}

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Good { lifetime: Time },
    Bad,
    OfSomebodyElse,
}

struct Scheduled {
    at: Time,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// One life of the server.
struct Server {
    hub: Hub,
    /// Only looked up, never gone through: its order is not the seed's.
    links: HashMap<ConnectionId, usize>,
    poll_due: bool,
    /// It was told to stop.
    draining: bool,
}

/// A whole world. Nothing in it depends on anything but its seed and settings.
pub struct World {
    settings: Settings,
    rng: Rng,
    now: Time,
    order: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    /// Counts the server's lives: events of an earlier one mean nothing.
    life: u64,
    server: Option<Server>,
    /// From when to when the server last stood still.
    frozen: (Time, Time),
    storage: Storage,
    storage_free: Time,
    storage_slow: bool,
    model: Model,
    /// Hears all that clients send and get, and what storage commits.
    reference: testing::Model,
    links: Vec<Link>,
    open_links: Vec<usize>,
    /// Links that got a frame without credit since the hub was last drained.
    overdrawn: Vec<usize>,
    clients: Vec<Client>,
    /// People rest, and nothing breaks.
    calm: bool,
    over: bool,
    report: Report,
    trace: Option<Time>,
}

impl World {
    pub fn new(seed: u64, users: usize, trace: Option<Time>) -> World {
        NOW.with(|now| now.set(0));
        let mut rng = Rng::new(seed);
        let settings = Settings::draw(&mut rng, users);
        let mut clients = Vec::new();
        for user in 0..users {
            let devices = if rng.one_in(3) { 2 + rng.index(2) } else { 1 };
            let natures: Vec<Nature> = (0..devices).map(|_| nature(&mut rng)).collect();
            let flooded = natures.contains(&Nature::Flooder);
            clients.extend(natures.iter().enumerate().map(|(i, n)| Client::new(user, i, *n, flooded)));
        }
        World {
            settings,
            rng,
            now: 0,
            order: 0,
            queue: BinaryHeap::new(),
            life: 0,
            server: None,
            frozen: (0, 0),
            storage: Storage::default(),
            storage_free: 0,
            storage_slow: false,
            model: Model::default(),
            reference: testing::Model::with_storage(),
            links: Vec::new(),
            open_links: Vec::new(),
            overdrawn: Vec::new(),
            clients,
            calm: false,
            over: false,
            report: Report::default(),
            trace,
        }
    }

    /// Lives for some simulated time and a little longer, until all is at rest; then everybody leaves.
    pub fn live(mut self, until: Time) -> Report {
        self.begin();
        while !self.over {
            let next = self.queue.peek().map(|Reverse(scheduled)| scheduled.at);
            let deadline = self.server.as_ref().and_then(|s| s.hub.next_deadline());
            let deadline = deadline.filter(|(_, reason)| *reason != Reason::Output).map(|(at, _)| at.as_micros());
            let deadline = deadline.map(|at| at.max(self.frozen.1));
            if let Some(at) = deadline.filter(|at| next.is_none_or(|next| *at < next)) {
                // A runtime is late at times, but not early.
                let late = if self.settings.lag > 0 { self.rng.below(self.settings.lag) } else { 0 };
                let at = (at + late).min(next.unwrap_or(Time::MAX)).max(at);
                self.pass(at);
                self.time_passes();
                continue;
            }
            let Some(Reverse(Scheduled { at, event, .. })) = self.queue.pop() else { break };
            self.pass(at);
            if matches!(event, Event::Calm) && self.now >= until {
                self.over_soon();
            }
            self.happen(event);
        }
        self.farewell()
    }

    fn pass(&mut self, to: Time) {
        self.report.connection_micros += u128::from(to.saturating_sub(self.now)) * self.open_links.len() as u128;
        self.now = self.now.max(to);
        NOW.with(|now| now.set(self.now));
    }

    fn at(&mut self, at: Time, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Scheduled { at: at.max(self.now), order: self.order, event }));
    }

    /// About so long from now.
    fn after(&mut self, mean: Time, event: Event) {
        let at = self.now + self.rng.wait(mean);
        self.at(at, event);
    }

    fn begin(&mut self) {
        self.restart();
        for client in 0..self.clients.len() {
            self.after(MINUTE, Event::Connect { client });
            self.next_deed(client);
        }
        for fault in faults::ALL {
            self.next_fault(fault);
        }
        self.after(40 * MINUTE, Event::Calm);
    }

    /// The next time that everything is at rest is the last.
    fn over_soon(&mut self) {
        self.settings.pace = 0;
    }

    fn is_last(&self) -> bool {
        self.settings.pace == 0
    }

    fn happen(&mut self, event: Event) {
        let life = self.life;
        if self.frozen() && event.is_for_the_server() {
            return self.at(self.frozen.1, event);
        }
        match event {
            Event::Deed { client } => self.deed(client),
            Event::Connect { client } => self.connect(client),
            Event::Up { link } => self.arrive_up(link),
            Event::Down { link } => self.arrive_down(link),
            Event::Credit { link, bytes } => self.credit(link, bytes),
            Event::Verdict { link, token } => self.verdict(link, token),
            Event::ServerNotices { link } => self.server_notices(link),
            Event::ClientNotices { link, code } => self.client_notices(link, code),
            Event::StorageTurn { life: of } if of == life => self.storage_turn(),
            Event::StorageAnswers { life: of, request, answer } if of == life => self.storage_answers(request, answer),
            Event::ModelSays { life: of, generation } if of == life => self.model_says(generation),
            Event::ModelLoaded { life: of } if of == life => self.model_loaded(),
            Event::Poll { life: of } if of == life => self.poll(),
            Event::Stopped { life: of } if of == life => self.stopped(),
            // Of a server that is no more.
            Event::StorageTurn { .. }
            | Event::StorageAnswers { .. }
            | Event::ModelSays { .. }
            | Event::ModelLoaded { .. }
            | Event::Poll { .. }
            | Event::Stopped { .. } => {}
            Event::Fault(fault) => self.fault(fault),
            Event::Mend(fault) => self.mend(fault),
            Event::Restart => self.restart(),
            Event::Calm => self.calm_down(),
            Event::Rest { tries } => self.rest(tries),
        }
    }

    fn trace(&self, what: impl FnOnce() -> String) {
        if self.trace.is_some_and(|from| self.now >= from) {
            eprintln!("{:>14.6} {}", self.now as f64 / SECOND as f64, what());
        }
    }
}

fn nature(rng: &mut Rng) -> Nature {
    let mut left = rng.below(NATURES.iter().map(|n| n.1).sum());
    for (nature, share, ..) in NATURES {
        if left < share {
            return nature;
        }
        left -= share;
    }
    unreachable!("the shares are all there is")
}
