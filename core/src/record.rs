//! What is stored, as the core writes it and reads it back.

use alloc::string::String;
use alloc::vec::Vec;

use crate::event::{FinishReason, Usage};
use crate::id::{MessageId, SessionId};
use crate::time::UnixMicros;

/// A session with the people who may use it.
///
/// Records are what storage must be able to keep and give back unchanged, so they are not `non_exhaustive`: a new field is
/// a change that every storage has to hear of.
///
/// ```
/// use causerie_core::{Member, SessionId, SessionRecord, UnixMicros, Uuid};
///
/// let ann = Member { user_id: "u-1".into(), username: "Ann".into() };
/// let record = SessionRecord {
///     id: SessionId(Uuid([1; 16])),
///     title: "Tea".into(),
///     system: None,
///     owner: ann.user_id.clone(),
///     created: UnixMicros(1_767_225_600_000_000),
///     ended: None,
///     last_seq: 0,
///     last_message: None,
///     members: vec![ann],
///     invited: Vec::new(),
/// };
/// assert!(record.members.iter().any(|member| member.user_id == record.owner));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its id on the wire.
    pub id: SessionId,
    /// Shown to people.
    pub title: String,
    /// The system prompt, if its creator gave one.
    pub system: Option<String>,
    /// The user id of its owner, who is a member too.
    pub owner: String,
    /// When it was created.
    pub created: UnixMicros,
    /// When it ended, if it did.
    pub ended: Option<UnixMicros>,
    /// The `seq` of its last message, 0 when there is none.
    pub last_seq: u64,
    /// Where the conversation goes on: the last user's message, or the answer to it once that is stored. An answer to
    /// another message does not change it; see [`SessionRecord::append`]. To answer a message again, the conversation
    /// first goes back to it by [`Write::Continue`](crate::Write::Continue).
    pub last_message: Option<MessageId>,
    /// Who may join: user ids with the names they had when they became members.
    pub members: Vec<Member>,
    /// Names of people who may join and have not yet.
    pub invited: Vec<String>,
}

impl SessionRecord {
    /// What becomes of the session's record when a message of it is stored. Storage must do the same.
    ///
    /// People go on talking while an answer is made, so an answer may be stored after messages that came later. It
    /// belongs to the message that it answers, and the conversation goes on from the last of those, on whichever branch
    /// that is.
    ///
    /// ```
    /// use causerie_core::{Member, MessageId, MessageRecord, MessageRole, SessionId, SessionRecord, UnixMicros, Uuid};
    ///
    /// fn store(session: &mut SessionRecord, messages: &mut Vec<MessageRecord>, message: &MessageRecord) {
    ///     messages.push(message.clone());
    ///     session.append(message);
    /// }
    /// # let (id, ann) = (SessionId(Uuid([1; 16])), Member { user_id: "u-1".into(), username: "Ann".into() });
    /// # let mut session = SessionRecord {
    /// #     id, title: String::new(), system: None, owner: "u-1".into(), created: UnixMicros(0), ended: None, last_seq: 0,
    /// #     last_message: None, members: vec![ann.clone()], invited: Vec::new(),
    /// # };
    /// # let message = MessageRecord {
    /// #     id: MessageId(Uuid([2; 16])), session: id, seq: 1, parent: None, role: MessageRole::User, author: Some(ann),
    /// #     content: "Hello".into(), created: UnixMicros(0), client_id: None, finish_reason: None, usage: None,
    /// # };
    /// let mut messages = Vec::new();
    /// store(&mut session, &mut messages, &message);
    /// assert_eq!((session.last_seq, session.last_message), (1, Some(message.id)));
    /// ```
    pub fn append(&mut self, message: &MessageRecord) {
        self.last_seq = message.seq;
        if message.role != MessageRole::Assistant || message.parent == self.last_message {
            self.last_message = Some(message.id);
        }
    }
}

/// Somebody who takes part in a session.
///
/// ```
/// let ann = causerie_core::Member { user_id: "u-1".into(), username: "Ann".into() };
/// assert_ne!(ann.user_id, ann.username);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The token's `sub`.
    pub user_id: String,
    /// Their name.
    pub username: String,
}

/// A session in a list.
///
/// ```
/// use causerie_core::{MessageRecord, SessionRecord, SessionSummary};
///
/// fn summary(session: &SessionRecord, last: Option<&MessageRecord>) -> SessionSummary {
///     SessionSummary {
///         id: session.id,
///         title: session.title.clone(),
///         owner: session.owner.clone(),
///         created: session.created,
///         active: last.map_or(session.created, |message| message.created),
///         ended: session.ended,
///         messages: session.last_seq,
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSummary {
    /// Its id on the wire.
    pub id: SessionId,
    /// Shown to people.
    pub title: String,
    /// The user id of its owner.
    pub owner: String,
    /// When it was created.
    pub created: UnixMicros,
    /// When its last message came, or it was created.
    pub active: UnixMicros,
    /// When it ended, if it did.
    pub ended: Option<UnixMicros>,
    /// How many messages it has.
    pub messages: u64,
}

/// A message as it is stored: never changed afterwards. Messages of a session form a tree, by `parent`; `seq` is the order
/// in which they were committed.
///
/// ```
/// use causerie_core::{MessageId, MessageRecord};
///
/// /// The way from the root to a message: what a model is shown, but for what
/// /// [`Output::Generate`](causerie_core::Output::Generate) says of answers that came later.
/// fn way(all: &[MessageRecord], leaf: MessageId) -> Vec<&MessageRecord> {
///     let mut way: Vec<&MessageRecord> = Vec::new();
///     let mut next = Some(leaf);
///     while let Some(message) = next.and_then(|id| all.iter().find(|message| message.id == id)) {
///         way.push(message);
///         next = message.parent;
///     }
///     way.reverse();
///     way
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRecord {
    /// Its id on the wire.
    pub id: MessageId,
    /// Of which session.
    pub session: SessionId,
    /// Its place in the session's log: gapless, from 1.
    pub seq: u64,
    /// The message that it follows in the conversation; `None` for the first.
    pub parent: Option<MessageId>,
    /// Who speaks.
    pub role: MessageRole,
    /// The author, of a user's message.
    pub author: Option<Member>,
    /// The text.
    pub content: String,
    /// When it was committed to the log.
    pub created: UnixMicros,
    /// The client's own id for it, unique to its author in the session.
    pub client_id: Option<String>,
    /// Why it ended, of an assistant's message.
    pub finish_reason: Option<FinishReason>,
    /// What it took, of an assistant's message.
    pub usage: Option<Usage>,
}

/// Who speaks in a message: `role` on the wire.
///
/// ```
/// use causerie_core::MessageRole;
///
/// let name = match MessageRole::Assistant {
///     MessageRole::User => "user",
///     MessageRole::Assistant => "assistant",
///     MessageRole::System => "system",
/// };
/// assert_eq!(name, "assistant");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageRole {
    /// A person.
    User,
    /// The model.
    Assistant,
    /// The server, or a session's instructions.
    System,
}
