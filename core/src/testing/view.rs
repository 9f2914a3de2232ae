//! What one client has seen of the session that it is in.

use alloc::format;
use alloc::string::String;

use super::facts::{Facts, Message};
use super::frame::Frame;
use super::place::Since;
use super::rule::{Breach, Rule, require};
use crate::id::Uuid;

/// A client in a session.
#[derive(Debug)]
pub(super) struct View {
    pub(super) session: Uuid,
    /// The last message that it has.
    pub(super) seq: u64,
    pub(super) turn: Option<Turn>,
    /// The part of an answer that it said it has, until the server goes on with it or says that it failed.
    pub(super) claim: Option<(Uuid, u64)>,
    /// It was told that some messages could not be read.
    pub(super) gap: bool,
    /// It came back, so that an answer may be at any point of its turn.
    came_back: bool,
}

/// The assistant types: from the frame that says so to the one that says that it ended.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) message: Uuid,
    /// What it answers, where that was told.
    parent: Option<Uuid>,
    /// Bytes of it that the client has.
    pub(super) offset: u64,
    /// Its message or its error came.
    pub(super) over: bool,
    /// The offset is the client's word, of which only the next delta shows whether it was true.
    claimed: bool,
    came_back: bool,
}

impl View {
    pub(super) fn new(session: Uuid, seq: u64) -> View {
        View { session, seq, turn: None, claim: None, gap: false, came_back: false }
    }

    pub(super) fn resumed(session: Uuid, since: &Since) -> View {
        View { claim: since.partial, came_back: true, ..View::new(session, since.seq) }
    }

    /// The answer of which it has a part, and how much.
    pub(super) fn partial(&self) -> Option<(Uuid, u64)> {
        let turn = self.turn.as_ref().filter(|turn| !turn.over && turn.offset > 0);
        turn.map(|turn| (turn.message, turn.offset)).or(self.claim)
    }

    pub(super) fn message(&mut self, facts: &mut Facts, message: Message) -> Result<(), Breach> {
        self.require_no_claim()?;
        let next = self.seq + 1;
        require(message.seq == next || (self.gap && message.seq > next), Rule::Sequence, || {
            (format!("`seq` {next}"), format!("`seq` {} with {:?}", message.seq, message.content))
        })?;
        (self.seq, self.gap) = (message.seq, false);
        if message.assistant
            && let Some(turn) = &mut self.turn
        {
            require(turn.message == message.id && !turn.over, Rule::Typing, || {
                (format!("the end of {turn:?} before another answer"), format!("the answer {}", message.id))
            })?;
            let len = message.content.len() as u64;
            let untrue = turn.claimed && turn.offset > len;
            require(turn.offset == len || untrue, Rule::Stream, || {
                (format!("all {len} bytes in deltas before the message"), format!("{} bytes", turn.offset))
            })?;
            require(turn.parent.is_none_or(|parent| message.parent == Some(parent)), Rule::Parent, || {
                (format!("the answer to {:?}, as `typing` said", turn.parent), format!("{:?}", message.parent))
            })?;
            turn.over = true;
        }
        facts.learn(message)
    }

    pub(super) fn delta(&mut self, facts: &mut Facts, frame: &Frame<'_>) -> Result<(), Breach> {
        let (id, offset, text) = (frame.id("message_id")?, frame.number("offset")?, frame.text("content")?);
        let turn = self.turn.as_mut().filter(|turn| turn.message == id && !turn.over);
        let Some(turn) = turn else {
            return Err(Breach::new(
                Rule::Offset,
                format!("text of {id} only after `typing` began and before it is told"),
                format!("{text:?}"),
            ));
        };
        // A client that claims to have half a character gets the whole of it.
        let whole_character = turn.claimed && offset < turn.offset && turn.offset - offset < 4;
        require(offset == turn.offset || whole_character, Rule::Offset, || {
            (format!("`offset` {} of {id}", turn.offset), format!("{offset}"))
        })?;
        require(!text.is_empty(), Rule::Offset, || ("some text".into(), "an empty delta".into()))?;
        (turn.offset, turn.claimed) = (offset + text.len() as u64, false);
        facts.learn_text(id, offset, text)
    }

    pub(super) fn turn_begins(&mut self, message: Uuid, parent: Option<Uuid>) -> Result<(), Breach> {
        require(self.turn.is_none(), Rule::Typing, || {
            (format!("the end of {:?}", self.turn), format!("another turn, of {message}"))
        })?;
        let claim = self.claim.take();
        require(claim.is_none_or(|(id, _)| id == message), Rule::Typing, || {
            (format!("what becomes of {claim:?}"), format!("a turn of {message}"))
        })?;
        let offset = claim.map_or(0, |(_, offset)| offset);
        let came_back = core::mem::take(&mut self.came_back);
        self.turn = Some(Turn { message, parent, offset, over: false, claimed: claim.is_some(), came_back });
        Ok(())
    }

    pub(super) fn turn_ends(&mut self, facts: &Facts, message: Uuid) -> Result<(), Breach> {
        let turn = self.turn.take();
        // Who came back may have had the message before it was gone, and not the end of its turn.
        let known = facts.seq_of(message).is_none_or(|seq| seq <= self.seq);
        let ended = turn.as_ref().is_some_and(|t| t.message == message && (t.over || (t.came_back && known)));
        require(ended, Rule::Typing, || {
            (
                "the message or its error, between the beginning and the end of its turn".into(),
                format!("the end of {message} in {turn:?}"),
            )
        })
    }

    /// An `error` in the place of an answer.
    pub(super) fn answer_failed(&mut self, facts: &mut Facts, message: Option<Uuid>) -> Result<(), Breach> {
        if let Some((claimed, _)) = self.claim
            && message == Some(claimed)
        {
            self.claim = None;
            return Ok(());
        }
        self.require_no_claim()?;
        let Some(turn) = self.turn.as_mut().filter(|turn| !turn.over) else {
            return Err(Breach::new(
                Rule::Typing,
                "a turn that an error can end",
                "an error of the session outside of one",
            ));
        };
        require(message.map_or(turn.offset == 0, |id| id == turn.message), Rule::Typing, || {
            (format!("an error that names what is to be dropped: {turn:?}"), format!("`message_id` {message:?}"))
        })?;
        turn.over = true;
        // Who was told that messages are missing, or claims what may not be so, learns nothing certain of others.
        if self.gap || turn.claimed || turn.came_back { Ok(()) } else { facts.fail(turn.message) }
    }

    fn require_no_claim(&self) -> Result<(), Breach> {
        require(self.claim.is_none(), Rule::Resume, || {
            (format!("first what becomes of {:?}", self.claim), "another frame of the session".into())
        })
    }

    /// The client is in the session no more; `told` is false if it left by itself.
    pub(super) fn end(&self, told: bool) -> Result<(), Breach> {
        require(!told || self.turn.is_none(), Rule::Typing, || {
            ("the end of typing before that of the session".into(), format!("{:?}", self.turn))
        })
    }

    /// Nothing is under way.
    pub(super) fn rest(&self, facts: &Facts) -> Result<(), Breach> {
        self.require_no_claim()?;
        require(self.turn.is_none(), Rule::Typing, || ("an end of typing".into(), format!("{:?}", self.turn)))?;
        let last = facts.last_seq();
        require(self.seq == last || self.gap, Rule::Missed, || {
            (format!("all messages up to `seq` {last}"), format!("the last is {}", self.seq))
        })
    }
}

/// For messages about people: who it is, and that it is somebody else.
pub(super) fn require_another(own: &str, frame: &Frame<'_>) -> Result<(), Breach> {
    let user = frame.text("user_id")?;
    require(user != own, Rule::Echo, || (String::from("somebody else"), user.into()))
}
