// A session that the client is in; described in index.d.ts. What begins with _ is the client's and the answers' to call.

import { Answer } from "./answer.js";
import { AnswerLost, Refused, SessionOver } from "./errors.js";

/** How often the server is asked for messages that its storage does not give, before the gap is accepted. */
const GAP_TRIES = 5;
/** Milliseconds by which each further attempt waits longer. */
const GAP_DELAY = 1000;

const uuid = () => {
  // Pages that are not secure have no randomUUID, but all have this.
  if (globalThis.crypto?.randomUUID) return crypto.randomUUID();
  if (globalThis.crypto?.getRandomValues) {
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  // Node 18 keeps it elsewhere; an id has only to be one's own.
  return Array.from({ length: 4 }, () => Math.random().toString(16).slice(2, 10)).join("-");
};

export class Session {
  #client;
  #epoch;
  #over;
  // After the server was started anew: up to which message it tells what was missed.
  #catchUp;
  // How often the server has been asked in vain for messages that are missing.
  #gaps = 0;
  // The answer under way, ours or somebody else's.
  #current;
  // Answers that have not begun yet, in the order in which they were asked for.
  #waiting = [];

  constructor(client, joined) {
    this.#client = client;
    this.#epoch = joined.epoch;
    this.id = joined.session_id;
    this.title = joined.session_title;
    this.owner = joined.owner;
    this.participants = joined.participants;
    this.seq = joined.seq;
    // Frames are passed over until the server has begun anew at the place where we are.
    Object.defineProperty(this, "_muted", { value: false, writable: true });
    // Listens from the first moment on, for whoever comes first.
    Object.defineProperty(this, "_early", { value: undefined, writable: true });
  }

  get over() {
    return this.#over !== undefined;
  }

  get _why() {
    return this.#over;
  }

  get answer() {
    return this.#current;
  }

  events() {
    const early = this._early;
    this._early = undefined;
    return early ?? this.#client._subscribe(this);
  }

  async send(text, { parent, sampling, clientId = uuid() } = {}) {
    if (text.trimStart().startsWith("/")) {
      throw new TypeError("a text that begins with / is a command: see Client.command");
    }
    const frame = { type: "chat_message", message: text, client_id: clientId, parent, sampling };
    return this.#client._request(frame, (answer) => this.#asked(answer), { session: this, same: this.#isOwn(clientId) });
  }

  async edit(messageId, text, { sampling, clientId = uuid() } = {}) {
    const frame = { type: "edit_message", message_id: messageId, message: text, client_id: clientId, sampling };
    return this.#client._request(frame, (answer) => this.#asked(answer), { session: this, same: this.#isOwn(clientId) });
  }

  async regenerate(messageId, { sampling } = {}) {
    const frame = { type: "regenerate", message_id: messageId, sampling };
    const accept = (ack) => this.#wait(ack.message_id);
    return this.#client._request(frame, accept, { session: this, repeat: false });
  }

  async stop() {
    await this.#current?.stop();
  }

  async command(text) {
    return this.#client.command(text);
  }

  async history({ before, limit } = {}) {
    return this.#client._request({ type: "history", before, limit }, (page) => page, { session: this });
  }

  async typing(isTyping = true) {
    this.#client._tell({ type: "typing", is_typing: isTyping });
  }

  async invite(username) {
    return this.#client._request({ type: "invite", username }, (invited) => invited, { session: this });
  }

  async rename(title) {
    const frame = { type: "rename_session", title, session_id: this.id };
    // Whoever is in the session is told as everybody else, without `ref`.
    const same = (told) => told.type === "session_renamed" && told.session_id === this.id;
    return this.#client._request(frame, (renamed) => renamed.session_title, { session: this, same });
  }

  async delete() {
    try {
      // Being told that it is over, as everybody in it is, is the answer.
      await this.#client._request({ type: "delete_session", session_id: this.id }, () => {}, { session: this });
    } catch (error) {
      // It was deleted before the connection was lost.
      if (!(error instanceof SessionOver) && error.code !== "session_not_found") throw error;
    }
  }

  async leave() {
    try {
      await this.#client._request({ type: "leave_session" }, () => {}, { session: this });
    } catch (error) {
      if (!(error instanceof SessionOver)) throw error;
    }
    this._end(new SessionOver("the session was left"));
  }

  _since() {
    const since = { epoch: this.#epoch, seq: this.seq };
    const answer = this.#current;
    // Pieces of an earlier life of the server are none that this one has sent.
    if (answer?.id && answer._bytes && answer._epoch === this.#epoch) {
      since.message_id = answer.id;
      since.offset = answer._bytes;
    }
    return since;
  }

  /** Takes the answer to a join with `since`. False: join once more, with what is known now. */
  _rejoined(frame) {
    this.title = frame.session_title;
    this.owner = frame.owner;
    this.participants = frame.participants;
    if (frame.epoch !== this.#epoch) this.#catchUp = frame.seq;
    this.#epoch = frame.epoch;
    if (!frame.resumed && this.seq < frame.seq) {
      // The server cannot go on within its new life from our old one, but tells what comes after a message we have.
      this._muted = true;
      return false;
    }
    this._muted = false;
    if (this.seq > frame.seq) this.seq = frame.seq;
    this.#caughtUp();
    return true;
  }

  /** Takes a frame of this session. False: it is to be passed over, since it was told before or comes too early. */
  _take(frame) {
    if (this._muted) return false;
    const ofModel = frame.role === "assistant";
    switch (frame.type) {
      case "message":
        if (frame.seq <= this.seq) return false;
        if (frame.seq > this.seq + 1 && this.#askForTheGap()) return false;
        this.seq = frame.seq;
        this.#gaps = 0;
        if (ofModel) this.#answered(frame);
        this.#caughtUp();
        break;
      case "message_delta":
        if (this.#current?.id !== frame.message_id) this.#begin(frame.message_id, undefined);
        if (!this.#current._feed(frame.offset, frame.content)) {
          this.#client._resync(this, 0);
          return false;
        }
        break;
      case "typing":
        if (ofModel && frame.is_typing) this.#begin(frame.message_id, frame.parent);
        if (ofModel && !frame.is_typing) {
          const ended = this.#unfinished().filter((answer) => answer.id === frame.message_id);
          for (const answer of this.#taken(ended)) answer._fail(new AnswerLost("the answer ended without a message"));
        }
        break;
      case "notice":
        if (frame.code === "messages_missing" && this.#askForTheGap()) return false;
        break;
      case "error":
        this.#failed(frame);
        break;
      case "presence":
        this.participants = frame.participants;
        break;
      case "session_renamed":
        this.title = frame.session_title;
        break;
      case "session_ended":
        this._end(new SessionOver(frame.message));
        break;
      case "session_deleted":
        this._end(new SessionOver("the session was deleted"));
        break;
      case "session_left":
        this._end(new SessionOver("the session was left"));
        break;
    }
    return true;
  }

  _end(why) {
    if (this.#over) return;
    this.#over = why;
    for (const answer of this.#unfinished()) answer._fail(why);
    this.#current = undefined;
    this.#waiting = [];
    this.#client._sessionOver(this, why);
  }

  // One that has not begun is stopped when it does, and after a lost connection the wish is told again.
  _stop(answer) {
    if (answer.id && !this.over) this.#client._tell({ type: "stop_generation", message_id: answer.id });
  }

  /** Asks the server to tell again from where we are; false: it was asked often enough, and cannot. */
  #askForTheGap() {
    this.#gaps += 1;
    if (this.#gaps > GAP_TRIES) return false;
    this.#client._resync(this, GAP_DELAY * (this.#gaps - 1));
    return true;
  }

  #isOwn(clientId) {
    return (frame) =>
      frame.type === "message" && frame.client_id === clientId && frame.user_id === this.#client.userId;
  }

  #unfinished() {
    return this.#current ? [this.#current, ...this.#waiting] : this.#waiting;
  }

  /** The same answers, which are under way and waited for no longer. */
  #taken(ended) {
    if (ended.includes(this.#current)) this.#current = undefined;
    this.#waiting = this.#waiting.filter((answer) => !ended.includes(answer));
    return ended;
  }

  #wait(question) {
    const answer = new Answer(this, question, this.#epoch);
    this.#waiting.push(answer);
    return answer;
  }

  /** Of a message of one's own that is stored: its `ack`, or the message itself. */
  #asked(frame) {
    const question = frame.type === "ack" ? frame.message_id : frame.id;
    const known = this.#unfinished().find((answer) => answer.question === question);
    if (known) return known;
    const answer = this.#wait(question);
    // If it was stored long ago, so perhaps was its answer.
    if (frame.type === "ack" && frame.seq <= this.seq) void this.#lookUp(answer, frame.seq);
    return answer;
  }

  /** Finds the answer to a message of long ago, or lets it fail. */
  async #lookUp(answer, seq) {
    let found;
    try {
      let before;
      while (before === undefined || before > seq) {
        const page = await this.history({ before, limit: 100 });
        const answers = page.messages.filter((m) => m.role === "assistant" && m.parent === answer.question);
        found = answers[0] ?? found;
        if (!page.more || page.messages.length === 0) break;
        before = page.messages[0].seq;
      }
    } catch (error) {
      answer._fail(error);
      return;
    }
    if (answer.id || !this.#waiting.includes(answer) || (!found && this.#current)) return;
    this.#waiting.splice(this.#waiting.indexOf(answer), 1);
    if (found) answer._finish(found);
    else answer._fail(new AnswerLost("the message was stored before, and has no answer"));
  }

  #begin(messageId, question) {
    let current = this.#current;
    if (current?.id === messageId) {
      current.question ??= question;
    } else {
      // Behind a lost connection the answer under way is told first, and then how earlier ones ended.
      if (current) this.#waiting.unshift(current);
      const known = this.#waiting.find((answer) => answer.id === messageId);
      const asked = question && this.#waiting.find((answer) => !answer.id && answer.question === question);
      current = known ?? asked ?? new Answer(this, question, this.#epoch);
      this.#taken([current]);
      current.question ??= question;
      current.id = messageId;
      current._epoch = this.#epoch;
      this.#current = current;
    }
    if (current._stopWanted) this._stop(current);
  }

  #answered(message) {
    const ended = this.#unfinished().filter((answer) => answer.id === message.id);
    // One whose beginning was not told, or not of which message it was the answer, as after a lost connection.
    if (!ended.some((answer) => answer.question)) {
      const asked = this.#waiting.find((answer) => !answer.id && answer.question === message.parent);
      if (asked) ended.push(asked);
    }
    for (const answer of this.#taken(ended)) answer._finish(message);
  }

  #failed(frame) {
    const named = frame.message_id && this.#unfinished().find((answer) => answer.id === frame.message_id);
    const failed = named || this.#current;
    const ended = failed ? [failed] : [];
    if (!failed?.question) {
      const asked = this.#waiting.find((answer) => !answer.id);
      if (asked) ended.push(asked);
    }
    for (const answer of this.#taken(ended)) answer._fail(new Refused(frame));
  }

  /** Once all is told that was stored: answers of an earlier life of the server that are not among it will not come. */
  #caughtUp() {
    if (this.#catchUp === undefined || this.seq < this.#catchUp) return;
    this.#catchUp = undefined;
    const lost = new AnswerLost("the server was started anew before the answer was stored");
    if (this.#current && this.#current._epoch !== this.#epoch) {
      this.#current._fail(lost);
      this.#current = undefined;
    }
    for (const answer of this.#waiting) if (answer._epoch !== this.#epoch) answer._fail(lost);
    this.#waiting = this.#waiting.filter((answer) => !answer.done);
  }
}
