//! A person's device: what it has asked, what it waits for, and what kind of person it is.

use std::collections::{BTreeMap, BTreeSet};

use causerie_core::{MessageId, SessionId};

use crate::frame::{Frame, Kind};
use crate::view::{Since, View};

/// What kind of person holds the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    Chatter,
    Lurker,
    /// Reads slowly, and at times not at all.
    Slow,
    /// Loses its connection all the time.
    Commuter,
    /// Sends far more than is allowed.
    Flooder,
    /// Knows the protocol badly, or too well.
    Misuser,
    /// Makes, fills, renames, ends sessions.
    Organizer,
    Admin,
    /// Speaks the base protocol: no ids, no resuming.
    Base,
    /// Its tokens live for minutes.
    Expiring,
}

/// Something that a person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Chat,
    Ping,
    Typing,
    Stop,
    Leave,
    Join,
    Create,
    Invite,
    Rename,
    Delete,
    Clear,
    List,
    History,
    Command,
    Reload,
    Authenticate,
    Edit,
    Regenerate,
    Branch,
    Flood,
    Garbage,
    MadeUpSince,
    Trespass,
    Violate,
    Drop,
    GoOffline,
    StopReading,
}

use Deed as D;
use Nature as N;

/// A nature: how many of a hundred have it, from one deed to the next in hundredths of the world's pace, and its deeds
/// with their weights.
pub type Habits = (Nature, u64, u64, &'static [(Deed, u64)]);

pub const NATURES: [Habits; 10] = [
    (
        N::Chatter,
        25,
        60,
        &[
            (D::Chat, 40),
            (D::Typing, 20),
            (D::Stop, 4),
            (D::Join, 6),
            (D::Edit, 5),
            (D::Regenerate, 5),
            (D::Branch, 3),
            (D::History, 4),
            (D::Ping, 6),
            (D::Drop, 2),
            (D::Invite, 3),
            (D::Rename, 2),
            (D::Create, 1),
        ],
    ),
    (N::Lurker, 20, 200, &[(D::Ping, 40), (D::Join, 5), (D::History, 5), (D::GoOffline, 5), (D::Leave, 1)]),
    (N::Slow, 10, 100, &[(D::Chat, 10), (D::StopReading, 20), (D::Ping, 10), (D::Join, 10), (D::Drop, 5)]),
    (N::Commuter, 12, 60, &[(D::Drop, 40), (D::Chat, 20), (D::GoOffline, 10), (D::Join, 4), (D::Edit, 2)]),
    (N::Flooder, 3, 200, &[(D::Flood, 10), (D::Chat, 20), (D::Stop, 10), (D::Create, 2), (D::Regenerate, 4)]),
    (
        N::Misuser,
        5,
        60,
        &[
            (D::Garbage, 40),
            (D::MadeUpSince, 10),
            (D::Trespass, 15),
            (D::Violate, 3),
            (D::Join, 10),
            (D::Authenticate, 5),
            (D::Chat, 5),
        ],
    ),
    (
        N::Organizer,
        8,
        100,
        &[
            (D::Create, 6),
            (D::Invite, 30),
            (D::Rename, 10),
            (D::Delete, 2),
            (D::Clear, 2),
            (D::List, 10),
            (D::History, 10),
            (D::Join, 20),
            (D::Chat, 10),
        ],
    ),
    (N::Admin, 2, 200, &[(D::Command, 20), (D::Reload, 1), (D::List, 5), (D::Chat, 10)]),
    (N::Base, 8, 100, &[(D::Chat, 30), (D::Ping, 10), (D::Command, 10), (D::Join, 5), (D::Drop, 5)]),
    (N::Expiring, 7, 60, &[(D::Chat, 20), (D::Authenticate, 20), (D::Ping, 10), (D::Join, 5)]),
];

/// A frame that was sent and what may answer it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The frame that answers it, if not an error.
    pub answer: Kind,
    /// It must be answered.
    pub must: bool,
    /// Of a join that resumes.
    pub since: Option<Since>,
    /// Of a message.
    pub client_id: Option<u64>,
    /// It was meant to be refused.
    pub bad: bool,
}

impl Asked {
    /// It is answered once, by this frame or an error.
    pub fn once(answer: Kind) -> Asked {
        Asked { answer, must: true, since: None, client_id: None, bad: false }
    }

    /// It may have no answer of its own.
    pub fn maybe(answer: Kind) -> Asked {
        Asked { must: false, ..Asked::once(answer) }
    }
}

/// A message that was not acknowledged yet.
#[derive(Clone, Debug)]
pub struct Pending {
    pub client_id: u64,
    pub session: SessionId,
    pub text: String,
}

#[derive(Debug)]
pub struct Client {
    pub user: usize,
    pub user_id: String,
    pub name: String,
    pub nature: Nature,
    /// Of its user's devices, some flood: then its messages may be refused, too.
    pub flooded: bool,
    pub link: Option<usize>,
    /// It was greeted.
    pub known: bool,
    pub joining: bool,
    /// It has joined a session over its present connection.
    pub inside: bool,
    pub view: View,
    pub asked: BTreeMap<u64, Asked>,
    pub pending: Vec<Pending>,
    /// Of frames, messages and titles.
    pub count: u64,
    /// It has done something that the server may close it for.
    pub guilty: bool,
    /// What was stored before it came, it may get without all that went with it.
    pub joined_at: u64,
    /// Messages that it saw, and no answer begin.
    pub unanswered: BTreeSet<MessageId>,
    /// Other people who type.
    pub typists: BTreeSet<String>,
}

impl Client {
    pub fn new(user: usize, device: usize, nature: Nature, flooded: bool) -> Client {
        let name = format!("user{user}");
        Client {
            user,
            user_id: format!("id-{name}"),
            name,
            nature,
            flooded,
            link: None,
            known: false,
            joining: false,
            inside: false,
            view: View::default(),
            asked: BTreeMap::new(),
            pending: Vec::new(),
            count: device as u64 * 1_000_000_000,
            guilty: false,
            joined_at: 0,
            unanswered: BTreeSet::new(),
            typists: BTreeSet::new(),
        }
    }

    /// It may miss what is no message from now on: it enters or leaves a session, or cannot be told everything at once.
    pub fn awaits_nothing(&mut self) {
        self.unanswered.clear();
        self.typists.clear();
    }

    /// What it sees others do, and what must come of it before all is at rest. Only frames that come as they are made tell:
    /// who was short of credit may have missed some.
    pub fn watch(&mut self, frame: &Frame) {
        let (user, assistant) = (frame.user_id.as_ref(), frame.role.as_deref() == Some("assistant"));
        match (frame.kind, user) {
            (Kind::Message, Some(_)) if frame.seq > Some(self.joined_at) => self.unanswered.extend(frame.id),
            (Kind::Typing, None) if assistant && frame.is_typing == Some(true) => {
                frame.parent.map(|prompt| self.unanswered.remove(&prompt));
            }
            (Kind::Typing, Some(user)) if frame.is_typing == Some(true) => {
                self.typists.insert(user.clone());
            }
            (Kind::Typing, Some(user)) => {
                self.typists.remove(user);
            }
            _ => {}
        }
    }

    /// Whether an error may be what a frame of this client is answered with. `crowded`: its frames came faster than is
    /// allowed, maybe since the network held them back.
    pub fn may_be_told(&self, code: &str, asked: &Asked, crowded: bool) -> bool {
        if asked.bad || self.nature == Nature::Misuser {
            return true;
        }
        match code {
            "overloaded" | "storage_failed" | "session_ended" | "session_not_found" | "not_in_session" => true,
            "server_draining" | "rate_limited" | "too_many_sessions" | "too_many_members" => true,
            "too_many_frames" => crowded,
            "nothing_to_stop" => !asked.must && asked.answer == Kind::Error,
            "message_not_found" | "not_author" => asked.answer == Kind::Ack,
            "not_owner" => matches!(asked.answer, Kind::Invited | Kind::Error),
            "authentication_failed" | "wrong_user" => asked.answer == Kind::Notice,
            _ => false,
        }
    }
}
