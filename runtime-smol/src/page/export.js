// A chat as a file, for people (Markdown) and for programs (JSON). Loaded when somebody wants one.

import { fileName } from './title.js';

/** Messages asked for at once: as many as the server gives. */
const PAGE = 100;
/** Pages of one export: 20,000 messages. What goes on longer than that is not for a browser's memory. */
export const MAX_PAGES = 200;

/**
 * All stored messages of a session, by rising `seq`. `page({before, limit})` resolves to a `history_page`; `progress(count,
 * of)` is told how far it is. Throws when the history goes on beyond `MAX_PAGES`, or a page brings nothing new.
 */
export async function wholeHistory(page, progress) {
  let messages = [];
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    const before = messages[0]?.seq;
    const { messages: older, more } = await page({ before, limit: PAGE });
    if (more && (older.length === 0 || older[0].seq >= before)) throw new Error('the server gave a page of history twice');
    messages = [...older, ...messages];
    progress(messages.length, messages.at(-1)?.seq ?? 0);
    if (!more) return messages;
  }
  throw new Error(`the chat has more than ${messages.length} messages`);
}

const NAMES = { assistant: 'Causerie', system: 'System' };

/** The messages as Markdown, in the order they came; versions of one message say so. */
export function markdown({ title, messages, exported }) {
  const versions = new Map();
  const heads = messages.map((message) => {
    const place = `${message.parent} ${message.role}`;
    versions.set(place, (versions.get(place) ?? 0) + 1);
    return { place, version: versions.get(place) };
  });
  const blocks = messages.map((message, index) => {
    const { place, version } = heads[index];
    const of = versions.get(place);
    const name = oneLine(NAMES[message.role] ?? message.username ?? 'Somebody');
    const when = message.timestamp?.slice(0, 16).replace('T', ' ') ?? '';
    const ended = message.finish_reason === 'stopped' ? ' · stopped' : message.finish_reason === 'length' ? ' · cut off' : '';
    return `## ${name}\n\n*${when} UTC${of > 1 ? ` · version ${version} of ${of}` : ''}${ended}*\n\n${message.content.trim()}\n`;
  });
  return `# ${oneLine(title)}\n\n*${messages.length} messages, exported from Causerie on ${exported.slice(0, 10)}*\n\n${blocks.join('\n')}`;
}

/** A name in a heading: one line, in which nothing is markup. */
const oneLine = (text) => text.replace(/\s+/g, ' ').replace(/[\\`*_[\]<>#]/g, '\\$&').trim();

/** The messages as the server told them, with what is known of the session. */
export function json({ id, title, messages, exported, system }) {
  const told = messages.map(({ type: _type, session_id: _id, ref: _ref, ...message }) => message);
  return `${JSON.stringify({ format: 'causerie.chat', version: 1, session_id: id, title, system, exported, messages: told }, null, 2)}\n`;
}

const FORMATS = { markdown: { write: markdown, ending: 'md', type: 'text/markdown' }, json: { write: json, ending: 'json', type: 'application/json' } };

/** Hands a chat to the browser as a download; `chat` has `id`, `title`, `messages` and `system`, if that is known. */
export function download(chat, format) {
  const { write, ending, type } = FORMATS[format];
  const text = write({ ...chat, exported: new Date().toISOString() });
  const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  const link = document.createElement('a');
  link.href = address;
  link.download = fileName(chat.title, ending);
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // until then the browser may still be reading it
  return link.download;
}
