// The page's one place where things meet: frames from the server, what people do, what is shown.

import * as auth from './auth.js';
import { Connection } from './connection.js';
import { Log } from './log.js';
import { Conversation, titleFor } from './state.js';
import { View } from './view.js';

/** Messages asked for at once. */
const PAGE = 50;
/** Milliseconds after which a message that nobody has confirmed counts as not saved. */
const CONFIRM = 20_000;
/** Milliseconds between two "is typing" of one person, and between two looks at a server without a model. */
const TYPING = 3_000;
const HEALTH = 2_000;
/** Questions remembered until they are answered; a server that leaves more unanswered gets no more of our memory. */
const MAX_REQUESTS = 256;

let me = null;
let token = null;
let connection = null;
let sessions = [];
let current = new Conversation(null, null);
let opened = false; // whether this page was ever connected
let typingSince = 0;
let requestCount = 0;
/** What was asked and not answered yet, by the frame's `id`. */
const requests = new Map();
const confirmTimers = new Map();
/** Sessions that were left with something unsaved, by id: it is there when one comes back. */
const unsaved = new Map();
let healthTimer = 0;

const view = new View({
  signIn, signOut, newChat, send, stop, composing, invite, rename, remove,
});
const log = new Log(view.logParts, {
  older: loadOlder,
  retry: (clientId) => transmit(current.pending.get(clientId)),
  discard(clientId) {
    view.giveBack(current.pending.get(clientId).content);
    current.pending.delete(clientId);
    draw();
  },
  dismiss(key) {
    current.dismiss(key);
    draw();
  },
});

// ---- Signing in ----

/** Signs in with what the address holds, or goes on as before. */
async function start() {
  const given = auth.credential(location.hash);
  if (given) {
    // Out of the address bar and the history at once: it is a secret.
    history.replaceState(null, '', location.pathname + location.search);
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
  if (auth.expired(token, Date.now())) return leave('You were signed in until now; that has ended. Ask for a new link.');
  me = { id: claims.sub, name: claims.username ?? claims.sub ?? 'You' };
  view.app(me);
  // Past the middle of its life a token is renewed early, so that whoever comes often stays signed in.
  if ((claims.exp - Date.now() / 1000) * 2 < claims.exp - claims.iat) renew().catch(() => {});
  const url = new URL('ws/chat', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.hash = url.search = '';
  connection?.close();
  connection = new Connection(url.href, () => token, { frame: received, state: connectionChanged });
  open(sessionInAddress());
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
  sessions = [];
  requests.clear();
  unsaved.clear();
  current = new Conversation(null, null);
  log.open(current);
  view.signIn(reason);
}

/** Gets a fresh token while the old one is good, and tells the server, so that nobody is thrown out while they chat. */
async function renew() {
  // Another tab may have done it already.
  if (auth.stored() === token) auth.keep(await auth.refresh(token));
  useToken(auth.stored());
}

function useToken(fresh) {
  if (!fresh || fresh === token) return;
  token = fresh;
  request({ type: 'authenticate', token });
}

auth.watch((changed) => {
  if (!changed) return leave();
  if (me && connection && auth.claims(changed)?.sub === me.id) return useToken(changed);
  enter();
});

// ---- The connection ----

function connectionChanged(state) {
  current.live = false;
  view.connection(state.kind);
  if (state.kind === 'open') {
    opened = true;
    view.banner(null);
    requests.clear();
    health();
    request({ type: 'list_sessions' });
    rejoin();
  } else if (state.kind === 'waiting') {
    const text = opened ? 'Connection lost. It will be back by itself.' : 'The server cannot be reached yet.';
    view.banner({ text, action: 'Try now', run: () => connection.open() });
    current.typists.clear();
    draw();
  } else if (state.kind === 'sign-in') {
    const other = auth.stored();
    // Another tab may have signed in anew, or got a fresher token.
    if (other && other !== token && !auth.expired(other, Date.now())) return enter();
    leave(state.reason || 'The server does not accept your sign-in any more. Ask for a new link.');
  } else if (state.kind === 'stay-away') {
    view.banner({ text: state.reason || 'The server has ended this connection.', action: 'Connect again', run: () => connection.open() });
  }
}

/** Sends a frame that will be answered; `about` is given to whoever handles the answer. */
function request(frame, about = {}) {
  requestCount += 1;
  const id = `r${requestCount}`;
  if (!connection?.send({ ...frame, id })) return false;
  requests.set(id, { frame, ...about });
  if (requests.size > MAX_REQUESTS) requests.delete(requests.keys().next().value);
  return true;
}

/** Shows which model answers, and looks again until one does. */
async function health() {
  clearTimeout(healthTimer);
  let state = {};
  try {
    state = await (await fetch('health', { cache: 'no-store' })).json();
  } catch {
    return; // the connection's own banner says it
  }
  const model = state.model?.name ?? state.model;
  const ready = state.status === 'ready' || state.status === 'ok';
  const percent = state.percent === undefined ? '' : `: ${state.percent} %`;
  view.model({ text: ready ? String(model ?? '') : `${state.message ?? 'No model is ready'}${percent}`, ready });
  if (!ready && connection) healthTimer = setTimeout(health, HEALTH);
}

// ---- Chats ----

const sessionInAddress = () => /^#session=([0-9a-f-]{36})$/i.exec(location.hash)?.[1] ?? null;

/** Goes to a session, or with null to an empty page where the first message makes one. */
function open(id) {
  view.drawer(false);
  const left = current;
  for (const sent of left.id ? [] : left.pending.values()) view.giveBack(sent.content);
  if (left.id && left.pending.size) unsaved.set(left.id, left);
  current = unsaved.get(id) ?? new Conversation(id, me);
  unsaved.delete(id);
  current.title ||= sessions.find((session) => session.id === id)?.title ?? '';
  log.open(current);
  view.banner(null);
  draw();
  if (connection?.ready) {
    if (id) rejoin();
    else if (left.live) request({ type: 'leave_session' });
  }
  view.focus();
}

function go(id) {
  history.pushState(null, '', id ? `#session=${id}` : location.pathname + location.search);
  open(id);
}

function newChat() {
  if (current.id === null) return view.focus();
  go(null);
}

/** Joins the current session, from where it was left when the server can do that. */
function rejoin() {
  if (current.id) request({ type: 'join_session', session_id: current.id, since: current.since() }, { conversation: current });
  else if (current.unsent().length) create();
}

function create() {
  const [first] = current.unsent();
  request({ type: 'create_session', title: titleFor(first.content) }, { conversation: current });
}

function loadOlder() {
  if (!current.more || current.loadingOlder) return;
  current.loadingOlder = request({ type: 'history', before: current.oldest, limit: PAGE }, { conversation: current });
}

async function invite() {
  const conversation = current;
  const username = await view.ask({
    title: 'Invite somebody',
    text: 'They find this chat in their list, and see all of it. They need a way to sign in: causerie token --user NAME prints one.',
    label: 'Their name', confirm: 'Invite',
  });
  if (username) request({ type: 'invite', session_id: conversation.id, username });
}

async function rename() {
  const conversation = current;
  const title = await view.ask({ title: 'Rename this chat', text: '', label: 'Title', value: current.title, confirm: 'Rename' });
  if (title) request({ type: 'rename_session', session_id: conversation.id, title });
}

async function remove() {
  const conversation = current;
  const text = `“${current.title}” and all its messages will be gone, for everybody in it.`;
  const yes = await view.ask({ title: 'Delete this chat?', text, confirm: 'Delete', danger: true });
  if (yes) request({ type: 'delete_session', session_id: conversation.id });
}

// ---- Messages ----

/** Sends what somebody has written. Returns whether it was taken. */
function send(text) {
  if (current.ended) return false;
  stopTyping();
  if (text.startsWith('/')) return command(text);
  const clientId = Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(36)).join('-');
  const sent = current.send(clientId, text, new Date().toISOString());
  log.toEnd();
  if (current.id) transmit(sent);
  else if (current.unsent().length === 1) create();
  draw();
  return true;
}

/** Sends a message, maybe again: the server knows it by its `client_id` and stores it once. */
function transmit(sent) {
  sent.failure = null;
  draw();
  // Not joined yet, or no connection: it goes out when the session is joined.
  if (!current.live || !request({ type: 'chat_message', message: sent.content, client_id: sent.clientId }, { sent, conversation: current })) return;
  const conversation = current;
  clearTimeout(confirmTimers.get(sent.clientId));
  confirmTimers.set(sent.clientId, setTimeout(() => {
    confirmTimers.delete(sent.clientId);
    if (connection?.ready && conversation.fail(sent.clientId, 'the server has not confirmed it.', true)) draw();
  }, CONFIRM));
}

function command(text) {
  const note = { tone: 'command', command: text };
  if (!request({ type: 'chat_message', message: text }, { note, conversation: current })) {
    view.toast('Commands need a connection.', 'error');
    return false;
  }
  Object.assign(note, current.note(note));
  log.toEnd();
  draw();
  return true;
}

function stop() {
  if (current.answering) request({ type: 'stop_generation' });
}

/** What to do for an answer that failed: ask the same again, if the question was one's own. */
function askAgain(note) {
  const question = [...current.messages.values()].findLast((message) => message.role === 'user');
  if (question?.userId !== me.id) return undefined;
  return () => {
    current.dismiss(note.key);
    send(question.content);
  };
}

function composing(something) {
  if (!something) return stopTyping();
  if (!current.live || Date.now() - typingSince < TYPING) return;
  if (connection?.send({ type: 'typing', is_typing: true })) typingSince = Date.now();
}

function stopTyping() {
  if (typingSince) connection?.send({ type: 'typing', is_typing: false });
  typingSince = 0;
}

// ---- Frames ----

function received(frame) {
  const about = requests.get(frame.ref) ?? {};
  requests.delete(frame.ref);
  const foreign = frame.session_id !== undefined && current.id !== null && frame.session_id !== current.id;
  if (!(foreign && ABOUT_CURRENT.has(frame.type))) FRAMES[frame.type]?.(frame, about);
  draw();
}

/** Frames that mean nothing here when they are about another session than the one shown. */
const ABOUT_CURRENT = new Set(['message', 'message_delta', 'typing', 'presence', 'history_page', 'session_ended', 'notice']);

const FRAMES = {
  session_list(frame) {
    // One that has ended cannot be joined any more.
    const open = frame.sessions.filter((entry) => !entry.ended);
    sessions = open.map((entry) => ({ id: entry.session_id, title: entry.session_title }));
  },

  session_joined(frame, { conversation }) {
    if (conversation !== current && frame.session_id !== current.id) return;
    view.banner(null);
    const created = current.id === null;
    const fresh = current.joined(frame);
    current.live = true;
    if (created) {
      history.replaceState(null, '', `#session=${current.id}`);
      request({ type: 'list_sessions' });
    }
    if (fresh) request({ type: 'history', limit: PAGE }, { conversation: current, fresh });
    for (const sent of current.unsent()) transmit(sent);
  },

  history_page(frame, { conversation, fresh }) {
    if (conversation !== current) return;
    current.loadingOlder = false;
    current.page(frame, fresh);
  },

  message(frame) {
    if (current.missesBefore(frame)) return rejoin();
    const isNew = current.message(frame);
    // The list is by last activity.
    if (frame.role === 'assistant') request({ type: 'list_sessions' });
    if (frame.role === 'user' && frame.user_id === me.id) return;
    if (isNew) view.announce(`${frame.role === 'assistant' ? 'Causerie' : (frame.username ?? '')}: ${frame.content}`);
  },

  message_delta(frame) {
    if (current.delta(frame) === 'gap') rejoin();
  },

  ack(frame, { sent, conversation }) {
    (conversation ?? current).ack({ ...frame, client_id: frame.client_id ?? sent?.clientId });
    clearTimeout(confirmTimers.get(frame.client_id));
    confirmTimers.delete(frame.client_id);
  },

  typing: (frame) => current.typing(frame),

  presence(frame) {
    current.presence(frame.participants);
  },

  command_response(frame, { note, conversation }) {
    const place = conversation ?? current;
    if (note) place.dismiss(note.key);
    place.note({ tone: 'command', command: note?.command ?? frame.command, content: frame.content });
  },

  session_ended(frame) {
    current.ended = true;
    current.note({ content: frame.message });
    request({ type: 'list_sessions' });
  },

  session_renamed(frame) {
    if (frame.session_id === current.id) current.title = frame.session_title;
    request({ type: 'list_sessions' });
  },

  session_deleted(frame) {
    if (frame.session_id === current.id) {
      view.toast('This chat was deleted.');
      go(null);
    }
    request({ type: 'list_sessions' });
  },

  invited(frame) {
    view.toast(frame.username === me.name ? `${frame.by} invited you to “${frame.session_title}”.` : `${frame.username} can join “${frame.session_title}” now.`);
    request({ type: 'list_sessions' });
  },

  notice(frame) {
    if (frame.code === 'token_expiring') {
      renew().catch((error) => view.toast(`Your sign-in ends soon and could not be renewed: ${error.message}`, 'error'));
      return;
    }
    if (frame.code === 'server_draining') return view.banner({ text: 'The server is about to stop; this page will be back with it.' });
    current.note({ content: frame.message });
  },

  error(frame, about) {
    if (!connection?.ready) return; // the close that follows says what to do
    const place = about.conversation ?? current;
    const wait = frame.retry_after_ms ? ` Try again in ${Math.ceil(frame.retry_after_ms / 1000)} s.` : '';
    const message = `${frame.message}${frame.detail ? `: ${frame.detail}` : ''}${wait}`;
    if (frame.code === 'nothing_to_stop') return; // it ended by itself just before
    if (about.sent && place.fail(about.sent.clientId, message, frame.retryable === true)) {
      clearTimeout(confirmTimers.get(about.sent.clientId));
    } else if (about.note) {
      place.dismiss(about.note.key);
      place.note({ tone: 'error', command: about.note.command, content: message });
    } else if (about.frame?.type === 'join_session') {
      if (place !== current) return;
      if (frame.retryable) return view.banner({ text: message, action: 'Try again', run: rejoin });
      current.ended = true;
      view.banner({ text: message, action: 'New chat', run: newChat });
    } else if (about.frame?.type === 'create_session') {
      for (const sent of place.unsent()) place.fail(sent.clientId, message, frame.retryable === true);
    } else if (about.frame) {
      place.loadingOlder = false;
      view.toast(message, 'error');
    } else {
      const note = place.note({ tone: 'error', content: message });
      if (frame.retryable) note.retry = askAgain(note);
      health();
    }
  },
};

// ---- Drawing ----

function draw() {
  const exists = current.id !== null;
  view.head({
    title: current.title || 'New chat',
    exists,
    mine: exists && current.owner === me?.id,
    ended: current.ended,
    empty: (!exists || current.loaded) && current.items().length === 0,
  });
  view.sessions(sessions, current.id);
  view.people(current.people, me);
  view.typing([...current.typists.values()]);
  view.answering(current.live && current.answering);
  log.update();
}

addEventListener('beforeunload', (event) => current.unsent().length && event.preventDefault());

addEventListener('hashchange', () => {
  if (auth.credential(location.hash)) start();
  else if (me && current.id !== sessionInAddress()) open(sessionInAddress());
});

start();
