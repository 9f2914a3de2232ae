"""What the Python package is put through.

    program.py SCENARIO URL TOKEN [MORE...]

Prints a line of JSON for the test to compare, and lines that tell the test when something is to be done. Ends with status 0
only if all was as it must be.
"""

import asyncio
import json
import sys

import causerie
from causerie import refusals
from causerie.frames import Invited, Message, MessageDelta, Presence, SessionJoined, Typing

SCENARIO, URL, TOKEN, *MORE = sys.argv[1:]
# Far more than it takes.
WITHIN = 100
QUICK = (0.01, 0.05)


def say(line):
    print(line, flush=True)


async def until(events, wanted):
    async for event in events:
        if wanted(event):
            return event
    raise AssertionError("the events ended first")


async def raises(kind, work):
    try:
        await work
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected")


def short(tokens):
    return {"temperature": 0, "max_tokens": tokens}


async def whole(answer):
    """Reads an answer as a stream, and checks it against the message that ends it."""
    pieces = [piece async for piece in answer]
    message = await answer.message()
    assert "".join(pieces) == message.content == answer.text, (pieces, message.content)
    assert message.id == answer.id
    return pieces, message


async def watch(session, seen, resumed=True):
    """Every message of a session, and of each answer the text that its pieces make."""
    pieces = {}
    async for event in session.events():
        if isinstance(event, MessageDelta):
            begun = pieces.setdefault(event.message_id, b"")
            assert event.offset == len(begun), (event.offset, len(begun))
            pieces[event.message_id] = begun + event.content.encode()
        elif isinstance(event, Message):
            text = pieces.pop(event.id, None)
            assert text is None or event.content.encode().startswith(text), (text, event.content)
            seen.append([event.seq, event.id, event.content])
        elif isinstance(event, SessionJoined):
            assert event.resumed or not resumed, "what the client said of itself was wrong"


async def tour():
    async with causerie.connect(URL, lambda: TOKEN) as chat:
        assert chat.username == "ada" and chat.role == "user" and chat.state == "open"
        await chat.ping()
        session = await chat.create_session("Tea", system="You are brief.")
        assert session.title == "Tea" and session.owner == chat.user_id
        assert [person.username for person in session.participants] == ["ada"]

        pieces, message = await whole(await session.send("Name three teas.", sampling=short(24)))
        assert len(pieces) > 1 and message.usage.completion_tokens == 24 and message.finish_reason == "length"
        page = await session.history()
        assert [(m.seq, m.role) for m in page.messages] == [(1, "user"), (2, "assistant")] and not page.more
        assert [m.seq for m in (await session.history(before=2, limit=1)).messages] == [1]

        again = await session.regenerate(sampling=short(8))
        assert (await again.message()).parent == page.messages[0].id
        edited = await session.edit(page.messages[0].id, "Name a coffee.", sampling=short(8))
        assert (await edited.message()).parent == edited.question != page.messages[0].id

        # The same client id is the same message, and has the same answer.
        first = await session.send("Hello", client_id="c-1", sampling=short(4))
        told = await first.message()
        second = await session.send("Hello", client_id="c-1")
        assert second.question == first.question and (await second.message()).id == told.id

        long = await session.send("Count from one to a thousand.", sampling={"max_tokens": 2000})
        async for _ in long:
            await long.stop()
            break
        assert (await long.message()).finish_reason == "stopped"
        await long.stop()

        assert await session.rename("Green\ntea") == "Green tea" == session.title
        assert "/help" in (await chat.command("/help")).content
        entries = await chat.sessions()
        assert [(e.session_id, e.session_title) for e in entries] == [(session.id, "Green tea")]

        async with causerie.connect(URL, MORE[0]) as guest:
            await raises(refusals.SessionNotFound, guest.join(session.id))
            events = guest.events()
            invited = await session.invite("bob")
            assert invited.username == "bob"
            assert (await until(events, lambda e: isinstance(e, Invited))).session_id == session.id
            told = session.events()
            joined = await guest.join(session.id)
            await until(told, lambda e: isinstance(e, Presence) and e.event == "joined")
            await joined.typing()
            typing = await until(told, lambda e: isinstance(e, Typing) and e.user_id == guest.user_id)
            assert typing.is_typing and typing.username == "bob"
            error = await raises(refusals.NotOwner, joined.rename("Mine"))
            assert error.code == "not_owner" and not error.retryable and error.retry_after_ms is None
            await joined.leave()
            await raises(causerie.SessionOver, joined.send("Am I in?"))
            await until(told, lambda e: isinstance(e, Presence) and e.event == "left")
        await raises(causerie.Closed, guest.sessions())

        await raises(refusals.MessageTooLong, session.send("x" * 40_000))
        await raises(refusals.MessageNotFound, session.regenerate("00000000-0000-4000-8000-000000000000"))
        # A flood is refused here and there, and gets through: the client waits as long as it is told.
        await asyncio.gather(*(chat.ping() for _ in range(400)))
        over = session.events()
        await session.delete()
        assert [type(e).__name__ for e in [e async for e in over]] == ["SessionDeleted"] and session.over
        await raises(refusals.SessionNotFound, chat.join(session.id))
        assert await chat.sessions() == []
        events = chat.events()
    assert chat.state == "closed"
    assert [e.state async for e in events] == ["closed"]

    error = await raises(refusals.AuthenticationFailed, causerie.connect(URL, TOKEN + "x")._open())
    assert error.code == "authentication_failed"
    await raises(causerie.ConnectFailed, causerie.connect("http://127.0.0.1:1", TOKEN, open_timeout=0.1)._open())
    error = await raises(causerie.ConnectFailed, causerie.connect(URL + "/nowhere", TOKEN)._open())
    assert error.status == 404, error.status


async def renew():
    """Two tokens: one that expires at once, and one that does not."""
    given = []

    async def provider():
        given.append(MORE[len(given) and -1])
        return given[-1]

    async with causerie.connect(URL, provider) as chat:
        events = chat.events()
        await asyncio.sleep(5)
        assert len(given) == 2, given
        await chat.ping()
        await chat.close()
        assert not [e for e in [e async for e in events] if getattr(e, "state", "") == "reconnecting"]


async def cuts():
    """Questions through a proxy that cuts; what came is compared by the test."""
    async with causerie.connect(URL, TOKEN, backoff=QUICK, open_timeout=60) as chat:
        session = await chat.create_session("Cuts")
        seen = []
        watching = asyncio.create_task(watch(session, seen))
        await asyncio.sleep(0)
        answers = []
        for number in range(int(MORE[0])):
            text = f"Écris {number + 3} vers en français sur l'été, la forêt et le thé 🍵."
            answer = await session.send(text, sampling={"max_tokens": 100, "seed": number, "temperature": 1})
            _, message = await whole(answer)
            answers.append([answer.question, message.id, message.content])
        last = session.seq
        while not watching.done() and (not seen or seen[-1][0] < last):
            await asyncio.sleep(0.01)
        assert not watching.done() or watching.result()
        watching.cancel()
        say(json.dumps({"session": session.id, "answers": answers, "seen": seen}))


async def pair():
    """One of two in one session: says some things, hears everything."""
    async with causerie.connect(URL, TOKEN, backoff=QUICK, open_timeout=60) as chat:
        if MORE[0] == "new":
            session = await chat.create_session("Two")
            await session.invite("bob")
        else:
            session = await chat.join(MORE[0])
        seen = []
        watching = asyncio.create_task(watch(session, seen))
        joined = session.seq
        await asyncio.sleep(0)
        # A join that is cut off is asked for again, and by then the other one may have begun.
        page = await session.history(limit=100)
        seen[:0] = [[message.seq, message.id, message.content] for message in page.messages if message.seq <= joined]
        say(f"session {session.id}")
        while len(session.participants) < 2:
            await asyncio.sleep(0.01)
        for number in range(4):
            await whole(await session.send(f"{chat.username} asks: what is {number}?", sampling=short(40)))
        while not watching.done() and len(seen) < 16:
            await asyncio.sleep(0.01)
        assert not watching.done() or watching.result()
        watching.cancel()
        say(json.dumps({"session": session.id, "seen": seen}))


async def restart():
    """The server dies in the midst of an answer, and another one comes; then one that is asked to end."""
    async with causerie.connect(URL, TOKEN, backoff=QUICK) as chat:
        session = await chat.create_session("Restart")
        seen = []
        watching = asyncio.create_task(watch(session, seen, resumed=False))
        joins = session.events()
        await whole(await session.send("Hello", sampling=short(8)))
        answer = await session.send("Count from one to a thousand.", sampling={"max_tokens": 3000})
        async for _ in answer:
            break
        say("kill")
        await raises(causerie.AnswerLost, answer.message())
        joined = await until(joins, lambda e: isinstance(e, SessionJoined))
        assert not joined.resumed
        answer = await session.regenerate(answer.question, sampling={"max_tokens": 3000})
        # Its message is stored by the server that ends, and told by the next one.
        async for _ in answer:
            break
        say("stop")
        _, message = await whole(answer)
        assert message.finish_reason in ("stopped", "length", "stop"), message
        _, message = await whole(await session.send("Are you there?", sampling=short(8)))
        while not watching.done() and (not seen or seen[-1][0] < message.seq):
            await asyncio.sleep(0.01)
        assert not watching.done() or watching.result()
        watching.cancel()
        assert [seq for seq, _, _ in seen] == list(range(1, message.seq + 1)), seen
        say(json.dumps({"session": session.id, "seen": seen}))


async def main():
    async with asyncio.timeout(WITHIN):
        await {"tour": tour, "renew": renew, "cuts": cuts, "pair": pair, "restart": restart}[SCENARIO]()
    say("well")


asyncio.run(main())
