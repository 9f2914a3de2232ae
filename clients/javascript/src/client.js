// The client: one connection at a time, opened again as often as it breaks; described in index.d.ts.

import { Connection, endpoint, implementation } from "./connection.js";
import { CauserieError, Closed, ConnectFailed, Disconnected, ProtocolError, Refused, SessionOver } from "./errors.js";
import { Listener } from "./events.js";
import { Session } from "./session.js";
import { Backoff, sleep } from "./waiting.js";

/** How many times in a row a token provider's tokens may be refused. */
const REFUSED_TOKENS = 3;

export class Client {
  #url;
  #token;
  #options;
  #backoff;
  #WebSocket;
  #identity;
  #state = "connecting";
  #dead;
  #connection;
  #ready = false;
  #session;
  #pending = new Map();
  #nextId = 0;
  #lastError;
  #listeners = new Set();
  // The connection on which a resync is under way, and after how long it asks.
  #resyncing;
  #resyncDelay = 0;
  #established;
  #opened;
  #open;
  #wake = () => {};
  #running;

  constructor(url, token, options) {
    this.#url = endpoint(url);
    this.#token = token;
    this.#options = options;
    this.#backoff = new Backoff(options.backoff[0], options.backoff[1]);
    this.#opened = new Promise((resolve, reject) => {
      this.#open = { resolve, reject };
    });
    this.#opened.catch(() => {}); // Whoever opened it may have gone.
    this.#running = this.#run();
  }

  get userId() {
    return this.#identity?.user_id ?? "";
  }

  get username() {
    return this.#identity?.username ?? "";
  }

  get role() {
    return this.#identity?.role ?? "user";
  }

  get state() {
    return this.#state;
  }

  get session() {
    return this.#session;
  }

  get _opened() {
    return this.#opened;
  }

  events() {
    return this._subscribe(undefined);
  }

  async createSession(title, { system } = {}) {
    return this._request({ type: "create_session", title, system }, (joined) => this.#entered(joined));
  }

  async join(sessionId) {
    return this._request({ type: "join_session", session_id: sessionId }, (joined) => this.#entered(joined));
  }

  async sessions(limit) {
    return this._request({ type: "list_sessions", limit }, (list) => list.sessions);
  }

  async command(text) {
    if (!text.trimStart().startsWith("/")) throw new TypeError("a command begins with /");
    return this._request({ type: "chat_message", message: text }, (response) => response, { repeat: false });
  }

  async ping() {
    return this._request({ type: "ping" }, (pong) => pong.timestamp);
  }

  async authenticate(token) {
    await this._request({ type: "authenticate", token }, () => {});
    if (typeof this.#token === "string") this.#token = token;
  }

  async close() {
    this.#die(new Closed("the client was closed"));
    this.#wake();
    this.#connection?.drop({ cause: this.#dead });
    await this.#running;
  }

  // -- requests

  /** Sends a frame and waits for its answer, over lost connections and refusals that pass. */
  async _request(frame, accept, { session, same, repeat = true } = {}) {
    const deadline = Date.now() + this.#options.patience;
    const pause = new Backoff(100, 5_000);
    for (;;) {
      try {
        return await this.#once(frame, accept, { session, same, repeat });
      } catch (error) {
        if (!(error instanceof Refused) || !error.retryable) throw error;
        const delay = pause.next(error.retryAfterMs);
        if (Date.now() + delay > deadline) throw error;
        await sleep(delay);
      }
    }
  }

  #once(frame, accept, { session, same, repeat, urgent = false }) {
    if (this.#dead) return Promise.reject(this.#dead);
    if (session?.over) return Promise.reject(session._why);
    this.#nextId += 1;
    const id = this.#nextId;
    return new Promise((resolve, reject) => {
      const settle = (end) => {
        this.#pending.delete(id);
        end();
      };
      const pending = {
        session,
        same,
        repeat,
        sent: false,
        // What it leads to happens at once, before the next frame is looked at.
        answer: (answer) => {
          const result = accept(answer);
          settle(() => resolve(result));
        },
        fail: (error) => settle(() => reject(error)),
        transmit: () => {
          if (pending.sent) return;
          pending.sent = true;
          this.#connection?.write({ ...frame, id });
        },
      };
      this.#pending.set(id, pending);
      if (urgent || this.#ready) pending.transmit();
    });
  }

  /** Sends what is not answered, if there is a connection. */
  _tell(frame) {
    if (this.#dead) throw this.#dead;
    if (!this.#ready) return;
    this.#nextId += 1;
    this.#connection?.write({ ...frame, id: this.#nextId });
  }

  // -- frames

  #read(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch (error) {
      throw new ProtocolError("the server sent what is no JSON", { cause: error });
    }
    if (typeof frame?.type !== "string") throw new ProtocolError("the server sent what is no object with a type");
    this.#take(frame);
  }

  #take(frame) {
    if (frame.ref !== undefined) {
      const pending = this.#pending.get(frame.ref);
      if (frame.type === "error") pending?.fail(new Refused(frame));
      else pending?.answer(frame);
      return;
    }
    if (frame.type === "connection_established") {
      this.#identity = frame;
      this.#established?.();
    } else if (frame.type === "error" && frame.session_id === undefined) {
      this.#lastError = new Refused(frame);
    } else if (frame.type === "notice" && frame.code === "token_expiring" && typeof this.#token === "function") {
      this.#renew().catch(() => {}); // Then the connection ends, and the next one asks anew.
    }
    const session = this.#session;
    if (session && frame.session_id === session.id && !session._take(frame)) return;
    for (const pending of this.#pending.values()) {
      if (pending.same?.(frame)) {
        pending.answer(frame);
        break;
      }
    }
    this.#emit(frame);
  }

  #entered(joined) {
    this.#session?._end(new SessionOver("another session was joined"));
    const session = new Session(this, joined);
    this.#session = session;
    // More may have come in one piece with this frame: whoever listens as soon as the session is there misses none of it.
    const early = this._subscribe(session);
    session._early = early;
    setTimeout(() => {
      if (session._early !== early) return;
      session._early = undefined;
      void early.return();
    });
    return session;
  }

  _sessionOver(session, why) {
    if (this.#session === session) this.#session = undefined;
    for (const pending of [...this.#pending.values()]) if (pending.session === session) pending.fail(why);
    // After the frame that says so has been told.
    queueMicrotask(() => {
      for (const listener of [...this.#listeners]) if (listener.session === session) listener.end(undefined);
    });
  }

  _subscribe(session) {
    const listener = new Listener(session, (gone) => this.#listeners.delete(gone));
    this.#listeners.add(listener);
    if (this.#dead || session?.over) listener.end(this.#dead instanceof Closed ? undefined : this.#dead);
    return listener;
  }

  #emit(event) {
    for (const listener of [...this.#listeners]) {
      const about = !listener.session || event.type === "state" || listener.session.id === event.session_id;
      if (about) listener.tell(event);
    }
  }

  async #renew() {
    await this.authenticate(await this.#freshToken());
  }

  async #freshToken() {
    return typeof this.#token === "function" ? this.#token() : this.#token;
  }

  // -- the connection

  async #run() {
    const started = Date.now();
    let refused = 0;
    while (!this.#dead) {
      this.#lastError = undefined;
      let end;
      try {
        end = await this.#connect();
      } catch (error) {
        const known = error instanceof CauserieError || error instanceof TypeError;
        const told = () => new ConnectFailed(`no token, or no connection: ${error}`, undefined, { cause: error });
        end = { final: true, cause: known ? error : told() };
      }
      const { cause, code, atLeast = 0, wasReady = false, final = false } = end;
      if (code === 1008) refused += 1;
      else if (wasReady) refused = 0;
      const giveUp = code === 1008 && (typeof this.#token === "string" || refused >= REFUSED_TOKENS);
      const delay = this.#backoff.next(atLeast);
      const late = this.#state === "connecting" && Date.now() + delay > started + this.#options.openTimeout;
      if (this.#dead) return;
      if (final || giveUp || late) {
        this.#die(cause);
        return;
      }
      if (this.#state !== "connecting") this.#become("reconnecting", cause.message);
      let timer;
      await new Promise((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, delay);
      });
      clearTimeout(timer);
    }
  }

  /** One connection, from its handshake to its end: why it ended, and with which code. */
  async #connect() {
    this.#WebSocket ??= await implementation(this.#options.WebSocket);
    const token = await this.#freshToken();
    if (this.#dead) return { cause: this.#dead };
    const connection = new Connection(this.#WebSocket, this.#url, token, (text) => this.#read(text));
    this.#connection = connection;
    let wasReady = false;
    this.#established = () => {
      this.#live().then(
        () => {
          wasReady = true;
        },
        (error) => connection.drop({ cause: error, final: !(error instanceof Disconnected) }),
      );
    };
    const end = await connection.ended;
    this.#ready = false;
    this.#established = undefined;
    this.#connection = undefined;
    if (this.#session) this.#session._muted = true;
    for (const pending of [...this.#pending.values()]) {
      if (!pending.repeat && pending.sent) pending.fail(new Disconnected("the connection was lost before the server answered"));
      pending.sent = false;
    }
    await connection.hangUp();
    // What the server said last is why it closed.
    return { wasReady, ...end, cause: (end.code && this.#lastError) || end.cause };
  }

  /** Comes back to where the connection before was, and sends what waits. */
  async #live() {
    await this.#rejoin();
    this.#ready = true;
    this.#backoff.reset();
    this.#become("open", undefined);
    this.#open.resolve(this);
    for (const pending of [...this.#pending.values()]) pending.transmit();
  }

  async #rejoin() {
    const session = this.#session;
    const connection = this.#connection;
    const pause = new Backoff(100, 5_000);
    let again = false;
    while (session && !session.over && this.#connection === connection) {
      const frame = { type: "join_session", session_id: session.id, since: session._since() };
      const accept = (joined) => {
        const done = session._rejoined(joined);
        if (!again) this.#emit(joined);
        return done;
      };
      try {
        if (await this.#once(frame, accept, { session, repeat: false, urgent: true })) return;
        again = true;
      } catch (error) {
        if (session.over) return;
        if (!(error instanceof Refused)) throw error;
        if (!error.retryable) session._end(error);
        else await sleep(pause.next(error.retryAfterMs));
      }
    }
    if (this.#connection !== connection) throw new Disconnected("the connection was lost before the server answered");
  }

  /** Something is missing: lets the server begin anew at the place where we are. */
  _resync(session, delay) {
    session._muted = true;
    this.#resyncDelay = delay;
    const connection = this.#connection;
    if (connection && this.#resyncing !== connection) void this.#resync(session, connection);
  }

  async #resync(session, connection) {
    this.#resyncing = connection;
    try {
      // Once more if what came right behind the answer has a gap again. A new connection begins at our place anyway.
      while (session._muted && !session.over && this.#connection === connection) {
        await sleep(this.#resyncDelay);
        if (this.#connection === connection) await this.#rejoin();
      }
    } catch {
      // The connection was lost, or the client closed.
    } finally {
      if (this.#resyncing === connection) this.#resyncing = undefined;
    }
  }

  #become(state, cause) {
    if (state === this.#state) return;
    this.#state = state;
    this.#emit({ type: "state", state, cause });
  }

  #die(error) {
    if (this.#dead) return;
    this.#dead = error;
    this.#become("closed", error.message);
    this.#session?._end(error);
    for (const pending of [...this.#pending.values()]) pending.fail(error);
    for (const listener of [...this.#listeners]) listener.end(error instanceof Closed ? undefined : error);
    this.#open.reject(error);
  }
}

if (Symbol.asyncDispose) {
  Client.prototype[Symbol.asyncDispose] = Client.prototype.close;
}

export async function connect(url, token, options = {}) {
  const { backoff = [500, 30_000], patience = 30_000, openTimeout = 10_000, WebSocket } = options;
  const client = new Client(url, token, { backoff, patience, openTimeout, WebSocket });
  await client._opened;
  return client;
}
