// Finding chats by their titles, and by the text of those that were opened in this tab: at once, before the server has looked
// through all of them.

/** Chats whose text is kept to be searched, the latest that were opened. */
const MAX_TEXTS = 100;
/** Characters of text kept of one chat, its newest. */
const MAX_CHARACTERS = 200_000;
/** Characters shown before and behind what was found. */
const AROUND = 28;

/** Letters without case and accents, so that "Uber" finds "über". Keeps the length of most texts. */
const plain = (text) => text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();

/** What was said in the chats that were opened. */
export class Texts {
  #texts = new Map();

  /** Keeps the text of a chat's messages, instead of what was known of it. */
  keep(id, messages) {
    this.#texts.delete(id);
    const text = messages.map((message) => message.content.replace(/\s+/g, ' ')).join(' · ').slice(-MAX_CHARACTERS);
    if (text) this.#texts.set(id, text);
    if (this.#texts.size > MAX_TEXTS) this.#texts.delete(this.#texts.keys().next().value);
  }

  get(id) {
    return this.#texts.get(id) ?? '';
  }

  forget(id) {
    this.#texts.delete(id);
  }

  clear() {
    this.#texts.clear();
  }
}

/**
 * The sessions in whose title or text all words of a query stand, those with a fitting title first. One that was found by
 * its text has an `excerpt`. An empty query finds all of them, as they are.
 */
export function search(sessions, texts, query) {
  const words = plain(query).split(/\s+/).filter(Boolean);
  if (words.length === 0) return sessions;
  const [byTitle, byText] = [[], []];
  for (const session of sessions) {
    const title = plain(session.title);
    const missing = words.filter((word) => !title.includes(word));
    if (missing.length === 0) {
      byTitle.push(session);
      continue;
    }
    const text = texts.get(session.id);
    const found = plain(text);
    if (!missing.every((word) => found.includes(word))) continue;
    // A short word stands in many others ("at" in "what"): the longest says best what was meant.
    const longest = missing.reduce((best, word) => (word.length > best.length ? word : best));
    byText.push({ ...session, excerpt: excerpt(text, found.indexOf(longest), longest.length) });
  }
  return [...byTitle, ...byText];
}

/** What was found here, and behind it what the server has found beyond that. */
export function withOthers(here, found) {
  const known = new Set(here.map(({ id }) => id));
  return [...here, ...found.filter(({ id }) => !known.has(id))];
}

function excerpt(text, at, length) {
  const from = Math.max(0, at - AROUND);
  const to = Math.min(text.length, at + length + AROUND);
  return `${from ? '…' : ''}${text.slice(from, to).trim()}${to < text.length ? '…' : ''}`;
}
