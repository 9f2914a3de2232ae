// The chats of whoever is signed in: frames from the server and what people do come in, requests and drawing go out.

import { Log } from './log.js';
import { Outbox } from './outbox.js';
import { Requests } from './requests.js';
import { Conversation, titleFor } from './state.js';

/** Messages asked for at once. */
const PAGE = 50;
/** Milliseconds between two "is typing" of one person: half of what the server lets one last. */
const TYPING = 3_000;

/** Frames that mean nothing here when they are about another session than the one shown. */
const ABOUT_CURRENT = new Set(['message', 'message_delta', 'typing', 'presence', 'history_page', 'session_ended', 'notice']);

/** The session that the address names. */
const sessionInAddress = () => /^#session=([0-9a-f-]{36})$/i.exec(location.hash)?.[1] ?? null;

/** A name of our own for a message, which nobody else has. */
const newClientId = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(36)).join('-');

/** One person's chats. `outside` has `view`, `transport()` (the connection, or null), `renew()` and `health()`. */
export class Chat {
  #sessions = [];
  #current = new Conversation(null, null);
  /** Sessions that were left with something unsaved, by id: it is there when one comes back. */
  #unsaved = new Map();
  #requests;
  #outbox;
  #typingSince = 0;

  constructor(outside) {
    this.outside = outside;
    this.view = outside.view;
    this.me = null;
    this.#requests = new Requests(outside.transport);
    this.#outbox = new Outbox({
      requests: this.#requests,
      ready: () => outside.transport()?.ready,
      failed: (conversation, reason) => {
        if (conversation !== this.#current) this.view.toast(`A message in “${conversation.title}” was not saved: ${reason}`, 'error');
      },
      changed: () => this.#draw(),
    });
    this.log = new Log(this.view.logParts, {
      older: () => this.#older(),
      retry: (clientId) => this.#transmit(this.#current.pending.get(clientId)),
      discard: (clientId) => this.#discard(clientId),
      dismiss: (key) => {
        this.#current.dismiss(key);
        this.#draw();
      },
      again: (id) => this.#again(id),
      edit: (id) => this.#edit(id),
      change: (id, text) => this.#change(id, text),
      step: (id, by) => this.#step(id, by),
    });
    addEventListener('beforeunload', (event) => this.#current.unsent().length && event.preventDefault());
  }

  /** Somebody has signed in (or with null, out): nothing of anybody else's stays. */
  enter(me) {
    this.me = me;
    this.#sessions = [];
    this.#requests.clear();
    this.#unsaved.clear();
    this.#current = new Conversation(null, me);
    if (me) this.#open(sessionInAddress());
    else this.log.open(this.#current);
  }

  /** The connection is there, perhaps again. */
  connected() {
    this.#requests.clear();
    this.#requests.send({ type: 'list_sessions' });
    this.#rejoin();
    this.#draw();
  }

  /** The connection is gone. */
  disconnected() {
    this.#current.live = false;
    this.#current.typists.clear();
    this.#draw();
  }

  /** The address has changed. */
  navigated() {
    if (this.#current.id !== sessionInAddress()) this.#open(sessionInAddress());
  }

  /** Tells the server of a fresh token, before the old one expires. */
  authenticate(token) {
    this.#requests.send({ type: 'authenticate', token });
  }

  // ---- Sessions ----

  /** Goes to a session, or with null to an empty page where the first message makes one. */
  #open(id) {
    this.view.drawer(false);
    const left = this.#current;
    if (left.id && left.pending.size) this.#unsaved.set(left.id, left);
    if (!left.id) for (const sent of left.pending.values()) this.view.giveBack(sent.content);
    this.#current = this.#unsaved.get(id) ?? new Conversation(id, this.me);
    this.#unsaved.delete(id);
    this.#current.live = false;
    this.#current.title ||= this.#sessions.find((session) => session.id === id)?.title ?? '';
    this.log.open(this.#current);
    if (this.outside.transport()?.ready) {
      this.view.banner(null);
      if (id) this.#rejoin();
      else if (left.live) this.#requests.send({ type: 'leave_session' });
    }
    this.#draw();
    this.view.focus();
  }

  #go(id) {
    history.pushState(null, '', id ? `#session=${id}` : location.pathname + location.search);
    this.#open(id);
  }

  newChat() {
    if (this.#current.id === null) this.view.focus();
    else this.#go(null);
  }

  /** Joins the current session, from where it was left when the server can do that. */
  #rejoin() {
    const conversation = this.#current;
    if (conversation.id) {
      this.#requests.send({ type: 'join_session', session_id: conversation.id, since: conversation.since() }, { conversation });
    } else if (conversation.unsent().length) {
      this.#create();
    }
  }

  #create() {
    const [first] = this.#current.unsent();
    this.#requests.send({ type: 'create_session', title: titleFor(first.content) }, { conversation: this.#current });
  }

  #older() {
    const conversation = this.#current;
    if (!conversation.more || conversation.loadingOlder) return;
    conversation.loadingOlder = this.#requests.send({ type: 'history', before: conversation.oldest, limit: PAGE }, { conversation });
  }

  async invite() {
    const { id } = this.#current;
    const username = await this.view.ask({
      title: 'Invite somebody',
      text: 'They find this chat in their list, and see all of it. They need a way to sign in: causerie token --user NAME prints one.',
      label: 'Their name', confirm: 'Invite',
    });
    if (username) this.#requests.send({ type: 'invite', session_id: id, username });
  }

  async rename() {
    const { id, title: value } = this.#current;
    const title = await this.view.ask({ title: 'Rename this chat', text: '', label: 'Title', value, confirm: 'Rename' });
    if (title) this.#requests.send({ type: 'rename_session', session_id: id, title });
  }

  async remove() {
    const { id, title } = this.#current;
    const text = `“${title}” and all its messages will be gone, for everybody in it.`;
    const yes = await this.view.ask({ title: 'Delete this chat?', text, confirm: 'Delete', danger: true });
    if (yes) this.#requests.send({ type: 'delete_session', session_id: id });
  }

  // ---- Messages ----

  /** Sends what somebody has written. Returns whether it was taken. */
  send(text) {
    const conversation = this.#current;
    if (conversation.ended) return false;
    this.#stopTyping();
    if (text.startsWith('/')) return this.#command(text);
    const sent = conversation.send(newClientId(), text, new Date().toISOString());
    this.log.toEnd();
    if (conversation.id) this.#transmit(sent);
    else if (conversation.unsent().length === 1) this.#create();
    this.#draw();
    return true;
  }

  /** Sends a message, maybe again; the first one makes its session. */
  #transmit(sent) {
    sent.failure = null;
    if (this.#current.id === null) this.#create();
    else this.#outbox.transmit(this.#current, sent);
    this.#draw();
  }

  #discard(clientId) {
    this.view.giveBack(this.#current.pending.get(clientId).content);
    this.#current.pending.delete(clientId);
    this.#draw();
  }

  #command(text) {
    const conversation = this.#current;
    const note = { tone: 'command', command: text };
    if (!this.#requests.send({ type: 'chat_message', message: text }, { note, conversation })) {
      this.view.toast('Commands need a connection.', 'error');
      return false;
    }
    Object.assign(note, conversation.note(note));
    this.log.toEnd();
    this.#draw();
    return true;
  }

  stop() {
    if (this.#current.answering) this.#requests.send({ type: 'stop_generation' });
  }

  /** Asks for another answer, to the same message as this one answers, or to this one. */
  #again(id) {
    const conversation = this.#current;
    const asked = this.#requests.send({ type: 'regenerate', message_id: id }, { conversation });
    if (asked) this.log.toEnd();
    else this.view.toast('Another answer needs a connection.', 'error');
    return asked;
  }

  /** Somebody begins to change one of their messages, or with undefined, leaves it. */
  #edit(id) {
    this.#current.editing = id;
    this.#draw();
  }

  #change(id, text) {
    const conversation = this.#current;
    conversation.editing = undefined;
    const sent = text !== conversation.messages.get(id)?.content && conversation.send(newClientId(), text, new Date().toISOString(), id);
    if (sent) this.#transmit(sent);
    this.log.toEnd();
    this.#draw();
    this.view.focus();
  }

  #step(id, by) {
    const shown = this.#current.step(id, by);
    const { content, version, versions } = this.#current.items().find((item) => item.id === shown);
    this.view.announce(`Version ${version} of ${versions}: ${content}`);
    this.#draw();
    return shown;
  }

  /** What to do about an answer that failed: ask for it again. */
  #askAgain(conversation, note) {
    const { asked } = conversation;
    return () => {
      if (this.#again(asked)) conversation.dismiss(note.key);
      this.#draw();
    };
  }

  /** Somebody types: the others in the session are told, now and then. */
  composing(something) {
    if (!something) return this.#stopTyping();
    if (!this.#current.live || Date.now() - this.#typingSince < TYPING) return;
    if (this.outside.transport()?.send({ type: 'typing', is_typing: true })) this.#typingSince = Date.now();
  }

  #stopTyping() {
    if (this.#typingSince && this.#current.live) this.outside.transport()?.send({ type: 'typing', is_typing: false });
    this.#typingSince = 0;
  }

  // ---- Frames ----

  /** Takes a frame of the server. */
  received(frame) {
    const about = this.#requests.answered(frame);
    const { id } = this.#current;
    const foreign = frame.session_id !== undefined && id !== null && frame.session_id !== id;
    if (!(foreign && ABOUT_CURRENT.has(frame.type))) this.#take(frame, about);
    this.#draw();
  }

  #take(frame, about) {
    const current = this.#current;
    switch (frame.type) {
      case 'session_list':
        // One that has ended cannot be joined any more.
        this.#sessions = frame.sessions.filter((entry) => !entry.ended).map((entry) => ({ id: entry.session_id, title: entry.session_title }));
        break;
      case 'session_joined':
        return this.#joined(frame, about);
      case 'history_page':
        if (about.conversation !== current) return;
        current.loadingOlder = false;
        return current.page(frame, about.fresh);
      case 'message':
        return this.#message(frame);
      case 'message_delta':
        if (current.delta(frame) === 'gap') this.#rejoin();
        break;
      case 'ack': {
        const clientId = frame.client_id ?? about.sent?.clientId;
        this.#outbox.confirmed(clientId);
        return (about.conversation ?? current).ack({ ...frame, client_id: clientId });
      }
      case 'typing':
        return current.typing(frame);
      case 'presence':
        return current.presence(frame.participants);
      case 'command_response': {
        const place = about.conversation ?? current;
        if (about.note) place.dismiss(about.note.key);
        place.note({ tone: 'command', command: about.note?.command ?? frame.command, content: frame.content });
        break;
      }
      case 'notice':
        return this.#notice(frame);
      case 'error':
        return this.#error(frame, about);
      default:
        return this.#sessionChanged(frame);
    }
  }

  #joined(frame, { conversation }) {
    const current = this.#current;
    if (conversation !== current && frame.session_id !== current.id) return;
    this.view.banner(null);
    const created = current.id === null;
    const fresh = current.joined(frame);
    current.live = true;
    if (created) {
      history.replaceState(null, '', `#session=${current.id}`);
      this.#requests.send({ type: 'list_sessions' });
    }
    if (fresh) this.#requests.send({ type: 'history', limit: PAGE }, { conversation: current, fresh });
    for (const sent of current.unsent()) this.#transmit(sent);
  }

  #message(frame) {
    const current = this.#current;
    if (current.missesBefore(frame)) return this.#rejoin();
    const isNew = current.message(frame);
    // The list is by last activity.
    if (frame.role === 'assistant') this.#requests.send({ type: 'list_sessions' });
    if (!isNew || (frame.role === 'user' && frame.user_id === this.me.id)) return;
    this.view.announce(`${frame.role === 'assistant' ? 'Causerie' : (frame.username ?? 'Somebody')}: ${frame.content}`);
  }

  #sessionChanged(frame) {
    const here = frame.session_id === this.#current.id;
    switch (frame.type) {
      case 'session_ended':
        this.#current.ended = true;
        this.#current.note({ content: frame.message });
        break;
      case 'session_renamed':
        if (here) this.#current.title = frame.session_title;
        break;
      case 'session_deleted':
        if (!here) break;
        this.view.toast('This chat was deleted.');
        this.#current.live = false; // gone: nothing to leave
        this.#go(null);
        break;
      case 'invited': {
        const [title, who] = [`“${frame.session_title}”`, frame.username];
        this.view.toast(who === this.me.name ? `${frame.by} invited you to ${title}.` : `${who} can join ${title} now.`);
        break;
      }
      default:
        return; // of a later version
    }
    this.#requests.send({ type: 'list_sessions' });
  }

  #notice(frame) {
    if (frame.code === 'token_expiring') {
      this.outside.renew().catch((error) => this.view.toast(`Your sign-in ends soon and could not be renewed: ${error.message}`, 'error'));
    } else if (frame.code === 'server_draining') {
      this.view.banner({ text: 'The server is about to stop; this page will be back with it.' });
    } else if (frame.code === 'messages_missing') {
      this.#requests.send({ type: 'history', limit: PAGE }, { conversation: this.#current });
    } else if (frame.code !== 'token_renewed') {
      this.#current.note({ content: frame.message });
    }
  }

  /** Shows an error where what it answers was asked. */
  #error(frame, { frame: asked, conversation, sent, note }) {
    if (frame.code === 'nothing_to_stop') return; // it ended by itself just before
    const place = conversation ?? this.#current;
    const again = frame.retryable === true;
    const wait = frame.retry_after_ms ? ` Try again in ${Math.ceil(frame.retry_after_ms / 1000)} s.` : '';
    const message = `${frame.message}${frame.detail ? `: ${frame.detail}` : ''}.`.replace(/([.!?])\.$/, '$1') + wait;
    if (sent && this.#outbox.failed(place, sent.clientId, message, again)) return;
    if (note) {
      place.dismiss(note.key);
      place.note({ tone: 'error', command: note.command, content: message });
    } else if (asked?.type === 'create_session') {
      for (const waiting of place.unsent()) this.#outbox.failed(place, waiting.clientId, message, again);
    } else if (asked?.type === 'join_session') {
      if (place !== this.#current) return;
      place.ended = !again;
      this.view.banner(again ? { text: message, action: 'Try again', run: () => this.#rejoin() } : { text: message, action: 'New chat', run: () => this.newChat() });
    } else if (asked && !sent) {
      place.loadingOlder = false;
      this.view.toast(message, 'error');
    } else {
      const shown = place.note({ tone: 'error', content: message });
      if (again) shown.retry = this.#askAgain(place, shown);
      this.outside.health();
    }
  }

  #draw() {
    const current = this.#current;
    const exists = current.id !== null;
    this.view.head({
      title: current.title || 'New chat',
      exists,
      mine: exists && current.owner === this.me?.id,
      ended: current.ended,
      empty: (!exists || current.loaded) && current.items().length === 0,
    });
    this.view.sessions(this.#sessions, current.id);
    this.view.people(current.people, this.me);
    this.view.typing([...current.typists.values()]);
    this.view.answering(current.live && current.answering);
    this.log.update();
  }
}
