// client.mjs ws|built-in URL TOKEN
//
// Causerie's protocol as `ws` or Node's own WebSocket speaks it. Prints a line for each thing that works; then `ready to
// drain`, and waits for the server to be stopped. Ends with status 0 only if all was as it must be.

import { Chat, assert, drained, equal, scenario } from './scenario.mjs';

const [which, url, token] = process.argv.slice(2);
const library = which === 'ws' ? (await import('ws')).WebSocket : globalThis.WebSocket;
assert(library, 'this Node has no WebSocket of its own');

// `ws` can pull the plug; the standard's sockets can only be closed.
const breakOff = (socket) => (socket.terminate ? socket.terminate() : socket.close());
const { connect, parts } = scenario(url, token, (...args) => new library(...args), breakOff);

/** What only `ws` can do: headers, pings, fragments, invalid text. */
async function more() {
  const header = new Chat(new library(url, { headers: { Authorization: `Bearer ${token}` } }));
  await header.expect('connection_established');
  equal(header.socket.extensions, '');

  const pong = new Promise((resolve) => header.socket.once('pong', resolve));
  header.socket.ping('anybody there?');
  equal((await pong).toString(), 'anybody there?');

  const bytes = Buffer.from(JSON.stringify({ type: 'ping', id: 'grün' }));
  for (let i = 0; i <= bytes.length; i += 1) {
    header.socket.send(bytes.subarray(0, i), { binary: false, fin: false });
    header.socket.ping();
    header.socket.send(bytes.subarray(i), { binary: false, fin: true });
    equal((await header.expect('pong')).ref, 'grün');
  }
  header.socket.send(Buffer.from([0x22, 0xff, 0x22]), { binary: false });
  equal((await header.ends()).code, 1007);
}

for (const [name, part] of Object.entries(which === 'ws' ? { ...parts, 'what only ws can do': more } : parts)) {
  await part();
  console.log(name);
}
const last = await connect();
console.log('ready to drain');
await drained(last);
console.log('drained');
