"""The client: one connection at a time, opened again as often as it breaks."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import ssl
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from .asking import Pending, reply
from .backoff import Backoff
from .decode import decode
from .errors import CauserieError, Closed, ConnectFailed, Disconnected, Refused, SessionOver
from .events import Event, Listener, State, StateChanged
from .frames import (
    CommandResponse,
    ConnectionEstablished,
    Error,
    Notice,
    Pong,
    ServerFrame,
    SessionEntry,
    SessionJoined,
    SessionList,
)
from .refusals import refusal
from .requests import Authenticate, ChatMessage, ClientFrame, CreateSession, JoinSession, ListSessions, Ping
from .session import Session

log = logging.getLogger("causerie")
T = TypeVar("T")

#: A token, or what gives a fresh one whenever it is asked: before each connection, and when the old one is about to expire.
Token = str | Callable[[], str | Awaitable[str]]

#: The largest frame taken: a page of history with every character escaped, and its surroundings.
FRAME_BYTES = 4 * 1024 * 1024
#: Seconds for a handshake with the server; it gives up one that takes longer.
HANDSHAKE = 10.0
#: Statuses of HTTP after which the same handshake may succeed: the server's own 503, and those of gateways before it.
PASSING = {408, 425, 429, 500, 502, 503, 504}
#: Closes after which nothing changes by connecting again, though they lie below 4500.
FINAL = {1002, 1003, 1007, 1009, 1010}
#: How many times in a row a token provider's tokens may be refused.
REFUSED_TOKENS = 3


class Client:
    """A connection to a server, which comes back by itself. See :func:`connect`."""

    def __init__(self, url: str, token: Token, *, backoff: Backoff, patience: float, open_timeout: float) -> None:
        self._url = endpoint(url)
        self._token = token
        self._backoff = backoff
        self._patience = patience
        self._open_timeout = open_timeout
        self._identity: ConnectionEstablished | None = None
        self._state: State = "connecting"
        self._dead: CauserieError | None = None
        self._socket: ClientConnection | None = None
        self._ready = False
        self._ready_once = False
        self._session: Session | None = None
        self._pending: dict[int, Pending] = {}
        self._next_id = 0
        self._last_error: Refused | None = None
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending = asyncio.Lock()
        self._established: asyncio.Future[None] | None = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._resyncing: asyncio.Task[None] | None = None
        self._resync_delay = 0.0
        self._running = asyncio.create_task(self._run(), name="causerie client")

    # -- what it is

    @property
    def user_id(self) -> str:
        """The token's `sub`."""
        return self._identity.user_id if self._identity else ""

    @property
    def username(self) -> str:
        """The name that others see."""
        return self._identity.username if self._identity else ""

    @property
    def role(self) -> str:
        """``"user"`` or ``"admin"``."""
        return self._identity.role if self._identity else "user"

    @property
    def state(self) -> State:
        """Whether there is a connection at the moment."""
        return self._state

    @property
    def session(self) -> Session | None:
        """The session that the client is in."""
        return self._session

    def events(self) -> AsyncIterator[Event]:
        """Every frame that answers no request, and every change of the connection, from now on.

        Ends when the client is closed; raises what ended it otherwise, and :class:`~causerie.Overrun` for who reads too slowly.
        """
        return self._subscribe(None)

    # -- what can be done

    async def create_session(self, title: str | None = None, *, system: str | None = None) -> Session:
        """Creates a session and enters it, leaving the one before. ``system`` are instructions to the model.

        If the connection is lost just then it is created once more, and an empty one may stay behind.
        """
        frame: CreateSession = {"type": "create_session"}
        if title is not None:
            frame["title"] = title
        if system is not None:
            frame["system"] = system
        return await self._request(frame, self._entered)

    async def join(self, session_id: str) -> Session:
        """Enters a session, leaving the one before. What was said before is in its ``history``."""
        frame: JoinSession = {"type": "join_session", "session_id": session_id}
        return await self._request(frame, self._entered)

    async def sessions(self, limit: int | None = None) -> list[SessionEntry]:
        """The sessions that one is a member of or invited to, the most recently active first."""
        frame: ListSessions = {"type": "list_sessions"}
        if limit is not None:
            frame["limit"] = limit
        return list((await self._request(frame, reply(SessionList))).sessions)

    async def command(self, text: str) -> CommandResponse:
        """A command such as ``/help``. Raises :class:`~causerie.Disconnected` if the connection is lost meanwhile."""
        if not text.lstrip().startswith("/"):
            raise ValueError("a command begins with /")
        frame: ChatMessage = {"type": "chat_message", "message": text}
        return await self._request(frame, reply(CommandResponse), repeat=False)

    async def ping(self) -> str:
        """Asks for the server's time."""
        frame: Ping = {"type": "ping"}
        return (await self._request(frame, reply(Pong))).timestamp

    async def authenticate(self, token: str) -> None:
        """Gives the server a fresh token of the same user, for this connection and those to come.

        Not needed with a token provider, which is asked in time.
        """
        frame: Authenticate = {"type": "authenticate", "token": token}
        await self._request(frame, reply(Notice))
        if isinstance(self._token, str):
            self._token = token

    async def close(self) -> None:
        """Closes the connection for good. What was acknowledged is stored; an answer under way goes on without us."""
        if self._dead is None:
            self._die(Closed("the client was closed"))
        self._running.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(self._running, *self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    # -- requests

    async def _request(
        self,
        frame: ClientFrame,
        accept: Callable[[ServerFrame], T],
        *,
        session: Session | None = None,
        same: Callable[[ServerFrame], bool] | None = None,
        repeat: bool = True,
    ) -> T:
        """Sends a frame and waits for its answer, over lost connections and refusals that pass."""
        now = asyncio.get_running_loop().time
        deadline = now() + self._patience
        pause = Backoff(first=0.1, most=5.0)
        while True:
            try:
                return await self._once(frame, accept, session, same, repeat)
            except Refused as error:
                delay = pause.next((error.retry_after_ms or 0) / 1000)
                if not error.retryable or now() + delay > deadline:
                    raise
                log.debug("%s: sent again in %.2f s", error.code, delay)
                await asyncio.sleep(delay)

    async def _once(
        self,
        frame: ClientFrame,
        accept: Callable[[ServerFrame], T],
        session: Session | None,
        same: Callable[[ServerFrame], bool] | None,
        repeat: bool,
        urgent: bool = False,
    ) -> T:
        if self._dead is not None:
            raise self._dead
        if session is not None and session._over is not None:
            raise session._over
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        pending = Pending(frame, accept, future, session, same, repeat)
        self._next_id += 1
        number = self._next_id
        self._pending[number] = pending
        try:
            if urgent or self._ready:
                await self._transmit(number, pending)
            return await future
        finally:
            self._pending.pop(number, None)

    async def _transmit(self, number: int, pending: Pending) -> None:
        async with self._sending:
            if pending.sent or self._socket is None:
                return
            pending.sent = True
            await self._write({**pending.frame, "id": number})

    async def _write(self, frame: object) -> None:
        if self._socket is None:
            return
        try:
            await self._socket.send(json.dumps(frame, ensure_ascii=False, separators=(",", ":")))
        except ConnectionClosed:
            pass  # Whoever reads notices, and what waits for an answer is dealt with there.

    async def _tell(self, frame: ClientFrame) -> None:
        """Sends what is not answered, if there is a connection."""
        if self._dead is not None:
            raise self._dead
        if self._ready:
            self._next_id += 1
            await self._write({**frame, "id": self._next_id})

    # -- frames

    def _take(self, frame: ServerFrame) -> None:
        ref = getattr(frame, "ref", None)
        if ref is not None:
            pending = self._pending.get(ref) if isinstance(ref, int) else None
            if pending is None:
                log.debug("an answer that nobody waits for: %s", frame)
            elif isinstance(frame, Error):
                pending.fail(refusal(frame))
            else:
                pending.answer(frame)
            return
        if isinstance(frame, ConnectionEstablished):
            self._identity = frame
            if self._established is not None and not self._established.done():
                self._established.set_result(None)
        elif isinstance(frame, Error) and frame.session_id is None:
            self._last_error = refusal(frame)
        elif isinstance(frame, Notice) and frame.code == "token_expiring" and not isinstance(self._token, str):
            self._spawn(self._renew())
        session = self._session
        if session is not None and getattr(frame, "session_id", None) == session.id and not session._take(frame):
            return
        for pending in list(self._pending.values()):
            if pending.same is not None and pending.same(frame):
                pending.answer(frame)
                break
        self._emit(frame)

    def _entered(self, frame: ServerFrame) -> Session:
        joined = reply(SessionJoined)(frame)
        if self._session is not None:
            self._session._end(SessionOver("another session was joined"))
        self._session = Session(self, joined)
        return self._session

    def _session_over(self, session: Session, why: CauserieError) -> None:
        if self._session is session:
            self._session = None
        for pending in list(self._pending.values()):
            if pending.session is session:
                pending.fail(why)
        for listener in list(self._listeners):
            if listener.session is session:
                # After the frame that says so has been told.
                asyncio.get_running_loop().call_soon(listener.end, None)

    def _subscribe(self, session: Session | None) -> AsyncIterator[Event]:
        listener = Listener(session)
        if self._dead is not None or (session is not None and session.over):
            listener.end(None if isinstance(self._dead, Closed) else self._dead)
        self._listeners.add(listener)
        return listener

    def _emit(self, event: Event) -> None:
        about = getattr(event, "session_id", None)
        for listener in list(self._listeners):
            if listener.session is None or isinstance(event, StateChanged) or listener.session.id == about:
                listener.tell(event)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("in the background: %r", error)

    async def _renew(self) -> None:
        await self.authenticate(await self._fresh_token())

    async def _fresh_token(self) -> str:
        if isinstance(self._token, str):
            return self._token
        token = self._token()
        return await token if inspect.isawaitable(token) else token

    # -- the connection

    async def _run(self) -> None:
        refused = 0
        started = asyncio.get_running_loop().time()
        while True:
            self._last_error = None
            at_least = 0.0
            try:
                cause, code = await self._connection()
            except CauserieError as error:
                return self._die(error)
            except InvalidStatus as error:
                status = error.response.status_code
                failed = ConnectFailed(f"the server answers the handshake with status {status}", status)
                if status not in PASSING:
                    return self._die(failed)
                after = error.response.headers.get("Retry-After", "")
                at_least = float(after) if after.isdigit() else 0.0
                cause, code = failed, None
            except ssl.SSLCertVerificationError as error:
                return self._die(ConnectFailed(f"the server's certificate is not trusted: {error}"))
            except (OSError, TimeoutError, EOFError, InvalidHandshake) as error:
                cause, code = ConnectFailed(f"{self._url} cannot be reached: {error}"), None
            except Exception as error:  # noqa: BLE001: a token provider may raise anything, and everybody who waits must be told
                failed = ConnectFailed(f"no token, or no connection: {error!r}")
                failed.__cause__ = error
                return self._die(failed)
            if code == 1008:
                refused += 1
                if isinstance(self._token, str) or refused >= REFUSED_TOKENS:
                    return self._die(cause)
            elif code in FINAL or (code is not None and 4500 <= code < 5000):
                return self._die(cause)
            elif self._ready_once:
                refused = 0
            delay = self._backoff.next(at_least)
            if not self._opened.done() and asyncio.get_running_loop().time() + delay > started + self._open_timeout:
                return self._die(cause)
            self._become("reconnecting" if self._opened.done() else "connecting", str(cause))
            await asyncio.sleep(delay)

    async def _connection(self) -> tuple[CauserieError, int | None]:
        """One connection, from its handshake to its end: why it ended, and with which code."""
        self._ready_once = False
        token = await self._fresh_token()
        socket = await open_websocket(
            self._url,
            additional_headers={"Authorization": f"Bearer {token}"},
            compression=None,
            open_timeout=HANDSHAKE,
            max_size=FRAME_BYTES,
            close_timeout=2.0,
        )
        self._established = asyncio.get_running_loop().create_future()
        self._socket = socket
        reading = asyncio.create_task(self._read(socket))
        living = asyncio.create_task(self._live())
        try:
            await asyncio.wait({reading, living}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done() and living.exception() is not None:
                reading.cancel()
                raise living.exception()  # type: ignore[misc]
            await reading
            code = socket.close_code if socket.close_code != 1006 else None
            said = f"{code} {socket.close_reason or ''}".strip() if code else "without a word"
            cause = self._last_error or Disconnected(f"the connection ended: {said}", code)
            return cause, code
        finally:
            self._ready = False
            self._socket = None
            for task in (reading, living, self._resyncing):
                if task is not None:
                    task.cancel()
            if self._session is not None:
                self._session._muted = True
            for pending in list(self._pending.values()):
                if not pending.repeat and pending.sent:
                    pending.fail(Disconnected("the connection was lost before the server answered"))
                pending.sent = False
            await socket.close(1000)

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for text in socket:
                frame = decode(text) if isinstance(text, str) else None
                if frame is not None:
                    self._take(frame)
                    if getattr(frame, "ref", None) is not None:
                        # Whoever asked goes on before more is taken that came in one piece with it: to listen, for one.
                        await asyncio.sleep(0)
        except ConnectionClosed:
            pass

    async def _live(self) -> None:
        """Comes back to where the connection before was, and sends what waits."""
        assert self._established is not None, "set before this begins"
        async with asyncio.timeout(HANDSHAKE):
            await self._established
        await self._rejoin()
        self._ready = self._ready_once = True
        self._backoff.reset()
        self._become("open", None)
        if not self._opened.done():
            self._opened.set_result(None)
        for number, pending in list(self._pending.items()):
            await self._transmit(number, pending)

    async def _rejoin(self) -> None:
        session = self._session
        pause = Backoff(first=0.1, most=5.0)
        again = False
        while session is not None and session._over is None:
            frame: JoinSession = {"type": "join_session", "session_id": session.id, "since": session._since()}

            def accept(answer: ServerFrame, session: Session = session, again: bool = again) -> bool:
                joined = reply(SessionJoined)(answer)
                done = session._rejoined(joined)
                if not again:
                    self._emit(joined)
                return done

            try:
                if await self._once(frame, accept, session, None, repeat=False, urgent=True):
                    return
                again = True
            except Refused as error:
                if not error.retryable:
                    return session._end(error)
                await asyncio.sleep(pause.next((error.retry_after_ms or 0) / 1000))

    def _resync(self, session: Session, delay: float = 0.0) -> None:
        """Something is missing: lets the server begin anew at the place where we are."""
        session._muted = True
        self._resync_delay = delay
        if self._resyncing is None or self._resyncing.done():
            self._resyncing = self._spawn(self._rejoin_until_told(session))

    async def _rejoin_until_told(self, session: Session) -> None:
        # Once more if what came right behind the answer has a gap again.
        while session._muted and not session.over:
            await asyncio.sleep(self._resync_delay)
            await self._rejoin()

    def _become(self, state: State, cause: str | None) -> None:
        if state != self._state:
            self._state = state
            self._emit(StateChanged(state, cause))

    def _die(self, error: CauserieError) -> None:
        self._dead = error
        self._become("closed", str(error))
        if self._session is not None:
            self._session._end(error)
        for pending in list(self._pending.values()):
            pending.fail(error)
        for listener in list(self._listeners):
            listener.end(None if isinstance(error, Closed) else error)
        if not self._opened.done():
            self._opened.set_exception(error)
            # Whoever opened it may have gone.
            self._opened.exception()


class Connecting:
    """What :func:`connect` returns: to be awaited, or entered with ``async with``."""

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
        self._client: Client | None = None

    async def _open(self) -> Client:
        self._client = client = self._make()
        try:
            await client._opened
        except BaseException:
            await client.close()
            raise
        return client

    def __await__(self) -> Generator[Any, None, Client]:
        return self._open().__await__()

    async def __aenter__(self) -> Client:
        return await self._open()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._client is not None:
            await self._client.close()


def connect(
    url: str,
    token: Token,
    *,
    backoff: tuple[float, float] = (0.5, 30.0),
    patience: float = 30.0,
    open_timeout: float = 10.0,
) -> Connecting:
    """Connects to a server, ``http(s)://HOST:PORT`` or the whole ``ws(s)://HOST:PORT/ws/chat``.

    ``token`` is a token, or a function, async or not, that gives a fresh one: it is called before each connection, and when a
    token is about to expire. ``backoff`` are the seconds between attempts, the first and the longest. ``patience`` is for how
    many seconds a request that the server refuses for now, as with ``rate_limited``, is tried again before that is raised.
    ``open_timeout`` is for how long the first connection is tried.

    Raises :class:`~causerie.ConnectFailed`, or the :class:`~causerie.Refused` that the token met with.
    """
    return Connecting(lambda: Client(url, token, backoff=Backoff(*backoff), patience=patience, open_timeout=open_timeout))


def endpoint(url: str) -> str:
    """The WebSocket's address of a server."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.netloc:
        raise ValueError(f"{url!r} is no address of a server, such as http://localhost:8080")
    return urlunsplit((scheme, parts.netloc, parts.path if parts.path.strip("/") else "/ws/chat", parts.query, ""))
