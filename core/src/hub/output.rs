//! Outputs that are no frames.

use alloc::string::String;

use super::Hub;
use crate::action::{GenerationId, Output, Query, RequestId, Write};
use crate::connection::Connection;
use crate::id::{ConnectionId, SessionId};
use crate::session::Prompt;
use crate::slab::Key;

/// An output that is no frame, until it is put out.
#[derive(Debug)]
pub(super) enum Action {
    Create { request: RequestId, session: Key },
    Write { request: RequestId, session: Key },
    LoadSession { request: RequestId, session: SessionId },
    LookUp { request: RequestId, session: Key },
    LoadSessions { request: RequestId, user_id: String, username: String, limit: u32 },
    LoadMessages { request: RequestId, session: SessionId, before: u64, limit: u32 },
    LoadTotals { request: RequestId },
    Generate { session: Key, generation: GenerationId },
    Cancel { generation: GenerationId },
    Authenticate { connection: ConnectionId, token: String },
    ReloadModel,
    PauseReading { connection: ConnectionId },
    ResumeReading { connection: ConnectionId },
}

impl Hub {
    /// Puts out one action, unless it has lost its meaning since. A request or a generation keeps its session in memory,
    /// as it is, until it is answered, which it cannot be before it is put out.
    pub(super) fn put_out(&mut self, action: Action, sink: &mut dyn FnMut(Output<'_>)) {
        match action {
            Action::Create { request, session } => {
                self.requested = request;
                sink(Output::Store { request, write: Write::CreateSession(&self.sessions[session].record) });
            }
            Action::Write { request, session } => {
                self.requested = request;
                sink(Output::Store { request, write: self.sessions[session].write(self.wall()) });
            }
            Action::LookUp { request, session } => {
                self.requested = request;
                sink(Output::Load { request, query: self.sessions[session].lookup() });
            }
            Action::LoadSession { request, session } => self.load(request, Query::Session(session), sink),
            Action::LoadSessions { request, user_id, username, limit } => {
                self.load(request, Query::Sessions { user_id: &user_id, username: &username, limit }, sink);
            }
            Action::LoadMessages { request, session, before, limit } => {
                self.load(request, Query::Messages { session, before, limit }, sink);
            }
            Action::LoadTotals { request } => self.load(request, Query::Totals, sink),
            Action::Generate { session, generation } => {
                self.begun = generation;
                let session = &self.sessions[session];
                let running = session.generation.as_ref().expect("it cannot end before it is put out");
                let Prompt { message: prompt, asker, sampling } = &running.prompt;
                sink(Output::Generate { generation, session: session.record.id, prompt: *prompt, asker, sampling });
            }
            Action::Cancel { generation } => {
                if self.generations.contains_key(&generation) {
                    sink(Output::Cancel { generation });
                }
            }
            Action::Authenticate { connection, token } => {
                if self.connections.get(connection.0).is_some_and(Connection::is_open) {
                    sink(Output::Authenticate { connection, token: &token });
                }
            }
            Action::ReloadModel => sink(Output::ReloadModel),
            Action::PauseReading { connection } => {
                if self.connections.get(connection.0).is_some_and(Connection::is_open) {
                    sink(Output::PauseReading { connection });
                }
            }
            Action::ResumeReading { connection } => {
                if self.connections.get(connection.0).is_some_and(Connection::is_open) {
                    sink(Output::ResumeReading { connection });
                }
            }
        }
    }
    fn load(&mut self, request: RequestId, query: Query<'_>, sink: &mut dyn FnMut(Output<'_>)) {
        self.requested = request;
        sink(Output::Load { request, query });
    }
}
