"""A whole client: python3 chat.py ws://HOST:PORT/ws/chat TOKEN QUESTION. It survives whatever happens to its connection."""

import asyncio, json, random, sys, uuid
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

url, token, text = sys.argv[1:]
question = {"type": "chat_message", "message": text, "client_id": str(uuid.uuid4())}
session = None
since = {}  # where we are: epoch, seq, and how much we have of which answer


async def talk(socket):
    """One connection, until it breaks; True when the answer is whole."""
    global session
    again = {"type": "join_session", "session_id": session, "since": since}
    await socket.send(json.dumps(again if session else {"type": "create_session", "title": text[:40]}))
    async for line in socket:
        frame = json.loads(line)
        match frame["type"]:
            case "session_joined":
                if session and not frame["resumed"]:
                    sys.exit("the server was started anew: ask again")
                session, since["epoch"] = frame["session_id"], frame["epoch"]
                since.setdefault("seq", frame["seq"])
                await socket.send(json.dumps(question))  # stored once, however often it is sent
            case "message_delta":
                print(frame["content"], end="", flush=True)
                end = frame["offset"] + len(frame["content"].encode())
                since.update(message_id=frame["message_id"], offset=end)
            case "message":
                since["seq"] = frame["seq"]
                if frame["role"] == "assistant":  # if it was done before we came back, there are no pieces
                    print(frame["content"].encode()[since.get("offset", 0) :].decode())
                    return True
            case "error":
                sys.exit(f"{frame['code']}: {frame['message']}")


async def main():
    done = False
    while not done:
        try:
            async with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
                done = await talk(socket)
        except (OSError, InvalidHandshake, ConnectionClosed, EOFError):
            await asyncio.sleep(random.uniform(0.2, 1))


asyncio.run(main())
