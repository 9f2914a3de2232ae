// What a client tells whoever listens.

import { Overrun } from "./errors.js";
import { News } from "./waiting.js";

/** How many events may wait for a listener: some ten thousand tokens. One that is further behind gets `Overrun`. */
export const EVENTS = 16_384;

/** An async iterator over events, from the moment on in which it was made. */
export class Listener {
  #events = [];
  #at = 0;
  #ended = false;
  #error;
  #news = new News();
  #left;

  constructor(session, left) {
    this.session = session;
    this.#left = left;
  }

  tell(event) {
    if (this.#ended) return;
    if (this.#events.length - this.#at >= EVENTS) {
      this.end(new Overrun(`${EVENTS} events wait to be read`));
      return;
    }
    this.#events.push(event);
    this.#news.wake();
  }

  end(error) {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#left(this);
    this.#news.wake();
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  async next() {
    while (this.#at === this.#events.length) {
      if (this.#error) throw this.#error;
      if (this.#ended) return { done: true, value: undefined };
      await this.#news.wait();
    }
    const value = this.#events[this.#at];
    this.#events[this.#at] = undefined;
    this.#at += 1;
    if (this.#at === this.#events.length) {
      this.#events = [];
      this.#at = 0;
    } else if (this.#at > 1024 && this.#at * 2 > this.#events.length) {
      this.#events = this.#events.slice(this.#at);
      this.#at = 0;
    }
    return { done: false, value };
  }

  async return() {
    this.#events = [];
    this.#at = 0;
    this.end(undefined);
    return { done: true, value: undefined };
  }
}
