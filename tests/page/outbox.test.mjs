// Messages on their way, and questions with their answers.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

import { Outbox } from '../../runtime-smol/src/page/outbox.js';
import { Requests } from '../../runtime-smol/src/page/requests.js';

/** A connection that remembers what was sent. */
const connection = () => {
  const frames = [];
  return { frames, ready: true, send: (frame) => frames.push(frame) > 0 };
};

/** A conversation in which messages wait to be confirmed. */
const conversation = (...clientIds) => {
  const pending = new Set(clientIds);
  const failures = [];
  return { live: true, failures, fail: (clientId, reason) => pending.delete(clientId) && failures.push(reason) > 0 };
};

test('an answer finds what was asked, once', () => {
  const link = connection();
  const requests = new Requests(() => link);
  assert.equal(requests.send({ type: 'list_sessions' }, { note: 7 }), true);
  const [{ id }] = link.frames;
  assert.deepEqual(requests.answered({ ref: id }), { frame: { type: 'list_sessions' }, note: 7 });
  assert.deepEqual(requests.answered({ ref: id }), {});
  assert.deepEqual(requests.answered({}), {});
});

test('nothing is asked without a connection', () => {
  assert.equal(new Requests(() => null).send({ type: 'ping' }), false);
});

test('of 257 unanswered questions the first is forgotten', () => {
  const link = connection();
  const requests = new Requests(() => link);
  for (let i = 0; i < 257; i += 1) requests.send({ type: 'history', limit: i });
  assert.deepEqual(requests.answered({ ref: link.frames[0].id }), {});
  assert.equal(requests.answered({ ref: link.frames[1].id }).frame.limit, 1);
  assert.equal(requests.answered({ ref: link.frames[256].id }).frame.limit, 256);
});

test('a message goes out as what it is', () => {
  const link = connection();
  const requests = new Requests(() => link);
  const outbox = new Outbox({ requests, ready: () => true, failed() {}, changed() {} });
  const place = conversation('a', 'b');
  outbox.transmit(place, { content: 'Hello', clientId: 'a', parent: 'p' }, { seed: 7 });
  outbox.transmit(place, { content: 'Better', clientId: 'b', edits: 'm' });
  outbox.confirmed('a');
  outbox.confirmed('b');
  const [first, second] = link.frames;
  assert.deepEqual({ ...first, id: null }, { type: 'chat_message', message: 'Hello', client_id: 'a', parent: 'p', sampling: { seed: 7 }, id: null });
  assert.deepEqual({ ...second, id: null }, { type: 'edit_message', message_id: 'm', message: 'Better', client_id: 'b', sampling: undefined, id: null });
});

test('a message that nobody confirms has failed, unless there is no connection', () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const link = connection();
    let changes = 0;
    const told = [];
    const outbox = new Outbox({
      requests: new Requests(() => link), ready: () => link.ready, failed: (_, reason) => told.push(reason), changed: () => { changes += 1; },
    });
    const place = conversation('late', 'confirmed', 'offline');
    outbox.transmit(place, { content: '', clientId: 'late' });
    outbox.transmit(place, { content: '', clientId: 'confirmed' });
    outbox.confirmed('confirmed');
    mock.timers.tick(19_999);
    assert.deepEqual([place.failures.length, changes], [0, 0]);
    mock.timers.tick(1);
    assert.deepEqual([place.failures, told, changes], [['the server has not confirmed it.'], ['the server has not confirmed it.'], 1]);

    outbox.transmit(place, { content: '', clientId: 'offline' });
    link.ready = false;
    mock.timers.tick(20_000);
    assert.equal(place.failures.length, 1, 'it goes out again with the next connection');
  } finally {
    mock.timers.reset();
  }
});

test('a message of a session that is not joined waits', () => {
  const link = connection();
  const outbox = new Outbox({ requests: new Requests(() => link), ready: () => true, failed() {}, changed() {} });
  outbox.transmit({ ...conversation('a'), live: false }, { content: 'Later', clientId: 'a' });
  assert.equal(link.frames.length, 0);
});
