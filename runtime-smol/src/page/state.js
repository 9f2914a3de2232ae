// What the page knows of one session, as plain data: no DOM, no socket, no clock. Frames go in, `items()` comes out.

import { Tree } from './branches.js';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Length in UTF-8 bytes: what the protocol's `offset` counts. */
export const utf8Length = (text) => encoder.encode(text).length;

/** `text` without its first `bytes` bytes of UTF-8. */
const withoutBytes = (text, bytes) => decoder.decode(encoder.encode(text).subarray(bytes));

/** Notes that are kept; the oldest go first. They exist only in this tab. */
export const MAX_NOTES = 100;

/** How often a gap in one answer makes the page join anew before it waits for the whole message instead. */
export const MAX_GAP_REPAIRS = 3;

/** One session: its stored messages, the answers being written, and what this tab has sent but not seen stored. */
export class Conversation {
  /** @param {string|null} id null until the server has created it */
  constructor(id, me) {
    this.id = id;
    this.me = me;
    this.title = '';
    this.owner = undefined;
    this.live = false; // joined, on the connection there is now
    this.loadingOlder = false;
    this.ended = false;
    this.more = false;
    this.loaded = false;
    this.epoch = undefined;
    this.seq = 0;
    this.messages = new Map();
    this.streams = new Map();
    this.pending = new Map();
    this.notes = [];
    this.noteCount = 0;
    this.noticed = new Map(); // what the server has said of this chat, by its code
    this.stale = new Set();
    this.repairedAt = -1;
    this.repairs = new Map(); // by message, over all joins: a server that cannot fill a gap is not asked for ever
    this.people = new Map();
    this.typists = new Map();
    this.modelTyping = false;
    this.last = undefined; // what a message without `parent` follows, by its id
    this.asked = undefined; // the message that is being answered, or was
    this.shown = undefined; // a message on the path that is shown
    this.chosen = new Map(); // which version of what follows a message was shown last
    this.editing = undefined; // the message that somebody is changing
    this.awaited = undefined; // the message whose answer was asked for and has not begun
    this.again = false; // whether it had an answer before, which makes room for the new one
  }

  /** Whether the model is answering, as far as this tab knows. */
  get answering() {
    return this.modelTyping || this.streams.size > 0;
  }

  /** Takes `session_joined`. Returns true when history has to be fetched because it may be incomplete here. */
  joined(frame) {
    this.id = frame.session_id;
    this.title = frame.session_title ?? this.title;
    this.owner = frame.owner;
    if (frame.participants) this.presence(frame.participants);
    const resumed = frame.resumed === true && this.loaded;
    const following = this.#following();
    if (frame.seq !== undefined) this.last = frame.last_message;
    if (!resumed) {
      // Another epoch, or the first time: whatever was half received is not to be continued.
      this.streams.clear();
      this.modelTyping = false;
      this.await(undefined);
      this.typists.clear();
      // Shown until the history is here, so that nothing flickers; what it does not hold goes then.
      this.stale = new Set(this.messages.keys());
      this.seq = 0;
      this.loaded = false;
    }
    if (following && !this.streams.has(this.shown)) this.shown = this.last;
    if (frame.epoch !== undefined) this.epoch = frame.epoch;
    for (const stream of this.streams.values()) stream.repairing = false;
    return !resumed;
  }

  /** Where to go on after a lost connection: the `since` of `join_session`, or undefined to start afresh. */
  since() {
    if (!this.loaded || this.epoch === undefined) return undefined;
    const point = { epoch: this.epoch, seq: this.seq };
    const stream = [...this.streams.values()].findLast((one) => one.bytes > 0);
    return stream ? { ...point, message_id: stream.id, offset: stream.bytes } : point;
  }

  /** Takes a page of history. The first one after a fresh join replaces what was here before; others are merged. */
  page(frame, fresh) {
    for (const message of frame.messages) this.#keep(message);
    this.more = frame.more === true;
    if (!fresh) return;
    for (const id of this.stale) this.messages.delete(id);
    this.stale.clear();
    this.loaded = true;
  }

  /** Whether a live message shows that one before it never came. Says so once for a gap: then it was asked for. */
  missesBefore(frame) {
    if (!this.loaded || frame.seq === undefined || frame.seq <= this.seq + 1 || this.repairedAt === this.seq) return false;
    this.repairedAt = this.seq;
    return true;
  }

  /** Takes a `message` that was stored just now. Returns false when it was here before. */
  message(frame) {
    const [following, streamed] = [this.#following(), this.streams.has(frame.id)];
    const isNew = this.#keep(frame);
    const { id, role, parent } = this.messages.get(frame.id);
    if (!isNew) return false;
    // As the server has it: people move the conversation on, answers only what they answer if nobody has said more.
    if (role !== 'assistant' || parent === this.last) this.last = id;
    if (role === 'user' && !this.modelTyping) this.await(id);
    if (role === 'assistant' && parent === this.awaited) this.await(undefined);
    // One who reads another branch stays there; one who watched an answer come, or turned away from it, goes on so.
    if (role === 'assistant' ? !streamed && this.#shows(parent) : following || frame.user_id === this.me?.id) this.show(id);
    return true;
  }

  /** Keeps a stored message, which also ends the stream of that id. Returns false when it was here before. */
  #keep(frame) {
    const known = this.messages.get(frame.id);
    this.stale.delete(frame.id);
    this.streams.delete(frame.id);
    this.repairs.delete(frame.id);
    this.typists.delete(frame.user_id);
    const sent = this.#sentHere(frame);
    if (sent) this.pending.delete(sent.clientId);
    const { id, role, content, timestamp, seq, usage, timings } = frame;
    this.messages.set(id, {
      key: known?.key ?? sent?.clientId ?? id,
      kind: 'message',
      id, role, content, timestamp, usage,
      // Told with an answer that comes live, not with history.
      timings: timings ?? known?.timings,
      // A server that knows only the base protocol counts nothing: then the order of arrival is the order.
      seq: seq ?? known?.seq ?? this.seq + 1,
      // Nor does it tell what a message follows.
      parent: frame.parent ?? (seq === undefined ? (known ? known.parent : this.last) : undefined),
      finish: frame.finish_reason,
      userId: frame.user_id,
      username: frame.username,
    });
    this.seq = Math.max(this.seq, this.messages.get(id).seq);
    return !known;
  }

  /** Which of our unconfirmed messages a stored one is. */
  #sentHere(frame) {
    if (frame.role !== 'user') return undefined;
    if (frame.client_id !== undefined) return this.pending.get(frame.client_id);
    return [...this.pending.values()].find((sent) => sent.messageId === frame.id);
  }

  /**
   * Takes a `message_delta`. `offset` says where it belongs, so that nothing can be missing unnoticed:
   * - `'taken'`: it went on where we were, or overlapped with it
   * - `'known'`: we had all of it
   * - `'gap'`: something before it is missing, and nobody has asked for it yet
   * - `'waiting'`: something is missing and has been asked for
   */
  delta(frame) {
    if (this.messages.has(frame.message_id)) return 'known';
    let stream = this.streams.get(frame.message_id);
    if (!stream) {
      stream = this.#begin(frame.message_id, this.last);
    }
    const end = frame.offset + utf8Length(frame.content);
    if (frame.offset > stream.bytes) {
      stream.gap = true;
      const repairs = this.repairs.get(stream.id) ?? 0;
      if (stream.repairing || repairs >= MAX_GAP_REPAIRS) return 'waiting';
      this.repairs.set(stream.id, repairs + 1);
      stream.repairing = true;
      return 'gap';
    }
    stream.gap = stream.repairing = false;
    if (end <= stream.bytes) return frame.content === '' ? 'taken' : 'known';
    stream.content += withoutBytes(frame.content, stream.bytes - frame.offset);
    stream.bytes = end;
    return 'taken';
  }

  /** An answer to a message is asked for: until it begins, something is shown in its place. With undefined, none is any more. */
  await(id, again = false) {
    this.awaited = id;
    this.again = again;
  }

  /** The message that an answer answers, or the message itself where it is somebody's. */
  question(id) {
    const message = this.messages.get(id) ?? this.streams.get(id);
    return message?.role === 'assistant' ? message.parent : id;
  }

  /** Whether an answer that nobody has seen anything of is to come at the end of what is shown. */
  get waiting() {
    if (this.streams.size > 0) return false;
    return this.modelTyping || (this.awaited !== undefined && this.#shows(this.awaited));
  }

  /** An answer begins; it is shown if what it answers is. */
  #begin(id, parent) {
    const follows = parent === undefined || this.#shows(parent);
    const stream = { key: id, kind: 'stream', id, role: 'assistant', parent, seq: Infinity, content: '', bytes: 0, repairing: false, gap: false };
    this.streams.set(id, stream);
    if (follows) this.show(id);
    return stream;
  }

  /** A message of ours, on its way; `edits` is the one that it is another version of. */
  send(clientId, content, timestamp, edits) {
    const sent = { key: clientId, kind: 'pending', role: 'user', clientId, content, timestamp, userId: this.me?.id, failure: null, edits };
    // Where the conversation goes on is the server's to say: so two who speak at once are heard one after the other.
    const leaf = this.path().findLast((id) => this.messages.has(id));
    if (!edits && this.last !== undefined && leaf !== this.last) sent.parent = leaf;
    this.pending.set(clientId, sent);
    return sent;
  }

  /** Takes an `ack`: the message is stored. */
  ack(frame) {
    const sent = this.pending.get(frame.client_id);
    if (!sent) return;
    sent.messageId = frame.message_id;
    sent.failure = null;
    if (this.messages.has(frame.message_id)) {
      this.messages.get(frame.message_id).key = sent.key;
      this.pending.delete(sent.clientId);
    }
  }

  /** A message of ours was refused, or nobody has confirmed it in time. Returns false when it is not waiting any more. */
  fail(clientId, reason, retryable) {
    const sent = this.pending.get(clientId);
    if (!sent || sent.messageId) return false;
    sent.failure = { reason, retryable };
    return true;
  }

  /** Ours that are neither stored nor given up, in the order they were written: what to send again after a reconnect. */
  unsent() {
    return [...this.pending.values()].filter((sent) => !sent.messageId && !sent.failure);
  }

  /** Takes a `typing` frame: the model's, or a person's. */
  typing(frame) {
    if (frame.user_id === undefined || frame.role === 'assistant') {
      this.modelTyping = frame.is_typing === true;
      if (this.modelTyping) this.#answers(frame);
      // Its end is the end of the exchange: an answer that was not stored by then never will be.
      else for (const { id, parent } of this.streams.values()) this.#drop(id, parent);
    } else if (frame.user_id !== this.me?.id) {
      if (frame.is_typing) this.typists.set(frame.user_id, frame.username ?? this.people.get(frame.user_id) ?? 'Somebody');
      else this.typists.delete(frame.user_id);
    }
  }

  /** The model begins to answer a message: which one, an old server does not say. */
  #answers({ message_id: id, parent }) {
    this.asked = parent;
    this.await(undefined);
    if (id === undefined || parent === undefined || this.streams.has(id) || this.messages.has(id)) return;
    // Another answer is wanted: the conversation is back at the question, unless people have gone on from there.
    const again = [...this.messages.values()].some((one) => one.role === 'assistant' && one.parent === parent);
    if (again && this.messages.has(this.last) && !this.#goesOnFrom(parent)) {
      const following = this.#following();
      this.last = parent;
      if (following) this.show(parent);
    }
    this.#begin(id, parent);
  }

  /** Whether the last message is this one, or people's messages that followed it one by one. */
  #goesOnFrom(id) {
    let at = this.messages.get(this.last);
    while (at && at.id !== id && at.role === 'user') at = this.messages.get(at.parent);
    return at?.id === id;
  }

  /** An answer does not come. */
  #drop(id, parent) {
    this.streams.delete(id);
    if (this.shown === id) this.shown = parent;
  }

  // ---- Branches ----

  #tree() {
    return new Tree([...this.messages.values(), ...this.streams.values()]);
  }

  /** The ids of what is shown, from the first message to the last. */
  path(tree = this.#tree()) {
    const newest = [...this.messages.keys(), ...this.streams.keys()].at(-1);
    const start = [this.shown, this.last, newest].find((id) => tree.has(id));
    return start === undefined ? [] : tree.path(start, this.chosen);
  }

  #shows(id) {
    return this.path().includes(id);
  }

  /** Whether what is shown is where the conversation goes on. */
  #following() {
    return this.last === undefined || !this.messages.has(this.last) || this.#shows(this.last);
  }

  /** Shows the path through a message. */
  show(id) {
    const tree = this.#tree();
    for (const at of tree.path(id, this.chosen)) this.chosen.set(tree.above(at), at);
    this.shown = id;
  }

  /** Shows the version before (-1) or after (1) one of a message. Returns the id of what is shown now. */
  step(id, by) {
    const versions = this.#tree().versions(id);
    const other = versions[versions.indexOf(id) + by];
    if (other === undefined) return id;
    this.show(other);
    return other;
  }

  /** Takes who is here. */
  presence(participants) {
    this.people = new Map(participants.map((person) => [person.user_id, person.username]));
    for (const id of this.typists.keys()) if (!this.people.has(id)) this.typists.delete(id);
  }

  /** Something for this tab alone, shown where the conversation stands now. */
  note(note) {
    this.noteCount += 1;
    const added = { key: `note-${this.noteCount}`, kind: 'note', after: this.seq, order: this.noteCount, ...note };
    this.notes.push(added);
    if (this.notes.length > MAX_NOTES) this.notes.shift();
    return added;
  }

  /** Takes a `notice`: what is said with every answer is shown once, until it is something else. */
  notice({ code, message }) {
    if (code === 'context_trimmed' && this.noticed.get(code) === message) return;
    this.noticed.set(code, message);
    this.note({ content: message });
  }

  /** Takes a note away again. */
  dismiss(key) {
    this.notes = this.notes.filter((note) => note.key !== key);
  }

  /** Everything to show, from the first to the last: the path with the notes between, then what is on its way. */
  items() {
    const tree = this.#tree();
    const path = this.path(tree);
    const edited = new Set([...this.pending.values()].filter((sent) => !sent.failure).map((sent) => sent.edits));
    // What a message that is being changed, or an answer that is being made anew, will take the place of is not shown.
    const end = path.findIndex((id, index) => edited.has(id) || (this.again && path[index - 1] === this.awaited));
    const items = path.slice(0, end < 0 ? path.length : end).map((id) => {
      const item = this.messages.get(id) ?? this.streams.get(id);
      const versions = tree.versions(id);
      return Object.assign(item, { version: versions.indexOf(id) + 1, versions: versions.length, editing: this.editing === id, open: !this.ended });
    });
    for (const note of this.notes) {
      const after = items.findLastIndex((item) => (item.kind === 'note' ? item.order < note.order : item.seq <= note.after));
      items.splice(after + 1, 0, note);
    }
    return [...items, ...this.pending.values()];
  }

  /** The smallest `seq` here: history goes on before it. */
  get oldest() {
    let oldest = Infinity;
    for (const message of this.messages.values()) oldest = Math.min(oldest, message.seq);
    return oldest;
  }
}
