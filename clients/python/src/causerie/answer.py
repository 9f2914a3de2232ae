"""An answer of the model, while it comes and after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from .errors import CauserieError, ProtocolError
from .frames import Message

if TYPE_CHECKING:
    from .session import Session


class Answer:
    """An answer: iterate over it for its pieces, or wait for the whole :meth:`message`.

    The pieces, put together, are the message's ``content``, whatever happens to the connection meanwhile. It may be
    iterated over several times and by several tasks; each gets all pieces from the first one on.
    """

    def __init__(self, session: Session, question: str | None, epoch: str) -> None:
        self._session = session
        self._question = question
        self._id: str | None = None
        self._epoch = epoch
        self._pieces: list[str] = []
        self._bytes = 0
        self._message: Message | None = None
        self._error: CauserieError | None = None
        self._stop_wanted = False
        self._news = asyncio.Event()

    @property
    def id(self) -> str | None:
        """The id that the message has or will have; None until the model begins."""
        return self._id

    @property
    def question(self) -> str | None:
        """The id of the message that is answered."""
        return self._question

    @property
    def text(self) -> str:
        """What has come so far. Of an answer that failed it means nothing any more."""
        return "".join(self._pieces)

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._message is not None or self._error is not None

    async def __aiter__(self) -> AsyncIterator[str]:
        """The pieces, as they come.

        Raises the :class:`~causerie.Refused` that stands in the place of an answer (what came of it is to be dropped),
        :class:`~causerie.AnswerLost` if the server was started anew in the midst of it, or what ended the client.
        """
        at = 0
        while True:
            while at < len(self._pieces):
                at += 1
                yield self._pieces[at - 1]
            if self._error is not None:
                raise self._error
            if self._message is not None:
                return
            await self._news.wait()

    async def message(self) -> Message:
        """Waits for its end: the whole message, with ``finish_reason`` and ``usage``. Raises as iterating does."""
        while not self.done:
            await self._news.wait()
        if self._error is not None:
            raise self._error
        assert self._message is not None, "it is done, and did not fail"
        return self._message

    async def stop(self) -> None:
        """Asks the model to stop, also one that has not begun yet. The text so far stays: it ends as ``stopped``."""
        if not self.done:
            self._stop_wanted = True
            await self._session._stop(self)

    # What follows is the session's to call.

    def _feed(self, offset: int, content: str) -> bool:
        """Takes a piece. False: there is a gap before it."""
        if offset > self._bytes:
            return False
        if offset < self._bytes:
            # Told again from an earlier place: the same text up to where we are.
            raw = content.encode()
            known = self.text.encode()[offset : offset + len(raw)]
            if raw[: len(known)] != known:
                self._fail(ProtocolError(f"the answer {self._id} was told again with another text"))
                return True
            content = raw[len(known) :].decode()
        if content:
            self._pieces.append(content)
            self._bytes += len(content.encode())
            self._wake()
        return True

    def _finish(self, message: Message) -> None:
        text = self.text
        if not message.content.startswith(text):
            self._fail(ProtocolError(f"the answer {message.id} is not what its pieces were"))
            return
        if len(message.content) > len(text):
            self._pieces.append(message.content[len(text) :])
        self._id = message.id
        self._message = message
        self._wake()

    def _fail(self, error: CauserieError) -> None:
        if not self.done:
            self._error = error
            self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
