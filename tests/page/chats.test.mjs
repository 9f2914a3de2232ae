import assert from 'node:assert/strict';
import { test } from 'node:test';
import { json, markdown, MAX_PAGES, wholeHistory } from '../../runtime-smol/src/page/export.js';
import { search, Texts, withOthers } from '../../runtime-smol/src/page/search.js';
import { fileName } from '../../runtime-smol/src/page/title.js';

const session = (id, title) => ({ id, title });
const LIST = [session('a', 'Über den Wal'), session('b', 'Whales and lighthouses'), session('c', 'Dinner')];
const ids = (found) => found.map(({ id }) => id);

test('chats are found by their titles, in any case and without accents', () => {
  const none = new Texts();
  for (const [query, expected] of [['', ['a', 'b', 'c']], ['  ', ['a', 'b', 'c']], ['uber', ['a']], ['WAL', ['a']], ['light whale', ['b']], ['whale dinner', []], ['.*', []]]) {
    assert.deepEqual(ids(search(LIST, none, query)), expected, query);
  }
});

test('and by the text of those that were opened, behind those with the title', () => {
  const texts = new Texts();
  texts.keep('c', [{ content: 'What shall we eat?\nSoup.' }, { content: `${'word '.repeat(40)}whale ${'word '.repeat(40)}` }]);
  const found = search(LIST, texts, 'whale');
  assert.deepEqual(ids(found), ['b', 'c']);
  assert.match(found[1].excerpt, /^….*whale.*…$/);
  assert.ok(found[1].excerpt.length < 80);
  assert.equal(found[0].excerpt, undefined);
  const tea = new Texts();
  tea.keep('c', [{ content: `What a question: ${'tea, '.repeat(20)}and how late at night?` }]);
  assert.match(search(LIST, tea, 'at night')[0].excerpt, /late at night/, 'around the longest word');
  assert.deepEqual(ids(search(LIST, texts, 'dinner soup')), ['c'], 'one word in the title, one in the text');
  texts.forget('c');
  assert.deepEqual(ids(search(LIST, texts, 'soup')), []);
});

test('what the server found beyond that comes behind it, and nothing twice', () => {
  const here = search(LIST, new Texts(), 'whale');
  const found = [{ id: 'b', title: 'Whales and lighthouses' }, { id: 'z', title: 'Old', excerpt: 'a whale' }];
  assert.deepEqual(withOthers(here, found), [LIST[1], found[1]]);
  assert.deepEqual(withOthers([], []), []);
});

test('the text of no more than a hundred chats is kept', () => {
  const texts = new Texts();
  for (let id = 0; id <= 100; id += 1) texts.keep(String(id), [{ content: `said ${id}` }]);
  assert.equal(texts.get('0'), '');
  assert.equal(texts.get('1'), 'said 1');
  assert.equal(texts.get('100'), 'said 100');
});

const history = (count) => Array.from({ length: count }, (_, index) => ({ type: 'message', session_id: 's', id: `m${index + 1}`, seq: index + 1, role: index % 2 ? 'assistant' : 'user', username: index % 2 ? undefined : 'ada', content: `text ${index + 1}`, timestamp: '2026-01-02T03:04:05.000000Z', parent: index ? `m${index}` : undefined }));
const server = (messages) => async ({ before = Infinity, limit }) => {
  const earlier = messages.filter((message) => message.seq < before);
  return { messages: earlier.slice(-limit), more: earlier.length > limit };
};

test('a whole history comes page by page, in order, and tells how far it is', async () => {
  const all = history(345);
  const told = [];
  assert.deepEqual(await wholeHistory(server(all), (count, of) => told.push([count, of])), all);
  assert.deepEqual(told, [[100, 345], [200, 345], [300, 345], [345, 345]]);
  assert.deepEqual(await wholeHistory(server([]), () => {}), []);
});

test('a history without end, and one that does not move on, are given up', async () => {
  await assert.rejects(wholeHistory(async () => ({ messages: [], more: true }), () => {}), /twice/);
  await assert.rejects(wholeHistory(async () => ({ messages: [{ seq: 7 }], more: true }), () => {}), /twice/);
  let seq = 1e9;
  let pages = 0;
  const endless = async () => {
    pages += 1;
    return { messages: [{ seq: (seq -= 1) }], more: true };
  };
  await assert.rejects(wholeHistory(endless, () => {}), /more than/);
  assert.equal(pages, MAX_PAGES);
});

test('a chat as Markdown', () => {
  const messages = history(2);
  messages[0].username = 'ada *#* lovelace';
  messages.push({ ...messages[1], id: 'again', seq: 3, content: 'another', finish_reason: 'stopped' });
  const text = markdown({ title: 'A # title\n<b>', messages, exported: '2026-02-03T00:00:00Z' });
  assert.equal(text.split('\n')[0], '# A \\# title \\<b\\>');
  assert.match(text, /\*3 messages, exported from Causerie on 2026-02-03\*/);
  assert.match(text, /## ada \\\*\\#\\\* lovelace\n\n\*2026-01-02 03:04 UTC\*\n\ntext 1\n/);
  assert.match(text, /## Causerie\n\n\*2026-01-02 03:04 UTC · version 1 of 2\*\n\ntext 2\n/);
  assert.match(text, /version 2 of 2 · stopped\*\n\nanother\n/);
});

test('a chat as JSON has what the server told', () => {
  const messages = history(2);
  const read = JSON.parse(json({ id: 's', title: 'T', messages, exported: 'now', system: 'Be kind.' }));
  assert.deepEqual([read.format, read.version, read.session_id, read.title, read.system], ['causerie.chat', 1, 's', 'T', 'Be kind.']);
  assert.deepEqual(read.messages[0], { id: 'm1', seq: 1, role: 'user', username: 'ada', content: 'text 1', timestamp: messages[0].timestamp });
});

test('names of files', () => {
  for (const [title, expected] of [['Über den Wal?', 'Über-den-Wal.md'], ['../../etc/passwd', 'etc-passwd.md'], ['', 'chat.md'], ['…', 'chat.md'], ['CON:\u0000|x', 'CON-x.md']]) {
    assert.equal(fileName(title, 'md'), expected, title);
  }
  assert.ok(fileName('long '.repeat(100), 'json').length <= 65);
});
