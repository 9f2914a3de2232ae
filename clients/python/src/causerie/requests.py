"""What clients send. Made from docs/schema by `UPDATE=1 cargo test -p causerie-tests --test packages`; do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NotRequired, TypedDict


class Sampling(TypedDict):
    """How the client wants its answer sampled. What is left out is the server's to choose."""

    #: At most this many tokens.
    max_tokens: NotRequired[int]
    #: Only tokens with at least this part of the likeliest one's probability.
    min_p: NotRequired[float]
    #: Divides the logits of tokens seen lately; 1 changes nothing.
    repetition_penalty: NotRequired[float]
    #: The same seed, prompt and sampling give the same text.
    seed: NotRequired[int]
    #: Text that ends the answer and is not part of it.
    stop: NotRequired[str | Sequence[str]]
    #: 0 is greedy; higher is more random.
    temperature: NotRequired[float]
    #: Only the k likeliest tokens; 0 for all.
    top_k: NotRequired[int]
    #: Only the likeliest tokens that together have this probability.
    top_p: NotRequired[float]


class Since(TypedDict):
    """The last thing that a client knows of a session: from there it wants to go on."""

    #: As `session_joined` told it. Another one is never resumed.
    epoch: str
    #: The `seq` of the last `message` that the client has, or that `session_joined` told if it has none since.
    seq: int
    #: The answer that the client has deltas of, and not yet the `message`. Counts only together with `offset`.
    message_id: NotRequired[str]
    #: How many bytes (UTF-8) of that answer the client has. Counts only together with `message_id`.
    offset: NotRequired[int]


class Authenticate(TypedDict):
    """Gives a fresh token, before the connection's old one expires."""

    type: Literal["authenticate"]
    #: The token, of the same user.
    token: str
    #: The client's own id of the frame.
    id: NotRequired[str | int | float]


class ChatMessage(TypedDict):
    """Says something, or runs a command if it begins with `/`."""

    type: Literal["chat_message"]
    #: The text; not only white space.
    message: str
    #: The client's own id of the message: repeating it is safe.
    client_id: NotRequired[str]
    #: The client's own id of the frame.
    id: NotRequired[str | int | float]
    #: The message that this one follows; otherwise the conversation's last one.
    parent: NotRequired[str]
    #: How its answer is to be sampled.
    sampling: NotRequired[Sampling]


class CreateSession(TypedDict):
    """Makes a session and enters it."""

    type: Literal["create_session"]
    #: The client's own id of the frame.
    id: NotRequired[str | int | float]
    #: Instructions to the model, for the whole session.
    system: NotRequired[str]
    #: Shown to people; "New chat" where there is none.
    title: NotRequired[str]


class DeleteSession(TypedDict):
    """Deletes a session and all its messages, for good; for its owner."""

    type: Literal["delete_session"]
    #: The client's own id of the frame.
    id: NotRequired[str | int | float]
    #: Which session; otherwise the one that the connection is in.
    session_id: NotRequired[str]


class EditMessage(TypedDict):
    """Says something else beside an earlier message of one's own."""

    type: Literal["edit_message"]
    #: The text; not only white space. A `/` at its beginning is text.
    message: str
    #: The message to stand beside: the new one gets the same `parent`.
    message_id: str
    #: The client's own id of the new message: repeating it is safe.
    client_id: NotRequired[str]
    #: The client's own id of the frame.
    id: NotRequired[str | int | float]
    #: How its answer is to be sampled.
    sampling: NotRequired[Sampling]


class History(TypedDict):
    """Asks for a page of the session's messages."""

    type: Literal["history"]
    #: Only messages with a smaller `seq`; otherwise the newest.
    before: NotRequired[int]
    #: The client's own id of the frame.
    id: NotRequired[str | int | float]
    #: At most this many messages; more than the server's limit counts as the limit, 0 as 1.
    limit: NotRequired[int]


class Invite(TypedDict):
    """Lets a user join the session; for its owner."""

    type: Literal["invite"]
    #: Whom; they need not have been here before.
    username: str
    #: The client's own id of the frame.
    id: NotRequired[str | int | float]


class JoinSession(TypedDict):
    """Enters a session; a connection is in one at a time. With `since` it goes on exactly where it was."""

    type: Literal["join_session"]
    #: Which session.
    session_id: str
    #: The client's own id of the frame.
    id: NotRequired[str | int | float]
    #: What the client knows of it already.
    since: NotRequired[Since]


class LeaveSession(TypedDict):
    """Leaves the session."""

    type: Literal["leave_session"]
    #: The client's own id of the frame.
    id: NotRequired[str | int | float]


class ListSessions(TypedDict):
    """Asks for the user's sessions, the most recently active first."""

    type: Literal["list_sessions"]
    #: The client's own id of the frame.
    id: NotRequired[str | int | float]
    #: At most this many; more than the server's limit counts as the limit.
    limit: NotRequired[int]


class Ping(TypedDict):
    """Asks for a `pong`."""

    type: Literal["ping"]
    #: The client's own id of the frame.
    id: NotRequired[str | int | float]


class Regenerate(TypedDict):
    """Asks for another answer beside the one there is."""

    type: Literal["regenerate"]
    #: The client's own id of the frame.
    id: NotRequired[str | int | float]
    #: An answer to be made anew, or a user's message to be answered; otherwise the conversation's last message.
    message_id: NotRequired[str]
    #: How the answer is to be sampled.
    sampling: NotRequired[Sampling]


class RenameSession(TypedDict):
    """Gives a session another title; for its owner."""

    type: Literal["rename_session"]
    #: The new title; made one line.
    title: str
    #: The client's own id of the frame.
    id: NotRequired[str | int | float]
    #: Which session; otherwise the one that the connection is in.
    session_id: NotRequired[str]


class StopGeneration(TypedDict):
    """Stops the answer that is being generated; its text so far is kept."""

    type: Literal["stop_generation"]
    #: The client's own id of the frame.
    id: NotRequired[str | int | float]
    #: Only if this is the answer under way.
    message_id: NotRequired[str]


class Typing(TypedDict):
    """Tells the others that this user types, or has stopped."""

    type: Literal["typing"]
    #: Whether they type.
    is_typing: bool
    #: The client's own id of the frame.
    id: NotRequired[str | int | float]


#: Any frame of a client.
ClientFrame = (
    Authenticate
    | ChatMessage
    | CreateSession
    | DeleteSession
    | EditMessage
    | History
    | Invite
    | JoinSession
    | LeaveSession
    | ListSessions
    | Ping
    | Regenerate
    | RenameSession
    | StopGeneration
    | Typing
)
