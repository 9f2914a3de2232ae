//! What answers what: the one table that the specification, the AsyncAPI document and the tests share.

use causerie_core::ErrorCode;
use causerie_core::ErrorCode as E;

/// A client's frame, what answers it, and the errors that may answer it instead, besides [`ANY`].
pub(crate) struct Answers {
    pub(crate) frame: &'static str,
    pub(crate) by: &'static [&'static str],
    pub(crate) errors: &'static [ErrorCode],
}

/// Errors that may answer any frame.
pub(crate) const ANY: &[ErrorCode] = &[
    ErrorCode::FrameTooLarge,
    ErrorCode::InvalidJson,
    ErrorCode::TooDeeplyNested,
    ErrorCode::UnknownType,
    ErrorCode::InvalidField,
    ErrorCode::BinaryFrame,
    ErrorCode::TooManyFrames,
];

/// Errors in the place of an answer of the model: to everybody in the session, and without `ref`.
pub(crate) const OF_ANSWERS: &[ErrorCode] = &[
    ErrorCode::AiUnavailable,
    ErrorCode::ContextExceeded,
    ErrorCode::GenerationFailed,
    ErrorCode::Overloaded,
    ErrorCode::QuotaExceeded,
    ErrorCode::StorageFailed,
    ErrorCode::ServerDraining,
];

/// Errors that come before a close.
pub(crate) const OF_CLOSES: &[ErrorCode] =
    &[ErrorCode::AuthenticationFailed, ErrorCode::TooManyConnections, ErrorCode::FrameTooLarge];

/// What answers what.
pub(crate) const ANSWERS: &[Answers] = &[
    Answers {
        frame: "join_session",
        by: &["session_joined"],
        errors: &[E::SessionNotFound, E::SessionEnded, E::Overloaded, E::StorageFailed],
    },
    Answers {
        frame: "chat_message",
        by: &["ack", "command_response"],
        errors: &[
            E::NotInSession,
            E::EmptyMessage,
            E::MessageTooLong,
            E::MessageNotFound,
            E::SessionEnded,
            E::RateLimited,
            E::Overloaded,
            E::ServerDraining,
            E::StorageFailed,
        ],
    },
    Answers { frame: "ping", by: &["pong"], errors: &[] },
    Answers {
        frame: "create_session",
        by: &["session_joined"],
        errors: &[
            E::TitleTooLong,
            E::MessageTooLong,
            E::TooManySessions,
            E::Overloaded,
            E::ServerDraining,
            E::StorageFailed,
        ],
    },
    Answers { frame: "leave_session", by: &["session_left"], errors: &[E::NotInSession] },
    Answers { frame: "stop_generation", by: &[], errors: &[E::NotInSession, E::NothingToStop] },
    Answers {
        frame: "regenerate",
        by: &["ack"],
        errors: &[
            E::NotInSession,
            E::MessageNotFound,
            E::SessionEnded,
            E::RateLimited,
            E::Overloaded,
            E::ServerDraining,
            E::StorageFailed,
        ],
    },
    Answers {
        frame: "edit_message",
        by: &["ack"],
        errors: &[
            E::NotInSession,
            E::EmptyMessage,
            E::MessageTooLong,
            E::MessageNotFound,
            E::NotAuthor,
            E::SessionEnded,
            E::RateLimited,
            E::Overloaded,
            E::ServerDraining,
            E::StorageFailed,
        ],
    },
    Answers {
        frame: "history",
        by: &["history_page"],
        errors: &[E::NotInSession, E::SessionEnded, E::Overloaded, E::StorageFailed],
    },
    Answers { frame: "typing", by: &[], errors: &[E::NotInSession] },
    Answers {
        frame: "invite",
        by: &["invited"],
        errors: &[
            E::NotInSession,
            E::UsernameTooLong,
            E::NotOwner,
            E::TooManyMembers,
            E::SessionEnded,
            E::Overloaded,
            E::StorageFailed,
        ],
    },
    Answers {
        frame: "rename_session",
        by: &["session_renamed"],
        errors: &[
            E::NotInSession,
            E::TitleTooLong,
            E::SessionNotFound,
            E::NotOwner,
            E::SessionEnded,
            E::Overloaded,
            E::StorageFailed,
        ],
    },
    Answers {
        frame: "delete_session",
        by: &["session_deleted"],
        errors: &[E::NotInSession, E::SessionNotFound, E::NotOwner, E::SessionEnded, E::Overloaded, E::StorageFailed],
    },
    Answers { frame: "list_sessions", by: &["session_list"], errors: &[E::Overloaded, E::StorageFailed] },
    Answers {
        frame: "authenticate",
        by: &["notice"],
        errors: &[E::TokenTooLong, E::AuthenticationFailed, E::WrongUser, E::Overloaded],
    },
];
