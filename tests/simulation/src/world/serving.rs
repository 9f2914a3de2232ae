//! The server: inputs to the hub, and its outputs on their way to clients, storage and model.

use std::rc::Rc;

use causerie_core::{ConnectionId, GenerationId, Hub, Identity, Input, Instant, Options, Output, Role, UnixMicros};

use super::{Event, Server, Token, World};
use crate::check;
use crate::client::Nature;
use crate::frame::{Frame, Kind};
use crate::network::{Down, Up};
use crate::settings::{HOUR, MILLISECOND, MINUTE, SECOND, Time};
use crate::storage::{Request, What};

/// 2026-01-01T00:00:00Z
const START: u64 = 1_767_225_600_000_000;

/// An output of the hub, kept.
enum Effect {
    Send { to: Vec<ConnectionId>, frame: Rc<Frame> },
    Close { connection: ConnectionId, code: u16, reason: String },
    Authenticate { connection: ConnectionId, token: String },
    Storage(Request),
    Generate { generation: GenerationId, session: causerie_core::SessionId, prompt: causerie_core::MessageId },
    Cancel(GenerationId),
    Reload,
    Pause(ConnectionId),
    Resume(ConnectionId),
}

impl Effect {
    fn keep(output: Output<'_>) -> Effect {
        match output {
            Output::Send { to, frame } => Effect::Send { to: to.to_vec(), frame: Rc::new(Frame::read(frame)) },
            Output::Close { connection, code, reason } => {
                check!(reason.len() <= 123, "a close frame has room for 123 bytes: {reason}");
                Effect::Close { connection, code, reason: reason.to_string() }
            }
            Output::Authenticate { connection, token } => Effect::Authenticate { connection, token: token.to_string() },
            Output::Store { request, write } => Effect::Storage(Request { id: request, what: What::of_write(write) }),
            Output::Load { request, query } => Effect::Storage(Request { id: request, what: What::of_query(query) }),
            Output::Generate { generation, session, prompt, .. } => Effect::Generate { generation, session, prompt },
            Output::Cancel { generation } => Effect::Cancel(generation),
            Output::ReloadModel => Effect::Reload,
            Output::PauseReading { connection } => Effect::Pause(connection),
            Output::ResumeReading { connection } => Effect::Resume(connection),
            other => panic!("the simulation does not know the output {other:?}"),
        }
    }
}

impl World {
    /// A new life of the server.
    pub(super) fn restart(&mut self) {
        if self.server.is_some() {
            return;
        }
        self.life += 1;
        let mut seed = [0; 32];
        for eight in seed.chunks_mut(8) {
            eight.copy_from_slice(&self.rng.any().to_le_bytes());
        }
        let set = self.settings.clock_set;
        let hub = Hub::new(Options {
            seed,
            wall_clock: UnixMicros(START - set + self.rng.below(2 * set + 1)),
            server: "simulated".to_string(),
            limits: self.settings.limits.clone(),
        });
        self.server = Some(Server { hub, links: Default::default(), poll_due: false, draining: false });
        self.storage_free = self.now;
        self.trace(|| "the server starts".to_string());
        let life = self.life;
        self.model.up = false;
        self.after(SECOND, Event::ModelLoaded { life });
    }

    pub(super) fn model_loaded(&mut self) {
        self.model.up = true;
        self.give(Input::BackendUp { model: "nonsense" });
    }

    /// Gives the hub an input. What comes of it is looked at when the runtime gets round to it.
    pub(super) fn give(&mut self, input: Input<'_>) {
        let mut now = self.now;
        let back = self.settings.clock_back;
        if back > 0 && self.rng.one_in(back) {
            self.report.fault("times that went back");
            now = now.saturating_sub(self.rng.wait(10 * MILLISECOND));
        }
        self.give_at(now, input);
    }

    fn give_at(&mut self, now: Time, input: Input<'_>) {
        let now = Instant::from_micros(now);
        let Some(server) = &mut self.server else { return };
        if let Err(misuse) = server.hub.handle(now, input) {
            panic!("the contract of `Hub::handle` was kept, and yet: {misuse}");
        }
        self.poll_soon();
    }

    fn poll_soon(&mut self) {
        let life = self.life;
        if let Some(server) = &mut self.server
            && !std::mem::replace(&mut server.poll_due, true)
        {
            let lag = if self.settings.lag > 0 { self.rng.below(self.settings.lag) } else { 0 };
            self.at(self.now + lag, Event::Poll { life });
        }
    }

    /// A deadline of the hub has come.
    pub(super) fn time_passes(&mut self) {
        self.give_at(self.now, Input::Timer);
        self.poll();
    }

    pub(super) fn poll(&mut self) {
        let mut effects = Vec::new();
        loop {
            let Some(server) = &mut self.server else { return };
            server.poll_due = false;
            let more = server.hub.poll(&mut |output| effects.push(Effect::keep(output)));
            for effect in effects.drain(..) {
                self.effect(effect);
            }
            if !more {
                break;
            }
            // A fair runtime looks after others in between.
            if self.rng.one_in(8) {
                self.poll_soon();
                return;
            }
        }
        for link in std::mem::take(&mut self.overdrawn) {
            let link = &self.links[link];
            check!(link.closing || !link.server_open, "only the last frames may come without credit: {link:?}");
        }
    }

    fn link_of(&self, connection: ConnectionId, what: &str) -> usize {
        let link = self.server.as_ref().and_then(|s| s.links.get(&connection));
        match link {
            Some(link) => *link,
            None => panic!("{what} to a connection that is gone"),
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Send { to, frame } => self.send_down(&to, &frame),
            Effect::Close { connection, code, reason } => {
                let link = self.link_of(connection, "a close");
                self.trace(|| format!("server closes {link} with {code}"));
                check!(!self.links[link].closing, "closed once");
                self.links[link].closing = true;
                self.put_down(link, Down::Close(code, reason));
                // The runtime waits for the peer's answer so long.
                self.at(self.now + 10 * SECOND, Event::ServerNotices { link });
            }
            Effect::Authenticate { connection, token } => {
                let link = self.link_of(connection, "a token to verify");
                let token = match token.split_once(' ') {
                    Some(("good", lifetime)) => Token::Good { lifetime: lifetime.parse().unwrap_or(HOUR) },
                    Some(("other", _)) => Token::OfSomebodyElse,
                    _ => Token::Bad,
                };
                self.after(5 * MILLISECOND, Event::Verdict { link, token });
            }
            Effect::Storage(request) => self.ask_storage(request),
            Effect::Generate { generation, session, prompt } => {
                let stored = self.storage.session(session).and_then(|s| s.message(prompt));
                check!(stored.is_some(), "what is to be answered is stored: {prompt:?} of {session:?}");
                let fails = if self.calm { 0 } else { self.settings.answers_fail };
                self.model.begin(generation, session, prompt, fails, &mut self.rng);
                self.model.waiting.push_back(generation);
                self.next_answers();
            }
            Effect::Cancel(generation) => self.model.cancel(generation),
            Effect::Reload => {
                self.report.fault("model reloads");
                let life = self.life;
                self.model.up = false;
                self.give(Input::BackendDown { reason: "it is being loaded" });
                self.after(5 * SECOND, Event::ModelLoaded { life });
            }
            Effect::Pause(connection) => {
                let link = self.link_of(connection, "a pause");
                check!(!std::mem::replace(&mut self.links[link].paused, true), "paused once");
            }
            Effect::Resume(connection) => {
                let link = self.link_of(connection, "a resumption");
                check!(std::mem::replace(&mut self.links[link].paused, false), "resumed once");
                self.at(self.now, Event::Up { link });
            }
        }
    }

    fn send_down(&mut self, to: &[ConnectionId], frame: &Rc<Frame>) {
        if matches!(frame.kind, Kind::Ack | Kind::Message) {
            let id = if frame.kind == Kind::Ack { frame.message_id } else { frame.id };
            let stored = frame.session_id.and_then(|s| self.storage.sessions.get(&s)).and_then(|s| s.message(id?));
            check!(stored.is_some(), "nobody is told of a message before it is stored: {frame:?}");
        }
        for (i, connection) in to.iter().enumerate() {
            let id = self.link_of(*connection, "a frame");
            check!(!to[..i].contains(connection) || to.len() > 64, "each recipient once");
            self.trace(|| format!("{id:>6} <- {}", frame.text));
            self.report.frames_out += 1;
            let now = self.now;
            let late = self.settings.lag;
            let (froze, thawed) = self.frozen;
            let link = &mut self.links[id];
            check!(!link.closing, "no frame after the close: {frame:?}");
            // An expired token gets its error, and nothing else.
            let last = frame.kind == Kind::Error;
            let due = link.expires.map(|at| if at + late >= froze { at.max(thawed) } else { at });
            check!(last || due.is_none_or(|at| now <= at + late), "its token has expired: {frame:?}");
            if link.credit <= 0 {
                self.overdrawn.push(id);
            }
            link.credit -= frame.text.len() as i64;
            if link.credit <= 0 {
                link.short_at = Some(now);
                self.clients[link.client].awaits_nothing();
            }
            self.put_down(id, Down::Frame(Rc::clone(frame)));
        }
    }

    fn put_down(&mut self, id: usize, what: Down) {
        let link = &mut self.links[id];
        if link.cut {
            return;
        }
        let first = link.down.is_empty();
        let at = link.send_down(self.now, &mut self.rng, what);
        if first {
            self.at(at, Event::Down { link: id });
        }
    }

    /// Frames of a client have come.
    pub(super) fn arrive_up(&mut self, id: usize) {
        loop {
            let link = &mut self.links[id];
            if link.paused || !link.server_open || link.cut {
                return;
            }
            match link.up.front() {
                Some((at, _)) if *at <= self.now => {}
                Some((at, _)) => {
                    let at = *at;
                    return self.at(at, Event::Up { link: id });
                }
                None => return,
            }
            let Some((_, what)) = link.up.pop_front() else { return };
            let connection = link.connection;
            link.arrived(self.now);
            self.report.frames_in += 1;
            match &what {
                Up::Text(text) => {
                    self.trace(|| format!("{id:>6} -> {text}"));
                    self.give(Input::Frame { connection, text });
                }
                Up::Violated(violation) => self.give(Input::Violated { connection, violation: *violation }),
            }
        }
    }

    pub(super) fn credit(&mut self, id: usize, bytes: u32) {
        let link = &mut self.links[id];
        if link.server_open && !link.cut {
            link.credit += i64::from(bytes);
            let connection = link.connection;
            self.give(Input::Writable { connection, credit: bytes });
        }
    }

    pub(super) fn verdict(&mut self, id: usize, token: Token) {
        let link = &self.links[id];
        if !link.server_open {
            return;
        }
        let (connection, client) = (link.connection, link.client);
        let who = &self.clients[client];
        let Token::Good { lifetime } = token else {
            if token == Token::OfSomebodyElse && link.expires.is_some() {
                let identity = Identity {
                    user_id: "id-nobody".to_string(),
                    username: "nobody".to_string(),
                    role: Role::User,
                    expires: Instant::from_micros(self.now + HOUR),
                };
                return self.give(Input::Authenticated { connection, identity });
            }
            return self.give(Input::Refused { connection, reason: "The token is not good: get another" });
        };
        let expires = self.now + lifetime;
        let role = if who.nature == Nature::Admin { Role::Admin } else { Role::User };
        let identity = Identity {
            user_id: who.user_id.clone(),
            username: who.name.clone(),
            role,
            expires: Instant::from_micros(expires),
        };
        // One that is already out of time stays out.
        let link = &mut self.links[id];
        if !link.closing && link.expires.is_none_or(|at| self.now < at) {
            link.expires = Some(expires);
        }
        self.give(Input::Authenticated { connection, identity });
    }

    /// The server's end of a connection is gone.
    pub(super) fn server_notices(&mut self, id: usize) {
        let link = &mut self.links[id];
        if !std::mem::replace(&mut link.server_open, false) {
            return;
        }
        let connection = link.connection;
        link.cut();
        self.open_links.retain(|open| *open != id);
        if let Some(server) = &mut self.server {
            server.links.remove(&connection);
        }
        self.give(Input::Closed { connection });
        if self.links[id].client_open {
            self.after(5 * SECOND, Event::ClientNotices { link: id, code: 1006 });
        }
    }

    /// How long a token of a client lives.
    pub(super) fn lifetime(&mut self, nature: Nature) -> Time {
        match nature {
            Nature::Expiring => self.rng.between(30 * SECOND, 10 * MINUTE),
            _ => self.rng.between(HOUR, 24 * HOUR),
        }
    }
}
