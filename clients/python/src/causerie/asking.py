"""Requests that wait for what answers them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import ProtocolError
from .frames import ServerFrame
from .requests import ClientFrame

if TYPE_CHECKING:
    from .session import Session

T = TypeVar("T")


@dataclass(eq=False)
class Pending:
    """A request under way."""

    frame: ClientFrame
    #: Makes the result of what answers, at once and before the next frame is looked at.
    accept: Callable[[ServerFrame], Any]
    future: asyncio.Future[Any]
    #: The session that it is about.
    session: Session | None
    #: What says the same as the answer, though it does not carry the `ref`.
    same: Callable[[ServerFrame], bool] | None
    #: Whether it may be sent again after a lost connection.
    repeat: bool
    sent: bool = False

    def answer(self, frame: ServerFrame) -> None:
        """Takes the answer."""
        if self.future.done():
            return  # Whoever asked has gone.
        try:
            self.future.set_result(self.accept(frame))
        except ProtocolError as error:
            self.future.set_exception(error)

    def fail(self, error: Exception) -> None:
        """There is no answer."""
        if not self.future.done():
            self.future.set_exception(error)


def reply(kind: type[T]) -> Callable[[ServerFrame], T]:
    """Accepts answers of one kind."""

    def accept(frame: ServerFrame) -> T:
        if not isinstance(frame, kind):
            raise ProtocolError(f"the server answered with `{frame.TYPE}` and not with {kind.__name__}")
        return frame

    return accept
