//! What can be wrong: [`Rule`], and [`Violation`], which says what was expected and what came.

use alloc::string::String;
use core::fmt;

use super::ClientId;

/// Makes the rules with their names and their text: the one place where a rule is written down.
macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// What every server of this protocol keeps to, as far as its clients can see it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Rule {
            /// All there are.
            pub const ALL: &'static [Rule] = &[$(Rule::$variant,)+];

            /// Its name, in snake case.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Rule::$variant => $name,)+
                }
            }

            /// What it demands, in the words of its documentation.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Rule::$variant => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

rules! {
    /// A frame is one JSON object with a `type` and the fields of that type, none of them twice.
    Shape = "shape",
    /// Every length and count is within its limit.
    Limit = "limit",
    /// An `error` has a known code, tells truly whether it can be retried, and when only if it can.
    ErrorCode = "error_code",
    /// A connection begins with one `connection_established`, or with the `error` for which it is closed.
    Greeting = "greeting",
    /// Nothing comes after the close.
    Closed = "closed",
    /// A close has a code of the protocol and a reason that fits; whom the server turns away was told why.
    Close = "close",
    /// A `ref` names a frame of this client that is not answered yet, and the answer is of the kind that was asked for.
    Answer = "answer",
    /// When all is at rest, every frame with an `id` that asks for an answer has got it.
    Unanswered = "unanswered",
    /// Frames of a session come only to those who are in it.
    Membership = "membership",
    /// The epoch is the same as long as the server lives.
    Epoch = "epoch",
    /// Only a client that said where it was, in this epoch, is resumed, and there.
    Resume = "resume",
    /// Each client gets each message once, in the order of `seq`, without a gap.
    Sequence = "sequence",
    /// All clients see the same: one message at each `seq`, one text of each message, at all times.
    Agreement = "agreement",
    /// A message's `parent` is an earlier message of its session, and an answer answers a user's message.
    Parent = "parent",
    /// A delta begins at the byte at which those before it ended, and comes while the assistant types.
    Offset = "offset",
    /// The deltas of a message, one after the other, are the message.
    Stream = "stream",
    /// The assistant's `typing` begins and ends by turns; a message or an error comes between, and no other turn.
    Typing = "typing",
    /// Nobody is told of their own typing, coming and going.
    Echo = "echo",
    /// Who has joined is among the participants, who has left is not, and nobody is among them twice.
    Presence = "presence",
    /// What is acknowledged is what was sent; the same `client_id` is acknowledged as the same message.
    Acknowledgement = "acknowledgement",
    /// Nothing is acknowledged or shown as a message before storage has committed it.
    Durability = "durability",
    /// A page of history has what was asked for: the newest messages before a place, all of them that fit.
    History = "history",
    /// When all is at rest, who is in a session has its last message.
    Missed = "missed",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A frame, or a frame's absence, that breaks a [`Rule`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Who has seen it; `None` where it was storage.
    pub client: Option<ClientId>,
    /// What it breaks.
    pub rule: Rule,
    /// What would have been right.
    pub expected: String,
    /// What came instead.
    pub got: String,
    /// The frame, shortened to [`Violation::FRAME_BYTES`].
    pub frame: Option<String>,
}

impl Violation {
    /// Bytes of a frame that a violation keeps.
    pub const FRAME_BYTES: usize = 1_024;
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { client, rule, expected, got, frame } = self;
        write!(f, "{rule}: {}\n  expected: {expected}\n  got: {got}", rule.meaning())?;
        if let Some(ClientId(client)) = client {
            write!(f, "\n  at client {client}")?;
        }
        match frame {
            Some(frame) => write!(f, "\n  in {frame}"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for Violation {}

/// A broken rule, before it is known where.
#[derive(Debug)]
pub(super) struct Breach {
    pub(super) rule: Rule,
    pub(super) expected: String,
    pub(super) got: String,
}

impl Breach {
    pub(super) fn new(rule: Rule, expected: impl Into<String>, got: impl Into<String>) -> Breach {
        Breach { rule, expected: expected.into(), got: got.into() }
    }

    pub(super) fn of(self, client: Option<ClientId>, frame: Option<&str>) -> Violation {
        let Breach { rule, expected, got } = self;
        let frame = frame.map(|text| String::from(&text[..text.floor_char_boundary(Violation::FRAME_BYTES)]));
        Violation { client, rule, expected, got, frame }
    }
}

/// `Ok` where `kept`; what else was expected and came is only put together where it is needed.
pub(super) fn require(kept: bool, rule: Rule, say: impl FnOnce() -> (String, String)) -> Result<(), Breach> {
    if kept {
        return Ok(());
    }
    let (expected, got) = say();
    Err(Breach { rule, expected, got })
}
