// One line of the conversation as an element: a message with what can be done about it, or a note.

import { render as markdown } from './render.js';

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

/** What changes the look of an item: one that is the same in all of it keeps its element. */
const LOOKS = ['kind', 'content', 'failure', 'gap', 'messageId', 'finish', 'username', 'timestamp', 'retry', 'version', 'versions', 'editing', 'open'];
export const looksTheSame = (a, b) => LOOKS.every((field) => a[field] === b[field]);

/** What is shown while the model has not said anything yet. */
export const thinking = () => make('li', { class: 'message assistant thinking' }, symbol('i-mark', 'mark'), make('div', { class: 'body' }, dots()));

/** The element of an item. `who` has `me` and `people`; for `actions` see the log. */
export function element(item, who, actions) {
  if (item.kind === 'note') return note(item, actions);
  if (item.kind === 'stream' && item.content === '') return thinking();
  const assistant = item.role === 'assistant';
  const mine = item.role === 'user' && item.userId === who.me?.id;
  const name = assistant ? 'Causerie' : mine ? who.me.name : (item.username ?? who.people.get(item.userId) ?? 'Somebody');
  const text = make('div', { class: 'text' });
  if (assistant) text.append(markdown(item.content));
  else text.append(item.content);
  const body = make('div', { class: 'body' }, make('p', { class: 'meta' }, make('b', {}, mine ? 'You' : name), item.timestamp ? time(item.timestamp) : ''));
  if (item.editing) body.append(actions.editor(item));
  else body.append(text, ...below(item, mine, actions));
  const kind = item.kind === 'stream' ? 'assistant streaming' : `${item.role}${mine ? ' mine' : ''}${item.kind === 'pending' && !item.failure ? ' pending' : ''}`;
  return make('li', { class: `message ${kind}`, 'data-id': item.id }, assistant ? symbol('i-mark', 'mark') : avatar(name, { 'aria-hidden': 'true' }), body);
}

/** What stands below a message: its versions, what can be done with it, and how it ended or what became of sending it. */
function below(item, mine, actions) {
  const parts = [];
  if (item.versions > 1) parts.push(versions(item, actions));
  if (item.kind === 'message' && item.open) {
    if (mine) parts.push(button('edit', 'i-rename', 'Edit this message', () => actions.edit(item.id)));
    if (item.role === 'assistant') parts.push(button('again', 'i-again', 'Answer this again', () => actions.again(item.id)));
  }
  const line = state(item, actions);
  if (parts.length === 0) return line ? [line] : [];
  return [make('div', { class: 'turn' }, ...parts, line ?? '')];
}

const button = (kind, picture, label, click, disabled = false) =>
  make('button', { class: `icon ${kind}`, type: 'button', title: label, 'aria-label': label, disabled, click }, symbol(picture));

function versions({ id, version, versions: count }, actions) {
  return make(
    'span',
    { class: 'versions', role: 'group', 'aria-label': `Version ${version} of ${count}` },
    button('before', 'i-before', 'Version before', () => actions.step(id, -1), version === 1),
    make('span', { 'aria-hidden': 'true' }, `${version}/${count}`),
    button('after', 'i-after', 'Version after', () => actions.step(id, 1), version === count),
  );
}

/** The small line below a message: how it ended, or what became of sending it. */
function state(item, actions) {
  if (item.kind === 'stream') return item.gap ? make('p', { class: 'state' }, 'A part of this answer is missing here; it is on its way.') : null;
  if (item.kind === 'pending' && item.failure) {
    const { reason, retryable } = item.failure;
    const line = make('p', { class: 'state failed', role: 'alert' }, `Not saved: ${reason} `);
    if (retryable) line.append(make('button', { type: 'button', click: () => actions.retry(item.clientId) }, 'Send again'), ' ');
    line.append(make('button', { type: 'button', click: () => actions.discard(item.clientId) }, 'Discard'));
    return line;
  }
  if (item.kind === 'pending') return make('p', { class: 'state' }, item.messageId ? 'Saved' : 'Sending…');
  const parts = [];
  if (item.finish === 'stopped') parts.push('Stopped');
  if (item.finish === 'length') parts.push('Cut off: as long as it may be');
  if (item.finish === 'error') parts.push('Broken off by an error');
  const tokens = item.usage?.completion_tokens;
  if (tokens) parts.push(`${tokens} ${tokens === 1 ? 'token' : 'tokens'}`);
  if (item.timings?.tokens_per_second) parts.push(`${Math.round(item.timings.tokens_per_second)} per second`);
  return parts.length ? make('p', { class: 'state' }, parts.join(' · ')) : null;
}

/** A message of one's own as a form: Enter sends it, Escape leaves it as it was. */
export function editor(item, { done, cancel }) {
  const field = make('textarea', { 'aria-label': 'Your message, to be changed', rows: '1', enterkeyhint: 'send' });
  field.value = item.content;
  const fit = () => {
    field.style.height = 'auto';
    field.style.height = `${field.scrollHeight}px`;
  };
  const send = (event) => {
    event.preventDefault();
    if (field.value.trim() !== '') done(field.value.trim());
  };
  field.addEventListener('input', fit);
  field.addEventListener('keydown', (event) => {
    if (event.isComposing) return;
    if (event.key === 'Enter' && !event.shiftKey) return send(event);
    if (event.key !== 'Escape') return;
    event.stopPropagation(); // it would stop an answer, too
    cancel();
  });
  const buttons = make('p', { class: 'buttons' }, make('button', { class: 'primary' }, 'Send'), make('button', { type: 'button', click: cancel }, 'Cancel'));
  const form = make('form', { class: 'editor', submit: send }, field, buttons);
  return { form, field, fit };
}

function note(item, actions) {
  const text = make('div', { class: 'text', role: item.tone === 'error' && 'alert' });
  if (item.command) text.append(make('code', { class: 'asked' }, item.command));
  text.append(item.content ?? '…');
  const buttons = make('p', { class: 'buttons' });
  if (item.retry) buttons.append(make('button', { type: 'button', click: item.retry }, 'Ask again'));
  buttons.append(make('button', { type: 'button', class: 'quiet', click: () => actions.dismiss(item.key) }, 'Dismiss'));
  return make('li', { class: `note ${item.tone ?? ''}` }, text, buttons);
}

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

function time(timestamp) {
  const date = new Date(timestamp);
  if (Number.isNaN(date.valueOf())) return '';
  const today = date.toDateString() === new Date().toDateString();
  return make('time', { datetime: date.toISOString(), title: day.format(date) }, (today ? clock : day).format(date));
}

const dots = () => make('p', { class: 'dots', role: 'img', 'aria-label': 'Causerie is thinking' }, make('i'), make('i'), make('i'));

/** A picture of the page's own set. */
export function symbol(name, kind) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  if (kind) svg.setAttribute('class', kind);
  svg.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', `#${name}`);
  svg.append(use);
  return svg;
}
