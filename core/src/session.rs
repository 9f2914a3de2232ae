//! What the hub knows of one session while somebody uses it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::action::{Query, Write};
use crate::event::{FinishReason, Timings, Usage};
use crate::generation::Generation;
use crate::id::{ConnectionId, MessageId, SessionId};
use crate::log::Log;
use crate::queue::Queue;
use crate::record::{Member, MessageRecord, SessionRecord};
use crate::time::UnixMicros;
use crate::timer::Armed;
use crate::transition::SessionState;
use crate::wire::Sampling;
use crate::wire::frames::Typist;

/// One session.
pub(crate) struct Session {
    pub(crate) state: SessionState,
    /// As storage has it: changed when storage has committed.
    pub(crate) record: SessionRecord,
    pub(crate) readers: Vec<ConnectionId>,
    /// What was said lately. While nobody says anything for long there is none: see [`Session::may_forget`].
    pub(crate) log: Option<Box<Log>>,
    /// Who waits for the session to be there, and for what.
    pub(crate) errands: Queue<Errand>,
    /// Why it cannot be had after all: then those who wait are told so, and it is gone.
    pub(crate) unavailable: Option<Unavailable>,
    /// Changes that wait for storage, one at a time in flight.
    pub(crate) work: Queue<Work>,
    pub(crate) in_flight: Option<Box<InFlight>>,
    /// Stored messages that wait for their answer.
    pub(crate) prompts: Queue<Prompt>,
    pub(crate) generation: Option<Box<Generation>>,
    pub(crate) armed: Option<Armed>,
    /// Whether it stands in the hub's queue of sessions with something to say.
    pub(crate) ready: bool,
}

/// Something that a connection wants of a session that is not in memory yet.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) asker: Asker,
    pub(crate) wish: Wish,
}

impl Errand {
    pub(crate) fn is_join(&self) -> bool {
        matches!(self.wish, Wish::Join { .. })
    }
}

/// Why a session cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// There is none.
    NotFound,
    /// Storage could not say.
    StorageFailed,
}

/// Who asked for something, and how its answer names the question.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) connection: ConnectionId,
    pub(crate) reference: Option<String>,
}

#[derive(Debug)]
pub(crate) enum Wish {
    Join { since: Option<OwnedSince> },
    Rename { title: String },
    Delete,
}

/// The last thing that a client knows of a session.
#[derive(Clone, Debug)]
pub(crate) struct OwnedSince {
    pub(crate) epoch: String,
    pub(crate) seq: u64,
    pub(crate) partial: Option<(MessageId, u64)>,
}

/// A change of a session, to be stored.
#[derive(Debug)]
pub(crate) enum Work {
    Message(NewMessage),
    Regenerate(Regenerate),
    Answer,
    Join {
        asker: Asker,
        member: Member,
        since: Option<OwnedSince>,
    },
    Invite {
        asker: Asker,
        username: String,
        by: String,
    },
    Rename {
        asker: Asker,
        title: String,
    },
    /// `command` is how `/clear` was written.
    End {
        asker: Asker,
        command: String,
        by: String,
    },
    Delete {
        asker: Asker,
    },
}

/// A user's message that has no `seq` yet.
#[derive(Debug)]
pub(crate) struct NewMessage {
    pub(crate) asker: Asker,
    pub(crate) author: Member,
    pub(crate) content: String,
    pub(crate) client_id: Option<String>,
    pub(crate) sampling: Sampling,
    /// Whether storage has said that the `client_id` is new.
    pub(crate) looked_up: bool,
    pub(crate) place: Place,
}

/// Where in the conversation a new message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where the conversation has come to by the time that the message is stored.
    Last,
    /// After this one, if storage has it.
    After(MessageId),
    /// Beside this one, as another version of it, if storage has it and its author is the same.
    Beside(MessageId),
    /// After what storage was found to have; `None`: the conversation begins with it.
    Found(Option<MessageId>),
}

/// A wish for another answer. It is stored as a step back: the conversation goes on from the message to be answered.
#[derive(Debug)]
pub(crate) struct Regenerate {
    pub(crate) asker: Asker,
    /// The asker's user id.
    pub(crate) user: String,
    pub(crate) sampling: Sampling,
    /// The message named, or once that was found to be an answer, the one that it answers. `None`: the conversation's
    /// last one.
    pub(crate) message: Option<MessageId>,
    /// Whether `message` was found by the answer to it.
    pub(crate) by_answer: bool,
    /// The message to be answered and its `seq`, once storage was found to have it.
    pub(crate) prompt: Option<(MessageId, u64)>,
}

/// What storage is asked before a change can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question<'a> {
    /// Was a message of this user with this `client_id` stored before?
    ClientId { user_id: &'a str, client_id: &'a str },
    /// Is there such a message in the session, and what is it like?
    Message(MessageId),
}

/// The one change that storage is busy with.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) work: Work,
    /// Of a message, the record being written.
    pub(crate) message: Option<MessageRecord>,
}

/// A message that waits for its answer.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) message: MessageId,
    /// The user id of its author, or of who had it answered again.
    pub(crate) asker: String,
    pub(crate) sampling: Sampling,
}

/// How a generation ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) reason: FinishReason,
    pub(crate) usage: Usage,
    pub(crate) timings: Timings,
}

impl Regenerate {
    /// The message to be answered and its `seq`, when that is known.
    pub(crate) fn found(&self) -> (MessageId, u64) {
        self.prompt.expect("it is written once storage was found to have its message")
    }
}

impl Work {
    /// Who asked for it, where somebody did.
    pub(crate) fn asker(&self) -> Option<&Asker> {
        match self {
            Work::Message(message) => Some(&message.asker),
            Work::Regenerate(regenerate) => Some(&regenerate.asker),
            Work::Answer => None,
            Work::Join { asker, .. }
            | Work::Invite { asker, .. }
            | Work::Rename { asker, .. }
            | Work::End { asker, .. }
            | Work::Delete { asker } => Some(asker),
        }
    }
}

impl Work {
    /// The user among whose messages that wait for an answer it counts.
    pub(crate) fn awaited_by(&self) -> Option<&str> {
        match self {
            Work::Message(message) => Some(&message.author.user_id),
            Work::Regenerate(regenerate) => Some(&regenerate.user),
            _ => None,
        }
    }

    /// What storage has to be asked next before this can be written; `None`: nothing any more.
    pub(crate) fn question(&self) -> Option<Question<'_>> {
        match self {
            Work::Message(message) => match (message.client_id.as_deref(), message.place) {
                (Some(client_id), _) if !message.looked_up => {
                    Some(Question::ClientId { user_id: &message.author.user_id, client_id })
                }
                (_, Place::After(id) | Place::Beside(id)) => Some(Question::Message(id)),
                (_, Place::Last | Place::Found(_)) => None,
            },
            Work::Regenerate(regenerate) if regenerate.prompt.is_none() => regenerate.message.map(Question::Message),
            _ => None,
        }
    }
}

impl Session {
    pub(crate) fn new(state: SessionState, record: SessionRecord) -> Session {
        Session {
            state,
            record,
            readers: Vec::new(),
            log: None,
            errands: Queue::new(),
            unavailable: None,
            work: Queue::new(),
            in_flight: None,
            prompts: Queue::new(),
            generation: None,
            armed: None,
            ready: false,
        }
    }

    /// A session that storage has been asked for.
    pub(crate) fn loading(id: SessionId) -> Session {
        let record = SessionRecord {
            id,
            title: String::new(),
            system: None,
            owner: String::new(),
            created: UnixMicros(0),
            ended: None,
            last_seq: 0,
            last_message: None,
            members: Vec::new(),
            invited: Vec::new(),
        };
        Session::new(SessionState::Loading, record)
    }

    /// Its log; one that begins here, where there is none.
    pub(crate) fn log(&mut self) -> &mut Log {
        self.log_after(self.record.last_seq)
    }

    /// Its log; one that begins after the message `seq`, where there is none.
    pub(crate) fn log_after(&mut self, seq: u64) -> &mut Log {
        self.log.get_or_insert_with(|| Box::new(Log::after(seq)))
    }

    /// Whether nothing needs its log, given whether all its readers have all that is in it. Who comes back gets what was
    /// missed from storage.
    pub(crate) fn may_forget(&self, all_live: bool) -> bool {
        let said = self.log.as_ref().is_none_or(|log| log.shared.next == log.end());
        all_live && said && !self.ready && self.state == SessionState::Live && self.generation.is_none()
    }

    /// Its log, which is kept until all its readers are live and have been told all that is in it.
    pub(crate) fn kept_log(&self) -> &Log {
        self.log.as_deref().expect("who lags or has just entered has a log to read")
    }

    /// Takes the change that storage has answered about.
    pub(crate) fn landed(&mut self) -> InFlight {
        *self.in_flight.take().expect("storage answers about the change in flight alone")
    }

    fn in_flight(&self) -> &InFlight {
        self.in_flight.as_deref().expect("a change is in flight until storage has answered")
    }

    /// The change in flight, as storage gets it.
    pub(crate) fn write(&self, now: UnixMicros) -> Write<'_> {
        let session = self.record.id;
        let InFlight { work, message } = self.in_flight();
        match work {
            Work::Message(_) | Work::Answer => {
                Write::Message(message.as_ref().expect("a message is in flight with its record"))
            }
            Work::Regenerate(regenerate) => Write::Continue { session, message: regenerate.found().0 },
            Work::Join { member, .. } => {
                Write::Member { session, user_id: &member.user_id, username: &member.username }
            }
            Work::Invite { username, .. } => Write::Invite { session, username },
            Work::Rename { title, .. } => Write::RenameSession { session, title },
            Work::End { .. } => Write::EndSession { session, at: now },
            Work::Delete { .. } => Write::DeleteSession { session },
        }
    }

    /// What storage is asked about the change in flight.
    pub(crate) fn lookup(&self) -> Query<'_> {
        let session = self.record.id;
        match self.in_flight().work.question().expect("only what depends on storage is looked up") {
            Question::Message(message) => Query::Message { session, message },
            Question::ClientId { user_id, client_id } => Query::ClientMessage { session, user_id, client_id },
        }
    }

    /// Whether a user may join, and whether by invitation.
    pub(crate) fn access(&self, user: &Member) -> Access {
        if self.record.owner == user.user_id || self.record.members.iter().any(|m| m.user_id == user.user_id) {
            Access::Member
        } else if self.record.invited.contains(&user.username) {
            Access::Invited
        } else {
            Access::Denied
        }
    }

    /// The assistant while it makes this answer.
    pub(crate) fn typist(&self, message: MessageId) -> Typist<'static> {
        let answered = self.generation.as_ref().filter(|g| g.message == message);
        Typist::Assistant { message, parent: answered.map(|g| g.prompt.message) }
    }

    /// Whether storage has said what it is.
    pub(crate) fn is_known(&self) -> bool {
        !matches!(self.state, SessionState::Loading | SessionState::Creating)
    }

    /// Whether its deletion was asked for, and storage has not said what became of that.
    pub(crate) fn is_being_deleted(&self) -> bool {
        let mut under_way = self.in_flight.iter().map(|in_flight| &in_flight.work).chain(self.work.iter());
        self.state == SessionState::Ending && under_way.any(|work| matches!(work, Work::Delete { .. }))
    }

    /// Whether somebody waits for it who can be served, or turned away, now.
    pub(crate) fn has_errands_to_run(&self) -> bool {
        !self.errands.is_empty() && (self.is_known() || self.unavailable.is_some())
    }

    /// Nobody needs it in memory.
    pub(crate) fn is_unused(&self) -> bool {
        self.readers.is_empty()
            && self.errands.is_empty()
            && self.work.is_empty()
            && self.in_flight.is_none()
            && self.prompts.is_empty()
            && self.generation.is_none()
    }

    /// Messages that wait to be stored, and wishes for another answer.
    pub(crate) fn queued_messages(&self) -> usize {
        self.work.iter().filter(|w| w.awaited_by().is_some()).count()
    }
}

/// What a user may do in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Member,
    Invited,
    Denied,
}
