// A small, safe Markdown: text in, plain data out, of which `render.js` makes nodes. Never HTML.
//
// Blocks: {type: 'paragraph'|'heading'|'quote'|'list'|'code'|'table'|'rule', ...}; inlines: a string or {type: 'code'|'strong'|'em'|'del'|'link', ...}.
// What is not understood stays the text it was, so that nothing a model or a person writes is ever lost.

/** Blocks and inlines inside each other, at most: deeper ones stay text. Keeps hostile input from exhausting the stack. */
const MAX_DEPTH = 6;

const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`]*?)[ \t]*$/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])([ \t]+|$)/;
const DASHES = /^\|?[ \t]*:?-+:?(?:[ \t]*\|[ \t]*:?-+:?)*[ \t]*\|?$/;

/** Blocks of a text. An unclosed code fence reaches to the end, as while it is streamed. */
export function parse(text, depth = 0) {
  return blocks(text.replace(/\r\n?/g, '\n').split('\n'), depth);
}

function blocks(lines, depth) {
  const found = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    const nested = depth < MAX_DEPTH;
    let match;
    if (line.trim() === '') {
      at += 1;
    } else if ((match = FENCE.exec(line))) {
      const closing = new RegExp(`^ {0,3}${match[1][0]}{${match[1].length},}[ \\t]*$`);
      let end = at + 1;
      while (end < lines.length && !closing.test(lines[end])) end += 1;
      found.push({ type: 'code', language: match[2], text: lines.slice(at + 1, end).join('\n') });
      at = end + 1;
    } else if ((match = HEADING.exec(line))) {
      found.push({ type: 'heading', level: match[1].length, inlines: inlines(match[2]) });
      at += 1;
    } else if (RULE.test(line)) {
      found.push({ type: 'rule' });
      at += 1;
    } else if (nested && QUOTE.test(line)) {
      const end = endOf(lines, at, (next) => QUOTE.test(next));
      found.push({ type: 'quote', blocks: blocks(lines.slice(at, end).map((next) => next.replace(QUOTE, '')), depth + 1) });
      at = end;
    } else if (nested && ITEM.test(line)) {
      const list = listAt(lines, at, depth);
      found.push(list.block);
      at = list.end;
    } else if (isTable(lines, at)) {
      const table = tableAt(lines, at);
      found.push(table.block);
      at = table.end;
    } else {
      const end = endOf(lines, at + 1, (next, index) => next.trim() !== '' && !interrupts(next, nested) && !isTable(lines, index));
      found.push({ type: 'paragraph', inlines: inlines(lines.slice(at, end).map((next) => next.trim()).join('\n')) });
      at = end;
    }
  }
  return found;
}

const interrupts = (line, nested) =>
  FENCE.test(line) || HEADING.test(line) || RULE.test(line) || (nested && (QUOTE.test(line) || ITEM.test(line)));

function endOf(lines, from, belongs) {
  let end = from;
  while (end < lines.length && belongs(lines[end], end)) end += 1;
  return end;
}

/** The list that begins at a line: items of one kind, each with its indented lines. */
function listAt(lines, from, depth) {
  const first = ITEM.exec(lines[from]);
  const ordered = /\d/.test(first[2]);
  const items = [];
  let at = from;
  for (;;) {
    const match = at < lines.length ? ITEM.exec(lines[at]) : null;
    if (!match || /\d/.test(match[2]) !== ordered || RULE.test(lines[at])) break;
    const indent = match[3] === '' || match[3].length > 4 ? match[1].length + match[2].length + 1 : match[0].length;
    const body = [lines[at].slice(match[0].length)];
    at += 1;
    while (at < lines.length) {
      const line = lines[at];
      if (line.trim() === '') {
        // A blank line belongs to the item when an indented line follows.
        if (at + 1 >= lines.length || !/^ {2,}\S/.test(lines[at + 1])) break;
        body.push('');
      } else if (/^ {2,}/.test(line)) {
        body.push(line.slice(Math.min(indent, line.length - line.trimStart().length)));
      } else if (body.at(-1) === '' || interrupts(line, true)) {
        break;
      } else {
        body.push(line);
      }
      at += 1;
    }
    items.push(blocks(body, depth + 1));
    // Items may stand apart by one blank line.
    if (at + 1 < lines.length && lines[at].trim() === '' && ITEM.test(lines[at + 1])) at += 1;
  }
  return { block: { type: 'list', ordered, start: ordered ? parseInt(first[2], 10) : 1, items }, end: at };
}

/** Cells of one row; a bar behind a backslash is text. */
const cells = (line) => line.trim().replace(/^\||(?<!\\)\|$/g, '').split(/(?<!\\)\|/).map((cell) => cell.trim().replace(/\\\|/g, '|'));

/** A table begins where a row of dashes with as many cells stands below a line with bars. */
function isTable(lines, at) {
  const dashes = lines[at + 1]?.trim();
  return lines[at].includes('|') && dashes?.includes('-') && DASHES.test(dashes) && cells(lines[at]).length === cells(dashes).length;
}

function tableAt(lines, from) {
  const head = cells(lines[from]);
  const aligns = cells(lines[from + 1]).map((cell) => (cell.endsWith(':') ? (cell.startsWith(':') ? 'center' : 'right') : ''));
  const end = endOf(lines, from + 2, (line) => line.includes('|') && line.trim() !== '');
  const rows = lines.slice(from + 2, end).map((line) => head.map((_, column) => inlines(cells(line)[column] ?? '')));
  return { block: { type: 'table', aligns, head: head.map((cell) => inlines(cell)), rows }, end };
}

/** Only these may be followed from a message. */
export function safeLink(address) {
  try {
    const url = new URL(address);
    return url.protocol === 'https:' || url.protocol === 'http:' ? url.href : null;
  } catch {
    return null;
  }
}

/** Inlines of a text: strings and marked parts. */
export function inlines(text, depth = 0) {
  const found = [];
  let plain = '';
  // Closers known not to come any more: without this, a text of openers alone would be searched anew for each.
  const missing = new Set();
  const find = (closer, from) => {
    if (missing.has(closer)) return -1;
    const index = text.indexOf(closer, from);
    if (index < 0) missing.add(closer);
    return index;
  };
  const push = (node) => {
    if (plain) found.push(plain);
    plain = '';
    found.push(node);
  };
  let at = 0;
  while (at < text.length) {
    const part = depth < MAX_DEPTH ? inlineAt(text, at, find, depth) : null;
    if (!part) {
      plain += text[at];
      at += 1;
    } else {
      if (typeof part.node === 'string') plain += part.node;
      else push(part.node);
      at = part.end;
    }
  }
  if (plain) found.push(plain);
  return found;
}

const WORD = /[\p{L}\p{N}]/u;

/** The marked part that begins at a place, with where it ends; null when plain text goes on. */
function inlineAt(text, at, find, depth) {
  const character = text[at];
  if (character === '\\' && /[!-/:-@[-`{-~]/.test(text[at + 1] ?? '')) return { node: text[at + 1], end: at + 2 };
  if (character === '`') return codeAt(text, at, find);
  if (character === '*' || character === '_') return emphasisAt(text, at, find, depth);
  if (character === '~' && text[at + 1] === '~') return deletedAt(text, at, find, depth);
  if (character === '[') return linkAt(text, at, find, depth);
  if (character === 'h' && !WORD.test(text[at - 1] ?? '')) return addressAt(text, at);
  return null;
}

function codeAt(text, at, find) {
  let ticks = at;
  while (text[ticks] === '`') ticks += 1;
  const fence = text.slice(at, ticks);
  const end = find(fence, ticks);
  if (end < 0 || text[end + fence.length] === '`') return { node: fence, end: ticks };
  return { node: { type: 'code', text: text.slice(ticks, end).replace(/^ (.*\S.*) $/s, '$1') }, end: end + fence.length };
}

function emphasisAt(text, at, find, depth) {
  const mark = text[at];
  let from = at;
  while (text[from] === mark) from += 1;
  const marker = text.slice(at, from);
  const literal = { node: marker, end: from };
  const inWord = mark === '_' && WORD.test(text[at - 1] ?? '');
  if (marker.length > 3 || inWord || /\s|^$/.test(text[from] ?? '')) return literal;
  let end = find(marker, from);
  // A single mark does not close on half of a double one.
  while (end >= 0 && marker.length === 1 && text[end + 1] === mark) end = find(marker, end + 2);
  if (end < 0 || /\s/.test(text[end - 1])) return literal;
  if (mark === '_' && WORD.test(text[end + marker.length] ?? '')) return literal;
  const inner = inlines(text.slice(from, end), depth + 1);
  const node = marker.length === 1 ? { type: 'em', inlines: inner } : { type: 'strong', inlines: inner };
  if (marker.length === 3) node.inlines = [{ type: 'em', inlines: inner }];
  return { node, end: end + marker.length };
}

function deletedAt(text, at, find, depth) {
  const end = find('~~', at + 2);
  if (end < 0 || end === at + 2 || /\s/.test(text[at + 2]) || /\s/.test(text[end - 1])) return { node: '~~', end: at + 2 };
  return { node: { type: 'del', inlines: inlines(text.slice(at + 2, end), depth + 1) }, end: end + 2 };
}

function linkAt(text, at, find, depth) {
  const middle = find('](', at);
  const end = middle < 0 ? -1 : find(')', middle);
  if (end < 0) return null;
  const label = text.slice(at + 1, middle);
  if (label === '' || /[[\]\n]/.test(label)) return null;
  const href = safeLink(text.slice(middle + 2, end).trim().split(/\s/, 1)[0]);
  return href ? { node: { type: 'link', href, inlines: inlines(label, depth + 1) }, end: end + 1 } : null;
}

function addressAt(text, at) {
  const match = /^https?:\/\/[^\s<>"'`)\]*]+/.exec(text.slice(at, at + 2048));
  if (!match) return null;
  const address = match[0].replace(/[.,;:!?]+$/, '');
  const href = safeLink(address);
  return href ? { node: { type: 'link', href, inlines: [address] }, end: at + address.length } : null;
}
