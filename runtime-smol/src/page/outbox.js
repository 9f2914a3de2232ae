// Messages on their way to the server: sent, confirmed, or not saved.

/** Milliseconds after which a message that nobody has confirmed counts as not saved. */
const CONFIRM = 20_000;

/** Sends the messages of conversations. `outside` has `requests`, `ready()` (whether there is a connection), `failed(conversation,
 *  reason)`, called when a message was not saved, and `changed()`, when that was found out by waiting. */
export class Outbox {
  #timers = new Map();

  constructor(outside) {
    this.outside = outside;
  }

  /** Sends a message, maybe again: the server knows it by its `client_id` and stores it once. Without a connection, or before
   *  its session is joined, it stays and goes out then. `sampling` is for its answer, if anything is set. */
  transmit(conversation, sent, sampling) {
    const { content: message, clientId: client_id, edits, parent } = sent;
    const frame = edits ? { type: 'edit_message', message_id: edits, message, client_id, sampling } : { type: 'chat_message', message, client_id, parent, sampling };
    if (!conversation.live || !this.outside.requests.send(frame, { sent, conversation })) return;
    this.confirmed(client_id);
    this.#timers.set(client_id, setTimeout(() => {
      this.#timers.delete(client_id);
      // While there is no connection it is not late: it goes out again when there is one.
      if (this.outside.ready()) this.failed(conversation, client_id, 'the server has not confirmed it.', true);
      this.outside.changed();
    }, CONFIRM));
  }

  /** The server has said what became of a message. */
  confirmed(clientId) {
    clearTimeout(this.#timers.get(clientId));
    this.#timers.delete(clientId);
  }

  /** A message was not saved. Returns whether it was still waiting. */
  failed(conversation, clientId, reason, retryable) {
    this.confirmed(clientId);
    if (!conversation.fail(clientId, reason, retryable)) return false;
    this.outside.failed(conversation, reason);
    return true;
  }
}
