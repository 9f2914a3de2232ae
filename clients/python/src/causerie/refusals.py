"""What the server refuses: an exception for each code. Made from docs/schema by `UPDATE=1 cargo test -p causerie-tests --test packages`; do not edit."""

from __future__ import annotations

from .errors import Refused
from .frames import Error


class FrameTooLarge(Refused):
    """The frame is longer than the server accepts; the connection is closed with 1009."""

    CODE = "frame_too_large"


class InvalidJson(Refused):
    """The text is not one JSON object, or one of its objects has too many fields."""

    CODE = "invalid_json"


class TooDeeplyNested(Refused):
    """Objects and arrays are nested too deeply."""

    CODE = "too_deeply_nested"


class UnknownType(Refused):
    """The server knows no frame of this `type`."""

    CODE = "unknown_type"


class InvalidField(Refused):
    """A field is missing, of a wrong type, or out of its bounds; the message names it."""

    CODE = "invalid_field"


class TitleTooLong(Refused):
    """The `title` is too long."""

    CODE = "title_too_long"


class UsernameTooLong(Refused):
    """The `username` is too long."""

    CODE = "username_too_long"


class TokenTooLong(Refused):
    """The `token` is too long."""

    CODE = "token_too_long"


class MessageTooLong(Refused):
    """The `message` or the `system` prompt is too long."""

    CODE = "message_too_long"


class EmptyMessage(Refused):
    """The `message` has nothing but white space, or is missing."""

    CODE = "empty_message"


class BinaryFrame(Refused):
    """The frame was a binary one; the protocol has text frames only."""

    CODE = "binary_frame"


class NotInSession(Refused):
    """The frame needs a session, and the connection is in none."""

    CODE = "not_in_session"


class SessionNotFound(Refused):
    """There is no such session, or the user may not join it; which of the two is not told."""

    CODE = "session_not_found"


class MessageNotFound(Refused):
    """There is no such message in the session."""

    CODE = "message_not_found"


class SessionEnded(Refused):
    """The session has ended and takes no more messages."""

    CODE = "session_ended"


class NotOwner(Refused):
    """Only the session's owner may do this."""

    CODE = "not_owner"


class NotAuthor(Refused):
    """Only the message's author may do this."""

    CODE = "not_author"


class TooManyMembers(Refused):
    """The session has as many members and invited people as it can have."""

    CODE = "too_many_members"


class NothingToStop(Refused):
    """No such answer is being generated."""

    CODE = "nothing_to_stop"


class AuthenticationFailed(Refused):
    """The token is missing, invalid, expired, or was not verified in time."""

    CODE = "authentication_failed"


class WrongUser(Refused):
    """The fresh token belongs to somebody else than the connection's user."""

    CODE = "wrong_user"


class TooManyConnections(Refused):
    """The user has too many connections open; this one is closed with 4500."""

    CODE = "too_many_connections"


class TooManyFrames(Refused):
    """The connection sends more frames a second than it may."""

    CODE = "too_many_frames"


class RateLimited(Refused):
    """The user sends more messages a minute than they may."""

    CODE = "rate_limited"


class TooManySessions(Refused):
    """The user creates more sessions a minute than they may."""

    CODE = "too_many_sessions"


class Overloaded(Refused):
    """A queue is full: too much waits for storage or for the model."""

    CODE = "overloaded"


class ServerDraining(Refused):
    """The server is about to stop and takes nothing new."""

    CODE = "server_draining"


class StorageFailed(Refused):
    """Storage failed; nothing was saved."""

    CODE = "storage_failed"


class AiUnavailable(Refused):
    """No model is loaded, so nothing can be answered."""

    CODE = "ai_unavailable"


class ContextExceeded(Refused):
    """The message alone does not fit into the model's context."""

    CODE = "context_exceeded"


class QuotaExceeded(Refused):
    """Whoever asked has used the tokens that they may use in a day; a new day begins at midnight, UTC."""

    CODE = "quota_exceeded"


class GenerationFailed(Refused):
    """The model failed while it answered."""

    CODE = "generation_failed"


#: The exceptions by their codes.
REFUSALS: dict[str, type[Refused]] = {
    "frame_too_large": FrameTooLarge,
    "invalid_json": InvalidJson,
    "too_deeply_nested": TooDeeplyNested,
    "unknown_type": UnknownType,
    "invalid_field": InvalidField,
    "title_too_long": TitleTooLong,
    "username_too_long": UsernameTooLong,
    "token_too_long": TokenTooLong,
    "message_too_long": MessageTooLong,
    "empty_message": EmptyMessage,
    "binary_frame": BinaryFrame,
    "not_in_session": NotInSession,
    "session_not_found": SessionNotFound,
    "message_not_found": MessageNotFound,
    "session_ended": SessionEnded,
    "not_owner": NotOwner,
    "not_author": NotAuthor,
    "too_many_members": TooManyMembers,
    "nothing_to_stop": NothingToStop,
    "authentication_failed": AuthenticationFailed,
    "wrong_user": WrongUser,
    "too_many_connections": TooManyConnections,
    "too_many_frames": TooManyFrames,
    "rate_limited": RateLimited,
    "too_many_sessions": TooManySessions,
    "overloaded": Overloaded,
    "server_draining": ServerDraining,
    "storage_failed": StorageFailed,
    "ai_unavailable": AiUnavailable,
    "context_exceeded": ContextExceeded,
    "quota_exceeded": QuotaExceeded,
    "generation_failed": GenerationFailed,
}


def refusal(frame: Error) -> Refused:
    """The exception for an error of the server."""
    return REFUSALS.get(frame.code, Refused)(frame)
