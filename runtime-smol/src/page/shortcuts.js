// The keys that do something wherever one is, and the list of them.

const mac = /Mac|iPhone|iPad/.test(globalThis.navigator?.platform ?? '');

/** `keys` are as people read them, with Mod for Ctrl or Command; those without `action` are the browser's or the field's own. */
export const SHORTCUTS = [
  { keys: ['Mod', 'K'], text: 'Search your chats', action: 'search' },
  { keys: ['Mod', 'Shift', 'O'], text: 'New chat', action: 'newChat' },
  { keys: ['Alt', '↑'], text: 'Chat above in the list', action: 'previous' },
  { keys: ['Alt', '↓'], text: 'Chat below in the list', action: 'next' },
  { keys: ['Esc'], text: 'Stop the answer', action: 'stop' },
  { keys: ['Mod', '.'], text: 'Instructions and sampling', action: 'settings' },
  { keys: ['Mod', '/'], text: 'This list; outside of text also ?', action: 'help' },
  { keys: ['Enter'], text: 'Send' },
  { keys: ['Shift', 'Enter'], text: 'New line' },
];

/** Keys as they stand on this keyboard. */
export const shown = (keys) => keys.map((key) => (key === 'Mod' ? (mac ? '⌘' : 'Ctrl') : key === 'Alt' && mac ? '⌥' : key));

/** Which action a key event asks for, if any. `inText` says whether somebody is writing. */
export function actionOf(event, inText) {
  if (event.isComposing) return undefined;
  if (event.key === '?' && !inText && !event.ctrlKey && !event.metaKey && !event.altKey) return 'help';
  const mod = mac ? event.metaKey : event.ctrlKey;
  const name = { Escape: 'Esc', ArrowUp: '↑', ArrowDown: '↓' }[event.key] ?? event.key.toUpperCase();
  // A slash or a dot may need Shift on some keyboards, so there it does not count.
  const shift = event.shiftKey && /^[A-Z]$/.test(name);
  const pressed = [mod && 'Mod', event.altKey && 'Alt', shift && 'Shift', name].filter(Boolean).join(' ');
  return SHORTCUTS.find(({ keys, action }) => action && keys.join(' ') === pressed)?.action;
}
