"""Causerie's protocol as the Python library `websockets` speaks it.

    client.py URL TOKEN

URL is ws://HOST:PORT/ws/chat. Prints a line for each thing that works; then `ready to drain`, and waits for the server
to be stopped. Ends with status 0 only if all was as it must be.
"""

import json
import socket
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

URL, TOKEN = sys.argv[1:]

# How long to wait for what must happen; far more than it takes.
WITHIN = 60


class Chat:
    """A connection whose greeting has been read."""

    def __init__(self, url=URL, **options):
        self.ws = connect(url, proxy=None, open_timeout=WITHIN, **options)
        self.greeting = self.expect("connection_established")

    @staticmethod
    def with_protocol():
        return Chat(subprotocols=["causerie.v1", f"bearer.{TOKEN}"])

    def send(self, **frame):
        self.ws.send(json.dumps(frame))

    def receive(self):
        frame = self.ws.recv(timeout=WITHIN)
        assert isinstance(frame, str), "all frames are text"
        return json.loads(frame)

    def where(self, wanted):
        """The next frame that is wanted; others are passed over."""
        while True:
            frame = self.receive()
            if wanted(frame):
                return frame

    def expect(self, kind):
        return self.where(lambda frame: frame["type"] == kind)

    def ends(self):
        """The code and reason of the server's close, whatever comes before it."""
        try:
            while True:
                self.receive()
        except ConnectionClosed as closed:
            assert closed.rcvd is not None, f"no close frame: {closed}"
            return closed.rcvd.code, closed.rcvd.reason

    def break_off(self):
        """The network is gone: no close frame, nothing."""
        self.ws.socket.shutdown(socket.SHUT_RDWR)
        self.ws.socket.close()


class Answer:
    """An assistant's message put together from its deltas: no byte missing, none twice."""

    def __init__(self):
        self.id, self.text = None, b""

    def take(self, delta):
        self.id = self.id or delta["message_id"]
        assert delta["message_id"] == self.id, delta
        assert delta["offset"] == len(self.text), (delta, len(self.text))
        self.text += delta["content"].encode()

    def read(self, chat, deltas=None):
        """Reads so many deltas, or to the end; the whole message then."""
        while deltas is None or deltas > 0:
            frame = chat.receive()
            if frame["type"] == "message_delta":
                self.take(frame)
                deltas = deltas and deltas - 1
            elif frame["type"] == "message" and frame["role"] == "assistant":
                assert frame["content"].encode() == self.text, (frame, self.text)
                return frame


def is_answer(frame):
    return frame["type"] == "message" and frame["role"] == "assistant"


def tokens_in_all_three_places():
    chat = Chat.with_protocol()
    assert chat.ws.subprotocol == "causerie.v1", chat.ws.subprotocol
    assert chat.greeting["message"].startswith("Connected as "), chat.greeting
    chat.ws.close()
    chat = Chat(f"{URL}?token={TOKEN}")
    assert chat.ws.subprotocol is None
    chat.ws.close()
    chat = Chat(additional_headers={"Authorization": f"Bearer {TOKEN}"})
    # Compression was offered, as it always is by this library, and must not be accepted.
    assert not chat.ws.protocol.extensions, chat.ws.protocol.extensions
    chat.ws.close()


def a_bad_token_is_told_and_closed():
    with connect(f"{URL}?token=rubbish", proxy=None) as ws:
        error = json.loads(ws.recv(timeout=WITHIN))
        assert (error["type"], error["code"]) == ("error", "authentication_failed"), error
        try:
            ws.recv(timeout=WITHIN)
            raise AssertionError("still open")
        except ConnectionClosed as closed:
            assert closed.rcvd.code == 1008 and closed.rcvd.reason, closed


def pings_and_fragments():
    chat = Chat.with_protocol()
    chat.ws.ping(b"anybody there?").wait(WITHIN)
    chat.send(type="ping", id="whole")
    assert chat.expect("pong")["ref"] == "whole"
    # An iterable goes out as fragments, here in the middle of a character.
    text = json.dumps({"type": "ping", "id": "grün"}, ensure_ascii=False)
    chat.ws.send(iter(list(text)))
    assert chat.expect("pong")["ref"] == "grün"
    chat.ws.send("{")
    assert chat.expect("error")["code"] == "invalid_json"
    chat.ws.send(b"{}")
    assert chat.expect("error")["code"] == "binary_frame"
    chat.ws.send("x" * 300_000)
    assert chat.ends()[0] == 1009


def a_close_is_answered():
    for code, reason in [(1000, "done"), (1001, ""), (4001, "grün")]:
        chat = Chat.with_protocol()
        chat.ws.close(code, reason)
        protocol = chat.ws.protocol
        assert (protocol.close_code, protocol.close_reason) == (code, reason), protocol


def a_conversation():
    chat = Chat.with_protocol()
    chat.send(type="create_session", title="Python", id=1)
    joined = chat.expect("session_joined")
    assert (joined["ref"], joined["session_title"]) == (1, "Python"), joined
    chat.send(type="chat_message", message="Name three colours.", client_id="a", sampling={"max_tokens": 40})
    kinds, answer = [], Answer()
    while kinds[-1:] != ["typing False"]:
        frame = chat.receive()
        kind = frame["type"]
        if kind == "message_delta":
            answer.take(frame)
        if is_answer(frame):
            assert frame["content"].encode() == answer.text
        if kind in ("message", "typing"):
            kinds.append(f"{kind} {frame.get('role') if kind == 'message' else frame['is_typing']}")
    assert kinds == ["message user", "typing True", "message assistant", "typing False"], kinds

    chat.send(type="chat_message", message="Write a long story.", client_id="b", sampling={"max_tokens": 2000})
    stopped = Answer()
    stopped.read(chat, deltas=3)
    chat.send(type="stop_generation")
    whole = stopped.read(chat)
    assert whole["finish_reason"] == "stopped", whole
    chat.ws.close()


def an_answer_survives_a_broken_connection():
    watcher, chat = Chat.with_protocol(), Chat.with_protocol()
    chat.send(type="create_session", title="Resumed")
    joined = chat.expect("session_joined")
    session, epoch = joined["session_id"], joined["epoch"]
    watcher.send(type="join_session", session_id=session)
    watcher.expect("session_joined")
    sampling = {"max_tokens": 120, "temperature": 0}
    chat.send(type="chat_message", message="Tell me about the sea, at length.", sampling=sampling)
    seq = chat.where(lambda frame: frame["type"] == "message" and frame["role"] == "user")["seq"]
    answer = Answer()
    for deltas in (5, 7, 1):
        answer.read(chat, deltas)
        chat.break_off()
        chat = Chat.with_protocol()
        since = {"epoch": epoch, "seq": seq, "message_id": answer.id, "offset": len(answer.text)}
        chat.send(type="join_session", session_id=session, since=since)
        assert chat.expect("session_joined")["resumed"] is True
    whole = answer.read(chat)
    watched = Answer()
    assert watched.read(watcher) == whole
    assert watched.text == answer.text

    # Another epoch is no lie: everything is to be read anew.
    chat.send(type="join_session", session_id=session, since={"epoch": "another", "seq": 1})
    assert chat.expect("session_joined")["resumed"] is False
    chat.send(type="history")
    page = chat.expect("history_page")
    assert [message["role"] for message in page["messages"]] == ["user", "assistant"], page
    chat.ws.close()
    watcher.ws.close()


def a_drain_is_told():
    chat = Chat.with_protocol()
    print("ready to drain", flush=True)
    notice = chat.expect("notice")
    assert notice["code"] == "server_draining", notice
    assert chat.ends() == (1001, "The server is stopping")


for part in (
    tokens_in_all_three_places,
    a_bad_token_is_told_and_closed,
    pings_and_fragments,
    a_close_is_answered,
    a_conversation,
    an_answer_survives_a_broken_connection,
    a_drain_is_told,
):
    part()
    print(part.__name__, flush=True)
