"""A session that the client is in."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from .answer import Answer
from .asking import reply
from .errors import AnswerLost, CauserieError, SessionOver
from .frames import (
    Ack,
    CommandResponse,
    Error,
    HistoryPage,
    Invited,
    Message,
    MessageDelta,
    Notice,
    Participant,
    Presence,
    ServerFrame,
    SessionDeleted,
    SessionEnded,
    SessionJoined,
    SessionLeft,
    SessionRenamed,
    Typing,
)
from .refusals import SessionNotFound, refusal
from .requests import (
    ChatMessage,
    DeleteSession,
    EditMessage,
    History,
    Invite,
    LeaveSession,
    Regenerate,
    RenameSession,
    Sampling,
    Since,
    StopGeneration,
)
from .requests import Typing as SendTyping

if TYPE_CHECKING:
    from .client import Client
    from .events import Event

#: How often the server is asked for messages that its storage does not give, before the gap is accepted.
GAP_TRIES = 5
#: Seconds by which each further attempt waits longer.
GAP_DELAY = 1.0


class Session:
    """A session that the client is in, until it leaves it or joins another one. Made by the client's ``create_session`` and ``join``.

    It goes on over lost connections by itself: every message comes once, in order, and the text of an answer goes on at the
    very byte.
    """

    def __init__(self, client: Client, joined: SessionJoined) -> None:
        self._client = client
        self._id = joined.session_id
        self._title = joined.session_title
        self._owner = joined.owner
        self._participants: Sequence[Participant] = joined.participants
        self._epoch = joined.epoch
        self._seq = joined.seq
        self._over: CauserieError | None = None
        # Frames are passed over until the server has begun anew at the place where we are.
        self._muted = False
        # After the server was started anew: up to which message it tells what was missed.
        self._catch_up: int | None = None
        # How often the server has been asked in vain for messages that are missing.
        self._gaps = 0
        # The answer under way, ours or somebody else's.
        self._current: Answer | None = None
        # Answers that have not begun yet, in the order in which they were asked for.
        self._waiting: list[Answer] = []

    # -- what it is

    @property
    def id(self) -> str:
        """Its id, to be joined by."""
        return self._id

    @property
    def title(self) -> str:
        """Its title."""
        return self._title

    @property
    def owner(self) -> str:
        """The user id of its owner."""
        return self._owner

    @property
    def participants(self) -> Sequence[Participant]:
        """Who is in it now."""
        return self._participants

    @property
    def seq(self) -> int:
        """The ``seq`` of the last message that was told."""
        return self._seq

    @property
    def over(self) -> bool:
        """Whether it was left, ended or deleted."""
        return self._over is not None

    @property
    def answer(self) -> Answer | None:
        """The answer under way, whoever asked for it."""
        return self._current

    def events(self) -> AsyncIterator[Event]:
        """Every frame of this session from now on, each message once and in order, until the session is over.

        Called as soon as the session is there, it begins right behind the joining: what is older :meth:`history` tells.
        A ``SessionJoined`` whose ``resumed`` is false says that the server was started anew: drop what is shown of an
        unfinished answer. Messages that were missed follow all the same; only if its ``seq`` is smaller than that of the last
        message has the server lost some, as after a restored backup: then read the history again.
        """
        return self._client._subscribe(self)

    # -- what can be done

    async def send(
        self,
        text: str,
        *,
        parent: str | None = None,
        sampling: Sampling | None = None,
        client_id: str | None = None,
    ) -> Answer:
        """Says something; returns when it is stored. The answer comes by iterating over what is returned.

        It is stored exactly once, however often the connection is lost meanwhile. That holds over restarts of this program
        too, if it keeps its own ``client_id`` and sends it again.
        """
        if text.lstrip().startswith("/"):
            raise ValueError("a text that begins with / is a command: see Client.command")
        own = client_id or str(uuid.uuid4())
        frame: ChatMessage = {"type": "chat_message", "message": text, "client_id": own}
        if parent is not None:
            frame["parent"] = parent
        if sampling is not None:
            frame["sampling"] = sampling
        return await self._client._request(frame, self._asked, session=self, same=self._is_own(own))

    async def edit(
        self,
        message_id: str,
        text: str,
        *,
        sampling: Sampling | None = None,
        client_id: str | None = None,
    ) -> Answer:
        """Says one's own message differently: the new one stands beside the old one, and is answered. Stored exactly once."""
        own = client_id or str(uuid.uuid4())
        frame: EditMessage = {"type": "edit_message", "message_id": message_id, "message": text, "client_id": own}
        if sampling is not None:
            frame["sampling"] = sampling
        return await self._client._request(frame, self._asked, session=self, same=self._is_own(own))

    async def regenerate(self, message_id: str | None = None, *, sampling: Sampling | None = None) -> Answer:
        """Asks for another answer: to a message, in the place of an answer, or to the last message.

        Raises :class:`~causerie.Disconnected` if the connection is lost before the server says that it has it.
        """
        frame: Regenerate = {"type": "regenerate"}
        if message_id is not None:
            frame["message_id"] = message_id
        if sampling is not None:
            frame["sampling"] = sampling
        return await self._client._request(frame, self._asked_again, session=self, repeat=False)

    async def stop(self) -> None:
        """Stops the answer under way, whoever asked for it. Nothing happens if there is none."""
        if self._current is not None:
            await self._current.stop()

    async def command(self, text: str) -> CommandResponse:
        """A command such as ``/status``, of this session."""
        return await self._client.command(text)

    async def history(self, *, before: int | None = None, limit: int | None = None) -> HistoryPage:
        """A page of messages, by rising ``seq``: the newest ones, or those before a ``seq``."""
        frame: History = {"type": "history"}
        if before is not None:
            frame["before"] = before
        if limit is not None:
            frame["limit"] = limit
        return await self._client._request(frame, reply(HistoryPage), session=self)

    async def typing(self, is_typing: bool = True) -> None:
        """Tells the others that one types. It ends by itself after six seconds; not told while there is no connection."""
        frame: SendTyping = {"type": "typing", "is_typing": is_typing}
        await self._client._tell(frame)

    async def invite(self, username: str) -> Invited:
        """Lets somebody in. The owner's to do."""
        frame: Invite = {"type": "invite", "username": username}
        return await self._client._request(frame, reply(Invited), session=self)

    async def rename(self, title: str) -> str:
        """Gives it another title, and returns it as the server keeps it. The owner's to do."""
        frame: RenameSession = {"type": "rename_session", "title": title, "session_id": self._id}

        # Whoever is in the session is told as everybody else, without `ref`.
        def told(said: ServerFrame) -> bool:
            return isinstance(said, SessionRenamed) and said.session_id == self._id

        renamed = await self._client._request(frame, reply(SessionRenamed), session=self, same=told)
        return renamed.session_title

    async def delete(self) -> None:
        """Deletes it, with all its messages. The owner's to do."""
        frame: DeleteSession = {"type": "delete_session", "session_id": self._id}
        try:
            # Being told that it is over, as everybody in it is, is the answer.
            await self._client._request(frame, lambda _: None, session=self)
        except (SessionNotFound, SessionOver):
            pass  # It was deleted before the connection was lost.

    async def leave(self) -> None:
        """Leaves it; one stays a member and can come back."""
        frame: LeaveSession = {"type": "leave_session"}
        try:
            await self._client._request(frame, lambda _: None, session=self)
        except SessionOver:
            pass
        self._end(SessionOver("the session was left"))

    # -- the client's to call

    def _since(self) -> Since:
        since: Since = {"epoch": self._epoch, "seq": self._seq}
        answer = self._current
        # Pieces of an earlier life of the server are none that this one has sent.
        if answer is not None and answer._bytes and answer._id is not None and answer._epoch == self._epoch:
            since["message_id"] = answer._id
            since["offset"] = answer._bytes
        return since

    def _rejoined(self, frame: SessionJoined) -> bool:
        """Takes the answer to a join with `since`. False: join once more, with what is known now."""
        self._title, self._owner, self._participants = frame.session_title, frame.owner, frame.participants
        anew = frame.epoch != self._epoch
        self._epoch = frame.epoch
        if anew:
            self._catch_up = frame.seq
        if not frame.resumed and self._seq < frame.seq:
            # The server cannot go on within its new life from our old one, but tells what comes after a message we have.
            self._muted = True
            return False
        self._muted = False
        if self._seq > frame.seq:
            self._seq = frame.seq
        self._caught_up()
        return True

    def _take(self, frame: ServerFrame) -> bool:
        """Takes a frame of this session. False: it is to be passed over, since it was told before or comes too early."""
        if self._muted:
            return False
        match frame:
            case Message():
                if frame.seq <= self._seq:
                    return False
                if frame.seq > self._seq + 1 and self._ask_for_the_gap():
                    return False
                self._seq = frame.seq
                self._gaps = 0
                if frame.role == "assistant":
                    self._answered(frame)
                self._caught_up()
            case MessageDelta():
                if self._current is None or self._current._id != frame.message_id:
                    self._begin(frame.message_id, None)
                assert self._current is not None, "it has just begun"
                if not self._current._feed(frame.offset, frame.content):
                    self._client._resync(self)
                    return False
            case Typing(role="assistant", is_typing=True, message_id=str(message_id)):
                self._begin(message_id, frame.parent)
            case Typing(role="assistant", is_typing=False):
                for answer in self._taken([answer for answer in self._unfinished() if answer._id == frame.message_id]):
                    answer._fail(AnswerLost("the answer ended without a message"))
            case Notice(code="messages_missing"):
                if self._ask_for_the_gap():
                    return False
            case Error(ref=None):
                self._failed(frame)
            case Presence():
                self._participants = frame.participants
            case SessionRenamed():
                self._title = frame.session_title
            case SessionEnded():
                self._end(SessionOver(frame.message))
            case SessionDeleted():
                self._end(SessionOver("the session was deleted"))
            case SessionLeft():
                self._end(SessionOver("the session was left"))
            case _:
                pass
        return True

    def _ask_for_the_gap(self) -> bool:
        """Asks the server to tell again from where we are; False: it was asked often enough, and cannot."""
        self._gaps += 1
        if self._gaps > GAP_TRIES:
            return False
        self._client._resync(self, delay=GAP_DELAY * (self._gaps - 1))
        return True

    def _end(self, why: CauserieError) -> None:
        if self._over is not None:
            return
        self._over = why
        for answer in self._unfinished():
            answer._fail(why)
        self._current = None
        self._waiting = []
        self._client._session_over(self, why)

    async def _stop(self, answer: Answer) -> None:
        # One that has not begun is stopped when it does, and after a lost connection the wish is told again.
        if answer._id is None or self._over is not None:
            return
        frame: StopGeneration = {"type": "stop_generation", "message_id": answer._id}
        await self._client._tell(frame)

    # -- answers

    def _unfinished(self) -> list[Answer]:
        return self._waiting if self._current is None else [self._current, *self._waiting]

    def _taken(self, ended: list[Answer]) -> list[Answer]:
        """The same answers, which are under way and waited for no longer."""
        if self._current in ended:
            self._current = None
        self._waiting = [answer for answer in self._waiting if answer not in ended]
        return ended

    def _asked(self, frame: ServerFrame) -> Answer:
        """Of a message of one's own that is stored: its `ack`, or the message itself."""
        assert isinstance(frame, Ack | Message), "nothing else answers a message"
        question = frame.message_id if isinstance(frame, Ack) else frame.id
        known = next((answer for answer in self._unfinished() if answer._question == question), None)
        if known is not None:
            return known
        answer = Answer(self, question, self._epoch)
        self._waiting.append(answer)
        if isinstance(frame, Ack) and frame.seq <= self._seq:
            # It was stored long ago, and so perhaps was its answer.
            self._client._spawn(self._look_up(answer, frame.seq))
        return answer

    def _asked_again(self, frame: ServerFrame) -> Answer:
        assert isinstance(frame, Ack), "nothing else answers `regenerate`"
        answer = Answer(self, frame.message_id, self._epoch)
        self._waiting.append(answer)
        return answer

    async def _look_up(self, answer: Answer, seq: int) -> None:
        """Finds the answer to a message of long ago, or lets it fail."""
        found: Message | None = None
        before: int | None = None
        try:
            while before is None or before > seq:
                page = await self.history(before=before, limit=100)
                for message in page.messages:
                    if message.parent == answer._question and message.role == "assistant":
                        found = message if found is None or message.seq < found.seq else found
                if not page.more or not page.messages:
                    break
                before = page.messages[0].seq
        except CauserieError as error:
            answer._fail(error)
            return
        if answer._id is None and answer in self._waiting and (found is not None or self._current is None):
            self._waiting.remove(answer)
            if found is not None:
                answer._finish(found)
            else:
                answer._fail(AnswerLost("the message was stored before, and has no answer"))

    def _begin(self, message_id: str, question: str | None) -> None:
        current = self._current
        if current is not None and current._id == message_id:
            if current._question is None:
                current._question = question
        else:
            if current is not None:
                # Behind a lost connection the answer under way is told first, and then how earlier ones ended.
                self._waiting.insert(0, current)
            known = (answer for answer in self._waiting if answer._id == message_id)
            fresh = (answer for answer in self._waiting if question is not None and answer._id is None)
            asked = (answer for answer in fresh if answer._question == question)
            current = next(known, None) or next(asked, None) or Answer(self, question, self._epoch)
            self._taken([current])
            current._question = current._question or question
            current._id = message_id
            current._epoch = self._epoch
            self._current = current
        if current._stop_wanted:
            self._client._spawn(self._stop(current))

    def _answered(self, message: Message) -> None:
        ended = [answer for answer in self._unfinished() if answer._id == message.id]
        # One whose beginning was not told, or not of which message it was the answer, as after a lost connection.
        if all(answer._question is None for answer in ended):
            fresh = (answer for answer in self._waiting if answer._id is None)
            ended += [answer for answer in fresh if answer._question == message.parent][:1]
        for answer in self._taken(ended):
            answer._finish(message)

    def _failed(self, frame: Error) -> None:
        about = (answer for answer in self._unfinished() if frame.message_id is not None and answer._id == frame.message_id)
        failed = next(about, self._current)
        ended = [] if failed is None else [failed]
        if failed is None or failed._question is None:
            ended += [answer for answer in self._waiting if answer._id is None][:1]
        for answer in self._taken(ended):
            answer._fail(refusal(frame))

    def _caught_up(self) -> None:
        """Once all is told that was stored: answers of an earlier life of the server that are not among it will not come."""
        if self._catch_up is None or self._seq < self._catch_up:
            return
        self._catch_up = None
        lost = AnswerLost("the server was started anew before the answer was stored")
        if self._current is not None and self._current._epoch != self._epoch:
            self._current._fail(lost)
            self._current = None
        for answer in self._waiting:
            if answer._epoch != self._epoch:
                answer._fail(lost)
        self._waiting = [answer for answer in self._waiting if not answer.done]

    def _is_own(self, client_id: str) -> Callable[[ServerFrame], bool]:
        def same(frame: ServerFrame) -> bool:
            return isinstance(frame, Message) and frame.client_id == client_id and frame.user_id == self._client.user_id

        return same
