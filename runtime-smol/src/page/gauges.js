// What the last answer took, in figures: from what its `message` told, and the model's context where that is known.

/** From this part on the context counts as nearly full. */
const NEARLY = 0.8;

/** The figures of a conversation's path: `tokens`, `perSecond`, `firstMs`, `used` and `part` of `context`; null without an answer. */
export function figures(messages, context) {
  const answer = messages.findLast((message) => message.role === 'assistant' && message.usage);
  if (!answer) return null;
  const { usage, timings } = answer;
  const used = usage.prompt_tokens + usage.completion_tokens;
  return {
    tokens: usage.completion_tokens,
    cached: usage.cached_tokens,
    perSecond: timings?.tokens_per_second ?? undefined,
    firstMs: timings?.first_token_ms,
    used,
    context,
    part: context ? Math.min(1, used / context) : undefined,
    nearlyFull: context ? used / context >= NEARLY : false,
  };
}

const KEY = 'causerie.timings';
/** Answers of which it is kept how fast they came, the latest. */
export const MAX_TIMINGS = 100;

/** How fast answers came, which the server tells once: kept for this tab over `storage`, so that a reload loses nothing. */
export class Timings {
  #known;

  constructor(storage) {
    this.storage = storage;
    try {
      this.#known = new Map(JSON.parse(storage.getItem(KEY) ?? '[]'));
    } catch {
      this.#known = new Map(); // not ours, or half written
    }
  }

  /** Takes a `message`. */
  keep({ id, timings }) {
    if (!timings) return;
    this.#known.set(id, timings);
    if (this.#known.size > MAX_TIMINGS) this.#known.delete(this.#known.keys().next().value);
    try {
      this.storage.setItem(KEY, JSON.stringify([...this.#known]));
    } catch {
      // The browser gives no more room: it holds until the reload.
    }
  }

  /** The same message with what is known of it. */
  told(message) {
    const timings = message.timings ?? this.#known.get(message.id);
    return timings ? { ...message, timings } : message;
  }

  /** Whoever signs out leaves nothing of this behind. */
  clear() {
    this.#known.clear();
    this.storage.removeItem(KEY);
  }
}

const number = (value) => value.toLocaleString('en');

/** The same as words, for each gauge its `name` and `text`. */
export function words(figures) {
  const { tokens, perSecond, firstMs, used, context, part } = figures;
  const all = [{ name: 'context', text: context ? `${number(used)} of ${number(context)} tokens (${Math.round(part * 100)} %)` : `${number(used)} tokens` }];
  all.push({ name: 'answer', text: `${number(tokens)} ${tokens === 1 ? 'token' : 'tokens'}` });
  if (perSecond !== undefined) all.push({ name: 'speed', text: `${number(Math.round(perSecond))} tokens/s` });
  if (firstMs !== undefined) all.push({ name: 'first token', text: firstMs < 1000 ? `${Math.round(firstMs)} ms` : `${(firstMs / 1000).toFixed(1)} s` });
  return all;
}
