// One WebSocket, from its handshake to its end.

import { ConnectFailed, Disconnected } from "./errors.js";

/** Milliseconds for a handshake with the server; it gives up one that takes longer. */
const HANDSHAKE = 10_000;
/** Milliseconds of silence after which the server is asked for a sign of life: browsers do not show its own pings. */
const SILENCE = 30_000;
/** Milliseconds that it has to give one. */
const SIGN_OF_LIFE = 10_000;
/** Milliseconds for the handshake of closing. */
const CLOSING = 2_000;
/** Milliseconds within which an error is followed by a close. */
const ERROR_TO_CLOSE = 100;
/** Statuses of HTTP after which the same handshake may succeed: the server's own 503, and those of gateways before it. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);
/** Closes after which nothing changes by connecting again, though they lie below 4500. */
const FINAL = new Set([1002, 1003, 1007, 1009, 1010]);

/** The WebSocket's address of a server. */
export function endpoint(url) {
  const parts = new URL(url, globalThis.location?.href);
  parts.protocol = { "http:": "ws:", "https:": "wss:" }[parts.protocol] ?? parts.protocol;
  if (parts.protocol !== "ws:" && parts.protocol !== "wss:") {
    throw new TypeError(`${url} is no address of a server, such as http://localhost:8080`);
  }
  if (parts.pathname === "/") parts.pathname = "/ws/chat";
  parts.hash = "";
  return parts.href;
}

/** What opens connections: what is given, the platform's, or that of the package `ws`. */
export async function implementation(given) {
  if (given) return given;
  if (globalThis.WebSocket) return globalThis.WebSocket;
  try {
    const name = "ws"; // Not to be followed by bundlers: where they bundle for there is a WebSocket.
    return (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)).default;
  } catch (error) {
    throw new ConnectFailed("this Node has no WebSocket: use Node 22, or install the package `ws`", undefined, { cause: error });
  }
}

export class Connection {
  #socket;
  #timer;
  #end;
  #trouble = "";
  #opened = false;

  /** `read` is given each text that comes; what it throws ends the connection. */
  constructor(WebSocket, url, token, read) {
    /** Why it ended: `cause`, and perhaps `code`, `atLeast` (milliseconds to wait) and `final` (never to be opened again). */
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#expect(HANDSHAKE, "the handshake took too long");
    const socket = new WebSocket(url, ["causerie.v1", `bearer.${token}`]);
    this.#socket = socket;
    socket.onopen = () => {
      this.#opened = true;
    };
    socket.onmessage = ({ data }) => {
      this.#watch();
      try {
        if (typeof data === "string") read(data);
      } catch (cause) {
        this.drop({ cause, final: true });
      }
    };
    socket.onerror = (event) => {
      this.#trouble = event?.message || event?.error?.message || "";
      // A close must follow at once, and from Node 20's own WebSocket none does.
      setTimeout(() => this.#closed(url, 1006, ""), ERROR_TO_CLOSE);
    };
    socket.onclose = ({ code, reason }) => this.#closed(url, code, reason);
    // The package `ws` can tell how the server refused a handshake; browsers cannot.
    socket.on?.("unexpected-response", (request, response) => {
      const status = response.statusCode;
      const atLeast = Number(response.headers["retry-after"] ?? 0) * 1000 || 0;
      const cause = new ConnectFailed(`the server answers the handshake with status ${status}`, status);
      this.drop({ cause, atLeast, final: !PASSING.has(status) });
      request.destroy();
    });
  }

  write(frame) {
    if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  /** It has ended, for whoever waits; the first reason counts. */
  drop(end) {
    clearTimeout(this.#timer);
    this.#end(end);
  }

  /** Ends the socket and waits for that, but not for long: one that is dead never answers. */
  async hangUp() {
    const socket = this.#socket;
    socket.onmessage = null;
    clearTimeout(this.#timer);
    if (socket.readyState === 3) return;
    if (!this.#opened) {
      socket.onerror = () => {};
      socket.close();
      return;
    }
    let timer;
    await new Promise((resolve) => {
      timer = setTimeout(resolve, CLOSING);
      socket.onclose = resolve;
      socket.onerror = () => {};
      socket.close(1000);
    });
    clearTimeout(timer);
    socket.terminate?.();
  }

  #closed(url, code, reason) {
    const trouble = this.#trouble && ` (${this.#trouble})`;
    if (code !== 1006) {
      const cause = new Disconnected(`the connection ended: ${code} ${reason}`.trim(), code);
      this.drop({ cause, code, final: FINAL.has(code) || (code >= 4500 && code < 5000) });
    } else if (this.#opened) {
      this.drop({ cause: new Disconnected(`the connection broke${trouble}`) });
    } else {
      this.drop({ cause: new ConnectFailed(`${url} cannot be reached${trouble}`) });
    }
  }

  #expect(ms, otherwise) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.drop({ cause: new Disconnected(otherwise) }), ms);
  }

  /** Something came. If then nothing comes for long, a sign of life is asked for. */
  #watch() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#expect(SIGN_OF_LIFE, "nothing comes from the server any more");
      this.write({ type: "ping" });
    }, SILENCE);
  }
}
