// The page's beginning: signing in, the connection, and who gets what from whom.

import * as auth from './auth.js';
import { Chat } from './chat.js';
import { Connection } from './connection.js';
import { modelOf } from './model.js';
import { View } from './view.js';

/** Milliseconds between two looks at a server that has no model yet. */
const HEALTH = 2_000;

let token = null;
let connection = null;
let connectedOnce = false;
let healthTimer = 0;

const view = new View({
  signIn,
  signOut,
  newChat: () => chat.newChat(),
  send: (text) => chat.speaker.send(text),
  stop: () => chat.speaker.stop(),
  composing: (something) => chat.speaker.composing(something),
  invite: () => chat.sessions.invite(),
  current: () => chat.current.id,
  sessions: {
    search: (query) => chat.sessions.search(query),
    step: (by) => chat.sessions.step(by),
    may: (id) => chat.sessions.mine(id),
    rename: (id) => chat.sessions.rename(id),
    remove: (id) => chat.sessions.remove(id),
    markdown: (id) => chat.sessions.export(id, 'markdown'),
    json: (id) => chat.sessions.export(id, 'json'),
  },
  settings: { fill: () => chat.tuning.fill(), reset: () => chat.tuning.reset() },
});
const chat = new Chat({ view, transport: () => connection, renew, health, find: (query) => auth.find(token, query), signInLink: (username, session) => auth.invite(token, username, session) });

// ---- Signing in ----

/** The address's fragment without what signs in: the chat that an invitation leads to. */
const withoutSecret = (hash) => {
  const session = /(?:^#|&)(session=[0-9a-f-]{36})(?:&|$)/i.exec(hash)?.[1];
  return session ? `#${session}` : '';
};

/** Signs in with what the address holds, or goes on as before. */
async function start() {
  const given = auth.credential(location.hash);
  if (given) {
    // Out of the address bar and the history at once: it is a secret.
    history.replaceState(null, '', location.pathname + location.search + withoutSecret(location.hash));
    const trouble = await take(given);
    const known = auth.stored();
    if (trouble && (!known || auth.expired(known, Date.now()))) return view.signIn(trouble);
  }
  enter();
}

/** Keeps what a link or a paste holds. Returns what is wrong with it, if anything is. */
async function take(given) {
  try {
    auth.keep(given.token ?? (await auth.redeem(given.code)));
    return null;
  } catch (error) {
    return error.message;
  }
}

async function signIn(text) {
  const given = auth.credential(text);
  if (!given) return view.signIn('This is neither a link to sign in with nor a token. Copy all of it.');
  const trouble = await take(given);
  if (trouble) return view.signIn(trouble);
  enter();
}

function enter() {
  token = auth.stored();
  const claims = token && auth.claims(token);
  if (!claims) return view.signIn();
  if (auth.expired(token, Date.now())) return leave('Your sign-in has ended. Ask for a new link.');
  const me = { id: claims.sub, name: claims.username ?? claims.sub ?? 'You', admin: claims.role === 'admin' };
  view.app(me);
  // Past the middle of its life a token is renewed early, so that whoever comes often stays signed in.
  if (auth.renewable(token) && (claims.exp - Date.now() / 1000) * 2 < claims.exp - claims.iat) renew().catch(() => {});
  const url = new URL('ws/chat', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.hash = url.search = '';
  connection?.close();
  connectedOnce = false;
  connection = new Connection(url.href, () => token, { frame: (frame) => chat.received(frame), state: connectionChanged });
  chat.enter(me);
  connection.open();
  health();
}

function signOut() {
  auth.forget();
  leave();
}

function leave(reason) {
  connection?.close();
  connection = null;
  chat.enter(null);
  view.signIn(reason);
}

/** Gets a fresh token while the old one is good, and tells the server, so that nobody is thrown out while they chat. */
async function renew() {
  // Another tab may have done it already.
  if (auth.stored() === token) {
    if (!auth.renewable(token)) throw new Error('ask for a new link.');
    auth.keep(await auth.refresh(token));
  }
  useToken(auth.stored());
}

function useToken(fresh) {
  if (!fresh || fresh === token) return;
  token = fresh;
  chat.authenticate(token);
}

auth.watch((changed) => {
  if (!changed) return leave();
  if (connection && auth.claims(changed)?.sub === auth.claims(token)?.sub) return useToken(changed);
  enter();
});

// ---- The connection ----

function connectionChanged(state) {
  view.connection(state.kind);
  if (state.kind === 'open') {
    connectedOnce = true;
    view.banner(null);
    health();
    return chat.connected();
  }
  chat.disconnected();
  if (state.kind === 'waiting') {
    const text = connectedOnce ? 'Connection lost. It will be back by itself.' : 'The server cannot be reached yet.';
    view.banner({ text, action: 'Try now', run: () => connection.open() });
  } else if (state.kind === 'sign-in') {
    const kept = auth.stored();
    // Another tab may have signed in anew, or got a fresher token.
    if (kept && kept !== token && !auth.expired(kept, Date.now())) return enter();
    leave(state.reason || 'The server does not accept your sign-in any more. Ask for a new link.');
  } else if (state.kind === 'stay-away') {
    view.banner({ text: state.reason || 'The server has ended this connection.', action: 'Connect again', run: () => connection.open() });
  }
}

/** Shows which model answers, and looks again until one does. */
async function health() {
  clearTimeout(healthTimer);
  let state;
  try {
    state = await (await fetch('health', { cache: 'no-store' })).json();
  } catch {
    return; // the connection's own banner says it
  }
  const model = modelOf(state);
  view.model(model);
  chat.draw();
  if (!model.ready && connection) healthTimer = setTimeout(health, HEALTH);
}

addEventListener('hashchange', () => {
  if (auth.credential(location.hash)) start();
  else if (connection) chat.navigated();
});

start();
