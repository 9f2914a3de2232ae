// One WebSocket that is always there or on its way back.

/** Milliseconds without a frame after which the server is asked for a sign of life. */
const QUIET = 25_000;
/** Milliseconds it has to give one, and to accept a connection. */
const PATIENCE = 10_000;
/** Reconnecting: the first wait is below `FIRST`, doubling up to `LONGEST` milliseconds. */
const FIRST = 500;
const LONGEST = 15_000;

/** Milliseconds to wait before the try after `failures` failed ones: exponential, jittered so that tabs do not come all at once. */
export function backoff(failures, random) {
  const ceiling = Math.min(LONGEST, FIRST * 2 ** Math.min(failures, 10));
  return ceiling / 2 + (random * ceiling) / 2;
}

/** What a close code asks for: to sign in, to stay away, or to come back. */
export function afterClose(code) {
  if (code === 1008) return 'sign-in';
  return code >= 4500 && code <= 4999 ? 'stay-away' : 'reconnect';
}

/**
 * Keeps a connection open until `close()`.
 *
 * `events.frame(object)` for each frame; `events.state(state)` with `{kind}` of `connecting`, `open` (authenticated),
 * `waiting` (with `until`, milliseconds), `sign-in` or `stay-away` (with `reason`: both final until `open()` is called).
 */
export class Connection {
  #socket = null;
  #timer = 0;
  #failures = 0;
  #reason = '';

  constructor(url, token, events) {
    this.url = url;
    this.token = token;
    this.events = events;
    this.ready = false;
    addEventListener('online', () => this.#timer && !this.#socket && this.open());
  }

  /** Connects now, whatever was planned. */
  open() {
    this.#drop();
    this.#reason = '';
    this.events.state({ kind: 'connecting' });
    const socket = new WebSocket(this.url, ['causerie.v1', `bearer.${this.token()}`]);
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    this.#wait(PATIENCE, () => this.#lost(1006, 'The server does not answer.'));
  }

  /** Closes for good. */
  close() {
    this.#drop();
  }

  /** Sends a frame; false when there is no connection to send it on. */
  send(frame) {
    if (!this.ready || this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  #received(data) {
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return; // not a frame of this protocol; the next one may be
    }
    if (frame.type === 'connection_established') {
      this.ready = true;
      this.#failures = 0;
      this.events.state({ kind: 'open' });
    } else if (frame.type === 'error' && !this.ready) {
      this.#reason = frame.message; // the close that follows says what to do
      return;
    }
    if (this.ready) this.#listen();
    this.events.frame(frame);
  }

  /** A quiet connection may be a dead one: ask, and give up when nothing comes. */
  #listen() {
    this.#wait(QUIET, () => {
      this.send({ type: 'ping' });
      this.#wait(PATIENCE, () => this.#lost(1006, 'The server does not answer.'));
    });
  }

  #lost(code, reason) {
    const why = reason || this.#reason;
    this.#drop();
    const next = afterClose(code);
    if (next !== 'reconnect') return this.events.state({ kind: next, reason: why });
    const wait = backoff(this.#failures, Math.random());
    this.#failures += 1;
    this.#wait(wait, () => this.open());
    this.events.state({ kind: 'waiting', until: Date.now() + wait, reason: why });
  }

  #wait(milliseconds, then) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, milliseconds);
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.ready = false;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
