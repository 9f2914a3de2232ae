// The list of messages: keeps the DOM equal to a conversation's items, and the reader where they are.

import { render as markdown } from './markdown.js';

/** How near to the end, in pixels, a reader counts as reading the newest. */
const NEAR = 60;

/** Builds an element: `make('p', {class: 'x'}, 'text', node)`. */
export function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') node.addEventListener(key, value);
    else if (value !== undefined && value !== false) node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children);
  return node;
}

/** The letters and the colour that stand for a person. */
export function avatar(name, attributes = {}) {
  const words = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const letters = [...(words[0] ?? '?')][0] + ([...(words[1] ?? '')][0] ?? '');
  let tone = 0;
  for (const character of name) tone = (tone * 31 + character.codePointAt(0)) % 6;
  return make('span', { class: 'avatar', 'data-tone': String(tone), ...attributes }, letters.toUpperCase());
}

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

function time(timestamp) {
  const date = new Date(timestamp);
  if (Number.isNaN(date.valueOf())) return '';
  const today = date.toDateString() === new Date().toDateString();
  return make('time', { datetime: date.toISOString(), title: day.format(date) }, (today ? clock : day).format(date));
}

/** The list inside its scrolling box. `actions`: `older()`, `retry(clientId)`, `discard(clientId)`, `dismiss(key)`. */
export class Log {
  #nodes = new Map();
  #conversation = null;
  #scheduled = false;
  #pinned = true;

  constructor({ scroll, list, jump, older }, actions) {
    Object.assign(this, { scroll, list, jump, older, actions });
    this.thinking = make('li', { class: 'message assistant thinking' }, mark(), make('div', { class: 'body' }, dots()));
    scroll.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#pinned && this.toEnd()).observe(scroll);
    jump.addEventListener('click', () => this.toEnd());
    older.querySelector('button').addEventListener('click', () => actions.older());
  }

  /** Shows another conversation, at its end. */
  open(conversation) {
    this.#conversation = conversation;
    this.#nodes.clear();
    this.list.replaceChildren();
    this.#pinned = true;
    this.update();
  }

  /** Draws with the next frame: a burst of deltas costs one drawing. */
  update() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#draw();
    });
  }

  toEnd() {
    this.#pinned = true;
    this.scroll.scrollTop = this.scroll.scrollHeight;
    this.jump.hidden = true;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroll;
    this.#pinned = scrollHeight - scrollTop - clientHeight < NEAR;
    this.jump.hidden = this.#pinned;
    if (scrollTop < NEAR && this.#conversation?.more) this.actions.older();
  }

  #draw() {
    const conversation = this.#conversation;
    const items = conversation?.items() ?? [];
    // What is being read stays where it is when earlier messages appear above it.
    const anchor = this.#pinned ? null : this.#firstVisible();
    const before = anchor?.getBoundingClientRect().top;
    this.older.hidden = !conversation?.more;
    let previous = null;
    for (const item of items) {
      const node = this.#node(item);
      const place = previous ? previous.nextSibling : this.list.firstChild;
      if (place !== node) this.list.insertBefore(node, place);
      previous = node;
    }
    if (conversation?.modelTyping && conversation.streams.size === 0) this.list.append(this.thinking);
    else this.thinking.remove();
    const keys = new Set(items.map((item) => item.key));
    for (const [key, node] of this.#nodes) {
      if (keys.has(key)) continue;
      node.remove();
      this.#nodes.delete(key);
    }
    if (this.#pinned) this.toEnd();
    else if (anchor?.isConnected) this.scroll.scrollTop += anchor.getBoundingClientRect().top - before;
  }

  #firstVisible() {
    const top = this.scroll.getBoundingClientRect().top;
    return [...this.list.children].find((node) => node.getBoundingClientRect().bottom > top);
  }

  #node(item) {
    const old = this.#nodes.get(item.key);
    if (old && same(old.item, item)) return old;
    const node = item.kind === 'note' ? this.#note(item) : this.#message(item);
    node.item = { ...item };
    if (old) old.replaceWith(node);
    this.#nodes.set(item.key, node);
    return node;
  }

  #message(item) {
    const assistant = item.kind === 'stream' || item.role === 'assistant';
    const me = this.#conversation.me;
    const mine = item.role === 'user' && item.userId === me?.id;
    const name = assistant ? 'Causerie' : mine ? me.name : (item.username ?? this.#conversation.people.get(item.userId) ?? 'Somebody');
    const text = make('div', { class: 'text' });
    if (assistant) text.append(markdown(item.content));
    else text.append(item.content);
    const body = make('div', { class: 'body' }, make('p', { class: 'meta' }, make('b', {}, mine ? 'You' : name), item.timestamp ? time(item.timestamp) : ''), text);
    const state = this.#state(item);
    if (state) body.append(state);
    const kind = item.kind === 'stream' ? 'assistant streaming' : `${item.role}${mine ? ' mine' : ''}${item.kind === 'pending' && !item.failure ? ' pending' : ''}`;
    return make('li', { class: `message ${kind}`, 'data-id': item.id }, assistant ? mark() : avatar(name, { 'aria-hidden': 'true' }), body);
  }

  /** The small line below a message: how it ended, or what became of sending it. */
  #state(item) {
    if (item.kind === 'stream') return item.gap ? make('p', { class: 'state' }, 'A part of this answer is missing here; it is on its way.') : null;
    if (item.kind === 'pending' && item.failure) {
      const { reason, retryable } = item.failure;
      const line = make('p', { class: 'state failed', role: 'alert' }, `Not saved: ${reason} `);
      if (retryable) line.append(make('button', { type: 'button', click: () => this.actions.retry(item.clientId) }, 'Send again'), ' ');
      line.append(make('button', { type: 'button', click: () => this.actions.discard(item.clientId) }, 'Discard'));
      return line;
    }
    if (item.kind === 'pending') return make('p', { class: 'state' }, item.messageId ? 'Saved' : 'Sending…');
    const parts = [];
    if (item.finish === 'stopped') parts.push('Stopped');
    if (item.finish === 'length') parts.push('Cut off: no room for more');
    if (item.finish === 'error') parts.push('Broken off by an error');
    const tokens = item.usage?.completion_tokens;
    if (tokens) parts.push(`${tokens} ${tokens === 1 ? 'token' : 'tokens'}`);
    if (item.timings?.tokens_per_second) parts.push(`${Math.round(item.timings.tokens_per_second)} per second`);
    return parts.length ? make('p', { class: 'state' }, parts.join(' · ')) : null;
  }

  #note(item) {
    const text = make('div', { class: 'text', role: item.tone === 'error' && 'alert' });
    if (item.command) text.append(make('code', { class: 'asked' }, item.command));
    text.append(item.content ?? '…');
    const node = make('li', { class: `note ${item.tone ?? ''}` }, text);
    const buttons = make('p', { class: 'buttons' });
    if (item.retry) buttons.append(make('button', { type: 'button', click: item.retry }, 'Ask again'));
    buttons.append(make('button', { type: 'button', class: 'quiet', click: () => this.actions.dismiss(item.key) }, 'Dismiss'));
    node.append(buttons);
    return node;
  }
}

const SHOWN = ['kind', 'content', 'failure', 'gap', 'messageId', 'finish', 'username', 'timestamp', 'retry'];
const same = (a, b) => SHOWN.every((field) => a[field] === b[field]);

const dots = () => make('p', { class: 'dots', role: 'img', 'aria-label': 'Causerie is thinking' }, make('i'), make('i'), make('i'));

function mark() {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  svg.setAttribute('class', 'mark');
  svg.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', '#i-mark');
  svg.append(use);
  return svg;
}
