// An answer of the model, while it comes and after; described in index.d.ts. What begins with _ is the session's to call.

import { ProtocolError } from "./errors.js";
import { News } from "./waiting.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export class Answer {
  #session;
  #pieces = [];
  #message;
  #error;
  #news = new News();

  constructor(session, question, epoch) {
    this.#session = session;
    this.question = question;
    this.id = undefined;
    Object.defineProperty(this, "_epoch", { value: epoch, writable: true });
    Object.defineProperty(this, "_bytes", { value: 0, writable: true });
    Object.defineProperty(this, "_stopWanted", { value: false, writable: true });
  }

  get text() {
    return this.#pieces.join("");
  }

  get done() {
    return this.#message !== undefined || this.#error !== undefined;
  }

  async *[Symbol.asyncIterator]() {
    let at = 0;
    for (;;) {
      while (at < this.#pieces.length) {
        at += 1;
        yield this.#pieces[at - 1];
      }
      if (this.#error) throw this.#error;
      if (this.#message) return;
      await this.#news.wait();
    }
  }

  async message() {
    while (!this.done) await this.#news.wait();
    if (this.#error) throw this.#error;
    return this.#message;
  }

  async stop() {
    if (this.done) return;
    this._stopWanted = true;
    this.#session._stop(this);
  }

  /** Takes a piece. False: there is a gap before it. */
  _feed(offset, content) {
    if (offset > this._bytes) return false;
    let raw = encoder.encode(content);
    if (offset < this._bytes) {
      // Told again from an earlier place: the same text up to where we are.
      const known = encoder.encode(this.text).subarray(offset, offset + raw.length);
      if (known.some((byte, i) => byte !== raw[i])) {
        this._fail(new ProtocolError(`the answer ${this.id} was told again with another text`));
        return true;
      }
      raw = raw.subarray(known.length);
      content = decoder.decode(raw);
    }
    if (content) {
      this.#pieces.push(content);
      this._bytes += raw.length;
      this.#news.wake();
    }
    return true;
  }

  _finish(message) {
    const text = this.text;
    if (!message.content.startsWith(text)) {
      this._fail(new ProtocolError(`the answer ${message.id} is not what its pieces were`));
      return;
    }
    if (message.content.length > text.length) this.#pieces.push(message.content.slice(text.length));
    this.id = message.id;
    this.#message = message;
    this.#news.wake();
  }

  _fail(error) {
    if (this.done) return;
    this.#error = error;
    this.#news.wake();
  }
}
