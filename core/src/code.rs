//! Every code that a client can meet, as closed lists: [`ErrorCode`], [`NoticeCode`], [`CloseCode`].

use core::fmt;
use core::str::FromStr;

/// Makes an enum of codes with their text on the wire: the one place where a code is written down.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $name {
            /// All there are, in the order of their declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// Its text on the wire: stable, in snake case.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                }
            }

            /// What it means, in the words of its documentation.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $($name::$variant => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownCode;

            /// Reads the text on the wire.
            fn from_str(text: &str) -> Result<$name, UnknownCode> {
                $name::ALL.iter().copied().find(|code| code.as_str() == text).ok_or(UnknownCode(()))
            }
        }
    };
}

codes! {
    /// The `code` of an `error` frame. Clients may rely on these texts; new ones may come, and a client that meets one
    /// it does not know goes by `retryable`.
    ///
    /// ```
    /// use causerie_core::ErrorCode;
    ///
    /// assert_eq!("rate_limited".parse(), Ok(ErrorCode::RateLimited));
    /// assert!(ErrorCode::RateLimited.retryable());
    /// assert_eq!(ErrorCode::NotOwner.to_string(), "not_owner");
    /// ```
    ErrorCode {
        /// The frame is longer than the server accepts; the connection is closed with 1009.
        FrameTooLarge = "frame_too_large",
        /// The text is not one JSON object, or one of its objects has too many fields.
        InvalidJson = "invalid_json",
        /// Objects and arrays are nested too deeply.
        TooDeeplyNested = "too_deeply_nested",
        /// The server knows no frame of this `type`.
        UnknownType = "unknown_type",
        /// A field is missing, of a wrong type, or out of its bounds; the message names it.
        InvalidField = "invalid_field",
        /// The `title` is too long.
        TitleTooLong = "title_too_long",
        /// The `username` is too long.
        UsernameTooLong = "username_too_long",
        /// The `token` is too long.
        TokenTooLong = "token_too_long",
        /// The `message` or the `system` prompt is too long.
        MessageTooLong = "message_too_long",
        /// The `message` has nothing but white space, or is missing.
        EmptyMessage = "empty_message",
        /// The frame was a binary one; the protocol has text frames only.
        BinaryFrame = "binary_frame",
        /// The frame needs a session, and the connection is in none.
        NotInSession = "not_in_session",
        /// There is no such session, or the user may not join it; which of the two is not told.
        SessionNotFound = "session_not_found",
        /// There is no such message in the session.
        MessageNotFound = "message_not_found",
        /// The session has ended and takes no more messages.
        SessionEnded = "session_ended",
        /// Only the session's owner may do this.
        NotOwner = "not_owner",
        /// Only the message's author may do this.
        NotAuthor = "not_author",
        /// The session has as many members and invited people as it can have.
        TooManyMembers = "too_many_members",
        /// No such answer is being generated.
        NothingToStop = "nothing_to_stop",
        /// The token is missing, invalid, expired, or was not verified in time.
        AuthenticationFailed = "authentication_failed",
        /// The fresh token belongs to somebody else than the connection's user.
        WrongUser = "wrong_user",
        /// The user has too many connections open; this one is closed with 4500.
        TooManyConnections = "too_many_connections",
        /// The connection sends more frames a second than it may.
        TooManyFrames = "too_many_frames",
        /// The user sends more messages a minute than they may.
        RateLimited = "rate_limited",
        /// The user creates more sessions a minute than they may.
        TooManySessions = "too_many_sessions",
        /// A queue is full: too much waits for storage or for the model.
        Overloaded = "overloaded",
        /// The server is about to stop and takes nothing new.
        ServerDraining = "server_draining",
        /// Storage failed; nothing was saved.
        StorageFailed = "storage_failed",
        /// No model is loaded, so nothing can be answered.
        AiUnavailable = "ai_unavailable",
        /// The message alone does not fit into the model's context.
        ContextExceeded = "context_exceeded",
        /// Whoever asked has used the tokens that they may use in a day; a new day begins at midnight, UTC.
        QuotaExceeded = "quota_exceeded",
        /// The model failed while it answered.
        GenerationFailed = "generation_failed",
    }
}

impl ErrorCode {
    /// Whether the same frame may succeed later.
    #[must_use]
    pub const fn retryable(self) -> bool {
        matches!(
            self,
            ErrorCode::TooManyConnections
                | ErrorCode::TooManyFrames
                | ErrorCode::RateLimited
                | ErrorCode::TooManySessions
                | ErrorCode::Overloaded
                | ErrorCode::ServerDraining
                | ErrorCode::StorageFailed
                | ErrorCode::AiUnavailable
                | ErrorCode::GenerationFailed
        )
    }
}

codes! {
    /// The `code` of a `notice` frame: something that a client should know, and that went wrong for nobody. New ones may
    /// come; a client shows the message of one that it does not know, or passes it over.
    ///
    /// ```
    /// use causerie_core::NoticeCode;
    ///
    /// assert_eq!(NoticeCode::TokenExpiring.as_str(), "token_expiring");
    /// assert!(NoticeCode::ALL.iter().all(|code| !code.meaning().is_empty()));
    /// ```
    NoticeCode {
        /// The oldest messages no longer fit into the model's context and were left out of this answer's prompt.
        ContextTrimmed = "context_trimmed",
        /// The connection's token is about to expire: send `authenticate` with a fresh one.
        TokenExpiring = "token_expiring",
        /// The fresh token was accepted: the answer to `authenticate`.
        TokenRenewed = "token_renewed",
        /// The server is about to stop: connect again soon.
        ServerDraining = "server_draining",
        /// Some messages could not be read from storage: ask for the history.
        MessagesMissing = "messages_missing",
    }
}

/// A text that is no code of the kind that was asked for; newer servers may have more codes than this list.
///
/// ```
/// use causerie_core::{ErrorCode, UnknownCode};
///
/// let read: Result<ErrorCode, UnknownCode> = "of_a_later_version".parse();
/// assert!(read.is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCode(());

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text is no code of this protocol's version: go by `retryable` and the message")
    }
}

impl core::error::Error for UnknownCode {}

/// Why the server closes a connection: the status code of its close frame (RFC 6455, section 7.4).
///
/// ```
/// use causerie_core::CloseCode;
///
/// assert_eq!(CloseCode::from_u16(1008), Some(CloseCode::Policy));
/// assert!(CloseCode::GoingAway.reconnect() && !CloseCode::TooManyConnections.reconnect());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum CloseCode {
    /// The server stops.
    GoingAway = 1001,
    /// The peer broke RFC 6455.
    ProtocolError = 1002,
    /// The peer sent text that is not UTF-8.
    InvalidUtf8 = 1007,
    /// The token is missing or invalid, was not verified in time, or has expired: an `error` frame tells which.
    Policy = 1008,
    /// A frame was longer than the server accepts.
    TooBig = 1009,
    /// The server failed. The core never closes with it; it is for runtimes.
    Internal = 1011,
    /// The server has as many connections as it can have: the runtime's answer to [`ConnectError`](crate::ConnectError).
    TryAgainLater = 1013,
    /// Nothing came from the peer for long.
    Idle = 4000,
    /// The user has too many connections open.
    TooManyConnections = 4500,
}

impl CloseCode {
    /// All there are, by rising number.
    pub const ALL: &'static [CloseCode] = &[
        CloseCode::GoingAway,
        CloseCode::ProtocolError,
        CloseCode::InvalidUtf8,
        CloseCode::Policy,
        CloseCode::TooBig,
        CloseCode::Internal,
        CloseCode::TryAgainLater,
        CloseCode::Idle,
        CloseCode::TooManyConnections,
    ];

    /// The number in the close frame.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self as u16
    }

    /// The code of a number, if it is one of these.
    #[must_use]
    pub fn from_u16(code: u16) -> Option<CloseCode> {
        CloseCode::ALL.iter().copied().find(|known| known.as_u16() == code)
    }

    /// Whether a client that did nothing wrong should connect again. After [`Policy`](CloseCode::Policy) it should, with
    /// a fresh token.
    ///
    /// The protocol's own codes say so by their number: 4000 to 4499 do, 4500 to 4999 do not.
    #[must_use]
    pub const fn reconnect(self) -> bool {
        matches!(
            self,
            CloseCode::GoingAway | CloseCode::Policy | CloseCode::Internal | CloseCode::TryAgainLater | CloseCode::Idle
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn codes_are_read_as_they_are_written_and_are_all_different() {
        for (i, code) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert_eq!(code.to_string(), code.as_str());
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
            assert!(ErrorCode::ALL[..i].iter().all(|other| other.as_str() != code.as_str()), "{code} twice");
        }
        for code in NoticeCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
        assert_eq!("Rate_limited".parse::<ErrorCode>(), Err(UnknownCode(())));
        assert_eq!("".parse::<NoticeCode>(), Err(UnknownCode(())));
    }

    #[test]
    fn a_meaning_is_one_sentence() {
        let meanings = ErrorCode::ALL.iter().map(|c| c.meaning()).chain(NoticeCode::ALL.iter().map(|c| c.meaning()));
        for meaning in meanings {
            assert!(meaning.ends_with('.') && !meaning.starts_with(' ') && !meaning.contains("  "), "{meaning}");
        }
    }

    #[test]
    fn close_codes_rise_and_their_numbers_say_whether_to_connect_again() {
        assert!(CloseCode::ALL.windows(2).all(|pair| pair[0].as_u16() < pair[1].as_u16()));
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::from_u16(code.as_u16()), Some(*code));
            if code.as_u16() >= 4000 {
                assert_eq!(code.reconnect(), code.as_u16() < 4500, "{code:?}");
            }
        }
        assert_eq!(CloseCode::from_u16(1000), None);
    }
}
