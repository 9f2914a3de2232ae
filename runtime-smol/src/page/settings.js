// What somebody has set for their messages in each chat: kept in this browser, sent with what they say.

const KEY = 'causerie.settings';
/** The name under which the settings of a chat stand that has not begun. */
export const DRAFT = 'new';
/** Chats whose settings are kept; those that were changed longest ago go first. */
export const MAX_CHATS = 200;
/** Bytes of instructions, as the server limits them. */
export const MAX_SYSTEM = 32_768;

/** The sampling that the protocol offers: bounds are the server's; `usual` is what the slider stands at while nothing is set. */
export const FIELDS = [
  { name: 'temperature', label: 'Temperature', min: 0, max: 5, shown: 2, step: 0.05, usual: 0.2, text: 'How freely words are chosen: 0 always takes the likeliest one, 1 is lively, above 1.5 is wild.' },
  { name: 'top_p', label: 'Top p', min: 0, max: 1, step: 0.01, usual: 0.9, text: 'Chooses among the likeliest words that together have this probability. Less is safer.' },
  { name: 'top_k', label: 'Top k', min: 0, max: 4_294_967_295, step: 1, integer: true, text: 'Chooses among this many of the likeliest words; 0 is all of them.' },
  { name: 'min_p', label: 'Min p', min: 0, max: 1, step: 0.01, usual: 0, text: 'Leaves out words less likely than this part of the likeliest one.' },
  { name: 'repetition_penalty', label: 'Repetition penalty', min: 0.1, max: 10, shown: 2, step: 0.01, usual: 1.05, text: 'Above 1 it avoids words that were just used; 1 changes nothing.' },
  { name: 'max_tokens', label: 'Longest answer', min: 1, max: 32_768, step: 1, integer: true, text: 'In tokens; one is some three quarters of a word.' },
  { name: 'seed', label: 'Seed', min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, integer: true, text: 'With the same number, the same question in the same place gets the same answer.' },
];
/** Stop texts: how many, and bytes of each. */
export const STOPS = { count: 8, bytes: 64 };

/** Sets of values for those who want none of the numbers. */
export const PRESETS = [
  { name: 'Exact', text: 'always the likeliest words', sampling: { temperature: 0 } },
  { name: 'Default', text: 'as the server has it', sampling: {} },
  { name: 'Inventive', text: 'a freer choice of words', sampling: { temperature: 0.9, top_p: 0.95 } },
];

/** What somebody has typed for a field: `{value}` (undefined for nothing) or `{error}`, for people. */
export function read(field, text) {
  const trimmed = text.trim().replace(',', '.');
  if (trimmed === '') return { value: undefined };
  const value = Number(trimmed);
  const range = `from ${field.min} to ${field.max}`;
  if (!Number.isFinite(value)) return { error: `Write a number ${range}.` };
  if (field.integer && !Number.isInteger(value)) return { error: `Write a whole number ${range}.` };
  if (value < field.min || value > field.max) return { error: `It goes ${range}.` };
  return { value };
}

/** Stop texts, one a line: `{value}` or `{error}`. */
export function readStops(text) {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  if (lines.length > STOPS.count) return { error: `At most ${STOPS.count} lines.` };
  const long = lines.find((line) => new TextEncoder().encode(line).length > STOPS.bytes);
  if (long) return { error: `“${long.slice(0, 20)}…” is longer than ${STOPS.bytes} bytes.` };
  return { value: lines.length ? lines : undefined };
}

/** The settings of all chats, over `storage` (localStorage, or something like it). */
export class Settings {
  #chats;

  constructor(storage) {
    this.storage = storage;
    this.reload();
  }

  /** Reads them anew: another tab may have changed them, or somebody else has signed in. */
  reload() {
    try {
      const kept = JSON.parse(this.storage.getItem(KEY) ?? '{}');
      this.#chats = new Map(Object.entries(kept && typeof kept === 'object' ? kept : {}));
    } catch {
      this.#chats = new Map(); // not ours, or half written
    }
  }

  /** What is set for a chat: `{system, sampling}`, of which nothing may be there. */
  of(id) {
    const { system, sampling } = this.#chats.get(id ?? DRAFT) ?? {};
    return { system: typeof system === 'string' ? system : '', sampling: known(sampling) };
  }

  /** The `sampling` of a frame, or undefined where nothing is set. */
  sampling(id) {
    const { sampling } = this.of(id);
    return Object.keys(sampling).length ? sampling : undefined;
  }

  /** Changes some of what is set for a chat. */
  set(id, change) {
    const next = { ...this.of(id), ...change };
    this.#chats.delete(id ?? DRAFT);
    if (next.system || Object.keys(next.sampling).length) this.#chats.set(id ?? DRAFT, next);
    while (this.#chats.size > MAX_CHATS) this.#chats.delete(this.#chats.keys().next().value);
    this.#save();
  }

  /** A chat has begun: what was set for it is its own now. */
  begun(id) {
    const draft = this.#chats.get(DRAFT);
    if (!draft) return;
    this.#chats.delete(DRAFT);
    this.#chats.set(id, draft);
    this.#save();
  }

  forget(id) {
    if (this.#chats.delete(id)) this.#save();
  }

  /** Whoever signs out leaves nothing of this behind. */
  clear() {
    this.#chats.clear();
    this.storage.removeItem(KEY);
  }

  #save() {
    try {
      this.storage.setItem(KEY, JSON.stringify(Object.fromEntries(this.#chats)));
    } catch {
      // The browser gives no more room: it holds for this tab all the same.
    }
  }
}

/** Of what is kept, that which the server would take today. */
function known(sampling) {
  const good = {};
  for (const field of FIELDS) {
    const { value } = read(field, String(sampling?.[field.name] ?? ''));
    if (value !== undefined) good[field.name] = value;
  }
  const { value } = readStops(Array.isArray(sampling?.stop) ? sampling.stop.join('\n') : '');
  return value ? { ...good, stop: value } : good;
}
