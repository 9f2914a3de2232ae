//! The clients' side of their connections: opening them, reading frames, noticing that they are gone.

use std::rc::Rc;

use causerie_core::{Input, SessionId};

use super::{Event, Token, World};
use crate::check;
use crate::client::{Asked, Nature, Pending};
use crate::frame::{Frame, Kind};
use crate::network::{Down, Link, Up};
use crate::report::judge;
use crate::settings::{MILLISECOND, MINUTE, SECOND};
use crate::view::{Joined, Since};

impl World {
    /// A client connects, if the server is there and has room.
    pub(super) fn connect(&mut self, client: usize) {
        if self.clients[client].link.is_some() || self.over {
            return;
        }
        let now = causerie_core::Instant::from_micros(self.now);
        let connected = self.server.as_mut().and_then(|s| s.hub.connect(now).ok());
        let Some(connection) = connected else { return self.after(5 * SECOND, Event::Connect { client }) };
        let id = self.links.len();
        let latency = self.settings.latency;
        let latency = latency / 2 + self.rng.below(latency * 2);
        let mut link = Link::new(connection, client, self.reference.connect(), self.now, latency);
        let nature = self.clients[client].nature;
        if nature == Nature::Slow {
            link.window = self.rng.between(200, 8_000) as u32;
            link.rate = self.rng.between(300, 20_000);
        }
        link.credit = i64::from(link.window);
        let credit = link.window;
        self.links.push(link);
        self.open_links.push(id);
        if let Some(server) = &mut self.server {
            server.links.insert(connection, id);
        }
        self.report.connections += 1;
        self.report.most_connections = self.report.most_connections.max(self.open_links.len());
        self.trace(|| format!("{id:>6} opens, of client {client}, {nature:?}"));
        let me = &mut self.clients[client];
        (me.link, me.known, me.guilty) = (Some(id), false, false);
        self.give(Input::Writable { connection, credit });
        let lifetime = self.lifetime(nature);
        let token = if nature == Nature::Misuser && self.rng.one_in(5) { Token::Bad } else { Token::Good { lifetime } };
        if token == Token::Bad {
            self.clients[client].guilty = true;
        }
        let lost = self.settings.verdicts_lost;
        if lost > 0 && !self.calm && self.rng.one_in(lost) {
            self.report.fault("verdicts that never came");
        } else {
            self.after(10 * MILLISECOND, Event::Verdict { link: id, token });
        }
        // Some do not wait for the greeting.
        if self.rng.one_in(2) {
            self.join_again(client);
        }
    }

    /// Goes on where it was, or somewhere.
    pub(super) fn join_again(&mut self, client: usize) {
        if self.clients[client].joining {
            return;
        }
        let me = &self.clients[client];
        let base = me.nature == Nature::Base;
        match me.view.session {
            Some(session) if !base && !self.rng.one_in(20) => {
                let view = &self.clients[client].view;
                let mut since = format!(r#"{{"epoch":"{}","seq":{}"#, view.epoch, view.seq);
                if let Some((id, text)) = &view.answer {
                    since.push_str(&format!(r#","message_id":"{}","offset":{}"#, id.0, text.len()));
                }
                let known = Since { epoch: view.epoch.clone(), invented: false };
                self.join(client, session, Some((known, since + "}")));
            }
            Some(session) => self.join(client, session, None),
            None => self.join_some(client),
        }
    }

    /// Joins one of its sessions, or makes one.
    pub(super) fn join_some(&mut self, client: usize) {
        let sessions = self.storage.open_sessions(&self.clients[client].user_id);
        match self.rng.pick(&sessions) {
            Some(session) => self.join(client, *session, None),
            None => {
                self.clients[client].joining = true;
                self.ask(client, Asked::once(Kind::SessionJoined), r#""type":"create_session""#);
            }
        }
    }

    pub(super) fn join(&mut self, client: usize, session: SessionId, since: Option<(Since, String)>) {
        let part = since.as_ref().map(|(_, text)| format!(r#","since":{text}"#)).unwrap_or_default();
        let asked = Asked { since: since.map(|(known, _)| known), ..Asked::once(Kind::SessionJoined) };
        self.clients[client].joining = true;
        self.ask(client, asked, &format!(r#""type":"join_session","session_id":"{}"{part}"#, session.0));
    }

    /// Sends a frame and remembers what must come of it.
    pub(super) fn ask(&mut self, client: usize, asked: Asked, fields: &str) {
        let me = &mut self.clients[client];
        me.count += 1;
        let id = me.count;
        let text = if me.nature == Nature::Base {
            format!("{{{fields}}}")
        } else {
            me.asked.insert(id, asked);
            format!(r#"{{{fields},"id":{id}}}"#)
        };
        self.send_up(client, Up::Text(text));
    }

    pub(super) fn send_up(&mut self, client: usize, what: Up) {
        let Some(id) = self.clients[client].link else { return };
        let link = &mut self.links[id];
        if link.cut || !link.client_open {
            return;
        }
        if let Up::Text(text) = &what {
            self.reference.sent(link.peer, text);
        }
        let first = link.up.is_empty();
        let at = link.send_up(self.now, &mut self.rng, what);
        if first {
            self.at(at, Event::Up { link: id });
        }
    }

    /// Frames have come for a client, who reads them when it likes.
    pub(super) fn arrive_down(&mut self, id: usize) {
        loop {
            let link = &mut self.links[id];
            if link.cut || !link.client_open {
                return;
            }
            let Some((at, _)) = link.down.front() else { return };
            let at = (*at).max(link.reading_from);
            if at > self.now {
                return self.at(at, Event::Down { link: id });
            }
            let Some((_, what)) = link.down.pop_front() else { return };
            match what {
                Down::Close(code, reason) => return self.closed_by_server(id, code, &reason),
                Down::Frame(frame) => {
                    if link.rate > 0 && !self.calm {
                        link.reading_from = self.now + frame.text.len() as u64 * SECOND / link.rate;
                    }
                    // Frames are far smaller than four gigabytes.
                    link.consumed += frame.text.len() as u32;
                    if link.consumed > link.window / 2 || link.down.is_empty() {
                        let bytes = std::mem::take(&mut link.consumed);
                        let at = link.travel(self.now, &mut self.rng);
                        self.at(at, Event::Credit { link: id, bytes });
                    }
                    let Link { client, peer, .. } = self.links[id];
                    judge(self.reference.received(peer, &frame.text));
                    self.read(client, &frame);
                }
            }
        }
    }

    fn closed_by_server(&mut self, id: usize, code: u16, reason: &str) {
        judge(self.reference.closed(self.links[id].peer, Some((code, reason))));
        let client = self.links[id].client;
        let me = &self.clients[client];
        let expected = match code {
            1001 | 1008 | 4000 | 4500 => true,
            1002 | 1007 | 1009 => me.guilty,
            _ => false,
        };
        check!(expected, "{:?} was closed with {code}", me.nature);
        let at = self.links[id].travel(self.now, &mut self.rng);
        self.at(at, Event::ServerNotices { link: id });
        self.client_notices(id, code);
    }

    /// The client's end of a connection is gone.
    pub(super) fn client_notices(&mut self, id: usize, code: u16) {
        if !std::mem::replace(&mut self.links[id].client_open, false) {
            return;
        }
        let Link { client, peer, .. } = self.links[id];
        judge(self.reference.closed(peer, None));
        self.trace(|| format!("{id:>6} is gone for client {client}: {code}"));
        let me = &mut self.clients[client];
        (me.link, me.known, me.joining, me.inside) = (None, false, false, false);
        me.asked.clear();
        me.awaits_nothing();
        me.view.lose();
        let wait = match code {
            4500.. => MINUTE,
            _ => 3 * SECOND,
        };
        self.after(wait, Event::Connect { client });
    }

    /// One frame, checked against what its reader knows.
    fn read(&mut self, client: usize, frame: &Rc<Frame>) {
        let me = &mut self.clients[client];
        let asked = frame.reference.map(|reference| {
            let asked = me.asked.remove(&reference);
            asked.unwrap_or_else(|| panic!("answered twice, or never asked: {frame:?}"))
        });
        if let Some(asked) = &asked {
            let fits = frame.kind == Kind::Error || frame.kind == asked.answer || asked.bad;
            check!(fits, "the wrong answer: {frame:?} to {asked:?}");
        }
        match frame.kind {
            Kind::ConnectionEstablished => {
                check!(!std::mem::replace(&mut me.known, true), "greeted once");
                check!(frame.user_id.as_deref() == Some(me.user_id.as_str()), "greeted as another: {frame:?}");
                return self.join_again(client);
            }
            Kind::SessionJoined => return self.joined(client, frame, asked.as_ref()),
            Kind::Error => self.refused(client, frame, asked.as_ref()),
            Kind::Ack => self.acknowledged(client, frame),
            Kind::Invited if frame.reference.is_none() && self.rng.one_in(3) => self.accept(client, frame),
            Kind::Notice if frame.code.as_deref() == Some("token_expiring") => self.renew(client),
            _ => {}
        }
        let me = &mut self.clients[client];
        // A reader that was short of credit minutes ago has long caught up with the log.
        let short = me.link.and_then(|link| self.links[link].short_at);
        if me.inside && self.settings.log_is_large() && short.is_none_or(|at| self.now > at + 5 * MINUTE) {
            me.watch(frame);
        }
        me.view.take(frame, &me.user_id, &self.storage);
        if me.inside && me.view.session.is_none() {
            // Left, or over: nobody is there to say it to.
            me.inside = false;
            me.awaits_nothing();
            me.pending.clear();
        }
    }

    fn joined(&mut self, client: usize, frame: &Frame, asked: Option<&Asked>) {
        let me = &mut self.clients[client];
        (me.joining, me.inside, me.joined_at) = (false, true, frame.seq.unwrap_or_default());
        me.awaits_nothing();
        let since = asked.and_then(|a| a.since.as_ref());
        match me.view.joined(frame, since, &me.user_id, &self.storage) {
            Joined::Anew => {}
            Joined::Resumed => self.report.resumed += 1,
            Joined::Denied => self.report.denied += 1,
        }
        // What it wanted to say elsewhere, nobody there waits for.
        let session = me.view.session;
        me.pending.retain(|pending| Some(pending.session) == session);
        self.say_again(client);
    }

    /// Repeats what was not acknowledged, under the same ids: it must be stored once.
    pub(super) fn say_again(&mut self, client: usize) {
        for pending in self.clients[client].pending.clone() {
            self.say(client, &pending);
        }
    }

    pub(super) fn say(&mut self, client: usize, pending: &Pending) {
        let Pending { client_id, text, .. } = pending;
        let asked = Asked { client_id: Some(*client_id), ..Asked::once(Kind::Ack) };
        let text = serde_json::to_string(text).expect("a string");
        let fields = format!(r#""type":"chat_message","message":{text},"client_id":"{client_id}""#);
        self.ask(client, asked, &fields);
    }

    fn acknowledged(&mut self, client: usize, frame: &Frame) {
        let Some(client_id) = frame.client_id.as_ref().and_then(|id| id.parse::<u64>().ok()) else { return };
        let me = &mut self.clients[client];
        let Some(at) = me.pending.iter().position(|p| p.client_id == client_id) else { return };
        let pending = me.pending.remove(at);
        let stored = frame.session_id.and_then(|id| self.storage.sessions.get(&id));
        let record = stored.and_then(|s| s.message(frame.message_id?));
        let same = record.is_some_and(|r| {
            r.content == pending.text && r.author.as_ref().is_some_and(|author| author.user_id == me.user_id)
        });
        check!(same, "what is stored is what was said: {pending:?}, {record:?}");
    }

    fn refused(&mut self, client: usize, frame: &Frame, asked: Option<&Asked>) {
        let code = frame.code.as_deref().unwrap_or_default();
        self.report.error(code);
        let rate = self.settings.limits.frames_per_second as usize;
        let crowded = self.clients[client].link.is_some_and(|id| self.links[id].most_a_second > rate);
        let me = &mut self.clients[client];
        let Some(asked) = asked else {
            // The base protocol does not say what an error answers.
            if me.nature == Nature::Base {
                me.joining = false;
                if code.starts_with("session_") && !me.inside {
                    me.view = Default::default();
                }
            }
            return;
        };
        check!(
            me.may_be_told(code, asked, crowded),
            "{:?} is refused without reason: {frame:?} to {asked:?}",
            me.nature
        );
        if asked.answer == Kind::SessionJoined {
            me.joining = false;
            if code == "session_not_found" || code == "session_ended" {
                // It is not there any more: with what it knew of it nobody can do anything.
                if !me.inside {
                    me.view = Default::default();
                }
            }
        }
        if let Some(client_id) = asked.client_id
            && !matches!(code, "overloaded" | "rate_limited" | "storage_failed" | "server_draining" | "too_many_frames")
        {
            me.pending.retain(|pending| pending.client_id != client_id);
        }
    }

    /// Somebody was invited, and goes there.
    fn accept(&mut self, client: usize, frame: &Frame) {
        let me = &self.clients[client];
        if let Some(session) = frame.session_id.filter(|_| !me.joining && me.known) {
            self.join(client, session, None);
        }
    }

    pub(super) fn renew(&mut self, client: usize) {
        let nature = self.clients[client].nature;
        if nature != Nature::Expiring || self.rng.one_in(2) {
            let lifetime = self.lifetime(nature);
            self.ask(client, Asked::once(Kind::Notice), &format!(r#""type":"authenticate","token":"good {lifetime}""#));
        }
    }
}
