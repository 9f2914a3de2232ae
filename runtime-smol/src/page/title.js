// What a chat is called.

/** A title for a session that begins with this message. */
export function titleFor(text) {
  const line = text.trim().split('\n', 1)[0].replace(/\s+/g, ' ');
  const short = [...line];
  if (short.length <= 48) return line;
  const cut = short.slice(0, 48).join('');
  return `${cut.includes(' ') ? cut.slice(0, cut.lastIndexOf(' ')) : cut}…`;
}

/** A file's name for a chat with this title: letters, digits and hyphens, which every system takes. */
export function fileName(title, ending) {
  const words = title.normalize('NFC').match(/[\p{L}\p{N}]+/gu) ?? [];
  return `${[...words.join('-')].slice(0, 60).join('').replace(/-$/, '') || 'chat'}.${ending}`;
}
