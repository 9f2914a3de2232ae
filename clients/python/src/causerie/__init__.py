"""Client of Causerie, the shared AI chat.

::

    async with causerie.connect("http://localhost:8080", token) as chat:
        session = await chat.create_session("Tea")
        async for piece in await session.send("Which tea at night?"):
            print(piece, end="", flush=True)

Frames are in :mod:`causerie.frames`, the server's refusals, one class for each code, in :mod:`causerie.refusals`.
"""

from . import frames, refusals
from .answer import Answer
from .client import Client, Token, connect
from .errors import (
    AnswerLost,
    CauserieError,
    Closed,
    ConnectFailed,
    Disconnected,
    Overrun,
    ProtocolError,
    Refused,
    SessionOver,
)
from .events import Event, State, StateChanged
from .frames import Message
from .requests import Sampling
from .session import Session

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "AnswerLost",
    "CauserieError",
    "Client",
    "Closed",
    "ConnectFailed",
    "Disconnected",
    "Event",
    "Message",
    "Overrun",
    "ProtocolError",
    "Refused",
    "Sampling",
    "Session",
    "SessionOver",
    "State",
    "StateChanged",
    "Token",
    "connect",
    "frames",
    "refusals",
]
