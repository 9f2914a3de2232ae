// What was asked of the server and not answered yet.

/** Messages of history asked for at once. */
export const PAGE = 50;
/** Questions remembered until they are answered; a server that leaves more unanswered gets no more of our memory. */
const MAX_REQUESTS = 256;

/** The frames of one connection that are answered by frames with their `id` as `ref`. */
export class Requests {
  #waiting = new Map();
  #count = 0;

  /** `transport()` gives the connection, or null. */
  constructor(transport) {
    this.transport = transport;
  }

  /** Sends a frame that will be answered; `about` is given to whoever handles the answer. Returns whether it went out. */
  send(frame, about = {}) {
    this.#count += 1;
    const id = `r${this.#count}`;
    if (!this.transport()?.send({ ...frame, id })) return false;
    this.#waiting.set(id, { frame, ...about });
    if (this.#waiting.size > MAX_REQUESTS) this.#waiting.delete(this.#waiting.keys().next().value);
    return true;
  }

  /** Sends a frame and resolves to what answers it, whatever that is. Rejects when there is no connection, or none any more. */
  ask(frame) {
    return new Promise((resolve, reject) => {
      if (!this.send(frame, { answered: resolve, lost: reject })) reject(new Error('there is no connection'));
    });
  }

  /** What a frame answers: the frame that asked, and what was said about it. Nothing for frames that nobody asked for. */
  answered({ ref }) {
    const about = this.#waiting.get(ref) ?? {};
    this.#waiting.delete(ref);
    return about;
  }

  /** The connection is gone, and its answers with it. */
  clear() {
    for (const { lost } of this.#waiting.values()) lost?.(new Error('the connection was lost'));
    this.#waiting.clear();
  }
}
