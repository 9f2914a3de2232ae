//! The reference model: [`Model`].

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::ClientId;
use super::client::{Client, check_close, in_it};
use super::facts::{Facts, Message, Promise};
use super::frame::Frame;
use super::history;
use super::place::Place;
use super::question::{Ask, Question, Said};
use super::rule::{Breach, Rule, Violation, require};
use super::view::{View, require_another};
use crate::code::NoticeCode;
use crate::id::{MessageId, SessionId, Uuid};
use crate::record::MessageRecord;

/// Frames without an `id` whose answers one client still waits for: the oldest are forgotten beyond, since an `error`
/// does not tell which of them it answers.
const UNNAMED: usize = 1_024;

/// What the clients of a server must see: a plain state machine that is told what each of them sends and gets, and says
/// which [`Rule`] a frame breaks. It knows the protocol, and nothing of the hub.
///
/// Tell it of a frame that a client sends *before* it goes out, and of one that a client gets *after* it came in, in any
/// interleaving of the clients. It need not see all clients of the server, but all those of the users that it sees.
///
/// Give your frames an `id`, joins above all: a frame that is refused without a `ref` does not say which it was, so the
/// model can only guess which of several is answered later.
///
/// After a violation it is of no further use. See the [module's documentation](super) for an example.
#[derive(Debug, Default)]
pub struct Model {
    clients: BTreeMap<ClientId, Client>,
    last_client: u32,
    sessions: BTreeMap<Uuid, Facts>,
    epoch: Option<String>,
    /// Messages with a `client_id`, which any connection of a user may repeat; under no name those of clients that were
    /// gone before they heard who they are.
    repeatable: BTreeMap<(String, String), Vec<Said>>,
    storage: bool,
}

impl Model {
    /// Without clients. Every session that appears is taken as the first client finds it.
    pub fn new() -> Model {
        Model::default()
    }

    /// As [`new`](Model::new), for somebody who also tells what storage has [`committed`](Model::committed): then nothing
    /// may be acknowledged or shown before.
    pub fn with_storage() -> Model {
        Model { storage: true, ..Model::default() }
    }

    /// A client opens a connection.
    pub fn connect(&mut self) -> ClientId {
        self.last_client += 1;
        let id = ClientId(self.last_client);
        self.clients.insert(id, Client::default());
        id
    }

    /// A client sends a frame, of any content. Nothing that a client sends is a violation.
    pub fn sent(&mut self, client: ClientId, text: &str) {
        let Some(state) = self.clients.get_mut(&client) else { return };
        let Some(mut question) = Question::read(text) else { return };
        let here = state.view.as_ref().map(|view| view.session);
        let concerns = match question.ask {
            Ask::Join { session, .. } => session,
            Ask::Create => None,
            Ask::Delete { session } => session.or(here),
            _ => here,
        };
        let facts = concerns.and_then(|session| self.sessions.get_mut(&session));
        if let Some(facts) = facts {
            question.known_seq = facts.told_seq();
            facts.deleting |= matches!(question.ask, Ask::Delete { .. });
        }
        question.concerns = concerns;
        if let Ask::Say(said) = &question.ask
            && let Some(client_id) = &said.client_id
        {
            match &state.user_id {
                Some(user) => {
                    self.repeatable.entry((user.clone(), client_id.clone())).or_default().push(said.clone());
                }
                None => state.early.push(said.clone()),
            }
        }
        if question.reference.is_none() && question.gets_no_answer_of_its_own() {
            return;
        }
        if question.reference.is_none() && state.questions.len() >= UNNAMED {
            let oldest = state.questions.iter().position(|q| q.reference.is_none());
            oldest.map(|at| state.questions.remove(at));
        }
        state.questions.push(question);
    }

    /// A client gets a frame.
    ///
    /// # Errors
    /// The rule that it breaks, with what was expected and what came.
    pub fn received(&mut self, client: ClientId, text: &str) -> Result<(), Violation> {
        self.take(client, text).map_err(|breach| breach.of(Some(client), Some(text)))
    }

    /// A connection is gone: lost, if there is no close code. Nothing may come for it any more.
    ///
    /// # Errors
    /// [`Rule::Close`] for a code or a reason that the protocol does not have, or that was not explained.
    pub fn closed(&mut self, client: ClientId, close: Option<(u16, &str)>) -> Result<(), Violation> {
        let Some(mut state) = self.clients.remove(&client) else { return Ok(()) };
        for said in core::mem::take(&mut state.early) {
            // The server may know whose it is, and have stored it, before the client hears of it.
            let key = (String::new(), said.client_id.clone().unwrap_or_default());
            self.repeatable.entry(key).or_default().push(said);
        }
        let Some((code, reason)) = close else { return Ok(()) };
        check_close(&state, code, reason).map_err(|breach| breach.of(Some(client), None))
    }

    /// Storage has committed a message; to be told before the server is. Only in a model
    /// [`with_storage`](Model::with_storage).
    ///
    /// # Errors
    /// [`Rule::Agreement`] or another rule about messages, if it is not what clients have seen.
    pub fn committed(&mut self, record: &MessageRecord) -> Result<(), Violation> {
        let facts = self.sessions.entry(record.session.0).or_default();
        facts.commit(Message::stored(record)).map_err(|breach| breach.of(None, None))
    }

    /// The server has stopped and lives anew; all its connections are lost, and so is what it had half streamed.
    pub fn restarted(&mut self) {
        self.clients.clear();
        self.epoch = None;
        self.sessions.values_mut().for_each(Facts::restart);
    }

    /// A session is of no more interest, as one that is deleted: frees what is known of it.
    pub fn forget(&mut self, session: SessionId) {
        self.sessions.remove(&session.0);
    }

    /// Everything has come to rest: all frames were delivered both ways, nothing is being stored or generated, and no
    /// client is short of credit.
    ///
    /// # Errors
    /// What one of the clients still lacks: an answer, a message, an end of typing.
    pub fn settled(&self) -> Result<(), Violation> {
        self.clients.keys().try_for_each(|client| self.client_settled(*client))
    }

    /// As [`settled`](Model::settled), of one client.
    ///
    /// # Errors
    /// What it still lacks.
    pub fn client_settled(&self, client: ClientId) -> Result<(), Violation> {
        let Some(state) = self.clients.get(&client).filter(|state| state.user_id.is_some()) else { return Ok(()) };
        let rest = || {
            let unanswered = state.questions.iter().find(|q| q.reference.is_some() && !q.may_stay_unanswered());
            require(unanswered.is_none(), Rule::Unanswered, || {
                (format!("an answer to {:?}", unanswered.map(|q| (&q.reference, &q.ask))), "none".into())
            })?;
            match &state.view {
                Some(view) => self.sessions.get(&view.session).map_or(Ok(()), |facts| view.rest(facts)),
                None => Ok(()),
            }
        };
        rest().map_err(|breach| breach.of(Some(client), None))
    }

    /// Where a client is in the session that it is in, for coming back after its connection is lost.
    pub fn place(&self, client: ClientId) -> Option<Place> {
        let view = self.clients.get(&client)?.view.as_ref()?;
        Some(Place {
            session: SessionId(view.session),
            epoch: self.epoch.clone()?,
            seq: view.seq,
            partial: view.partial().map(|(message, offset)| (MessageId(message), offset)),
        })
    }

    /// Every message that was acknowledged to anybody, with its `seq`: all of them must be in storage.
    pub fn acknowledged(&self) -> impl Iterator<Item = (SessionId, MessageId, u64)> {
        self.sessions.iter().flat_map(|(session, facts)| {
            facts.promised().map(|(message, seq)| (SessionId(*session), MessageId(message), seq))
        })
    }

    fn take(&mut self, client: ClientId, text: &str) -> Result<(), Breach> {
        let Some(state) = self.clients.get_mut(&client) else {
            return Err(Breach::new(Rule::Closed, "nothing after the close", "a frame"));
        };
        let frame = Frame::read(text)?;
        let kind = frame.text("type")?;
        state.frames += 1;
        state.last_error = None;
        let greeted = state.user_id.is_some();
        require(
            greeted != (kind == "connection_established") || (kind == "error" && !greeted),
            Rule::Greeting,
            || {
                let first = if greeted { "no second greeting" } else { "first `connection_established`" };
                (first.into(), kind.into())
            },
        )?;
        let answered = state.answered(kind, &frame)?;
        match kind {
            "connection_established" => {
                let user = frame.text("user_id")?;
                for said in core::mem::take(&mut state.early) {
                    let key = (user.to_owned(), said.client_id.clone().unwrap_or_default());
                    self.repeatable.entry(key).or_default().push(said);
                }
                state.user_id = Some(user.to_owned());
                Ok(())
            }
            "session_joined" => self.joined(client, &frame, answered),
            "ack" => self.acknowledged_to(client, &frame, answered),
            "history_page" => self.history(&frame, answered.as_ref().filter(|question| question.reference.is_some())),
            "error" => self.error(client, &frame, answered.is_some()),
            "session_list" => history::check_list(&frame),
            "connection" | "pong" | "command_response" | "invited" => Ok(()),
            _ => self.in_session(client, kind, &frame, answered.is_some()),
        }
    }

    fn joined(&mut self, client: ClientId, frame: &Frame<'_>, asked: Option<Question>) -> Result<(), Breach> {
        let (session, epoch, seq) = (frame.id("session_id")?, frame.text("epoch")?, frame.number("seq")?);
        let known = self.epoch.get_or_insert_with(|| epoch.to_owned());
        require(known == epoch, Rule::Epoch, || (known.clone(), epoch.into()))?;
        let known_seq = asked.as_ref().map_or(0, |question| question.known_seq);
        require(seq >= known_seq, Rule::Sequence, || (format!("`seq` of at least {known_seq}"), format!("{seq}")))?;
        let state = self.clients.entry(client).or_default();
        let participants = history::participants(frame)?;
        let own = state.user_id.as_deref().unwrap_or_default();
        require(participants.contains(own), Rule::Presence, || {
            (format!("{own:?} among the participants"), format!("{participants:?}"))
        })?;
        self.sessions.entry(session).or_default();
        if !frame.boolean("resumed")? {
            state.view = Some(View::new(session, seq));
            return Ok(());
        }
        let since = asked.and_then(|question| match question.ask {
            Ask::Join { since, .. } => since,
            _ => None,
        });
        match since.filter(|since| since.epoch == epoch && since.seq <= seq) {
            Some(since) => {
                state.view = Some(View::resumed(session, &since));
                Ok(())
            }
            None => Err(Breach::new(Rule::Resume, "`resumed` false: nothing to resume from", "`resumed` true")),
        }
    }

    fn acknowledged_to(&mut self, client: ClientId, frame: &Frame<'_>, asked: Option<Question>) -> Result<(), Breach> {
        let (session, id, seq) = (frame.id("session_id")?, frame.id("message_id")?, frame.number("seq")?);
        let Some(user_id) = self.clients.get(&client).and_then(|state| state.user_id.clone()) else { return Ok(()) };
        let facts = self.sessions.entry(session).or_default();
        if self.storage {
            facts.require_committed(id, seq)?;
        }
        let named = asked.filter(|question| question.reference.is_some());
        if let Some(Question { ask: Ask::Regenerate { message }, .. }) = named {
            return facts.to_be_answered(message, id, seq);
        }
        let client_id = frame.maybe_text("client_id")?.map(ToOwned::to_owned);
        if named.is_none() && client_id.is_none() {
            // It may acknowledge any of the messages sent without an `id`.
            return Ok(());
        }
        let said = match (named, &client_id) {
            // Which of the repetitions came first is storage's to say.
            (_, Some(client_id)) => {
                let of = |user: &str| self.repeatable.get(&(user.to_owned(), client_id.clone())).into_iter().flatten();
                // Whose greeting is still on its way may be the same user's.
                let early = self.clients.values().flat_map(|state| &state.early);
                let early = early.filter(|said| said.client_id.as_ref() == Some(client_id));
                of(&user_id).chain(of("")).chain(early).cloned().collect()
            }
            (Some(Question { ask: Ask::Say(said), .. }), None) => Vec::from([said]),
            _ => Vec::new(),
        };
        facts.promise(&Promise { id, seq, user_id, client_id, said })
    }

    fn history(&mut self, frame: &Frame<'_>, asked: Option<&Question>) -> Result<(), Breach> {
        let session = frame.id("session_id")?;
        let facts = self.sessions.entry(session).or_default();
        let messages = history::page(frame, asked, session, facts.deleting)?;
        for message in messages {
            if self.storage {
                facts.require_committed(message.id, message.seq)?;
            }
            facts.learn(message)?;
        }
        Ok(())
    }

    fn error(&mut self, client: ClientId, frame: &Frame<'_>, answers: bool) -> Result<(), Breach> {
        let session = frame.maybe_id("session_id")?;
        let Some(state) = self.clients.get_mut(&client) else { return Ok(()) };
        if !answers {
            state.last_error = frame.text("code")?.parse().ok();
        }
        let Some(session) = session.filter(|_| !answers) else { return Ok(()) };
        let view = in_it(state, session)?;
        view.answer_failed(self.sessions.entry(session).or_default(), frame.maybe_id("message_id")?)
    }

    /// Frames that everybody in a session gets, or that tell somebody that they are in it no more.
    fn in_session(&mut self, client: ClientId, kind: &str, frame: &Frame<'_>, answers: bool) -> Result<(), Breach> {
        let Some(session) = frame.maybe_id("session_id")? else { return Ok(()) };
        let Some(state) = self.clients.get_mut(&client) else { return Ok(()) };
        let here = state.view.as_ref().is_some_and(|view| view.session == session);
        match kind {
            "session_renamed" | "session_deleted" | "session_ended" if !here && answers => return Ok(()),
            "session_left" | "session_ended" | "session_deleted" => {
                in_it(state, session)?.end(kind != "session_left")?;
                state.view = None;
                return Ok(());
            }
            _ => {}
        }
        let own = state.user_id.clone().unwrap_or_default();
        let view = in_it(state, session)?;
        let facts = self.sessions.entry(session).or_default();
        match kind {
            "message" => {
                let message = Message::read(frame)?;
                if self.storage {
                    facts.require_committed(message.id, message.seq)?;
                }
                view.message(facts, message)
            }
            "message_delta" => view.delta(facts, frame),
            "typing" if frame.maybe_text("role")? == Some("assistant") => {
                let (message, parent) = (frame.id("message_id")?, frame.maybe_id("parent")?);
                if frame.boolean("is_typing")? {
                    view.turn_begins(message, parent)
                } else {
                    view.turn_ends(facts, message)
                }
            }
            "typing" => require_another(&own, frame),
            "presence" => {
                require_another(&own, frame)?;
                history::check_presence(frame)
            }
            "notice" => {
                view.gap |= frame.notice() == Some(NoticeCode::MessagesMissing);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
