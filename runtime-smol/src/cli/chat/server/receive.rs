//! What comes from the server: taken into the room, and shown.

use std::time::{Duration, Instant};

use serde_json::json;

use super::frame::Frame;
use super::link::Happened;
use super::room::{Answering, Piece, Rest};
use super::{Awaited, NotGiven, Server};
use crate::cli::chat::{Event, Terminal};
use crate::cli::failure::Failure;

/// Who types is told so often at most.
const TYPING: Duration = Duration::from_secs(15);

/// What others said during one answer, at most, before it is shown all the same.
const HELD: usize = 64;

impl Server {
    /// Takes what happened.
    pub(in crate::cli::chat) fn take(&mut self, event: Event, terminal: &mut Terminal) -> Result<(), Failure> {
        match event {
            Event::Link(Happened::Frame(frame)) => return self.frame(*frame, terminal),
            Event::Link(Happened::Lost(why)) => {
                if std::mem::replace(&mut self.up, false) {
                    terminal.screen.note(&format!("(connection lost: {why}; trying again)"));
                }
            }
            Event::Link(Happened::Over(why)) => {
                // What the server said before it closed tells more than the close.
                let said = self.over.take().map(|said| format!("{}: {said}", self.address.base()));
                let why = said.unwrap_or(why);
                return Err(Failure::Failed(why));
            }
            Event::Renewed(Ok(token)) => {
                self.link.send(json!({ "type": "authenticate", "token": token }).to_string());
                self.link.use_token(token.clone());
                self.kept.change(&self.address.base(), |server| server.token = Some(token.clone()));
                self.token = token;
            }
            Event::Renewed(Err(why)) => {
                terminal.screen.note(&format!("(the login could not be renewed: {why}; get a new link, or a token)"));
            }
            Event::Typing => self.typing(),
            Event::Entered(_) | Event::Interrupted => {} // whoever asked for them takes them
        }
        Ok(())
    }

    fn frame(&mut self, frame: Frame, terminal: &mut Terminal) -> Result<(), Failure> {
        let asked = self.request.as_mut().filter(|(id, _)| frame.answers == Some(*id));
        if let Some((_, answer)) = asked {
            *answer = Some(frame.clone());
            if matches!(frame.kind.as_str(), "error" | "command_response" | "session_list" | "history_page" | "invited")
            {
                return Ok(()); // whoever asked shows it
            }
        }
        let here = self.room.as_ref().is_some_and(|room| room.concerns(&frame));
        if here && self.answered_by == Some(frame.kind.as_str()) {
            self.request.iter_mut().for_each(|(_, answer)| *answer = Some(frame.clone()));
        }
        match frame.kind.as_str() {
            "connection_established" => self.established(&frame, terminal),
            "session_joined" => self.joined(&frame),
            "error" => self.error(&frame, terminal),
            "notice" => self.notice(&frame, terminal),
            "command_response" => terminal.screen.tell(frame.content()),
            "invited" if frame.username.as_deref() == Some(&self.username) => {
                let (by, title) = (frame.by.unwrap_or_default(), frame.session_title.unwrap_or_default());
                let id = frame.session_id.unwrap_or_default();
                terminal.screen.note(&format!("{by} invites you to \"{title}\": /join {title}"));
                self.listed.push(super::Listed { session_id: id, session_title: title, ..Default::default() });
            }
            "ack" => self.acknowledged(frame.client_id.as_deref(), frame.message_id.as_deref()),
            "history_page" => self.caught_up(&frame, terminal)?,
            "message" if here => self.message(&frame, terminal)?,
            "message_delta" if here => self.delta(&frame, terminal)?,
            "typing" if here => self.types(&frame, terminal),
            "presence" if here => self.presence(&frame, terminal),
            "session_renamed" if here => {
                let title = frame.session_title.unwrap_or_default();
                terminal.screen.note(&format!("(this conversation is called \"{title}\" now)"));
                self.room.iter_mut().for_each(|room| room.title.clone_from(&title));
            }
            "session_left" | "session_ended" | "session_deleted" if here => self.left(&frame, terminal),
            _ => {} // a frame of newer servers, or of a session that was left
        }
        Ok(())
    }

    fn established(&mut self, frame: &Frame, terminal: &mut Terminal) {
        self.user_id = frame.user_id.clone().unwrap_or_default();
        self.username = frame.username.clone().unwrap_or_default();
        self.up = true;
        let Some(room) = &self.room else { return };
        if terminal.interactive {
            terminal.screen.note("(connected again)");
        }
        let join = json!({ "type": "join_session", "session_id": room.id, "since": room.since() });
        self.link.send(join.to_string());
    }

    fn joined(&mut self, frame: &Frame) {
        let room = self.room.get_or_insert_default();
        let missed_from = room.enter(frame);
        let id = room.id.clone();
        self.kept.change(&self.address.base(), |server| server.session = Some(id));
        if let Some(seq) = missed_from {
            let request = self.id();
            self.catching_up = Some((request, seq));
            self.link.send(json!({ "type": "history", "limit": 100, "id": request }).to_string());
        }
        for message in &self.unacknowledged {
            self.link.send(message.frame.to_string());
        }
    }

    fn acknowledged(&mut self, client_id: Option<&str>, message_id: Option<&str>) {
        let Some(client_id) = client_id else { return };
        self.unacknowledged.retain(|message| message.client_id != client_id);
        if let Some(awaited) = self.awaited.as_mut().filter(|awaited| awaited.client_id.as_deref() == Some(client_id)) {
            awaited.message_id = message_id.map(str::to_owned);
        }
    }

    fn error(&mut self, frame: &Frame, terminal: &mut Terminal) {
        let complaint = frame.complaint();
        if let Some(id) = frame.answers {
            let refused = self.unacknowledged.iter().position(|message| message.id == id);
            let refused = refused.and_then(|at| self.unacknowledged.remove(at)).map(|message| message.client_id);
            if refused.is_some() && self.awaited.as_ref().is_some_and(|awaited| awaited.client_id == refused) {
                self.awaited = None;
            }
            terminal.screen.tell(&complaint);
            return;
        }
        match (&frame.session_id, &mut self.room) {
            (Some(_), Some(room)) if room.concerns(frame) => {
                let parent = room.answering.as_ref().and_then(|answering| answering.parent.clone());
                let shown = room.failed();
                let _ = terminal.screen.end_answer();
                let dropped = if shown { " What was shown of the answer is dropped." } else { "" };
                terminal.screen.note(&format!("({complaint}.{dropped} /regenerate asks again)"));
                self.release(terminal);
                self.answered(parent.as_deref(), true);
            }
            (Some(_), _) => {}
            // A close follows, and that ends the program where it is final.
            (None, _) if frame.code.as_deref() == Some("authentication_failed") => self.over = Some(complaint),
            (None, _) => terminal.screen.tell(&complaint),
        }
    }

    fn notice(&mut self, frame: &Frame, terminal: &mut Terminal) {
        match frame.code.as_deref() {
            Some("token_expiring") if self.renewable => self.renew(),
            Some("token_renewed") => {}
            Some("context_trimmed")
                if self.room.as_mut().is_some_and(|room| !room.trimmed(frame.message.as_deref())) => {}
            _ => terminal.screen.note(&format!("({})", frame.message.as_deref().unwrap_or("a notice without words"))),
        }
    }

    /// On a thread of its own, since that may take its time.
    fn renew(&self) {
        let (login, token, events) = (self.login.clone(), self.token.clone(), self.events.clone());
        let renew = move || {
            let renewed = login.renew(&token).map(|given| given.token);
            let renewed = renewed.map_err(|error| match error {
                NotGiven::Refused(why) | NotGiven::Unreachable(why) => why,
            });
            drop(events.send_blocking(Event::Renewed(renewed)));
        };
        if let Err(error) = std::thread::Builder::new().name("login".to_owned()).spawn(renew) {
            tracing::warn!(%error, "cannot start a thread to renew the login");
        }
    }

    fn message(&mut self, frame: &Frame, terminal: &mut Terminal) -> Result<(), Failure> {
        let Some(room) = &mut self.room else { return Ok(()) };
        if frame.is_assistants() {
            let stopped_by_us = room.answering.is_some();
            match room.whole(frame) {
                Rest::Nothing => {}
                Rest::All => {
                    self.head(frame.parent.as_deref(), terminal)?;
                    terminal.screen.say(frame.content())?;
                }
                Rest::From(at) => terminal.screen.say(&frame.content()[at..])?,
            }
            terminal.screen.end_line_of_answer()?;
            match frame.finish_reason.as_deref() {
                Some("stopped") if stopped_by_us => terminal.screen.note("(stopped)"),
                Some("length") => {
                    terminal.screen.note("(cut: the answer reached its longest length; /set max_tokens N)");
                }
                _ => {}
            }
            self.answered(frame.parent.as_deref(), false);
            self.release(terminal);
            return Ok(());
        }
        room.seq = frame.seq.unwrap_or(room.seq);
        room.wrote(frame);
        let own = frame.user_id.as_deref() == Some(&self.user_id);
        if own {
            room.own.clone_from(&frame.id);
        }
        let from_here = frame.client_id.as_ref().is_some_and(|id| own && self.own.contains(id));
        if from_here {
            self.acknowledged(frame.client_id.as_deref(), frame.id.as_deref());
            return Ok(());
        }
        let name = frame.username.clone().unwrap_or_else(|| "somebody".to_owned());
        let name = if own { format!("{name} (elsewhere)") } else { name };
        self.told_typing = None;
        let answering = self.room.as_ref().is_some_and(|room| room.answering.is_some());
        if answering && self.held.len() < HELD {
            self.held.push((name, frame.content().to_owned()));
        } else {
            self.person(&name, frame.content(), terminal)?;
        }
        Ok(())
    }

    fn delta(&mut self, frame: &Frame, terminal: &mut Terminal) -> Result<(), Failure> {
        let Some(room) = &mut self.room else { return Ok(()) };
        match room.piece(frame) {
            Piece::Show { first } => {
                if first {
                    let parent = room.answering.as_ref().and_then(|answering| answering.parent.clone());
                    self.head(parent.as_deref(), terminal)?;
                }
                terminal.screen.say(frame.content())?;
            }
            Piece::Gap => {
                let join = json!({ "type": "join_session", "session_id": room.id, "since": room.since() });
                self.link.send(join.to_string());
            }
        }
        Ok(())
    }

    /// Says whom an answer is for, where that is somebody else than the one who waits here.
    fn head(&self, parent: Option<&str>, terminal: &mut Terminal) -> Result<(), Failure> {
        let ours = self.awaited.as_ref().is_some_and(|awaited| awaited.message_id.as_deref() == parent);
        if !ours {
            let author = self.room.as_ref().and_then(|room| room.author(parent));
            let head = author.map_or_else(|| "assistant".to_owned(), |author| format!("assistant, to {author}"));
            terminal.screen.person(&head, "")?;
        }
        Ok(())
    }

    fn types(&mut self, frame: &Frame, terminal: &mut Terminal) {
        let Some(room) = &mut self.room else { return };
        if frame.is_assistants() {
            if frame.is_typing {
                let id = frame.message_id.clone().unwrap_or_default();
                let same = room.answering.as_ref().filter(|answering| answering.id == id);
                let parent = frame.parent.clone().or_else(|| same.and_then(|answering| answering.parent.clone()));
                room.answering = Some(Answering { id, parent });
            } else if room.answering.take().is_some() {
                // Its end came without its answer: where one was awaited, it is not any more.
                self.release(terminal);
            }
            return;
        }
        let (true, Some(name)) = (frame.is_typing, &frame.username) else { return };
        let told = self.told_typing.as_ref().is_some_and(|(who, when)| who == name && when.elapsed() < TYPING);
        if !told && room.answering.is_none() && self.awaited.is_none() && terminal.interactive {
            terminal.screen.note(&format!("{name} is typing …"));
            self.told_typing = Some((name.clone(), Instant::now()));
        }
    }

    fn presence(&mut self, frame: &Frame, terminal: &mut Terminal) {
        let people = frame.participants.iter().map(|person| person.username.clone()).collect();
        self.room.iter_mut().for_each(|room| room.people.clone_from(&people));
        let name = frame.username.as_deref().unwrap_or("somebody");
        let what = if frame.event.as_deref() == Some("left") { "has left" } else { "is here" };
        terminal.screen.note(&format!("{name} {what}"));
    }

    fn left(&mut self, frame: &Frame, terminal: &mut Terminal) {
        self.room = None;
        self.awaited = None;
        self.unacknowledged.clear();
        let _ = terminal.screen.end_answer();
        self.release(terminal);
        match frame.kind.as_str() {
            "session_ended" => terminal.screen.note(frame.message.as_deref().unwrap_or("This conversation has ended.")),
            "session_deleted" => terminal.screen.note("This conversation is deleted."),
            _ => {}
        }
    }

    /// The history after a return to a server that was started anew: what is news in it is shown, and whether the awaited
    /// answer is still to come.
    fn caught_up(&mut self, page: &Frame, terminal: &mut Terminal) -> Result<(), Failure> {
        let Some((_, from)) = self.catching_up.take_if(|(request, _)| page.answers == Some(*request)) else {
            return Ok(());
        };
        let _ = terminal.screen.end_answer();
        if page.more && page.messages.first().is_some_and(|first| first.seq > Some(from + 1)) {
            terminal.screen.note("(more was said meanwhile than is shown; /history shows more)");
        }
        let answering = self.room.as_ref().and_then(|room| room.answering.clone());
        let seq = self.room.as_ref().map_or(0, |room| room.seq);
        for message in page.messages.iter().filter(|message| message.seq > Some(from)) {
            self.message(message, terminal)?;
        }
        if let Some(room) = &mut self.room {
            room.answering = answering;
            room.seq = room.seq.max(seq);
        }
        let lost = |awaited: &Awaited| {
            let under_way = self.room.as_ref().and_then(|room| room.answering.as_ref());
            awaited.message_id.is_some() && under_way.is_none()
        };
        if self.awaited.as_ref().is_some_and(lost) {
            self.awaited = None;
            terminal
                .screen
                .note("(the server was started anew, and the answer was lost with it; /regenerate asks again)");
        }
        Ok(())
    }

    /// What a person said.
    pub(super) fn person(&mut self, name: &str, text: &str, terminal: &mut Terminal) -> Result<(), Failure> {
        terminal.screen.person(name, text)?;
        terminal.screen.end_answer()?;
        Ok(())
    }

    /// An answer has ended: that of a message, or of the one under way where that is not known.
    fn answered(&mut self, parent: Option<&str>, failed: bool) {
        let ours = self.awaited.as_ref().is_some_and(|awaited| {
            awaited.message_id.is_some() && (awaited.message_id.as_deref() == parent || (failed && parent.is_none()))
        });
        if ours {
            self.awaited = None;
        }
    }

    /// Shows what others said during an answer.
    fn release(&mut self, terminal: &mut Terminal) {
        for (name, text) in std::mem::take(&mut self.held) {
            let _ = self.person(&name, &text, terminal);
        }
    }
}
