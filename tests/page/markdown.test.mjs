import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inlines, parse, safeLink } from '../../runtime-smol/src/page/markdown.js';

const link = (href, ...inlines) => ({ type: 'link', href, inlines });
const em = (...inlines) => ({ type: 'em', inlines });
const strong = (...inlines) => ({ type: 'strong', inlines });
const code = (text) => ({ type: 'code', text });
const paragraph = (...inlines) => ({ type: 'paragraph', inlines });

test('inlines', () => {
  const cases = [
    ['plain', ['plain']],
    ['a **b** c', ['a ', strong('b'), ' c']],
    ['*a* _b_ __c__', [em('a'), ' ', em('b'), ' ', strong('c')]],
    ['***both***', [strong(em('both'))]],
    ['**a *b* c**', [strong('a ', em('b'), ' c')]],
    ['`a *b*`', [code('a *b*')]],
    ['``a ` b``', [code('a ` b')]],
    ['` a `', [code('a')]],
    ['\\*not\\*', ['*not*']],
    ['2 * 3 * 4', ['2 * 3 * 4']],
    ['snake_case_name', ['snake_case_name']],
    ['*open', ['*open']],
    ['**half*', ['**half*']],
    ['`open', ['`open']],
    ['[a](https://x.example/y)', [link('https://x.example/y', 'a')]],
    ['[**a**](http://x.example "t")', [link('http://x.example/', strong('a'))]],
    ['see https://x.example/a_b_c.', ['see ', link('https://x.example/a_b_c', 'https://x.example/a_b_c'), '.']],
    ['(https://x.example)', ['(', link('https://x.example/', 'https://x.example'), ')']],
    ['[a] (b)', ['[a] (b)']],
    ['', []],
  ];
  for (const [text, expected] of cases) assert.deepEqual(inlines(text), expected, text);
});

test('links go to the web and nowhere else', () => {
  for (const bad of ['javascript:alert(1)', 'JaVaScRiPt:alert(1)', ' javascript:alert(1)', 'data:text/html,x', 'vbscript:x', 'file:///etc/passwd', '//x.example', '/local', '#a', 'blob:https://x/y', 'java\nscript:alert(1)']) {
    assert.equal(safeLink(bad), null, bad);
    for (const [, href] of JSON.stringify(parse(`[a](${bad})`)).matchAll(/"href":"([^"]*)/g)) assert.match(href, /^https?:/, bad);
  }
  assert.equal(safeLink('https://x.example'), 'https://x.example/');
});

test('HTML is text', () => {
  const text = '<img src=x onerror=alert(1)> <script>alert(1)</script>';
  assert.deepEqual(parse(text), [paragraph(text)]);
});

test('blocks', () => {
  const cases = [
    ['a\nb\n\nc', [paragraph('a\nb'), paragraph('c')]],
    ['## Head ##', [{ type: 'heading', level: 2, inlines: ['Head'] }]],
    ['#no', [paragraph('#no')]],
    ['---', [{ type: 'rule' }]],
    ['> a\n> b', [{ type: 'quote', blocks: [paragraph('a\nb')] }]],
    ['```rust\nlet a = 1;\n\n*x*\n```\nafter', [{ type: 'code', language: 'rust', text: 'let a = 1;\n\n*x*' }, paragraph('after')]],
    ['~~~\n```\n~~~', [{ type: 'code', language: '', text: '```' }]],
    ['text\n```\ncode', [paragraph('text'), { type: 'code', language: '', text: 'code' }]],
    ['- a\n- b', [{ type: 'list', ordered: false, start: 1, items: [[paragraph('a')], [paragraph('b')]] }]],
    ['3. a\n4. b', [{ type: 'list', ordered: true, start: 3, items: [[paragraph('a')], [paragraph('b')]] }]],
    ['1. a\n\n2. b', [{ type: 'list', ordered: true, start: 1, items: [[paragraph('a')], [paragraph('b')]] }]],
    ['- a\n- b\n\nc', [{ type: 'list', ordered: false, start: 1, items: [[paragraph('a')], [paragraph('b')]] }, paragraph('c')]],
    ['text\n* a', [paragraph('text'), { type: 'list', ordered: false, start: 1, items: [[paragraph('a')]] }]],
    ['- a\n  - b', [{ type: 'list', ordered: false, start: 1, items: [[paragraph('a'), { type: 'list', ordered: false, start: 1, items: [[paragraph('b')]] }]] }]],
    ['a\r\nb', [paragraph('a\nb')]],
    ['', []],
  ];
  for (const [text, expected] of cases) assert.deepEqual(parse(text), expected, text);
});

/** All text of a tree, marks aside. */
const words = (node) => (typeof node === 'string' ? node : (node.text ?? '') + [...(node.inlines ?? []), ...(node.blocks ?? []), ...(node.items ?? []).flat()].map(words).join(''));

test('no word is ever lost, whatever the marks around it', () => {
  let seed = 3;
  const random = (n) => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed % n;
  };
  const marks = ['*', '**', '_', '`', '```', '\n', '\n\n', '- ', '1. ', '> ', '# ', '[', '](', ')', '  ', '\\', 'https://x.example/', '<b>', '~~~\n', '\t'];
  for (let round = 0; round < 3000; round += 1) {
    const expected = [];
    let text = '';
    for (let i = 0; i < 12; i += 1) {
      for (let j = random(3); j > 0; j -= 1) text += marks[random(marks.length)];
      const word = `w${round}x${i}`;
      // Blanks around it: right behind `](` it would be a part of an address.
      text += ` ${word} `;
      expected.push(word);
    }
    const shown = parse(text).map((block) => words(block) + (block.language ?? '')).join(' ');
    const hidden = JSON.stringify(parse(text));
    for (const word of expected) assert.ok(shown.includes(word) || hidden.includes(word), `${JSON.stringify(text)} lost ${word}`);
  }
});

test('hostile input of 64 KiB comes to an end', () => {
  for (const piece of ['[', '*a ', '**a', '`', '``a', '> ', '- ', '\\', '_', '](', '[a](', '*_', 'http', '#', '1. ', '\n- ', '```\n', '  ', '***']) {
    parse(piece.repeat(Math.ceil(65536 / piece.length)));
  }
});

test('tables', () => {
  const [table] = parse('| Name | Price |\n|:---|---:|\n| **Tea** | 2 \\| 3 |\n| Milk |\n\nafter');
  assert.deepEqual(table.aligns, ['', 'right']);
  assert.deepEqual(table.head, [['Name'], ['Price']]);
  assert.deepEqual(table.rows, [[[strong('Tea')], ['2 | 3']], [['Milk'], []]]);
  for (const none of ['a | b', 'a | b\n--', 'a\n---|---', 'a | b\n- one']) assert.ok(parse(none).every((block) => block.type !== 'table'), none);
  const start = performance.now();
  parse(`a|b\n-|-${' '.repeat(30_000)}x`);
  assert.ok(performance.now() - start < 1000, 'white space without end is passed over at once');
});

test('text that was struck out', () => {
  assert.deepEqual(inlines('a ~~b *c*~~ d'), ['a ', { type: 'del', inlines: ['b ', em('c')] }, ' d']);
  for (const plain of ['~~a', '~a~', '~~ a ~~', '~~~~']) assert.deepEqual(inlines(plain), [plain]);
});
