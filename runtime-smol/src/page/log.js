// The list of messages: keeps the DOM equal to a conversation's items, and the reader where they are.

import { editor, element, looksTheSame, thinking } from './item.js';

/** How near to the end, in pixels, a reader counts as reading the newest. */
const NEAR = 60;

/**
 * The list inside its scrolling box. `actions`: `older()`, `retry(clientId)`, `discard(clientId)`, `dismiss(key)`,
 * `again(id)`, `edit(id)` (or undefined to leave it), `change(id, text)`, and `step(id, by)`, which gives the id that is
 * shown then.
 */
export class Log {
  #nodes = new Map();
  #conversation = null;
  #scheduled = false;
  #pinned = true;
  #editor = null;
  /** Where the keyboard's focus goes with the next drawing: a message, and which of its buttons, the first one that can be used. */
  #focus = null;

  constructor({ scroll, list, jump, older }, actions) {
    Object.assign(this, { scroll, list, jump, older });
    this.actions = { ...actions, step: (id, by) => this.#step(actions.step(id, by), by), editor: (item) => this.#edit(item) };
    this.thinking = thinking();
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
    if (conversation?.waiting) this.list.append(this.thinking);
    else this.thinking.remove();
    const keys = new Set(items.map((item) => item.key));
    for (const [key, node] of this.#nodes) {
      if (keys.has(key)) continue;
      node.remove();
      this.#nodes.delete(key);
    }
    if (this.#pinned) this.toEnd();
    else if (anchor?.isConnected) this.scroll.scrollTop += anchor.getBoundingClientRect().top - before;
    this.#moveFocus();
  }

  /** Another version is shown where one was: it is looked at, not the end. */
  #step(id, by) {
    this.#pinned = false;
    this.#focus = { id, kinds: by < 0 ? ['before', 'after'] : ['after', 'before'] };
  }

  /** The form of the message that is being changed: one and the same, however often the message is drawn. */
  #edit(item) {
    if (this.#editor?.id !== item.id) {
      const cancel = () => {
        this.#focus = { id: item.id, kinds: ['edit'] };
        this.actions.edit(undefined);
      };
      this.#editor = { id: item.id, isNew: true, ...editor(item, { cancel, done: (text) => this.actions.change(item.id, text) }) };
    }
    return this.#editor.form;
  }

  #moveFocus() {
    if (this.#editor && !this.#editor.form.isConnected) this.#editor = null;
    if (this.#editor?.isNew) {
      this.#editor.isNew = false;
      this.#editor.fit();
      this.#editor.field.focus();
      this.#editor.field.setSelectionRange(-1, -1);
    }
    if (!this.#focus) return;
    const node = [...this.list.children].find((child) => child.dataset.id === this.#focus.id);
    this.#focus.kinds.map((kind) => node?.querySelector(`.${kind}:enabled`)).find(Boolean)?.focus();
    this.#focus = null;
  }

  #firstVisible() {
    const top = this.scroll.getBoundingClientRect().top;
    return [...this.list.children].find((node) => node.getBoundingClientRect().bottom > top);
  }

  #node(item) {
    const old = this.#nodes.get(item.key);
    if (old && looksTheSame(old.item, item)) return old;
    const typing = document.activeElement === this.#editor?.field;
    const node = element(item, this.#conversation, this.actions);
    node.item = { ...item };
    if (old) old.replaceWith(node);
    if (typing && item.editing) this.#editor.field.focus();
    this.#nodes.set(item.key, node);
    return node;
  }
}
