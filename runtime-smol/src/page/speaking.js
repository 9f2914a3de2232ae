// What somebody does in the chat that is shown: saying, changing, asking anew, stopping.

/** Milliseconds between two "is typing" of one person: half of what the server lets one last. */
const TYPING = 3_000;

/** A name of our own for a message, which nobody else has. */
const newClientId = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(36)).join('-');

/** The part of a `Chat` that speaks for whoever is signed in. */
export class Speaker {
  #typingSince = 0;

  constructor(chat) {
    this.chat = chat;
  }

  /** Sends what somebody has written. Returns whether it was taken. */
  send(text) {
    const conversation = this.chat.current;
    if (conversation.ended) return false;
    this.stopTyping();
    if (text.startsWith('/')) return this.#command(text);
    const sent = conversation.send(newClientId(), text, new Date().toISOString());
    this.chat.log.toEnd();
    if (conversation.id) this.transmit(sent);
    else if (conversation.unsent().length === 1) this.chat.create();
    this.chat.draw();
    return true;
  }

  /** Sends a message, maybe again; the first one makes its session. */
  transmit(sent) {
    sent.failure = null;
    if (this.chat.current.id === null) this.chat.create();
    else this.chat.outbox.transmit(this.chat.current, sent, this.chat.settings.sampling(this.chat.current.id));
    this.chat.draw();
  }

  /** Takes a message that was not saved back into the field. */
  discard(clientId) {
    this.chat.view.giveBack(this.chat.current.pending.get(clientId).content);
    this.chat.current.pending.delete(clientId);
    this.chat.draw();
  }

  #command(text) {
    const conversation = this.chat.current;
    const note = { tone: 'command', command: text };
    if (!this.chat.requests.send({ type: 'chat_message', message: text }, { note, conversation })) {
      this.chat.view.toast('Commands need a connection.', 'error');
      return false;
    }
    Object.assign(note, conversation.note(note));
    this.chat.log.toEnd();
    this.chat.draw();
    return true;
  }

  /** Stops the answer under way. */
  stop() {
    if (this.chat.current.answering) this.chat.requests.send({ type: 'stop_generation' });
  }

  /** Asks for another answer, to the same message as this one answers, or to this one. */
  again(id) {
    const conversation = this.chat.current;
    const frame = { type: 'regenerate', message_id: id, sampling: this.chat.settings.sampling(conversation.id) };
    const asked = this.chat.requests.send(frame, { conversation });
    if (!asked) this.chat.view.toast('Another answer needs a connection.', 'error');
    else conversation.await(conversation.question(id), true);
    if (asked) this.chat.log.toEnd();
    this.chat.draw();
    return asked;
  }

  /** Somebody begins to change one of their messages, or with undefined, leaves it. */
  edit(id) {
    this.chat.current.editing = id;
    this.chat.draw();
  }

  /** Says one of their messages differently. */
  change(id, text) {
    const conversation = this.chat.current;
    conversation.editing = undefined;
    const sent = text !== conversation.messages.get(id)?.content && conversation.send(newClientId(), text, new Date().toISOString(), id);
    if (sent) this.transmit(sent);
    this.chat.log.toEnd();
    this.chat.draw();
    this.chat.view.focus();
  }

  /** Shows the version before or after one. Returns the id of what is shown then. */
  step(id, by) {
    const shown = this.chat.current.step(id, by);
    const { content, version, versions } = this.chat.current.items().find((item) => item.id === shown);
    this.chat.view.announce(`Version ${version} of ${versions}: ${content}`);
    this.chat.draw();
    return shown;
  }

  /** What to do about an answer that failed: ask for it again. */
  askAgain(conversation, note) {
    const { asked } = conversation;
    return () => {
      if (this.again(asked)) conversation.dismiss(note.key);
      this.chat.draw();
    };
  }

  /** Somebody types: the others in the session are told, now and then. */
  composing(something) {
    if (!something) return this.stopTyping();
    if (!this.chat.current.live || Date.now() - this.#typingSince < TYPING) return;
    if (this.chat.outside.transport()?.send({ type: 'typing', is_typing: true })) this.#typingSince = Date.now();
  }

  /** They type no more. */
  stopTyping() {
    if (this.#typingSince && this.chat.current.live) this.chat.outside.transport()?.send({ type: 'typing', is_typing: false });
    this.#typingSince = 0;
  }
}
