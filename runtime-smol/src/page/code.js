// Blocks of code: what language it is, a button that copies it, and colours, which come when they are first needed.

/** Milliseconds that a button says "Copied". */
const COPIED = 2000;

/** A block of code as an element. */
export function codeBlock({ language: name, text }) {
  const code = document.createElement('code');
  code.textContent = text;
  if (name && colours) paint(code, colours.colour(text, name));
  else if (name) withColours().then((loaded) => paint(code, loaded?.colour(text, name)));
  // It scrolls sideways, so the keyboard must reach it.
  const pre = document.createElement('pre');
  for (const [key, value] of [['tabindex', '0'], ['role', 'region'], ['aria-label', name ? `Code, ${name}` : 'Code']]) pre.setAttribute(key, value);
  pre.append(code);
  const head = document.createElement('div');
  head.className = 'code-head';
  head.append(name, copyButton(text));
  const box = document.createElement('div');
  box.className = 'code';
  box.append(head, pre);
  return box;
}

let colours = null;

/** What makes colours, or null where it cannot be had: code is read without, too. */
async function withColours() {
  colours ??= await import('./colours.js').catch(() => null);
  return colours;
}

async function paint(code, nodes) {
  if (Array.isArray(nodes)) return code.replaceChildren(...nodes);
  const late = await nodes;
  if (late && code.isConnected) code.replaceChildren(...late);
}

function copyButton(text) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'copy';
  button.textContent = 'Copy';
  button.title = 'Copy this code';
  button.setAttribute('aria-live', 'polite');
  button.addEventListener('click', async () => {
    button.textContent = (await copy(text)) ? 'Copied' : 'Not copied';
    setTimeout(() => (button.textContent = 'Copy'), COPIED);
  });
  return button;
}

/** Copies a text; resolves to whether it worked. Where a page over plain HTTP may not, a field is used that is copied from. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = document.createElement('textarea');
    field.value = text;
    field.className = 'hidden';
    const before = document.activeElement;
    (document.querySelector('dialog[open]') ?? document.body).append(field);
    field.select();
    const done = document.execCommand('copy');
    field.remove();
    before?.focus();
    return done;
  }
}
