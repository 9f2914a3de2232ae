// The drawer of the chat that is shown: what is set there, and what becomes of it.

import { make } from './item.js';

/** Where the look of the page is kept, as the system has it where nothing is; `early.js` reads it. */
const THEME = 'causerie.theme';

/** Shows the page light or dark (`''`: as the system has it). */
function useTheme(name) {
  if (name === 'light' || name === 'dark') document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
}

/** Loads a style sheet. */
const style = (href) =>
  new Promise((resolve, reject) => {
    const link = make('link', { rel: 'stylesheet', href, load: resolve, error: reject });
    document.head.append(link);
  });

/** The part of a `Chat` that knows how answers are to be. */
export class Tuning {
  #drawer = null;

  constructor(chat) {
    this.chat = chat;
  }

  /** Makes the drawer when it is first opened. Resolves to true when it is there. */
  async fill() {
    if (!this.#drawer) {
      const [{ Drawer }] = await Promise.all([import('./drawer.js'), style('drawer.css')]);
      this.#drawer ??= new Drawer({
        set: (change) => this.chat.settings.set(this.chat.current.id, change),
        newWith: (system) => this.#newWith(system),
        theme: (name) => {
          useTheme(name);
          if (name) localStorage.setItem(THEME, name);
          else localStorage.removeItem(THEME);
        },
      });
    }
    this.show(true);
    return true;
  }

  /** Fills the drawer, if there is one, with what is set for the chat that is shown. */
  show(anew) {
    const { id } = this.chat.current;
    this.#drawer?.show({ id, exists: id !== null, ...this.chat.settings.of(id) }, anew);
  }

  /** Everything as the server has it; the instructions of a chat that has begun are its own. */
  reset() {
    const { id } = this.chat.current;
    this.chat.settings.set(id, id === null ? { system: '', sampling: {} } : { sampling: {} });
    this.show(true);
    this.chat.view.toast('Everything is as the server has it.');
  }

  #newWith(system) {
    const { sampling } = this.chat.settings.of(this.chat.current.id);
    this.chat.settings.set(null, { system, sampling });
    this.chat.newChat();
  }
}
