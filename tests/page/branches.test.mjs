import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tree } from '../../runtime-smol/src/page/branches.js';
import { Conversation } from '../../runtime-smol/src/page/state.js';

const ME = { id: 'u1', name: 'ada' };
const NONE = new Map();
const user = (seq, id, parent, more) => ({ type: 'message', id, seq, role: 'user', content: id, parent, timestamp: '2026-01-01T00:00:00Z', user_id: 'u1', ...more });
const answer = (seq, id, parent) => user(seq, id, parent, { role: 'assistant', user_id: undefined });
const typing = (message_id, parent, is_typing = true) => ({ type: 'typing', role: 'assistant', is_typing, message_id, parent });
const delta = (message_id, content, offset = 0) => ({ type: 'message_delta', message_id, offset, content });

/** A conversation with this history, as it is after joining. */
function conversation(history = [], last = history.at(-1)?.id) {
  const c = new Conversation('s', ME);
  c.joined({ session_id: 's', session_title: 'T', epoch: 'e', seq: history.length, resumed: false, last_message: last });
  c.page({ messages: history, more: false }, true);
  return c;
}
const shown = (c) => c.items().map((item) => item.content).join(' ');
const versions = (c) => c.items().map((item) => `${item.version}/${item.versions}`).join(' ');

test('a line is a line', () => {
  const tree = new Tree([answer(2, 'a1', 'q1'), user(1, 'q1'), user(3, 'q2', 'a1')]);
  assert.deepEqual(tree.path('a1', NONE), ['q1', 'a1', 'q2']);
  assert.deepEqual(tree.versions('a1'), ['a1']);
});

test('versions stand beside each other, and the newest is shown where nobody chose', () => {
  const tree = new Tree([user(1, 'q1'), answer(2, 'a1', 'q1'), answer(3, 'a2', 'q1'), user(4, 'q2', 'a2'), user(5, 'other')]);
  assert.deepEqual(tree.path('q1', NONE), ['q1', 'a2', 'q2']);
  assert.deepEqual(tree.path('q1', new Map([['q1', 'a1']])), ['q1', 'a1']);
  assert.deepEqual(tree.versions('a1'), ['a1', 'a2']);
  assert.deepEqual(tree.versions('q1'), ['q1', 'other']);
});

// The same tree as the server's own test of what the model is shown.
test('between two people stands the answer of their branch', () => {
  const tree = new Tree([
    user(1, 'one'), user(2, 'two', 'one'), answer(3, 'to one', 'one'), answer(4, 'to two', 'two'), answer(5, 'to one anew', 'one'),
    user(6, 'two edited', 'one'), answer(7, 'to two edited', 'two edited'), user(8, 'three', 'to one anew'), user(9, 'meanwhile', 'one'),
    answer(10, 'to one again', 'one'), answer(11, 'to meanwhile', 'meanwhile'), answer(12, 'to one at last', 'one'), user(13, 'ein'), answer(14, 'zu ein', 'ein'),
  ]);
  const check = (leaf, path) => assert.deepEqual(tree.path(leaf, NONE).slice(0, path.length), path);
  check('two', ['one', 'to one', 'two']);
  check('to two', ['one', 'to one', 'two', 'to two']);
  check('two edited', ['one', 'to one anew', 'two edited']);
  check('three', ['one', 'to one anew', 'three']);
  check('meanwhile', ['one', 'to one again', 'meanwhile']);
  check('to one at last', ['one', 'to one at last']);
  check('zu ein', ['ein', 'zu ein']);
  assert.deepEqual(tree.versions('to one'), ['to one', 'to one anew', 'to one again', 'to one at last']);
});

test('parents that are not here are a beginning, and a circle has an end', () => {
  const tree = new Tree([user(5, 'q3', 'a2'), user(6, 'q4', 'a2'), answer(7, 'a4', 'q4')]);
  assert.deepEqual(tree.path('a4', NONE), ['q4', 'a4']);
  assert.deepEqual(tree.versions('q3'), ['q3', 'q4']);
  const circle = new Tree([user(1, 'a', 'b'), answer(2, 'b', 'a')]);
  assert.deepEqual(circle.path('a', NONE).sort(), ['a', 'b']);
});

test('an answer made anew takes the place of the old one as it is written', () => {
  const c = conversation([user(1, 'q'), answer(2, 'a', 'q'), user(3, 'q2', 'a'), answer(4, 'a2', 'q2')]);
  c.typing(typing('b', 'q'));
  assert.equal(shown(c), 'q ');
  c.delta(delta('b', 'new'));
  assert.equal(shown(c), 'q new');
  assert.equal(versions(c), '1/1 2/2');
  c.message({ ...answer(5, 'b', 'q'), content: 'new' });
  c.typing(typing('b', undefined, false));
  assert.equal(shown(c), 'q new');
  assert.equal(c.last, 'b');
  c.step('b', -1);
  assert.equal(shown(c), 'q a q2 a2');
  assert.equal(c.step('a', -1), 'a', 'there is none before the first');
  c.step('a', 1);
  assert.equal(shown(c), 'q new');
});

test('a new answer that fails leaves the old one', () => {
  const c = conversation([user(1, 'q'), answer(2, 'a', 'q')]);
  c.typing(typing('b', 'q'));
  c.delta(delta('b', 'ne'));
  c.typing(typing('b', undefined, false));
  assert.equal(shown(c), 'q a');
  assert.equal(c.send('c', 'next', '').parent, 'a', 'the server goes on from the question, and is told otherwise');
});

test('where an answer fails, its reader stays, even if the conversation is elsewhere', () => {
  const c = conversation([user(1, 'q'), answer(2, 'a', 'q'), answer(3, 'b', 'q')]);
  c.message(user(4, 'mine', 'a'));
  c.message(user(5, 'bobs', 'b', { user_id: 'u2' }));
  c.step('b', -1);
  c.typing(typing('c', 'mine'));
  c.typing(typing('c', undefined, false));
  assert.deepEqual([shown(c), c.last], ['q a mine', 'bobs']);
});

test('what is said during an answer stands behind it', () => {
  const c = conversation([user(1, 'q')]);
  c.typing(typing('a', 'q'));
  c.delta(delta('a', 'answer'));
  assert.equal(c.send('c', 'next', '').parent, undefined);
  c.message(user(2, 'q2', 'q', { client_id: 'c' }));
  assert.equal(shown(c), 'q answer q2');
  assert.equal(c.last, 'q2');
  c.message({ ...answer(3, 'a', 'q'), content: 'answer' });
  assert.equal(c.last, 'q2', 'an answer to what is not the last message any more');
  c.typing(typing('a', undefined, false));
  c.message(user(4, 'q3', 'q2'));
  c.typing(typing('a2', 'q2'));
  assert.equal(c.last, 'q3', 'nobody has gone back to what waited in line');
  c.typing(typing('again', 'q'));
  c.typing(typing('again', undefined, false));
  assert.equal(c.last, 'q3', 'nor to what people have gone on from since');
  c.message(answer(5, 'a2', 'q2'));
  assert.equal(shown(c), 'q answer q2 a2 q3');
  assert.equal(versions(c), '1/1 1/1 1/1 1/1 1/1');
});

test('an edit hides what followed the old version, and gives it back when it is refused', () => {
  const c = conversation([user(1, 'q'), answer(2, 'a', 'q'), user(3, 'q2', 'a'), answer(4, 'a2', 'q2')]);
  c.send('c', 'q2 anew', '', 'q2');
  assert.equal(shown(c), 'q a q2 anew');
  c.fail('c', 'no', true);
  assert.equal(shown(c), 'q a q2 a2 q2 anew');
  c.pending.get('c').failure = null;
  c.message(user(5, 'q3', 'a', { client_id: 'c' }));
  assert.equal(shown(c), 'q a q3');
  assert.equal(versions(c), '1/1 1/1 2/2');
  c.step('q3', -1);
  assert.equal(shown(c), 'q a q2 a2');
});

test('the last choice is remembered for each message', () => {
  const c = conversation([user(1, 'q'), answer(2, 'a', 'q'), user(3, 'x', 'a'), user(4, 'y', 'a'), answer(5, 'b', 'q'), user(6, 'z', 'b')]);
  assert.equal(shown(c), 'q b z');
  c.step('b', -1);
  assert.equal(shown(c), 'q a y');
  c.step('y', -1);
  assert.equal(shown(c), 'q a x');
  c.step('a', 1);
  c.step('b', -1);
  assert.equal(shown(c), 'q a x', 'and not the newest');
});

test('a message goes on from what is shown, and names it only where the server would not', () => {
  const c = conversation([user(1, 'q'), answer(2, 'a', 'q'), answer(3, 'b', 'q')]);
  assert.equal(c.send('c1', 'next', '').parent, undefined);
  c.step('b', -1);
  assert.equal(c.send('c2', 'next', '').parent, 'a');
  assert.equal(conversation().send('c3', 'first', '').parent, undefined);
});

test('one who reads another branch stays there; one who is where the conversation is goes along', () => {
  const history = [user(1, 'q'), answer(2, 'a', 'q'), answer(3, 'b', 'q')];
  const bob = { user_id: 'u2', username: 'bob' };
  const reading = conversation(history);
  reading.step('b', -1);
  reading.message(user(4, 'bobs', 'b', bob));
  assert.equal(shown(reading), 'q a');
  reading.typing(typing('c', 'bobs'));
  reading.delta(delta('c', 'to bob'));
  assert.equal(shown(reading), 'q a');
  reading.step('a', 1);
  assert.equal(shown(reading), 'q b bobs to bob');

  const following = conversation(history);
  following.message(user(4, 'bobs edit', undefined, bob));
  assert.equal(shown(following), 'bobs edit');
  following.typing(typing('c', 'q'));
  assert.equal(shown(following), 'q ', 'somebody wants another answer to the other one');
  following.delta(delta('c', 'again'));
  following.step('c', -1);
  following.message({ ...answer(5, 'c', 'q'), content: 'again' });
  assert.equal(shown(following), 'q b', 'who turned away from it is not pulled back');
  assert.equal(following.last, 'c');
});

test('joining shows where the conversation goes on', () => {
  const history = [user(1, 'q'), answer(2, 'a', 'q'), user(3, 'x', 'a'), answer(4, 'b', 'q')];
  assert.equal(shown(conversation(history, 'x')), 'q a x');
  assert.equal(shown(conversation(history, 'not loaded')), 'q b');
  const c = conversation(history, 'q');
  assert.equal(shown(c), 'q b');
  // Again, after something happened elsewhere.
  c.joined({ session_id: 's', epoch: 'e2', seq: 4, resumed: false, last_message: 'x' });
  c.page({ messages: history, more: false }, true);
  assert.equal(shown(c), 'q a x');
  c.step('a', 1);
  c.joined({ session_id: 's', epoch: 'e2', seq: 4, resumed: true, last_message: 'x' });
  assert.equal(shown(c), 'q b', 'one who reads another branch');
});

test('a server that knows no parents has one line', () => {
  const c = new Conversation(null, ME);
  c.joined({ session_id: 's', session_title: 'T' });
  const base = (id, role) => ({ type: 'message', id, role, content: id });
  c.message(base('m1', 'user'));
  c.typing({ is_typing: true });
  c.message(base('m2', 'assistant'));
  c.typing({ is_typing: false });
  c.message(base('m3', 'user'));
  assert.equal(shown(c), 'm1 m2 m3');
});

test('notes stay where they came, on whatever path', () => {
  const c = conversation([user(1, 'q'), answer(2, 'a', 'q')]);
  c.note({ content: 'note' });
  c.message(user(3, 'q2', 'a'));
  assert.equal(shown(c), 'q a note q2');
  c.message(user(4, 'edit', undefined));
  assert.equal(shown(c), 'note edit');
});
