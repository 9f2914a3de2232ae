// What `markdown.js` understood of a text, as nodes of this document.

import { codeBlock } from './code.js';
import { parse } from './markdown.js';

/** The text as DOM nodes of this document. */
export function render(text) {
  const fragment = document.createDocumentFragment();
  fragment.append(...parse(text).map(blockNode));
  return fragment;
}

function element(name, children, attributes = {}) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function blockNode(block) {
  switch (block.type) {
    case 'code':
      return codeBlock(block);
    case 'table':
      return table(block);
    case 'heading':
      // The page has its own h1 and h2: a message begins below them.
      return element(`h${Math.min(6, block.level + 2)}`, block.inlines.map(inlineNode));
    case 'quote':
      return element('blockquote', block.blocks.map(blockNode));
    case 'list':
      return element(
        block.ordered ? 'ol' : 'ul',
        block.items.map((item) => element('li', itemNodes(item))),
        block.ordered && block.start !== 1 ? { start: block.start } : {},
      );
    case 'rule':
      return element('hr', []);
    default:
      return element('p', block.inlines.map(inlineNode));
  }
}

/** A table, in a box of its own that scrolls sideways, so the keyboard must reach it. */
function table({ aligns, head, rows }) {
  const row = (name, cells) => element('tr', cells.map((cell, column) => element(name, cell.map(inlineNode), aligns[column] ? { class: aligns[column] } : {})));
  const whole = element('table', [element('thead', [row('th', head)]), element('tbody', rows.map((cells) => row('td', cells)))]);
  return element('div', [whole], { class: 'table', tabindex: '0', role: 'region', 'aria-label': 'Table' });
}

/** An item of one paragraph is shown without the paragraph. */
function itemNodes(item) {
  const [first, ...rest] = item;
  if (first?.type !== 'paragraph') return item.map(blockNode);
  return [...first.inlines.map(inlineNode), ...rest.map(blockNode)];
}

function inlineNode(inline) {
  if (typeof inline === 'string') return document.createTextNode(inline);
  switch (inline.type) {
    case 'code':
      return element('code', [inline.text]);
    case 'link':
      return element('a', inline.inlines.map(inlineNode), { href: inline.href, target: '_blank', rel: 'noopener noreferrer' });
    default:
      return element(inline.type, inline.inlines.map(inlineNode));
  }
}
