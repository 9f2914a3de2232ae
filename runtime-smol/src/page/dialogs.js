// What the page asks in a dialog, and what it gives to take along. Loaded with the first one.

import { copy } from './code.js';
import { make } from './item.js';

const $ = (id) => document.getElementById(id);
const dialog = $('dialog');

$('dialog-cancel').addEventListener('click', () => dialog.close(''));
// A click beside it closes it, as Escape does.
dialog.addEventListener('click', (event) => event.target === dialog && dialog.close(''));

/** Asks for a text, or with no `label` for a yes. Resolves to the text, `true`, or null when it was cancelled. */
export async function ask({ title, text, label, value = '', confirm, danger = false, most = 200 }) {
  const input = make('input', { id: 'dialog-input', autocomplete: 'off', maxlength: String(most), required: Boolean(label), value });
  const yes = await show({ title, text, confirm, danger, cancel: 'Cancel', parts: label ? [make('label', { for: 'dialog-input' }, label), input] : [] });
  if (!yes) return null;
  return label ? input.value.trim() || null : true;
}

/**
 * Gives texts to copy: `rows` of `label` and `value`, and `more` (`title`, `text`, `rows`) for whom that is not enough, with an
 * `action` (`label`, `run()`, which resolves to a further row) if there is one.
 */
export function share({ title, text, rows, more }) {
  const details = make('details', {}, make('summary', {}, more.title), make('p', {}, more.text), ...more.rows.map(copyRow));
  if (more.action) details.append(actionRow(more.action));
  return show({ title, text, confirm: 'Done', parts: [...rows.map(copyRow), details] });
}

/** A button that gives way to what it makes. */
function actionRow({ label, run }) {
  const trouble = make('p', { class: 'wrong', role: 'alert' });
  const row = make('div', { class: 'action' }, make('button', { type: 'button', click: go }, label), trouble);
  async function go({ currentTarget: button }) {
    button.disabled = true;
    try {
      const made = copyRow(await run());
      row.replaceChildren(made);
      made.querySelector('button').focus();
    } catch (error) {
      trouble.textContent = error.message;
      button.disabled = false;
    }
  }
  return row;
}

/** Says something at length: `parts` are elements. */
export function tell({ title, parts }) {
  return show({ title, text: '', confirm: 'Close', parts });
}

function show({ title, text, confirm, cancel, danger = false, parts }) {
  if (dialog.open) dialog.close('');
  $('dialog-title').textContent = title;
  $('dialog-text').textContent = text;
  $('dialog-text').hidden = !text;
  $('dialog-parts').replaceChildren(...parts);
  $('dialog-confirm').textContent = confirm;
  $('dialog-confirm').classList.toggle('danger', danger);
  $('dialog-cancel').hidden = !cancel;
  $('dialog-cancel').textContent = cancel ?? '';
  dialog.returnValue = '';
  dialog.showModal();
  const field = dialog.querySelector('input');
  (field ?? (cancel ? $('dialog-cancel') : $('dialog-confirm'))).focus();
  field?.select();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === 'confirm');
  });
}

let rows = 0;

function copyRow({ label, value }) {
  rows += 1;
  const id = `copied-${rows}`;
  const field = make('input', { id, readonly: true, value });
  const button = make('button', { type: 'button', 'aria-live': 'polite' }, 'Copy');
  button.addEventListener('click', async () => {
    button.textContent = (await copy(value)) ? 'Copied' : 'Not copied';
  });
  return make('div', {}, make('label', { for: id }, label), make('div', { class: 'copy-row' }, field, button));
}
