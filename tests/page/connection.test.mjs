import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claims, credential, expired } from '../../runtime-smol/src/page/auth.js';
import { afterClose, backoff } from '../../runtime-smol/src/page/connection.js';

test('waits grow to a limit, are jittered, and never shrink to nothing', () => {
  for (let failures = 0; failures < 2000; failures += 1) {
    for (const random of [0, 0.5, 0.999]) {
      const wait = backoff(failures, random);
      assert.ok(wait >= 250 && wait <= 15_000, `${failures} ${random} ${wait}`);
    }
  }
  assert.ok(backoff(0, 0.999) <= 500);
  assert.ok(backoff(3, 0) > backoff(0, 0.999));
});

test('close codes', () => {
  const cases = [[1000, 'reconnect'], [1001, 'reconnect'], [1006, 'reconnect'], [1008, 'sign-in'], [1011, 'reconnect'], [4000, 'reconnect'], [4499, 'reconnect'], [4500, 'stay-away'], [4999, 'stay-away']];
  for (const [code, expected] of cases) assert.equal(afterClose(code), expected, String(code));
});

const encode = (object) => Buffer.from(JSON.stringify(object)).toString('base64url');
const token = (payload) => `${encode({ alg: 'HS256' })}.${encode(payload)}.c2ln`;

test('what a token claims', () => {
  assert.deepEqual(claims(token({ sub: '1', username: 'Zoë 🌈' })), { sub: '1', username: 'Zoë 🌈' });
  for (const bad of ['', 'a', 'a.b', 'a.%.c', `a.${encode('x').slice(1)}.c`]) assert.equal(claims(bad), null, bad);
  assert.equal(expired(token({ exp: 100 }), 99_999), false);
  assert.equal(expired(token({ exp: 100 }), 100_000), true);
  assert.equal(expired('nonsense', 0), true);
});

test('what one can sign in with', () => {
  const jwt = token({ sub: '1' });
  assert.deepEqual(credential('#login=abc123'), { code: 'abc123' });
  assert.deepEqual(credential(' http://127.0.0.1:8080/#login=abc123\n'), { code: 'abc123' });
  assert.deepEqual(credential(`#token=${jwt}`), { token: jwt });
  assert.deepEqual(credential(`https://chat.example/#token=${jwt}`), { token: jwt });
  assert.deepEqual(credential(jwt), { token: jwt });
  for (const none of ['', '#', '#session=0', '#token=nonsense', 'hello', '#login=']) assert.equal(credential(none), null, none);
});
