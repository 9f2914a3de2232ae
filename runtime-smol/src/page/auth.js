// Who the browser is signed in as: the token, where it comes from, where it is kept.

const KEY = 'causerie.token';

/** What a JWT claims, or null. Only to show it and to know its expiry: the server alone verifies it. */
export function claims(token) {
  try {
    const payload = token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

/** What a link's fragment, a whole link, or a pasted token lets one sign in with: `{code}`, `{token}` or null. */
export function credential(text) {
  const trimmed = text.trim();
  const [, kind, value] = /(?:^|#|&)(login|token)=([^&\s]+)/.exec(trimmed) ?? [];
  if (kind === 'login') return { code: value };
  if (kind === 'token') return claims(value) ? { token: value } : null;
  return claims(trimmed) ? { token: trimmed } : null;
}

/** Whether a token is past its `exp`, at `now` in milliseconds. */
export const expired = (token, now) => (claims(token)?.exp ?? 0) * 1000 <= now;

/**
 * Whether the server would give a fresh token for one: those from a login link, up to an end that is set when they are
 * made. Others end when they end.
 */
export const renewable = (token) => {
  const { renew_until: until, exp } = claims(token) ?? {};
  return until > exp;
};

/** The token kept in this browser, shared by its tabs; null when there is none. */
export const stored = () => localStorage.getItem(KEY);

/** Keeps a token. */
export const keep = (token) => localStorage.setItem(KEY, token);

/** Forgets it: signed out, in every tab. */
export const forget = () => localStorage.removeItem(KEY);

/** Calls back when another tab has signed in, got a fresh token, or signed out. */
export const watch = (changed) => addEventListener('storage', (event) => event.key === KEY && changed(event.newValue));

/** Turns a login code into a token. Throws with a message for people. */
export async function redeem(code) {
  const answer = await post('api/login', { 'Content-Type': 'application/json' }, JSON.stringify({ code }));
  return answer.token;
}

/** Gets a fresh token for one that is still valid and renewable. */
export async function refresh(token) {
  const answer = await post('api/token', { Authorization: `Bearer ${token}` });
  return answer.token;
}

/** Makes a link that signs somebody in and leads to a session; for administrators. Gives its fragment, `path`, and `expires_in` seconds. */
export const invite = (token, username, session) =>
  post('api/admin/invite', { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' }, JSON.stringify({ username, session }));

/** The chats of a token's bearer in which all words of a query stand: `found`, and whether there may be `more`. */
export async function find(token, query) {
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
  const response = await fetch('api/search', { method: 'POST', headers, body: JSON.stringify({ query }), cache: 'no-store' });
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  return response.json();
}

async function post(path, headers, body) {
  let response;
  try {
    response = await fetch(path, { method: 'POST', headers, body, cache: 'no-store' });
  } catch {
    throw new Error('The server could not be reached. Is it running?');
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok && answer.token) return answer;
  throw new Error(answer.message ?? answer.error ?? `The server answered ${response.status} ${response.statusText}.`);
}
