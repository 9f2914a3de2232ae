// The drawer: instructions to the model, how its answers are sampled, and how the page looks. Loaded when it is first opened.

import { make } from './item.js';
import { FIELDS, MAX_SYSTEM, PRESETS, read, readStops } from './settings.js';

const $ = (id) => document.getElementById(id);

/** Fills the drawer for one chat. `actions`: `set(change)`, `newWith(system)` (a new chat with instructions), `theme(name)`. */
export class Drawer {
  #shown = null;

  constructor(actions) {
    this.actions = actions;
    this.inputs = new Map();
    this.system = make('textarea', { id: 'system', rows: '5', 'aria-describedby': 'system-note system-error', input: () => this.#systemTyped() });
    this.note = make('p', { id: 'system-note', class: 'about' });
    this.systemError = make('p', { id: 'system-error', class: 'wrong', role: 'alert', hidden: true });
    this.fresh = make('button', { type: 'button', click: () => this.actions.newWith(this.system.value) }, 'New chat with these instructions');
    const presets = PRESETS.map(({ name, text, sampling }) => make('button', { type: 'button', title: text, click: () => this.#preset(sampling) }, name));
    $('drawer-parts').replaceChildren(
      make('section', {}, make('h3', {}, make('label', { for: 'system' }, 'Instructions')), this.note, this.system, this.systemError, this.fresh),
      make(
        'section',
        { 'aria-labelledby': 'sampling-title' },
        make('h3', { id: 'sampling-title' }, 'Sampling'),
        make('p', { class: 'about' }, 'For the answers to what you write in this chat. What is left empty is as the server has it. Kept in this browser.'),
        make('div', { class: 'presets', role: 'group', 'aria-label': 'Presets' }, ...presets),
        ...FIELDS.map((field) => this.#field(field)),
        this.#stops(),
      ),
      this.#themes(),
    );
  }

  /** Shows the settings of a chat: `id`, `exists`, `system` and `sampling`; `anew` also if it is the same chat as before. */
  show(chat, anew = false) {
    const { exists, system, sampling } = chat;
    // What somebody is typing stays, right or wrong, as long as it is about the same chat.
    if (!anew && this.#shown?.id === chat.id) return;
    this.#shown = chat;
    this.system.readOnly = exists;
    this.system.hidden = exists && !system;
    this.fresh.hidden = !exists || !system;
    this.note.textContent = exists
      ? system
        ? 'This chat began with these, and keeps them: for others, begin a new one.'
        : 'A chat keeps the instructions that it began with. If this one has any, this browser does not know them.'
      : 'What the model is told before the first message: who it is, how it is to answer. For everybody in the chat, and for all of it.';
    this.system.placeholder = exists ? '' : 'You are a patient teacher. Answer in two sentences.';
    this.system.value = system;
    this.#mark(this.system, this.systemError, '');
    for (const [name, { fill }] of this.inputs) fill(sampling[name]);
  }

  #systemTyped() {
    const bytes = new TextEncoder().encode(this.system.value).length;
    const long = bytes > MAX_SYSTEM;
    this.#mark(this.system, this.systemError, long && `It has ${bytes} bytes; at most ${MAX_SYSTEM} are possible.`);
    if (!long) this.actions.set({ system: this.system.value.trim() });
  }

  #preset(sampling) {
    this.#sampling(() => ({ ...sampling, stop: this.#shown.sampling.stop, max_tokens: this.#shown.sampling.max_tokens }));
    for (const [name, { fill }] of this.inputs) fill(this.#shown.sampling[name]);
  }

  #sampling(change) {
    const sampling = Object.fromEntries(Object.entries(change(this.#shown.sampling)).filter(([, value]) => value !== undefined));
    this.#shown = { ...this.#shown, sampling };
    this.actions.set({ sampling });
  }

  #mark(input, line, error) {
    input.setAttribute('aria-invalid', String(Boolean(error)));
    line.hidden = !error;
    line.textContent = error || '';
  }

  #field(field) {
    const { name, label, min, max, step, text, usual, shown = max } = field;
    const id = `set-${name}`;
    const error = make('p', { id: `${id}-error`, class: 'wrong', role: 'alert', hidden: true });
    const input = make('input', { id, inputmode: field.integer ? 'numeric' : 'decimal', autocomplete: 'off', placeholder: 'Automatic', 'aria-describedby': `${id}-about ${id}-error` });
    const slider = usual === undefined ? null : make('input', { type: 'range', min: String(min), max: String(shown), step: String(step), 'aria-label': label });
    const reset = make('button', { type: 'button', class: 'quiet', 'aria-label': `Reset ${label}` }, 'Reset');
    const mark = (value) => {
      if (slider) slider.value = String(value ?? usual);
      slider?.classList.toggle('unset', value === undefined);
      slider?.setAttribute('aria-valuetext', value === undefined ? 'Automatic' : String(value));
      reset.disabled = value === undefined;
    };
    const fill = (value) => {
      input.value = value ?? '';
      this.#mark(input, error, '');
      mark(value);
    };
    const take = (value) => {
      mark(value);
      this.#sampling((sampling) => ({ ...sampling, [name]: value }));
    };
    input.addEventListener('input', () => {
      const { value, error: wrong } = read(field, input.value);
      this.#mark(input, error, wrong);
      if (!wrong) take(value);
    });
    slider?.addEventListener('input', () => {
      fill(Number(slider.value));
      take(Number(slider.value));
    });
    reset.addEventListener('click', () => {
      fill(undefined);
      take(undefined);
      input.focus();
    });
    this.inputs.set(name, { fill });
    const about = make('p', { id: `${id}-about`, class: 'about' }, `${text} ${max > 1e6 ? '' : `From ${min} to ${max}.`}`);
    return make('div', { class: 'setting' }, make('div', { class: 'setting-row' }, make('label', { for: id }, label), input, reset), slider ?? '', about, error);
  }

  #stops() {
    const error = make('p', { id: 'set-stop-error', class: 'wrong', role: 'alert', hidden: true });
    const input = make('textarea', { id: 'set-stop', rows: '2', 'aria-describedby': 'set-stop-about set-stop-error', spellcheck: 'false' });
    input.addEventListener('input', () => {
      const { value, error: wrong } = readStops(input.value);
      this.#mark(input, error, wrong);
      if (!wrong) this.#sampling((sampling) => ({ ...sampling, stop: value }));
    });
    const fill = (value) => {
      input.value = value?.join('\n') ?? '';
      this.#mark(input, error, '');
    };
    this.inputs.set('stop', { fill });
    const about = make('p', { id: 'set-stop-about', class: 'about' }, 'An answer ends before any of these texts: one a line, at most 8.');
    return make('div', { class: 'setting' }, make('label', { for: 'set-stop' }, 'Stop at'), input, about, error);
  }

  #themes() {
    const now = document.documentElement.dataset.theme ?? '';
    const choices = [['', 'As the system'], ['light', 'Light'], ['dark', 'Dark']].map(([value, label]) => {
      const radio = make('input', { type: 'radio', name: 'theme', value, checked: value === now, change: () => this.actions.theme(value) });
      return make('label', {}, radio, label);
    });
    return make('section', {}, make('fieldset', { class: 'themes' }, make('legend', {}, 'Appearance'), ...choices));
  }
}
