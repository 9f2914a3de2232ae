// The administrators' page: figures and plots that live, users, keys, the audit log, and what can be done about them.

import { keep, redeem } from '/auth.js';
import { ask, credential, forget, use } from '/admin/api.js';
import { Plot } from '/admin/plot.js';
import { show } from '/admin/table.js';

/** Between two looks at the figures, in milliseconds. */
const FIGURES = 2_000;

/** Between two looks at the lists. */
const LISTS = 10_000;

const $ = (selector) => document.querySelector(selector);
const count = new Intl.NumberFormat('en');
const number = (value) => (value === null || value === undefined ? '–' : count.format(Math.round(value)));
const rate = (value) => count.format(Math.round(value * 10) / 10);
const ms = (value) => (value === null ? '–' : `${count.format(value < 10 ? Math.round(value * 10) / 10 : Math.round(value))} ms`);
const time = (seconds) => (seconds === null ? '–' : new Date(seconds * 1000).toLocaleString());
const duration = (s) => (s < 3600 ? `${Math.floor(s / 60)} min` : s < 172_800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86_400)} days`);

const plots = {
  tokens: new Plot($('#plots'), 'Tokens a second', rate),
  running: new Plot($('#plots'), 'Answers under way and waiting', number),
  connections: new Plot($('#plots'), 'Connections', number),
};

let before = null;
let timers = [];

function tell(message) {
  $('#message').textContent = message ?? '';
  $('#message').hidden = !message;
}

/** Does something and shows what has come of it; a refusal is told. */
async function attempt(act) {
  try {
    await act();
    tell(null);
  } catch (refused) {
    if (refused.status === 401 || refused.status === 403) return signIn(credential() ? refused.message : null);
    tell(refused.message);
  }
}

function signIn(message) {
  timers.forEach(clearInterval);
  timers = [];
  forget();
  $('#app').hidden = $('#reload').hidden = true;
  $('#sign-in').hidden = false;
  tell(message);
  $('#token').focus();
}

async function figures() {
  const now = await ask('figures');
  const at = performance.now();
  const all = {
    'Up for': duration(now.uptime_s),
    Connections: number(now.connections),
    People: number(now.users),
    'Sessions in memory': number(now.sessions),
    'Answers under way': number(now.running),
    'Answers waiting': number(now.waiting),
    'First token, median': ms(now.first_token_ms.median),
    'First token, 95 %': ms(now.first_token_ms.p95),
    'Between tokens, median': ms(now.between_tokens_ms.median),
    'Tokens of prompts': number(now.prompt_tokens),
    'Tokens of answers': number(now.completion_tokens),
    'Pages of the cache': `${number(now.kv_pages)} of ${number(now.kv_pages_limit)}`,
    Memory: `${number(now.memory_bytes / 1e6)} MB`,
    'Waiting for storage': number(now.storage_queue),
  };
  $('#figures').replaceChildren(...Object.entries(all).map(([name, value]) => {
    const group = document.createElement('div');
    const [term, detail] = [document.createElement('dt'), document.createElement('dd')];
    [term.textContent, detail.textContent] = [name, value];
    group.append(term, detail);
    return group;
  }));
  // After a restart of the server counts begin anew.
  const made = before ? Math.max(0, now.completion_tokens - before.tokens) / ((at - before.at) / 1000) : 0;
  before = { tokens: now.completion_tokens, at };
  plots.tokens.push(made);
  plots.running.push(now.running + now.waiting);
  plots.connections.push(now.connections);
}

async function lists() {
  const [users, keys, audit, models] = await Promise.all(['users', 'keys', 'audit', 'models'].map((name) => ask(name)));
  $('#model').textContent = models.chat.message;
  show($('#users'), [
    { head: 'Name', of: (user) => user.user },
    { head: 'Role', of: (user) => user.role ?? 'by token' },
    { head: 'State', of: (user) => (user.disabled ? 'disabled' : 'good'), off: (user) => user.disabled },
    { head: 'Tokens today', of: (user) => number(user.tokens_today), number: true },
    { head: 'Tokens a day', of: (user) => number(user.tokens_a_day), number: true },
    { head: 'At once', of: (user) => number(user.parallel), number: true },
    { head: 'Last seen', of: (user) => time(user.seen) },
    { head: 'Action', of: (user) => ({
      label: user.disabled ? 'Enable' : 'Disable',
      name: user.user,
      act: () => attempt(async () => {
        await ask('user', { user: user.user_id, disabled: !user.disabled });
        await lists();
      }),
    }) },
  ], users.users);
  show($('#keys'), [
    { head: 'Key', of: (key) => key.key },
    { head: 'Name', of: (key) => key.name },
    { head: 'Of', of: (key) => key.user },
    { head: 'Scope', of: (key) => key.scope },
    { head: 'State', of: (key) => key.state, off: (key) => key.state !== 'good' },
    { head: 'Last used', of: (key) => time(key.used) },
    { head: 'Action', of: (key) => (key.state === 'good' ? {
      label: 'Revoke',
      name: `${key.key} (${key.name})`,
      act: () => attempt(async () => {
        if (!confirm(`Revoke the key ${key.key} (${key.name}) of ${key.user}? This cannot be undone.`)) return;
        await ask('revoke', { key: key.key });
        await lists();
      }),
    } : '') },
  ], keys.keys);
  show($('#audit'), [
    { head: 'Time', of: (entry) => time(entry.at) },
    { head: 'Who', of: (entry) => entry.who },
    { head: 'What', of: (entry) => entry.what.replaceAll('_', ' ') },
    { head: 'From', of: (entry) => entry.from },
    { head: 'About', of: (entry) => entry.about },
  ], audit.entries);
}

async function start() {
  await Promise.all([figures(), lists()]);
  $('#sign-in').hidden = true;
  $('#app').hidden = $('#reload').hidden = false;
  timers.forEach(clearInterval);
  // A page that nobody looks at asks for nothing.
  const every = (act, pause) => setInterval(() => document.hidden || attempt(act), pause);
  timers = [every(figures, FIGURES), every(lists, LISTS)];
}

$('#sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  use($('#token').value.trim());
  $('#token').value = '';
  attempt(start);
});

$('#reload').addEventListener('click', () => attempt(async () => {
  await ask('reload', {});
  await lists();
}));

$('#invite').addEventListener('submit', (event) => {
  event.preventDefault();
  attempt(async () => {
    const days = Number($('#invite-days').value);
    const { path } = await ask('invite', { username: $('#invite-name').value, ttl: Math.round(days * 86_400) });
    $('#invite-link').value = new URL(path, location.href).href;
    $('#invited').hidden = false;
    $('#invite-link').focus();
    $('#invite-link').select();
    await lists();
  });
});

/** A login link leads here, too: `/admin#login=CODE`. */
async function entrance() {
  const [, code] = /^#login=(\w+)$/.exec(location.hash) ?? [];
  if (!code) return;
  history.replaceState(null, '', location.pathname);
  keep(await redeem(code));
}

$('#reload').hidden = true;
attempt(async () => {
  await entrance();
  if (!credential()) return signIn(null);
  await start();
});
