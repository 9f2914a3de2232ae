//! Outputs that are no frames.

use alloc::string::String;

use super::Hub;
use crate::action::{GenerationId, Output, Query, RequestId, Write};
use crate::connection::Connection;
use crate::id::{ConnectionId, SessionId};
use crate::session::Session;
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
    /// Puts out one action, unless it has lost its meaning since.
    pub(super) fn put_out(&mut self, action: Action, sink: &mut dyn FnMut(Output<'_>)) {
        match action {
            Action::Create { request, session } => {
                let Some(session) = self.sessions.get(session) else { return };
                sink(Output::Store { request, write: Write::CreateSession(&session.record) });
            }
            Action::Write { request, session } => {
                let Some(write) = self.sessions.get(session).and_then(|s| s.write(self.wall())) else { return };
                sink(Output::Store { request, write });
            }
            Action::LoadSession { request, session } => sink(Output::Load { request, query: Query::Session(session) }),
            Action::LookUp { request, session } => {
                let Some(query) = self.sessions.get(session).and_then(Session::lookup) else { return };
                sink(Output::Load { request, query });
            }
            Action::LoadSessions { request, user_id, username, limit } => {
                let query = Query::Sessions { user_id: &user_id, username: &username, limit };
                sink(Output::Load { request, query });
            }
            Action::LoadMessages { request, session, before, limit } => {
                sink(Output::Load { request, query: Query::Messages { session, before, limit } });
            }
            Action::LoadTotals { request } => sink(Output::Load { request, query: Query::Totals }),
            Action::Generate { session, generation } => {
                let Some(session) = self.sessions.get(session) else { return };
                let Some(running) = session.generation.as_ref().filter(|g| g.id == generation) else { return };
                let (prompt, sampling) = (running.prompt.message, &running.prompt.sampling);
                sink(Output::Generate { generation, session: session.record.id, prompt, sampling });
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
}
