// The chats of whoever is signed in: which one is shown, on which connection, and how it gets onto the screen. What people do
// in it is in `speaking.js`, what the server says in `receiving.js`, the list of all of them in `sessions.js`.

import { Timings } from './gauges.js';
import { Log } from './log.js';
import { Outbox } from './outbox.js';
import { Receiver } from './receiving.js';
import { PAGE, Requests } from './requests.js';
import { Sessions } from './sessions.js';
import { Settings } from './settings.js';
import { Speaker } from './speaking.js';
import { Conversation } from './state.js';
import { titleFor } from './title.js';
import { Tuning } from './tuning.js';

/** The session that the address names. */
const sessionInAddress = () => /^#session=([0-9a-f-]{36})$/i.exec(location.hash)?.[1] ?? null;

/** One person's chats. `outside` has `view`, `transport()` (the connection, or null), `renew()`, `health()`, `find(query)` in all chats, and
 *  `signInLink(username, session)`, for administrators. */
export class Chat {
  /** Sessions that were left with something unsaved, by id: it is there when one comes back. */
  #unsaved = new Map();

  constructor(outside) {
    this.outside = outside;
    this.view = outside.view;
    this.me = null;
    this.current = new Conversation(null, null);
    this.requests = new Requests(outside.transport);
    this.outbox = new Outbox({
      requests: this.requests,
      ready: () => outside.transport()?.ready,
      failed: (conversation, reason) => {
        if (conversation !== this.current) this.view.toast(`A message in “${conversation.title}” was not saved: ${reason}`, 'error');
      },
      changed: () => this.draw(),
    });
    this.settings = new Settings(localStorage);
    this.timings = new Timings(sessionStorage);
    this.tuning = new Tuning(this);
    this.sessions = new Sessions(this);
    this.speaker = new Speaker(this);
    this.receiver = new Receiver(this);
    this.log = new Log(this.view.logParts, {
      older: () => this.#older(),
      dismiss: (key) => {
        this.current.dismiss(key);
        this.draw();
      },
      retry: (clientId) => this.speaker.transmit(this.current.pending.get(clientId)),
      discard: (clientId) => this.speaker.discard(clientId),
      again: (id) => this.speaker.again(id),
      edit: (id) => this.speaker.edit(id),
      change: (id, text) => this.speaker.change(id, text),
      step: (id, by) => this.speaker.step(id, by),
    });
    addEventListener('beforeunload', (event) => this.current.unsent().length && event.preventDefault());
  }

  /** Somebody has signed in (or with null, out): nothing of anybody else's stays. */
  enter(me) {
    this.me = me;
    if (me) this.settings.reload();
    else for (const kept of [this.settings, this.timings]) kept.clear();
    this.sessions.clear();
    this.requests.clear();
    this.#unsaved.clear();
    this.current = new Conversation(null, me);
    if (me) this.open(sessionInAddress());
    else this.log.open(this.current);
  }

  /** The connection is there, perhaps again. */
  connected() {
    this.requests.clear();
    this.sessions.refresh();
    this.rejoin();
    this.draw();
  }

  /** The connection is gone. */
  disconnected() {
    this.current.live = false;
    this.current.typists.clear();
    this.current.await(undefined); // whether it was heard, joining again will tell
    this.draw();
  }

  /** The address has changed. */
  navigated() {
    if (this.current.id !== sessionInAddress()) this.open(sessionInAddress());
  }

  /** Tells the server of a fresh token, before the old one expires. */
  authenticate(token) {
    this.requests.send({ type: 'authenticate', token });
  }

  /** Takes a frame of the server. */
  received(frame) {
    this.receiver.received(frame);
    this.draw();
  }

  /** Goes to a session, or with null to an empty page where the first message makes one. */
  open(id) {
    this.view.drawer(false);
    const left = this.current;
    if (left.id) this.sessions.texts.keep(left.id, [...left.messages.values()]);
    if (left.id && left.pending.size) this.#unsaved.set(left.id, left);
    if (!left.id) for (const sent of left.pending.values()) this.view.giveBack(sent.content);
    this.current = this.#unsaved.get(id) ?? new Conversation(id, this.me);
    this.#unsaved.delete(id);
    this.current.live = false;
    this.current.title ||= this.sessions.find(id)?.title ?? '';
    this.log.open(this.current);
    if (this.outside.transport()?.ready) {
      this.view.banner(null);
      if (id) this.rejoin();
      else if (left.live) this.requests.send({ type: 'leave_session' });
    }
    this.draw();
    this.view.focus();
  }

  /** The same, and the address says so. */
  go(id) {
    history.pushState(null, '', id ? `#session=${id}` : location.pathname + location.search);
    this.open(id);
  }

  newChat() {
    if (this.current.id === null) this.view.focus();
    else this.go(null);
  }

  /** Joins the current session, from where it was left when the server can do that. */
  rejoin() {
    const conversation = this.current;
    if (conversation.id) {
      this.requests.send({ type: 'join_session', session_id: conversation.id, since: conversation.since() }, { conversation });
    } else if (conversation.unsent().length) {
      this.create();
    }
  }

  /** Makes a session of the messages that wait for one. */
  create() {
    const [first] = this.current.unsent();
    const { system } = this.settings.of(null);
    const frame = { type: 'create_session', title: titleFor(first.content), system: system || undefined };
    this.requests.send(frame, { conversation: this.current });
  }

  #older() {
    const conversation = this.current;
    if (!conversation.more || conversation.loadingOlder) return;
    conversation.loadingOlder = this.requests.send({ type: 'history', before: conversation.oldest, limit: PAGE }, { conversation });
  }

  /** Shows how things stand. */
  draw() {
    const current = this.current;
    const exists = current.id !== null;
    this.view.head({
      title: current.title || 'New chat',
      exists,
      mine: this.sessions.mine(current.id),
      ended: current.ended,
      empty: (!exists || current.loaded) && current.items().length === 0,
    });
    this.view.sidebar.show(this.sessions.shown(), current.id, this.sessions.query, this.sessions.asked);
    this.view.people(current.people, this.me);
    this.view.typing([...current.typists.values()]);
    this.view.answering(current.live && current.answering);
    this.view.figures(current.path().map((id) => current.messages.get(id)).filter(Boolean));
    this.tuning.show();
    this.log.update();
  }
}
