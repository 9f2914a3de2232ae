// What the server says, and what becomes of it: in the chat that is shown, in the list of chats, or as a word to people.

import { PAGE } from './requests.js';

/** Frames that mean nothing here when they are about another session than the one shown. */
const ABOUT_CURRENT = new Set(['message', 'message_delta', 'typing', 'presence', 'history_page', 'session_ended', 'notice']);

/** The part of a `Chat` that takes frames. */
export class Receiver {
  constructor(chat) {
    this.chat = chat;
  }

  /** Takes a frame of the server. */
  received(frame) {
    const about = this.chat.requests.answered(frame);
    if (about.answered) return about.answered(frame);
    const { id } = this.chat.current;
    const foreign = frame.session_id !== undefined && id !== null && frame.session_id !== id;
    if (!(foreign && ABOUT_CURRENT.has(frame.type))) this.#take(frame, about);
  }

  #take(frame, about) {
    const current = this.chat.current;
    switch (frame.type) {
      case 'session_list':
        this.chat.sessions.listed(frame);
        break;
      case 'session_joined':
        return this.#joined(frame, about);
      case 'history_page':
        if (about.conversation !== current) return;
        current.loadingOlder = false;
        return current.page({ ...frame, messages: frame.messages.map((message) => this.chat.timings.told(message)) }, about.fresh);
      case 'message':
        return this.#message(frame);
      case 'message_delta':
        if (current.delta(frame) === 'gap') this.chat.rejoin();
        break;
      case 'ack': {
        const clientId = frame.client_id ?? about.sent?.clientId;
        this.chat.outbox.confirmed(clientId);
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
    const current = this.chat.current;
    if (conversation !== current && frame.session_id !== current.id) return;
    this.chat.view.banner(null);
    const created = current.id === null;
    const fresh = current.joined(frame);
    current.live = true;
    if (created) {
      this.chat.settings.begun(current.id);
      history.replaceState(null, '', `#session=${current.id}`);
      this.chat.sessions.refresh();
    }
    if (fresh) this.chat.requests.send({ type: 'history', limit: PAGE }, { conversation: current, fresh });
    for (const sent of current.unsent()) this.chat.speaker.transmit(sent);
  }

  #message(frame) {
    const current = this.chat.current;
    if (current.missesBefore(frame)) return this.chat.rejoin();
    this.chat.timings.keep(frame);
    const isNew = current.message(frame);
    // The list is by last activity.
    if (frame.role === 'assistant') this.chat.sessions.refresh();
    if (!isNew || (frame.role === 'user' && frame.user_id === this.chat.me.id)) return;
    this.chat.view.announce(`${frame.role === 'assistant' ? 'Causerie' : (frame.username ?? 'Somebody')}: ${frame.content}`);
  }

  #sessionChanged(frame) {
    const here = frame.session_id === this.chat.current.id;
    switch (frame.type) {
      case 'session_ended':
        this.chat.current.ended = true;
        this.chat.current.note({ content: frame.message });
        break;
      case 'session_renamed':
        if (here) this.chat.current.title = frame.session_title;
        break;
      case 'session_deleted':
        if (!here) break;
        this.chat.settings.forget(frame.session_id);
        this.chat.sessions.texts.forget(frame.session_id);
        this.chat.view.toast('This chat was deleted.');
        this.chat.current.live = false; // gone: nothing to leave
        this.chat.go(null);
        break;
      case 'invited': {
        const [title, who] = [`“${frame.session_title}”`, frame.username];
        this.chat.view.toast(who === this.chat.me.name ? `${frame.by} invited you to ${title}.` : `${who} can join ${title} now.`);
        break;
      }
      default:
        return; // of a later version
    }
    this.chat.sessions.refresh();
  }

  #notice(frame) {
    if (frame.code === 'token_expiring') {
      this.chat.outside.renew().catch((error) => this.chat.view.toast(`Your sign-in ends soon and could not be renewed: ${error.message}`, 'error'));
    } else if (frame.code === 'server_draining') {
      this.chat.view.banner({ text: 'The server is stopping: it takes nothing new. This page comes back with it, and what you write is kept.' });
    } else if (frame.code === 'messages_missing') {
      this.chat.requests.send({ type: 'history', limit: PAGE }, { conversation: this.chat.current });
    } else if (frame.code !== 'token_renewed') {
      this.chat.current.notice(frame);
    }
  }

  /** Shows an error where what it answers was asked. */
  #error(frame, { frame: asked, conversation, sent, note }) {
    if (frame.code === 'nothing_to_stop') return; // it ended by itself just before
    const place = conversation ?? this.chat.current;
    const again = frame.retryable === true;
    const message = trouble(frame);
    if (!sent && (!asked || asked.type === 'regenerate')) place.await(undefined);
    if (sent && this.chat.outbox.failed(place, sent.clientId, message, again)) return;
    if (note) {
      place.dismiss(note.key);
      place.note({ tone: 'error', command: note.command, content: message });
    } else if (asked?.type === 'create_session') {
      for (const waiting of place.unsent()) this.chat.outbox.failed(place, waiting.clientId, message, again);
    } else if (asked?.type === 'join_session') {
      this.#notJoined(frame, place, message, again);
    } else if (asked && !sent) {
      place.loadingOlder = false;
      this.chat.view.toast(message, 'error');
    } else {
      const shown = place.note({ tone: 'error', content: message });
      if (again) shown.retry = this.chat.speaker.askAgain(place, shown);
      this.chat.outside.health();
    }
  }

  #notJoined(frame, place, message, again) {
    if (place !== this.chat.current) return;
    place.ended = !again;
    if (again) return this.chat.view.banner({ text: message, action: 'Try again', run: () => this.chat.rejoin() });
    const closed = `This chat is not open to ${this.chat.me.name}: it was deleted, or its owner has not invited you. The owner can, by that name.`;
    const text = frame.code === 'session_not_found' ? closed : message;
    this.chat.view.banner({ text, action: 'New chat', run: () => this.chat.newChat() });
  }
}

/** An error as a sentence for people. */
export function trouble(frame) {
  const wait = frame.retry_after_ms ? ` Try again in ${Math.ceil(frame.retry_after_ms / 1000)} s.` : '';
  return `${frame.message}${frame.detail ? `: ${frame.detail}` : ''}.`.replace(/([.!?])\.$/, '$1') + wait;
}
