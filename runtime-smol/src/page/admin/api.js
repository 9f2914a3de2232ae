// The way to the server: every request bears the token, every refusal is an error with words for people.

import { stored } from '/auth.js';

/** A key or token that was typed here; it is kept for this tab alone. */
const TYPED = 'causerie.admin';

/** What requests are signed with, or null. */
export const credential = () => sessionStorage.getItem(TYPED) ?? stored();

/** Takes another one from now on. */
export const use = (token) => sessionStorage.setItem(TYPED, token);

/** Forgets what was typed. */
export const forget = () => sessionStorage.removeItem(TYPED);

/** A refusal, with the status of the answer; 0 where there was none. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Gets a list, or with a body does something. */
export async function ask(name, body) {
  const headers = { Authorization: `Bearer ${credential()}` };
  const options = body === undefined
    ? { headers, cache: 'no-store' }
    : { method: 'POST', headers: { ...headers, 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(`/api/admin/${name}`, options);
  } catch {
    throw new Refused(0, 'The server could not be reached. Is it running?');
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw new Refused(response.status, answer.message ?? `The server answered ${response.status}.`);
}
