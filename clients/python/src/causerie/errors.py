"""What can go wrong. The refusals, one for each code of the protocol, are in :mod:`causerie.refusals`."""

from __future__ import annotations

from typing import ClassVar

from .frames import Error


class CauserieError(Exception):
    """Everything that this package raises."""


class ProtocolError(CauserieError):
    """The server sent what the protocol does not know, or says that we did."""


class ConnectFailed(CauserieError):
    """The server could not be reached, or refused the handshake.

    ``status`` is that of HTTP, if there was an answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Disconnected(CauserieError):
    """The connection is gone.

    Of a request: it was lost in the midst of it, and since it must not be sent twice nobody knows whether it arrived. Of
    a client: for good, since the server does not want it back. ``code`` is that of the WebSocket's close, if there was one.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class Closed(CauserieError):
    """The client was closed, by its owner."""


class SessionOver(CauserieError):
    """The session was left, ended or deleted: this :class:`~causerie.Session` is of no more use."""


class AnswerLost(CauserieError):
    """The server was started anew, or has forgotten the answer: ``session.regenerate(answer.question)`` asks again."""


class Overrun(CauserieError):
    """Who iterates over events is too far behind; the limit is :data:`causerie.client.EVENTS`."""


class Refused(CauserieError):
    """The server said `error`. Each code has a class of its own; one that is not known yet comes as this."""

    CODE: ClassVar[str] = ""

    def __init__(self, frame: Error) -> None:
        detail = f" ({frame.detail})" if frame.detail else ""
        super().__init__(f"{frame.message}{detail}")
        self.frame = frame

    @property
    def code(self) -> str:
        """The code, as it stands in the protocol."""
        return self.frame.code

    @property
    def retryable(self) -> bool:
        """Whether the same may succeed later."""
        return self.frame.retryable

    @property
    def retry_after_ms(self) -> int | None:
        """When, in milliseconds, if the server said so."""
        return self.frame.retry_after_ms
