//! What is known of a session, whoever saw it: all clients must see the same.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::frame::Frame;
use super::question::{Branch, Said};
use super::rule::{Breach, Rule, require};
use crate::event::FinishReason;
use crate::id::Uuid;
use crate::record::{MessageRecord, MessageRole};

/// A message as every client must see it. Timings are told live only, and so are no part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: Uuid,
    pub(super) seq: u64,
    pub(super) assistant: bool,
    pub(super) content: String,
    pub(super) parent: Option<Uuid>,
    pub(super) user_id: Option<String>,
    client_id: Option<String>,
    finish_reason: Option<String>,
    /// As it was told first; storage's own record has no JSON.
    told: Option<Told>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    username: Option<String>,
    usage: Option<String>,
    timestamp: String,
}

impl Message {
    pub(super) fn read(frame: &Frame<'_>) -> Result<Message, Breach> {
        let role = frame.text("role")?;
        require(matches!(role, "user" | "assistant" | "system"), Rule::Shape, || {
            ("`role` is user, assistant or system".into(), role.into())
        })?;
        let assistant = role == "assistant";
        let text = |name| frame.maybe_text(name).map(|text| text.map(ToOwned::to_owned));
        let finish_reason = text("finish_reason")?;
        if assistant {
            let reason = finish_reason.as_deref();
            require(matches!(reason, Some("stop" | "length" | "stopped" | "error")), Rule::Shape, || {
                ("`finish_reason` is stop, length, stopped or error".into(), format!("{reason:?}"))
            })?;
        }
        if role == "user" {
            frame.text("user_id")?;
            frame.text("username")?;
        }
        Ok(Message {
            id: frame.id("id")?,
            seq: frame.number("seq")?,
            assistant,
            content: frame.text("content")?.to_owned(),
            parent: frame.maybe_id("parent")?,
            user_id: text("user_id")?,
            client_id: text("client_id")?,
            finish_reason,
            told: Some(Told {
                username: text("username")?,
                usage: frame.raw("usage").map(ToOwned::to_owned),
                timestamp: frame.text("timestamp")?.to_owned(),
            }),
        })
    }

    pub(super) fn stored(record: &MessageRecord) -> Message {
        Message {
            id: record.id.0,
            seq: record.seq,
            assistant: record.role == MessageRole::Assistant,
            content: record.content.clone(),
            parent: record.parent.map(|id| id.0),
            user_id: record.author.as_ref().map(|author| author.user_id.clone()),
            client_id: record.client_id.clone(),
            finish_reason: record.finish_reason.map(|reason| String::from(finish_reason(reason))),
            told: None,
        }
    }

    fn agrees_with(&self, other: &Message) -> bool {
        let told = match (&self.told, &other.told) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        let of = |m: &Message| {
            (m.id, m.seq, m.assistant, m.parent, m.user_id.clone(), m.client_id.clone(), m.finish_reason.clone())
        };
        told && of(self) == of(other) && self.content == other.content
    }
}

/// An acknowledgement, until its message is seen.
#[derive(Clone, Debug)]
pub(super) struct Promise {
    pub(super) id: Uuid,
    pub(super) seq: u64,
    pub(super) user_id: String,
    pub(super) client_id: Option<String>,
    /// What was sent, any of it where a `client_id` was repeated; empty where that is not known.
    pub(super) said: Vec<Said>,
}

/// What is known of one session.
#[derive(Debug, Default)]
pub(super) struct Facts {
    messages: BTreeMap<u64, Message>,
    seqs: BTreeMap<Uuid, u64>,
    /// Answers under way: the longest beginning that anybody has seen.
    texts: BTreeMap<Uuid, String>,
    /// Answers that failed.
    failed: BTreeSet<Uuid>,
    promises: BTreeMap<Uuid, Promise>,
    client_ids: BTreeMap<(String, String), Uuid>,
    told_seq: u64,
    /// What storage has committed, where the model is told.
    committed: BTreeMap<Uuid, u64>,
    /// Somebody wants it deleted.
    pub(super) deleting: bool,
}

impl Facts {
    /// The largest `seq` that a client was told of. The server may not know of more yet, even if storage has committed it.
    pub(super) fn told_seq(&self) -> u64 {
        self.told_seq
    }

    /// The largest `seq` that is known.
    pub(super) fn last_seq(&self) -> u64 {
        let seen = self.messages.last_key_value().map_or(0, |(seq, _)| *seq);
        self.promises.values().map(|promise| promise.seq).fold(seen, u64::max)
    }

    pub(super) fn seq_of(&self, message: Uuid) -> Option<u64> {
        self.seqs.get(&message).copied()
    }

    /// Acknowledged messages with their `seq`.
    pub(super) fn promised(&self) -> impl Iterator<Item = (Uuid, u64)> {
        self.promises.values().map(|promise| (promise.id, promise.seq))
    }

    /// Storage has committed a message.
    pub(super) fn commit(&mut self, message: Message) -> Result<(), Breach> {
        self.committed.insert(message.id, message.seq);
        self.learn(message)
    }

    pub(super) fn require_committed(&self, message: Uuid, seq: u64) -> Result<(), Breach> {
        let committed = self.committed.get(&message);
        require(committed == Some(&seq), Rule::Durability, || {
            (format!("message {message} with `seq` {seq} committed before"), format!("committed: {committed:?}"))
        })
    }

    /// A message was seen, live or in a page of history.
    pub(super) fn learn(&mut self, message: Message) -> Result<(), Breach> {
        let Message { id, seq, .. } = message;
        if message.told.is_some() {
            self.told_seq = self.told_seq.max(seq);
        }
        if let Some(known) = self.messages.get_mut(&seq) {
            require(known.agrees_with(&message), Rule::Agreement, || (format!("{known:?}"), format!("{message:?}")))?;
            if known.told.is_none() {
                known.told = message.told;
            }
            return Ok(());
        }
        require(!self.seqs.contains_key(&id), Rule::Agreement, || {
            (format!("message {id} with `seq` {:?} only", self.seq_of(id)), format!("`seq` {seq}"))
        })?;
        require(!self.failed.contains(&id), Rule::Agreement, || {
            (format!("no message {id}: clients were told that it failed"), "the message".into())
        })?;
        if let Some(begun) = self.texts.remove(&id) {
            require(message.content.starts_with(&begun), Rule::Stream, || {
                (format!("a message that begins as its deltas did: {begun:?}"), format!("{:?}", message.content))
            })?;
        }
        self.check_parent(&message)?;
        if let Some(promise) = self.promises.get(&id) {
            self.keeps(&message, promise)?;
        }
        self.seqs.insert(id, seq);
        self.messages.insert(seq, message);
        Ok(())
    }

    fn check_parent(&self, message: &Message) -> Result<(), Breach> {
        let Some(parent) = message.parent else {
            return require(!message.assistant, Rule::Parent, || ("an answer's `parent`".into(), "none".into()));
        };
        let Some(parent) = self.seq_of(parent).and_then(|seq| self.messages.get(&seq)) else { return Ok(()) };
        require(parent.seq < message.seq, Rule::Parent, || {
            (format!("a parent before `seq` {}", message.seq), format!("`seq` {}", parent.seq))
        })?;
        require(!(message.assistant && parent.assistant), Rule::Parent, || {
            ("an answer to a user's message".into(), format!("one to the answer {}", parent.id))
        })
    }

    /// A client was told that its message is stored.
    pub(super) fn promise(&mut self, promise: &Promise) -> Result<(), Breach> {
        self.told_seq = self.told_seq.max(promise.seq);
        if let Some(client_id) = &promise.client_id {
            let first = self.client_ids.entry((promise.user_id.clone(), client_id.clone())).or_insert(promise.id);
            require(*first == promise.id, Rule::Acknowledgement, || {
                (format!("`client_id` {client_id:?} always acknowledged as {first}"), promise.id.to_string())
            })?;
        }
        if let Some(message) = self.messages.get(&promise.seq) {
            self.keeps(message, promise)?;
        }
        let known = self.promises.entry(promise.id).or_insert_with(|| promise.clone());
        require(known.seq == promise.seq && known.user_id == promise.user_id, Rule::Acknowledgement, || {
            (format!("{known:?}"), format!("{promise:?}"))
        })
    }

    /// A client was told which message is to be answered again.
    pub(super) fn to_be_answered(&self, asked: Option<Uuid>, id: Uuid, seq: u64) -> Result<(), Breach> {
        let known = |id: Uuid| self.seq_of(id).and_then(|seq| self.messages.get(&seq));
        if let Some(message) = known(id) {
            require(message.seq == seq && !message.assistant, Rule::Acknowledgement, || {
                (format!("a user's message with its `seq`: {message:?}"), format!("{id} with `seq` {seq}"))
            })?;
        }
        let Some(asked) = asked.and_then(known) else { return Ok(()) };
        let prompt = if asked.assistant { asked.parent } else { Some(asked.id) };
        require(prompt == Some(id), Rule::Acknowledgement, || (format!("{prompt:?}, for {asked:?}"), format!("{id}")))
    }

    /// Whether a message is what its acknowledgement said.
    fn keeps(&self, message: &Message, promise: &Promise) -> Result<(), Breach> {
        let same = (message.id, message.seq) == (promise.id, promise.seq)
            && message.user_id.as_ref() == Some(&promise.user_id)
            && message.client_id == promise.client_id;
        let said = promise.said.is_empty()
            || promise.said.iter().any(|said| said.content == message.content && self.is_on(said.branch, message));
        require(same && said, Rule::Acknowledgement, || (format!("{promise:?}"), format!("{message:?}")))
    }

    fn is_on(&self, branch: Branch, message: &Message) -> bool {
        match branch {
            Branch::On => true,
            Branch::After(parent) => match self.seq_of(parent).and_then(|seq| self.messages.get(&seq)) {
                Some(known) if known.assistant => message.parent == Some(parent) || message.parent == known.parent,
                Some(_) => message.parent == Some(parent),
                None => true,
            },
            Branch::Beside(other) => {
                let other = self.seq_of(other).and_then(|seq| self.messages.get(&seq));
                other.is_none_or(|other| other.parent == message.parent)
            }
        }
    }

    /// Text of an answer was seen. It must be what others saw there.
    pub(super) fn learn_text(&mut self, message: Uuid, offset: u64, text: &str) -> Result<(), Breach> {
        let whole = self.seqs.get(&message).and_then(|seq| self.messages.get(seq)).map(|m| m.content.as_str());
        let known = whole.or(self.texts.get(&message).map(String::as_str)).unwrap_or_default();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        // Who came back may know more than anybody whom the model has seen.
        let seen = known.as_bytes().get(offset..).unwrap_or_default();
        let common = seen.len().min(text.len());
        require(seen[..common] == text.as_bytes()[..common], Rule::Agreement, || {
            let other = String::from_utf8_lossy(&seen[..common]);
            (format!("from byte {offset} of {message}, as others saw: {other:?}"), format!("{text:?}"))
        })?;
        require(whole.is_none() || seen.len() >= text.len(), Rule::Stream, || {
            (format!("a delta within the {} bytes of {message}", known.len()), format!("{text:?} at byte {offset}"))
        })?;
        if whole.is_none() && offset <= known.len() && seen.len() < text.len() {
            // What is new begins where whole characters end, since the bytes before it are the same on both sides.
            let new = text.get(common..).unwrap_or_default();
            self.texts.entry(message).or_default().push_str(new);
        }
        Ok(())
    }

    /// A client was told that an answer failed.
    pub(super) fn fail(&mut self, message: Uuid) -> Result<(), Breach> {
        require(!self.seqs.contains_key(&message), Rule::Agreement, || {
            (format!("no failure of {message}, which is a message"), "an error in its place".into())
        })?;
        self.texts.remove(&message);
        self.failed.insert(message);
        Ok(())
    }

    /// The server lives anew: what was half streamed is lost.
    pub(super) fn restart(&mut self) {
        self.texts.clear();
    }
}

fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Stopped => "stopped",
        FinishReason::Error => "error",
    }
}
