"""What the server sends. Made from docs/schema by `UPDATE=1 cargo test -p causerie-tests --test packages`; do not edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """Somebody who is in a session."""

    #: The token's `sub`.
    user_id: str
    #: Their name.
    username: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEntry:
    """A session in a list."""

    #: When its last message came, or it was created.
    active: str
    #: When it was created.
    created: str
    #: How many messages it has.
    messages: int
    #: The user id of its owner.
    owner: str
    #: Its id.
    session_id: str
    #: Its title.
    session_title: str
    #: When it ended, if it did.
    ended: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """How fast an answer was."""

    #: From the request to its first token, in milliseconds.
    first_token_ms: float
    #: After the first token; `null` where it cannot be told.
    tokens_per_second: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens that an answer took."""

    #: Of those, found in the cache.
    cached_tokens: int
    #: Produced.
    completion_tokens: int
    #: Of the whole prompt.
    prompt_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """A message is stored and will not be lost, or the wish for another answer is taken in."""

    TYPE: ClassVar[str] = "ack"
    #: The message's id; after `regenerate`, that of the message to be answered.
    message_id: str
    #: The message's place in the session.
    seq: int
    #: Which session.
    session_id: str
    #: When.
    timestamp: str
    #: The client's own id of the message, if it gave one.
    client_id: str | None = None
    #: What it answers.
    ref: str | int | float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResponse:
    """The answer to a command, for its asker alone."""

    TYPE: ClassVar[str] = "command_response"
    #: The command, in lower case.
    command: str
    #: The answer, for people.
    content: str
    #: When.
    timestamp: str
    #: What it answers.
    ref: str | int | float | None = None
    #: The session that the connection is in, if it is in one.
    session_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEstablished:
    """The token is good: the first frame of every connection."""

    TYPE: ClassVar[str] = "connection_established"
    #: "Connected as NAME".
    message: str
    #: What the user may do.
    role: Literal["user", "admin"]
    #: When.
    timestamp: str
    #: The token's `sub`.
    user_id: str
    #: The name that others see.
    username: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """What the client asked is refused, or an answer failed. The connection lives on unless a close follows."""

    TYPE: ClassVar[str] = "error"
    #: For programs: an `ErrorCode`; new ones may come.
    code: str
    #: For people.
    message: str
    #: Whether the same frame may succeed later.
    retryable: bool
    #: When.
    timestamp: str
    #: More about the reason, for people.
    detail: str | None = None
    #: The answer that failed after some deltas: drop them.
    message_id: str | None = None
    #: What it answers.
    ref: str | int | float | None = None
    #: When, in milliseconds from now.
    retry_after_ms: int | None = None
    #: Of a failed answer: in which session.
    session_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPage:
    """A page of the session's messages: the answer to `history`."""

    TYPE: ClassVar[str] = "history_page"
    #: As `message` frames, by rising `seq`.
    messages: Sequence[Message]
    #: Whether there are older ones.
    more: bool
    #: Which session.
    session_id: str
    #: When.
    timestamp: str
    #: What it answers.
    ref: str | int | float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Invited:
    """A user may join a session: to its owner, and to that user on all their connections."""

    TYPE: ClassVar[str] = "invited"
    #: Who let them: a name.
    by: str
    #: Which session.
    session_id: str
    #: Its title.
    session_title: str
    #: When.
    timestamp: str
    #: Who may join.
    username: str
    #: What it answers.
    ref: str | int | float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that is stored. An assistant's comes whole, after its deltas."""

    TYPE: ClassVar[str] = "message"
    #: The text.
    content: str
    #: Its id.
    id: str
    #: Who speaks.
    role: Literal["user", "assistant", "system"]
    #: Its place in the session: without gaps, from 1.
    seq: int
    #: Which session.
    session_id: str
    #: When it was stored.
    timestamp: str
    #: The author's own id of it, if they gave one.
    client_id: str | None = None
    #: Why it ended, of an assistant's message.
    finish_reason: Literal["stop", "length", "stopped", "error"] | None = None
    #: The message that it follows or answers; the first one has none.
    parent: str | None = None
    #: How fast it was, of an assistant's message that comes live and not from storage.
    timings: Timings | None = None
    #: What it took, of an assistant's message.
    usage: Usage | None = None
    #: The author's user id, of a user's message.
    user_id: str | None = None
    #: The author's name, of a user's message.
    username: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDelta:
    """A piece of the answer that is being generated."""

    TYPE: ClassVar[str] = "message_delta"
    #: The piece: whole characters.
    content: str
    #: The id that the answer will have.
    message_id: str
    #: Where the piece begins, in bytes (UTF-8) of the answer: as many as the pieces before it have.
    offset: int
    #: Which session.
    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that the client should know, and that went wrong for nobody."""

    TYPE: ClassVar[str] = "notice"
    #: For programs: a `NoticeCode`; new ones may come.
    code: str
    #: For people.
    message: str
    #: When.
    timestamp: str
    #: What it answers.
    ref: str | int | float | None = None
    #: Which session it is about, if it is about one.
    session_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """The answer to `ping`."""

    TYPE: ClassVar[str] = "pong"
    #: When.
    timestamp: str
    #: What it answers.
    ref: str | int | float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Another user has come into the session or is gone."""

    TYPE: ClassVar[str] = "presence"
    #: What they did.
    event: Literal["joined", "left"]
    #: Who is in the session now, each user once.
    participants: Sequence[Participant]
    #: Which session.
    session_id: str
    #: When.
    timestamp: str
    #: Who.
    user_id: str
    #: Their name.
    username: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDeleted:
    """The session and all its messages are gone, and nobody is in it any more."""

    TYPE: ClassVar[str] = "session_deleted"
    #: Which session.
    session_id: str
    #: When.
    timestamp: str
    #: What it answers, if the asker is not in the session.
    ref: str | int | float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnded:
    """The session takes no more messages, and nobody is in it any more. Its messages are kept."""

    TYPE: ClassVar[str] = "session_ended"
    #: "Session ended by NAME".
    message: str
    #: Which session.
    session_id: str
    #: When.
    timestamp: str
    #: What it answers, if the asker is not in the session.
    ref: str | int | float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionJoined:
    """The connection is in a session now: the answer to `create_session` and `join_session`."""

    TYPE: ClassVar[str] = "session_joined"
    #: This life of the server: to be told in `since`.
    epoch: str
    #: The user id of the session's owner.
    owner: str
    #: Who is in the session, each user once, this one included.
    participants: Sequence[Participant]
    #: Whether exactly what the client misses follows. Otherwise it must take the history anew.
    resumed: bool
    #: The `seq` of the session's last message, 0 when it has none.
    seq: int
    #: Which session.
    session_id: str
    #: Its title.
    session_title: str
    #: When.
    timestamp: str
    #: The message from which the conversation goes on, if there is one.
    last_message: str | None = None
    #: What it answers.
    ref: str | int | float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLeft:
    """The connection has left the session: the answer to `leave_session`."""

    TYPE: ClassVar[str] = "session_left"
    #: Which session.
    session_id: str
    #: When.
    timestamp: str
    #: What it answers.
    ref: str | int | float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionList:
    """The user's sessions: the answer to `list_sessions`."""

    TYPE: ClassVar[str] = "session_list"
    #: The most recently active first.
    sessions: Sequence[SessionEntry]
    #: When.
    timestamp: str
    #: What it answers.
    ref: str | int | float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRenamed:
    """A session has another title."""

    TYPE: ClassVar[str] = "session_renamed"
    #: Which session.
    session_id: str
    #: Its title from now on.
    session_title: str
    #: When.
    timestamp: str
    #: What it answers, if the asker is not in the session.
    ref: str | int | float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Typing:
    """Somebody types or has stopped: the assistant (`role`, `message_id`) or a user (`user_id`, `username`)."""

    TYPE: ClassVar[str] = "typing"
    #: Whether they type.
    is_typing: bool
    #: Which session.
    session_id: str
    #: When.
    timestamp: str
    #: The id that the answer will have, if it gets one.
    message_id: str | None = None
    #: The message that is answered, when the answer begins.
    parent: str | None = None
    #: `assistant`.
    role: Literal["user", "assistant", "system"] | None = None
    #: Which user.
    user_id: str | None = None
    #: Their name.
    username: str | None = None


#: Any frame of the server.
ServerFrame = (
    Ack
    | CommandResponse
    | ConnectionEstablished
    | Error
    | HistoryPage
    | Invited
    | Message
    | MessageDelta
    | Notice
    | Pong
    | Presence
    | SessionDeleted
    | SessionEnded
    | SessionJoined
    | SessionLeft
    | SessionList
    | SessionRenamed
    | Typing
)

#: Frames by their `type`.
SERVER_FRAMES: Mapping[str, type[Any]] = {
    Ack.TYPE: Ack,
    CommandResponse.TYPE: CommandResponse,
    ConnectionEstablished.TYPE: ConnectionEstablished,
    Error.TYPE: Error,
    HistoryPage.TYPE: HistoryPage,
    Invited.TYPE: Invited,
    Message.TYPE: Message,
    MessageDelta.TYPE: MessageDelta,
    Notice.TYPE: Notice,
    Pong.TYPE: Pong,
    Presence.TYPE: Presence,
    SessionDeleted.TYPE: SessionDeleted,
    SessionEnded.TYPE: SessionEnded,
    SessionJoined.TYPE: SessionJoined,
    SessionLeft.TYPE: SessionLeft,
    SessionList.TYPE: SessionList,
    SessionRenamed.TYPE: SessionRenamed,
    Typing.TYPE: Typing,
}

#: Which fields hold objects, or lists of them.
NESTED: Mapping[type[Any], Mapping[str, type[Any]]] = {
    HistoryPage: {"messages": Message},
    Message: {"timings": Timings, "usage": Usage},
    Presence: {"participants": Participant},
    SessionJoined: {"participants": Participant},
    SessionList: {"sessions": SessionEntry},
}
