import assert from 'node:assert/strict';
import { test } from 'node:test';
import { figures, MAX_TIMINGS, Timings, words } from '../../runtime-smol/src/page/gauges.js';
import { modelOf } from '../../runtime-smol/src/page/model.js';
import { FIELDS, MAX_CHATS, PRESETS, read, readStops, Settings } from '../../runtime-smol/src/page/settings.js';
import { actionOf } from '../../runtime-smol/src/page/shortcuts.js';

const field = (name) => FIELDS.find((one) => one.name === name);

test('values are taken within the bounds of the protocol, and nothing else', () => {
  for (const { name, min, max } of FIELDS) {
    assert.deepEqual(read(field(name), String(min)), { value: min });
    assert.deepEqual(read(field(name), String(max)), { value: max });
    for (const wrong of [String(min - 1), String(max + 1), 'x', '1 2', 'NaN', 'Infinity']) {
      assert.ok(read(field(name), wrong).error || read(field(name), wrong).value <= max, `${name} ${wrong}`);
    }
    assert.match(read(field(name), String(min - 1)).error, /from/);
    assert.deepEqual(read(field(name), ' '), { value: undefined });
  }
  assert.deepEqual(read(field('temperature'), '0,7'), { value: 0.7 });
  assert.match(read(field('seed'), '1.5').error, /whole number/);
  assert.match(read(field('max_tokens'), '32769').error, /from 1 to 32768/);
});

test('stop texts: one a line, eight at most, sixty-four bytes each', () => {
  assert.deepEqual(readStops('END\n\n###'), { value: ['END', '###'] });
  assert.deepEqual(readStops('\n'), { value: undefined });
  assert.deepEqual(readStops('x\n'.repeat(8)).value.length, 8);
  assert.match(readStops('x\n'.repeat(9)).error, /8/);
  assert.ok(readStops('é'.repeat(32)).value);
  assert.match(readStops('é'.repeat(33)).error, /64/);
});

class Storage {
  #kept = new Map();
  getItem = (key) => this.#kept.get(key) ?? null;
  setItem = (key, value) => this.#kept.set(key, value);
  removeItem = (key) => this.#kept.delete(key);
  get size() {
    return this.#kept.size;
  }
}

test('settings are of one chat, outlast the tab, and go with whoever signs out', () => {
  const storage = new Storage();
  const settings = new Settings(storage);
  assert.equal(settings.sampling('a'), undefined);
  settings.set('a', { sampling: { temperature: 1, stop: ['x'] } });
  settings.set(null, { system: 'Be kind.' });
  assert.deepEqual(new Settings(storage).of('a'), { system: '', sampling: { temperature: 1, stop: ['x'] } });
  assert.equal(settings.sampling('b'), undefined);
  settings.begun('c');
  assert.equal(settings.of('c').system, 'Be kind.');
  assert.equal(settings.of(null).system, '', 'the next chat begins without');
  settings.set('a', { sampling: {} });
  assert.equal(settings.sampling('a'), undefined);
  settings.clear();
  assert.equal(storage.size, 0);
});

test('settings of the latest chats are kept, and only what a server would take', () => {
  const storage = new Storage();
  const settings = new Settings(storage);
  for (let id = 0; id <= MAX_CHATS; id += 1) settings.set(String(id + 1000), { sampling: { seed: id } });
  assert.equal(settings.sampling('1000'), undefined);
  assert.deepEqual(settings.sampling('1001'), { seed: 1 });
  for (const kept of ['nonsense', '[]', 'null', '{"a":null}', '{"a":{"sampling":{"temperature":99,"top_k":"x","evil":1,"stop":[7]},"system":5}}']) {
    storage.setItem('causerie.settings', kept);
    const { system, sampling } = new Settings(storage).of('a');
    assert.equal(system, '', kept);
    assert.deepEqual({ ...sampling, stop: undefined }, { stop: undefined }, kept);
  }
});

test('presets are such as the server takes', () => {
  for (const { sampling } of PRESETS) for (const [name, value] of Object.entries(sampling)) assert.deepEqual(read(field(name), String(value)), { value });
});

const answer = (more) => ({ role: 'assistant', usage: { prompt_tokens: 100, cached_tokens: 40, completion_tokens: 20 }, ...more });

test('gauges show what the last answer told', () => {
  assert.equal(figures([{ role: 'user' }], 8192), null);
  const timings = { first_token_ms: 61.7, tokens_per_second: 103.6 };
  const texts = (context, timed) => Object.fromEntries(words(figures([answer({ timings: timed })], context)).map(({ name, text }) => [name, text]));
  assert.deepEqual(texts(8192, timings), { context: '120 of 8,192 tokens (1 %)', answer: '20 tokens', speed: '104 tokens/s', 'first token': '62 ms' });
  assert.deepEqual(texts(undefined, undefined), { context: '120 tokens', answer: '20 tokens' });
  assert.deepEqual(texts(200, { first_token_ms: 1234, tokens_per_second: null })['first token'], '1.2 s');
  assert.equal(figures([answer()], 150).nearlyFull, true);
  assert.equal(figures([answer()], 151).nearlyFull, false);
  assert.equal(figures([answer()], 100).part, 1);
});

test('what a server without a model says', () => {
  assert.deepEqual(modelOf({ status: 'ready', model: 'M', context: 8192 }), { text: 'M', ready: true, context: 8192 });
  assert.deepEqual(modelOf({ status: 'fetching', model: 'M', bytes: 49e6, total_bytes: 98e6 }), { text: 'Fetching M: 49 of 98 MB (50 %)', ready: false, progress: 0.5 });
  assert.deepEqual(modelOf({ status: 'fetching', model: 'M', bytes: 49e6 }), { text: 'Fetching M: 49 MB', ready: false, progress: undefined });
  assert.deepEqual(modelOf({ status: 'unavailable', message: 'no file' }), { text: 'no file', ready: false });
  assert.equal(modelOf({}).ready, false);
});

test('keys', () => {
  const key = (name, more) => ({ key: name, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...more });
  const cases = [
    [key('k', { ctrlKey: true }), true, 'search'],
    [key('k'), false, undefined],
    [key('O', { ctrlKey: true, shiftKey: true }), true, 'newChat'],
    [key('o', { ctrlKey: true }), true, undefined],
    [key('.', { ctrlKey: true }), true, 'settings'],
    [key('/', { ctrlKey: true, shiftKey: true }), true, 'help'],
    [key('?', { shiftKey: true }), false, 'help'],
    [key('?', { shiftKey: true }), true, undefined],
    [key('ArrowDown', { altKey: true }), true, 'next'],
    [key('ArrowUp', { altKey: true }), true, 'previous'],
    [key('ArrowUp'), true, undefined],
    [key('Escape'), true, 'stop'],
    [key('Enter'), true, undefined],
    [key('k', { ctrlKey: true, isComposing: true }), true, undefined],
  ];
  for (const [event, inText, expected] of cases) assert.equal(actionOf(event, inText), expected, JSON.stringify(event));
});

test('how fast answers came outlasts a reload, of the latest', () => {
  const kept = new Map();
  const storage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value), removeItem: (key) => kept.delete(key) };
  const before = new Timings(storage);
  for (let id = 0; id <= MAX_TIMINGS; id += 1) before.keep({ id: String(id), timings: { first_token_ms: id } });
  before.keep({ id: 'none' });
  const after = new Timings(storage);
  assert.deepEqual(after.told({ id: '7', content: 'x' }), { id: '7', content: 'x', timings: { first_token_ms: 7 } });
  for (const id of ['0', 'none']) assert.deepEqual(after.told({ id }), { id });
  assert.deepEqual(after.told({ id: '7', timings: {} }), { id: '7', timings: {} });
  after.clear();
  assert.equal(kept.size, 0);
  kept.set('causerie.timings', '{"not": "ours"}');
  assert.deepEqual(new Timings(storage).told({ id: '7' }), { id: '7' });
});
