//! What begins with a slash, on a server.

use serde_json::{Value, json};

use super::frame::{Frame, Listed};
use super::room::{Room, branch};
use super::{Awaited, Server};
use crate::cli::chat::Terminal;
use crate::cli::chat::command::Verb;
use crate::cli::chat::transcript::{Role, Said, Shelf, Transcript};
use crate::cli::failure::Failure;
use crate::cli::sampling::Parameter;

/// Messages that are shown of a conversation that is joined.
const SHOWN: u64 = 10;

/// Pages of history that are read at most, of a hundred messages each.
const PAGES: usize = 200;

impl Server {
    /// Does what a command says.
    pub(in crate::cli::chat) fn obey(
        &mut self,
        verb: Verb,
        rest: &str,
        text: &str,
        shelf: &Shelf,
        terminal: &mut Terminal,
    ) -> Result<(), Failure> {
        if verb != Verb::Delete {
            self.to_delete = None;
        }
        match verb {
            Verb::Set => self.set(rest, terminal),
            Verb::System => self.instruct(rest, terminal),
            Verb::Model => {
                if !rest.is_empty() {
                    terminal.screen.note("Everybody here talks to the same model; administrators change it.");
                }
                self.command("/stats", terminal)?;
            }
            Verb::Regenerate => self.regenerate(terminal)?,
            Verb::Edit => self.edit(rest, terminal)?,
            Verb::New => drop(self.create(rest, terminal)?),
            Verb::Resume => self.resume(terminal)?,
            Verb::Save => self.save(rest, shelf, terminal)?,
            Verb::Sessions => {
                self.list(terminal)?;
                self.show_list(terminal);
            }
            Verb::Join => self.join(rest, terminal)?,
            Verb::Leave => {
                self.plain(json!({ "type": "leave_session" }), "You have left; /join goes back.", terminal)?;
            }
            Verb::Who => self.who(terminal),
            Verb::Invite => {
                let invited = format!("{rest} may come in now: /join, or the list of conversations on the page.");
                self.plain(json!({ "type": "invite", "username": rest }), &invited, terminal)?;
            }
            Verb::Rename => self.plain(json!({ "type": "rename_session", "title": rest }), "", terminal)?,
            Verb::Delete => self.delete(terminal)?,
            Verb::History => self.history(terminal)?,
            // The server's own.
            _ => self.command(text, terminal)?,
        }
        Ok(())
    }

    /// Reads the list of sessions.
    pub(super) fn list(&mut self, terminal: &mut Terminal) -> Result<(), Failure> {
        match self.request(json!({ "type": "list_sessions", "limit": 50 }), terminal)? {
            Ok(list) => {
                self.listed = list.sessions.into_iter().filter(|session| session.ended.is_none()).collect();
            }
            Err(why) => terminal.screen.tell(&why),
        }
        Ok(())
    }

    fn show_list(&self, terminal: &mut Terminal) {
        if self.listed.is_empty() {
            terminal.screen.tell("There are no conversations yet; what you say begins one.");
            return;
        }
        let here = self.room.as_ref().map(|room| room.id.as_str());
        let lines = self.listed.iter().enumerate().map(|(i, session)| {
            let mark = if here == Some(session.session_id.as_str()) { "*" } else { " " };
            format!("{mark}{:>3}  {} ({} messages)", i + 1, session.session_title, session.messages)
        });
        terminal.screen.tell(&format!("{}\n/join NUMBER goes to one.", lines.collect::<Vec<_>>().join("\n")));
    }

    /// The conversation that this person had last here, or the one in which something happened last.
    pub(super) fn last(&self) -> Option<&Listed> {
        let kept = self.kept.of(&self.address.base()).session;
        let known = self.listed.iter().find(|session| Some(&session.session_id) == kept.as_ref());
        known.or_else(|| self.listed.first())
    }

    pub(super) fn resume(&mut self, terminal: &mut Terminal) -> Result<(), Failure> {
        match self.last().map(|session| session.session_id.clone()) {
            Some(id) => self.join(&id, terminal),
            None => {
                terminal.screen.note("There is no conversation to go on with; what you say begins one.");
                Ok(())
            }
        }
    }

    /// Goes to a session by its number in the list, its title, the beginning of its title, or its id.
    pub(super) fn join(&mut self, wanted: &str, terminal: &mut Terminal) -> Result<(), Failure> {
        if wanted.is_empty() {
            self.list(terminal)?;
            self.show_list(terminal);
            return Ok(());
        }
        let mut id = self.found(wanted);
        if id.is_none() {
            self.list(terminal)?;
            id = self.found(wanted);
        }
        let id = id.unwrap_or_else(|| wanted.to_owned());
        match self.request(json!({ "type": "join_session", "session_id": id }), terminal)? {
            Ok(_) => {
                let Some(room) = &self.room else { return Ok(()) };
                let (title, people) = (room.title.clone(), room.people.join(", "));
                terminal.screen.note(&format!("\"{title}\", with {people}"));
                self.backlog(terminal)
            }
            Err(why) => {
                terminal.screen.tell(&why);
                Ok(())
            }
        }
    }

    fn found(&self, wanted: &str) -> Option<String> {
        let number = wanted.parse::<usize>().ok().and_then(|number| self.listed.get(number.checked_sub(1)?));
        let lower = wanted.to_lowercase();
        let title = |session: &&Listed| session.session_title.to_lowercase() == lower;
        let begins = |session: &&Listed| session.session_title.to_lowercase().starts_with(&lower);
        let id = |session: &&Listed| session.session_id == wanted;
        let all = || self.listed.iter();
        let found = number.or_else(|| all().find(id)).or_else(|| all().find(title)).or_else(|| all().find(begins));
        found.map(|session| session.session_id.clone())
    }

    /// The last messages of the session that was joined.
    fn backlog(&mut self, terminal: &mut Terminal) -> Result<(), Failure> {
        let page = match self.request(json!({ "type": "history", "limit": SHOWN }), terminal)? {
            Ok(page) => page,
            Err(why) => {
                terminal.screen.tell(&why);
                return Ok(());
            }
        };
        if page.more {
            terminal.screen.note("(… earlier messages: /history shows them)");
        }
        for message in branch(&page.messages) {
            if let Some(room) = &mut self.room {
                remember(room, message, &self.user_id);
            }
            self.show(message, terminal)?;
        }
        Ok(())
    }

    fn show(&mut self, message: &Frame, terminal: &mut Terminal) -> Result<(), Failure> {
        if message.is_assistants() {
            terminal.screen.say(message.content())?;
            terminal.screen.end_answer()?;
            return Ok(());
        }
        let name = message.username.as_deref().unwrap_or("somebody").to_owned();
        self.person(&name, message.content(), terminal)
    }

    /// Makes a session; gives whether there is one.
    pub(super) fn create(&mut self, title: &str, terminal: &mut Terminal) -> Result<bool, Failure> {
        let mut frame = json!({ "type": "create_session" });
        if !title.is_empty() {
            frame["title"] = json!(title);
        }
        if let Some(system) = &self.system {
            frame["system"] = json!(system);
        }
        match self.request(frame, terminal)? {
            Ok(_) => {
                let title = self.room.as_ref().map_or("", |room| room.title.as_str());
                if terminal.interactive {
                    terminal.screen.note(&format!("(a new conversation: \"{title}\"; /invite NAME lets others in)"));
                }
                Ok(true)
            }
            Err(why) => {
                terminal.screen.tell(&why);
                Ok(false)
            }
        }
    }

    /// Sends a frame and says what came of it: `done`, or why not.
    fn plain(&mut self, frame: Value, done: &str, terminal: &mut Terminal) -> Result<(), Failure> {
        self.answered_by = match frame["type"].as_str() {
            Some("rename_session") => Some("session_renamed"),
            Some("delete_session") => Some("session_deleted"),
            _ => None,
        };
        match self.request(frame, terminal)? {
            Ok(_) if done.is_empty() => {}
            Ok(_) => terminal.screen.tell(done),
            Err(why) => terminal.screen.tell(&why),
        }
        Ok(())
    }

    /// A command of the server's own: its answer is text for people.
    fn command(&mut self, text: &str, terminal: &mut Terminal) -> Result<(), Failure> {
        match self.request(json!({ "type": "chat_message", "message": text }), terminal)? {
            Ok(answer) => terminal.screen.tell(answer.content()),
            Err(why) => terminal.screen.tell(&why),
        }
        Ok(())
    }

    fn regenerate(&mut self, terminal: &mut Terminal) -> Result<(), Failure> {
        let mut frame = json!({ "type": "regenerate" });
        let sampling = self.sampling.to_json();
        if !sampling.is_empty() {
            frame["sampling"] = sampling.into();
        }
        match self.request(frame, terminal)? {
            Ok(ack) => {
                self.awaited = Some(Awaited { client_id: None, message_id: ack.message_id });
                self.wait_for_answer(terminal)
            }
            Err(why) => {
                terminal.screen.tell(&why);
                Ok(())
            }
        }
    }

    fn edit(&mut self, text: &str, terminal: &mut Terminal) -> Result<(), Failure> {
        let own = self.room.as_ref().and_then(|room| room.own.clone());
        match own {
            _ if text.is_empty() => terminal.screen.tell("What shall it be? /edit TEXT"),
            None => terminal.screen.tell("You have said nothing here yet."),
            Some(id) => {
                let frame = json!({ "type": "edit_message", "message_id": id, "message": text });
                return self.send_until_acknowledged(frame, terminal);
            }
        }
        Ok(())
    }

    fn delete(&mut self, terminal: &mut Terminal) -> Result<(), Failure> {
        let Some(room) = &self.room else {
            terminal.screen.tell("You are in no conversation.");
            return Ok(());
        };
        if self.to_delete.take().as_ref() == Some(&room.id) {
            return self.plain(json!({ "type": "delete_session" }), "", terminal);
        }
        terminal
            .screen
            .tell(&format!("\"{}\" will be gone for everybody in it. /delete once more deletes it.", room.title));
        self.to_delete = Some(room.id.clone());
        Ok(())
    }

    fn who(&self, terminal: &mut Terminal) {
        terminal.screen.tell(&match &self.room {
            Some(room) => room.people.join(", "),
            None => format!("{}, in no conversation yet", self.username),
        });
    }

    fn set(&mut self, rest: &str, terminal: &mut Terminal) {
        if !rest.is_empty() {
            let told = match self.sampling.set(rest) {
                Ok(parameter) => {
                    let value = self.sampling.wished(parameter);
                    format!("{} is {}.", parameter.name(), value.as_deref().unwrap_or("the server's own"))
                }
                Err(error) => error,
            };
            terminal.screen.tell(&told);
            return;
        }
        let lines = Parameter::ALL.map(|parameter| {
            let value = self.sampling.wished(parameter);
            let mark = if value.is_some() { "*" } else { " " };
            let value = value.as_deref().unwrap_or("server's");
            format!("{mark} {:<20}{value:<10}{}", parameter.name(), parameter.meaning())
        });
        terminal.screen.tell(&format!(
            "{}\n/set NAME VALUE changes one for your messages, /set NAME default takes it back (* is yours).",
            lines.join("\n")
        ));
    }

    fn instruct(&mut self, rest: &str, terminal: &mut Terminal) {
        match rest {
            "" => {
                let none = "There are no instructions for the next conversation; /system TEXT gives some.";
                terminal.screen.tell(self.system.as_deref().unwrap_or(none));
            }
            "-" => {
                self.system = None;
                terminal.screen.tell("The next conversation has no instructions.");
            }
            text => {
                self.system = Some(text.to_owned());
                terminal.screen.tell("The next conversation has these instructions: /new begins it.");
            }
        }
    }

    /// All messages of the session, as far as they are read.
    fn messages(&mut self, terminal: &mut Terminal) -> Result<Result<Vec<Frame>, String>, Failure> {
        let mut messages: Vec<Frame> = Vec::new();
        let mut before = None;
        for _ in 0..PAGES {
            let mut frame = json!({ "type": "history", "limit": 100 });
            if let Some(before) = before {
                frame["before"] = json!(before);
            }
            let mut page = match self.request(frame, terminal)? {
                Ok(page) => page,
                Err(why) => return Ok(Err(why)),
            };
            before = page.messages.first().and_then(|message| message.seq);
            page.messages.append(&mut messages);
            messages = page.messages;
            if !page.more || before.is_none() {
                break;
            }
        }
        Ok(Ok(messages))
    }

    fn history(&mut self, terminal: &mut Terminal) -> Result<(), Failure> {
        match self.messages(terminal)? {
            Ok(messages) if messages.is_empty() => terminal.screen.tell("Nothing was said yet."),
            Ok(messages) => {
                for message in branch(&messages) {
                    self.show(message, terminal)?;
                }
            }
            Err(why) => terminal.screen.tell(&why),
        }
        Ok(())
    }

    fn save(&mut self, name: &str, shelf: &Shelf, terminal: &mut Terminal) -> Result<(), Failure> {
        if name.is_empty() {
            terminal.screen.tell("Under which name? /save NAME");
            return Ok(());
        }
        let messages = match self.messages(terminal)? {
            Ok(messages) => messages,
            Err(why) => {
                terminal.screen.tell(&why);
                return Ok(());
            }
        };
        let said = branch(&messages).into_iter().map(|message| {
            let role = if message.is_assistants() { Role::Assistant } else { Role::User };
            Said { name: message.username.clone(), ..Said::by(role, message.content()) }
        });
        let title = self.room.as_ref().map(|room| room.title.clone());
        let transcript =
            Transcript { title, sampling: self.sampling.to_json(), messages: said.collect(), ..Transcript::new() };
        terminal.screen.tell(&match shelf.save(name, &transcript) {
            Ok(path) => format!("Saved: {}", path.display()),
            Err(error) => error,
        });
        Ok(())
    }
}

/// Keeps of an old message what is needed later: who said it, and whether it is one's own last one.
fn remember(room: &mut Room, message: &Frame, user_id: &str) {
    room.wrote(message);
    if message.user_id.as_deref() == Some(user_id) {
        room.own.clone_from(&message.id);
    }
}
