// The list of chats: searching it, and what can be done with each.

import { search, Texts, withOthers } from './search.js';
import { trouble } from './receiving.js';

/** Milliseconds without another letter after which the server is asked. */
const PAUSE = 150;
/** Nothing is looked for. */
const NOTHING = { query: '', state: 'done', found: [], more: false };

/** The part of a `Chat` that knows all of them. */
export class Sessions {
  constructor(chat) {
    this.chat = chat;
    this.list = [];
    this.query = '';
    this.asked = NOTHING; // of the server: `state` is `asking`, `done` or `failed`
    this.timer = 0;
    this.texts = new Texts();
  }

  /** Asks the server for the list. */
  refresh() {
    this.chat.requests.send({ type: 'list_sessions' });
  }

  /** Takes `session_list`. One that has ended cannot be joined any more. */
  listed(frame) {
    const open = frame.sessions.filter((entry) => !entry.ended);
    this.list = open.map(({ session_id: id, session_title: title, owner, active }) => ({ id, title, owner, active }));
  }

  find(id) {
    const known = (session) => session.id === id;
    return this.list.find(known) ?? this.asked.found.find(known);
  }

  /** Nothing of anybody else's stays. */
  clear() {
    this.list = [];
    this.query = '';
    this.#ask('');
    this.texts.clear();
  }

  /** Whether whoever is signed in may rename, delete and invite. */
  mine(id) {
    const { current, me } = this.chat;
    const owner = id !== null && id === current.id ? current.owner : this.find(id)?.owner;
    return owner !== undefined && owner === me?.id;
  }

  // ---- Finding ----

  /** Somebody looks for something. */
  search(query) {
    const { current } = this.chat;
    if (current.id) this.texts.keep(current.id, [...current.messages.values()]);
    this.query = query;
    this.#ask(query.trim());
    this.chat.draw();
  }

  /** Asks the server, which knows all chats, once nothing more is typed. */
  #ask(query) {
    if (query === this.asked.query && this.asked.state !== 'failed') return;
    clearTimeout(this.timer);
    const asked = query ? { query, state: 'asking', found: [], more: false } : NOTHING;
    this.asked = asked;
    if (query) this.timer = setTimeout(() => this.#answer(asked), PAUSE);
  }

  async #answer(asked) {
    try {
      const { found, more } = await this.chat.outside.find(asked.query);
      asked.found = found.map(({ session_id: id, session_title: title, owner, excerpt }) => ({ id, title, owner, excerpt: excerpt ?? undefined }));
      asked.more = more;
      asked.state = 'done';
    } catch {
      asked.state = 'failed'; // what was opened here is found all the same
    }
    if (asked === this.asked) this.chat.draw();
  }

  /** Those that are shown: all, or what was found. */
  shown() {
    return withOthers(search(this.list, this.texts, this.query), this.asked.found);
  }

  /** Goes to the chat below (1) or above (-1) in what is shown. */
  step(by) {
    const shown = this.shown();
    const at = shown.findIndex((session) => session.id === this.chat.current.id);
    const next = at < 0 ? shown[by > 0 ? 0 : shown.length - 1] : shown[at + by];
    if (next) this.chat.go(next.id);
  }

  // ---- Doing ----

  /** Lets somebody in, and says what to send them. */
  async invite() {
    const invitation = await this.chat.view.later(() => import('./invitation.js'));
    await invitation?.invite(this.chat);
  }

  async rename(id) {
    const value = this.#title(id);
    const title = await this.chat.view.dialog('ask', { title: 'Rename this chat', text: '', label: 'Title', value, confirm: 'Rename', most: 200 });
    if (title) await this.#tell({ type: 'rename_session', session_id: id, title });
  }

  async remove(id) {
    const text = `“${this.#title(id)}” and all its messages will be gone, for everybody in it.`;
    const yes = await this.chat.view.dialog('ask', { title: 'Delete this chat?', text, confirm: 'Delete', danger: true });
    if (yes) await this.#tell({ type: 'delete_session', session_id: id });
  }

  #title(id) {
    return this.find(id)?.title ?? this.chat.current.title;
  }

  /** Sends what changes a session; that it was done, everybody in it is told alike. */
  async #tell(frame) {
    if (!this.chat.requests.send(frame)) this.chat.view.toast('This needs a connection.', 'error');
  }

  /** Fetches all of a chat, page by page, and gives it as a file. `format` is `markdown` or `json`. */
  async export(id, format) {
    const { view, requests, settings } = this.chat;
    if (this.chat.current.id !== id) this.chat.go(id); // history is of the session that one is in
    const title = this.#title(id);
    const progress = view.progress(`Exporting “${title}”`);
    try {
      const { wholeHistory, download } = await import('./export.js');
      const page = async (range) => {
        const answer = await requests.ask({ type: 'history', ...range });
        if (answer.type !== 'history_page' || answer.session_id !== id) throw new Error(answer.type === 'error' ? trouble(answer) : 'another chat was opened');
        return answer;
      };
      const messages = await wholeHistory(page, (count, of) => progress.at(count, of));
      const name = download({ id, title, messages, system: settings.of(id).system || undefined }, format);
      progress.done(`${messages.length} messages are in ${name}.`);
    } catch (error) {
      progress.done(`“${title}” was not exported: ${error.message}`, 'error');
    }
  }
}
