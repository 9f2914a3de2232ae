//! What people do.

use causerie_core::Violation;

use super::{Event, World};
use crate::client::{Asked, Deed, NATURES, Nature, Pending};
use crate::frame::Kind;
use crate::network::Up;
use crate::settings::{HOUR, MINUTE, SECOND, Time};
use crate::view::Since;

const WORDS: [&str; 10] = ["tea", "Grüße", "語", "\"quoted\"", "and", "so\non", "😀", "why?", "\\", "well"];

/// Frames that are wrong in all kinds of ways; some have an `id`, and their answer has a `ref` then.
const GARBAGE: [&str; 20] = [
    "",
    "{",
    "[]",
    "null",
    "{\"type\":1}",
    "{\"type\":\"nothing\"}",
    "{\"type\":\"join_session\"}",
    "{\"type\":\"join_session\",\"session_id\":\"x\"}",
    "{\"type\":\"join_session\",\"session_id\":\"00000000-0000-4000-8000-000000000000\"}",
    "{\"type\":\"chat_message\"}",
    "{\"type\":\"chat_message\",\"message\":\"  \"}",
    "{\"type\":\"chat_message\",\"message\":7}",
    "{\"type\":\"chat_message\",\"message\":\"a\",\"sampling\":{\"temperature\":-1}}",
    "{\"type\":\"history\",\"before\":9007199254740993}",
    "{\"type\":\"stop_generation\",\"message_id\":\"z\"}",
    "{\"type\":\"edit_message\",\"message_id\":\"00000000-0000-4000-8000-000000000000\",\"message\":\"a\"}",
    "{\"type\":\"regenerate\",\"message_id\":\"00000000-0000-4000-8000-000000000000\"}",
    "{\"type\":\"authenticate\",\"token\":null}",
    "{\"type\":\"ping\",\"x\":[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]}",
    "{\"type\":\"typing\",\"is_typing\":\"yes\"}",
];

impl World {
    /// Schedules what a client does next.
    pub(super) fn next_deed(&mut self, client: usize) {
        let nature = self.clients[client].nature;
        let part = NATURES.iter().find(|n| n.0 == nature).map_or(100, |n| n.2);
        if !self.is_last() {
            self.after(self.settings.pace * part / 100, Event::Deed { client });
        }
    }

    pub(super) fn deed(&mut self, client: usize) {
        self.next_deed(client);
        let me = &self.clients[client];
        if self.calm || me.link.is_none() || !me.known {
            return;
        }
        // Who was not let in tries again.
        if !me.inside && !me.joining && self.rng.one_in(2) {
            return self.join_again(client);
        }
        let me = &self.clients[client];
        let choice = NATURES.iter().find(|n| n.0 == me.nature).map_or(&[][..], |n| n.3);
        let mut left = self.rng.below(choice.iter().map(|c| c.1).sum());
        for (deed, share) in choice {
            if left < *share {
                return self.act(client, *deed);
            }
            left -= share;
        }
    }

    fn act(&mut self, client: usize, deed: Deed) {
        match deed {
            Deed::Chat => self.chat(client),
            Deed::Ping => self.ask(client, Asked::once(Kind::Pong), r#""type":"ping""#),
            Deed::Typing => {
                let is = !self.rng.one_in(3);
                self.ask(client, Asked::maybe(Kind::Error), &format!(r#""type":"typing","is_typing":{is}"#));
            }
            Deed::Stop => self.ask(client, Asked::maybe(Kind::Error), r#""type":"stop_generation""#),
            Deed::Leave => self.ask(client, Asked::once(Kind::SessionLeft), r#""type":"leave_session""#),
            Deed::Join if !self.clients[client].joining => self.join_some(client),
            Deed::Create if !self.clients[client].joining => {
                self.clients[client].joining = true;
                self.ask(client, Asked::once(Kind::SessionJoined), r#""type":"create_session","title":"Tea""#);
            }
            Deed::Join | Deed::Create => {}
            Deed::Invite => self.invite(client),
            Deed::Rename | Deed::Delete | Deed::Clear => self.change(client, deed),
            Deed::List => self.ask(client, Asked::once(Kind::SessionList), r#""type":"list_sessions""#),
            Deed::History => self.history(client),
            Deed::Command => {
                let command = ["/help", "/stat", "/sessions", "/what"][self.rng.index(4)];
                let fields = format!(r#""type":"chat_message","message":"{command}""#);
                self.ask(client, Asked::once(Kind::CommandResponse), &fields);
            }
            Deed::Reload => {
                let fields = r#""type":"chat_message","message":"/reload""#;
                self.ask(client, Asked::once(Kind::CommandResponse), fields);
            }
            Deed::Authenticate => self.authenticate(client),
            Deed::Edit | Deed::Regenerate | Deed::Branch => self.branch(client, deed),
            Deed::Flood => {
                for _ in 0..self.rng.between(20, 300) {
                    match self.rng.below(3) {
                        0 => self.chat(client),
                        _ => self.ask(client, Asked::once(Kind::Pong), r#""type":"ping""#),
                    }
                }
            }
            Deed::Garbage => self.garbage(client),
            Deed::MadeUpSince => self.made_up(client),
            Deed::Trespass => self.trespass(client),
            Deed::Violate => self.violate(client),
            Deed::Drop | Deed::GoOffline => self.drop_out(client, deed == Deed::GoOffline),
            Deed::StopReading => {
                let until = self.now + self.rng.wait(2 * MINUTE);
                if let Some(link) = self.clients[client].link {
                    self.links[link].reading_from = until;
                    self.report.fault("clients that stopped reading");
                }
                // Who does not read may go on talking, and so falls behind its own session's log, titles and all.
                if self.rng.one_in(3) {
                    self.chat(client);
                    self.chat(client);
                    self.change(client, Deed::Rename);
                    self.chat(client);
                }
            }
        }
    }

    fn words(&mut self) -> String {
        let count = if self.rng.one_in(200) { 2_000 } else { self.rng.between(1, 12) };
        (0..count).map(|_| WORDS[self.rng.index(WORDS.len())]).collect::<Vec<_>>().join(" ")
    }

    fn chat(&mut self, client: usize) {
        let text = format!("said {}", self.words());
        let me = &mut self.clients[client];
        let Some(session) = me.view.session.filter(|_| me.nature != Nature::Base && !me.joining) else {
            let text = serde_json::to_string(&text).expect("a string");
            return self.ask(client, Asked::once(Kind::Ack), &format!(r#""type":"chat_message","message":{text}"#));
        };
        me.count += 1;
        // Unique among the devices of a user, since they begin to count in different places.
        let pending = Pending { client_id: me.count, session, text };
        // An impatient one says everything anew; its patience has an end.
        if me.pending.len() < 4 {
            me.pending.push(pending.clone());
        }
        self.say(client, &pending);
        if self.rng.one_in(20) {
            self.say(client, &pending);
        }
    }

    fn invite(&mut self, client: usize) {
        let guest = self.rng.index(self.settings.users);
        let me = &self.clients[client];
        if guest != me.user {
            let fields = format!(r#""type":"invite","username":"user{guest}""#);
            self.ask(client, Asked::once(Kind::Invited), &fields);
        }
    }

    fn change(&mut self, client: usize, deed: Deed) {
        let me = &mut self.clients[client];
        let Some(session) = me.view.session else { return };
        let owner = self.storage.session(session).is_some_and(|s| s.record.owner == me.user_id);
        if !owner {
            return;
        }
        me.count += 1;
        let title = format!("Title {} of {}", me.count, me.name);
        match deed {
            Deed::Rename => {
                self.storage.wishes.renamed.insert((session, title.clone()));
                let fields = format!(r#""type":"rename_session","session_id":"{}","title":"{title}""#, session.0);
                self.ask(client, Asked::maybe(Kind::SessionRenamed), &fields);
            }
            Deed::Delete => {
                self.storage.wishes.ended.insert(session);
                let fields = format!(r#""type":"delete_session","session_id":"{}""#, session.0);
                self.ask(client, Asked::maybe(Kind::SessionDeleted), &fields);
            }
            // While it is about to enter another session, it would not know which one it ends.
            _ if me.joining => {}
            _ => {
                // It may be in another session of its own by then.
                let mine = self.storage.of_user.get(&me.user_id).into_iter().flatten();
                self.storage.wishes.ended.extend(mine.copied());
                let fields = r#""type":"chat_message","message":"/clear""#;
                self.ask(client, Asked::once(Kind::CommandResponse), fields);
            }
        }
    }

    fn history(&mut self, client: usize) {
        let before = match self.clients[client].view.seq {
            0 => String::new(),
            seq => format!(r#","before":{}"#, self.rng.below(seq + 2)),
        };
        let fields = format!(r#""type":"history","limit":{}{before}"#, self.rng.between(1, 120));
        self.ask(client, Asked::once(Kind::HistoryPage), &fields);
    }

    fn authenticate(&mut self, client: usize) {
        let nature = self.clients[client].nature;
        let lifetime = self.lifetime(nature);
        let token = match self.rng.below(6) {
            0 => "bad".to_string(),
            1 => "other one".to_string(),
            _ => format!("good {lifetime}"),
        };
        self.ask(client, Asked::once(Kind::Notice), &format!(r#""type":"authenticate","token":"{token}""#));
    }

    /// Another version of a message, another answer to it, or a message that goes on from an earlier one.
    fn branch(&mut self, client: usize, deed: Deed) {
        let me = &self.clients[client];
        let Some(stored) = me.view.session.and_then(|id| self.storage.session(id)) else { return };
        let all = &stored.messages;
        let recent = &all[all.len().saturating_sub(8)..];
        let mine = recent.iter().filter(|m| m.author.as_ref().is_some_and(|a| a.user_id == me.user_id));
        let mine: Vec<_> = mine.map(|m| m.id).collect();
        let some: Vec<_> = recent.iter().map(|m| m.id).collect();
        let named = self.rng.pick(if deed == Deed::Edit { &mine } else { &some }).copied();
        let Some(named) = named else { return };
        let text = serde_json::to_string(&self.words()).expect("a string");
        let fields = match deed {
            Deed::Edit => format!(r#""type":"edit_message","message_id":"{}","message":{text}"#, named.0),
            Deed::Regenerate if self.rng.one_in(2) => r#""type":"regenerate""#.to_string(),
            Deed::Regenerate => format!(r#""type":"regenerate","message_id":"{}""#, named.0),
            _ => format!(r#""type":"chat_message","message":{text},"parent":"{}""#, named.0),
        };
        self.ask(client, Asked::once(Kind::Ack), &fields);
    }

    fn garbage(&mut self, client: usize) {
        let text = GARBAGE[self.rng.index(GARBAGE.len())];
        let joins = text.contains("join_session");
        match text.strip_suffix('}').filter(|rest| rest.len() > 1 && !joins && self.rng.one_in(2)) {
            Some(rest) => {
                let fields = rest[1..].to_string();
                self.ask(client, Asked { bad: true, ..Asked::maybe(Kind::Error) }, &fields);
            }
            None => self.send_up(client, Up::Text(text.to_string())),
        }
    }

    /// A client that comes back from a future, or from another life of the server.
    fn made_up(&mut self, client: usize) {
        let me = &mut self.clients[client];
        let Some(session) = me.view.session.filter(|_| !me.joining) else { return };
        let since = match self.rng.below(2) {
            0 => r#"{"epoch":"0123456789abcdef","seq":0}"#.to_string(),
            _ => format!(r#"{{"epoch":"{}","seq":{}}}"#, me.view.epoch, 1u64 << 40),
        };
        me.joining = true;
        let known = Since { epoch: me.view.epoch.clone(), invented: true };
        let asked = Asked { since: Some(known), ..Asked::once(Kind::SessionJoined) };
        self.ask(client, asked, &format!(r#""type":"join_session","session_id":"{}","since":{since}"#, session.0));
    }

    /// A session of somebody else: what comes of it is checked against storage, as for everybody.
    fn trespass(&mut self, client: usize) {
        let victim = format!("id-user{}", self.rng.index(self.settings.users));
        let sessions = self.storage.open_sessions(&victim);
        let Some(session) = self.rng.pick(&sessions).copied() else { return };
        let me = &self.clients[client];
        if self.storage.session(session).is_none_or(|s| s.record.owner == me.user_id) {
            return;
        }
        match self.rng.below(3) {
            0 if !me.joining => self.join(client, session, None),
            1 => {
                let fields = format!(r#""type":"rename_session","session_id":"{}","title":"Mine""#, session.0);
                self.ask(client, Asked::maybe(Kind::Error), &fields);
            }
            _ => {
                let fields = format!(r#""type":"delete_session","session_id":"{}""#, session.0);
                self.ask(client, Asked::maybe(Kind::Error), &fields);
            }
        }
    }

    fn violate(&mut self, client: usize) {
        let all = [Violation::Binary, Violation::NotUtf8, Violation::Framing, Violation::TooBig { limit: 1_000_000 }];
        let violation = all[self.rng.index(all.len())];
        self.clients[client].guilty = true;
        self.report.fault("violations");
        if self.rng.one_in(4) {
            let text = "x".repeat(self.settings.limits.frame_bytes + 1);
            self.send_up(client, Up::Text(text));
        } else {
            self.send_up(client, Up::Violated(violation));
        }
    }

    /// The client closes its connection, and comes back soon or late.
    fn drop_out(&mut self, client: usize, for_long: bool) {
        let Some(id) = self.clients[client].link else { return };
        self.report.fault("connections closed by clients");
        let at = self.links[id].travel(self.now, &mut self.rng);
        // Its last frames may still arrive.
        self.at(at, Event::ServerNotices { link: id });
        self.client_notices(id, 1000);
        if for_long {
            let back: Time = self.rng.between(MINUTE, HOUR);
            self.clients[client].known = false;
            self.at(self.now + back, Event::Connect { client });
        } else {
            self.after(SECOND, Event::Connect { client });
        }
    }
}
