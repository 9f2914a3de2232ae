// Code in colours. Loaded with the first block of code that names its language.
//
// The colours are made by highlight.js 11.12.0 (BSD-3-Clause, see vendor/highlight/LICENSE), from its package for browsers,
// @highlightjs/cdn-assets: `es/core.min.js` and some of `es/languages`, unchanged. Only its tree of scopes is used, of which
// nodes are made here: no text ever becomes HTML.

/** The languages that there are colours for, by the names that people and models give them. */
export const LANGUAGES = {
  bash: ['bash', 'sh', 'shell', 'zsh', 'console'], c: ['c', 'h'], cpp: ['cpp', 'c++', 'cc', 'hpp'], css: ['css'], diff: ['diff', 'patch'],
  go: ['go', 'golang'], ini: ['ini', 'toml'], java: ['java'], javascript: ['javascript', 'js', 'jsx', 'mjs'], json: ['json', 'jsonc'],
  markdown: ['markdown', 'md'], python: ['python', 'py', 'python3'], rust: ['rust', 'rs'], sql: ['sql'],
  typescript: ['typescript', 'ts', 'tsx'], xml: ['xml', 'html', 'svg', 'xhtml'], yaml: ['yaml', 'yml'],
};
const BY_NAME = new Map(Object.entries(LANGUAGES).flatMap(([language, names]) => names.map((name) => [name, language])));

/** Characters of a block that get colours: longer ones would hold up the page. */
const MAX_COLOURED = 50_000;
/** Scopes inside each other that get an element of their own. */
const MAX_DEPTH = 24;
/** Blocks whose colours are remembered: while an answer is streamed, those that are done are drawn again and again. */
const MAX_KNOWN = 64;

const loaded = new Map();
const known = new Map();
let core = null;

/** The language whose colours a name after the fence asks for, if there are any. */
export const languageOf = (name) => BY_NAME.get(name.toLowerCase().split(/[\s,{:]/, 1)[0]);

/** Fetches what colours a language; resolves to whether it could. */
function load(language) {
  if (!loaded.has(language)) {
    const both = Promise.all([import('./vendor/highlight/core.min.js'), import(`./vendor/highlight/languages/${language}.min.js`)]);
    const ready = both.then(
      ([{ default: library }, { default: grammar }]) => {
        core = library;
        core.registerLanguage(language, grammar);
        return true;
      },
      () => {
        loaded.delete(language); // the connection was away: perhaps the next time
        return false;
      },
    );
    loaded.set(language, ready);
  }
  return loaded.get(language);
}

/** The nodes of a text in colours: at once if what colours its language is here, later, or undefined where nothing does. */
export function colour(text, name) {
  const language = text.length <= MAX_COLOURED ? languageOf(name) : undefined;
  if (!language) return undefined;
  return core?.getLanguage(language) ? coloured(text, language) : load(language).then((ready) => (ready ? coloured(text, language) : undefined));
}

function coloured(text, language) {
  const key = `${language}\n${text}`;
  const tree = known.get(key) ?? core.highlight(text, { language, ignoreIllegals: true })._emitter.rootNode;
  known.delete(key);
  known.set(key, tree);
  if (known.size > MAX_KNOWN) known.delete(known.keys().next().value);
  return tree.children.map((child) => scopeNode(child, 0));
}

function scopeNode(node, depth) {
  if (typeof node === 'string') return document.createTextNode(node);
  const span = document.createElement('span');
  if (node.scope) span.className = node.scope.split('.').map((part, index) => (index ? `${part}_` : `hljs-${part}`)).join(' ');
  if (depth < MAX_DEPTH) span.append(...node.children.map((child) => scopeNode(child, depth + 1)));
  else span.textContent = textOf(node);
  return span;
}

const textOf = (node) => (typeof node === 'string' ? node : node.children.map(textOf).join(''));
