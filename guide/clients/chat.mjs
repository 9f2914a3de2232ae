// A whole client: node chat.mjs ws://HOST:PORT/ws/chat TOKEN QUESTION. It survives whatever happens to its connection.

const [url, token, text] = process.argv.slice(2);
const question = { type: "chat_message", message: text, client_id: crypto.randomUUID() };
const since = {}; // where we are: epoch, seq, and how much we have of which answer
let session;

function fail(why) {
  console.error(why);
  process.exit(1);
}

/** One connection, until it breaks; true when the answer is whole. */
function talk() {
  return new Promise((resolve) => {
    const socket = new WebSocket(url, ["causerie.v1", `bearer.${token}`]);
    const send = (frame) => socket.send(JSON.stringify(frame));
    const again = () => ({ type: "join_session", session_id: session, since });
    socket.onopen = () => send(session ? again() : { type: "create_session", title: text.slice(0, 40) });
    socket.onerror = socket.onclose = () => resolve(false);
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.type === "session_joined") {
        if (session && !frame.resumed) fail("the server was started anew: ask again");
        session = frame.session_id;
        since.epoch = frame.epoch;
        since.seq ??= frame.seq;
        send(question); // stored once, however often it is sent
      } else if (frame.type === "message_delta") {
        process.stdout.write(frame.content);
        since.message_id = frame.message_id;
        since.offset = frame.offset + new TextEncoder().encode(frame.content).length;
      } else if (frame.type === "message") {
        since.seq = frame.seq;
        if (frame.role !== "assistant") return; // if it was done before we came back, there are no pieces:
        console.log(new TextDecoder().decode(new TextEncoder().encode(frame.content).slice(since.offset ?? 0)));
        socket.onclose = () => resolve(true);
        socket.close();
      } else if (frame.type === "error") {
        fail(`${frame.code}: ${frame.message}`);
      }
    };
  });
}

while (!(await talk())) await new Promise((resolve) => setTimeout(resolve, 200 + 800 * Math.random()));
