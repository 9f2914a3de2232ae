"""What a client tells whoever listens."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .errors import Overrun
from .frames import ServerFrame

if TYPE_CHECKING:
    from .session import Session

#: How many events may wait for a listener: some ten thousand tokens. One that is further behind gets `Overrun`.
EVENTS = 16_384

State = Literal["connecting", "open", "reconnecting", "closed"]


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The connection has come or gone."""

    state: State
    #: Why, for people, when it has gone.
    cause: str | None = None


Event = ServerFrame | StateChanged


class Listener:
    """An async iterator over events, from the moment on in which it was made."""

    def __init__(self, session: Session | None) -> None:
        self.session = session
        self._events: deque[Event] = deque()
        self._ended = False
        self._error: Exception | None = None
        self._news = asyncio.Event()

    def tell(self, event: Event) -> None:
        """One more."""
        if self._ended:
            return
        if len(self._events) >= EVENTS:
            self.end(Overrun(f"{EVENTS} events wait to be read"))
            return
        self._events.append(event)
        self._news.set()

    def end(self, error: Exception | None) -> None:
        """No more will come."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._news.set()

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._events.popleft()
