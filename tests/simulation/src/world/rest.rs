//! From time to time people rest and nothing breaks. Then everything must come to rest, too, and everybody must have
//! everything.

use std::collections::{BTreeMap, BTreeSet};

use causerie_core::{Counts, Input, Instant, SessionId};

use super::{Event, World};
use crate::check;
use crate::report::{Report, judge};
use crate::settings::{HOUR, MINUTE, SECOND};

/// Looks, ten seconds apart, after which a world that is not at rest never will be.
const TRIES: u32 = 360;

impl World {
    pub(super) fn calm_down(&mut self) {
        self.trace(|| "calm".to_string());
        self.calm = true;
        self.storage.failing = 0;
        self.storage_slow = false;
        if self.server.is_some() && !self.model.up {
            self.model_loaded();
        }
        self.next_answers();
        for id in self.open_links.clone() {
            self.links[id].stall(0);
            if self.links[id].reading_from > self.now {
                self.links[id].reading_from = self.now;
                self.at(self.now, Event::Down { link: id });
            }
        }
        for client in 0..self.clients.len() {
            if self.clients[client].link.is_none() {
                self.after(5 * SECOND, Event::Connect { client });
            }
        }
        self.at(self.now + 10 * SECOND, Event::Rest { tries: 0 });
    }

    pub(super) fn rest(&mut self, tries: u32) {
        if let Some(unrest) = self.unrest() {
            check!(tries < TRIES, "an hour after the last fault there is no rest: {unrest}");
            for client in 0..self.clients.len() {
                if self.clients[client].known && !self.clients[client].joining {
                    if !self.clients[client].inside {
                        self.join_again(client);
                    } else if self.clients[client].view.session.is_some() && tries % 2 == 1 {
                        self.say_again(client);
                    }
                }
            }
            return self.at(self.now + 10 * SECOND, Event::Rest { tries: tries + 1 });
        }
        self.verify();
        self.report.calms += 1;
        if self.is_last() {
            self.over = true;
            return;
        }
        self.trace(|| "calm is over".to_string());
        self.calm = false;
        self.after(40 * MINUTE, Event::Calm);
    }

    /// What still goes on, if anything does.
    fn unrest(&self) -> Option<String> {
        let Some(server) = self.server.as_ref().filter(|s| !s.draining) else {
            return Some("the server is not up".to_string());
        };
        let counts = server.hub.counts();
        if (counts.requests, counts.generations, counts.waiting_messages) != (0, 0, 0) || server.poll_due {
            return Some(format!("{counts:?}"));
        }
        if self.open_links.len() > self.clients.len() {
            return Some("the server has not noticed yet that some connections are gone".to_string());
        }
        for (client, me) in self.clients.iter().enumerate() {
            let Some(link) = me.link.map(|id| &self.links[id]) else {
                return Some(format!("client {client} is not connected"));
            };
            let busy = link.cut || link.closing || !link.up.is_empty() || !link.down.is_empty();
            let outside = me.view.session.is_some() && !me.inside;
            if busy || !me.known || me.joining || outside || !me.pending.is_empty() || link.consumed > 0 {
                return Some(format!("client {client} is busy: {me:?}, {link:?}"));
            }
            if let Some((id, asked)) = me.asked.iter().find(|(_, asked)| asked.must) {
                return Some(format!("frame {id} of client {client} is not answered: {asked:?}, {link:?}"));
            }
            if !me.unanswered.is_empty() || !me.typists.is_empty() {
                let (unanswered, typists) = (&me.unanswered, &me.typists);
                return Some(format!("client {client} waits for answers to {unanswered:?}, and {typists:?} type"));
            }
            if let Some(behind) = self.behind(client) {
                return Some(format!("client {client} has not got everything: {behind}; {:?}, {link:?}", me.view));
            }
        }
        None
    }

    /// What a client still lacks of its session.
    fn behind(&self, client: usize) -> Option<String> {
        let view = &self.clients[client].view;
        let stored = self.storage.session(view.session?);
        let seq = stored.map_or(0, |s| s.messages.len() as u64);
        let missing = view.seq != seq && !view.told_of_a_gap;
        let ended = stored.is_none_or(|s| s.record.ended.is_some());
        (missing || view.typing || view.answer.is_some() || ended)
            .then(|| format!("{seq} messages are stored, it is {}", if ended { "over" } else { "live" }))
    }

    /// All is at rest: the hub holds what it must, and no more; people see each other.
    fn verify(&mut self) {
        for me in &mut self.clients {
            me.asked.clear();
        }
        let mut there: BTreeMap<SessionId, BTreeSet<String>> = BTreeMap::new();
        for me in &self.clients {
            if let Some(session) = me.view.session {
                there.entry(session).or_default().insert(me.user_id.clone());
            }
        }
        judge(self.reference.settled());
        for (session, message, seq) in self.reference.acknowledged() {
            let stored = self.storage.sessions.get(&session).and_then(|s| s.message(message));
            check!(
                stored.is_some_and(|m| m.seq == seq),
                "acknowledged is never lost: {message:?} of {session:?}, {seq}"
            );
        }
        let idle = self.settings.limits.idle.as_micros() as u64;
        for id in &self.open_links {
            let link = &self.links[*id];
            let due = link.expires.map_or(u64::MAX, |at| at.min(link.heard + idle)).saturating_add(MINUTE);
            check!(self.now <= due, "whose token has expired or who says nothing is closed: {link:?}");
        }
        let Some(server) = &self.server else { return };
        let counts = server.hub.counts();
        check!(counts.sessions == there.len(), "{counts:?}, where {} sessions have people", there.len());
        check!(counts.connections == self.open_links.len(), "{counts:?}, of {} connections", self.open_links.len());
        for me in &self.clients {
            let Some(session) = me.view.session else { continue };
            let mut others = there[&session].clone();
            others.remove(&me.user_id);
            check!(me.view.participants == others, "{} sees others than are there: {others:?}, {:?}", me.name, me.view);
            let title = self.storage.session(session).map(|s| s.record.title.as_str());
            check!(Some(me.view.title.as_str()) == title, "{} sees the wrong title: {title:?}, {:?}", me.name, me.view);
        }
    }

    /// Everybody leaves, and in the end the hub holds nothing.
    pub(super) fn farewell(mut self) -> Report {
        for id in self.open_links.clone() {
            self.links[id].client_open = false;
            self.server_notices(id);
        }
        self.queue.clear();
        self.time_passes();
        let Some(server) = &mut self.server else { return self.report };
        let end = self.now + 24 * HOUR;
        while let Some((at, _)) = server.hub.next_deadline() {
            check!(at.as_micros() <= end, "a day after everybody has left, the hub still waits for something");
            let now = at.max(Instant::from_micros(self.now));
            self.now = now.as_micros();
            server.hub.handle(now, Input::Timer).expect("time may pass");
            while server.hub.poll(&mut |output| panic!("nobody is there to hear {output:?}")) {}
        }
        check!(server.hub.counts() == Counts::default(), "what is over is forgotten: {:?}", server.hub.counts());
        self.report.micros = self.now.min(end);
        self.report.checks = crate::report::take_checks();
        self.report.worlds = 1;
        self.report
    }
}
