//! The seven commands: chat messages that begin with `/`, answered to the asker alone.

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

use super::{Action, Backend, Hub, Purpose};
use crate::event::Role;
use crate::id::SessionId;
use crate::limits;
use crate::record::SessionSummary;
use crate::session::{Asker, Work};
use crate::wire::encode::Rfc3339;
use crate::wire::frames::{self, Context};

const HELP: &str = "\
/help - this list
/stat or /stats - the server: model, uptime, connections, sessions, messages, tokens, speed
/status - this session: id, title, created, messages, your role and id
/sessions - your last ten sessions
/clear - end this session (its owner)
/reload - load the model anew (administrators)";

/// Bytes of an unknown command that are said back.
const ECHOED_BYTES: usize = 40;

impl Hub {
    /// Runs a command; `text` begins with `/`. Commands that concern no session work outside of one too, and what
    /// follows the command's name is passed over.
    pub(super) fn command(&mut self, asker: Asker, text: &str) {
        let name = text.split_whitespace().next().unwrap_or(text);
        let name = name[..name.floor_char_boundary(ECHOED_BYTES)].to_lowercase();
        match name.as_str() {
            "/help" => self.respond(&asker, &name, HELP),
            "/stat" | "/stats" => self.statistics(asker, name),
            "/status" => self.status(&asker, &name),
            "/sessions" => self.list_sessions(asker, Some(name), limits::COMMAND_SESSIONS),
            "/clear" => self.clear(asker, &name),
            "/reload" => self.reload(&asker, &name),
            _ => {
                let answer = format!("Unknown command: {name}. Type /help for the list of commands.");
                self.respond(&asker, &name, &answer);
            }
        }
    }

    fn respond(&mut self, asker: &Asker, command: &str, content: &str) {
        let now = self.wall();
        let session = self.session_of(asker.connection).and_then(|key| self.sessions.get(key)).map(|s| s.record.id);
        let context = Context { reference: asker.reference.as_deref(), session };
        self.reply(asker.connection, |out| frames::command_response(out, context, now, command, content));
    }

    fn statistics(&mut self, asker: Asker, command: String) {
        if self.admit_request(&asker) {
            let request = self.request(Purpose::Totals { asker, command });
            self.actions.push_back(Action::LoadTotals { request });
        }
    }

    pub(super) fn show_statistics(&mut self, asker: &Asker, command: &str, sessions: u64, messages: u64) {
        let model = match &self.backend {
            Backend::Up { model } => model.clone(),
            Backend::Down { reason } => format!("none ({reason})"),
        };
        let seconds = self.now.as_micros() / 1_000_000;
        let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        let s = &self.statistics;
        let text = format!(
            "Server: {}\nModel: {model}\nUptime: {hours}:{minutes:02}:{seconds:02}\nConnections: {}\n\
             Sessions: {sessions} ({} in use)\nMessages: {messages}\n\
             Tokens: {} generated, {} of prompts, in {} answer{}\nSpeed: {:.1} tokens/s in the last answer",
            self.server,
            self.connections.len(),
            self.sessions.len(),
            s.completion_tokens,
            s.prompt_tokens,
            s.generations,
            if s.generations == 1 { "" } else { "s" },
            s.tokens_per_second,
        );
        self.respond(asker, command, &text);
    }

    fn status(&mut self, asker: &Asker, command: &str) {
        let session = self.session_of(asker.connection).and_then(|key| self.sessions.get(key));
        let Some(session) = session else { return self.not_in_session(asker) };
        let member = self.member_served(asker.connection);
        let role = self.connections.get(asker.connection.0).map_or(Role::User, |c| c.role);
        let record = &session.record;
        let owner = if record.owner == member.user_id { ", owner of this session" } else { "" };
        let text = format!(
            "Session: {}\nTitle: {}\nCreated: {}\nMessages: {}\nYou: {} ({}{owner})\nYour id: {}",
            record.id.0,
            record.title,
            Rfc3339(record.created),
            record.last_seq,
            member.username,
            frames::role_name(role),
            member.user_id,
        );
        self.respond(asker, command, &text);
    }

    pub(super) fn show_sessions(&mut self, asker: &Asker, command: &str, sessions: &[SessionSummary]) {
        let mut text =
            String::from(if sessions.is_empty() { "You have no sessions yet" } else { "Your last sessions:" });
        for session in sessions {
            let ended = if session.ended.is_some() { ", ended" } else { "" };
            let _ = write!(
                text,
                "\n{} - {} ({} messages, last active {}{ended})",
                session.id.0,
                session.title,
                session.messages,
                Rfc3339(session.active)
            );
        }
        self.respond(asker, command, &text);
    }

    /// Ends the session for everybody in it, so only its owner may.
    fn clear(&mut self, asker: Asker, command: &str) {
        let Some(key) = self.session_of(asker.connection) else { return self.not_in_session(&asker) };
        let (session, member) = (&self.sessions[key], self.member_served(asker.connection));
        if session.record.owner != member.user_id {
            return self.respond(&asker, command, "Only the session's owner can end it");
        }
        let by = member.username.clone();
        // Answered when storage has committed it, as everything else that is stored: see `cleared`.
        self.begin_end(key, Work::End { asker, command: String::from(command), by });
    }

    /// The end that a `/clear` asked for is committed. Whoever asked is told, also from elsewhere by now.
    pub(super) fn cleared(&mut self, asker: &Asker, session: SessionId, command: &str) {
        let now = self.wall();
        let context = Context { reference: asker.reference.as_deref(), session: Some(session) };
        self.reply(asker.connection, |out| {
            frames::command_response(out, context, now, command, "This session ends now");
        });
    }

    fn reload(&mut self, asker: &Asker, command: &str) {
        let role = self.connections.get(asker.connection.0).map(|c| c.role);
        if role != Some(Role::Admin) {
            return self.respond(asker, command, "Only administrators can reload the model");
        }
        self.actions.push_back(Action::ReloadModel);
        self.respond(asker, command, "The model is being loaded anew");
    }
}
