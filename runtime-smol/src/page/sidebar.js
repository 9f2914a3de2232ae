// The chats at the side: the list, the search above it, and the menu of each.

import { make, symbol } from './item.js';

const $ = (id) => document.getElementById(id);

/** `actions`: `search(query)`, `may(id)` (whether they may change a chat), and `rename`, `remove`, `markdown`, `json` of an id. */
export class Sidebar {
  #drawn = '';
  #menuOf = null;

  constructor(actions) {
    this.actions = actions;
    $('search').addEventListener('input', () => actions.search($('search').value));
    $('search').addEventListener('keydown', (event) => this.#key(event));
    for (const kind of ['rename', 'remove', 'markdown', 'json']) {
      $(`menu-${kind}`).addEventListener('click', () => {
        $('menu-of').hidePopover();
        actions[kind](this.#menuOf);
      });
    }
    $('menu-of').addEventListener('toggle', (event) => this.#toggled(event.newState === 'open'));
    $('menu-of').addEventListener('keydown', (event) => this.#move(event));
  }

  /** The list, and the chat that is shown; of a search its `query`, and how far the server is with it: `asked`. */
  show(list, current, query, asked) {
    // Drawn only when it is another list: the keyboard's focus may be in it.
    const drawn = JSON.stringify([list.map(({ id, title, excerpt }) => [id, title, excerpt]), current, query, asked.state, asked.more]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    if ($('search').value !== query) $('search').value = query;
    const word = this.#word(list.length, query, asked);
    $('no-sessions').hidden = !word;
    $('no-sessions').textContent = word;
    $('found').textContent = query && asked.state !== 'asking' ? `${list.length} ${list.length === 1 ? 'chat' : 'chats'} found` : '';
    const focused = document.activeElement.closest?.('#sessions li')?.dataset.id;
    $('sessions').replaceChildren(...list.map((session) => this.#row(session, current)));
    if (focused) $('sessions').querySelector(`[data-id="${focused}"] a`)?.focus();
  }

  /** What there is to say above the list. */
  #word(count, query, { state, more }) {
    if (!query) return count ? '' : 'Your chats will be listed here.';
    if (state === 'failed') return 'The server did not answer: only what was opened here was searched.';
    if (more) return 'There may be more in older chats.';
    if (count) return '';
    return state === 'asking' ? 'Searching…' : 'No chat has all of these words.';
  }

  #row({ id, title, excerpt }, current) {
    const link = make('a', { href: `#session=${id}`, 'aria-current': id === current && 'page', title }, make('span', { dir: 'auto' }, title || 'Untitled'));
    if (excerpt) link.append(make('small', { dir: 'auto' }, excerpt));
    const more = make('button', { class: 'icon more', type: 'button', 'aria-label': `More for ${title || 'Untitled'}`, 'aria-haspopup': 'true' }, symbol('i-more'));
    more.addEventListener('click', () => this.menu(id, more));
    return make('li', { 'data-id': id }, link, more);
  }

  /** Opens the menu of a chat beside a button. */
  menu(id, button) {
    const menu = $('menu-of');
    this.#menuOf = id;
    this.button = button;
    for (const kind of ['rename', 'remove']) $(`menu-${kind}`).hidden = !this.actions.may(id);
    menu.showPopover();
    const { bottom, top, right } = button.getBoundingClientRect();
    const { width, height } = menu.getBoundingClientRect();
    menu.style.left = `${Math.max(8, Math.min(right - width, innerWidth - width - 8))}px`;
    menu.style.top = `${bottom + height + 8 < innerHeight ? bottom + 4 : Math.max(8, top - height - 4)}px`;
    menu.querySelector('button:not([hidden])').focus();
  }

  #toggled(open) {
    this.button?.setAttribute('aria-expanded', String(open));
    if (!open && $('menu-of').contains(document.activeElement)) this.button?.focus();
  }

  /** Arrows go through the menu. */
  #move(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const items = [...$('menu-of').querySelectorAll('button:not([hidden])')];
    items[(items.indexOf(document.activeElement) + by + items.length) % items.length].focus();
  }

  /** Enter opens the first that was found, an arrow goes to it, Escape ends the search. */
  #key(event) {
    const first = $('sessions').querySelector('a');
    if (event.key === 'Escape' && $('search').value !== '') {
      event.stopPropagation();
      $('search').value = '';
      this.actions.search('');
    } else if ((event.key === 'Enter' || event.key === 'ArrowDown') && first && !event.isComposing) {
      event.preventDefault();
      if (event.key === 'Enter') first.click();
      else first.focus();
    }
  }
}
