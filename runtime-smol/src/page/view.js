// Everything around the messages: the sign-in panel, the list of chats, the head, the composer, dialogs and toasts.

import { figures, words } from './gauges.js';
import { avatar, make } from './item.js';
import { actionOf, SHORTCUTS, shown } from './shortcuts.js';
import { Sidebar } from './sidebar.js';

const $ = (id) => document.getElementById(id);

/** Milliseconds that a toast stays. */
const TOAST = 6000;

/** Fields in which a key is a letter. */
const TEXT = 'textarea, input:not([type=radio], [type=range])';

/** The list of chats is opened like the drawer. */
const narrow = matchMedia('(max-width: 760px)');
/** The drawer lies over the chat. */
const middling = matchMedia('(max-width: 1060px)');

/** Connects what people do with `actions`; see the calls for what each gets. */
export class View {
  #drawn = new Map();

  constructor(actions) {
    this.actions = actions;
    this.message = $('message');
    this.logParts = { scroll: $('scroll'), list: $('log'), jump: $('jump'), older: $('older') };
    this.sidebar = new Sidebar(actions.sessions);
    this.context = undefined;
    for (const { keys, action } of SHORTCUTS) {
      const place = document.querySelector(`kbd[data-action="${action}"]`);
      if (place) place.textContent = shown(keys).join(' ');
    }
    $('sign-in-form').addEventListener('submit', (event) => {
      event.preventDefault();
      actions.signIn($('credential').value);
    });
    const on = (id, run) => $(id).addEventListener('click', run);
    on('new', () => actions.newChat());
    on('sign-out', () => actions.signOut());
    on('invite', () => actions.invite());
    on('settings', () => this.settings());
    on('settings-close', () => this.settings(false));
    on('settings-reset', () => actions.settings.reset());
    on('more', () => this.sidebar.menu(actions.current(), $('more')));
    on('help', () => this.help());
    on('skip', () => this.message.focus());
    on('stop', () => actions.stop());
    on('menu', () => this.drawer($('sidebar').classList.contains('open') === false));
    on('shade', () => {
      this.drawer(false);
      this.settings(false);
    });
    for (const width of [narrow, middling]) width.addEventListener('change', () => this.#cover());
    on('ideas', (event) => event.target.closest('button') && actions.send(event.target.textContent));
    this.#composer();
    addEventListener('keydown', (event) => this.#key(event));
  }

  #composer() {
    $('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    this.message.addEventListener('input', () => {
      this.#fit();
      this.actions.composing(this.message.value !== '');
    });
    this.message.addEventListener('keydown', (event) => {
      // While an input method composes a character, Enter belongs to it.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    this.#fit();
  }

  #send() {
    const text = this.message.value.trim();
    if (text === '' || !this.actions.send(text)) return;
    this.message.value = '';
    this.#fit();
  }

  #changed(what, value) {
    const drawn = JSON.stringify(value);
    const before = this.#drawn.get(what);
    this.#drawn.set(what, drawn);
    return drawn !== before;
  }

  /** The field grows with its text, up to what the style allows. */
  #fit() {
    this.message.style.height = 'auto';
    this.message.style.height = `${this.message.scrollHeight}px`;
    $('send').disabled = this.message.value.trim() === '';
  }

  #key(event) {
    if ($('app').hidden || $('dialog').open || $('menu-of').matches(':popover-open')) return;
    const action = actionOf(event, event.target.matches?.(TEXT));
    if (!action) return;
    if (action !== 'stop') event.preventDefault();
    if (action === 'search') this.search();
    else if (action === 'newChat') this.actions.newChat();
    else if (action === 'previous' || action === 'next') this.actions.sessions.step(action === 'next' ? 1 : -1);
    else if (action === 'settings') this.settings();
    else if (action === 'help') this.help();
    else this.#escape();
  }

  /** Escape closes what lies on top, and stops an answer when nothing does. */
  #escape() {
    if ($('sidebar').classList.contains('open')) this.drawer(false);
    else if (!$('drawer').hidden && (middling.matches || $('drawer').contains(document.activeElement))) this.settings(false);
    else this.actions.stop();
  }

  /** Goes to the search, on a phone with the list that it is in. */
  search() {
    if (narrow.matches) this.drawer(true);
    $('search').focus();
    $('search').select();
  }

  /** A dialog: `ask`, `share` or `tell`, see `dialogs.js`. Resolves to null where it could not be loaded. */
  async dialog(kind, what) {
    const dialogs = await this.later(() => import('./dialogs.js'));
    return dialogs && dialogs[kind](what);
  }

  /** A part of the page that is loaded when it is first wanted; null, and a word about it, where it cannot be had. */
  async later(load) {
    try {
      return await load();
    } catch {
      this.toast('This needs the server, which cannot be reached now.', 'error');
      return null;
    }
  }

  /** Shows which keys there are. */
  help() {
    const row = ({ keys, text }) => make('div', {}, make('dt', {}, ...shown(keys).flatMap((key) => [make('kbd', {}, key), ' '])), make('dd', {}, text));
    return this.dialog('tell', { title: 'Keys', parts: [make('dl', { class: 'shortcuts' }, ...SHORTCUTS.map(row))] });
  }

  /** Shows the sign-in panel, with what went wrong, if anything did. */
  signIn(reason) {
    $('splash')?.remove();
    $('app').hidden = true;
    $('sign-in').hidden = false;
    $('sign-in-reason').hidden = !reason;
    $('sign-in-reason').textContent = reason ?? '';
    $('credential').value = '';
    $('credential').focus();
    document.title = 'Causerie';
  }

  /** Shows the chat, to whom is signed in. */
  app(me) {
    $('splash')?.remove();
    $('sign-in').hidden = true;
    $('app').hidden = false;
    $('me-name').textContent = me.name;
    const face = avatar(me.name, { id: 'me-avatar', 'aria-hidden': 'true' });
    $('me-avatar').replaceWith(face);
    this.#fit();
  }

  /** Says how the connection is, to style sheets and tests. */
  connection(kind) {
    $('app').dataset.connection = kind;
  }

  /** Opens or closes the list of chats, where it is not there all the time. */
  drawer(open) {
    const was = $('sidebar').classList.contains('open');
    $('sidebar').classList.toggle('open', open);
    $('menu').setAttribute('aria-expanded', String(open));
    this.#cover();
    if (open) $('new').focus();
    else if (was && $('sidebar').contains(document.activeElement)) $('menu').focus();
  }

  /** Opens or closes the drawer of settings; without an argument, the other of the two. */
  async settings(open = $('drawer').hidden) {
    if (open && !(await this.later(() => this.actions.settings.fill()))) return;
    const was = !$('drawer').hidden;
    $('drawer').hidden = !open;
    $('settings').setAttribute('aria-expanded', String(open));
    this.#cover();
    if (open) $('settings-close').focus();
    else if (was) (middling.matches ? $('settings') : this.message).focus();
  }

  /** Where there is no room beside it, what lies below an open panel can be neither seen nor reached. */
  #cover() {
    const list = $('sidebar').classList.contains('open');
    const drawer = middling.matches && !$('drawer').hidden;
    const covered = drawer || (narrow.matches && list);
    $('shade').hidden = !covered;
    $('chat').inert = covered;
    $('sidebar').inert = drawer;
  }

  /** The head of the conversation; `mine` says whether it may be changed by whoever is signed in. */
  head({ title, exists, mine, ended, empty }) {
    $('title').textContent = title;
    document.title = exists ? `${title} · Causerie` : 'Causerie';
    $('invite').hidden = !mine;
    $('more').hidden = !exists;
    $('keys').hidden = !empty;
    $('welcome').hidden = !empty;
    this.message.placeholder = ended ? 'This chat is closed' : 'Message, or / for commands';
    this.message.disabled = ended;
  }

  /** Which model answers, or how far it is. */
  model({ text, ready, progress, context }) {
    $('model').textContent = text;
    $('model').classList.toggle('busy', !ready);
    $('fetched').hidden = progress === undefined;
    $('fetched').value = progress ?? 0;
    this.context = context;
  }

  /** The gauges, of the messages on the path that is shown. */
  figures(messages) {
    const now = figures(messages, this.context);
    if (!this.#changed('figures', now)) return;
    $('gauges').hidden = !now;
    if (!now) return;
    const { part, nearlyFull, used, cached } = now;
    const title = { context: `What the model reads again for each answer, of what it can${cached ? `; ${cached} of these tokens were still computed` : ''}`, answer: 'The last answer', speed: 'After its first token', 'first token': 'From the question to the first of the answer' };
    const gauge = ({ name, text }) => {
      const bar = name === 'context' && part !== undefined && make('meter', { min: '0', max: '1', high: '0.8', value: String(part), 'aria-label': 'Context used' });
      return make('li', { title: title[name] }, make('span', {}, `${name[0].toUpperCase()}${name.slice(1)} `), ...(bar ? [bar, ' '] : []), make('b', {}, text));
    };
    $('gauges').replaceChildren(...words(now).map(gauge));
    if (nearlyFull) $('gauges').append(make('li', { class: 'full' }, `Nearly full at ${used} tokens: the oldest messages will be left out.`));
  }

  people(people, me) {
    if (!this.#changed('people', [...people, me?.id])) return;
    const others = [...people].filter(([id]) => id !== me?.id);
    $('people').replaceChildren(
      ...(others.length ? [...people] : []).map(([id, name]) => {
        const label = id === me?.id ? `${name} (you)` : name;
        return make('li', { title: label }, avatar(name, { 'aria-hidden': 'true' }), make('span', { class: 'hidden' }, label));
      }),
    );
  }

  typing(names) {
    const list = names.length > 2 ? `${names.length} people are` : names.length ? `${names.join(' and ')} ${names.length > 1 ? 'are' : 'is'}` : '';
    const text = list && `${list} typing…`;
    if ($('typing').textContent !== text) $('typing').textContent = text;
  }

  answering(yes) {
    if (!yes && document.activeElement === $('stop')) this.message.focus();
    $('stop').hidden = !yes;
  }

  /** A line across the top: the connection, a chat that is not there. Null takes it away. */
  banner(what) {
    $('banner').hidden = !what;
    $('banner-text').textContent = what?.text ?? '';
    $('banner-action').hidden = !what?.action;
    $('banner-action').textContent = what?.action ?? '';
    $('banner-action').onclick = what?.run ?? null;
  }

  toast(text, tone = '') {
    const toast = make('p', { class: `toast ${tone}` }, text);
    $('toasts').append(toast);
    setTimeout(() => toast.remove(), TOAST);
  }

  /** Tells those who do not see the page. */
  announce(text) {
    $('announcer').textContent = text;
  }

  focus() {
    // On a phone the keyboard would cover what was opened.
    if (matchMedia('(pointer: fine)').matches) this.message.focus();
  }

  /** Puts text back into the field, before what is there. */
  giveBack(text) {
    this.message.value = this.message.value ? `${text}\n${this.message.value}` : text;
    this.#fit();
    this.message.focus();
  }

  /** A line that stays while something goes on: `at(count, of)`, then `done(text, tone)`. */
  progress(text) {
    const bar = make('progress', { max: '1', 'aria-label': text });
    const line = make('p', { class: 'toast' }, `${text} `, bar);
    $('toasts').append(line);
    return {
      at: (count, of) => of && (bar.value = count / of),
      done: (end, tone) => {
        line.remove();
        this.toast(end, tone);
      },
    };
  }
}
