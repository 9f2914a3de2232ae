//! Checks of frames that are lists: pages of history, sessions, participants.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::facts::Message;
use super::frame::Frame;
use super::question::{Ask, Question};
use super::rule::{Breach, Rule, require};
use crate::id::Uuid;
use crate::limits;

/// The messages of a page, which is what was asked for.
pub(super) fn page(
    frame: &Frame<'_>,
    asked: Option<&Question>,
    session: Uuid,
    may_be_gone: bool,
) -> Result<Vec<Message>, Breach> {
    let mut messages: Vec<Message> = Vec::new();
    for item in frame.array("messages")? {
        require(item.id("session_id")? == session, Rule::History, || {
            ("messages of one session".into(), "another's".into())
        })?;
        let message = Message::read(&item)?;
        let follows = messages.last().is_none_or(|last| last.seq + 1 == message.seq);
        require(follows, Rule::History, || {
            ("messages by rising `seq` without a gap".into(), format!("`seq` {}", message.seq))
        })?;
        messages.push(message);
    }
    let bytes: usize = messages.iter().map(|message| message.content.len()).sum();
    require(bytes <= limits::PAGE_BYTES || messages.len() == 1, Rule::Limit, || {
        (format!("at most {} bytes of text", limits::PAGE_BYTES), format!("{bytes}"))
    })?;
    let first = messages.first().map_or(1, |message| message.seq);
    let more = frame.boolean("more")?;
    require(more == (first > 1), Rule::History, || (format!("`more` {}", first > 1), format!("`more` {more}")))?;
    if let Some(Question { ask: Ask::History { before, limit }, known_seq, concerns, .. }) = asked {
        let most = limit.unwrap_or(limits::PAGE_MESSAGES_DEFAULT.into()).clamp(1, limits::PAGE_MESSAGES.into());
        let count = messages.len() as u64;
        require(count <= most, Rule::Limit, || (format!("at most {most} messages"), format!("{count}")))?;
        let last = messages.last().map_or(0, |message| message.seq);
        let end = before.unwrap_or(u64::MAX);
        require(last == 0 || last < end, Rule::History, || {
            (format!("messages before {end}"), format!("`seq` {last}"))
        })?;
        let known = if *concerns == Some(session) && !may_be_gone { *known_seq } else { 0 };
        let newest = known.min(end.saturating_sub(1));
        require(last >= newest, Rule::History, || (format!("messages up to {newest}"), format!("up to {last}")))?;
    }
    Ok(messages)
}

pub(super) fn check_list(frame: &Frame<'_>) -> Result<(), Breach> {
    let sessions = frame.array("sessions")?;
    let (count, most) = (sessions.len(), limits::LISTED_SESSIONS as usize);
    require(count <= most, Rule::Limit, || (format!("at most {most} sessions"), format!("{count}")))?;
    for session in sessions {
        session.id("session_id")?;
        session.text("session_title")?;
        session.number("messages")?;
    }
    Ok(())
}

/// The user ids of a list of participants.
pub(super) fn participants(frame: &Frame<'_>) -> Result<BTreeSet<String>, Breach> {
    let mut users = BTreeSet::new();
    for participant in frame.array("participants")? {
        participant.text("username")?;
        let user = participant.text("user_id")?;
        require(users.insert(user.to_owned()), Rule::Presence, || {
            ("everybody once".into(), format!("{user:?} twice"))
        })?;
    }
    Ok(users)
}

pub(super) fn check_presence(frame: &Frame<'_>) -> Result<(), Breach> {
    let event = frame.text("event")?;
    require(matches!(event, "joined" | "left"), Rule::Shape, || ("`event` is joined or left".into(), event.into()))?;
    let there = participants(frame)?.contains(frame.text("user_id")?);
    require(there == (event == "joined"), Rule::Presence, || {
        (format!("among the participants: {}", event == "joined"), format!("{there}"))
    })
}
