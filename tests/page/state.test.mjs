import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Conversation, MAX_GAP_REPAIRS, MAX_NOTES, utf8Length } from '../../runtime-smol/src/page/state.js';
import { titleFor } from '../../runtime-smol/src/page/title.js';

const ME = { id: 'u1', name: 'ada' };
const joined = (more) => ({ type: 'session_joined', session_id: 's', session_title: 'T', epoch: 'e', seq: 0, resumed: false, ...more });
const message = (seq, content, more) => ({ type: 'message', id: `m${seq}`, seq, role: 'assistant', content, timestamp: '2026-01-01T00:00:00Z', parent: seq > 1 ? `m${seq - 1}` : undefined, ...more });
const delta = (offset, content, id = 'a') => ({ type: 'message_delta', message_id: id, offset, content });

function conversation() {
  const c = new Conversation('s', ME);
  assert.equal(c.joined(joined()), true, 'a first join needs the history');
  c.page({ messages: [], more: false }, true);
  return c;
}
const texts = (c) => c.items().map((item) => item.content);

test('deltas make the text, offsets counted in bytes of UTF-8', () => {
  const c = conversation();
  assert.equal(c.delta(delta(0, 'Grüße ')), 'taken');
  assert.equal(c.delta(delta(8, '🌈')), 'taken');
  assert.equal(c.delta(delta(12, '!')), 'taken');
  assert.deepEqual(texts(c), ['Grüße 🌈!']);
  assert.equal(c.streams.get('a').bytes, utf8Length('Grüße 🌈!'));
});

test('what comes twice is taken once, what overlaps is cut', () => {
  const c = conversation();
  c.delta(delta(0, 'één'));
  assert.equal(c.delta(delta(0, 'één')), 'known');
  assert.equal(c.delta(delta(2, 'én twee')), 'taken');
  assert.deepEqual(texts(c), ['één twee']);
});

test('a gap is never passed over: it is asked for once, and the missing part continues the text', () => {
  const c = conversation();
  c.delta(delta(0, 'ab'));
  assert.equal(c.delta(delta(4, 'ef')), 'gap');
  assert.equal(c.delta(delta(6, 'gh')), 'waiting');
  assert.deepEqual(texts(c), ['ab']);
  assert.deepEqual(c.since(), { epoch: 'e', seq: 0, message_id: 'a', offset: 2 });
  assert.equal(c.joined(joined({ resumed: true })), false);
  assert.equal(c.delta(delta(2, 'cdefgh')), 'taken');
  assert.deepEqual(texts(c), ['abcdefgh']);
  assert.equal(c.streams.get('a').gap, false);
});

test('a gap that cannot be repaired ends with the whole message, not with endless asking', () => {
  const c = conversation();
  let asked = 0;
  for (let i = 0; i < 10; i += 1) {
    if (c.delta(delta(5, 'x')) === 'gap') asked += 1;
    c.joined(joined({ resumed: i % 2 === 0 }));
  }
  assert.equal(c.delta(delta(5, 'x')), 'waiting');
  assert.equal(asked, MAX_GAP_REPAIRS);
  assert.equal(c.items()[0].gap, true, 'and it is shown as such');
  c.message(message(1, 'hello', { id: 'a' }));
  assert.deepEqual(texts(c), ['hello']);
});

test('the message takes the place of its stream, and late deltas change nothing', () => {
  const c = conversation();
  c.delta(delta(0, 'hel'));
  const { key } = c.items()[0];
  c.message(message(1, 'hello', { id: 'a' }));
  assert.equal(c.items()[0].key, key);
  assert.equal(c.delta(delta(3, 'lo')), 'known');
  assert.deepEqual(texts(c), ['hello']);
});

test('an answer that broke off is gone when typing ends', () => {
  const c = conversation();
  c.typing({ role: 'assistant', is_typing: true });
  c.delta(delta(0, 'hel'));
  assert.equal(c.answering, true);
  c.typing({ role: 'assistant', is_typing: false });
  assert.equal(c.answering, false);
  assert.deepEqual(texts(c), []);
});

test('a message of ours: pending, confirmed, stored, under one key; in whatever order it is told', () => {
  const stored = message(1, 'hi', { role: 'user', user_id: 'u1', client_id: 'c1' });
  const ack = { type: 'ack', client_id: 'c1', message_id: 'm1', seq: 1 };
  for (const order of [['ack', 'message'], ['message', 'ack']]) {
    const c = conversation();
    c.send('c1', 'hi', '');
    assert.equal(c.items()[0].kind, 'pending');
    for (const step of order) {
      if (step === 'ack') c.ack(ack);
      else c.message(stored);
      assert.deepEqual(c.items().map((item) => item.key), ['c1']);
    }
    assert.equal(c.items()[0].kind, 'message');
    assert.deepEqual(c.unsent(), []);
  }
});

test('a server that knows no client_id: the ack alone says which message it was', () => {
  const c = conversation();
  c.send('c1', 'hi', '');
  c.message(message(1, 'hi', { role: 'user', user_id: 'u1' }));
  c.ack({ client_id: 'c1', message_id: 'm1', seq: 1 });
  assert.deepEqual(c.items().map((item) => [item.kind, item.key]), [['message', 'c1']]);
});

test('a refused message can be sent again; a confirmed one cannot fail any more', () => {
  const c = conversation();
  c.send('c1', 'hi', '');
  assert.equal(c.fail('c1', 'no', true), true);
  assert.deepEqual(c.unsent(), [], 'given up until somebody asks for it');
  c.pending.get('c1').failure = null;
  assert.equal(c.unsent().length, 1);
  c.ack({ client_id: 'c1', message_id: 'm1' });
  assert.equal(c.fail('c1', 'late', true), false);
});

test('the same words in another tab are another message', () => {
  const c = conversation();
  c.send('c1', 'hi', '');
  c.message(message(1, 'hi', { role: 'user', user_id: 'u1', client_id: 'c9' }));
  assert.deepEqual(c.items().map((item) => item.kind), ['message', 'pending']);
});

test('messages follow each other, notes where they came, streams and pending last', () => {
  const c = conversation();
  c.message(message(2, 'two', { role: 'user' }));
  c.note({ content: 'note' });
  c.message(message(3, 'three', { role: 'user' }));
  c.page({ messages: [message(1, 'one')], more: false }, false);
  c.send('c1', 'mine', '');
  c.delta(delta(0, 'stream'));
  assert.deepEqual(texts(c), ['one', 'two', 'note', 'three', 'stream', 'mine']);
});

test('a jump in seq is a gap, said once', () => {
  const c = conversation();
  c.message(message(1, 'one'));
  assert.equal(c.missesBefore(message(2, 'two')), false);
  assert.equal(c.missesBefore(message(3, 'three')), true);
  assert.equal(c.missesBefore(message(3, 'three')), false);
  assert.equal(c.missesBefore({ ...message(9, 'base'), seq: undefined }), false, 'the base protocol has no seq');
});

test('history anew replaces what was here, but not what came live meanwhile', () => {
  const c = conversation();
  c.message(message(1, 'old'));
  c.message(message(2, 'kept'));
  assert.equal(c.joined(joined({ epoch: 'f' })), true);
  c.message(message(9, 'live', { id: 'new', parent: 'm2' }));
  assert.deepEqual(texts(c), ['old', 'kept', 'live'], 'nothing flickers until the page is here');
  c.page({ messages: [message(2, 'kept')], more: true }, true);
  assert.deepEqual(texts(c), ['kept', 'live']);
  assert.equal(c.more, true);
  assert.deepEqual(c.since(), { epoch: 'f', seq: 9 });
});

test('nothing to resume before the history is here, nor without an epoch', () => {
  assert.equal(new Conversation('s', ME).since(), undefined);
  const base = new Conversation('s', ME);
  base.joined({ session_id: 's', session_title: 'T' });
  base.page({ messages: [], more: false }, true);
  assert.equal(base.since(), undefined);
});

test('older pages go before', () => {
  const c = conversation();
  c.message(message(51, 'new'));
  c.page({ messages: [message(50, 'older')], more: false }, false);
  assert.deepEqual(texts(c), ['older', 'new']);
  assert.equal(c.oldest, 50);
});

test('who types: others only, and not once they are gone or have spoken', () => {
  const c = conversation();
  c.presence([{ user_id: 'u1', username: 'ada' }, { user_id: 'u2', username: 'bob' }]);
  c.typing({ user_id: 'u1', is_typing: true });
  c.typing({ user_id: 'u2', is_typing: true });
  assert.deepEqual([...c.typists.values()], ['bob']);
  c.message(message(1, 'x', { role: 'user', user_id: 'u2' }));
  assert.equal(c.typists.size, 0);
  c.typing({ user_id: 'u2', is_typing: true });
  c.presence([{ user_id: 'u1', username: 'ada' }]);
  assert.equal(c.typists.size, 0);
});

test('notes are bounded', () => {
  const c = conversation();
  for (let i = 0; i <= MAX_NOTES; i += 1) c.note({ content: String(i) });
  assert.equal(c.items().length, MAX_NOTES);
  assert.equal(c.items()[0].content, '1');
});

test('titles', () => {
  assert.equal(titleFor('  Hello\nthere'), 'Hello');
  assert.equal(titleFor('a  b\tc'), 'a b c');
  const long = titleFor(`${'word '.repeat(20)}`);
  assert.match(long, /^(word )*word…$/);
  assert.ok([...long].length <= 49);
  assert.equal([...titleFor('🌈'.repeat(99))].length, 49);
});

// A model of a stream: whatever order, cutting and repeating of what was sent, the text is a prefix, or there is a gap.
test('random deltas: the text is always a prefix of what was sent', () => {
  let seed = 7;
  const random = (n) => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed % n;
  };
  const whole = [...'Añb🌈cdéefg'.repeat(4)];
  const byteAt = (index) => utf8Length(whole.slice(0, index).join(''));
  for (let round = 0; round < 500; round += 1) {
    const c = conversation();
    for (let step = 0; step < 12; step += 1) {
      const from = random(whole.length);
      const to = from + random(whole.length - from + 1);
      const before = c.streams.get('a')?.bytes ?? 0;
      const outcome = c.delta(delta(byteAt(from), whole.slice(from, to).join('')));
      const stream = c.streams.get('a');
      assert.ok(whole.join('').startsWith(stream.content));
      assert.equal(stream.bytes, utf8Length(stream.content));
      assert.equal(outcome === 'gap' || outcome === 'waiting', byteAt(from) > before);
    }
  }
});

test('while an answer is waited for, its place says so', () => {
  const c = conversation();
  c.message(message(1, 'question', { role: 'user' }));
  assert.equal(c.waiting, true, 'stored, and the model has not begun');
  c.typing({ is_typing: true, role: 'assistant', message_id: 'm2', parent: 'm1' });
  assert.equal(c.waiting, false, 'it has begun: the stream is shown');
  c.message(message(2, 'answer'));
  c.typing({ is_typing: false, role: 'assistant' });
  assert.equal(c.waiting, false);
  c.await(c.question('m2'), true);
  assert.equal(c.waiting, true);
  assert.deepEqual(texts(c), ['question'], 'the old answer makes room');
  c.await(undefined);
  assert.deepEqual(texts(c), ['question', 'answer'], 'it was refused: the old one is there again');
  c.await(c.question('m2'), true);
  c.message(message(3, 'another', { parent: 'm1' }));
  assert.equal(c.waiting, false);
  assert.deepEqual(texts(c), ['question', 'another']);
});

test('that messages were left out is said once, and again when something else is said', () => {
  const conversation = new Conversation('s', { id: 'me' });
  const notes = () => conversation.items().map((item) => item.content);
  for (const message of ['2 left out', '2 left out', '3 left out', '3 left out']) conversation.notice({ code: 'context_trimmed', message });
  assert.deepEqual(notes(), ['2 left out', '3 left out']);
  for (const _ of [1, 2]) conversation.notice({ code: 'of_a_later_version', message: 'Mind the gap' });
  assert.deepEqual(notes().slice(2), ['Mind the gap', 'Mind the gap']);
});

test('history that tells less of an answer takes nothing away', () => {
  const conversation = new Conversation('s', { id: 'me' });
  const told = { id: 'a', role: 'assistant', content: 'Yes', seq: 1, usage: {} };
  conversation.message({ ...told, timings: { first_token_ms: 5 } });
  conversation.page({ messages: [told] }, true);
  assert.deepEqual(conversation.messages.get('a').timings, { first_token_ms: 5 });
});
