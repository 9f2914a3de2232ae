//! Why the hub refuses what a peer asks: [`Code`], stable on the wire.

use alloc::string::String;

/// The `code` of an `error` frame. Clients may rely on the text of [`Code::as_str`]; new ones may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub(crate) enum Code {
    FrameTooLarge,
    InvalidJson,
    TooDeeplyNested,
    UnknownType,
    InvalidField,
    TitleTooLong,
    UsernameTooLong,
    TokenTooLong,
    MessageTooLong,
    EmptyMessage,
    BinaryFrame,
    NotInSession,
    SessionNotFound,
    SessionEnded,
    NotOwner,
    TooManyMembers,
    NothingToStop,
    Unsupported,
    AuthenticationFailed,
    WrongUser,
    TooManyConnections,
    TooManyFrames,
    RateLimited,
    TooManySessions,
    Overloaded,
    ServerDraining,
    StorageFailed,
    AiUnavailable,
    ContextExceeded,
    GenerationFailed,
}

impl Code {
    /// On the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Code::FrameTooLarge => "frame_too_large",
            Code::InvalidJson => "invalid_json",
            Code::TooDeeplyNested => "too_deeply_nested",
            Code::UnknownType => "unknown_type",
            Code::InvalidField => "invalid_field",
            Code::TitleTooLong => "title_too_long",
            Code::UsernameTooLong => "username_too_long",
            Code::TokenTooLong => "token_too_long",
            Code::MessageTooLong => "message_too_long",
            Code::EmptyMessage => "empty_message",
            Code::BinaryFrame => "binary_frame",
            Code::NotInSession => "not_in_session",
            Code::SessionNotFound => "session_not_found",
            Code::SessionEnded => "session_ended",
            Code::NotOwner => "not_owner",
            Code::TooManyMembers => "too_many_members",
            Code::NothingToStop => "nothing_to_stop",
            Code::Unsupported => "unsupported",
            Code::AuthenticationFailed => "authentication_failed",
            Code::WrongUser => "wrong_user",
            Code::TooManyConnections => "too_many_connections",
            Code::TooManyFrames => "too_many_frames",
            Code::RateLimited => "rate_limited",
            Code::TooManySessions => "too_many_sessions",
            Code::Overloaded => "overloaded",
            Code::ServerDraining => "server_draining",
            Code::StorageFailed => "storage_failed",
            Code::AiUnavailable => "ai_unavailable",
            Code::ContextExceeded => "context_exceeded",
            Code::GenerationFailed => "generation_failed",
        }
    }

    /// Whether the same frame may succeed later.
    pub(crate) fn retryable(self) -> bool {
        matches!(
            self,
            Code::TooManyConnections
                | Code::TooManyFrames
                | Code::RateLimited
                | Code::TooManySessions
                | Code::Overloaded
                | Code::ServerDraining
                | Code::StorageFailed
                | Code::AiUnavailable
                | Code::GenerationFailed
        )
    }
}

/// An `error` frame to come.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) retry_after_ms: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), retry_after_ms: None }
    }

    pub(crate) fn after(self, retry_after_ms: u64) -> Refusal {
        Refusal { retry_after_ms: Some(retry_after_ms), ..self }
    }
}
