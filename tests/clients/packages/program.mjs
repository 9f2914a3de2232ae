// What the JavaScript package is put through: as program.py, which see.
//
//     node program.mjs SCENARIO URL TOKEN [MORE...]

import assert from "node:assert/strict";
import * as causerie from "causerie";

const [scenario, url, token, ...more] = process.argv.slice(2);
const quick = { backoff: [10, 50], openTimeout: 60_000 };

const say = (line) => console.log(line);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const short = (max_tokens) => ({ sampling: { temperature: 0, max_tokens } });
const encoder = new TextEncoder();

async function until(events, wanted) {
  for (;;) {
    const { value, done } = await events.next();
    assert(!done, "the events ended first");
    if (wanted(value)) return value;
  }
}

async function raises(kind, promise) {
  try {
    await promise;
  } catch (error) {
    if (typeof kind === "string") assert.equal(error.code, kind, error);
    else assert(error instanceof kind, error);
    return error;
  }
  assert.fail(`${kind.name ?? kind} was expected`);
}

/** Reads an answer as a stream, and checks it against the message that ends it. */
async function whole(answer) {
  const pieces = [];
  for await (const piece of answer) pieces.push(piece);
  const message = await answer.message();
  assert.equal(pieces.join(""), message.content);
  assert.equal(answer.text, message.content);
  assert.equal(message.id, answer.id);
  return { pieces, message };
}

/** Every message of a session, and of each answer the text that its pieces make; `seen` ends when `until` is true. */
async function watch(events, seen, enough, resumed = true) {
  const pieces = new Map();
  for await (const event of events) {
    if (event.type === "message_delta") {
      const begun = pieces.get(event.message_id) ?? "";
      assert.equal(event.offset, encoder.encode(begun).length);
      pieces.set(event.message_id, begun + event.content);
    } else if (event.type === "message") {
      assert(event.content.startsWith(pieces.get(event.id) ?? ""), event.content);
      seen.push([event.seq, event.id, event.content]);
    } else if (event.type === "session_joined") {
      assert(event.resumed || !resumed, "what the client said of itself was wrong");
    }
    if (enough(seen)) return;
  }
}

async function tour() {
  const chat = await causerie.connect(url, async () => token);
  assert.deepEqual([chat.username, chat.role, chat.state], ["ada", "user", "open"]);
  await chat.ping();
  const session = await chat.createSession("Tea", { system: "You are brief." });
  assert.deepEqual([session.title, session.owner], ["Tea", chat.userId]);
  assert.deepEqual(session.participants.map((person) => person.username), ["ada"]);

  const { pieces, message } = await whole(await session.send("Name three teas.", short(24)));
  assert(pieces.length > 1);
  assert.deepEqual([message.usage.completion_tokens, message.finish_reason], [24, "length"]);
  const page = await session.history();
  assert.deepEqual(page.messages.map((m) => [m.seq, m.role]), [[1, "user"], [2, "assistant"]]);
  assert.deepEqual((await session.history({ before: 2, limit: 1 })).messages.map((m) => m.seq), [1]);

  const again = await session.regenerate(undefined, short(8));
  assert.equal((await again.message()).parent, page.messages[0].id);
  const edited = await session.edit(page.messages[0].id, "Name a coffee.", short(8));
  assert.equal((await edited.message()).parent, edited.question);
  assert.notEqual(edited.question, page.messages[0].id);

  // The same client id is the same message, and has the same answer.
  const first = await session.send("Hello", { clientId: "c-1", ...short(4) });
  const told = await first.message();
  const second = await session.send("Hello", { clientId: "c-1" });
  assert.deepEqual([second.question, (await second.message()).id], [first.question, told.id]);

  const long = await session.send("Count from one to a thousand.", { sampling: { max_tokens: 2000 } });
  for await (const _ of long) {
    await session.stop();
    break;
  }
  assert.equal((await long.message()).finish_reason, "stopped");
  await long.stop();

  assert.equal(await session.rename("Green\ntea"), "Green tea");
  assert.equal(session.title, "Green tea");
  assert.match((await chat.command("/help")).content, /\/help/);
  const entries = await chat.sessions();
  assert.deepEqual(entries.map((e) => [e.session_id, e.session_title]), [[session.id, "Green tea"]]);

  const guest = await causerie.connect(url, more[0]);
  await raises("session_not_found", guest.join(session.id));
  const theirs = guest.events();
  assert.equal((await session.invite("bob")).username, "bob");
  assert.equal((await until(theirs, (e) => e.type === "invited")).session_id, session.id);
  const events = session.events();
  const joined = await guest.join(session.id);
  await until(events, (e) => e.type === "presence" && e.event === "joined");
  await joined.typing();
  const typing = await until(events, (e) => e.type === "typing" && e.user_id === guest.userId);
  assert.deepEqual([typing.is_typing, typing.username], [true, "bob"]);
  const error = await raises("not_owner", joined.rename("Mine"));
  assert(error instanceof causerie.Refused && !error.retryable && error.retryAfterMs === undefined);
  await joined.leave();
  await raises(causerie.SessionOver, joined.send("Am I in?"));
  await until(events, (e) => e.type === "presence" && e.event === "left");
  await guest.close();
  await raises(causerie.Closed, guest.sessions());

  await raises("message_too_long", session.send("x".repeat(40_000)));
  await raises("message_not_found", session.regenerate("00000000-0000-4000-8000-000000000000"));
  // A flood is refused here and there, and gets through: the client waits as long as it is told.
  await Promise.all(Array.from({ length: 400 }, () => chat.ping()));
  const over = session.events();
  await session.delete();
  const last = [];
  for await (const event of over) last.push(event.type);
  assert.deepEqual([last, session.over], [["session_deleted"], true]);
  await raises("session_not_found", chat.join(session.id));
  const all = chat.events();
  await chat.close();
  assert.equal(chat.state, "closed");
  assert.deepEqual((await all.next()).value.state, "closed");
  assert((await all.next()).done);

  await raises("authentication_failed", causerie.connect(url, `${token}x`));
  await raises(causerie.ConnectFailed, causerie.connect("http://127.0.0.1:1", token, { openTimeout: 100 }));
  const nowhere = causerie.connect(`${url}/nowhere`, token, { openTimeout: 100 });
  assert.equal((await raises(causerie.ConnectFailed, nowhere)).status, globalThis.WebSocket ? undefined : 404);
}

async function renew() {
  const given = [];
  const chat = await causerie.connect(url, () => {
    given.push(more[Math.min(given.length, 1)]);
    return given.at(-1);
  });
  const events = chat.events();
  await sleep(5000);
  assert.equal(given.length, 2);
  await chat.ping();
  await chat.close();
  for await (const event of events) assert.notEqual(event.state, "reconnecting");
}

async function cuts() {
  const chat = await causerie.connect(url, token, quick);
  const session = await chat.createSession("Cuts");
  const seen = [];
  const questions = Number(more[0]);
  const watching = watch(session.events(), seen, () => seen.length === 2 * questions);
  const answers = [];
  for (let number = 0; number < questions; number += 1) {
    const text = `Écris ${number + 3} vers en français sur l'été, la forêt et le thé 🍵.`;
    const answer = await session.send(text, { sampling: { max_tokens: 100, seed: number, temperature: 1 } });
    const { message } = await whole(answer);
    answers.push([answer.question, message.id, message.content]);
  }
  await watching;
  await chat.close();
  say(JSON.stringify({ session: session.id, answers, seen }));
}

async function pair() {
  const chat = await causerie.connect(url, token, quick);
  const session = more[0] === "new" ? await chat.createSession("Two") : await chat.join(more[0]);
  if (more[0] === "new") await session.invite("bob");
  const seen = [];
  const joined = session.seq;
  const watching = watch(session.events(), seen, () => seen.length === 16);
  // A join that is cut off is asked for again, and by then the other one may have begun.
  const { messages } = await session.history({ limit: 100 });
  seen.unshift(...messages.filter(({ seq }) => seq <= joined).map(({ seq, id, content }) => [seq, id, content]));
  say(`session ${session.id}`);
  while (session.participants.length < 2) await sleep(10);
  for (let number = 0; number < 4; number += 1) {
    await whole(await session.send(`${chat.username} asks: what is ${number}?`, short(40)));
  }
  await watching;
  await chat.close();
  say(JSON.stringify({ session: session.id, seen }));
}

async function restart() {
  const chat = await causerie.connect(url, token, { backoff: [10, 50] });
  const session = await chat.createSession("Restart");
  const seen = [];
  const watching = watch(session.events(), seen, () => false, false);
  const joins = session.events();
  await whole(await session.send("Hello", short(8)));
  let answer = await session.send("Count from one to a thousand.", { sampling: { max_tokens: 3000 } });
  for await (const _ of answer) break;
  say("kill");
  await raises(causerie.AnswerLost, answer.message());
  assert(!(await until(joins, (e) => e.type === "session_joined")).resumed);
  answer = await session.regenerate(answer.question, { sampling: { max_tokens: 3000 } });
  // Its message is stored by the server that ends, and told by the next one.
  for await (const _ of answer) break;
  say("stop");
  const { message } = await whole(answer);
  assert(["stopped", "length", "stop"].includes(message.finish_reason), message);
  const farewell = await whole(await session.send("Are you there?", short(8)));
  while (seen.at(-1)[0] < farewell.message.seq) await sleep(10);
  assert.deepEqual(seen.map(([seq]) => seq), Array.from({ length: session.seq }, (_, i) => i + 1));
  await chat.close();
  await watching;
  say(JSON.stringify({ session: session.id, seen }));
}

// Nothing keeps a process alive whose client is closed: this one ends by itself.
await { tour, renew, cuts, pair, restart }[scenario]();
say("well");
