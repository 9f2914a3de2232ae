// Everything around the messages: the sign-in panel, the list of chats, the head, the composer, dialogs and toasts.

import { avatar, make } from './item.js';

const $ = (id) => document.getElementById(id);

/** Milliseconds that a toast stays. */
const TOAST = 6000;

const mac = /Mac|iPhone|iPad/.test(navigator.platform);

/** Connects what people do with `actions`; see the calls for what each gets. */
export class View {
  #drawn = new Map();

  constructor(actions) {
    this.actions = actions;
    this.message = $('message');
    this.logParts = { scroll: $('scroll'), list: $('log'), jump: $('jump'), older: $('older') };
    $('new-key').textContent = mac ? '⌘K' : 'Ctrl K';
    $('sign-in-form').addEventListener('submit', (event) => {
      event.preventDefault();
      actions.signIn($('credential').value);
    });
    const on = (id, run) => $(id).addEventListener('click', run);
    on('new', () => actions.newChat());
    on('sign-out', () => actions.signOut());
    on('invite', () => actions.invite());
    on('rename', () => actions.rename());
    on('delete', () => actions.remove());
    on('skip', () => this.message.focus());
    on('stop', () => actions.stop());
    on('menu', () => this.drawer($('sidebar').classList.contains('open') === false));
    on('shade', () => this.drawer(false));
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
    if ($('app').hidden || $('dialog').open) return;
    if (event.key === 'k' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.actions.newChat();
    } else if (event.key === 'Escape') {
      if ($('sidebar').classList.contains('open')) this.drawer(false);
      else this.actions.stop();
    }
  }

  /** Shows the sign-in panel, with what went wrong, if anything did. */
  signIn(reason) {
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

  drawer(open) {
    $('sidebar').classList.toggle('open', open);
    $('shade').hidden = !open;
    $('menu').setAttribute('aria-expanded', String(open));
    if (open) $('new').focus();
  }

  sessions(list, current) {
    // Drawn only when it is another list: the keyboard's focus may be in it.
    if (!this.#changed('sessions', [list, current])) return;
    $('no-sessions').hidden = list.length > 0;
    $('sessions').replaceChildren(
      ...list.map((session) => {
        const here = session.id === current;
        const link = make('a', { href: `#session=${session.id}`, 'aria-current': here && 'page', title: session.title }, session.title || 'Untitled');
        return make('li', {}, link);
      }),
    );
  }

  /** The head of the conversation; `mine` says whether it may be changed by whoever is signed in. */
  head({ title, exists, mine, ended, empty }) {
    $('title').textContent = title;
    document.title = exists ? `${title} · Causerie` : 'Causerie';
    $('tools').hidden = !exists || !mine;
    $('welcome').hidden = !empty;
    this.message.placeholder = ended ? 'This chat is closed' : 'Message, or / for commands';
    this.message.disabled = ended;
  }

  model({ text, ready }) {
    $('model').textContent = text;
    $('model').classList.toggle('busy', !ready);
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

  /** Asks for a text, or with no `label` for a yes. Resolves to the text, `true`, or null when it was cancelled. */
  ask({ title, text, label, value = '', confirm, danger = false }) {
    const dialog = $('dialog');
    $('dialog-title').textContent = title;
    $('dialog-text').textContent = text;
    $('dialog-field').hidden = !label;
    $('dialog-label').textContent = label ?? '';
    $('dialog-input').required = Boolean(label);
    $('dialog-input').value = value;
    $('dialog-confirm').textContent = confirm;
    $('dialog-confirm').classList.toggle('danger', danger);
    $('dialog-cancel').onclick = () => dialog.close('');
    dialog.returnValue = '';
    dialog.showModal();
    (label ? $('dialog-input') : $('dialog-cancel')).focus();
    $('dialog-input').select();
    return new Promise((resolve) => {
      dialog.onclose = () => resolve(dialog.returnValue === 'confirm' ? (label ? $('dialog-input').value.trim() : true) : null);
    });
  }
}
